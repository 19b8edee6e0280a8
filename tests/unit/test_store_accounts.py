"""Accounts of the stores: what is declared, what is told, and what one store's trouble does to the others."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from serving.cluster import ClusterError
from store_accounts.app import application
from store_accounts.cluster import Declared, Listed, declared
from store_accounts.keeper import AGAIN, Keeper
from store_accounts.metrics import Accounts
from store_accounts.model import Account, Adapter, Keys, Outcome, StoreError

_ADMIN = {"user": "admin", "password": "secret-of-admin"}
_WIKI = {"user": "wiki", "password": "of-wiki"}
_W = {"user": "w", "password": "p"}


def _secret(name: str, labels: Mapping[str, str], spec: str = "", **values: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    annotations = {"betelgeuse.io/store-account": spec}
    meta = {"namespace": "apps", "name": name, "labels": dict(labels), "annotations": annotations}
    return {"metadata": meta, "data": data}


def _ask(*secrets: dict[str, Any]) -> Listed:
    """Return an API server with one namespace that lets us in."""

    def ask(path: str) -> list[dict[str, Any]]:
        if "rolebindings" in path:
            return [{"metadata": {"namespace": "apps"}}]
        label = path.partition("labelSelector=")[2].replace("%2F", "/")
        return [secret for secret in secrets if label in secret["metadata"]["labels"]]

    return ask


_STORE = {"betelgeuse.io/store": "postgres"}


def test_a_secret_declares_an_account() -> None:
    """User, password and what the account has come from one Secret; the administrator from another."""
    found = declared(
        _ask(
            _secret("wiki", _STORE, "database: wiki", **_WIKI),
            _secret("admin", {"betelgeuse.io/store-admin": "postgres"}, **_ADMIN),
        )
    )

    assert found["postgres"].accounts == [Account("wiki", "of-wiki", {"database": "wiki"}, "apps/wiki")]
    assert found["postgres"].admin == _ADMIN
    assert not found["postgres"].faults


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ([_secret("wiki", _STORE, user="wiki")], "apps/wiki: the Secret has no password"),
        ([_secret("wiki", _STORE)], "apps/wiki: the Secret has no user and no password"),
        ([_secret("wiki", _STORE, "[a]", **_W)], "apps/wiki: annotation betelgeuse.io/store-account"),
        ([_secret("wiki", _STORE, "{", **_W)], "apps/wiki: annotation betelgeuse.io/store-account"),
        (
            [_secret(name, _STORE, **_W) for name in ("a", "b")],
            "apps/b: user w is apps/a's already",
        ),
    ],
)
def test_a_wrong_declaration_is_told(secrets: Sequence[dict[str, Any]], said: str) -> None:
    """One line names the Secret and what is wrong with it."""
    assert declared(_ask(*secrets))["postgres"].faults[0].startswith(said)


def test_fields_of_a_spec_are_checked() -> None:
    """A name or a list of names is what it must be, or the declaration is named."""
    account = Account("w", "p", {"database": "", "buckets": "one", "read": ["a"]}, "apps/w")

    assert account.names("read") == ["a"]
    assert account.names("write") == []
    with pytest.raises(StoreError, match=r"apps/w: .*database is missing"):
        account.name("database")
    with pytest.raises(StoreError, match=r"apps/w: .*buckets must be a list of names"):
        account.names("buckets")


def test_a_password_is_not_printed() -> None:
    """What shows an account shows no password."""
    assert "of-wiki" not in repr(Account("wiki", "of-wiki"))


class _Stores:
    """Stores in memory; one of them is broken."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken = {"kafka"}

    def adapter(self, store: str) -> Adapter:
        outer = self

        class _Adapter:
            def reconcile(self, admin: Keys, accounts: Sequence[Account]) -> Outcome:
                assert admin == _ADMIN
                outer.calls.append(store)
                if store in outer.broken:
                    message = "no broker\nanswers"
                    raise OSError(message)
                return Outcome([f"{one.user} made" for one in accounts], ["stranger"])

            def delete(self, admin: Keys, user: str) -> list[str]:
                raise NotImplementedError

        return _Adapter()


