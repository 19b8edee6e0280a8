"""A machine made of tables, for the doctor to look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from betelgeuse import paths, system
from betelgeuse.doctor.tools import pins

CONTROLLERS: Final = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")

MOUNTS: Final = "\n".join(
    [
        "/dev/root / ext4 rw,relatime 0 0",
        "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0",
        *(f"cgroup /sys/fs/cgroup/{name} cgroup rw,relatime,{name} 0 0" for name in CONTROLLERS),
        "cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0",
    ]
)
CGROUPS: Final = "#subsys_name hierarchy num_cgroups enabled\n" + "\n".join(f"{name} 1 1 1" for name in CONTROLLERS)
FILESYSTEMS: Final = "nodev\ttmpfs\nnodev\tcgroup\nnodev\tcgroup2\nnodev\tbpf\nnodev\toverlay\n\text4\n"
MEMORY: Final = "MemTotal: 16777216 kB\nMemAvailable: 12582912 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
TCP_HEADER: Final = "  sl  local_address rem_address   st\n"
INDEX: Final = "registry/dists/stable/InRelease"

REQUIREMENTS: Final = {"invoke": "3.0.3", "kubernetes": "37.0.2"}


def requirements(_: str) -> list[str]:
    """Stand in for importlib.metadata.requires."""
    return [*(f"{name}=={version}" for name, version in REQUIREMENTS.items()), "unpinned"]


@dataclass
class FakeMachine:
    """Healthy unless told otherwise: root on x86_64 with everything installed and nothing running."""

    uid: int = 0
    python: tuple[int, int] = (3, 12)
    cpus: int = 4
    file_limit: int = 65536
    now: float = 1_800_000_000.0
    free: float = 500.0
    unreachable: str = ""
    addresses: list[str] = field(default_factory=list)
    names: Mapping[str, list[str]] = field(default_factory=dict)
    """Names with addresses of their own; all others have `addresses`."""
    variables: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    distributions: Mapping[str, str] = field(default_factory=lambda: {"betelgeuse": "0.1.0", **REQUIREMENTS})
    files: dict[str, str | None] = field(default_factory=dict)
    commands: dict[str, tuple[int, str]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put what is told on top of what is healthy."""
        healthy: dict[str, str | None] = {
            "/proc/self/status": "Name:\tpython\nCapEff:\t000001ffffffffff\n",
            "/proc/meminfo": MEMORY,
            "/proc/mounts": MOUNTS,
            "/proc/cgroups": CGROUPS,
            "/proc/filesystems": FILESYSTEMS,
            "/proc/net/tcp": TCP_HEADER,
            "/proc/net/tcp6": TCP_HEADER,
            "/proc/sys/fs/inotify/max_user_instances": "1024\n",
            "/proc/sys/fs/inotify/max_user_watches": "524288\n",
            "/proc/sys/kernel/pid_max": "4194304\n",
            "/proc/sys/kernel/threads-max": "192730\n",
            "/proc/sys/net/core/bpf_jit_enable": "1\n",
            "/proc/sys/net/ipv4/ip_forward": "0\n",
            "/sys/kernel/btf/vmlinux": "",
            "/usr/lib/apt/apt-helper": "",
            **{brings: "" for brings, _ in system.PACKAGES.values()},
        }
        self.files = {**healthy, **self.files}
        self.answers: dict[str, tuple[int, str]] = {
            "uname -s": (0, "Linux"),
            "uname -m": (0, "x86_64"),
            "uname -r": (0, "6.12.0-amd64"),
            "go version": (0, "go version go1.27.1 linux/amd64"),
            "ip -json": (0, "[]"),
            "apt-get indextargets": (0, INDEX),
            "docker version": (0, "28.2.0"),
        }

    def read(self, path: str) -> str | None:
        """Look into the table."""
        return self.files.get(path)

    def exists(self, path: str) -> bool:
        """Look into the table; a folder exists by what is below it."""
        return any(name == path or name.startswith(f"{path}/") for name, text in self.files.items() if text is not None)

    def glob(self, pattern: str) -> list[str]:
        """Match the table's names, a star within one part of the path only."""
        depth = pattern.count("/")
        heads = {"/".join(name.split("/")[: depth + 1]) for name, text in self.files.items() if text is not None}
        return sorted(head for head in heads if head.count("/") == depth and fnmatchcase(head, pattern))

    def run(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 30.0) -> tuple[int, str]:
        """Answer with what the tables know of a part of the command, the told one first; success otherwise."""
        del timeout, env
        line = " ".join(argv)
        self.ran.append(line)
        return next(
            (answer for part, answer in [*self.commands.items(), *self.answers.items()] if part in line), (0, "")
        )

    def free_gib(self, path: str) -> float:
        """Say the same everywhere."""
        assert path in {str(paths.CACHE), str(paths.STATE), "/var/lib"}
        return self.free

    def connects(self, host: str, port: int) -> str:
        """Say the same for all."""
        assert host
        assert port
        return self.unreachable

    def resolves(self, name: str) -> list[str]:
        """Look into the table; say the same for all others."""
        assert name
        return self.names.get(name, self.addresses)

    def variable(self, name: str) -> str:
        """Look into the table."""
        return self.variables.get(name, "")

    def installed(self, distribution: str) -> str | None:
        """Look into the table."""
        return self.distributions.get(distribution)

    def which(self, command: str) -> str | None:
        """Find everything that is not said to be absent."""
        return None if command in self.absent else f"/usr/bin/{command}"

    def scratch(self) -> str:
        """Name a folder nobody writes to."""
        return "/scratch"


assert pins(requirements("")) == REQUIREMENTS
