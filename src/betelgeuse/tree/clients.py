"""OAuth clients, as the Secrets that hold their keys declare them. Whether a declaration is right is said elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.kube import Key, Obj, describe, key_of

ANNOTATION: Final = "betelgeuse.io/oidc-client"


@dataclass(frozen=True)
class Client:
    """One client: with a host it is one that people log in with, else a program's; tokens are for its audiences too."""

    id: str
    secret: Key
    """Where its key is."""
    host: str = ""
    """The full name of the application's host."""
    callback: str = ""
    audiences: tuple[str, ...] = ()
    pkce: bool = True
    """Whether a login without a proof key is refused; some applications know none."""

    @property
    def is_program(self) -> bool:
        """Whether it gets tokens by its own key: then nobody logs in with it."""
        return not self.host

    def __str__(self) -> str:
        """Show the id."""
        return self.id


def declaration(obj: Obj) -> object:
    """Return what an object declares a client by, None where it declares none; UsageError for what is not YAML."""
    text = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
    if text is None:
        return None
    documents = yamls.parse(str(text), f"{describe(obj)}: annotation {ANNOTATION}")
    return documents[0] if len(documents) == 1 else documents


def client_of(obj: Obj, wanted: Mapping[str, Any], domain: str) -> Client:
    """Return the client that a Secret declares by this."""
    login = wanted.get("login") or {}
    host = f"{login['host']}.{domain}" if login else ""
    audiences = tuple(sorted(set(map(str, wanted.get("audiences") or ()))))
    pkce = login.get("pkce", True) is not False
    return Client(str(wanted["id"]), key_of(obj), host, str(login.get("callback", "")), audiences, pkce)


def clients(objects: Iterable[Obj], domain: str) -> tuple[Client, ...]:
    """Return the declared clients, by id."""
    declared = ((obj, declaration(obj)) for obj in objects if obj["kind"] == "Secret")
    found = (client_of(obj, wanted, domain) for obj, wanted in declared if isinstance(wanted, dict))
    return tuple(sorted(found, key=lambda client: client.id))
