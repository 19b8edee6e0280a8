"""Durations counted in classes 0.05 % wide: exact percentiles of millions of values, in little memory, that add up.

The layout is HdrHistogram's (http://hdrhistogram.org) for three significant digits: 2048 classes for each power of two.
Its Python package is not used: untyped, it needs setuptools at run time and the largest value in advance.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

_TICKS: Final = 1e7
"""Per second: below 0.4 ms a class is 0.1 µs wide."""
_BITS: Final = 12
_HALF: Final = 1 << (_BITS - 1)


def _middle(number: int) -> float:
    """Return the seconds in the middle of a class."""
    shift = max(0, number // _HALF - 1)
    return (((number - shift * _HALF) << shift) + (1 << shift) / 2) / _TICKS


@dataclass
class Histogram:
    """Durations in seconds; a negative one counts as 0."""

    counts: dict[int, int] = field(default_factory=dict)
    """How many, by class."""
    total: float = 0.0
    """The sum of all."""
    least: float = math.inf
    most: float = -math.inf

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.add_all([seconds])

    def add_all(self, durations: Sequence[float]) -> None:
        """Count one or more. Written for speed: an answer's hundreds of gaps hold up the other users of a process."""
        counts, known = self.counts, self.counts.get
        for seconds in durations:
            number = ticks = int(seconds * _TICKS) if seconds > 0 else 0
            if (shift := ticks.bit_length() - _BITS) > 0:
                number = shift * _HALF + (ticks >> shift)
            counts[number] = known(number, 0) + 1
        self.total += sum(max(seconds, 0.0) for seconds in durations)
        self.least = min(self.least, max(min(durations), 0.0))
        self.most = max(self.most, 0.0, *durations)

    def merge(self, other: Self) -> None:
        """Count what another has counted."""
        for number, count in other.counts.items():
            self.counts[number] = self.counts.get(number, 0) + count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    @property
    def count(self) -> int:
        """Return how many durations were counted."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """Return the mean in seconds, not rounded; NaN of nothing."""
        return self.total / self.count if self.counts else math.nan

    def percentiles(self, shares: Iterable[float]) -> Iterator[float]:
        """Yield nearest-rank percentiles, at most 0.025 % off, for growing shares of 0 to 1; NaN of nothing."""
        count, seen, classes = self.count, 0, iter(sorted(self.counts))
        number = 0
        for share in shares:
            # A share such as 0.07 times 100 is a hair more than 7.
            rank = max(1, math.ceil(share * count - 1e-9))
            while seen < min(rank, count):
                number = next(classes)
                seen += self.counts[number]
            yield min(max(_middle(number), self.least), self.most) if count else math.nan

    def percentile(self, share: float) -> float:
        """Return one nearest-rank percentile in seconds; NaN of nothing."""
        return next(self.percentiles([share]))

    def plain(self) -> list[Any]:
        """Return it as lists and numbers, to be sent or written."""
        return [self.total, self.least, self.most, [number for pair in self.counts.items() for number in pair]]

    @classmethod
    def of(cls, plain: list[Any]) -> Self:
        """Return what `plain` was made of."""
        total, least, most, flat = plain
        return cls(dict(zip(flat[::2], flat[1::2], strict=True)), total, least, most)
