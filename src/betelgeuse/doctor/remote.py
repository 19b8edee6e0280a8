"""Look at a server over SSH as the doctor looks at this machine: the same questions, asked there."""

import shlex
import threading
from collections.abc import Mapping
from typing import Final

from betelgeuse.doctor.probe import Probe
from betelgeuse.errors import BetelgeuseError
from betelgeuse.servers import Server
from betelgeuse.ssh import Connection

_VERSION: Final = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


class Remote:
    """A server, as `probe.Probe` describes a machine."""

    def __init__(self, connection: Connection) -> None:
        """Take a connection that is open."""
        self._connection = connection

    def _ask(self, command: str) -> str:
        return self._connection.run(command).strip()

    @property
    def uid(self) -> int:
        """Return the user id that commands have there."""
        return int(self._ask("id -u"))

    @property
    def python(self) -> tuple[int, int]:
        """Return (0, 0): nothing of ours needs one there."""
        return (0, 0)

    @property
    def cpus(self) -> int:
        """Return how many CPUs it has."""
        return int(self._ask("nproc"))

    @property
    def file_limit(self) -> int:
        """Return the hard limit of open files of a session; units set their own."""
        answer = self._ask("ulimit -Hn")
        return -1 if answer == "unlimited" else int(answer)

    @property
    def now(self) -> float:
        """Return the time by the server's clock."""
        return float(self._ask("date +%s.%N"))

    def read(self, path: str) -> str | None:
        """Return a file's text, None when it is absent."""
        name = shlex.quote(path)
        mark, _, text = self._connection.run(f"[ -e {name} ] && echo there && cat {name} || true").partition("\n")
        return text if mark == "there" else None

    def exists(self, path: str) -> bool:
        """Tell whether a path exists."""
        name = shlex.quote(path)
        return self._connection.succeeds(f"[ -e {name} ] || [ -L {name} ]")

    def glob(self, pattern: str) -> list[str]:
        """Return the absolute paths a glob pattern matches; patterns of ours hold no spaces."""
        return sorted(self._ask(f'for each in {pattern}; do [ ! -e "$each" ] || echo "$each"; done').split())

    def run(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 30.0) -> tuple[int, str]:
        """Return exit code and output of a command; 127 when it does not exist, 124 when it takes too long."""
        said = [f"{name}={value}" for name, value in (env or {}).items()]
        line = shlex.join(["env", *said, "timeout", f"{timeout:.0f}", *argv])
        text, _, code = self._ask(f'out=$({line} 2>&1) && code=0 || code=$?; echo "$out"; echo $code').rpartition("\n")
        return int(code), text.strip()

    def free_gib(self, path: str) -> float:
        """Return the free space where a path is or will be."""
        name = shlex.quote(path)
        command = f'place={name}; while [ ! -e "$place" ]; do place=$(dirname "$place"); done; df -P -k "$place"'
        return int(self._ask(command).splitlines()[-1].split()[3]) / 2**20

    def connects(self, host: str, port: int) -> str:
        """Return why a TCP connection from there fails, or an empty string when it does not."""
        code, text = self.run("bash", "-c", f"</dev/tcp/{host}/{port}", timeout=3)
        return "" if code == 0 else text or "no answer"

    def resolves(self, name: str) -> list[str]:
        """Return the addresses of a host name, as the server sees it."""
        _, text = self.run("getent", "ahosts", name)
        return sorted({line.split()[0] for line in text.splitlines() if line})

    def variable(self, name: str) -> str:
        """Return an environment variable of the session, empty when unset."""
        return self.run("printenv", name)[1]

    def installed(self, distribution: str) -> str | None:
        """Return the version of a Python distribution there."""
        code, text = self.run("python3", "-c", _VERSION, distribution)
        return text if code == 0 else None

    def which(self, command: str) -> str | None:
        """Return a command's path."""
        code, text = self.run("sh", "-c", f"command -v {shlex.quote(command)}")
        return text if code == 0 else None

    def scratch(self) -> str:
        """Refuse: the doctor writes nothing on a server."""
        message = f"the doctor writes nothing on {self._connection.server.name}"
        raise BetelgeuseError(message)


class Reach:
    """Opens one connection to each server that is asked for; one that is out of reach stays so."""

    def __init__(self, env: str) -> None:
        """Remember whose servers they are."""
        self._env = env
        self._lock = threading.Lock()
        self._found: dict[str, Remote | BetelgeuseError] = {}

    def __call__(self, server: Server) -> Probe:
        """Return the probe of a server; raises what `Connection.open` raises."""
        with self._lock:
            if server.name not in self._found:
                connection = Connection(server, self._env)
                try:
                    connection.open()
                    self._found[server.name] = Remote(connection)
                except BetelgeuseError as error:
                    self._found[server.name] = error
            found = self._found[server.name]
        if isinstance(found, BetelgeuseError):
            raise found
        return found
