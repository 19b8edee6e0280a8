"""Run programs on a server by the OpenSSH client: one connection per server, and only to the one that is meant.

What the client is told stands in a file below the environment's state, `ssh -F <file> <name>` reaches the server as we
do. Keys come from the user's agent, or from where their own configuration says; none is ours.
"""

import base64
import binascii
import hashlib
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.servers import Server
from betelgeuse.shell import run

Each = TypeVar("Each")
Result = TypeVar("Result")

_SCAN_SECONDS: Final = 10
_CONNECT_SECONDS: Final = 10
_PERSIST_SECONDS: Final = 60
"""How long a connection stays without a command: the next one needs no handshake."""
_SECONDS: Final = 120.0
_SOCKET_LENGTH: Final = 107 - 18
"""What the kernel takes for a socket's path, less what OpenSSH appends while it makes one."""
_KEY_FIELDS: Final = 3


def folder(env: str) -> Path:
    """Return where the client's files of an environment are."""
    return paths.state_dir(env) / "ssh"


def fingerprint(key: str) -> str:
    """Return the fingerprint of a public key (base64), as `ssh-keygen -l` prints it; "" where it is no key."""
    try:
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except (binascii.Error, ValueError):
        return ""
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def offered(scan: str) -> list[tuple[str, str]]:
    """Return (type, key) of the host keys in what ssh-keyscan says."""
    lines = (line.split() for line in scan.splitlines() if not line.startswith("#"))
    return [(fields[1], fields[2]) for fields in lines if len(fields) == _KEY_FIELDS]


def _options(server: Server, known_hosts: Path) -> str:
    """Return the client's configuration for one server; of an option said twice, the first counts."""
    said = {
        "HostName": server.address,
        # The name stands in our known_hosts file, whichever address and port.
        "HostKeyAlias": server.name,
        "Port": server.port,
        "User": server.user,
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "VerifyHostKeyDNS": "no",
        # Nobody is there to be asked.
        "BatchMode": "yes",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "RequestTTY": "no",
        "RemoteCommand": "none",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ConnectTimeout": _CONNECT_SECONDS,
        # A server that lost its power is noticed within a minute.
        "ServerAliveInterval": 15,
        "ServerAliveCountMax": 4,
        "ControlMaster": "auto",
        "ControlPath": f'"{known_hosts.parent / server.name}.sock"',
        "ControlPersist": _PERSIST_SECONDS,
        "LogLevel": "ERROR",
    }
    return "\n".join([f"Host {server.name}", *(f"  {name} {value}" for name, value in said.items())])


