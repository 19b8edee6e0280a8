"""What of an application its routes show: paths and methods. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from betelgeuse.kube import Obj

NO_PAGE: Final = "/no-such-page"
"""The end of an address that no application has: routes send there what stays inside."""


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """What one rule of a route lets through; an empty method is any."""

    path: str
    method: str
    exact: bool


def _match(match: Obj) -> Match:
    path = match.get("path", {})
    return Match(path.get("value", "/"), match.get("method", ""), exact=path.get("type") == "Exact")


def _hides(rule: Obj) -> bool:
    """Tell whether a rule sends what it matches to a page that is not there, so that it is told like any other."""
    rewrites = (entry.get("urlRewrite", {}).get("path", {}) for entry in rule.get("filters", ()))
    return any(path.get("replaceFullPath", "").endswith(NO_PAGE) for path in rewrites)


def matches(route: Obj) -> Iterator[Match]:
    """Yield what a route lets through to its application.

    A rule without a backend redirects or refuses: what it matches is no page of the application.
    """
    for rule in route["spec"].get("rules", []):
        if rule.get("backendRefs") and not _hides(rule):
            yield from map(_match, rule.get("matches", [{}]))
