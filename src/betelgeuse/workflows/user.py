"""People's accounts in Keycloak."""

from collections.abc import Sequence
from typing import Final

from betelgeuse.errors import UsageError
from betelgeuse.identity import people
from betelgeuse.identity.admin import settle
from betelgeuse.identity.people import Person
from betelgeuse.progress import out, say
from betelgeuse.secrets import password
from betelgeuse.workflows import realm
from betelgeuse.workflows.session import opened

_PASSWORD_LENGTH: Final = 20


def user(env: str, person: Person, groups: Sequence[str], *, new_password: bool = False) -> None:
    """Make or extend a person's account; a new one's password, to be changed at the first login, is printed once."""
    chosen, kube, objects = opened(env)
    workload = realm.provider(objects)
    if workload is None:
        message = f"the tree of {env} has no Keycloak, so there are no accounts"
        raise UsageError(message)
    with realm.session(chosen, kube, workload) as (admin, known):
        settle(admin, known, dry_run=True)
        first = password(_PASSWORD_LENGTH) if new_password or not people.exists(admin, person.name) else ""
        is_new, changed = people.ensure(admin, person, groups, first)
    told = "made" if is_new else f"found; set {', '.join(changed)}" if changed else "found"
    say(f"account {person.name} {told}; added to {', '.join(groups) or 'no group'}")
    if is_new and person.missing:
        say(f"the first login will ask for what {', '.join(person.missing)} would have said")
    if first:
        say("the password below works once: the first login asks for another")
        out(first)
