"""The probe on the machine the tests run on: it reads, and never raises for what is absent."""

import socket
import sys
from pathlib import Path

from betelgeuse.doctor.probe import Machine


def test_facts_are_plausible() -> None:
    """Simple facts of a machine."""
    machine = Machine()

    assert machine.uid >= 0
    assert machine.python == sys.version_info[:2]
    assert machine.cpus >= 1
    assert machine.file_limit != 0
    assert machine.now > 1.7e9


def test_files(tmp_path: Path) -> None:
    """Absent is None, present is its text, broken bytes are no error."""
    machine = Machine()
    (tmp_path / "text").write_bytes(b"a\xff")

    assert machine.read(str(tmp_path / "text")) == "a\ufffd"
    assert machine.read(str(tmp_path / "none")) is None
    assert machine.read(str(tmp_path / "text" / "below")) is None
    assert (machine.exists(str(tmp_path / "text")), machine.exists(str(tmp_path / "none"))) == (True, False)
    assert machine.glob(f"{tmp_path}/t*") == [str(tmp_path / "text")]
    assert machine.free_gib(str(tmp_path / "not" / "yet" / "there")) > 0


def test_commands() -> None:
    """Output and exit code; 127 when absent, 124 when too slow; standard input is empty."""
    machine = Machine()

    assert machine.run("sh", "-c", "echo $LC_ALL-$OWN; echo bad >&2; exit 3", env={"OWN": "x"}) == (3, "C.UTF-8-x\nbad")
    assert machine.run("betelgeuse-no-such-command")[0] == 127
    assert machine.run("sleep", "10", timeout=0.05)[0] == 124
    assert machine.run("cat") == (0, "")


def test_connections() -> None:
    """A listener is reached; a closed port says why not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert Machine().connects("127.0.0.1", port) == ""

    assert "refused" in Machine().connects("127.0.0.1", port)


def test_names_and_distributions() -> None:
    """What this environment knows."""
    machine = Machine()

    assert "127.0.0.1" in machine.resolves("localhost")
    assert machine.resolves("no-such-host.invalid") == []
    assert machine.installed("pytest")
    assert machine.installed("betelgeuse-no-such-distribution") is None
    assert machine.which("sh")
    assert machine.variable("BETELGEUSE_NO_SUCH_VARIABLE") == ""
    assert list(Path(machine.scratch()).iterdir()) == []
