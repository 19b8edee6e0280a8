"""Where panels stand: from left to right in their order, in rows without a gap."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .model import COLUMNS, Panel


@dataclass(frozen=True)
class Place:
    """A panel, its upper left corner, and how large it is shown: at least as it wants to be."""

    panel: Panel
    x: int
    y: int
    width: int
    height: int


def _rows(panels: Iterable[Panel]) -> Iterator[list[Panel]]:
    """Yield panels by rows: what no longer fits begins the next."""
    row: list[Panel] = []
    for panel in panels:
        if row and sum(each.width for each in row) + panel.width > COLUMNS:
            yield row
            row = []
        row.append(panel)
    if row:
        yield row


def places(panels: Iterable[Panel]) -> Iterator[Place]:
    """Yield each panel with its place. Panels of a row share what is left of it, and are as high as its highest."""
    y = 0
    for row in _rows(panels):
        whole, height, before = sum(each.width for each in row), max(each.height for each in row), 0
        for panel in row:
            x, end = (round(COLUMNS * width / whole) for width in (before, before + panel.width))
            yield Place(panel, x, y, end - x, height)
            before += panel.width
        y += height
