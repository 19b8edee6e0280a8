"""The drill around Keycloak: it holds where everybody behaves, and each misbehaviour turns exactly its promise red."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest

from betelgeuse.tree import Ref
from conformance.drills import drill_identity_outage as drill
from conformance.site import Site
from conformance.verdict import PromiseBrokenError
from tests.conformance_suite.conftest import Build

if TYPE_CHECKING:
    from tests.conformance_suite.cluster import FakeKube
    from tests.conformance_suite.model import Edge

CLAIMS: dict[str, Callable[[Site], None]] = {
    name: function for name, function in vars(drill).items() if name.startswith("test_")
}


def _outage(site: Site, monkeypatch: pytest.MonkeyPatch, *, comes_back: bool) -> None:
    """Let the model's Keycloak go and come when the drill says so."""
    edge = cast("Edge", getattr(site.forward, "__self__", None))
    kube = cast("FakeKube", site.cluster.kube)
    pod = kube.find("Pod", "keycloak-0", "auth")

    def scale(_site: Site, _workload: Ref, replicas: int) -> None:
        if replicas == 0:
            edge.faults.add("keycloak-down")
            kube.live.remove(pod)
        elif comes_back:
            edge.faults.discard("keycloak-down")
            kube.live.append(pod)

    monkeypatch.setattr(drill, "scale", scale)
    for name, seconds in {"_AWAY": 0.2, "_PACE": 0.05, "_GONE": 0.5, "_BACK": 0.5}.items():
        monkeypatch.setattr(drill, name, seconds)


def _broken(site: Site) -> set[str]:
    found = set()
    for name, claim in CLAIMS.items():
        try:
            claim(site)
        except PromiseBrokenError:
            found.add(name)
    return found


@pytest.mark.parametrize(
    ("fault", "promises"),
    [
        ("", set()),
        ("sessions-need-keycloak", {"test_sessions_go_on_without_keycloak"}),
        ("tokens-need-keycloak", {"test_tokens_go_on_without_keycloak"}),
        ("ugly-page", {"test_new_login_is_told_so"}),
    ],
)
def test_outage_is_judged(build: Build, monkeypatch: pytest.MonkeyPatch, fault: str, promises: set[str]) -> None:
    """Outage is judged."""
    site = build(*fault.split())
    _outage(site, monkeypatch, comes_back=True)

    assert _broken(site) == promises


def test_platform_that_does_not_come_back_is_seen(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Platform that does not come back is seen."""
    site = build()
    _outage(site, monkeypatch, comes_back=False)

    assert _broken(site) == {"test_everything_is_back_without_a_hand"}
