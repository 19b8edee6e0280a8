"""A server is asked over SSH what this machine is asked directly: here the same machine, both ways."""

import sys
from pathlib import Path
from typing import cast

import pytest

from betelgeuse.doctor.probe import Machine
from betelgeuse.doctor.remote import Reach, Remote
from betelgeuse.errors import BetelgeuseError
from betelgeuse.servers import Server
from betelgeuse.shell import run
from betelgeuse.ssh import Connection

ONE = Server("one", "192.0.2.1", f"SHA256:{'a' * 43}")


class _Here:
    """A connection without a wire: the shell that a server would have, on this machine."""

    server = ONE

    def run(self, command: str) -> str:
        """Run a command line as a server's shell does."""
        return run(["sh", "-ec", command])

    def succeeds(self, command: str) -> bool:
        """Ask as the real one does."""
        return self.run(f"if {{ {command}; }} >/dev/null 2>&1; then echo yes; else echo no; fi").strip() == "yes"


@pytest.fixture
def there() -> Remote:
    """Give the probe of this machine as of a server."""
    return Remote(cast("Connection", _Here()))


def test_a_server_answers_as_the_machine_itself(there: Remote, tmp_path: Path) -> None:
    """Numbers, files, patterns, programs."""
    here, file = Machine(), tmp_path / "a file"
    file.write_text("one\ntwo\n", "utf-8")

    assert (there.uid, there.cpus, there.file_limit) == (here.uid, here.cpus, here.file_limit)
    assert abs(there.now - here.now) < 10
    assert there.read(str(file)) == here.read(str(file)) == "one\ntwo\n"
    assert there.read(str(tmp_path / "none")) is None
    assert there.exists(str(file))
    assert not there.exists(str(tmp_path / "none"))
    assert there.glob("/proc/self/sta*s") == here.glob("/proc/self/sta*s")
    assert there.glob("/nowhere/*") == []
    assert there.which("sh") == here.which("sh")
    assert there.which("no-such-program") is None
    assert abs(there.free_gib(str(tmp_path / "not" / "there")) - here.free_gib(str(tmp_path))) < 1


def test_commands_tell_their_exit_codes(there: Remote) -> None:
    """Also of what does not exist, and of what takes too long."""
    assert there.run("sh", "-c", "echo said; echo more >&2; exit 3") == (3, "said\nmore")
    assert there.run("printenv", "NAME", env={"NAME": "a value"}) == (0, "a value")
    assert there.run("no-such-program")[0] == 127
    assert there.run("sleep", "9", timeout=1)[0] == 124


def test_what_matters_little_is_answered_too(there: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, ports, variables, distributions; the doctor leaves nothing behind."""
    monkeypatch.setenv("BETELGEUSE_TEST", "here")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")

    assert there.variable("BETELGEUSE_TEST") == "here"
    assert there.resolves("localhost")
    assert there.connects("127.0.0.1", 1)
    assert there.installed("pytest")
    assert there.installed("no-such-distribution") is None
    assert there.python == (0, 0)
    with pytest.raises(BetelgeuseError, match="the doctor writes nothing on one"):
        there.scratch()


def test_no_limit_is_told(there: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """As -1, as by this machine's own probe."""
    monkeypatch.setattr(there, "_ask", lambda _: "unlimited")

    assert there.file_limit == -1


def test_a_server_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is open stays open, and what is out of reach is not asked again and again."""
    tried: list[str] = []

    def try_it(connection: Connection) -> None:
        tried.append(connection.server.name)
        if connection.server.name == "two":
            message = "two: no SSH server answers"
            raise BetelgeuseError(message)

    monkeypatch.setattr(Connection, "open", try_it)
    reach, two = Reach("own"), Server("two", "192.0.2.2", ONE.host_key)

    assert reach(ONE) is reach(ONE)
    for _ in range(2):
        with pytest.raises(BetelgeuseError, match="no SSH server answers"):
            reach(two)
    assert tried == ["one", "two"]
