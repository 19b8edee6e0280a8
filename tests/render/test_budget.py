"""A budget is not less than what its pods ask for: area by area, so that a new one brings its own."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

import pytest

from betelgeuse import profiles, settings
from betelgeuse.kube import Obj
from betelgeuse.tree.workloads import WORKLOADS, pod_spec
from conformance.workloads.rules import amount
from tests.render.conftest import Slim
from tests.render.trees import Tree

CONTROL_PLANE: Final = {
    "local": {"cpu": Decimal("0.25"), "memory": Decimal(1.25 * 2**30)},
    "kind": {"cpu": Decimal("0.95"), "memory": Decimal(1.25 * 2**30)},
}
"""kubeadm's static pods and CoreDNS: the CPU they request, on `local` by patches of ours; the memory they were seen to
use on an idle cluster."""

HERE: Final = [env for env in settings.environments() if env in {"local", "kind"}]
"""Where the whole platform runs on the machine that deploys it."""


def _requests(containers: list[Any], resource: str) -> Decimal:
    amounts = [each.get("resources", {}).get("requests", {}).get(resource, 0) for each in containers]
    return sum((amount(each) for each in amounts), Decimal(0))


def _proxies(obj: Obj, resource: str) -> Decimal:
    daemon = obj["spec"]["provider"]["kubernetes"]["envoyDaemonSet"]
    patched = daemon.get("patch", {}).get("value", {}).get("spec", {}).get("template", {}).get("spec", {})
    return _requests([daemon["container"], *patched.get("containers", ())], resource)


def _wanted(objects: Iterable[Obj], resource: str) -> Decimal:
    """Return what the pods of some objects request."""
    wanted = Decimal(0)
    for obj in objects:
        if obj["kind"] in WORKLOADS:
            spec = pod_spec(obj)
            wanted += obj.get("spec", {}).get("replicas", 1) * _requests([*spec["containers"]], resource)
        elif obj["kind"] == "EnvoyProxy":
            wanted += _proxies(obj, resource)
        elif obj["kind"] in {"Prometheus", "Alertmanager"}:
            wanted += obj["spec"]["replicas"] * _requests([obj["spec"]], resource)
    return wanted


@pytest.mark.parametrize("resource", ["cpu", "memory"])
@pytest.mark.parametrize("area", profiles.areas())
def test_an_area_asks_for_what_its_pods_request(slim: Slim, area: str, resource: str) -> None:
    """What an area leaves out of its budget would be missing in every profile that has it."""
    built = slim.objects(f"base/{area}")
    here = CONTROL_PLANE["local"][resource] if area == "network" else Decimal(0)
    (budget,) = (each.budget for each in profiles.load("full").areas if each.name == area)
    have = {"cpu": Decimal(str(budget.cpu)), "memory": Decimal(str(budget.memory_gib)) * 2**30}

    assert here + _wanted(built, resource) <= have[resource]


@pytest.mark.parametrize("resource", ["cpu", "memory"])
@pytest.mark.parametrize("env", HERE)
def test_requests_fit_into_the_budget(trees: Callable[[str], Tree], env: str, resource: str) -> None:
    """On one node, control plane included: otherwise a pod would stay Pending."""
    tree = trees(env)
    wanted = CONTROL_PLANE[env][resource] + _wanted(tree.objects, resource)
    budget = profiles.load(profiles.default(env)).budget
    have = {"cpu": Decimal(budget.cpu), "memory": Decimal(budget.memory_gib) * 2**30}

    assert wanted <= have[resource]
