"""What the user sees while we work: plain lines, plus one live line when a terminal is there.

Progress goes to standard error, so that results (`out`) can be piped. Threads may report at once: every line is written
whole. A terminal that went away never stops the work.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self, TextIO

from betelgeuse.errors import BetelgeuseError
from betelgeuse.printable import printable

_BORN: Final = time.monotonic()
_QUIET_SECONDS: Final = 30.0
"""Without a terminal a wait repeats itself this often at most: CI logs stay short, yet show life."""
_COLUMNS: Final = 80
"""Of a terminal that does not say."""
_SHORT_SECONDS: Final = 2.0
_CALM_SECONDS: Final = 5.0
"""A changed reason is told at once, unless another was told this short a time ago."""


_LAYOUT: Final = "\n\t"
"""Of what is not printable, this is shown as it is."""


def _plain(stream: TextIO, text: str) -> str:
    """Replace what the stream's encoding cannot carry (C locale): a progress line must never raise."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return text.replace("…", "...").encode("ascii", "replace").decode("ascii")
    return text


def _columns() -> int:
    """Return how wide the terminal is that shows progress: standard output may be another one, or none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    except (OSError, ValueError, AttributeError):
        return _COLUMNS


@dataclass
class _Screen:
    """The one owner of standard error."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    live: dict[int, str] = field(default_factory=dict)
    drawn: bool = False

    @property
    def terminal(self) -> bool:
        try:
            return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb" and "NO_COLOR" not in os.environ
        except (ValueError, AttributeError):
            return False

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(_plain(sys.stderr, text))
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            # The reader is gone (closed terminal, broken pipe): the work goes on without an audience.
            return

    def _erase(self) -> None:
        if self.drawn:
            self._write("\r\x1b[K")
            self.drawn = False

    def line(self, text: str) -> None:
        with self.lock:
            self._erase()
            self._write(f"[{time.monotonic() - _BORN:3.0f} s] {printable(text, _LAYOUT)}\n")
            self._draw()

    def _draw(self) -> None:
        if self.live and self.terminal:
            width = _columns() - 1
            newest = printable(next(reversed(self.live.values())))
            others = f" (+{len(self.live) - 1} more)" if len(self.live) > 1 else ""
            self._write(f"[{time.monotonic() - _BORN:3.0f} s] {newest}{others}"[:width])
            self.drawn = True

    def show(self, owner: object, text: str) -> None:
        """Set or, with an empty text, remove what one owner tells in the live line."""
        with self.lock:
            self._erase()
            self.live.pop(id(owner), None)
            if text:
                self.live[id(owner)] = text
            self._draw()


_SCREEN: Final = _Screen()


def say(text: str) -> None:
    """Print one line of progress."""
    _SCREEN.line(text)


def out(text: str) -> None:
    """Print a result to standard output; progress never mixes into it.

    Raises BetelgeuseError where it cannot be written: who waits for a result must not take half of it for the whole.
    """
    with _SCREEN.lock:
        # `>&-`: Python starts without the stream.
        if sys.stdout is None:
            message = "standard output is closed: the result cannot be printed"
            raise BetelgeuseError(message)
        text = printable(text, _LAYOUT)
        try:
            sys.stdout.write(_plain(sys.stdout, text if text.endswith("\n") else text + "\n"))
            sys.stdout.flush()
        except OSError as error:
            # Python would complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            # `invoke render | head`: the reader has seen enough.
            if not isinstance(error, BrokenPipeError):
                message = f"standard output: {error.strerror}: the result is not whole"
                raise BetelgeuseError(message) from None


def _beat(text: str, begin: float, detail: Callable[[], str], over: threading.Event, owner: object) -> None:
    """Show that a step lives: each second in the live line, now and then as a line of its own without a terminal."""
    printed = begin
    while not over.wait(1.0):
        now = time.monotonic()
        line = f"{text} … {now - begin:.0f} s {detail()}".rstrip()
        if _SCREEN.terminal:
            _SCREEN.show(owner, line)
        elif now - printed >= _QUIET_SECONDS:
            printed = now
            say(line)


@contextmanager
def step(text: str, detail: Callable[[], str] = str) -> Iterator[None]:
    """Tell that a piece of work begins, how far it is (`detail`) while it goes on, and how long it took in the end."""
    begin, owner, over = time.monotonic(), object(), threading.Event()
    if not _SCREEN.terminal:
        say(f"{text} …")
    _SCREEN.show(owner, f"{text} …")
    outcome = "failed"
    heart = threading.Thread(target=_beat, args=(text, begin, detail, over, owner), daemon=True)
    heart.start()
    try:
        yield
        outcome = "done"
    finally:
        over.set()
        heart.join()
        _SCREEN.show(owner, "")
        say(f"{text} … {outcome} ({time.monotonic() - begin:.1f} s)")


class Ticker:
    """One line for a wait, rewritten in place; without a terminal, printed when its reason changes."""

    def __init__(self, timeout: float, what: str = "waiting") -> None:
        """Start counting; `timeout` is only shown, the caller enforces it."""
        self.timeout = timeout
        self.what = what
        self.begin = time.monotonic()
        self._last_reason = ""
        # Most waits end within a second or two and are not worth a line.
        self._last_print = self.begin - _CALM_SECONDS + _SHORT_SECONDS

    def line(self, reason: str) -> str:
        """Return the text: `waiting 42/300 s: ai/llm 0/1 ready (…)`."""
        return f"{self.what} {self.elapsed:.0f}/{self.timeout:.0f} s: {reason}"

    @property
    def elapsed(self) -> float:
        """Seconds since this wait began."""
        return time.monotonic() - self.begin

    def restart(self) -> None:
        """Count from now on: something that was awaited is there."""
        self.begin = time.monotonic()

    def update(self, reason: str) -> None:
        """Show why we still wait."""
        if _SCREEN.terminal:
            _SCREEN.show(self, self.line(reason))
            return
        now = time.monotonic()
        quiet = now - self._last_print
        if quiet >= _QUIET_SECONDS or (quiet >= _CALM_SECONDS and reason != self._last_reason):
            self._last_reason, self._last_print = reason, now
            say(self.line(reason))

    def close(self) -> None:
        """Take the live line away."""
        _SCREEN.show(self, "")

    def __enter__(self) -> Self:
        """Use the ticker as a context, so that its line is always taken away."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live line away, however the wait ended."""
        self.close()
