"""An ordinary Debian machine, whole and emulated: systemd, cgroup v2 alone, and no way to anything outside.

Its processors are emulated where the host lends none of its own, so everything takes nine times as long there. It gets
the checkout and the finished builds on a second disk: what is not built on this machine is not built there.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from betelgeuse import paths, system
from betelgeuse.builds import golang
from betelgeuse.programs import table
from betelgeuse.shell import run
from betelgeuse.surroundings import environment
from tests import ssh_key
from tests.ports import free_port

FOLDER: Final = paths.CACHE / "machine"
SUITES: Final = {(3, 11): "bookworm", (3, 13): "trixie"}
"""The Debian whose Python is this one: the checkout's environment goes along as it is."""
PACKAGES: Final = (
    "apparmor",
    "dbus",
    "initramfs-tools",
    "kmod",
    "linux-image-cloud-amd64",
    "openssh-server",
    "python3",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
)
"""What makes it a machine; what deploy would install comes on top, as it reaches no mirror."""
MODULES: Final = ("virtio_pci", "virtio_blk", "ext4")
_ROOT_GIB: Final = 24
_BOOT_SECONDS: Final = 1200.0
"""Two minutes of an idle host."""
_MOUNTS: Final = (
    "/dev/vda / ext4 defaults",
    "/dev/vdb /mnt ext4 defaults",
    f"/mnt/checkout {paths.ROOT} none bind",
    f"/mnt/cache {paths.CACHE} none bind",
    "/mnt/go /usr/local/go none bind",
)
"""The second disk's folders, where everything looks for them; also after a reboot."""
_NETWORK: Final = "[Match]\nName=eth0\n\n[Network]\nAddress=10.0.2.15/24\n"
_UNWANTED: Final = shutil.ignore_patterns(".git", "__pycache__", ".nox", ".mypy_cache", ".ruff_cache", "reports")


def suite() -> str:
    """Return the Debian suite of the guest."""
    return SUITES[sys.version_info[:2]]


def _tree(packages: tuple[str, ...]) -> Path:
    """Return a folder with Debian, a key of ours let in; made once for a list of packages."""
    key = hashlib.sha256(json.dumps([suite(), packages, MODULES, _MOUNTS]).encode()).hexdigest()[:12]
    target = FOLDER / f"{suite()}-{key}"
    if target.is_dir():
        return target
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    modules = "\\n".join(MODULES)
    hook = (
        'mkdir -p "$1/etc/initramfs-tools/conf.d" && printf "MODULES=list\\nCOMPRESS=gzip\\n" '
        f'> "$1/etc/initramfs-tools/conf.d/machine" && printf "{modules}\\n" > "$1/etc/initramfs-tools/modules" && '
        # Java's package links its pages there, which are left out.
        'mkdir -p "$1/usr/share/man/man1"'
    )
    lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
    argv = ["mmdebstrap", "--variant=minbase", *lean, '--aptopt=Acquire::Retries "3"', f"--essential-hook={hook}"]
    # Its initramfs's settings are there before the package that brings them.
    argv += ["--dpkgopt=force-confold", f"--include={','.join(packages)}", suite(), str(draft)]
    run(argv, log=FOLDER / "mmdebstrap.log", env={"TMPDIR": str(FOLDER)}, timeout=7200)
    _configure(draft)
    draft.rename(target)
    return target


def key_file() -> Path:
    """Return the private key that the guest lets in, made on first use."""
    return ssh_key.kept(FOLDER)


