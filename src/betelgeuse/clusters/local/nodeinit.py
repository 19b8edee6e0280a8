"""PID 1 of a node: builds the node's file system, then keeps containerd and kubelet running.

It is started by the guard inside fresh network, mount, UTS and PID namespaces. When it dies the kernel kills everything
in the node, as a power cut would; the guard boots it again.
"""

import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.clusters.local import cgroups
from betelgeuse.clusters.local.layout import CGROUP_ROOT, Node

PERSISTENT: Final = (
    "etc/cni",
    "etc/containerd",
    "etc/kubernetes",
    "opt/cni",
    "opt/local-path-provisioner",
    "var/lib/cilium",
    "var/lib/cni",
    "var/lib/containerd",
    "var/lib/etcd",
    "var/lib/kubelet",
    "var/log/containers",
    "var/log/pods",
)
"""What survives a node's reboot. Everything else a node writes is lost with it."""

_KUBELET_CONFIG: Final = Path("/var/lib/kubelet/config.yaml")
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
_HEALTHY_SECONDS: Final = 30.0
_TICK: Final = 0.1
_TIMER_SLACK: Final = 1_000_000
"""Nanoseconds by which a node's programs let timers be late, so that a wakeup serves several (docs/performance.md)."""

_FILES: Final = 1 << 20
"""What units of containerd ask systemd for."""


def _mount(*arguments: str) -> None:
    subprocess.run(["/usr/bin/mount", *arguments], check=True)  # noqa: S603 - our own argv, no shell


def build_root(node: Node, resolver: str) -> None:
    """Give the node a root of its own: the machine's files below, the node's writes in memory, its disk bound in."""
    _mount("--make-rprivate", "/")
    memory = node.folder / "memory"
    merged = memory / "root"
    memory.mkdir(parents=True, exist_ok=True)
    # Upper and work folders must not lie below the lower one, which is the machine's /: they live in a tmpfs.
    _mount("-t", "tmpfs", "-o", "mode=755,size=256m", "tmpfs", str(memory))
    for name in ("upper", "work", "root"):
        (memory / name).mkdir()
    layers = f"lowerdir=/,upperdir={memory}/upper,workdir={memory}/work"
    _mount("-t", "overlay", "-o", layers, "overlay", str(merged))
    for name in PERSISTENT:
        (node.root / name).mkdir(parents=True, exist_ok=True)
        (merged / name).mkdir(parents=True, exist_ok=True)
        _mount("--bind", str(node.root / name), str(merged / name))
    # The programs we built; the cache may be another disk, which the lower layer does not show.
    store = merged / str(paths.CACHE).lstrip("/")
    store.mkdir(parents=True, exist_ok=True)
    _mount("--bind", "-o", "ro", str(paths.CACHE), str(store))
    _mount("-t", "proc", "proc", str(merged / "proc"))
    _mount("--rbind", "/sys", str(merged / "sys"))
    if cgroups.unified():
        # Of this process's cgroup namespace: the node's cgroup is its root. In the place of the machine's, not over it:
        # the kernel mounts no file system twice in one place, and knows but one of cgroups.
        groups = str(merged / "sys/fs/cgroup")
        subprocess.run(["/usr/bin/umount", groups], check=True)  # noqa: S603 - our own argv, no shell
        _mount("-t", "cgroup2", "cgroup2", groups)
    _mount("--rbind", "/dev", str(merged / "dev"))
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(merged / "run"))
    (merged / "run/betelgeuse").mkdir()
    _mount("--bind", str(node.log), str(merged / "run/betelgeuse"))
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(merged / "tmp"))
    # A BPF file system of its own: two Cilium agents on one kernel must not see each other's maps.
    _mount("-t", "bpf", "bpf", str(merged / "sys/fs/bpf"))
    _files(node, merged, resolver)
    old = merged / ".old"
    old.mkdir()
    subprocess.run(["/usr/sbin/pivot_root", str(merged), str(old)], check=True)  # noqa: S603 - our own argv
    os.chdir("/")
    subprocess.run(["/usr/bin/umount", "-l", "/.old"], check=True)
    Path("/.old").rmdir()
    _mount("--make-rshared", "/")