def _declared(*stores: str) -> dict[str, Declared]:
    return {store: Declared(dict(_ADMIN), [Account("wiki", "p")]) for store in stores}


def test_one_store_away_leaves_the_others() -> None:
    """A store that cannot be reached is told in one line and tried again; the others are kept."""
    stores, now = _Stores(), [0.0]
    keeper = Keeper(lambda: _declared("kafka", "s3"), stores.adapter, lambda: now[0])
    keeper.round()
    keeper.round()
    good, report = keeper.report()

    assert not good
    assert report["stores"] == {
        "kafka": {"problems": ["OSError: no broker answers"], "undeclared": []},
        "s3": {"problems": [], "undeclared": ["stranger"]},
    }
    assert stores.calls == ["kafka", "s3", "kafka"]

    stores.broken.clear()
    keeper.round()

    assert keeper.report()[0]


def test_nothing_new_is_looked_at_later() -> None:
    """Without a new declaration a store rests, but not for ever: it may have lost what it had."""
    stores, now = _Stores(), [0.0]
    found = _declared("s3")
    keeper = Keeper(lambda: found, stores.adapter, lambda: now[0])
    keeper.round()
    keeper.round()
    assert stores.calls == ["s3"]

    found["s3"].accounts.append(Account("notes", "p"))
    keeper.round()
    assert stores.calls == ["s3", "s3"]

    now[0] = AGAIN + 1
    keeper.round()
    assert stores.calls == ["s3"] * 3


def test_a_store_without_an_administrator_is_told() -> None:
    """Accounts of a store that is not here are no silent success."""
    keeper = Keeper(lambda: {"s3": Declared(None, [])}, _Stores().adapter)
    keeper.round()

    assert keeper.report()[1]["stores"] == {
        "s3": {"problems": ["StoreError: no Secret has the administrator of s3"], "undeclared": []}
    }


def _get(keeper: Keeper, path: str) -> tuple[str, dict[str, Any]]:
    status = []
    body = application(keeper)({"PATH_INFO": path}, lambda code, _: status.append(code))
    return status[0], json.loads(b"".join(body) or b"{}")


def test_ready_means_as_declared() -> None:
    """The pod is ready when every account is as declared, and alive as long as rounds end."""
    now = [0.0]
    trouble = [True]

    def read() -> dict[str, Declared]:
        if trouble:
            message = "the API server does not answer"
            raise ClusterError(message)
        return _declared("s3")

    keeper = Keeper(read, _Stores().adapter, lambda: now[0])
    assert _get(keeper, "/readyz")[0].startswith("503")
    keeper.round()
    assert _get(keeper, "/")[1]["trouble"] == "the API server does not answer"
    trouble.clear()
    keeper.round()

    assert _get(keeper, "/readyz")[0].startswith("200")
    assert _get(keeper, "/nothing")[0].startswith("404")
    now[0] = 601.0
    assert _get(keeper, "/livez")[0].startswith("503")


def test_an_account_may_see_numbers_alone() -> None:
    """It says so by one word, which is yes or no."""
    assert Account("m", "p", {"monitor": True}).monitors
    assert not Account("m", "p", {}).monitors
    with pytest.raises(StoreError, match=r"apps/m: .*monitor must be true or false"):
        _ = Account("m", "p", {"monitor": "yes"}, "apps/m").monitors


def test_what_is_known_is_told_in_numbers() -> None:
    """By store: what is declared, what is wrong, what nobody declares, what was changed; and when it was looked at."""
    stores, now = _Stores(), [0.0]
    keeper = Keeper(lambda: _declared("kafka", "s3"), stores.adapter, lambda: now[0])
    registry = CollectorRegistry()
    registry.register(Accounts(keeper))
    keeper.round()
    now[0] = 60.0

    def told(name: str, store: str = "") -> float | None:
        return registry.get_sample_value(f"store_accounts_{name}", {"store": store} if store else {})

    assert [told(name, "s3") for name in ("declared", "problems", "undeclared", "changes_total")] == [1, 0, 1, 1]
    assert [told(name, "kafka") for name in ("declared", "problems", "undeclared", "changes_total")] == [1, 1, 0, 0]
    assert time.time() - (told("round_timestamp_seconds") or 0) == pytest.approx(60, abs=5)
