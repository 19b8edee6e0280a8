"""Accounts of OpenSearch: a user, a role with the account's index patterns, and the mapping between them."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthenticationException, NotFoundError

from .model import Account, Keys, Outcome

_SECONDS: Final = 30.0
_CLUSTER: Final = ["cluster:monitor/main", "cluster_composite_ops"]
"""Who am I talking to, and requests for several indices at once: each is then asked about one by one."""
_INDEX: Final = ["indices_all"]
_MONITOR: Final = ["cluster_monitor"]
_INDEX_MONITOR: Final = ["indices_monitor"]
"""How the server and its indices are, and nothing of what they hold."""
_ROLE: Final = "account-"
"""Begins the name of the role that an account has."""
# It tells of every request.
logging.getLogger("opensearch").setLevel(logging.WARNING)


@contextmanager
def connected(keys: Keys) -> Iterator[OpenSearch]:
    """Connect with an account's keys, by TLS that trusts the stores' CA alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as ca:
        ca.write(keys["ca.crt"])
        ca.flush()
        with OpenSearch(
            hosts=[{"host": keys["host"], "port": int(keys["port"])}],
            http_auth=(keys["user"], keys["password"]),
            use_ssl=True,
            ca_certs=ca.name,
            timeout=_SECONDS,
            max_retries=0,
        ) as client:
            yield client


def _lets_in(admin: Keys, account: Account) -> bool:
    with connected({**admin, "user": account.user, "password": account.password}) as client:
        try:
            client.info()
        except AuthenticationException:
            return False
    return True


def _role(account: Account) -> dict[str, Any]:
    if account.monitors:
        every = {"index_patterns": ["*"], "allowed_actions": _INDEX_MONITOR}
        return {"cluster_permissions": _MONITOR, "index_permissions": [every]}
    patterns = account.names("indices")
    rights = [{"index_patterns": patterns, "allowed_actions": _INDEX}] if patterns else []
    return {"cluster_permissions": _CLUSTER, "index_permissions": rights}


def _has(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a role of the server says what it should; it answers with more keys than it was told."""
    rights = [
        {key: right[key] for key in ("index_patterns", "allowed_actions")}
        for right in found.get("index_permissions", [])
    ]
    return {"cluster_permissions": found.get("cluster_permissions"), "index_permissions": rights} == wanted


def reconcile(admin: Keys, accounts: Sequence[Account]) -> Outcome:
    """Make each declared account's role, user and mapping."""
    outcome = Outcome()
    with connected(admin) as client:
        security = client.security
        users, roles, mappings = security.get_users(), security.get_roles(), security.get_role_mappings()
        for account in accounts:
            name, wanted = f"{_ROLE}{account.user}", _role(account)
            if not _has(roles.get(name, {}), wanted):
                security.create_role(role=name, body=wanted)
                outcome.changes.append(f"role {name} set")
            if account.user not in users or not _lets_in(admin, account):
                security.create_user(username=account.user, body={"password": account.password})
                outcome.changes.append(f"user {account.user} set")
            if mappings.get(name, {}).get("users") != [account.user]:
                security.create_role_mapping(role=name, body={"users": [account.user]})
                outcome.changes.append(f"role {name} given to {account.user}")
    known = {admin["user"], *(account.user for account in accounts)}
    outcome.undeclared = sorted(set(users) - known)
    return outcome


def delete(admin: Keys, user: str) -> list[str]:
    """Remove a user, its role and the mapping. Indices stay: a pattern says who may, not whose they are."""
    removed = []
    with connected(admin) as client:
        name, role = quote(user, safe=""), f"{_ROLE}{user}"
        for what, path in (
            (f"user {user}", f"internalusers/{name}"),
            (f"mapping of role {role}", f"rolesmapping/{_ROLE}{name}"),
            (f"role {role}", f"roles/{_ROLE}{name}"),
        ):
            try:
                client.transport.perform_request("DELETE", f"/_plugins/_security/api/{path}")
            except NotFoundError:
                continue
            removed.append(what)
    return removed
