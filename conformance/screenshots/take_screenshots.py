"""What a person sees who signs in: portal, overview, a dashboard, and one trace, as files of docs/images/."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from conformance.probes import browser as chromium
from conformance.probes.browser import Chromium
from conformance.probes.keycloak import Person
from conformance.site import Site
from conformance.verdict import require

pytestmark = [pytest.mark.feature("login")]

FOLDER: Final = paths.ROOT / "docs" / "images"
WIDTH, HEIGHT = 1280, 800
MOST: Final = 300_000
"""Bytes of a picture: a repository keeps each for good."""
LOGIN_FORM: Final = "input[name=password]"
DASHBOARDS: Final = {"overview": "overview", "llm": "language-model"}
"""Pictures of dashboards: the file's name, and the dashboard's."""
_BUSY: Final = "[role=progressbar], .MuiSkeleton-root"
_DRAWN: Final = "canvas"


@contextmanager
def signed_in(site: Site) -> Iterator[tuple[Chromium, Person]]:
    """Give a window of the documentation's size, and whom it belongs to."""
    endpoint = site.endpoint()
    rules = {f"*.{site.tree.domain}:443": f"{endpoint.address}:{endpoint.https}"}
    with chromium.running(rules, site.ca) as window:
        window.resize(WIDTH, HEIGHT)
        yield window, site.identity.person("platform-admins")


def visit(window: Chromium, person: Person, url: str) -> None:
    """Open a page, by the login form where one is shown."""
    window.open(url)
    if window.find(LOGIN_FORM) is not None:
        window.log_in(person.name, person.password)
        window.wait(lambda: window.find(LOGIN_FORM) is None)


def drawn(window: Chromium) -> bool:
    """Wait until every panel shows what it has."""
    return window.wait(lambda: window.find(_DRAWN) is not None and window.find(_BUSY) is None)


def keep(window: Chromium, name: str) -> None:
    """Write what is shown."""
    picture = window.picture()
    if len(picture) > MOST:
        message = f"the picture {name} has {len(picture)} bytes, more than {MOST}"
        raise BetelgeuseError(message)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(picture)


def longest(traces: list[list[dict[str, Any]]]) -> str:
    """Return the id of the trace with the most services, and of those the most spans."""
    rank = [(len({span["localEndpoint"]["serviceName"] for span in trace}), len(trace), trace) for trace in traces]
    best = max(rank, key=lambda each: each[:2])
    return str(best[2][0]["traceId"])


def test_portal_is_pictured(site: Site) -> None:
    """The portal shows every service to a person who signed in."""
    url = f"https://{site.host('portal')}/"
    with signed_in(site) as (window, person):
        visit(window, person, url)
        shown = window.wait(lambda: window.find(".card") is not None)
        require(shown, where=url, want="services", got="none", reproduce=f"a browser at {url}")
        keep(window, "portal")


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_is_pictured(site: Site, name: str) -> None:
    """A dashboard shows its panels to a person who signed in."""
    url = f"https://{site.host('grafana')}/projects/platform/dashboards/{DASHBOARDS[name]}?start=30m"
    with signed_in(site) as (window, person):
        visit(window, person, url)
        require(
            drawn(window),
            where=url,
            want="panels",
            got="none, or some that never came",
            reproduce=f"a browser at {url}",
        )
        keep(window, name)


def test_trace_is_pictured(site: Site) -> None:
    """A trace shows where the time of a request went."""
    home = f"https://{site.host('traces')}/zipkin"
    with signed_in(site) as (window, person):
        visit(window, person, f"{home}/api/v2/traces?limit=50&lookback=3600000")
        found = json.loads(window.text)
        require(bool(found), where=home, want="traces of the last hour", got="none", reproduce=f"a browser at {home}")
        url = f"{home}/traces/{longest(found)}"
        visit(window, person, url)
        shown = window.wait(lambda: window.find(_BUSY) is None and "Span" in window.text)
        require(shown, where=url, want="spans", got="none", reproduce=f"a browser at {url}")
        keep(window, "trace")