def _configure(root: Path) -> None:
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, parents=True, exist_ok=True)
    (ssh / "authorized_keys").write_text(key_file().with_suffix(".pub").read_text())
    (root / "etc/systemd/network").mkdir(parents=True, exist_ok=True)
    (root / "etc/systemd/network/eth0.network").write_text(_NETWORK)
    (root / "etc/hostname").write_text("machine\n")
    (root / "etc/fstab").write_text("".join(f"{line} 0 0\n" for line in _MOUNTS))
    for _, place, *_ in (line.split() for line in _MOUNTS):
        (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    link = wants / "systemd-networkd.service"
    if not os.path.lexists(link):
        link.symlink_to("/lib/systemd/system/systemd-networkd.service")


def _disk(file: Path, folder: Path, gib: int) -> None:
    file.unlink(missing_ok=True)
    with file.open("wb") as empty:
        empty.truncate(gib << 30)
    run(["mkfs.ext4", "-q", "-F", "-d", str(folder), str(file)], timeout=3600)


def _carried(results: list[Path]) -> Path:
    """Return a folder with the checkout, its environment, Go, and finished builds: hard links, no second copy."""
    folder = FOLDER / "carried"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "cache/store").mkdir(parents=True)
    for result in results:
        shutil.copytree(result, folder / "cache/store" / result.name, symlinks=True, copy_function=os.link)
    shutil.copytree(paths.CACHE / "bases", folder / "cache/bases")
    shutil.copytree(paths.ROOT, folder / "checkout", symlinks=True, ignore=_UNWANTED)
    # The environment's interpreter is the guest's own.
    for link in (folder / "checkout/.venv/bin").glob("python*"):
        link.unlink()
        link.symlink_to("/usr/bin/python3" if link.name == "python" else "python")
    (folder / "checkout/.venv/pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    # It is asked for its version: that decides which builds are the right ones.
    (folder / "go/bin").mkdir(parents=True)
    shutil.copy2(golang.toolchain(table.program("kubernetes")), folder / "go/bin/go")
    return folder


@dataclass
class Guest:
    """The running machine: commands in it by SSH, each with the time it took."""

    process: subprocess.Popen[bytes]
    port: int
    took: dict[str, float] = field(default_factory=dict)

    def run(self, command: str, *, seconds: float = 120.0, check: bool = True) -> str:
        """Run a shell command line as root and return what it says; AssertionError when it fails."""
        begin = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own argv
            [*self._ssh(), command], capture_output=True, text=True, timeout=seconds, check=False, env=environment()
        )
        self.took[command], said = time.monotonic() - begin, done.stdout + done.stderr
        if check:
            assert done.returncode == 0, f"{command}: exit code {done.returncode}: {said[-3000:]}"
        return said

    def invoke(self, arguments: str, *, seconds: float = 120.0, check: bool = True) -> str:
        """Run one of the project's verbs."""
        return self.python(f"-m invoke {arguments}", seconds=seconds, check=check)

    def python(self, arguments: str, *, seconds: float = 120.0, check: bool = True) -> str:
        """Run the checkout's Python in the checkout."""
        where = (
            f"cd {paths.ROOT} && PATH=/usr/local/go/bin:$PATH GOROOT=/usr/local/go PYTHONPATH=. BETELGEUSE_PORTABLE=1"
        )
        return self.run(f"{where} .venv/bin/python {arguments}", seconds=seconds, check=check)

    def _ssh(self) -> list[str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=20")
        said = [part for option in options for part in ("-o", option)]
        return ["ssh", "-i", str(key_file()), "-p", str(self.port), *said, "root@127.0.0.1"]

    def wait(self) -> None:
        """Wait until it lets us in; AssertionError with the end of its console where it does not."""
        begin = time.monotonic()
        while time.monotonic() - begin < _BOOT_SECONDS and self.process.poll() is None:
            asked = [*self._ssh(), "true"]
            if subprocess.run(asked, capture_output=True, check=False, timeout=120, env=environment()).returncode == 0:  # noqa: S603
                self.took["boot"] = time.monotonic() - begin
                return
            time.sleep(2)
        console = (FOLDER / "console.log").read_text("utf-8", "replace")
        message = f"the guest did not let us in: {console[-2000:]}"
        raise AssertionError(message)

    def reboot(self) -> None:
        """Restart it, as a power switch would after a proper shutdown, and wait until it lets us in again."""
        before = self.run("cat /proc/sys/kernel/random/boot_id")
        self.run("systemctl reboot", check=False)
        begin = time.monotonic()
        while time.monotonic() - begin < _BOOT_SECONDS:
            self.wait()
            if self.run("cat /proc/sys/kernel/random/boot_id", check=False) not in {before, ""}:
                self.took["reboot"] = time.monotonic() - begin
                return
        message = "the guest did not reboot"
        raise AssertionError(message)


def _accelerators() -> list[str]:
    """Return what runs the guest's processors: the host's own where it lends them, else an emulation."""
    # KVM without the processor's support, as in a cloud's virtual machine, is slower than the emulation, and fails.
    flags = Path("/proc/cpuinfo").read_text("utf-8").split()
    lent = Path("/dev/kvm").exists() and not {"vmx", "svm"}.isdisjoint(flags)
    return ["-accel", "kvm"] if lent else ["-accel", "tcg,thread=multi"]


@contextmanager
def running(results: list[Path], memory: str = "6G") -> Iterator[Guest]:
    """Give a freshly installed, booted machine with finished builds; everything of it is gone afterwards."""
    # Whatever an earlier run changed on its disk is not there.
    root = _tree((*PACKAGES, *system.PACKAGES))
    _disk(FOLDER / "root.raw", root, _ROOT_GIB)
    carried = _carried(results)
    size = sum(file.lstat().st_size for file in carried.rglob("*")) >> 30
    _disk(FOLDER / "carried.raw", carried, int(size * 1.2) + 2)
    shutil.rmtree(carried)
    kernel, initrd = (next(iter(sorted((root / "boot").glob(f"{name}-*")))) for name in ("vmlinuz", "initrd.img"))
    port = free_port()
    argv = ["qemu-system-x86_64", "-machine", "q35", *_accelerators(), "-cpu", "max"]
    argv += ["-smp", "2", "-m", memory, "-kernel", str(kernel), "-initrd", str(initrd), "-nographic"]
    argv += ["-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 no_timer_check nowatchdog panic=5"]
    for name in ("root", "carried"):
        argv += ["-drive", f"file={FOLDER / name}.raw,format=raw,if=virtio,cache=unsafe"]
    # restrict: it reaches nothing, and is reached by us alone.
    argv += ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22,restrict=on", "-device", "virtio-net-pci,netdev=n"]
    with (FOLDER / "console.log").open("wb") as console:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)  # noqa: S603
    guest = Guest(process, port)
    try:
        guest.wait()
        yield guest
    finally:
        process.terminate()
        process.wait(60)
        for name in ("root", "carried"):
            (FOLDER / f"{name}.raw").unlink(missing_ok=True)
