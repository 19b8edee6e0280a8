"""Checks of what pods may reach and accounts may do, computed from the tree's policies and Roles."""

from collections.abc import Iterator
from typing import Final

from betelgeuse.kube import describe
from betelgeuse.policy.access import DEFAULT, Access, Account, powers_anywhere
from betelgeuse.policy.parties import API_SERVER, METADATA, NODE, SHUT, WORLD, Party, of_tree
from betelgeuse.policy.verdicts import Policies
from conformance import exemptions
from tests.render.trees import POLICIES, Tree

_NODES: Final = frozenset({"host", "remote-node", "kube-apiserver"})


def nodes_are_named_with_a_port(tree: Tree) -> Iterator[str]:
    """A rule that lets pods out to a node says to which port: a node has more of them than the API server's."""
    for policy in tree.kind(*POLICIES):
        for rule in policy["spec"].get("egress") or ():
            if _NODES & set(rule.get("toEntities") or ()) and not rule.get("toPorts"):
                yield f"{describe(policy)}: lets pods out to {', '.join(rule['toEntities'])} on every port"


def nodes_are_out_of_reach(tree: Tree) -> Iterator[str]:
    """No unlisted pod, whatever its labels, may reach a node's SSH, etcd, kubelet, or the metadata address."""
    policies, listed = Policies.read(tree.objects), exemptions.load()
    strangers = [Party(namespace, "a stranger") for namespace in (*sorted(tree.namespace_labels), "elsewhere")]
    nodes = [Party("", "a node", entities=NODE), Party("", "the API server's node", entities=API_SERVER)]
    metadata = Party("", "the metadata address", entities=WORLD, address=METADATA)
    places = [(node, port) for node in nodes for port in SHUT]
    for caller in (*strangers, *(party for party in of_tree(tree.objects) if party.is_pod)):
        for callee, port in (*places, (metadata, 80)):
            if policies.verdict(caller, callee, port).allowed and not listed.may_reach(str(caller), port):
                yield f"{caller} may reach {callee} on port {port}"


def powers_are_listed(tree: Tree) -> Iterator[str]:
    """Accounts that read Secrets, start pods or take another's part are listed with a reason."""
    access, allowed = Access.read(tree.objects), exemptions.load()
    defaults = {Account(namespace, DEFAULT) for namespace in tree.namespace_labels}
    for account in sorted(access.bound() | defaults):
        if surplus := powers_anywhere(access, account) - allowed.powers_of(str(account)):
            yield f"ServiceAccount {account}: {', '.join(sorted(surplus))}: not listed in conformance/exemptions.yaml"


CHECKS: Final = (nodes_are_named_with_a_port, nodes_are_out_of_reach, powers_are_listed)
