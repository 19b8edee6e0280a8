"""A sweep's decisions: which load to try next, and what the tried loads say. Pure: knows no clock, users or servers.

Two answers are looked for:

* the largest load that holds the SLO: good at it and at every smaller load that was tried;
* the knee of throughput over load: where the power, throughput / latency, is greatest (Kleinrock, "Power and
  deterministic rules of thumb for probabilistic problems in computer communications", ICC 1979). Below it a higher load
  buys throughput, above it mostly waiting. In a closed loop whose server works off at most C requests per second,
  each in R0 seconds when alone, it is at R0 * C users: where the two asymptotes of the throughput meet.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_GROWTH: Final = 2.0
_PAST: Final = 0.5
"""Power has fallen to this share of its greatest: the knee lies well behind."""
_CLOSE: Final = 1.15
"""Neighbours closer than this ratio bracket an answer well enough."""
_NEAR: Final = 0.6
"""The parabola is fitted to loads whose power is at least this share of the greatest."""
_POINTS: Final = 3


@dataclass(frozen=True)
class Step:
    """What one load showed."""

    load: float
    """Users of a closed loop, or requests per second of an open one."""
    throughput: float
    """Tokens, or texts, per second."""
    latency: float
    """Mean seconds of a request, end to end."""
    good: bool
    """Whether the SLO held."""
    steady: bool = True
    """Whether the figures had settled when time for the step ran out."""
    waits: Mapping[str, float] = field(default_factory=dict)
    """Seconds that users waited, by figure ("time to first token p95")."""

    @property
    def power(self) -> float:
        """Return throughput / latency; 0 where nothing was answered."""
        return self.throughput / self.latency if self.latency > 0 else 0.0


def _between(low: float, high: float, *, whole: bool) -> float | None:
    """Return a load in the geometric middle, None when there is none or the two are close."""
    middle = math.sqrt(low * high)
    if not whole:
        return middle if high / low > _CLOSE else None
    rounded = round(middle)
    # From ten users on, the ratio of neighbours is what counts.
    return float(rounded) if low < rounded < high and high / low > _CLOSE else None


def within_slo(steps: Sequence[Step]) -> float:
    """Return the largest load that held the SLO below every one that did not; 0 when there is none."""
    worst = min((step.load for step in steps if not step.good), default=math.inf)
    return max((step.load for step in steps if step.good and step.load < worst), default=0.0)


def _peak(steps: Sequence[Step]) -> int:
    return max(range(len(steps)), key=lambda at: steps[at].power)


def next_load(steps: Sequence[Step], largest: float, *, whole: bool) -> float | None:
    """Return the load to try next, up to the largest allowed; None when both answers are bracketed closely.

    `whole`: loads are users, not rates. Doubles until the SLO is broken and the power has fallen; then halves, on a
    logarithmic scale, what is unknown about the SLO's end and about the greatest power.
    """
    ordered = sorted(steps, key=lambda step: step.load)
    last, peak = ordered[-1], _peak(ordered)
    past = last.power <= _PAST * ordered[peak].power and not last.good
    if not past and last.load < largest:
        return min(last.load * _GROWTH, largest)
    # An open loop may begin beyond its knee, or beyond what holds the SLO.
    if not whole and (peak == 0 or not within_slo(ordered)) and ordered[0].load > largest / 1000:
        return ordered[0].load / _GROWTH
    held = within_slo(ordered)
    broken = min((step.load for step in ordered if not step.good), default=math.inf)
    if held and broken < math.inf and (found := _between(held, broken, whole=whole)) is not None:
        return found
    for low, high in ((peak - 1, peak), (peak, peak + 1)):
        if low >= 0 and high < len(ordered):
            found = _between(ordered[low].load, ordered[high].load, whole=whole)
            if found is not None:
                return found
    return None


def knee(steps: Sequence[Step], *, whole: bool) -> float:
    """Return the load of the greatest power; NaN of nothing.

    A parabola fitted by least squares around the greatest power evens out noise: a top is flat, and the single greatest
    value may lie far off. Users are fitted on logarithmic scales, where the power of a closed loop falls as steeply
    behind the knee as it rises before it; rates on linear ones, where the power of an M/M/1 queue is a parabola.
    """
    ordered = sorted((step for step in steps if step.power > 0), key=lambda step: step.load)
    if not ordered:
        return math.nan
    top = ordered[_peak(ordered)]
    near = [step for step in ordered if step.power >= _NEAR * top.power]
    if len(near) < _POINTS:
        return top.load
    scaled = [(step.load / top.load, step.power / top.power) for step in near]
    points = [(math.log(x), math.log(y)) if whole else (x, y) for x, y in scaled]
    vertex = _vertex(points)
    if math.isnan(vertex):
        return top.load
    return top.load * (math.exp(vertex) if whole else vertex)


def _vertex(points: Sequence[tuple[float, float]]) -> float:
    """Return where the parabola through the points is greatest, within what they span; NaN where it opens upwards."""
    s = [sum(x**power for x, _ in points) for power in range(5)]
    t = [sum(y * x**power for x, y in points) for power in range(3)]
    # Cramer's rule for the curvature a and the slope b of y = a x^2 + b x + c.
    curvature = _determinant([t[2], s[3], s[2]], [t[1], s[2], s[1]], [t[0], s[1], s[0]])
    slope = _determinant([s[4], t[2], s[2]], [s[3], t[1], s[1]], [s[2], t[0], s[0]])
    if curvature >= 0:
        return math.nan
    return min(max(-slope / (2 * curvature), points[0][0]), points[-1][0])


def _determinant(first: Sequence[float], second: Sequence[float], third: Sequence[float]) -> float:
    (a, b, c), (d, e, f), (g, h, i) = first, second, third
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
