"""Print the records that an environment's hosts need, for a DNS provider to import."""

from betelgeuse import dns, servers, settings
from betelgeuse.errors import UsageError
from betelgeuse.progress import out
from betelgeuse.tree import Tree
from betelgeuse.workflows.session import tree


def show(env: str, profile: str = "") -> None:
    """Print the zone of an environment's domain; a UsageError where nobody says at which addresses it is served."""
    chosen = settings.load(env)
    addresses = dns.gateways(chosen, servers.load(env))
    if not addresses:
        message = (
            f"overlays/{env}: no address for its names to lead to: list its servers in servers.yaml, "
            "or set GATEWAY_ADDRESSES in environment.env"
        )
        raise UsageError(message)
    names = dns.hosts(Tree(tree(env, profile), chosen.domain))
    out(dns.zone(chosen.domain, names, addresses))
