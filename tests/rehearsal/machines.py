"""Servers to rehearse on: Debian with systemd as its first process and a real sshd, in namespaces of this machine.

`python -m tests.rehearsal.machines up [COUNT]` boots them and writes overlays/rehearsal/servers.yaml; `down` takes all
away.
A server's disk is a folder, so a power cut keeps what was written, as a real one would.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from betelgeuse import paths, servers, yamls
from betelgeuse.clusters.kind import host as kind_host
from betelgeuse.clusters.local import cgroup2, guard, sysctls
from betelgeuse.clusters.local.layout import CGROUP_ROOT, CONTROLLERS
from betelgeuse.clusters.servers.packages import PACKAGES
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.progress import out, step
from betelgeuse.shell import run
from betelgeuse.ssh import fingerprint
from betelgeuse.surroundings import environment
from tests import ssh_key

ENV: Final = "rehearsal"
FOLDER: Final = paths.CACHE / "rehearsal"
SUITE: Final = "bookworm"
BRIDGE: Final = "rehearsal0"
GATEWAY: Final = "172.31.7.1"
PREFIX: Final = 24
MEMORY_GIB: Final = 8
"""Of all servers together."""
FAMILY: Final = "rehearsal"
"""The cgroup that the servers' own are in, in every hierarchy."""
ADMIN: Final = "deployer"
"""A user who may become root by sudo."""
_BASE: Final = (
    "apparmor",
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "nftables",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
    "wireguard-tools",
)
"""What makes it a server; what deploy would install comes on top, as it reaches no mirror."""
_BOOT: Final = Path(__file__).with_name("boot.sh")
_SYSCTLS: Final = FOLDER / "sysctls.json"
_HIERARCHIES: Final = (*CONTROLLERS, "unified")
_SHARES: Final = 8192
"""Eight times what others have, as the embedded cluster's nodes."""
_RULE: Final = ("iif", BRIDGE, "priority", "99")
_BOOT_SECONDS: Final = 60.0
_END_SECONDS: Final = 30.0
_POLL: Final = 0.1
_OURS: Final[dict[str, "subprocess.Popen[bytes]"]] = {}
"""Servers that this process has powered on: whose parent one is, one has to hear of the end."""


def _template() -> Path:
    """Return a folder with a bare Debian, installed once for a list of packages."""
    wanted = sorted({*_BASE, *PACKAGES})
    key = hashlib.sha256(json.dumps([SUITE, wanted]).encode()).hexdigest()[:12]
    target = FOLDER / f"{SUITE}-{key}"
    if target.is_dir():
        return target
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
    argv = ["mmdebstrap", "--variant=minbase", *lean, '--aptopt=Acquire::Retries "3"']
    with step(f"install Debian {SUITE} for servers to rehearse on"):
        argv += [f"--include={','.join(wanted)}", SUITE, str(draft)]
        run(argv, log=FOLDER / "mmdebstrap.log", env={"TMPDIR": str(FOLDER)}, timeout=3600)
    draft.rename(target)
    return target


def key_file() -> Path:
    """Return the private key that the servers let in, made on first use."""
    return ssh_key.kept(FOLDER)


