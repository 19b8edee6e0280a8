"""What DNS has to say about an environment: records for each host that its tree serves from outside.

`invoke dns` prints them as a zone, and the doctor compares what a resolver answers with them.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from betelgeuse import nodecount
from betelgeuse.servers import Server
from betelgeuse.settings import Settings
from betelgeuse.tree import Tree

TTL: Final = 300
"""Seconds. After a server was replaced, clients ask again within five minutes; while nothing changes, a resolver that
keeps an answer for so long hardly burdens the provider."""
_APEX: Final = "@"
_GAP: Final = 2


def hosts(tree: Tree) -> tuple[str, ...]:
    """Return each name right at or below the tree's domain that is reached from outside.

    Applications, logins, databases and brokers; and the domain itself, whose certificate a client gets who names no
    host of ours. Names of the cluster's own are below another domain.
    """
    names = {host.name for host in tree.hosts}
    names |= {host.name for host in tree.tcp_hosts}
    names |= {each.name for each in tree.tls_names}
    return tuple(sorted(name for name in names if name == tree.domain or name.endswith(f".{tree.domain}")))


def gateways(chosen: Settings, listed: Sequence[Server]) -> tuple[str, ...]:
    """Return the addresses at which clients find the gateway; none where nobody said any.

    What environment.env says comes first: it may name a load balancer, or IPv6 addresses, which servers.yaml has not.
    Without it, each server that runs a proxy; where no servers are listed, where the nodes were at the last deploy.
    """
    working = tuple(server.address for server in listed if server.works)
    # What a deploy has kept is older than the list.
    said = () if chosen.gateway_addresses == nodecount.addresses(chosen.env) else chosen.gateway_addresses
    return said or working or chosen.gateway_addresses


def _records(owner: str, addresses: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return (owner, type, address) of one name, in the order in which they are printed."""
    found = sorted({ip_address(address) for address in addresses}, key=lambda each: (each.version, int(each)))
    return [(owner, "A" if each.version == 4 else "AAAA", str(each)) for each in found]  # noqa: PLR2004 - IPv4


def zone(domain: str, names: Iterable[str], addresses: Sequence[str]) -> str:
    """Return the zone of a domain as a master file (RFC 1035), the same text for the same names and addresses.

    `names` are those that `hosts` returns. A time to live of five minutes lets clients find a replaced server soon.
    """
    owners = sorted({name.removesuffix(domain).rstrip(".") for name in names})
    records = [record for owner in owners for record in _records(owner or _APEX, addresses)]
    width = max((len(owner) for owner, _, _ in records), default=0) + _GAP
    lines = [
        f"; {domain}: where each host is that the platform serves. `invoke dns` writes this.",
        "; SOA and NS records are not here, because the DNS provider owns them.",
        f"$ORIGIN {domain}.",
        f"$TTL {TTL}",
        *(f"{owner:<{width}}IN  {kind:<4}  {address}" for owner, kind, address in records),
    ]
    return "".join(f"{line}\n" for line in lines)


def unanswered(answers: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names for which a resolver had no address."""
    return tuple(name for name, got in answers.items() if not got)


def elsewhere(answers: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the names that lead to an address which is none of the gateway's."""
    right = set(map(ip_address, wanted))
    return tuple(name for name, got in answers.items() if set(map(ip_address, got)) - right)


def partly(answers: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the names that lead to the gateway, but not to all of its addresses."""
    right = set(map(ip_address, wanted))
    return tuple(name for name, got in answers.items() if got and set(map(ip_address, got)) < right)
