"""The checks of what watches hold where all is seen, and each fault turns exactly its promises red."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from betelgeuse.settings import Settings
from betelgeuse.tree import Tree
from conformance import coverage, features, timeouts
from conformance.exemptions import Exemptions, MetricExemption, UnloggedExemption
from conformance.site import Site
from conformance.subjects import SUBJECTS
from tests.conformance_suite import instruments
from tests.conformance_suite.conftest import Build
from tests.conformance_suite.idp import DOMAIN
from tests.conformance_suite.instruments import Instruments
from tests.conformance_suite.network import secret
from tests.conformance_suite.runner import run

if TYPE_CHECKING:
    from tests.conformance_suite.cluster import FakeKube

_FAMILY = "observability"
_TARGETS = "test_targets.py::test_every_target_"
_LINE = "test_logs.py::test_line_comes_back_whole"
_TRACE = "test_traces.py::test_request_is_one_trace"
_RULES = "test_rules.py::test_"
_METRICS = "test_rules.py::test_rules_speak_of_metrics_that_exist"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Do not wait for what will not come; what the model wrote a while ago is fresh; it has a runbook."""
    fast = timeouts.Timeouts(reaction=0.02, scrape=0.05, logged=0.05, traced=0.05, poll=0.01)
    names = ("telemetry", "verdict", "inside")
    tests = ("test_dashboards", "test_logs", "test_resource_metrics", "test_rules", "test_targets", "test_traces")
    for name in (*names, *(f"observability.{test}" for test in tests)):
        monkeypatch.setattr(f"conformance.{name}.TIMEOUTS", fast)
    monkeypatch.setattr("conformance.observability.test_logs._AGE", timedelta(days=10000))
    monkeypatch.setattr("conformance.probes.canary.LINE", 4096)
    page = tmp_path / "docs" / "runbooks" / "llm.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Language model\n\n## LlmDown\n", "utf-8")
    monkeypatch.setattr("conformance.observability.test_rules.paths.ROOT", tmp_path)


@pytest.fixture
def watched(build: Build, monkeypatch: pytest.MonkeyPatch) -> "Watched":
    """Return a builder of watched sites."""

    def make(*faults: str) -> Site:
        site = build()
        kube = cast("FakeKube", site.cluster.kube)
        site.tree = Tree([*site.tree.objects, *instruments.objects(site.https)], DOMAIN)
        site.features = features.present(site.tree, Settings("model", DOMAIN))
        instruments.live(kube)
        kube.top = "top-silent" not in faults
        kube.silent = {"llm-0"} if "container-silent" in faults else set()
        kube.live.append(secret("keys", "ai", instruments.SECRET))
        model = Instruments(kube, set(faults))
        for name in ("send", "sweep", "execute"):
            monkeypatch.setattr(site, name, getattr(model, name))
        site.__dict__["identity"] = model.identity()
        return site

    return make


Watched = Build


def _listing(site: Site, entry: MetricExemption | UnloggedExemption) -> Exemptions:
    """Return the site's exceptions with one more."""
    if isinstance(entry, MetricExemption):
        return replace(site.exemptions, metrics=(entry,))
    return replace(site.exemptions, unlogged=(entry,))


def _broken(site: Site) -> set[str]:
    return {outcome.promise.partition("/")[2] for outcome in run(site, _FAMILY) if outcome.fault}


def test_watched_platform_keeps_every_promise(watched: Watched) -> None:
    """Watched platform keeps every promise."""
    assert _broken(watched()) == set()


