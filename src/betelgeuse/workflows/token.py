"""A token of a machine client, for curl and scripts."""

from betelgeuse import render, settings, trust
from betelgeuse.errors import BetelgeuseError
from betelgeuse.identity.declarations import SECRET_KEY, clients
from betelgeuse.identity.token import fetch, machine
from betelgeuse.kube import connect
from betelgeuse.progress import out
from betelgeuse.rotation import value


def token(env: str, name: str) -> None:
    """Print a token of a machine client; nothing else goes to standard output."""
    chosen, objects = settings.load(env), render.render(env)
    client = machine(clients(objects, chosen.domain), name)
    kube = connect(chosen)
    secret = value(kube.get("v1", "Secret", client.secret.name, client.secret.namespace), SECRET_KEY)
    if not secret:
        message = f"{client.secret} holds no key yet; `invoke deploy --env={env}` makes it"
        raise BetelgeuseError(message)
    bundle = trust.bundle_path(env)
    out(fetch(chosen, client, secret, bundle if bundle.is_file() else None))
