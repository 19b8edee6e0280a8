"""A token of a machine client, for curl and scripts."""

from betelgeuse import trust
from betelgeuse.errors import BetelgeuseError
from betelgeuse.identity.declarations import SECRET_KEY, clients
from betelgeuse.identity.token import fetch, machine
from betelgeuse.progress import out
from betelgeuse.rotation import value
from betelgeuse.workflows.session import opened


def token(env: str, name: str) -> None:
    """Print a token of a machine client; nothing else goes to standard output."""
    chosen, kube, objects = opened(env)
    client = machine(clients(objects, chosen.domain), name)
    secret = value(kube.get("v1", "Secret", client.secret.name, client.secret.namespace), SECRET_KEY)
    if not secret:
        message = f"{client.secret} holds no key yet; `invoke deploy --env={env}` makes it"
        raise BetelgeuseError(message)
    bundle = trust.bundle_path(env)
    out(fetch(chosen, client, secret, bundle if bundle.is_file() else None))