@pytest.mark.parametrize(
    ("fault", "promises"),
    [
        ("target-down", {f"{_TARGETS}is_up"}),
        ("target-missing", {f"{_TARGETS}is_up"}),
        ("no-samples", {f"{_TARGETS}tells_something"}),
        ("rule-fails", {f"{_RULES}rules_are_evaluated"}),
        ("rule-missing", {f"{_RULES}rules_are_evaluated"}),
        ("metric-misspelt", {_METRICS}),
        ("no-runbook", {f"{_RULES}alerts_have_a_runbook"}),
        ("no-action", {f"{_RULES}alerts_have_a_runbook"}),
        ("watchdog-silent", {f"{_RULES}watchdog_is_heard"}),
        ("watchdog-unheard", {f"{_RULES}watchdog_is_heard"}),
        ("panel-empty", {"test_dashboards.py::test_panels_have_data"}),
        ("panel-nan", {"test_dashboards.py::test_panels_have_data"}),
        ("panel-broken", {"test_dashboards.py::test_panels_have_data"}),
        ("dashboard-forgotten", {"test_dashboards.py::test_dashboard_is_offered"}),
        ("panel-forgotten", {"test_dashboards.py::test_dashboard_is_offered"}),
        ("line-cut", {_LINE}),
        ("line-bent", {_LINE}),
        ("line-twice", {_LINE}),
        ("stack-split", {_LINE}),
        ("lost-java", {_LINE}),
        ("no-node", {"test_logs.py::test_entry_says_where_it_is_from"}),
        ("level-lost", {"test_logs.py::test_json_is_read"}),
        ("store-behind", {"test_logs.py::test_everything_written_is_in_the_store"}),
        (
            "container-forgotten",
            {
                "test_logs.py::test_everything_written_is_in_the_store",
                "test_logs.py::test_who_is_not_in_the_store_is_listed",
            },
        ),
        ("events-lost", {"test_logs.py::test_events_are_in_the_store"}),
        ("traces-lost", {_TRACE}),
        ("new-trace-at-the-edge", {_TRACE}),
        ("edge-tells-another-host", {_TRACE}),
        ("no-inner-span", {_TRACE}),
        ("stray-span", {_TRACE}),
        ("log-without-trace", {"test_traces.py::test_log_names_the_trace"}),
        ("spans-lost", {"test_traces.py::test_program_sends_spans"}),
        ("stranger-reaches", {"test_doors.py::test_pod_without_a_label_reaches_none_of_it"}),
        ("label-opens-all", {"test_doors.py::test_pod_without_a_label_reaches_none_of_it"}),
        ("collector-shut", {"test_doors.py::test_pod_without_a_label_reaches_none_of_it"}),
        ("open-door", {"test_doors.py::test_strangers_see_nothing"}),
        ("any-researcher", {"test_doors.py::test_researchers_see_dashboards_only"}),
        ("ingest-open", {"test_doors.py::test_nothing_is_written_through_a_door"}),
        ("secret-logged", {"test_secrets.py::test_no_secret_is_in_the_store"}),
        (
            "top-silent",
            {
                "test_resource_metrics.py::test_nodes_tell_what_they_use",
                "test_resource_metrics.py::test_pods_tell_what_they_use",
            },
        ),
    ],
)
def test_fault_breaks_exactly_its_promises(watched: Watched, fault: str, promises: set[str]) -> None:
    """Fault breaks exactly its promises."""
    assert _broken(watched(fault)) == promises


def test_listed_metric_may_be_missing_and_must_be_named(watched: Watched) -> None:
    """Listed metric may be missing and must be named."""
    site = watched("metric-misspelt")
    site.exemptions = _listing(site, MetricExemption("up?", "a reason"))
    assert _broken(site) == set()

    site = watched()
    site.exemptions = _listing(site, MetricExemption("nobody_names_this", "a reason"))
    assert _broken(site) == {f"{_RULES}no_listed_metric_is_stale"}


def test_listed_container_may_write_nothing_ever(watched: Watched) -> None:
    """Listed container may write nothing ever."""
    site = watched("container-silent")
    assert _broken(site) == {"test_logs.py::test_who_is_not_in_the_store_is_listed"}

    site = watched("container-silent")
    site.exemptions = _listing(site, UnloggedExemption("ai/llm-*/*", "a reason"))
    assert _broken(site) == set()


def test_both_ways_to_what_is_watched_agree(watched: Watched) -> None:
    """Both ways to what is watched agree."""
    site = watched()

    counted = coverage.subjects(site.tree.objects, site.settings)

    for name in ("dashboard", "host", "monitor", "rules", "workload"):
        found = {str(subject) for subject in SUBJECTS[name](site)}
        assert found, name
        assert found == counted[name], name
