"""Whether the platform's containers came through a run: the same ones, never started anew. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from betelgeuse.kube import Obj

_LASTING: Final = frozenset({"Node", "ReplicaSet", "StatefulSet", "DaemonSet", "StrimziPodSet", "Cluster"})
"""Owners whose pods stay; others' (a Job's, a Challenge's) come and go."""
Key = tuple[str, str]
"""A pod's uid, and a container's name."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container, by its name for people."""

    name: str
    restarts: int


def containers(pods: Iterable[Obj]) -> dict[Key, Container]:
    """Return the containers of pods that stay and are not going."""
    return {
        (pod["metadata"]["uid"], status["name"]): Container(
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']} container {status['name']}",
            status.get("restartCount", 0),
        )
        for pod in pods
        if {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])} & _LASTING
        and "deletionTimestamp" not in pod["metadata"]
        for status in pod["status"].get("containerStatuses", [])
    }


def faults(before: Mapping[Key, Container], after: Mapping[Key, Container], killed: Collection[str]) -> list[str]:
    """Return which containers were restarted or are gone; `killed`: uids of pods that checks ended on purpose."""
    found = []
    for key, was in before.items():
        now = after.get(key)
        if key[0] not in killed and now is None:
            found.append(f"{was.name} is gone")
        elif key[0] not in killed and now and now.restarts != was.restarts:
            found.append(f"{was.name} was restarted: {was.restarts} times before, {now.restarts} now")
    new = (now for key, now in after.items() if key not in before and now.restarts)
    return [*found, *(f"{now.name} is new and was restarted {now.restarts} times" for now in new)]
