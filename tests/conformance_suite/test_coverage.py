"""A run that proves less than the tree declares is found out."""

from dataclasses import replace
from pathlib import Path

import pytest

from betelgeuse.settings import Settings
from betelgeuse.tree import Tree
from conformance import coverage
from conformance.coverage import Promise, Ran, gaps
from conformance.exemptions import AbsentFeature, Exemptions
from conformance.subjects import SUBJECTS
from tests.conformance_suite.conftest import Build

HOSTS = Promise("tls/test_a.py::test_x", "A claim.", frozenset({"site", "host"}), ())
GPU = Promise("ai/test_b.py::test_y", "Another.", frozenset({"site"}), ("gpu",))


def _gaps(
    ran: Ran, *promised: Promise, exemptions: Exemptions | None = None, hosts: tuple[str, ...] = ("a", "b")
) -> list[str]:
    return gaps(
        ran,
        promised=promised,
        expected={"host": set(hosts)},
        features={"gpu": False},
        env="local",
        exemptions=exemptions or Exemptions(),
    )


@pytest.fixture
def ran() -> Ran:
    """Return a run that did everything for HOSTS."""
    done = Ran()
    for host in ("a", "b"):
        done.note(HOSTS.id, {"host": host})
    return done


def test_whole_run_has_no_gap(ran: Ran) -> None:
    """Whole run has no gap."""
    assert _gaps(ran, HOSTS) == []


def test_missing_host_is_named(ran: Ran) -> None:
    """Missing host is named."""
    assert _gaps(ran, HOSTS, hosts=("a", "b", "c")) == [f"{HOSTS.id}: not executed for 1 of 3 host: c"]


def test_promise_that_never_ran_is_named() -> None:
    """Promise that never ran is named."""
    assert _gaps(Ran(), HOSTS) == [f"{HOSTS.id}: never executed"]


def test_loop_over_nothing_is_a_gap(ran: Ran) -> None:
    """Loop over nothing is a gap."""
    assert "proves nothing" in _gaps(ran, HOSTS, hosts=())[0]
    assert not any("proves nothing" in gap for gap in _gaps(ran, replace(HOSTS, features=("gpu",)), hosts=()))


def test_absent_feature_needs_an_entry(ran: Ran) -> None:
    """Absent feature needs an entry."""
    allowed = Exemptions(absent_features=(AbsentFeature("local", "gpu", "no GPU here"),))
    ran.skipped[GPU.id] = "feature gpu is absent"

    assert len(_gaps(ran, HOSTS, GPU)) == 1
    assert _gaps(ran, HOSTS, GPU, exemptions=allowed) == []


def test_surprising_skip_is_a_gap(ran: Ran) -> None:
    """Surprising skip is a gap."""
    ran.skipped[f"{HOSTS.id}[c]"] = "no time"

    assert "skipped, and not for an absent feature: no time" in _gaps(ran, HOSTS)[0]


def test_deselection_is_a_gap(ran: Ran) -> None:
    """Deselection is a gap."""
    ran.deselected.append("tls/test_a.py::test_x[a]")

    assert _gaps(ran, HOSTS) == ["1 checks deselected, e.g. tls/test_a.py::test_x[a]"]


def test_promises_are_read_from_the_files(tmp_path: Path) -> None:
    """Promises are read from the files."""
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "test_a.py").write_text(
        "import pytest\npytestmark = [pytest.mark.feature('one')]\n"
        "@pytest.mark.feature('two')\ndef test_x(site, host):\n    '''A claim.\n\n    More.'''\ndef helper(): pass\n"
    )

    assert coverage.promises(tmp_path) == (
        Promise("tls/test_a.py::test_x", "A claim.", frozenset({"site", "host"}), ("one", "two")),
    )


def test_every_real_promise_has_a_claim() -> None:
    """Every real promise has a claim."""
    promised = coverage.promises()

    assert len(promised) > 60
    assert [promise.id for promise in promised if not promise.claim.endswith(".")] == []


def test_both_ways_to_the_subjects_agree(build: Build) -> None:
    """Two walks over the tree, written apart: a subject one of them overlooks is a hole in the suite."""
    site = build()

    counted = coverage.subjects(site.tree.objects, site.settings)

    assert set(counted) == set(SUBJECTS)
    for name, subjects in SUBJECTS.items():
        assert {str(subject) for subject in subjects(site)} == counted[name], name


def test_both_ways_to_databases_agree(build: Build) -> None:
    """The model has none: one by its port, one by its name."""
    site, route = build(), "gateway.networking.k8s.io/v1"
    by_port = {"listeners": [{"name": "tcp", "protocol": "TCP", "port": 5432}]}
    by_name = {"listeners": [{"name": "tls", "protocol": "TLS", "port": 9094, "hostname": "b.x.test"}]}
    site.tree = Tree(
        [
            *(
                {"apiVersion": route, "kind": "ListenerSet", "metadata": {"name": n, "namespace": "db"}, "spec": spec}
                for n, spec in (("a", by_port), ("b", by_name))
            ),
            *(
                {
                    "apiVersion": "cert-manager.io/v1",
                    "kind": "Certificate",
                    "metadata": {"name": n, "namespace": "db"},
                    "spec": {"dnsNames": [f"{n}.x.test", f"{n}.db.svc"]},
                }
                for n in ("a", "b")
            ),
        ],
        "x.test",
    )

    found = coverage.subjects(site.tree.objects, site.settings)["tcp_host"]

    assert found == {str(host) for host in SUBJECTS["tcp_host"](site)} == {"a.x.test:5432", "b.x.test:9094"}


def test_kind_has_no_addresses_to_declare(build: Build) -> None:
    """Kind has no addresses to declare."""
    site = build()
    site.settings = replace(Settings("kind", "x.test"))

    assert coverage.subjects([], site.settings)["gateway_address"] == {"published"}
