"""Which objects have data behind them: volume claims, what made them, and what takes them along when it is deleted."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from betelgeuse.kube import Kube, Obj, UnknownKindError, api_group, key_of

_CLAIM: Final = "PersistentVolumeClaim"
_DATA_KINDS: Final = frozenset(
    {
        ("", _CLAIM),
        ("", "PersistentVolume"),
        ("snapshot.storage.k8s.io", "VolumeSnapshot"),
        ("snapshot.storage.k8s.io", "VolumeSnapshotContent"),
        # Its volumes go with it, also those that it is only about to make.
        ("postgresql.cnpg.io", "Cluster"),
    }
)


def holds_data(live: Mapping[str, Any]) -> bool:
    """Whether an object's own kind says that data is lost with it."""
    return (api_group(live), str(live.get("kind"))) in _DATA_KINDS


def _claims(kube: Kube, namespace: str) -> list[Obj]:
    return kube.list("v1", _CLAIM, namespace)


def _made_by(claim: Obj, workload: Obj) -> bool:
    """Whether the claim is one of those a StatefulSet makes: `<template>-<StatefulSet>-<number>`."""
    name = re.escape(workload["metadata"]["name"])
    templates = "|".join(
        re.escape(template["metadata"]["name"]) for template in workload["spec"].get("volumeClaimTemplates") or ()
    )
    return bool(templates) and bool(re.fullmatch(rf"({templates})-{name}-\d+", claim["metadata"]["name"]))


def made(kube: Kube, workloads: Iterable[Obj]) -> Iterator[Obj]:
    """Yield the volume claims that StatefulSets made."""
    for workload in workloads:
        if workload["kind"] == "StatefulSet":
            namespace = workload["metadata"]["namespace"]
            yield from (claim for claim in _claims(kube, namespace) if _made_by(claim, workload))


def owners(kube: Kube, namespaces: Iterable[str]) -> dict[str, str]:
    """Return the uid of each object that volume claims belong to, with one of them: the claim is deleted behind it.

    A pod's claims are none: an ephemeral volume lives as long as its pod by design.
    """
    found: dict[str, str] = {}
    for namespace in namespaces:
        for claim in _claims(kube, namespace):
            climb = [claim]
            while climb:
                for owner in climb.pop()["metadata"].get("ownerReferences") or ():
                    if owner["kind"] == "Pod" or owner["uid"] in found:
                        continue
                    found[owner["uid"]] = str(key_of(claim))
                    # An owner whose kind is gone has no owners we could see.
                    with suppress(UnknownKindError):
                        above = kube.get(owner["apiVersion"], owner["kind"], owner["name"], namespace)
                        climb += [above] if above else []
    return found
