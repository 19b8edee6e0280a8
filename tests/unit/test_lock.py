"""One writer per environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError, LockedError
from betelgeuse.lock import exclusive

HOLD = """
import sys, time
from pathlib import Path
from betelgeuse import paths
paths.STATE = Path(sys.argv[1])
from betelgeuse.lock import exclusive
with exclusive("local", "deploy"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the state of environments in a folder of the test's own."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return tmp_path


def test_what_did_nothing_leaves_no_folder(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused command takes its own folders away again; what was there before, and what holds something, stays."""
    monkeypatch.setattr(paths, "STATE", state / "a")
    with pytest.raises(ZeroDivisionError), exclusive("local", "deploy"):
        raise ZeroDivisionError
    assert list(state.iterdir()) == []

    with exclusive("local", "deploy"):
        (state / "a" / "local" / "kubeconfig").touch()
    assert {path.name for path in (state / "a" / "local").iterdir()} == {"lock", "kubeconfig"}
    (state / "a" / "kind").mkdir()
    with exclusive("kind", "deploy"):
        pass
    assert (state / "a" / "kind" / "lock").is_file()


def test_the_second_is_told_who_holds_it(state: Path) -> None:
    """The error names verb, process and time; afterwards the lock is free."""
    with exclusive("local", "deploy"):
        held = json.loads((state / "local" / "lock").read_text())
        message = rf"environment 'local' is locked by deploy \(pid {os.getpid()}, since {re.escape(held['since'])}\)"
        with pytest.raises(LockedError, match=message), exclusive("local", "destroy"):
            pass
        with exclusive("kind", "deploy"):
            pass

    with exclusive("local", "destroy"):
        pass


def test_a_killed_holder_leaves_no_lock(state: Path) -> None:
    """After kill -9 the next command simply runs."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(state)], stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=f"deploy .pid {process.pid},"), exclusive("local", "x"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    with exclusive("local", "deploy"):
        pass


def test_a_removed_folder_does_not_split_the_lock(state: Path) -> None:
    """When `destroy` removes the folder while it holds the lock, the next one locks the new file."""
    with exclusive("local", "destroy"):
        shutil.rmtree(state / "local")

    with exclusive("local", "deploy"), pytest.raises(LockedError), exclusive("local", "deploy"):
        pass


def test_garbage_in_the_lock_is_no_crash(state: Path) -> None:
    """A holder that could not be read is `another command`."""
    with exclusive("local", "deploy"):
        (state / "local" / "lock").write_text("[1")
        with pytest.raises(LockedError, match="locked by another command"), exclusive("local", "deploy"):
            pass


def test_unwritable_state_is_one_line(state: Path) -> None:
    """A state folder that cannot be written names the variable that moves it."""
    (state / "local").write_text("a file")

    with (
        pytest.raises(BetelgeuseError, match=r"cannot write .*local/lock: .*set BETELGEUSE_STATE"),
        exclusive("local", "x"),
    ):
        pass
