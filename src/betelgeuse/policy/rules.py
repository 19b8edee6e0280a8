"""NetworkPolicies and Cilium's, read into one form: rules with peers and ports.

Strict: what this module does not understand is an error, because a rule that is skipped looks like a rule that holds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj, describe
from betelgeuse.policy.parties import Party
from betelgeuse.policy.selectors import Labels, cilium_matches, matches, namespace_labels

KINDS: Final = ("NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
INGRESS, EGRESS = "ingress", "egress"
_WAYS: Final = {INGRESS: "from", EGRESS: "to"}
_POLICY_KEYS: Final = frozenset({"podSelector", "policyTypes", INGRESS, EGRESS})
_CILIUM_KEYS: Final = frozenset({
    "endpointSelector", "enableDefaultDeny", "description", INGRESS, EGRESS, "ingressDeny", "egressDeny",
})  # fmt: skip
Namespaces = Mapping[str, Labels]
Test = Callable[[Party], bool]


@dataclass(frozen=True)
class Port:
    """What a rule says about a port: a number or a name, perhaps up to `end`; None is every port of the protocol."""

    protocol: str = "TCP"
    port: int | str | None = None
    end: int = 0

    def takes(self, callee: Party, number: int, protocol: str) -> bool:
        """Tell whether a port of the callee is meant."""
        if self.protocol not in {protocol, "ANY"}:
            return False
        if self.port is None:
            return True
        first = callee.number(self.port)
        return first <= number <= max(first, self.end)


@dataclass(frozen=True)
class Rule:
    """One rule: those it is about on the far side, and the callee's ports; none means every port."""

    policy: str
    peers: tuple[Test, ...]
    """Empty: everybody."""
    ports: tuple[Port, ...]
    denies: bool = False

    def takes(self, peer: Party, callee: Party, number: int, protocol: str) -> bool:
        """Tell whether the rule speaks of a connection."""
        far = not self.peers or any(test(peer) for test in self.peers)
        return far and (not self.ports or any(port.takes(callee, number, protocol) for port in self.ports))


@dataclass(frozen=True)
class Policy:
    """One policy: whom it is for, the directions in which it shuts them, and what it opens (or forbids)."""

    name: str
    subject: Test
    shuts: frozenset[str]
    rules: Mapping[str, tuple[Rule, ...]]


def _unknown(obj: Obj, where: str, words: Iterable[str]) -> UsageError:
    named = ", ".join(sorted(words))
    return UsageError(f"{describe(obj)}: {where} uses {named}, which betelgeuse.policy does not understand yet")


def _check(obj: Obj, where: str, entry: Mapping[str, Any], known: Iterable[str]) -> None:
    if surplus := set(entry) - set(known):
        raise _unknown(obj, where, surplus)


def _peer(obj: Obj, peer: Obj, namespaces: Namespaces) -> Test:
    own = obj["metadata"]["namespace"]
    _check(obj, "a peer", peer, {"ipBlock", "podSelector", "namespaceSelector"})
    if "ipBlock" in peer:
        return _block(peer["ipBlock"]["cidr"], tuple(peer["ipBlock"].get("except") or ()))
    pods, around = peer.get("podSelector") or {}, peer.get("namespaceSelector")

    def test(party: Party) -> bool:
        if around is None:
            near = party.namespace == own
        else:
            near = matches(around, namespace_labels(party.namespace, namespaces))
        return party.is_pod and near and matches(pods, party.labels)

    return test


def _inside(party: Party, block: str, out: Iterable[str]) -> bool:
    everything = block in {"0.0.0.0/0", "::/0"}
    return (everything or party.within(block)) and not any(party.within(each) for each in out)


