"""A cluster of another version of Kubernetes is upgraded: `nox -s rehearsal -- --upgrade-from=1.36.3 [--single]`."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from betelgeuse.programs import table
from tests.rehearsal.machines import ENV, Machine
from tests.rehearsal.story import answers, comes_back, conformance, deploy, invoke, killed_when, kubectl

_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def _wanted() -> str:
    return f"v{table.program('kubernetes').version}"


def _kubelets() -> set[str]:
    """Return the versions of the kubelets."""
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    return {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}


def _control_planes() -> set[str]:
    """Return the versions of what the control planes run, and of kube-proxy."""
    pods = json.loads(kubectl("get", "pods", "--namespace=kube-system", "--output=json"))["items"]
    images = [container["image"] for pod in pods for container in pod["spec"]["containers"]]
    wanted = (*_CONTROL_PLANE, "kube-proxy")
    return {image.rpartition(":")[2] for image in images if any(f"/{name}:" in image for name in wanted)}


def test_it_runs_as_it_was(older: Sequence[Machine], former: Path, pytestconfig: pytest.Config) -> None:
    """The platform on the version before."""
    version = f"v{pytestconfig.getoption('--upgrade-from')}"
    deploy(former)

    assert _kubelets() == _control_planes() == {version}
    assert not answers(older[0])
    kubectl("create", "secret", "generic", "before", "--namespace=default", "--from-literal=word=kept")


def test_an_upgrade_may_be_killed(older: Sequence[Machine], agent: Path) -> None:
    """While kubeadm is at it; the next deploy goes on."""
    assert older
    killed_when("kubeadm upgrade on", agent / "upgrade.log")


def test_a_deploy_upgrades_it(older: Sequence[Machine]) -> None:
    """Control planes and kubelets; what the cluster held is there, and people sign on."""
    deploy()

    assert _kubelets() == _control_planes() == {_wanted()}
    assert kubectl("get", "secret", "before", "--namespace=default", "--output=jsonpath={.data.word}") == "a2VwdA=="
    comes_back(older[0])


def test_nothing_is_left_to_do(older: Sequence[Machine]) -> None:
    """No node is cordoned, and another deploy changes nothing."""
    assert older
    assert "; 0 changes" in deploy()
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    assert [node["spec"].get("unschedulable", False) for node in nodes] == [False] * len(older)


def test_a_way_back_is_refused(older: Sequence[Machine], former: Path) -> None:
    """Before anything is touched."""
    assert older
    code, said = invoke("deploy", f"--env={ENV}", tree=former)

    assert (code, "a control plane does not go back" in said) == (3, True), said[-3000:]
    assert _kubelets() == {_wanted()}


def test_it_keeps_its_promises(older: Sequence[Machine]) -> None:
    """All that the suite knows."""
    assert older
    conformance("rehearsal-upgraded")
