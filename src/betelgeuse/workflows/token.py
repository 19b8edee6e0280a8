"""A token of a machine client, for curl and scripts."""

from betelgeuse import render, settings, trust
from betelgeuse.identity.declarations import clients
from betelgeuse.identity.token import fetch, key, machine
from betelgeuse.kube import connect
from betelgeuse.progress import out


def token(env: str, name: str) -> None:
    """Print a token of a machine client; nothing else goes to standard output."""
    chosen, objects = settings.load(env), render.render(env)
    client = machine(clients(objects, chosen.domain), name)
    secret = key(connect(chosen), client, env)
    bundle = trust.bundle_path(env)
    out(fetch(chosen, client, secret, bundle if bundle.is_file() else None))
