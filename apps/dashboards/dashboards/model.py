"""From a neutral description to a dashboard, or to everything that is wrong with it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any, Final, TypeVar

import yaml

COLUMNS: Final = 24
LONG_AGO: Final = "2000-01-01T00:00:00Z"
"""Of what is in no cluster."""
_E = TypeVar("_E", bound=Enum)
_HEIGHTS: Final = range(2, 25)
_DASHBOARD: Final = ("title", "description", "panels")
_PANEL: Final = (
    "title",
    "description",
    "query",
    "queries",
    "legend",
    "unit",
    "kind",
    "thresholds",
    "empty",
    "width",
    "height",
)


class Unit(Enum):
    """What a number counts."""

    SHORT = "short"
    PERCENT = "percent"
    SECONDS = "seconds"
    BYTES = "bytes"
    BYTES_PER_SECOND = "bytes/s"
    REQUESTS_PER_SECOND = "requests/s"
    TOKENS_PER_SECOND = "tokens/s"
    CORES = "cores"


class Kind(Enum):
    """How numbers are shown."""

    TIMESERIES = "timeseries"
    STAT = "stat"
    GAUGE = "gauge"
    TABLE = "table"


class Colour(Enum):
    """What a threshold means, as both servers show it."""

    GREEN = "#2e7d32"
    YELLOW = "#f9a825"
    ORANGE = "#ef6c00"
    RED = "#c62828"
    BLUE = "#1565c0"


_SIZES: Final = {
    # columns, rows
    Kind.TIMESERIES: (12, 8),
    Kind.STAT: (6, 4),
    Kind.GAUGE: (6, 6),
    Kind.TABLE: (24, 8),
}


@dataclass(frozen=True)
class Query:
    """An expression of PromQL, and how its series are named."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Threshold:
    """From this value on, this colour."""

    value: float
    colour: Colour


@dataclass(frozen=True)
class Panel:
    """One picture of a dashboard."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: Unit
    kind: Kind
    thresholds: tuple[Threshold, ...]
    width: int
    height: int


@dataclass(frozen=True)
class Origin:
    """Where a description stands in a cluster, and since when: times as Kubernetes writes them."""

    namespace: str
    created: str = LONG_AGO
    updated: str = LONG_AGO


@dataclass(frozen=True)
class Dashboard:
    """What a component wants to be seen of itself."""

    title: str
    description: str
    origin: Origin
    panels: tuple[Panel, ...]

    @property
    def name(self) -> str:
        """Return what stands in its address: Language model is language-model."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


class _Reader:
    """A mapping of the description; what is wrong is collected, so that one look shows it all."""

    def __init__(self, where: str, said: object, keys: Iterable[str], wrong: list[str]) -> None:
        self.where, self._wrong = where, wrong
        self.said: Mapping[object, Any] = said if isinstance(said, dict) else {}
        self._is_one = isinstance(said, dict)
        if not self._is_one:
            wrong.append(f"{where or 'the description'} is not a mapping")
        known = tuple(keys)
        for key in self.said:
            if key not in known:
                self.refuse(str(key), f"is not known; known: {', '.join(known)}")

    def refuse(self, key: str, what: str) -> None:
        """Note what is wrong with a key, or with the whole mapping."""
        # What is no mapping lacks everything, which is no news.
        if self._is_one:
            self._wrong.append(f"{'.'.join(part for part in (self.where, key) if part)} {what}")

    def text(self, key: str, *, needed: bool = False) -> str:
        """Return a text; a needed one is neither missing nor empty."""
        value = self.said.get(key)
        if value is None and not needed:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, "is missing" if value is None else "is not a text")
            return ""
        return " ".join(value.split())

    def choice(self, key: str, default: _E) -> _E:
        """Return one of an enumeration's values."""
        kinds = type(default)
        value = self.said.get(key, default.value)
        try:
            return kinds(value)
        except ValueError:
            self.refuse(key, f"is {value!r}, not one of {', '.join(str(each.value) for each in kinds)}")
            return default

    def number(self, key: str, default: int, within: range) -> int:
        """Return a whole number of a range."""
        value = self.said.get(key, default)
        if type(value) is not int or value not in within:
            self.refuse(key, f"is {value!r}, not a whole number from {within[0]} to {within[-1]}")
            return default
        return value

    def items(self, key: str) -> list[object]:
        """Return a list, which may be missing."""
        value = self.said.get(key, [])
        if not isinstance(value, list):
            self.refuse(key, "is not a list")
            return []
        return value


