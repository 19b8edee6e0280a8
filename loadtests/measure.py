"""What is measured of each request, and the exact figures of a run; knows neither Locust nor HTTP."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


@dataclass
class Answer:
    """One streamed answer, in seconds of one clock: when it was asked for, and when each piece of text came."""

    asked: float
    pieces: list[float] = field(default_factory=list)
    ended: float = 0.0
    tokens: int = 0
    """As the server counts them (`usage`): a piece may hold several tokens, or half of one."""

    @property
    def time_to_first_token(self) -> float:
        """Return the seconds from asking to the first piece of text."""
        return self.pieces[0] - self.asked

    @property
    def time_per_output_token(self) -> float:
        """Return the mean seconds per token after the first; 0 for an answer of one token."""
        return (self.pieces[-1] - self.pieces[0]) / (self.tokens - 1) if self.tokens > 1 else 0.0

    @property
    def gaps(self) -> list[float]:
        """Return the seconds between pieces: what a reader sees as smooth or halting."""
        return [late - early for early, late in zip(self.pieces, self.pieces[1:], strict=False)]


def events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON events of a server-sent stream up to `[DONE]`; comments and pings are passed over."""
    for line in lines:
        if not line.startswith(_DATA):
            continue
        body = line.removeprefix(_DATA).strip()
        if body == _DONE:
            return
        yield json.loads(body)


def text_of(event: dict[str, Any]) -> str:
    """Return the text that an event adds to the answer, empty for the role, the end and the usage."""
    choices = event.get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or ""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: a value that occurred, not one in between; NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass
class Run:
    """Everything observed in a run."""

    asked: int = 0
    """Requests that came to an end: good ones and failures, not those cut off by the end of the run."""
    failures: int = 0
    units: int = 0
    """Tokens written, or texts embedded."""
    series: dict[str, list[float]] = field(default_factory=dict)
    """Seconds, by name."""

    def add(self, name: str, *values: float) -> None:
        """Note values of a series."""
        self.series.setdefault(name, []).extend(values)

    def add_failure(self) -> None:
        """Note a request that failed."""
        self.asked += 1
        self.failures += 1

    def add_batch(self, texts: int, seconds: float) -> None:
        """Note a batch of embedded texts."""
        self.asked += 1
        self.units += texts
        self.add("end to end", seconds)

    def add_answer(self, answer: Answer) -> None:
        """Note a whole streamed answer."""
        self.asked += 1
        self.units += answer.tokens
        self.add("time to first token", answer.time_to_first_token)
        self.add("between pieces", *answer.gaps)
        self.add("end to end", answer.ended - answer.asked)
        if answer.tokens > 1:
            self.add("per output token", answer.time_per_output_token)

    def figures(self, seconds: float) -> dict[str, float]:
        """Return the run's figures; times in seconds, rates per second of the whole run."""
        figures = {
            "requests": float(self.asked),
            "failure ratio": self.failures / self.asked if self.asked else math.nan,
            "per second": self.units / seconds if seconds else math.nan,
        }
        for name, values in self.series.items():
            figures |= {f"{name} p{share:.0%}".rstrip("%"): percentile(values, share) for share in (0.5, 0.95, 0.99)}
        return figures


@dataclass(frozen=True)
class Limit:
    """A promise on one figure."""

    figure: str
    least: float = -math.inf
    most: float = math.inf

    def broken_by(self, figures: dict[str, float]) -> str:
        """Return what is wrong, empty when the promise holds; a figure that is missing breaks it."""
        got = figures.get(self.figure, math.nan)
        if self.least <= got <= self.most:
            return ""
        wanted = f"at least {self.least:g}" if math.isinf(self.most) else f"at most {self.most:g}"
        return f"{self.figure}: expected {wanted}, got {got:.3g}"
