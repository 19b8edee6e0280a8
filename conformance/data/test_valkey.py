"""Valkey: an account has the keys of its own prefix over TLS, inside alone, and nothing else."""

import base64
import uuid

import pytest

from betelgeuse.tree import STORE
from conformance.site import Site
from conformance.stores import Client, account, administrator
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("store-valkey")

_INSIDE = """
from valkey import Valkey
keys = values["keys"]
def connect(**changed):
    said = {
        "host": keys["host"], "port": int(keys["port"]), "username": keys["user"], "password": keys["password"],
        "ssl": True, "ssl_ca_data": keys["ca.crt"], "socket_timeout": 5, "decode_responses": True,
    }
    return Valkey(**(said | changed))
"""
_WRITE = """
with connect() as client:
    client.set(values["key"], "inside", ex=60)
    result = client.get(values["key"])
    client.delete(values["key"])
"""
_TRY = """
def call(changed, command):
    said = {key: value for key, value in changed.items() if key != "plain"}
    if changed.get("plain"):
        said["ssl"] = False
    with connect(**said) as client:
        return client.execute_command(*command)
result = [attempt(call, changed, command) for changed, command in values["ways"]]
"""
_USERS = """
with connect() as client:
    result = client.acl_users()
"""
_OPEN = "kubectl -n db exec -it valkey-0 -- valkey-cli -h localhost --tls --cacert /tls/ca.crt --user admin --askpass"
_PING = ("PING",)


def test_client_inside_writes_and_reads(site: Site, client: Client) -> None:
    """A pod with the store's label writes and reads keys of its account's prefix, the certificate verified in full."""
    keys = account(site, "valkey", "research")

    seen = client.run(_INSIDE + _WRITE, keys=keys, key=f"research:conformance-{uuid.uuid4().hex}")

    require(seen == "inside", where="valkey.db", want="the value written", got=seen, reproduce=_OPEN)


def test_everything_else_is_refused(site: Site, client: Client) -> None:
    """No name, another password, another's keys, everybody's names, settings and clear text are refused."""
    wrong = "x" + account(site, "valkey", "research")["password"]
    ways: list[tuple[dict[str, object], tuple[str, ...], str]] = [
        ({"username": None, "password": None}, _PING, "Authentication required"),
        ({"username": "default", "password": ""}, _PING, "invalid username-password"),
        ({"username": None, "password": wrong}, _PING, "invalid username-password"),
        ({"password": wrong}, _PING, "invalid username-password"),
        ({"username": "admin"}, _PING, "invalid username-password"),
        ({"username": "pipelines"}, _PING, "invalid username-password"),
        ({}, ("GET", "pipelines:key"), "No permissions to access"),
        ({}, ("SET", "key", "value"), "No permissions to access"),
        ({}, ("EVAL", "return redis.call('GET', KEYS[1])", "1", "pipelines:key"), "No permissions to access"),
        ({}, ("PUBLISH", "pipelines:channel", "word"), "No permissions to access"),
        ({}, ("KEYS", "*"), "has no permissions"),
        ({}, ("SCAN", "0"), "has no permissions"),
        ({}, ("FLUSHALL",), "has no permissions"),
        ({}, ("CONFIG", "GET", "*"), "has no permissions"),
        ({}, ("ACL", "LIST"), "has no permissions"),
        ({"plain": True}, _PING, "onnection"),
    ]
    asked = [({}, _PING), *((changed, command) for changed, command, _ in ways)]
    control, *seen = client.run(_INSIDE + _TRY, keys=account(site, "valkey", "research"), ways=asked)

    faults = [
        f"{' '.join(command)} with {sorted(changed) or 'its own account'}: {got}"
        for (changed, command, words), got in zip(ways, seen, strict=True)
        if words not in got.get("text", "") or got["seconds"] > TIMEOUTS.connect
    ]
    require(control.get("value") is True, where="valkey.db", want="PONG", got=control, reproduce=_OPEN)
    require_none(faults, where="valkey.db, account research", want="refused by the server at once", reproduce=_OPEN)


def test_the_account_that_watches_sees_no_key(site: Site, client: Client) -> None:
    """It asks for the server's numbers, and reads, lists, writes and changes nothing."""
    asked = [
        ("INFO",),
        ("GET", "research:key"),
        ("SET", "key", "v"),
        ("SCAN", "0"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
    ]
    ways: list[tuple[dict[str, object], tuple[str, ...]]] = [({}, command) for command in asked]

    numbers, *others = client.run(_INSIDE + _TRY, keys=account(site, "valkey", "monitoring"), ways=ways)

    require("value" in numbers, where="valkey.db, account monitoring", want="INFO", got=numbers, reproduce=_OPEN)
    require_none(
        [
            f"{' '.join(way)}: {got}"
            for way, got in zip(asked[1:], others, strict=True)
            if "no permissions" not in str(got)
        ],
        where="valkey.db, account monitoring",
        want="refused by the server",
        reproduce=_OPEN,
    )


def test_accounts_are_those_declared(site: Site, client: Client) -> None:
    """The server's accounts are those declared, the administrator, and the one without a name, which is off."""
    seen = client.run(_INSIDE + _USERS, keys=administrator(site, "valkey"))

    secrets = site.cluster.fresh("v1", "Secret", labels=f"{STORE}=valkey")
    wanted = sorted({"admin", "default"} | {base64.b64decode(one["data"]["user"]).decode() for one in secrets})
    require(sorted(seen) == wanted, where="ACL USERS", want=str(wanted), got=sorted(seen), reproduce=_OPEN)
