"""Whether a connection is allowed, and by which policies."""

from collections.abc import Iterable
from dataclasses import dataclass

from betelgeuse.kube import Obj
from betelgeuse.policy import rules
from betelgeuse.policy.parties import Party
from betelgeuse.policy.rules import EGRESS, INGRESS, KINDS, Policy
from betelgeuse.policy.selectors import keys


@dataclass(frozen=True)
class Verdict:
    """The answer for one connection; `why` names what decided it, one entry per direction."""

    allowed: bool
    why: tuple[str, ...]


@dataclass(frozen=True)
class Policies:
    """All policies of a tree."""

    all: tuple[Policy, ...]

    @classmethod
    def read(cls, objects: Iterable[Obj]) -> "Policies":
        """Read them out of rendered objects."""
        return cls(rules.read(objects))

    def _one_way(self, way: str, subject: Party, peer: Party, callee: Party, port: tuple[int, str]) -> Verdict:
        mine = [policy for policy in self.all if policy.subject(subject)]
        spoken = [rule for policy in mine for rule in policy.rules[way] if rule.takes(peer, callee, *port)]
        if denied := [rule.policy for rule in spoken if rule.denies]:
            return Verdict(allowed=False, why=(f"{way}: forbidden by {denied[0]}",))
        if not any(way in policy.shuts for policy in mine):
            return Verdict(allowed=True, why=(f"{way}: no policy for {subject}",))
        if spoken:
            return Verdict(allowed=True, why=(f"{way}: {spoken[0].policy}",))
        return Verdict(allowed=False, why=(f"{way}: no rule of {', '.join(sorted(p.name for p in mine))}",))

    def verdict(self, caller: Party, callee: Party, number: int, protocol: str = "TCP") -> Verdict:
        """Tell whether a caller may connect to a port: both sides must let it."""
        out = self._one_way(EGRESS, caller, callee, callee, (number, protocol))
        into = self._one_way(INGRESS, callee, caller, callee, (number, protocol))
        return Verdict(out.allowed and into.allowed, (*out.why, *into.why))


def label_keys(objects: Iterable[Obj]) -> set[str]:
    """Return the keys of pod labels that some policy looks at: two pods that agree in these are treated alike."""
    found: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            if "matchLabels" in value or "matchExpressions" in value:
                found.update(keys(value))
            for item in value.values():
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)

    for obj in objects:
        if obj["kind"] in KINDS:
            collect(obj["spec"])
    return found
