"""What we own in a cluster: written before an apply, exact after it, so that nothing of ours is ever forgotten."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from betelgeuse.apply_rules import MANAGER, applied_by_us
from betelgeuse.errors import LockedError, WaitTimeoutError
from betelgeuse.kube import ApiError, Key, Kube, Obj, digest, key_of

NAMESPACE: Final = "betelgeuse-system"
NAME: Final = "betelgeuse-inventory"
LEASE_NAME: Final = "betelgeuse-writer"
_CONFLICT: Final = 409
_NONE: Final = "-"
_ADOPTED: Final = "adopted"
_CLAIM: Final = "claim:"
_PROFILE: Final = "profile"
"""The key that no kind can have: those of kinds hold a dot."""
_FIELDS: Final = 4
_DELETION_SECONDS: Final = 120.0
"""How long a namespace may take to go: its pods get 30 s to end, and a node may be slow to say so."""
_PAUSE: Final = 1.0


@dataclass
class Inventory:
    """Our objects: the API version each was applied with, and the proof of that apply ("" while one is under way)."""

    versions: dict[Key, str] = field(default_factory=dict)
    records: dict[Key, str] = field(default_factory=dict)
    adopted: set[Key] = field(default_factory=set)
    """What was there before us (kube-system, kubeadm's CoreDNS settings): changed by us, never deleted by us."""
    profile: str = ""
    """The profile chosen by the last deploy; empty where it was the overlay's own."""

    version: str = field(default="", compare=False)
    """The resourceVersion it was read at; empty where there was none."""

    @classmethod
    def parse(cls, data: Mapping[str, str]) -> Self:
        """Read a ConfigMap's data; a line nobody of ours wrote is left out."""
        found = cls(profile=data.get(_PROFILE, "").strip())
        for lines in data.values():
            for line in lines.splitlines():
                words = line.split()
                if not _FIELDS <= len(words) <= _FIELDS + 2:
                    continue
                api_version, kind, namespace, name = words[:_FIELDS]
                group, slash, _ = api_version.partition("/")
                key = Key(group if slash else "", kind, "" if namespace == _NONE else namespace, name)
                found.versions[key] = api_version
                found.records[key] = words[_FIELDS].removeprefix(_NONE) if len(words) > _FIELDS else ""
                if words[-1] == _ADOPTED and len(words) == _FIELDS + 2:
                    found.adopted.add(key)
        return found

    def data(self) -> dict[str, str]:
        """Return the ConfigMap's data: one key per kind, one line per object, for people to read as well."""
        lines: dict[str, list[str]] = {}
        for key in sorted(self.versions):
            words = [self.versions[key], key.kind, key.namespace or _NONE, key.name, self.records.get(key) or _NONE]
            words += [_ADOPTED] if key in self.adopted else []
            lines.setdefault(f"{key.kind}.{key.group or 'core'}", []).append(" ".join(words))
        texts = {name: "\n".join(found) + "\n" for name, found in lines.items()}
        return texts | ({_PROFILE: f"{self.profile}\n"} if self.profile else {})

    def union(self, objects: Iterable[Obj], pending: Iterable[Key], live: Mapping[Key, Obj]) -> Self:
        """Return what to write before an apply: everything old and new, without proof where a change is due.

        A proof kept across a change would lie if the apply died half-way and the change was then taken back.
        """
        found = {key_of(obj): str(obj["apiVersion"]) for obj in objects}
        adopted = {key for key in found.keys() - self.versions.keys() if key in live and not applied_by_us(live[key])}
        versions, blank = self.versions | found, set(pending)
        records = {key: "" if key in blank else self.records.get(key, "") for key in versions}
        return replace(self, versions=versions, records=records, adopted=self.adopted | adopted)

    def partial(self, records: Mapping[Key, str]) -> Self:
        """Return what to write when an apply failed: what it did do need not be done again."""
        return replace(self, records=self.records | dict(records))

    def exact(self, objects: Iterable[Obj], records: Mapping[Key, str], kept: Iterable[Key]) -> Self:
        """Return what to write at the end: the tree, and what a prune had to leave in place."""
        staying = [key for key in kept if key in self.versions]
        versions = {key: self.versions[key] for key in staying}
        versions |= {key_of(obj): str(obj["apiVersion"]) for obj in objects}
        proofs = {key: self.records.get(key, "") for key in staying} | dict(records)
        complete = {key: proofs.get(key, "") for key in versions}
        return replace(self, versions=versions, records=complete, adopted=self.adopted & versions.keys())

    def with_claims(self, claims: Iterable[Obj]) -> Self:
        """Return what to write before the StatefulSets go that made these volume claims: from then on they are ours."""
        found = {key_of(claim): claim for claim in claims}
        fresh = {key: claim for key, claim in found.items() if key not in self.versions}
        versions = self.versions | {key: str(claim["apiVersion"]) for key, claim in fresh.items()}
        # Nothing was applied: the uid alone proves which object is meant.
        records = self.records | {key: f"{_CLAIM}:{claim['metadata']['uid']}" for key, claim in fresh.items()}
        return replace(self, versions=versions, records=records)

    @property
    def has_claims(self) -> bool:
        """Whether volume claims that StatefulSets made are among our objects."""
        return any(record.startswith(_CLAIM) for record in self.records.values())

    def without(self, keys: Iterable[Key]) -> Self:
        """Return what to write when volume claims belong to a StatefulSet of the tree again."""
        gone = {key for key in keys if self.records.get(key, "").startswith(_CLAIM)}
        versions = {key: version for key, version in self.versions.items() if key not in gone}
        return replace(self, versions=versions, records={key: self.records.get(key, "") for key in versions})

    def left_the_tree(self, objects: Iterable[Obj]) -> list[Key]:
        """Return what we own that the tree no longer holds."""
        return sorted(set(self.versions) - {key_of(obj) for obj in objects})


def load(kube: Kube) -> Inventory:
    """Read the inventory; a cluster without one has nothing of ours."""
    found = kube.get("v1", "ConfigMap", NAME, NAMESPACE)
    known = Inventory.parse((found or {}).get("data") or {})
    return replace(known, version=str(found["metadata"].get("resourceVersion", "")) if found else "")


def home(kube: Kube) -> None:
    """Make the namespace of the inventory, or wait for its deletion by an earlier `destroy` to end first."""
    deadline = time.monotonic() + _DELETION_SECONDS
    while (found := kube.get("v1", "Namespace", NAMESPACE)) is not None:
        if not found["metadata"].get("deletionTimestamp"):
            return
        if time.monotonic() > deadline:
            message = (
                f"namespace {NAMESPACE} is still being deleted after {_DELETION_SECONDS:.0f} s; "
                f"`kubectl get namespace {NAMESPACE} -o yaml` says what it waits for"
            )
            raise WaitTimeoutError(message)
        time.sleep(_PAUSE)
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "app.kubernetes.io/part-of": "betelgeuse"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    kube.server_side_apply(namespace, MANAGER, force=True)


def save(kube: Kube, inventory: Inventory) -> None:
    """Write the inventory, and the namespace it lives in when that is not there yet; it then is of what was written.

    Raises LockedError where somebody else wrote it since it was read: what they made would be forgotten.
    """
    home(kube)
    data = inventory.data()
    config_map: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}}
    try:
        if not inventory.version:
            # An apply would not tell a new object from somebody else's.
            inventory.version = kube.create(config_map, MANAGER)["metadata"]["resourceVersion"]
        marks = {"annotations": {"betelgeuse.io/digest": digest(data)}, "resourceVersion": inventory.version}
        wanted = {**config_map, "metadata": {**config_map["metadata"], **marks}, "data": data}
        # Only deploys write this object; what a hand changed in it is wrong by definition.
        inventory.version = kube.server_side_apply(wanted, MANAGER, force=True)["metadata"]["resourceVersion"]
    except ApiError as error:
        if error.status != _CONFLICT:
            raise
        message = f"another deploy wrote the inventory of {kube.env!r} since this one read it; run this again"
        raise LockedError(message) from None


def forget(kube: Kube) -> None:
    """Remove the inventory and its namespace: nothing of ours is left to know about."""
    for version, kind, name in (
        ("v1", "ConfigMap", NAME),
        ("coordination.k8s.io/v1", "Lease", LEASE_NAME),
        ("v1", "Namespace", NAMESPACE),
    ):
        meta = {"name": name} | ({"namespace": NAMESPACE} if kind != "Namespace" else {})
        kube.delete({"apiVersion": version, "kind": kind, "metadata": meta})
