"""How mutations change a tree: set, drop, add and remove, by name."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from betelgeuse.kube import Obj
from betelgeuse.tree.workloads import pod_spec

Change = Callable[["Objects"], None]


class Objects:
    """A tree's objects, free to be changed."""

    def __init__(self, objects: list[Obj]) -> None:
        """Copy them, as the tree is shared by all tests; no mutation touches the megabytes of CRDs."""
        self.all = [obj if obj["kind"] == "CustomResourceDefinition" else copy.deepcopy(obj) for obj in objects]

    def one(self, kind: str, name: str, namespace: str = "") -> Obj:
        """Return one object; a mutation whose subject is gone must be rewritten, so it raises."""
        found = (
            obj
            for obj in self.all
            if (obj["kind"], obj["metadata"]["name"]) == (kind, name)
            and namespace in {"", obj["metadata"].get("namespace")}
        )
        return next(found)

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        """Remove one object."""
        self.all.remove(self.one(kind, name, namespace))

    def container(self, deployment: str) -> Obj:
        """Return a deployment's first container."""
        first: Obj = pod_spec(self.one("Deployment", deployment))["containers"][0]
        return first


@dataclass(frozen=True)
class Mutation:
    """One change and the check that must go red."""

    name: str
    check: str
    change: Change


def set_field(kind: str, name: str, path: str, value: Any) -> Change:  # noqa: ANN401 - any JSON value
    """Set one field; numbers in the path are positions in lists."""

    def change(objects: Objects) -> None:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
        place: Any = objects.one(kind, name)
        for part in parents:
            place = place[part]
        place[last] = value

    return change


def drop_field(kind: str, name: str, path: str) -> Change:
    """Remove one field or list entry."""

    def change(objects: Objects) -> None:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
        place: Any = objects.one(kind, name)
        for part in parents:
            place = place[part]
        del place[last]

    return change


def remove(kind: str, name: str, namespace: str = "") -> Change:
    """Remove one object."""
    return lambda objects: objects.remove(kind, name, namespace)


def add(obj: Obj) -> Change:
    """Add one object."""
    return lambda objects: objects.all.append(obj)


def container(deployment: str, change: Callable[[Obj], object]) -> Change:
    """Change a deployment's first container."""

    def apply(objects: Objects) -> None:
        change(objects.container(deployment))

    return apply
