"""Why a pod does not run."""

from typing import Any

import pytest

from betelgeuse.kube import Obj
from betelgeuse.pods import pod_reason, starting, worst
from tests.unit.fakes import obj


def pod(*containers: dict[str, Any], name: str = "llm-0", node: str = "", **status: object) -> Obj:
    """Return a pod with container statuses."""
    rest: dict[str, Any] = {"spec": {"nodeName": node} if node else {}}
    return obj("v1", "Pod", name, "ai", status={**status, "containerStatuses": list(containers)}, **rest)


def waiting(reason: str, message: str = "", **rest: object) -> dict[str, Any]:
    """Return a container that waits."""
    return {
        "name": "c",
        "image": "example.org/llm:1",
        "state": {"waiting": {"reason": reason, "message": message}},
        **rest,
    }


CRASHED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
UNSCHEDULED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]
CASES = {
    "image": (
        pod(waiting("ErrImageNeverPull")),
        "ErrImageNeverPull: image example.org/llm:1 is not on the node; `invoke images` puts it there",
    ),
    "back-off": (
        pod(waiting("ImagePullBackOff", "Back-off pulling image")),
        "ImagePullBackOff: image example.org/llm:1 is not on the node; `invoke images` puts it there",
    ),
    "crash": (
        pod(waiting("CrashLoopBackOff", "back-off 10s", lastState=CRASHED)),
        "CrashLoopBackOff: c ended with exit code 137 (OOMKilled)",
    ),
    "crash-words": (
        pod(waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 1, "message": "no model"}})),
        "CrashLoopBackOff: c ended with exit code 1 (Error, no model)",
    ),
    "config": (
        pod(waiting("CreateContainerConfigError", 'secret "x" not found')),
        'CreateContainerConfigError: secret "x" not found',
    ),
    "creating": (pod(waiting("ContainerCreating")), "ContainerCreating"),
    "after-power-loss": (pod({"name": "c", "state": {"waiting": {}}, "lastState": CRASHED}), "ContainerCreating"),
    "lost-with-its-node": (
        pod({"name": "c", "state": {"terminated": {"exitCode": 255, "reason": "Unknown"}}}),
        "ContainerCreating",
    ),
    "ended": (pod({"name": "c", "state": {"terminated": {"exitCode": 2}}}), "c ended with exit code 2 (Error)"),
    "not-ready": (
        pod({"name": "c", "state": {"running": {}}, "restartCount": 3}),
        "c runs but is not ready, 3 restarts",
    ),
    "worst-first": (
        pod({"name": "a", "state": {"running": {}}}, waiting("ErrImagePull")),
        "ErrImagePull: image example.org/llm:1 is not on the node; `invoke images` puts it there",
    ),
    "unschedulable": (pod(conditions=UNSCHEDULED, phase="Pending"), "Unschedulable: 0/1 nodes"),
    "no-kubelet": (pod(phase="Pending", node="n1"), "node n1 has not started it yet"),
    "evicted": (pod(phase="Failed", reason="Evicted", message="low on disk"), "Failed: Evicted: low on disk"),
}


@pytest.mark.parametrize(("live", "words"), CASES.values(), ids=CASES.keys())
def test_reason(live: Obj, words: str) -> None:
    """The state of the containers gives exactly these words."""
    assert pod_reason(live) == f"pod llm-0: {words}"


def test_healthy_and_leaving_pods_have_no_reason() -> None:
    """A ready pod, a finished one and one on its way out say nothing."""
    leaving = pod(waiting("ErrImagePull"))
    leaving["metadata"]["deletionTimestamp"] = "now"

    assert pod_reason(pod({"name": "c", "ready": True, "state": {"running": {}}}, phase="Running")) == ""
    assert pod_reason(pod({"name": "c", "state": {"terminated": {"exitCode": 0}}}, phase="Succeeded")) == ""
    assert pod_reason(leaving) == ""


def test_worst_prefers_telling_reasons() -> None:
    """Among pods the one with a cause speaks; a pod that merely starts speaks only when no other does."""
    creating, broken = pod(waiting("ContainerCreating"), name="a"), pod(waiting("ErrImagePull"), name="b")

    assert worst([creating, broken]).startswith("pod b: ErrImagePull")
    assert worst([creating]) == "pod a: ContainerCreating"
    assert worst([]) == ""
    assert (starting(creating), starting(broken), starting(pod())) == (True, False, False)
    assert starting(pod({"name": "c", "state": {"waiting": {}}}))


def test_init_containers_count() -> None:
    """An init container that cannot start is the reason."""
    live = pod(waiting("PodInitializing"))
    live["status"]["initContainerStatuses"] = [waiting("ErrImagePull")]

    assert pod_reason(live).startswith("pod llm-0: ErrImagePull")
