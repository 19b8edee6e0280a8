"""Which accounts are declared: read from the Secrets of the namespaces that let us."""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from serving.cluster import listed

from .model import ADMIN, SPEC, STORE, Account, Keys, StoreError

NAME: Final = "store-accounts"
_BINDINGS: Final = f"/apis/rbac.authorization.k8s.io/v1/rolebindings?fieldSelector=metadata.name%3D{NAME}"

Obj = dict[str, Any]
Listed = Callable[[str], list[Obj]]


@dataclass
class Declared:
    """What is declared of one store."""

    admin: Keys | None = None
    accounts: list[Account] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Declarations that cannot be read, one line each."""


def _keys(secret: Obj) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def _account(secret: Obj) -> Account:
    """Return the account of a declaration; StoreError where it is none (yet)."""
    meta = secret["metadata"]
    where = f"{meta['namespace']}/{meta['name']}"
    keys = _keys(secret)
    if missing := [key for key in ("user", "password") if not keys.get(key)]:
        message = f"{where}: the Secret has no {' and no '.join(missing)}"
        raise StoreError(message)
    try:
        spec = yaml.safe_load((meta.get("annotations") or {}).get(SPEC, "")) or {}
    except yaml.YAMLError:
        spec = None
    if not isinstance(spec, dict):
        message = f"{where}: annotation {SPEC} must be a map"
        raise StoreError(message)
    return Account(keys["user"], keys["password"], spec, where)


def _sorted_in(found: dict[str, Declared], secrets: Iterable[Obj]) -> None:
    for secret in secrets:
        store = found.setdefault(secret["metadata"]["labels"][STORE], Declared())
        try:
            account = _account(secret)
        except StoreError as error:
            store.faults.append(str(error))
            continue
        if twin := next((one for one in store.accounts if one.user == account.user), None):
            store.faults.append(f"{account.declared}: user {account.user} is {twin.declared}'s already")
        else:
            store.accounts.append(account)


def declared(ask: Listed = listed) -> dict[str, Declared]:
    """Return what is declared, by store; ClusterError when the API server cannot be asked."""
    found: dict[str, Declared] = {}
    for namespace in sorted(binding["metadata"]["namespace"] for binding in ask(_BINDINGS)):
        path = f"/api/v1/namespaces/{namespace}/secrets?labelSelector="
        for secret in ask(path + ADMIN.replace("/", "%2F")):
            found.setdefault(secret["metadata"]["labels"][ADMIN], Declared()).admin = _keys(secret)
        _sorted_in(found, ask(path + STORE.replace("/", "%2F")))
    return found