def _files(node: Node, merged: Path, resolver: str) -> None:
    etc = merged / "etc"
    for name, text in (
        ("hosts", f"127.0.0.1 localhost\n{node.address} {node.name}\n"),
        ("hostname", f"{node.name}\n"),
        # Nothing answers there: a node has no way out, and a refused query beats one that times out.
        ("resolv.conf", f"nameserver {resolver}\n"),
        ("machine-id", f"{node.index:032x}\n"),
    ):
        # The machine's own may be a link to somewhere a node does not have.
        (etc / name).unlink(missing_ok=True)
        (etc / name).write_text(text)


def share_wakeups() -> None:
    """Let the timers of this process, and of all it starts from now on, be late by a little."""
    Path("/proc/self/timerslack_ns").write_text(str(_TIMER_SLACK))


def open_many_files() -> None:
    """Let what a node starts open as many files as it may: a session's soft limit, 1,024, is too low for databases."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some programs close every descriptor that could be open: without a bound they would do nothing else.
    bound = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (bound, hard))


class Program:
    """One program that must run: started when it may, started again when it ends, with growing pauses."""

    def __init__(self, name: str, log: Path) -> None:
        """Remember what to run; nothing is started yet."""
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.pause = _FIRST_PAUSE
        self.started = 0.0
        self.not_before = 0.0

    def argv(self) -> list[str] | None:
        """Return the command line, or None while the program has to wait."""
        if self.name == "containerd":
            return ["containerd", "--config", "/etc/containerd/config.toml"]
        flags = Path("/var/lib/kubelet/kubeadm-flags.env")
        if not _KUBELET_CONFIG.is_file() or not flags.is_file():
            return None
        extra = shlex.split(flags.read_text().partition("=")[2].strip().strip('"'))
        return [
            "kubelet",
            "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
            "--kubeconfig=/etc/kubernetes/kubelet.conf",
            f"--config={_KUBELET_CONFIG}",
            *extra,
        ]

    def tick(self, now: float) -> None:
        """Start the program when it is due."""
        if self.process is not None or now < self.not_before or (argv := self.argv()) is None:
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own argv, no shell
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.started = now

    def ended(self, now: float, status: int) -> None:
        """Plan the next start after the program ended."""
        self.process = None
        self.pause = _FIRST_PAUSE if now - self.started > _HEALTHY_SECONDS else min(self.pause * 2, _LONGEST_PAUSE)
        self.not_before = now + self.pause
        with self.log.open("ab") as log:
            log.write(f"--- {self.name} ended with {status}; again in {self.pause:.1f} s\n".encode())


def _reaped() -> Iterator[tuple[int, int]]:
    """Yield pid and status of every process that ended: init also inherits the orphans of its node."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def supervise(programs: list[Program]) -> None:
    """Keep the programs running and reap every orphan, until SIGTERM."""
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    while not stopping:
        now = time.monotonic()
        for program in programs:
            program.tick(now)
        for pid, status in _reaped():
            for program in programs:
                if program.process is not None and program.process.pid == pid:
                    program.ended(now, status)
        time.sleep(_TICK)
    for program in programs:
        if program.process is not None:
            program.process.terminate()


def main(node: Node, resolver: str, path: str) -> None:
    """Boot the node; returns only on SIGTERM."""
    node.log.mkdir(parents=True, exist_ok=True)
    programs = [Program(name, Path("/run/betelgeuse") / f"{name}.log") for name in ("containerd", "kubelet")]
    cgroups.join(node)
    share_wakeups()
    open_many_files()
    socket.sethostname(node.name)
    build_root(node, resolver)
    os.environ.update(PATH=path, HOME="/root", LANG="C.UTF-8")
    Path("/run/betelgeuse-ready").touch()
    supervise(programs)


if __name__ == "__main__":
    index, address, prefix, gateway, search_path = sys.argv[1:]
    if not CGROUP_ROOT.is_dir():
        sys.exit(f"{CGROUP_ROOT} does not exist")
    main(Node(int(index), address, int(prefix), gateway), gateway, search_path)
