"""How a check fails: what was wanted, what was got, where, and the command that shows it again."""

import time
from collections.abc import Callable
from typing import TypeVar

from conformance.secrecy import MASKER
from conformance.timeouts import TIMEOUTS

_T = TypeVar("_T")


class PromiseBrokenError(AssertionError):
    """A promise does not hold; the report shows its four parts."""

    def __init__(self, where: str, want: str, got: str, reproduce: str) -> None:
        """Keep the parts: the report lays them out, the console shows them one per line."""
        super().__init__(f"{where}\n  want: {want}\n  got:  {got}\n  next: {reproduce}")
        self.where = where
        self.want = want
        self.got = got
        self.reproduce = reproduce


def require(holds: object, *, where: str, want: str, got: object, reproduce: str) -> None:
    """Fail with all four parts unless the claim holds."""
    if not holds:
        raise PromiseBrokenError(where, want, shorten(got), reproduce)


def demand(value: _T | None, *, where: str, want: str, got: object, reproduce: str) -> _T:
    """Return what is there, or fail with all four parts."""
    if value is None:
        raise PromiseBrokenError(where, want, shorten(got), reproduce)
    return value


def require_none(faults: list[str], *, where: str, want: str, reproduce: str) -> None:
    """Fail with every fault found, not only the first: one run should tell the whole story."""
    if faults:
        raise PromiseBrokenError(where, want, shorten("; ".join(faults), 4000), reproduce)


def shorten(value: object, limit: int = 600) -> str:
    """Return the text of a value, cut to what a person reads; masked before, for half a secret is not recognised."""
    text = MASKER.clean(str(value))
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def poll(look: Callable[[], _T], enough: Callable[[_T], bool], timeout: float) -> tuple[_T, float]:
    """Look until it is enough or time is up; return the last look and the seconds it took. Never raises for time."""
    begin = time.monotonic()
    while True:
        seen = look()
        elapsed = time.monotonic() - begin
        if enough(seen) or elapsed >= timeout:
            return seen, elapsed
        time.sleep(min(TIMEOUTS.poll, max(0.0, timeout - elapsed)))
