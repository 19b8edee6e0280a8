"""A field that the API server does not let change: how to come to the new value without losing anything."""

import re
from typing import Any, Final

from betelgeuse.kube import Obj, built_in, key_of, kubectl_words

_FIXED: Final = re.compile(
    # The API server has no one word for it; each of these is its own of some kind.
    r"immutable|[Ff]orbidden: (?:updates? to|field can not be less)|must support resize"
    r"|may not change once set|cannot change roleRef|may not be (?:changed|modified)"
)
_HOLDERS: Final = frozenset(
    {"PersistentVolumeClaim", "PersistentVolume", "Secret", "Namespace", "CustomResourceDefinition"}
)
"""Built-in kinds whose deletion takes data along; a custom resource may stand for anything, a database too."""


def fixed(message: str) -> bool:
    """Whether a refusal says that a field cannot change."""
    return bool(_FIXED.search(message))


def holds_data(obj: Obj) -> bool:
    """Whether data may go when an object is deleted."""
    return obj["kind"] in _HOLDERS or not built_in(key_of(obj).group)


def advice(obj: Obj) -> str:
    """Return how a deploy gets past a field that cannot change; for what holds data, never to delete it."""
    kind: Any = obj["kind"]
    if kind == "PersistentVolumeClaim":
        return (
            "it holds data, so it is not to be deleted: put the old value back into the tree (its size can only grow, "
            "where its StorageClass allows that), or make a claim of another name and copy the data over"
        )
    if kind == "StatefulSet":
        return (
            f"`kubectl delete {kubectl_words(obj)} --cascade=orphan` leaves its pods, claims and data in place, and "
            "the next deploy takes them over; claims that are there keep their size until they are resized themselves"
        )
    if holds_data(obj):
        return (
            "deleting it may delete data, so put the old value back into the tree, or give the new one another name "
            "and move the data over"
        )
    return f"`kubectl delete {kubectl_words(obj)}` lets the next deploy make it anew"
