"""What is scraped: everything that the tree wants to be."""

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance import monitors, telemetry
from conformance.probes import prometheus
from conformance.probes.prometheus import Target
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require_none

pytestmark = pytest.mark.feature("observability")


def _of(site: Site, obj: Obj) -> list[Target]:
    """Return a monitor's targets."""
    begin = prometheus.pool(obj)
    return [target for target in telemetry.targets(site) if target.pool.startswith(begin)]


def _by_hand(site: Site) -> str:
    return f"a browser at https://{site.host(telemetry.METRICS)}/targets"


def test_every_target_is_up(site: Site, monitor: Ref) -> None:
    """Whatever a monitor selects is scraped, every pod of it, and answers."""
    obj = site.tree.find(monitor)

    def faults() -> list[str]:
        found = _of(site, obj)
        wanted = monitors.places(site, obj)
        missing = [f"{len(found)} targets for {len(wanted)} places: {', '.join(wanted)}"]
        few = missing if len(found) < max(1, len(wanted)) else []
        return [*few, *(str(target) for target in found if target.health != "up")]

    seen, _ = poll(faults, lambda seen: not seen, telemetry.patience(site, "targets", TIMEOUTS.scrape))

    require_none(seen, where=str(monitor), want="a target for each place, and each up", reproduce=_by_hand(site))


def test_every_target_tells_something(site: Site, monitor: Ref) -> None:
    """Each target that is up has metrics that are kept; a probe of another server succeeds."""
    obj = site.tree.find(monitor)
    metric = "probe_success" if obj["kind"] == "Probe" else "scrape_samples_post_metric_relabeling"

    def faults() -> list[str]:
        kept = [sample for sample in telemetry.query(site, metric) if sample.value > 0]
        up = [target for target in _of(site, obj) if target.health == "up"]
        return [f"{target.url}: no {metric}" for target in up if not any(sample.of(target) for sample in kept)]

    seen, _ = poll(faults, lambda seen: not seen, telemetry.patience(site, "targets", TIMEOUTS.scrape))

    require_none(seen, where=str(monitor), want=f"{metric} > 0 for each target", reproduce=_by_hand(site))