class Connection:
    """One server to run programs on, as root."""

    def __init__(self, server: Server, env: str) -> None:
        """Remember whom to reach; nothing is asked yet."""
        self.server, self.env = server, env
        self._folder = folder(env)
        self._known_hosts = self._folder / f"{server.name}.known_hosts"
        self._config = self._folder / f"{server.name}.config"
        self._lock = threading.Lock()

    def open(self) -> None:
        """Find out that the server is the one that servers.yaml means, and that it lets us in as root.

        Raises RefusedError for a host key that is not the declared one, BetelgeuseError where nobody answers, no key of
        ours is accepted, or the user may not become root.
        """
        with self._lock:
            self._trust()
            self._configure()
        self.run("true", timeout=_CONNECT_SECONDS + 20)

    def _trust(self) -> None:
        """Write the known_hosts file, of the one key whose fingerprint is declared."""
        server = self.server
        argv = ["ssh-keyscan", "-T", str(_SCAN_SECONDS), "-p", str(server.port), server.address]
        try:
            found = offered(run(argv, timeout=_SCAN_SECONDS * 3, internet=False))
        except BetelgeuseError as error:
            if "not installed" in str(error):
                raise
            found = []
        at = f"{server.name} ({server.address}:{server.port})"
        if not found:
            message = f"{at}: no SSH server answers"
            raise BetelgeuseError(message)
        matching = [(kind, key) for kind, key in found if fingerprint(key) == server.host_key]
        if not matching:
            shown = ", ".join(f"{fingerprint(key)} ({kind})" for kind, key in found)
            message = (
                f"{at} shows the host keys {shown}, servers.yaml says {server.host_key}: another machine answers, or it"
                " was installed anew; compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its console"
            )
            raise RefusedError(message)
        _settle(self._known_hosts, "".join(f"{server.name} {kind} {key}\n" for kind, key in matching))

    def _configure(self) -> None:
        if len(f"{self._folder / self.server.name}.sock") > _SOCKET_LENGTH:
            message = f"{self._folder} is too long a path for a socket: set BETELGEUSE_STATE to a shorter one"
            raise UsageError(message)
        # What a person says of their keys counts, but none of our options can be overruled behind us.
        user = "Match all\n  Include ~/.ssh/config\n"
        _settle(self._config, f"{_options(self.server, self._known_hosts)}\n\n{user}")

    def argv(self, command: str) -> list[str]:
        """Return what runs a command line of the server's shell there, as root."""
        rights = [] if self.server.user == "root" else ["sudo", "--non-interactive", "--"]
        line = shlex.join([*rights, "sh", "-ec", command])
        return ["ssh", "-F", str(self._config), self.server.name, line]

    def run(
        self,
        command: str,
        *,
        input: str | Path | None = None,  # noqa: A002 - the name subprocess gives it
        timeout: float = _SECONDS,
        log: Path | None = None,
    ) -> str:
        """Run a command line of the server's shell as root and return its output.

        `input` is what it reads: a text, or a file of this machine; secrets go this way, never in the command. Raises
        BetelgeuseError with the server's name and the command's last words.
        """
        try:
            return run(self.argv(command), input=input, timeout=timeout, log=log, internet=False)
        except BetelgeuseError as error:
            reason = str(error).partition(" failed with exit code ")[2] or str(error)
            message = f"{self.server.name}: `{_shown(command)}` failed with exit code {reason}"
            raise BetelgeuseError(message) from None

    def succeeds(self, command: str) -> bool:
        """Tell whether a command ends with 0; one that cannot be asked raises BetelgeuseError."""
        return self.run(f"if {{ {command}; }} >/dev/null 2>&1; then echo yes; else echo no; fi").strip() == "yes"

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Write a file there whole, or not at all; who may not read it in the end may not meanwhile."""
        name, draft, parent = shlex.quote(path), shlex.quote(f"{path}.new"), shlex.quote(str(Path(path).parent))
        command = f"umask 077; mkdir -p -m 755 {parent}; cat > {draft}; chmod {mode:o} {draft}; mv {draft} {name}"
        self.run(command, input=content)

    def settle(self, files: Mapping[str, str]) -> list[str]:
        """Write the files whose content there is another, and return their paths."""
        changed = []
        for path, content in files.items():
            # A file that is absent says nothing.
            if self.run(f"cat {shlex.quote(path)} 2>/dev/null || true") != content:
                self.write(path, content)
                changed.append(path)
        return changed

    def seen_from(self) -> str:
        """Return the address from which the server sees us come."""
        # Without root: sudo takes the variable away.
        argv = ["ssh", "-F", str(self._config), self.server.name, 'echo "$SSH_CONNECTION"']
        return run(argv, timeout=_SECONDS, internet=False).split()[0]

    def close(self) -> None:
        """End the connection that commands share; without one there is nothing to do."""
        if (self._folder / f"{self.server.name}.sock").exists():
            run(["ssh", "-F", str(self._config), "-O", "exit", self.server.name], timeout=_CONNECT_SECONDS)


def _shown(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 80 else f"{line[:77]}…"  # noqa: PLR2004 - part of a line of a terminal


def _settle(file: Path, content: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.settle(file, content)


def at_once(work: Callable[[Each], Result], items: Sequence[Each]) -> list[Result]:
    """Do a piece of work for every server at once; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(max(len(items), 1), thread_name_prefix="server") as pool:
        return list(pool.map(work, items))


def connect(env: str, servers: Sequence[Server]) -> list[Connection]:
    """Open a connection to each server; raises as `Connection.open` does."""
    found = [Connection(server, env) for server in servers]
    at_once(Connection.open, found)
    return found
