"""Other programs: output, failure, interruption."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from betelgeuse import shell
from betelgeuse.errors import BetelgeuseError
from betelgeuse.shell import run, tail

PYTHON = sys.executable


def test_output_is_returned() -> None:
    """Standard output is the result; input, folder and environment reach the program."""
    code = "import os, sys; print(sys.stdin.read(), os.getcwd(), os.environ['WORD'], end='')"

    assert run([PYTHON, "-c", code], cwd=Path("/"), env={"WORD": "w"}, input="in") == "in / w"


def test_failure_is_the_programs_last_words() -> None:
    """The error names command, code and the last lines that say something, without colours."""
    code = r"import sys; print('\n'.join('abcd'), '\x1b[31mred\x1b[0m', '', sep='\n', file=sys.stderr); sys.exit(3)"

    with pytest.raises(BetelgeuseError, match=r"failed with exit code 3: c \| d \| red$") as caught:
        run([PYTHON, "-c", code])

    assert "\n" not in str(caught.value).replace("\\n", "")


def test_silent_failure_and_long_words() -> None:
    """A program that says nothing is told apart; one that says too much is cut."""
    with pytest.raises(BetelgeuseError, match="`false` failed with exit code 1: it said nothing"):
        run(["false"])
    assert tail("x" * 5000).startswith("…x")
    assert len(tail("x" * 5000)) == 601
    with pytest.raises(BetelgeuseError, match=r"^`sh -c .{100,120}…` failed"):
        run(["sh", "-c", f"exit 1 # {'y' * 300}"])


def test_missing_program_folder_and_permission(tmp_path: Path) -> None:
    """Three ways not to start, three lines."""
    with pytest.raises(BetelgeuseError, match="cannot run no-such-program: the program is not installed"):
        run(["no-such-program"])
    with pytest.raises(BetelgeuseError, match=r"cannot run true: folder .*absent does not exist"):
        run(["true"], cwd=tmp_path / "absent")
    (tmp_path / "text").write_text("x")
    with pytest.raises(BetelgeuseError, match="text: Permission denied"):
        run([str(tmp_path / "text")])


def test_log_holds_everything(tmp_path: Path) -> None:
    """With a log, output and errors go to its end, and a failure names it."""
    log = tmp_path / "logs" / "x.log"
    first = run(["sh", "-c", "echo one; echo two >&2"], log=log)
    with pytest.raises(BetelgeuseError, match=rf"exit code 4: three \(full log: {log}\)"):
        run(["sh", "-c", "echo three; exit 4"], log=log)

    assert first == "one\ntwo\n"
    assert log.read_text() == "one\ntwo\nthree\n"


def test_late_programs_are_stopped_with_their_children(tmp_path: Path) -> None:
    """A time limit ends the whole family."""
    with pytest.raises(BetelgeuseError, match="did not end within 1 s and was stopped"):
        run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path / 'pid'}; wait"], timeout=1)

    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_interrupt_stops_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends what was started, and goes on to the caller."""
    pids: list[int] = []

    def interrupted(process: object, *_: object) -> None:
        pids.append(process.pid)  # type: ignore[attr-defined] # a Popen
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(["sleep", "600"])

    assert not os.path.exists(f"/proc/{pids[0]}") or not _runs(pids[0])  # noqa: PTH110 - one line


def test_stop_all_ends_what_other_threads_wait_for() -> None:
    """A failed part of a pipeline can end the programs of the others."""
    errors: list[str] = []

    def work() -> None:
        try:
            run(["sleep", "600"])
        except BetelgeuseError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    while not shell._RUNNING:
        time.sleep(0.01)
    shell.stop_all()
    thread.join(10)

    assert errors == ["`sleep 600` failed with exit code -15: it said nothing"]
