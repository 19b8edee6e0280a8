"""Why a pod does not run, in the words that help."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from betelgeuse.kube import Obj
from betelgeuse.readiness import short

IMAGE_FAULTS: Final = frozenset({"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
"""Reasons of a container that waits for an image it cannot have."""
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})


def _scheduling(pod: Obj) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', 'no message')}"
    return ""


def _state(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a container's state; one that went down with its node (no reason given, or Unknown) is being created."""
    state = status.get("state") or {}
    lost = (state.get("terminated") or {}).get("reason") == "Unknown"
    if lost or ("waiting" in state and not (state["waiting"] or {}).get("reason")):
        return {"waiting": {"reason": "ContainerCreating"}}
    return state


def _waiting(status: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    reason, message = str(waiting["reason"]), str(waiting.get("message", ""))
    if reason in IMAGE_FAULTS:
        # Here nothing is ever pulled, so the usual "back-off" hides the point.
        return f"{reason}: image {status.get('image')} is not on the node; `invoke images` puts it there"
    ended = (status.get("lastState") or {}).get("terminated") or {}
    if reason == "CrashLoopBackOff" and ended:
        words = f", {ended['message']}" if ended.get("message") else ""
        cause = ended.get("reason", "Error")
        return f"{reason}: {status.get('name')} ended with exit code {ended.get('exitCode')} ({cause}{words})"
    return f"{reason}: {message}" if message else reason


def _containers(pod: Obj) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _container(status: Mapping[str, Any]) -> tuple[int, str]:
    """Return how telling a container's state is (0 most) and its words; empty when there is nothing wrong."""
    state = _state(status)
    name, restarts = status.get("name"), int(status.get("restartCount") or 0)
    if "waiting" in state:
        words = _waiting(status, state["waiting"])
        return (3 if state["waiting"]["reason"] in _STARTING else 0), words
    code = (state.get("terminated") or {}).get("exitCode")
    if code:
        return 1, f"{name} ended with exit code {code} ({state['terminated'].get('reason', 'Error')})"
    if "running" in state and not status.get("ready"):
        again = f", {restarts} restarts" if restarts else ""
        return 2, f"{name} runs but is not ready{again}"
    return 9, ""


def starting(pod: Obj) -> bool:
    """Whether the pod waits for its node: volumes, network, image; only events know what for."""
    waits = [_state(status).get("waiting") or {} for status in _containers(pod)]
    return any(wait.get("reason") in _STARTING for wait in waits)


def pod_reason(pod: Obj) -> str:
    """Return why a pod is not ready, or an empty string when nothing is wrong with it."""
    meta, status = pod["metadata"], pod.get("status") or {}
    reasons = sorted(_container(entry) for entry in _containers(pod))
    words = reasons[0][1] if reasons else ""
    words = words or _scheduling(pod)
    if not words and status.get("phase") in {"Pending", "Failed", "Unknown"}:
        words = ": ".join(str(status[key]) for key in ("phase", "reason", "message") if status.get(key))
        if status.get("phase") == "Pending" and (pod.get("spec") or {}).get("nodeName"):
            words = f"node {pod['spec']['nodeName']} has not started it yet"
    if words and meta.get("deletionTimestamp"):
        return ""
    return short(f"pod {meta.get('name')}: {words}") if words else ""


def worst(pods: list[Obj]) -> str:
    """Return the most telling reason among pods, newest first; empty when none has one."""
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    reasons = [reason for pod in newest if (reason := pod_reason(pod))]
    telling = [reason for reason in reasons if not any(word in reason for word in _STARTING)]
    return (telling or reasons or [""])[0]