@dataclass(frozen=True)
class Machine:
    """One server: its disk, its cable, its cgroups, and the process that is its power."""

    index: int

    @property
    def name(self) -> str:
        """Host name, and name in servers.yaml."""
        return f"server-{self.index}"

    @property
    def address(self) -> str:
        """Where it is reached from this machine."""
        return f"172.31.7.{10 + self.index}"

    @property
    def scope(self) -> str:
        """Name of its network namespace."""
        return f"rehearsal-{self.name}"

    @property
    def groups(self) -> list[Path]:
        """Its cgroup in every hierarchy."""
        return [CGROUP_ROOT / name / FAMILY / self.name for name in _HIERARCHIES]

    @property
    def folder(self) -> Path:
        """What belongs to it."""
        return FOLDER / "servers" / self.name

    @property
    def disk(self) -> Path:
        """Its root file system."""
        return self.folder / "root"

    @property
    def cable(self) -> str:
        """Name of this machine's end of its cable."""
        return f"rehearsal{self.index}"

    @property
    def netns(self) -> Path:
        """Its network namespace, pinned."""
        return Path("/run/netns") / self.scope

    @property
    def host_key(self) -> str:
        """The fingerprint of its SSH host key."""
        return fingerprint((self.disk / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[1])

    def entry(self, user: str = "root", role: str = "both") -> dict[str, object]:
        """Return what servers.yaml says of it."""
        said = {"name": self.name, "address": self.address, "hostKey": self.host_key}
        return {**said, "user": user, "role": role}

    def install(self) -> None:
        """Give it a disk with a bare Debian, unless it has one."""
        if self.disk.is_dir():
            return
        draft = self.disk.with_name("root.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.parent.mkdir(parents=True, exist_ok=True)
        run(["cp", "--archive", "--reflink=auto", str(_template()), str(draft)], timeout=600)
        for key in (draft / "etc/ssh").glob("ssh_host_*"):
            key.unlink()
        run(["ssh-keygen", "-A", "-f", str(draft)])
        run(["chroot", str(draft), "useradd", "--create-home", "--shell", "/bin/bash", ADMIN])
        (draft / "etc/sudoers.d/administrators").write_text(f"{ADMIN} ALL=(ALL) NOPASSWD: ALL\n")
        for home, user in (("root", "root"), (f"home/{ADMIN}", ADMIN)):
            folder = draft / home / ".ssh"
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / "authorized_keys").write_text(key_file().with_suffix(".pub").read_text())
            run(["chroot", str(draft), "chown", "-R", f"{user}:{user}", f"/{home}/.ssh"])
        for name, text in (
            ("hostname", f"{self.name}\n"),
            ("hosts", f"127.0.0.1 localhost\n{self.address} {self.name}\n"),
            # Nothing answers there: a refused query beats one that times out.
            ("resolv.conf", f"nameserver {GATEWAY}\n"),
            ("machine-id", f"{self.index:032x}\n"),
        ):
            (draft / "etc" / name).unlink(missing_ok=True)
            (draft / "etc" / name).write_text(text)
        draft.rename(self.disk)

    @property
    def pid(self) -> int | None:
        """The process whose end is the end of the server, while it lives."""
        try:
            record = json.loads((self.folder / "power.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        pid = int(record["pid"])
        return pid if guard.start_time(pid) == record["start"] else None

    def boot(self) -> float:
        """Power it on; return after how many seconds its sshd answered."""
        if self.pid is not None:
            return 0.0
        self._clear()
        self.install()
        self._plug()
        begin = time.monotonic()
        for group in self.groups:
            _group(group.parent)
            _group(group)
        joins = " ".join(f"{group}/cgroup.procs" for group in self.groups)
        spaces = "--mount --uts --ipc --pid --cgroup --fork --kill-child"
        script = (
            f"for each in {joins}; do echo $$ > $each; done; "
            f"exec nsenter --net={self.netns} unshare {spaces} sh {_BOOT} {self.disk}"
        )
        with (self.folder / "console.log").open("ab") as console:
            process = subprocess.Popen(  # noqa: S603 - our own argv
                ["/bin/sh", "-ec", script],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env=environment(internet=False),
            )
        _OURS[self.name] = process
        (self.folder / "power.json").write_text(
            json.dumps({"pid": process.pid, "start": guard.start_time(process.pid)})
        )
        while not _answers(self.address):
            if process.poll() is not None or time.monotonic() - begin > _BOOT_SECONDS:
                message = f"{self.name} did not boot: see {self.folder / 'console.log'}"
                raise BetelgeuseError(message)
            time.sleep(_POLL)
        return time.monotonic() - begin

    def cut_power(self) -> None:
        """End everything in it at once; its disk keeps what was written."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._clear()

    def ended(self, seconds: float = _END_SECONDS) -> None:
        """Wait until it has switched itself off, as after `systemctl reboot`."""
        begin = time.monotonic()
        while self.pid is not None:
            if time.monotonic() - begin > seconds:
                message = f"{self.name} still runs after {seconds:.0f} s"
                raise BetelgeuseError(message)
            time.sleep(_POLL)

    def remove(self) -> None:
        """Take it away with its disk."""
        self.cut_power()
        # Connections that have not heard of the end keep a namespace, and with it its cable, for minutes.
        if Path(f"/sys/class/net/{self.cable}").exists():
            run(["ip", "link", "delete", self.cable])
        if self.netns.exists():
            run(["ip", "netns", "delete", self.scope])
        shutil.rmtree(self.folder, ignore_errors=True)

    def _plug(self) -> None:
        _bridge()
        if not self.netns.exists():
            run(["ip", "netns", "add", self.scope])
        if not Path(f"/sys/class/net/{self.cable}").exists():
            run(["ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.scope])
        run(["ip", "link", "set", self.cable, "master", BRIDGE, "up"])
        inside = ["ip", "-netns", self.scope]
        for link in ("lo", "eth0"):
            run([*inside, "link", "set", link, "up"])
        run([*inside, "address", "replace", f"{self.address}/{PREFIX}", "dev", "eth0"])
        # As every server has one; where it leads to, nothing is passed on.
        run([*inside, "route", "replace", "default", "via", GATEWAY])

    def _clear(self) -> None:
        """End what is left of a former life in its cgroups, and remove these."""
        if (ended := _OURS.pop(self.name, None)) is not None:
            ended.wait(_END_SECONDS)
        begin = time.monotonic()
        for group in self.groups:
            while group.is_dir():
                for folder, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        for pid in Path(folder, "cgroup.procs").read_text().split():
                            os.kill(int(pid), signal.SIGKILL)
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()
                if time.monotonic() - begin > _END_SECONDS:
                    message = f"{group} does not become empty"
                    raise BetelgeuseError(message)
                time.sleep(_POLL if group.is_dir() else 0)


def _group(group: Path) -> None:
    group.mkdir(exist_ok=True)
    hierarchy, family = group.relative_to(CGROUP_ROOT).parts[0], group.name == FAMILY
    if hierarchy == "cpuset":
        # A new cpuset is empty, and an empty one takes no process.
        for name in ("cpuset.cpus", "cpuset.mems"):
            (group / name).write_text((group.parent / name).read_text())
    if hierarchy == "cpu" and family:
        (group / "cpu.shares").write_text(str(_SHARES))
    if hierarchy == "memory" and family:
        (group / "memory.limit_in_bytes").write_text(str(MEMORY_GIB << 30))


def _bridge() -> None:
    """Make the switch; who arrives there from a server is not passed on, whatever this machine does otherwise."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "replace", f"{GATEWAY}/{PREFIX}", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    if f"iif {BRIDGE}" not in run(["ip", "rule", "list"]):
        run(["ip", "rule", "add", *_RULE, "prohibit"])


def _answers(address: str) -> bool:
    try:
        return bool(run(["ssh-keyscan", "-T", "2", "-t", "ed25519", address], timeout=10, internet=False).strip())
    except BetelgeuseError:
        return False


def up(count: int = 1) -> Sequence[Machine]:
    """Boot servers and write them into the environment's servers.yaml."""
    if cgroup2.alone(Path("/proc/mounts").read_text()):
        message = "a rehearsal's servers need cgroup v1 hierarchies; here is cgroup v2 alone"
        raise RefusedError(message)
    # What the embedded cluster has changed before is for it to put back; the last is of no server here.
    names = [name for name in kind_host.NAMES if name not in sysctls.remembered() and not name.startswith("net/")]
    sysctls.remember(_SYSCTLS, names=names)
    machines = [Machine(index) for index in range(1, count + 1)]
    for machine in machines:
        with step(f"boot {machine.name} at {machine.address}"):
            machine.boot()
    declare(machine.entry() for machine in machines)
    return machines


def declare(entries: Iterable[Mapping[str, object]]) -> None:
    """Write the environment's servers.yaml."""
    servers.file_of(ENV).write_text(yamls.dump([{"servers": [dict(entry) for entry in entries]}]), "utf-8")


def down() -> None:
    """Take every server away, and what they had in common."""
    for index in range(1, 10):
        Machine(index).remove()
    for name in _HIERARCHIES:
        if (family := CGROUP_ROOT / name / FAMILY).is_dir():
            family.rmdir()
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        run(["ip", "rule", "delete", *_RULE])
        run(["ip", "link", "delete", BRIDGE])
    # What the embedded cluster remembered meanwhile is what its own nodes run with.
    if not sysctls.remembered():
        sysctls.restore(_SYSCTLS)
    _SYSCTLS.unlink(missing_ok=True)
    servers.file_of(ENV).unlink(missing_ok=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["down"]:
        down()
    else:
        for each in up(int(*sys.argv[2:3] or "1")):
            out(f"SSH_AUTH_SOCK=… ssh -i {key_file()} root@{each.address}  # {each.host_key}")
