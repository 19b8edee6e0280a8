"""The only part of the doctor that touches the machine: reads, looks, runs; it never changes anything."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from betelgeuse.surroundings import environment

_ABSENT = 127
_CONNECT_SECONDS = 3.0
"""A server's SSH port answers in far less, anywhere on earth."""


class Probe(Protocol):
    """What checks may ask; tests answer from tables."""

    @property
    def uid(self) -> int:
        """Return the effective user id."""

    @property
    def python(self) -> tuple[int, int]:
        """Return the running interpreter's version."""

    @property
    def cpus(self) -> int:
        """Return how many CPUs this process may use."""

    @property
    def file_limit(self) -> int:
        """Return the hard limit of open files."""

    @property
    def now(self) -> float:
        """Return the time by the machine's clock."""

    def read(self, path: str) -> str | None:
        """Return a file's text, None when it is absent."""

    def exists(self, path: str) -> bool:
        """Tell whether a path exists."""

    def glob(self, pattern: str) -> list[str]:
        """Return the absolute paths a glob pattern matches."""

    def run(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 30.0) -> tuple[int, str]:
        """Return exit code and output of a command; 127 when it does not exist, 124 when it takes too long."""

    def free_gib(self, path: str) -> float:
        """Return the free space where a path is or will be."""

    def connects(self, host: str, port: int) -> str:
        """Return why a TCP connection fails, or an empty string when it does not."""

    def resolves(self, name: str) -> list[str]:
        """Return the addresses of a host name."""

    def variable(self, name: str) -> str:
        """Return an environment variable, empty when unset."""

    def installed(self, distribution: str) -> str | None:
        """Return the version of a Python distribution in this environment."""

    def which(self, command: str) -> str | None:
        """Return a command's path."""

    def scratch(self) -> str:
        """Return a new empty folder that is removed when the doctor ends."""


class Machine:
    """The real machine."""

    def __init__(self) -> None:
        """Prepare a folder for what clients insist on writing."""
        self._scratch = tempfile.mkdtemp(prefix="betelgeuse-doctor-")
        weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)

    @property
    def uid(self) -> int:
        """Return the effective user id."""
        return os.geteuid()

    @property
    def python(self) -> tuple[int, int]:
        """Return the running interpreter's version."""
        return sys.version_info[:2]

    @property
    def cpus(self) -> int:
        """Return how many CPUs this process may use."""
        return len(os.sched_getaffinity(0))

    @property
    def file_limit(self) -> int:
        """Return the hard limit of open files."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    @property
    def now(self) -> float:
        """Return the time by the machine's clock."""
        return time.time()

    def read(self, path: str) -> str | None:
        """Return a file's text, None when it is absent."""
        try:
            return Path(path).read_text("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return None

    def exists(self, path: str) -> bool:
        """Tell whether a path exists."""
        return os.path.lexists(path)

    def glob(self, pattern: str) -> list[str]:
        """Return the absolute paths a glob pattern matches."""
        return sorted(str(path) for path in Path("/").glob(pattern.lstrip("/")))

    def run(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 30.0) -> tuple[int, str]:
        """Return exit code and output of a command; 127 when it does not exist, 124 when it takes too long."""
        try:
            done = subprocess.run(  # noqa: S603 - argument lists written in this package, no shell
                argv,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except OSError as error:
            return _ABSENT, f"{argv[0]}: {error.strerror}"
        except subprocess.TimeoutExpired:
            return 124, f"{argv[0]}: no answer within {timeout:.0f} s"
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace").strip()

    def free_gib(self, path: str) -> float:
        """Return the free space where a path is or will be."""
        place = Path(path)
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free / 2**30

    def connects(self, host: str, port: int) -> str:
        """Return why a TCP connection fails, or an empty string when it does not."""
        try:
            with socket.create_connection((host, port), _CONNECT_SECONDS):
                return ""
        except OSError as error:
            return error.strerror or str(error) or type(error).__name__

    def resolves(self, name: str) -> list[str]:
        """Return the addresses of a host name."""
        try:
            return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})
        except OSError:
            return []

    def variable(self, name: str) -> str:
        """Return an environment variable, empty when unset."""
        return os.environ.get(name, "")

    def installed(self, distribution: str) -> str | None:
        """Return the version of a Python distribution in this environment."""
        try:
            return version(distribution)
        except PackageNotFoundError:
            return None

    def which(self, command: str) -> str | None:
        """Return a command's path."""
        return shutil.which(command)

    def scratch(self) -> str:
        """Return a new empty folder that is removed when the doctor ends."""
        return tempfile.mkdtemp(dir=self._scratch)
