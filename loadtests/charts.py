"""Charts as SVG text: readable without scripts, fonts or files from elsewhere. Every word is escaped."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 44, 44
_COLOURS: Final = ("--c1", "--c2", "--c3", "--c4", "--c5", "--c6")
"""Variables of the page's style: told apart by people who see colours otherwise too (Okabe and Ito's palette)."""
_THOUSAND: Final = 1000
_FEW_DECADES: Final = 3
_BAR: Final = 24

Point = tuple[float, float | None]
Mark = tuple[float, str]
"""A place on the x axis, and its name."""


@dataclass(frozen=True)
class Axis:
    """What one direction means, and where its ticks are."""

    label: str
    log: bool = False
    ticks: Sequence[Mark] = ()
    """Where the usual ones would mislead."""

    def place(self, value: float) -> float:
        """Return a value on the axis' own scale."""
        return math.log10(value) if self.log else value

    def bounds(self, values: Iterable[float]) -> tuple[float, float]:
        """Return where the axis begins and ends, with a little room."""
        values = list(values)
        low, high = min(values), max(values)
        if self.log:
            return low / 1.1, high * 1.1
        low = min(low, 0.0)
        return low, high * 1.05 if high > low else low + 1.0

    def marks(self, low: float, high: float) -> Iterator[Mark]:
        """Yield the ticks within the bounds."""
        known = self.ticks or [(at, number(at)) for at in (_decades(low, high) if self.log else _steps(low, high))]
        yield from ((at, word) for at, word in known if low <= at <= high)


def number(value: float) -> str:
    """Return a number as a person would write it on an axis."""
    return f"{value:.3g}" if abs(value) < _THOUSAND else f"{value:,.0f}"


def _steps(low: float, high: float) -> Iterator[float]:
    """Yield round numbers across a linear axis."""
    rough = (high - low) / 5
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * each for each in (1, 2, 5, 10) if size * each >= rough)
    first = math.ceil(low / step)
    yield from (step * at for at in range(first, math.floor(high / step + 1e-9) + 1))


def _decades(low: float, high: float) -> Iterator[float]:
    """Yield round numbers across a logarithmic axis, fewer where it is long."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    parts = (1, 2, 5) if last - first <= _FEW_DECADES else (1,)
    yield from (part * 10.0**power for power in range(first, last + 1) for part in parts)


class _Frame:
    """The plane of a chart: where values lie on it, and its parts as text."""

    def __init__(self, x: Axis, y: Axis, across: Iterable[float], up: Iterable[float]) -> None:
        self._x, self._y = x, y
        self._across, self._up = x.bounds(across), y.bounds(up)

    def left(self, value: float) -> float:
        low, high, at = (self._x.place(each) for each in (*self._across, value))
        return _LEFT + (at - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    def top(self, value: float) -> float:
        low, high, at = (self._y.place(each) for each in (*self._up, value))
        return HEIGHT - _BOTTOM - (at - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> Iterator[str]:
        for at, word in self._y.marks(*self._up):
            y = self.top(at)
            yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{escape(word)}</text>'
        for at, word in self._x.marks(*self._across):
            x = self.left(at)
            yield f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{HEIGHT - 28}">{escape(word)}</text>'
        middle = (HEIGHT - _BOTTOM + _TOP) / 2
        place = f'text-anchor="middle" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 8}"'
        yield f'<text class="tick" {place}>{escape(self._x.label)}</text>'
        turned = f'text-anchor="middle" transform="translate(14 {middle}) rotate(-90)"'
        yield f'<text class="tick" {turned}>{escape(self._y.label)}</text>'

    def mark(self, at: float, word: str, row: int) -> str:
        x = self.left(at)
        line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        # Rows apart: marks may lie close together. To the left, where the right is the edge.
        place = f'x="{x + 4:.1f}"' if x < WIDTH - _LEFT else f'x="{x - 4:.1f}" text-anchor="end"'
        return f'{line}<text class="tick" {place} y="{_TOP + 10 + 13 * row}">{escape(word)}</text>'

    def run(self, points: Sequence[tuple[float, float]], colour: str, *, dots: bool) -> Iterator[str]:
        places = [(f"{self.left(a):.1f}", f"{self.top(b):.1f}") for a, b in points]
        drawn = " ".join(",".join(place) for place in places)
        yield f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{drawn}"/>'
        if dots or len(points) == 1:
            yield from (f'<circle r="3.5" fill="{colour}" cx="{x}" cy="{y}"/>' for x, y in places)


def _begin(title: str, height: int) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return f'{head}<text class="title" x="0" y="16">{escape(title)}</text>'


def _runs(points: Iterable[Point]) -> list[list[tuple[float, float]]]:
    """Return the stretches between missing values."""
    found: list[list[tuple[float, float]]] = [[]]
    for a, b in points:
        if b is None:
            found.append([])
        else:
            found[-1].append((a, b))
    return [run for run in found if run]


def _key(names: Sequence[str]) -> Iterator[str]:
    """Yield what the colours mean, in a row below the title."""
    words = [
        f'<tspan dx="{10 if at else 0}" fill="var({_COLOURS[at % len(_COLOURS)]})">{escape(name)}</tspan>'
        for at, name in enumerate(names)
    ]
    joined = "".join(words)
    yield f'<text class="key" x="{_LEFT}" y="33">{joined}</text>'


def line(
    title: str,
    series: Sequence[tuple[str, Sequence[Point]]],
    axes: tuple[Axis, Axis],
    *,
    marks: Sequence[Mark] = (),
    dots: bool = False,
) -> str:
    """Return a chart of lines over (x, y) axes; a point without a value interrupts its line.

    `dots` shows each point too. Empty when there is no value at all.
    """
    x, y = axes
    # A logarithmic axis has no place for 0.
    known = [(name, _runs((a, b) for a, b in points if b is None or not y.log or b > 0)) for name, points in series]
    known = [(name, runs) for name, runs in known if runs]
    drawn = [point for _, runs in known for run in runs for point in run]
    if not drawn:
        return ""
    frame = _Frame(x, y, [a for a, _ in drawn], [b for _, b in drawn])
    parts = [_begin(title, HEIGHT), *frame.axes()]
    parts += [frame.mark(at, word, row) for row, (at, word) in enumerate(marks)]
    for at, (_, runs) in enumerate(known):
        for run in runs:
            parts += frame.run(run, f"var({_COLOURS[at % len(_COLOURS)]})", dots=dots)
    if len(known) > 1:
        parts += _key([name for name, _ in known])
    return "".join([*parts, "</svg>"])


def bars(title: str, rows: Sequence[tuple[str, float]]) -> str:
    """Return a chart of horizontal bars with their numbers; empty when there are no rows."""
    if not rows:
        return ""
    most = max(value for _, value in rows) or 1.0
    parts = [_begin(title, _BAR * (len(rows) + 1))]
    for at, (name, value) in enumerate(rows, 1):
        y, width = _BAR * at, value / most * 340
        parts.append(
            f'<text class="tick" x="0" y="{y + 15}">{escape(name)}</text>'
            f'<rect fill="var(--c2)" x="300" y="{y + 3}" height="16" width="{width:.1f}"/>'
            f'<text class="tick" x="{306 + width:.1f}" y="{y + 15}">{number(value)}</text>'
        )
    return "".join([*parts, "</svg>"])
