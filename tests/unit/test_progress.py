"""What the user sees."""

import io
import sys
import time

import pytest

from betelgeuse.progress import Ticker, out, say, step

ODD = "é half\ud83d \x1b[31m \u202e \x07 \x85"
SHOWN = r"é half\ud83d \x1b[31m \u202e \x07 \x85"


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal, for the rest of the calling test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_without_a_terminal_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """A step is two lines, without a control character; results go to standard output."""
    with step("building"):
        say("half-way")
    out("result")
    captured = capsys.readouterr()
    lines = [line.partition(" s] ")[2] for line in captured.err.splitlines()]

    assert lines[:2] == ["building …", "half-way"]
    assert lines[2].startswith("building … done (")
    assert captured.out == "result\n"
    assert captured.err.replace("\n", "").isprintable()


def test_others_words_cannot_drive_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results, lines and the live line show control characters, turned text and half characters as escapes."""
    say(ODD)
    out(f"{ODD}\n\ttwo\n")
    captured = capsys.readouterr()

    assert captured.err.endswith(f"{SHOWN}\n")
    assert captured.out == f"{SHOWN}\n\ttwo\n"
    screen = terminal(monkeypatch)
    with step(f"a\n{ODD}"):
        pass
    assert f"] a\\n{SHOWN} …" in screen.getvalue()


def test_a_failed_step_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The step that raised is marked."""
    with pytest.raises(ValueError, match="x"), step("building"):
        raise ValueError("x")  # noqa: EM101 - a test's error

    assert "building … failed (" in capsys.readouterr().err


def test_a_terminal_has_one_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The live line is taken away before a line is printed, drawn again after it, and gone at the end."""
    screen = terminal(monkeypatch)
    with step("outer"), step("inner"):
        say("news")
    text = screen.getvalue()

    assert "inner … (+1 more)" in text
    assert text.count("\r\x1b[K") >= 3
    assert text.endswith(" s)\n")


def test_no_color_means_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR and a dumb terminal get plain lines."""
    screen = terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "")
    with step("building"):
        pass

    assert "building … done" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_ticker_rewrites_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the wait is one line that changes."""
    screen = terminal(monkeypatch)
    with Ticker(300) as ticker:
        ticker.update("a 0/1 ready")

    assert "waiting 0/300 s: a 0/1 ready" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_ticker_is_calm_in_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a log nothing is said for two seconds, a new reason at most every five, an old one every thirty."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ticker = Ticker(300)
    for second in range(70):
        now[0] = float(second)
        ticker.update("slow" if second > 10 else f"quick {second}")
    ticker.close()
    seconds = [line.split()[-3 if "slow" in line else -4] for line in capsys.readouterr().err.splitlines()]

    assert seconds == ["2/300", "7/300", "12/300", "42/300"]


def test_an_ascii_stream_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a C locale nothing raises."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, "ascii"))
    say("größer …")
    sys.stderr.flush()

    assert raw.getvalue().endswith(b"gr??er ...\n")


def test_a_closed_terminal_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody reads any more, the work goes on."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)

    with step("building"):
        say("anybody?")


def test_a_reader_that_has_seen_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """`| head` is no error."""
    del tmp_path

    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return spare.fileno()

    with open("/dev/null", "w", encoding="utf-8") as spare:  # noqa: PTH123 - a descriptor to spend
        monkeypatch.setattr(sys, "stdout", Gone())
        out("x")
