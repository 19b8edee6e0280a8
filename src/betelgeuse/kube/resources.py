"""Where the API serves each kind, read from its discovery."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Resource:
    """Where the API serves one kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    listable: bool = True

    @property
    def root(self) -> str:
        """The path of the API group and version."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of a collection or of one object."""
        middle = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        end = f"/{quote(name, safe='')}" if name else ""
        return f"{self.root}{middle}/{self.plural}{end}"


def resources(answer: Mapping[str, Any]) -> dict[tuple[str, str], Resource]:
    """Read an aggregated discovery document."""
    found: dict[tuple[str, str], Resource] = {}
    for group in answer.get("items", []):
        group_name = group["metadata"].get("name", "")
        for version in group.get("versions", []):
            api_version = f"{group_name}/{version['version']}" if group_name else version["version"]
            for entry in version.get("resources", []):
                kind = (entry.get("responseKind") or {}).get("kind")
                if kind:
                    namespaced, listable = entry.get("scope") == "Namespaced", "list" in entry.get("verbs", ())
                    found[api_version, kind] = Resource(api_version, kind, entry["resource"], namespaced, listable)
    return found
