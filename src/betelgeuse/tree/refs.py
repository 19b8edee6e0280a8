"""Names of objects, as the tree and the cluster both use them. Pure."""

from dataclasses import dataclass

from betelgeuse.kube import Obj


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """The name of one object."""

    kind: str
    namespace: str
    name: str
    api_version: str = ""

    def __str__(self) -> str:
        """Show it as the ids of the checks do: `Deployment/ai/llm`."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    def same(self, other: "Ref") -> bool:
        """Whether both name one object; references to it often leave out the version."""
        return (self.kind, self.namespace, self.name) == (other.kind, other.namespace, other.name)

    def kubectl(self, verb: str) -> str:
        """Return the command that looks at it."""
        group = self.api_version.partition("/")[0] if "/" in self.api_version else ""
        kind = f"{self.kind}.{group}".lower() if group.count(".") else self.kind.lower()
        place = f" -n {self.namespace}" if self.namespace else ""
        return f"kubectl{place} {verb} {kind} {self.name}"


def ref(obj: Obj) -> Ref:
    """Return the name of an object."""
    meta = obj["metadata"]
    return Ref(obj["kind"], meta.get("namespace", ""), meta["name"], obj["apiVersion"])
