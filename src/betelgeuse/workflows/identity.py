"""What people and programs get of Keycloak from the command line: accounts and tokens."""

from collections.abc import Sequence
from typing import Final

from betelgeuse import trust
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.identity import people
from betelgeuse.identity.admin import settle
from betelgeuse.identity.declarations import SECRET_KEY, clients
from betelgeuse.identity.token import fetch, machine
from betelgeuse.progress import out, say
from betelgeuse.rotation import value
from betelgeuse.secrets import password
from betelgeuse.workflows import realm
from betelgeuse.workflows.session import opened

_PASSWORD_LENGTH: Final = 20


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


def user(env: str, name: str, groups: Sequence[str], email: str = "", *, new_password: bool = False) -> None:
    """Make or extend a person's account; a new one's password, to be changed at the first login, is printed once."""
    chosen, kube, objects = opened(env)
    workload = realm.provider(objects)
    if workload is None:
        message = f"the tree of {env} has no Keycloak, so there are no accounts"
        raise UsageError(message)
    with realm.session(chosen, kube, workload) as (admin, known):
        settle(admin, known, dry_run=True)
        first = password(_PASSWORD_LENGTH) if new_password or not people.exists(admin, name) else ""
        is_new = people.ensure(admin, name, groups, email, first)
    say(f"account {name} {'made' if is_new else 'found'}; added to {', '.join(groups) or 'no group'}")
    if first:
        say("the password below works once: the first login asks for another")
        out(first)
