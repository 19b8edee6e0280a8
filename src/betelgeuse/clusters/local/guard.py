"""The guard: boots the nodes and boots them again when they die. Two run; the standby takes over by a file lock.

Either may be killed at any time: the kernel frees the lock, the standby becomes active and starts a new standby. Both
end when the list of desired nodes is gone.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.clusters.local import cgroups, namespaces, network
from betelgeuse.clusters.local.layout import CLUSTER_DIR, DESIRED, GUARD_LOCK, Node
from betelgeuse.surroundings import environment

_TICK: Final = 0.25
LOG: Final = CLUSTER_DIR / "guard.log"
_DAY: Final = 86400.0


def start_time(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot, its identity together with the pid; None when gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields after the command name, which may itself hold spaces and parentheses; field 22 overall. State Z is dead.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def init_pid(node: Node) -> int | None:
    """Return the machine's pid of a node's init, if it lives."""
    try:
        record = json.loads(node.init_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    pid: int = record["pid"]
    return pid if start_time(pid) == record["start"] else None


def boot(node: Node, path: str) -> int:
    """Start a node's init in new namespaces and record who it is; return its pid."""
    cgroups.create(node)
    cgroups.kill_all(node)
    cgroups.remove(node)
    cgroups.create(node)
    network.node_up(node)
    node.folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "betelgeuse.clusters.local.nodeinit"]
    argv += [str(node.index), node.address, str(node.prefix), node.gateway, path]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _become_parent_of_init(node, argv, writer)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        pid = int(answer.read())
    paths.write(node.init_file, json.dumps({"pid": pid, "start": start_time(pid)}))
    return pid


def _become_parent_of_init(node: Node, argv: list[str], writer: int) -> None:
    """In the forked child: make the namespaces, fork the init into them, report its pid, end."""
    try:
        os.setsid()
        node.log.mkdir(parents=True, exist_ok=True)
        log = os.open(node.log / "init.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        namespaces.enter_network(node.netns)
        namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.execv(argv[0], argv)  # noqa: S606 - our own argv, no shell
        os.write(writer, str(pid).encode())
    finally:
        os._exit(0)


def _desired() -> tuple[list[Node], str] | None:
    try:
        data = json.loads(DESIRED.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return [Node(**node) for node in data["nodes"]], data["path"]


@contextlib.contextmanager
def boot_lock() -> Iterator[None]:
    """Exclude booting a node while somebody takes it out of the wanted ones, and the other way round."""
    with (CLUSTER_DIR / "boot.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _boot_if_wanted(node: Node, path: str) -> None:
    with boot_lock():
        wanted = _desired()
        if wanted is None or node not in wanted[0] or init_pid(node) is not None:
            return
        _tell(f"boot {node.name}")
        boot(node, path)


def _tell(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%F %T')} {text}\n")
    sys.stdout.flush()


def _acquire() -> int | None:
    """Wait for the guard's lock; None when the cluster is no longer wanted."""
    while _desired() is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(GUARD_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
        time.sleep(_TICK)
    return None


def spawn(program: str = "guard") -> "subprocess.Popen[bytes]":
    """Start a guard, or another program of this package, in the background, detached from whoever starts it."""
    CLUSTER_DIR.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own argv, no shell
            [*cgroups.launcher(), sys.executable, "-m", f"betelgeuse.clusters.local.{program}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env=environment(internet=False),
        )


class Renewals:
    """Looks once a day whether certificates end soon; in a process of its own, so that the guard stays small."""

    def __init__(self) -> None:
        """Look at once: the machine may have slept for months."""
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def tick(self, now: float) -> None:
        """Start the look when it is due and none is under way; `now` in seconds by the machine's clock."""
        if self._process is not None and self._process.poll() is None:
            return
        if now < self._due:
            return
        self._due = now + _DAY
        self._process = spawn("renewal")


def main() -> None:
    """Run a guard: stand by until the lock is free, then watch."""
    cgroups.settle()
    if _acquire() is None:
        return
    standby = spawn()
    renewals = Renewals()
    while (wanted := _desired()) is not None:
        nodes, path = wanted
        for node in nodes:
            if init_pid(node) is None:
                try:
                    _boot_if_wanted(node, path)
                except Exception as error:  # noqa: BLE001 - the guard outlives a failed boot: the next tick tries again
                    _tell(f"boot {node.name} failed: {error}")
        if standby.poll() is not None:
            standby = spawn()
        renewals.tick(time.time())
        time.sleep(_TICK)


if __name__ == "__main__":
    main()
