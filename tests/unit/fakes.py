"""A cluster in a dictionary: what the engine needs of `Kube`, and nothing more."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

from betelgeuse.kube import ApiError, Key, Kube, Obj, Resource, UnknownKindError, key_of

_METADATA = (
    "annotations",
    "labels",
    "generation",
    "managedFields",
    "uid",
    "finalizers",
    "creationTimestamp",
    "ownerReferences",
)
Step = Callable[["FakeKube"], None]


def obj(api_version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Obj:  # noqa: ANN401 - free form
    """Return an object; `annotations`, `labels` and the like go into its metadata."""
    meta: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    for part in (
        "annotations",
        "labels",
        "generation",
        "managedFields",
        "uid",
        "finalizers",
        "creationTimestamp",
        "ownerReferences",
    ):
        if part in rest:
            meta[part] = rest.pop(part)
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


class FakeKube:
    """Objects by key; every write is logged."""

    def __init__(self, *objects: Obj, unserved: Sequence[str] = (), later: Sequence[Step] = ()) -> None:
        """Start with objects; kinds in `unserved` do not exist; `later` holds what happens at each further list."""
        self.objects = {key_of(entry): entry for entry in objects}
        self.unserved = set(unserved)
        self.later: list[Step] = list(later)
        self.env = "local"
        self.writes = 0
        self.log: list[tuple[str, Key]] = []
        self.refuse: list[Exception] = []
        """What the next lists answer instead."""
        self.deny: list[Exception] = []
        """What the next applies answer instead."""
        self.warnings: dict[str, set[str]] = {}

    @property
    def kube(self) -> Kube:
        """Return this as what the engine's signatures ask for."""
        return cast("Kube", self)

    def put(self, entry: Obj) -> None:
        """Change the cluster behind the engine's back."""
        self.objects[key_of(entry)] = entry

    def refresh(self) -> None:
        """Do nothing: the kinds are fixed."""

    def resources(self) -> list[Resource]:
        """Return the kinds of the objects present."""
        kinds = {
            (entry["apiVersion"], entry["kind"], "namespace" in entry["metadata"]) for entry in self.objects.values()
        }
        return [Resource(version, kind, kind.lower(), namespaced) for version, kind, namespaced in sorted(kinds)]

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Obj]:
        """Return the objects of a kind; labels must match exactly."""
        if kind in self.unserved:
            raise UnknownKindError(f"no {kind}", 404)  # noqa: EM102, TRY003 - a fake's words
        if self.refuse:
            raise self.refuse.pop(0)
        found = [
            copy.deepcopy(entry)
            for entry in self.objects.values()
            if (entry["apiVersion"], entry["kind"]) == (api_version, kind)
            and namespace in {None, entry["metadata"].get("namespace")}
            and all(pair in _pairs(entry) for pair in labels.split(",") if pair)
            and (
                not fields
                or fields == f"type={entry.get('type')}"
                or f"involvedObject.name={entry.get('involvedObject', {}).get('name')}," in fields
            )
        ]
        if self.later:
            self.later.pop(0)(self)
        return found

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Obj | None:
        """Return one object."""
        meta = {"name": name} | ({"namespace": namespace} if namespace else {})
        return self.objects.get(key_of({"apiVersion": api_version, "kind": kind, "metadata": meta}))

    def server_side_apply(self, entry: Obj, manager: str, *, dry_run: bool = False, force: bool = False) -> Obj:
        """Merge at the top level only: enough for a Secret's data and a ConfigMap."""
        if self.deny and entry["metadata"].get("namespace") != "betelgeuse-system":
            raise self.deny.pop(0)
        key = key_of(entry)
        if (version := entry["metadata"].get("resourceVersion")) and version != self._version(key):
            raise refused(409, "the object has been modified")
        self.log.append((f"apply {manager}{' force' if force else ''}{' dry' if dry_run else ''}", key))
        merged = {**self.objects.get(key, {}), **copy.deepcopy(entry)}
        merged["metadata"] = {**merged["metadata"], "uid": f"uid-{key.name}", "resourceVersion": str(len(self.log))}
        if not dry_run:
            self.objects[key] = merged
        return merged

    def _version(self, key: Key) -> str:
        return str(self.objects[key]["metadata"].get("resourceVersion", "")) if key in self.objects else ""

    def create(self, entry: Obj, manager: str) -> Obj:
        """Create what must not exist yet."""
        if key_of(entry) in self.objects:
            raise refused(409, "already exists")
        return self.replace(entry, manager)

    def replace(self, entry: Obj, manager: str) -> Obj:
        """Write an object as a whole."""
        del manager
        key = key_of(entry)
        if (version := entry["metadata"].get("resourceVersion")) and version != self._version(key):
            raise refused(409, "the object has been modified")
        self.writes += 1
        written = copy.deepcopy(entry)
        written["metadata"] = {**written["metadata"], "uid": f"uid-{key.name}", "resourceVersion": f"w{self.writes}"}
        self.objects[key] = written
        return copy.deepcopy(written)

    def json_patch(self, entry: Obj, operations: Sequence[Obj], manager: str, *, dry_run: bool = False) -> Obj:
        """Replace and remove."""
        key = key_of(entry)
        self.log.append((f"patch {manager}{' dry' if dry_run else ''}", key))
        found = copy.deepcopy(self.objects[key])
        for operation in operations:
            holder: Any = found
            *steps, last = operation["path"][1:].split("/")
            for step in steps:
                holder = holder[int(step) if isinstance(holder, list) else step]
            place = int(last) if isinstance(holder, list) else last
            if operation["op"] == "remove":
                del holder[place]
            else:
                holder[place] = operation["value"]
        found["metadata"]["resourceVersion"] = str(len(self.log))
        if not dry_run:
            self.objects[key] = found
        return found

    def delete(self, entry: Obj, *, uid: str = "", propagation: str = "Background") -> bool:
        """Delete an object; one with finalizers is only marked."""
        del uid, propagation
        self.log.append(("delete", key_of(entry)))
        found = self.objects.get(key_of(entry))
        if found is not None and found["metadata"].get("finalizers"):
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return True
        return self.objects.pop(key_of(entry), None) is not None


def _pairs(entry: Obj) -> list[str]:
    return [f"{key}={value}" for key, value in (entry["metadata"].get("labels") or {}).items()]


def refused(status: int, message: str, causes: Sequence[dict[str, str]] = ()) -> ApiError:
    """Return an answer of the API server."""
    return ApiError(f"PATCH /x: {message} (HTTP {status})", status, "", tuple(causes))
