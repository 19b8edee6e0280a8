"""Everything observed in a run, second by second: parts add up, across time and across workers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from loadtests.histogram import Histogram
from loadtests.measure import END_TO_END, FIRST_TOKEN, GAPS, Answer, Batch, Slo

SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_COUNTS: Final = ("started", "answered", "good", "failed", "dropped", "units", "prompt_tokens", "pieces", "written")


@dataclass
class Span:
    """What happened in a stretch of time. A request counts when it ends, a piece of text when it comes."""

    started: int = 0
    answered: int = 0
    good: int = 0
    """Answered within every limit of the SLO."""
    failed: int = 0
    dropped: int = 0
    """Starts of an open loop that no user was free for in time."""
    units: int = 0
    """Tokens written, or texts embedded."""
    prompt_tokens: int = 0
    pieces: int = 0
    written: int = 0
    """Pieces of the answers that ended."""
    causes: dict[str, int] = field(default_factory=dict)
    """Failures, by what the server or the network said."""
    series: dict[str, Histogram] = field(default_factory=dict)
    """Durations, by name."""

    def note(self, name: str, durations: Sequence[float]) -> None:
        """Count durations, one or more."""
        found = self.series.get(name)
        if found is None:
            found = self.series[name] = Histogram()
        found.add_all(durations)

    def merge(self, other: Self) -> None:
        """Add another stretch."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for cause, count in other.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + count
        for name, histogram in other.series.items():
            self.series.setdefault(name, Histogram()).merge(histogram)

    @property
    def wanted(self) -> int:
        """Return the requests that came to an end, and the starts that could not be made."""
        return self.answered + self.failed + self.dropped

    def plain(self) -> list[Any]:
        """Return it as lists, dictionaries and numbers, to be sent."""
        counts = [getattr(self, name) for name in _COUNTS]
        return [counts, self.causes, {name: histogram.plain() for name, histogram in self.series.items()}]

    @classmethod
    def of(cls, plain: Sequence[Any]) -> Self:
        """Return what `plain` was made of."""
        counts, causes, series = plain
        histograms = {name: Histogram.of(each) for name, each in series.items()}
        return cls(**dict(zip(_COUNTS, counts, strict=True)), causes=dict(causes), series=histograms)


class Recorder:
    """Where users note what they see; `began` is the moment from which seconds count."""

    def __init__(self, slo: Slo, began: float) -> None:
        """Begin with nothing seen."""
        self.slo, self.began = slo, began
        self._spans: dict[int, Span] = {}

    def at(self, now: float) -> Span:
        """Return the second that a moment of the clock falls into."""
        number = int(now - self.began)
        found = self._spans.get(number)
        if found is None:
            found = self._spans[number] = Span()
        return found

    def came(self, now: float, pieces: int) -> None:
        """Count pieces of text the moment they come."""
        self.at(now).pieces += pieces

    def add_answer(self, answer: Answer) -> None:
        """Note a whole streamed answer."""
        span = self._add(answer, answer.tokens)
        span.written += len(answer.pieces)
        if gaps := answer.gaps:
            span.note(GAPS, gaps)

    def add_batch(self, batch: Batch) -> None:
        """Note a batch of embedded texts."""
        self._add(batch, batch.texts)

    def _add(self, done: Answer | Batch, units: int) -> Span:
        span, durations = self.at(done.ended), done.durations
        span.answered += 1
        span.good += self.slo.holds(durations)
        span.units += units
        span.prompt_tokens += done.prompt_tokens
        for name, seconds in durations.items():
            span.note(name, [seconds])
        return span

    def add_failure(self, now: float, cause: str) -> None:
        """Note a request that failed."""
        span = self.at(now)
        span.failed += 1
        span.causes[cause] = span.causes.get(cause, 0) + 1

    def drain(self) -> dict[int, list[Any]]:
        """Return what was seen since the last time, and forget it here: for who adds it up."""
        spans, self._spans = self._spans, {}
        return {number: span.plain() for number, span in spans.items()}

    def merge(self, drained: dict[int, list[Any]]) -> None:
        """Add what another has drained."""
        for number, plain in drained.items():
            self._spans.setdefault(int(number), Span()).merge(Span.of(plain))

    def between(self, begin: float, end: float) -> Span:
        """Return the whole seconds in [begin, end), in seconds since the beginning, as one."""
        return whole(span for number, span in self._spans.items() if begin <= number < end)

    def timeline(self, seconds: float, points: int) -> list[tuple[float, float, Span]]:
        """Return (begin, width, what happened) of at most so many parts of the run, equal but for the last.

        A last part of less than half a width would show rates of a moment: it belongs to the one before.
        """
        width = max(1, math.ceil(seconds / points))
        last = max(0, round(seconds / width) - 1)
        parts = [(float(at * width), float(width), self.between(at * width, (at + 1) * width)) for at in range(last)]
        begin = float(last * width)
        return [*parts, (begin, max(seconds - begin, 1.0), self.between(begin, math.inf))]


def whole(spans: Iterable[Span]) -> Span:
    """Return stretches added up."""
    found = Span()
    for span in spans:
        found.merge(span)
    return found


def figures(span: Span, seconds: float, unit: str) -> dict[str, float]:
    """Return the figures of a stretch that took so many seconds, its warm-up not counted; times in seconds.

    `unit` is what the target makes: `tokens` or `texts`. What was not observed is NaN.
    """

    def per(count: float, whole: float) -> float:
        return count / whole if whole else math.nan

    ended = span.answered + span.failed
    found = {
        "requests": float(ended),
        "unfinished": float(max(0, span.started - ended)),
        "failure ratio": per(span.failed, ended),
        "dropped ratio": per(span.dropped, span.wanted),
        "goodput ratio": per(span.good, span.wanted),
        "goodput per second": per(span.good, seconds),
        "requests per second": per(span.answered, seconds),
        f"{unit} per second": per(span.units, seconds),
        "prompt tokens per second": per(span.prompt_tokens, seconds),
    }
    for name, histogram in span.series.items():
        values = histogram.percentiles(SHARES.values())
        found |= {f"{name} {label}": value for label, value in zip(SHARES, values, strict=True)}
        found |= {f"{name} mean": histogram.mean, f"{name} max": histogram.most}
    return found


def throughput(span: Span, seconds: float) -> float:
    """Return units per second as they came, also those of answers that are not finished yet.

    Pieces of text are counted at once, tokens only when an answer ends: the pieces are scaled to tokens.
    """
    scale = span.units / span.written if span.written else 1.0
    return (span.pieces * scale if span.pieces else span.units) / seconds


def latency(span: Span) -> float:
    """Return the mean seconds of a request from its intended start to its end; NaN of none."""
    found = span.series.get(END_TO_END)
    return found.mean if found is not None else math.nan


def waits(span: Span) -> dict[str, float]:
    """Return the seconds until the first token, and until the end, that half and 95 of 100 requests did not exceed.

    NaN where there was none.
    """
    shares = {label: SHARES[label] for label in ("p50", "p95")}
    return {
        f"{name} {label}": value
        for name in (FIRST_TOKEN, END_TO_END)
        for label, value in zip(shares, span.series.get(name, Histogram()).percentiles(shares.values()), strict=True)
    }
