"""Valkey: users by its ACL commands, kept in its own file."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, cast

from valkey import Valkey

from .model import Account, Keys, Outcome

_OWN: Final = frozenset({"default", "admin"})
"""Users of the server itself."""
_SECONDS: Final = 10.0
_COMMANDS: Final = ("+@all", "-@admin", "-@dangerous", "-scan", "-randomkey", "-pubsub", "+info")
"""What an account may do with its keys. SCAN and its like name everybody's."""
_MONITOR: Final = ("-@all", "+ping", "+info", "+client|setname", "+slowlog|len", "+slowlog|get", "+latency|latest")
"""What an account may do that sees the server's numbers, and no key."""


def connected(admin: Keys, *, decode: bool = True) -> Valkey:
    """Return the administrator's connection; without `decode`, answers are bytes."""
    return Valkey(
        host=admin["host"],
        port=int(admin["port"]),
        username=admin["user"],
        password=admin["password"],
        ssl=True,
        ssl_ca_data=admin["ca.crt"],
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        decode_responses=decode,
    )


def _there(client: Valkey, user: str) -> Mapping[str, Any]:
    """Return what the server knows of a user, empty where there is none."""
    return cast("Mapping[str, Any] | None", client.acl_getuser(user)) or {}


def _rights(account: Account) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Return patterns of keys and of channels, and the commands, that an account is to have."""
    if account.monitors:
        return [], [], _MONITOR
    prefix = account.name("prefix")
    return [f"~{prefix}*"], [f"&{prefix}*"], _COMMANDS


def _is(found: Mapping[str, Any], account: Account) -> bool:
    """Whether a user is as it would be made."""
    keys, channels, commands = _rights(account)
    return (
        {"on"} == set(found.get("flags", ())) - {"sanitize-payload"}
        and found.get("passwords") == [sha256(account.password.encode()).hexdigest()]
        and {*found.get("categories", ()), *found.get("commands", ())} == set(commands)
        and found.get("keys") == keys
        and found.get("channels") == channels
        and not found.get("selectors")
    )


def reconcile(admin: Keys, accounts: Sequence[Account]) -> Outcome:
    """Add and change users; each has the keys and channels that begin with its prefix, or sees numbers alone."""
    outcome = Outcome()
    with connected(admin) as client:
        for account in accounts:
            found = _there(client, account.user)
            if _is(found, account):
                continue
            keys, channels, commands = _rights(account)
            rules = ["reset", "on", f"#{sha256(account.password.encode()).hexdigest()}", *keys, *channels]
            client.execute_command("ACL SETUSER", account.user, *rules, *commands)
            outcome.changes.append(f"user {account.user} {'set' if found else 'made'}")
        declared = {account.user for account in accounts}
        outcome.undeclared = sorted(set(cast("list[str]", client.acl_users())) - declared - _OWN)
        if outcome.changes:
            client.acl_save()
    return outcome


def delete(admin: Keys, user: str) -> list[str]:
    """Remove a user; its keys stay, since nothing tells whose a key is."""
    with connected(admin) as client:
        if user in _OWN or not client.acl_deluser(user):
            return []
        client.acl_save()
    return [f"user {user}"]
