"""A local port that leads to one pod, held open by `kubectl port-forward` as long as it is needed and no longer."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube.command import in_namespace
from betelgeuse.settings import Settings
from betelgeuse.shell import tail
from betelgeuse.surroundings import environment

_SECONDS: Final = 20.0
"""How long the way through API server, kubelet and runtime may take to open: a busy node needs a few."""
_PAUSE: Final = 0.02
_PATIENCE: Final = 3.0
_READY: Final = re.compile(rb"^Forwarding from 127\.0\.0\.1:(\d+) ", re.MULTILINE)
_READ: Final = 16 * 1024
# The kernel ends kubectl when we end, also by kill -9: nothing of ours keeps a port open behind our back. Number 1 is
# PR_SET_PDEATHSIG; who lost its parent before that call ends by itself.
_TIED: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def tied(argv: Sequence[str]) -> list[str]:
    """Return a command that runs another one, and ends it when this process ends; argv[0] is a full path."""
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *argv]


def _words(log: IO[bytes]) -> bytes:
    return os.pread(log.fileno(), _READ, 0)


def _listening(process: subprocess.Popen[bytes], log: IO[bytes], where: str, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while True:
        ended = process.poll() is not None
        found = _READY.search(_words(log))
        if found and not ended:
            return int(found[1])
        if ended or time.monotonic() > deadline:
            reason = tail(_words(log).decode(errors="replace")) or f"nothing happened for {seconds:.0f} s"
            message = f"no way to {where} through the API server: {reason}; `invoke status` says what is not ready"
            raise BetelgeuseError(message)
        time.sleep(_PAUSE)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def held(argv: Sequence[str], where: str, env: dict[str, str], seconds: float = _SECONDS) -> Iterator[int]:
    """Run a port-forward and give the local port once it listens; raise BetelgeuseError with the reason if not."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - argv comes from our own code, and there is no shell
            tied(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, process_group=0
        )
        try:
            yield _listening(process, log, where, seconds)
        finally:
            _end(process)


@contextmanager
def to_pod(settings: Settings, namespace: str, pod: str, port: int) -> Iterator[int]:
    """Give a local port, chosen by the kernel, that leads to a pod's."""
    argv = in_namespace(settings, namespace)
    argv += ["port-forward", "--address", "127.0.0.1", f"pod/{pod}", f":{port}"]
    with held(argv, f"pod {namespace}/{pod}", environment()) as local:
        yield local