def _queries(panel: _Reader, wrong: list[str]) -> tuple[Query, ...]:
    if ("query" in panel.said) == ("queries" in panel.said):
        panel.refuse("", "has not exactly one of query and queries")
        return ()
    if "query" in panel.said:
        return (Query(panel.text("query", needed=True), panel.text("legend")),)
    if "legend" in panel.said:
        panel.refuse("legend", "belongs to each of queries")
    found = []
    for index, each in enumerate(panel.items("queries")):
        said = _Reader(f"{panel.where}.queries[{index}]", each, ("query", "legend"), wrong)
        found.append(Query(said.text("query", needed=True), said.text("legend")))
    if not found:
        panel.refuse("queries", "is empty")
    return tuple(found)


def _colour(said: _Reader) -> Colour:
    name = said.said.get("colour")
    if not isinstance(name, str) or name.upper() not in Colour.__members__:
        said.refuse("colour", f"is {name!r}, not one of {', '.join(each.name.lower() for each in Colour)}")
        return Colour.RED
    return Colour[name.upper()]


def _thresholds(panel: _Reader, wrong: list[str]) -> tuple[Threshold, ...]:
    found: list[Threshold] = []
    for index, each in enumerate(panel.items("thresholds")):
        said = _Reader(f"{panel.where}.thresholds[{index}]", each, ("value", "colour"), wrong)
        value = said.said.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float):
            said.refuse("value", f"is {value!r}, not a number")
            continue
        found.append(Threshold(float(value), _colour(said)))
    if any(first.value >= second.value for first, second in pairwise(found)):
        panel.refuse("thresholds", "do not rise")
    return tuple(found)


def _panel(index: int, said: object, wrong: list[str]) -> Panel:
    panel = _Reader(f"panels[{index}]", said, _PANEL, wrong)
    kind = panel.choice("kind", Kind.TIMESERIES)
    width, height = _SIZES[kind]
    description = panel.text("description", needed=True)
    if empty := panel.text("empty"):
        description = f"{description} Without data: {empty}"
    return Panel(
        title=panel.text("title", needed=True),
        description=description,
        queries=_queries(panel, wrong),
        unit=panel.choice("unit", Unit.SHORT),
        kind=kind,
        thresholds=_thresholds(panel, wrong),
        width=panel.number("width", width, range(1, COLUMNS + 1)),
        height=panel.number("height", height, _HEIGHTS),
    )


class Wrong(Exception):  # noqa: N818 - it says what a description is
    """A description that cannot be shown; `mistakes` is everything that is wrong with it."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        """Keep the mistakes."""
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(self.mistakes))


def parse(text: str, origin: Origin) -> Dashboard:
    """Return the dashboard that a text describes, or raise Wrong."""
    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError as error:
        message = f"is not YAML: {' '.join(str(error).split())}"
        raise Wrong([message]) from None
    wrong: list[str] = []
    top = _Reader("", said, _DASHBOARD, wrong)
    found = Dashboard(
        title=top.text("title", needed=True),
        description=top.text("description", needed=True),
        origin=origin,
        panels=tuple(_panel(index, each, wrong) for index, each in enumerate(top.items("panels"))),
    )
    if not wrong and not found.panels:
        top.refuse("panels", "is empty")
    if found.title and not found.name:
        top.refuse("title", "has neither a letter nor a digit")
    titles = [panel.title for panel in found.panels]
    wrong += [
        f"two panels are called {title!r}"
        for title in sorted({each for each in titles if each})
        if titles.count(title) > 1
    ]
    if wrong:
        raise Wrong(wrong)
    return found
