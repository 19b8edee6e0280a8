"""The language model on a GPU: `single-node` with components/gpu."""

from collections.abc import Callable

import pytest

from betelgeuse import render
from betelgeuse.kube import Obj, describe
from betelgeuse.programs import table
from betelgeuse.tree.workloads import pod_spec
from conformance import exemptions
from conformance.workloads.rules import RULES, faults
from tests.render.checks import CHECKS
from tests.render.trees import Tree

LABEL = {"nvidia.com/gpu.present": "true"}
NEW = {
    "Namespace gpu",
    "NetworkPolicy gpu/default-deny",
    "RuntimeClass nvidia",
    "ServiceAccount gpu/nvidia-device-plugin",
    "DaemonSet gpu/nvidia-device-plugin",
}


@pytest.fixture(scope="module")
def gpu(with_component: Callable[[str], Tree]) -> Tree:
    """The tree with the component."""
    return with_component("gpu")


def _llm(objects: list[Obj]) -> Obj:
    return pod_spec(next(obj for obj in objects if describe(obj) == "Deployment ai/llm"))


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_holds_with_a_gpu(gpu: Tree, check: str) -> None:
    """Valid, restricted, pinned, denied by default."""
    assert list(CHECKS[check](gpu)) == []


def test_nothing_but_the_model_changes(gpu: Tree, plain: list[Obj]) -> None:
    """Service, route and gate are those of a platform without a GPU; the tree is one that may be deployed."""
    changed = {describe(obj) for obj in gpu.objects if obj["kind"] != "CustomResourceDefinition" and obj not in plain}
    render.check(gpu.objects)

    assert changed == {"Deployment ai/llm", *NEW}


def test_the_model_runs_where_a_device_is(gpu: Tree) -> None:
    """On a labelled node, with one device and every layer on it, as the device plugin's own pods."""
    spec = _llm(gpu.objects)
    plugin = pod_spec(next(obj for obj in gpu.objects if describe(obj) == "DaemonSet gpu/nvidia-device-plugin"))
    command = spec["containers"][0]["command"]

    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert command[command.index("--n-gpu-layers") + 1] == "99"
    for each in (spec, plugin):
        assert (each["nodeSelector"], each["runtimeClassName"]) == (LABEL, "nvidia")


def test_a_rollout_does_not_wait_for_a_second_device(gpu: Tree) -> None:
    """The old server goes first."""
    deployment = next(obj for obj in gpu.objects if describe(obj) == "Deployment ai/llm")

    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_server_is_asked_as_without_a_gpu(gpu: Tree, plain: list[Obj]) -> None:
    """The deployment's arguments are the same, the model's those of its image, from the folder it is copied to."""
    server, old = _llm(gpu.objects)["containers"][0], _llm(plain)["containers"][0]
    entry = list(table.images()["llm"].entrypoint)
    said = [str(word).replace("/models/", "/model/") for word in entry[1:]]

    assert server["args"] == old["args"]
    assert server["command"] == ["/app/llama-server", *said, "--n-gpu-layers", "99"]


def test_both_servers_are_of_one_release() -> None:
    """What is proven without a GPU is then said of the same program."""
    assert table.program("llama-server-cuda").version == table.program("llama-server").version


def test_the_device_plugin_needs_what_it_is_let(gpu: Tree) -> None:
    """Each rule that it may break is one that it breaks."""
    daemon = next(obj for obj in gpu.objects if describe(obj) == "DaemonSet gpu/nvidia-device-plugin")
    pod = {"metadata": {"namespace": "gpu", "name": "nvidia-device-plugin-0"}, "spec": pod_spec(daemon)}
    listed = {rule for rule in RULES if exemptions.load().allows("gpu", "nvidia-device-plugin-0", rule)}

    assert {rule for rule in RULES if faults(pod, rule)} == listed == {"nonroot", "host-path"}
