"""Prometheus killed without notice: it is back by itself, with what it had, and how long nobody was asked is told."""

import time
from itertools import pairwise
from typing import Final

import pytest

from betelgeuse.errors import BetelgeuseError
from betelgeuse.tree import Ref
from conformance import telemetry
from conformance.drills.pods import strike, uid
from conformance.site import Site
from conformance.verdict import PromiseBrokenError, poll, require

pytestmark = pytest.mark.feature("observability")

_LABEL: Final = "app.kubernetes.io/name=prometheus"
_BACK: Final = 240.0
_GAP: Final = 120.0
"""Seconds between two samples of a target: the end, a start that reads the log written ahead, and a round of 30 s."""
_WINDOW: Final = 900


def _gap(site: Site) -> float:
    """Return the longest time between two samples of any target that has been there all the time."""
    end = time.time()
    told = telemetry.data(
        site,
        telemetry.METRICS,
        "/api/v1/query_range",
        {"query": "max(timestamp(up))", "start": str(end - _WINDOW), "end": str(end), "step": "5"},
    )
    times = sorted({float(value) for each in told["data"]["result"] for _, value in each["values"]})
    return max((later - earlier for earlier, later in pairwise(times)), default=float("inf"))


def _scraped(site: Site, since: float) -> bool:
    """Whether something was scraped since a moment."""
    try:
        return any(sample.value > since for sample in telemetry.query(site, "max(timestamp(up))"))
    except (BetelgeuseError, PromiseBrokenError):
        return False


def test_metrics_go_on_after_a_kill(site: Site) -> None:
    """A Prometheus killed without notice is replaced, remembers what it knew, and misses two minutes at most."""
    pods = site.cluster.fresh("v1", "Pod", telemetry.AREAS[0], _LABEL)
    place = Ref("Pod", telemetry.AREAS[0], pods[0]["metadata"]["name"], "v1")
    before = telemetry.query(site, "count_over_time(up{job='prometheus'}[15m])")
    old, begin = uid(site, place), time.time()
    strike(site, place)

    back, seconds = poll(lambda: uid(site, place) not in {"", old} and _scraped(site, begin), bool, _BACK)

    gap = _gap(site) if back else float("inf")
    after = telemetry.query(site, "count_over_time(up{job='prometheus'}[15m])") if back else ()
    told = (
        f"scrapes again after {seconds:.0f} s, gap {gap:.0f} s, samples {before[0].value if before else 0:.0f} before"
    )
    site.facts["Prometheus killed"] = told
    require(
        back and gap <= _GAP and after and before and after[0].value >= before[0].value - 10,
        where=str(place),
        want=f"back within {_BACK:.0f} s, a gap of {_GAP:.0f} s at most, and the samples from before",
        got=f"{told}; of itself it had {[each.value for each in before]} samples, now {[each.value for each in after]}",
        reproduce=place.kubectl("logs"),
    )
