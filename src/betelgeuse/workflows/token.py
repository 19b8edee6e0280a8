"""A token of a machine client, for curl and scripts."""

from betelgeuse import trust
from betelgeuse.identity.declarations import clients
from betelgeuse.identity.token import fetch, key, machine
from betelgeuse.progress import out
from betelgeuse.workflows.session import opened


def token(env: str, name: str) -> None:
    """Print a token of a machine client; nothing else goes to standard output."""
    chosen, kube, objects = opened(env)
    client = machine(clients(objects, chosen.domain), name)
    secret = key(kube, client, env)
    bundle = trust.bundle_path(env)
    out(fetch(chosen, client, secret, bundle if bundle.is_file() else None))
