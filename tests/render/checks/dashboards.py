"""Checks of the dashboards that components describe: complete, known, with queries that can be asked."""

import re
from collections.abc import Iterator
from typing import Final

from dashboards.catalogue import KEY, LABEL, catalogue
from dashboards.model import Dashboard

from betelgeuse.kube import describe
from betelgeuse.tree.dashboards import dashboards
from tests.render.trees import Tree

_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
_QUOTED: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`")
_WINDOW: Final = re.compile(r"\[(?P<range>[^]:]*)(?::(?P<step>[^]]*))?\]")
_DURATION: Final = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_BINARY: Final = re.compile(r"(?:[-+*/%^]|==|!=|<=?|>=?|\b(?:and|or|unless|by|on|without|ignoring))\s*$")
_RATE: Final = re.compile(r"\b(?:rate|increase|irate|delta)\s*\(")


def dashboards_are_described_right(tree: Tree) -> Iterator[str]:
    """Every dashboard's description is one: known keys, units and kinds, a title that no other has."""
    for where, mistakes in catalogue(dashboards(tree.objects)).mistakes.items():
        for mistake in mistakes:
            yield f"ConfigMap {where}: {mistake}"


def dashboards_are_found(tree: Tree) -> Iterator[str]:
    """What holds a description has the label by which it is found, and only that key."""
    for obj in tree.kind("ConfigMap"):
        value = (obj["metadata"].get("labels") or {}).get(LABEL)
        if KEY in (obj.get("data") or {}) and value != "true":
            yield f'{describe(obj)}: has a {KEY} and not the label {LABEL}: "true"'
        elif value is not None and set(obj.get("data") or {}) != {KEY}:
            yield f"{describe(obj)}: has other keys than {KEY}"


def _unpaired(query: str) -> str:
    """Return the first bracket without its other half."""
    waiting: list[str] = []
    for char in query:
        if char in _PAIRS.values():
            waiting.append(char)
        elif char in _PAIRS and (not waiting or waiting.pop() != _PAIRS[char]):
            return char
    return waiting[-1] if waiting else ""


def problems(query: str) -> Iterator[str]:
    """Yield what is wrong with a query as far as its shape tells."""
    bare = _QUOTED.sub('""', query)
    if '"' in bare.replace('""', "") or "'" in bare or "`" in bare:
        yield "a quote does not end"
        return
    if bracket := _unpaired(bare):
        yield f"a {bracket} has no other half"
        return
    if "$" in bare:
        yield "it has a variable: every server would need to know it"
    if found := _BINARY.search(bare):
        yield f"it ends with {found[0].strip()}"
    for window in _WINDOW.finditer(bare):
        for part in ("range", "step"):
            if window[part] and not _DURATION.fullmatch(window[part]):
                yield f"[{window[0].strip('[]')}] is no duration"
    if _RATE.search(bare) and not _WINDOW.search(bare):
        yield "a rate has no window"


def _queries(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    for panel in dashboard.panels:
        for query in panel.queries:
            yield panel.title, query.expression


def dashboards_ask_what_can_be_asked(tree: Tree) -> Iterator[str]:
    """Every panel's queries have the shape of PromQL."""
    for dashboard in catalogue(dashboards(tree.objects)).dashboards:
        for title, query in _queries(dashboard):
            for problem in problems(query):
                yield f"dashboard {dashboard.title!r}, panel {title!r}: {problem}: {query}"


CHECKS: Final = (dashboards_are_described_right, dashboards_are_found, dashboards_ask_what_can_be_asked)
