"""Promises on the figures of a run: what is broken, in words."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """A promise on one figure."""

    figure: str
    least: float = -math.inf
    most: float = math.inf

    def broken_by(self, figures: Mapping[str, float]) -> str:
        """Return what is wrong, empty when the promise holds; a figure that is missing breaks it."""
        got = figures.get(self.figure, math.nan)
        if self.least <= got <= self.most:
            return ""
        wanted = f"at least {self.least:g}" if math.isinf(self.most) else f"at most {self.most:g}"
        return f"{self.figure}: expected {wanted}, got {got:.3g}"


def broken(limits: Iterable[Limit], figures: Mapping[str, float]) -> list[str]:
    """Return what is wrong, one line each."""
    return [words for limit in limits if (words := limit.broken_by(figures))]
