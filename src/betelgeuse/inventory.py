"""What we own in a cluster: written before an apply, exact after it, so that nothing of ours is ever forgotten."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from betelgeuse.apply_rules import MANAGER, Key, digest, key_of
from betelgeuse.kube import Kube, Obj

NAMESPACE: Final = "betelgeuse-system"
NAME: Final = "betelgeuse-inventory"
_NO_NAMESPACE: Final = "-"
_FIELDS: Final = 4


@dataclass
class Inventory:
    """Our objects: the API version each was applied with, and the proof of that apply ("" while one is under way)."""

    versions: dict[Key, str] = field(default_factory=dict)
    records: dict[Key, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Mapping[str, str]) -> Self:
        """Read a ConfigMap's data; a line nobody of ours wrote is left out."""
        found = cls()
        for lines in data.values():
            for line in lines.splitlines():
                words = line.split()
                if len(words) not in {_FIELDS, _FIELDS + 1}:
                    continue
                api_version, kind, namespace, name = words[:_FIELDS]
                group, slash, _ = api_version.partition("/")
                key = Key(group if slash else "", kind, "" if namespace == _NO_NAMESPACE else namespace, name)
                found.versions[key] = api_version
                found.records[key] = words[_FIELDS] if len(words) > _FIELDS else ""
        return found

    def data(self) -> dict[str, str]:
        """Return the ConfigMap's data: one key per kind, one line per object, for people to read as well."""
        lines: dict[str, list[str]] = {}
        for key in sorted(self.versions):
            words = (self.versions[key], key.kind, key.namespace or _NO_NAMESPACE, key.name, self.records.get(key, ""))
            lines.setdefault(f"{key.kind}.{key.group or 'core'}", []).append(" ".join(words).rstrip())
        return {name: "\n".join(found) + "\n" for name, found in lines.items()}

    def union(self, objects: Iterable[Obj], pending: Iterable[Key]) -> Self:
        """Return what to write before an apply: everything old and new, without proof where a change is due.

        A proof kept across a change would lie if the apply died half-way and the change was then taken back.
        """
        versions = self.versions | {key_of(obj): str(obj["apiVersion"]) for obj in objects}
        blank = set(pending)
        return type(self)(versions, {key: "" if key in blank else self.records.get(key, "") for key in versions})

    def partial(self, records: Mapping[Key, str]) -> Self:
        """Return what to write when an apply failed: what it did do need not be done again."""
        return type(self)(dict(self.versions), self.records | dict(records))

    def exact(self, objects: Iterable[Obj], records: Mapping[Key, str], kept: Iterable[Key]) -> Self:
        """Return what to write at the end: the tree, and what a prune had to leave in place."""
        staying = [key for key in kept if key in self.versions]
        versions = {key: self.versions[key] for key in staying}
        versions |= {key_of(obj): str(obj["apiVersion"]) for obj in objects}
        proofs = {key: self.records.get(key, "") for key in staying} | dict(records)
        return type(self)(versions, {key: proofs.get(key, "") for key in versions})

    def left_the_tree(self, objects: Iterable[Obj]) -> list[Key]:
        """Return what we own that the tree no longer holds."""
        return sorted(set(self.versions) - {key_of(obj) for obj in objects})


def load(kube: Kube) -> Inventory:
    """Read the inventory; a cluster without one has nothing of ours."""
    found = kube.get("v1", "ConfigMap", NAME, NAMESPACE)
    return Inventory.parse((found or {}).get("data") or {})


def save(kube: Kube, inventory: Inventory) -> None:
    """Write the inventory, and the namespace it lives in when that is not there yet."""
    if kube.get("v1", "Namespace", NAMESPACE) is None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "app.kubernetes.io/part-of": "betelgeuse"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        kube.server_side_apply(namespace, MANAGER, force=True)
    data = inventory.data()
    meta = {"name": NAME, "namespace": NAMESPACE, "annotations": {"betelgeuse.io/digest": digest(data)}}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
    # Nobody else writes this object; what a hand changed in it is wrong by definition.
    kube.server_side_apply(config_map, MANAGER, force=True)
