"""Kubernetes objects as plain data: what identifies one, and what people call it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

Obj = dict[str, Any]
"""A Kubernetes object as the API speaks it."""


_BUILT_IN_GROUPS: Final = frozenset(
    f"{name}.k8s.io"
    for name in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
    )
)


class Key(NamedTuple):
    """The identity of an object; without the version, which may change under it."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return what people call it: `Deployment ai/llm`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def api_group(obj: Mapping[str, Any]) -> str:
    """Return the API group of an object, empty for the core group."""
    group, slash, _ = str(obj.get("apiVersion", "")).partition("/")
    return group if slash else ""


def built_in(group: str) -> bool:
    """Whether an API group is Kubernetes' own, and no CRD's."""
    return "." not in group or group in _BUILT_IN_GROUPS


def key_of(obj: Mapping[str, Any]) -> Key:
    """Return the identity of an object."""
    meta = obj["metadata"]
    return Key(api_group(obj), str(obj["kind"]), str(meta.get("namespace") or ""), str(meta["name"]))


def describe(obj: Mapping[str, Any]) -> str:
    """Return how people name an object, even one that is not whole: `Deployment ai/llm`."""
    meta = obj.get("metadata") or {}
    return str(Key("", str(obj.get("kind", "?")), str(meta.get("namespace") or ""), str(meta.get("name", "?"))))


def kubectl_words(obj: Mapping[str, Any]) -> str:
    """Return how kubectl is told of an object, ready to be pasted: `deployment.apps llm --namespace=ai`."""
    key = key_of(obj)
    kind = key.kind.lower() + (f".{key.group}" if key.group else "")
    return f"{kind} {key.name}" + (f" --namespace={key.namespace}" if key.namespace else "")


def digest(value: object) -> str:
    """Return a short hash of plain data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
