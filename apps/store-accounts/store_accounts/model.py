"""What is declared, and what a store's adapter answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

STORE: Final = "betelgeuse.io/store"
"""Label of a Secret that declares an account; the value names the store."""
ADMIN: Final = "betelgeuse.io/store-admin"
"""Label of the Secret with the administrator's account of a store."""
SPEC: Final = "betelgeuse.io/store-account"
"""Annotation of a declaration: what the account has, as the store's adapter reads it."""

Keys = Mapping[str, str]
"""A Secret's values: host, port, user, password, ca.crt, and what else the store needs."""


class StoreError(Exception):
    """A store or a declaration is not as it must be; the text is one line for people."""


@dataclass(frozen=True)
class Account:
    """An account that some application declares."""

    user: str
    password: str = field(repr=False)
    spec: Mapping[str, Any] = field(default_factory=dict)
    declared: str = ""
    """Namespace and name of the Secret."""

    def names(self, key: str) -> list[str]:
        """Return a list of names of the spec, empty where it is not there; StoreError for anything else."""
        value = self.spec.get(key, [])
        if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
            message = f"{self.declared}: {SPEC}: {key} must be a list of names"
            raise StoreError(message)
        return value

    @property
    def monitors(self) -> bool:
        """Whether the account is to see the store's numbers and nothing that it holds; StoreError for no such word."""
        value = self.spec.get("monitor", False)
        if not isinstance(value, bool):
            message = f"{self.declared}: {SPEC}: monitor must be true or false"
            raise StoreError(message)
        return value

    def name(self, key: str) -> str:
        """Return a name of the spec; StoreError where there is none."""
        value = self.spec.get(key)
        if not isinstance(value, str) or not value:
            message = f"{self.declared}: {SPEC}: {key} is missing; it must be a name"
            raise StoreError(message)
        return value


@dataclass
class Outcome:
    """What a reconciliation did."""

    changes: list[str] = field(default_factory=list)
    """What is different now, one line each, without secrets."""
    undeclared: list[str] = field(default_factory=list)
    """Accounts of the store that no application declares; they stay until somebody deletes them."""


class Adapter(Protocol):
    """How accounts are made in one store. Every call may find anything there, and must be safe to repeat."""

    def reconcile(self, admin: Keys, accounts: Sequence[Account]) -> Outcome:
        """Add and change what is declared, and name what is not."""

    def delete(self, admin: Keys, user: str) -> list[str]:
        """Remove an account with all it owns; return what was removed."""


def digest(admin: Keys, accounts: Sequence[Account]) -> str:
    """Return a text that is the same as long as nothing was declared or rotated."""
    rows = [(one.declared, one.user, one.password, one.spec) for one in accounts]
    return json.dumps([sorted(admin.items()), sorted(rows, key=str)], default=str, sort_keys=True)
