"""The graph as one SVG file: callers on the left, callees with their ports on the right, a curve for each permission.

The same graph always gives the same bytes: no clock, no hash order, no layout engine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from betelgeuse.policy.drops import Drop
from betelgeuse.policy.graph import Edge

_WIDTH: Final = 1080
_BOX: Final = 300
_ROW: Final = 20
_HEAD: Final = 24
_GAP: Final = 14
_TOP: Final = 96
_MARGIN: Final = 24
_HUES: Final = 360
_GOLDEN: Final = 137
"""Degrees between neighbours on the colour wheel: any two that follow each other differ well."""

_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .head { font-weight: 600 } .title { font-size: 20px }
.note { fill: #59636e } .box { fill: #fff; stroke: #d1d9e0 } svg { background: #fff }
path { fill: none; stroke-width: 1.6; opacity: .75 } path:hover { stroke-width: 4; opacity: 1 }
.drop { stroke: #cf222e; stroke-dasharray: 5 4; opacity: 1 } .bad { fill: #cf222e }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .note { fill: #9198a1 }
.box { fill: #151b23; stroke: #3d444d } svg { background: #0d1117 } .drop { stroke: #ff7b72 } .bad { fill: #ff7b72 } }
"""


@dataclass(frozen=True)
class _Row:
    """A line of a box, with its height on the page."""

    text: str
    y: int
    refused: bool = False


class _Column:
    """Boxes one below the other, each with a head and rows."""

    def __init__(self, x: int) -> None:
        self.x, self.y = x, _TOP
        self.parts: list[str] = []
        self.places: dict[tuple[str, str], int] = {}

    def box(self, head: str, rows: Sequence[tuple[str, bool]]) -> None:
        """Draw a box and remember the height of its head (row "") and its rows."""
        height = _HEAD + _ROW * len(rows) + (6 if rows else 0)
        self.parts.append(f'<rect class="box" x="{self.x}" y="{self.y}" width="{_BOX}" height="{height}" rx="6"/>')
        self.parts.append(f'<text class="head" x="{self.x + 10}" y="{self.y + 17}">{escape(head)}</text>')
        self.places[head, ""] = self.y + _HEAD // 2
        for at, (text, refused) in enumerate(rows):
            y = self.y + _HEAD + _ROW * at
            style = ' class="bad"' if refused else ""
            self.parts.append(f'<text{style} x="{self.x + 22}" y="{y + 14}">{escape(text)}</text>')
            self.places[head, text] = y + _ROW // 2
        self.y += height + _GAP


def _by_name(name: str) -> tuple[bool, str]:
    """Order parties: pods by namespace, outsiders last."""
    return "/" not in name, name


def _rows(callee: str, edges: Iterable[Edge], drops: Iterable[Drop]) -> list[tuple[str, bool]]:
    allowed = {edge.door: edge.port for edge in edges if edge.callee == callee}
    dropped = {drop.door for drop in drops if drop.callee == callee} - set(allowed)
    opened = [(door, False) for door in sorted(allowed, key=lambda door: (allowed[door], door))]
    return [*opened, *((door, True) for door in sorted(dropped))]


def _curve(left: int, right: int, style: str, words: str) -> str:
    begin, end = _MARGIN + _BOX, _WIDTH - _MARGIN - _BOX
    bend = (begin + end) // 2
    path = f"M{begin} {left}C{bend} {left} {bend} {right} {end} {right}"
    return f'<path d="{path}" {style}><title>{escape(words)}</title></path>'


def draw(title: str, edges: Sequence[Edge], drops: Sequence[Drop] = ()) -> str:
    """Return the picture; drops are red and dashed, also where they lead to a port nobody may call."""
    callers = sorted({*(edge.caller for edge in edges), *(drop.caller for drop in drops)}, key=_by_name)
    callees = sorted({*(edge.callee for edge in edges), *(drop.callee for drop in drops)}, key=_by_name)
    left, right = _Column(_MARGIN), _Column(_WIDTH - _MARGIN - _BOX)
    for name in callees:
        right.box(name, _rows(name, edges, drops))
    for name in callers:
        left.box(name, [])
    curves = []
    for edge in edges:
        hue = callers.index(edge.caller) * _GOLDEN % _HUES
        words = f"{edge.caller} may call {edge.callee} port {edge.door}: {', '.join(edge.by) or 'no policy shuts it'}"
        places = left.places[edge.caller, ""], right.places[edge.callee, edge.door]
        curves.append(_curve(*places, f'stroke="hsl({hue} 65% 45%)"', words))
    for drop in drops:
        words = f"{drop.count} dropped, {drop.caller} to {drop.callee} port {drop.door}: {drop.reason}"
        places = left.places[drop.caller, ""], right.places[drop.callee, drop.door]
        curves.append(_curve(*places, 'class="drop"', words))
    height = max(left.y, right.y) + _MARGIN
    told = f"{len(edges)} permissions; what is not drawn is denied. A node always reaches the pods it runs."
    told += f" Red and dashed: dropped lately ({sum(drop.count for drop in drops)})." if drops else ""
    label = f"aria-label={quoteattr(title)}"
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {label}>',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f'<text class="title head" x="{_MARGIN}" y="36">{escape(title)}</text>',
            f'<text class="note" x="{_MARGIN}" y="58">{escape(told)}</text>',
            f'<text class="note" x="{_MARGIN}" y="86">caller</text>',
            f'<text class="note" x="{right.x}" y="86">callee and its ports</text>',
            *curves,
            *left.parts,
            *right.parts,
            "</svg>\n",
        ]
    )