def _network_policy(obj: Obj, namespaces: Namespaces) -> Policy:
    own, spec, name = obj["metadata"]["namespace"], obj["spec"], describe(obj)
    _check(obj, "spec", spec, _POLICY_KEYS)
    rules: dict[str, tuple[Rule, ...]] = {}
    for way, side in _WAYS.items():
        found = []
        for rule in spec.get(way) or ():
            _check(obj, f"a rule of {way}", rule, {side, "ports"})
            ports = tuple(
                Port(entry.get("protocol", "TCP"), entry.get("port"), entry.get("endPort", 0))
                for entry in rule.get("ports") or ()
            )
            found.append(Rule(name, tuple(_peer(obj, peer, namespaces) for peer in rule.get(side) or ()), ports))
        rules[way] = tuple(found)
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    selector = spec.get("podSelector") or {}

    def subject(party: Party) -> bool:
        return party.is_pod and party.namespace == own and matches(selector, party.labels)

    return Policy(name, subject, frozenset(each.lower() for each in types), rules)


def _cilium_ports(obj: Obj, blocks: Iterable[Obj]) -> Iterator[Port]:
    for block in blocks:
        _check(obj, "toPorts", block, {"ports"})
        for entry in block["ports"]:
            text = str(entry["port"])
            number: int | str = int(text) if text.isdigit() else text
            yield Port(entry.get("protocol", "ANY"), number or None, entry.get("endPort", 0))


def _endpoints(selector: Obj, own: str, namespaces: Namespaces) -> Test:
    return lambda party: cilium_matches(selector, party, own, namespaces)


def _block(cidr: str, out: tuple[str, ...]) -> Test:
    # Both kinds of policy take blocks to mean addresses outside the cluster, never pods or nodes.
    return lambda party: "world" in party.entities and _inside(party, cidr, out)


def _cilium_peers(obj: Obj, rule: Obj, side: str, namespaces: Namespaces) -> Iterator[Test]:
    own = obj["metadata"].get("namespace", "")
    _check(
        obj, "a rule", rule, {f"{side}{what}" for what in ("Endpoints", "Entities", "CIDR", "CIDRSet")} | {"toPorts"}
    )
    for selector in rule.get(f"{side}Endpoints") or ():
        yield _endpoints(selector, own, namespaces)
    if entities := frozenset(rule.get(f"{side}Entities") or ()):
        yield lambda party: bool(entities & party.entities)
    for cidr in rule.get(f"{side}CIDR") or ():
        yield _block(cidr, ())
    for entry in rule.get(f"{side}CIDRSet") or ():
        yield _block(entry["cidr"], tuple(entry.get("except") or ()))


def _cilium_policy(obj: Obj, namespaces: Namespaces) -> Policy:
    own, spec, name = obj["metadata"].get("namespace", ""), obj["spec"], describe(obj)
    _check(obj, "spec", spec, _CILIUM_KEYS)
    rules: dict[str, tuple[Rule, ...]] = {}
    shuts = set()
    for way, side in _WAYS.items():
        found = []
        for denies, entries in ((False, spec.get(way)), (True, spec.get(f"{way}Deny"))):
            for rule in entries or ():
                peers = tuple(_cilium_peers(obj, rule, side, namespaces))
                ports = tuple(_cilium_ports(obj, rule.get("toPorts") or ()))
                found.append(Rule(name, peers, ports, denies))
        rules[way] = tuple(found)
        if (spec.get("enableDefaultDeny") or {}).get(way, way in spec or f"{way}Deny" in spec):
            shuts.add(way)
    selector = spec["endpointSelector"]
    return Policy(name, lambda party: cilium_matches(selector, party, own, namespaces), frozenset(shuts), rules)


def read(objects: Iterable[Obj]) -> tuple[Policy, ...]:
    """Return the policies of a tree; raise UsageError for one that says more than we understand."""
    objects = list(objects)
    namespaces = {o["metadata"]["name"]: o["metadata"].get("labels") or {} for o in objects if o["kind"] == "Namespace"}
    readers = {"NetworkPolicy": _network_policy}
    return tuple(readers.get(obj["kind"], _cilium_policy)(obj, namespaces) for obj in objects if obj["kind"] in KINDS)
