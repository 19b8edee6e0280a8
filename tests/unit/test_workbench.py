"""What people's servers get of the platform: tokens that are fresh, variables, the examples once."""

import base64
import io
import json
import time
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from workbench import accounts, person
from workbench.__main__ import give_examples

POSTGRES = {"host": "pg", "port": "5432", "user": "research", "database": "research", "password": "p", "ca.crt": "root"}


def signed(ends: float) -> str:
    """Return a token that says when it ends."""
    body = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).rstrip(b"=").decode()
    return f"e30.{body}.signature"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for the hub: what it keeps, and how often it was asked."""
    state: dict[str, Any] = {"asked": 0, "auth_state": None}

    def answer(request: Any, timeout: float) -> Any:  # noqa: ANN401 - as urllib's
        assert request.full_url == "http://hub/hub/api/users/ann"
        assert request.get_header("Authorization") == "token key"
        assert timeout > 0
        state["asked"] += 1
        return nullcontext(io.BytesIO(json.dumps({"auth_state": state["auth_state"]}).encode()))

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setattr(person, "_kept", [])
    values = {"JUPYTERHUB_API_URL": "http://hub/hub/api", "JUPYTERHUB_API_TOKEN": "key", "JUPYTERHUB_USER": "ann"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return state


def test_a_token_is_used_until_shortly_before_its_end(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is asked once for each, not for each request."""
    hub["auth_state"] = {"access_token": signed(1300.0)}

    assert person.token() == person.token() == signed(1300.0)
    assert hub["asked"] == 1
    monkeypatch.setattr(time, "time", lambda: 1280.0)
    hub["auth_state"] = {"access_token": signed(1580.0)}
    assert person.token() == signed(1580.0)
    assert hub["asked"] == 2


@pytest.mark.parametrize("state", [None, {}, {"access_token": signed(1010.0)}], ids=["none", "empty", "ended"])
def test_a_session_that_has_ended_is_said(hub: dict[str, Any], state: dict[str, str] | None) -> None:
    """A person learns what to do, instead of a 401 of a model."""
    hub["auth_state"] = state

    with pytest.raises(person.SignInError, match=r"sign (out and )?in again"):
        person.token()


def test_programs_find_their_account(tmp_path: Path) -> None:
    """Psql and boto3 look for these by themselves."""
    for store in ("postgres", "s3"):
        (tmp_path / store).mkdir()
        for key, value in POSTGRES.items():
            (tmp_path / store / key).write_text(value, "utf-8")

    found = accounts.variables(tmp_path)

    assert (found["PGHOST"], found["PGSSLMODE"], found["PGPASSWORD"]) == ("pg", "verify-full", "p")
    assert found["PGSSLROOTCERT"] == str(tmp_path / "postgres" / "ca.crt")
    assert (found["AWS_ENDPOINT_URL_S3"], found["AWS_ACCESS_KEY_ID"]) == ("https://pg:5432", "research")


def test_roots_are_one_text() -> None:
    """What is empty adds nothing, and no two certificates share a line."""
    assert accounts.bundle(["a", "", "b\n\n"]) == "a\nb\n"


def test_examples_are_given_once(tmp_path: Path) -> None:
    """What somebody threw away does not come back; what they changed stays."""
    source, home = tmp_path / "source", tmp_path / "home"
    source.mkdir()
    home.mkdir()
    (source / "sql.ipynb").write_text("{}", "utf-8")

    give_examples(source, home)
    (home / "examples" / "sql.ipynb").write_text("mine", "utf-8")
    give_examples(source, home)
    assert (home / "examples" / "sql.ipynb").read_text("utf-8") == "mine"

    (home / "examples" / "sql.ipynb").unlink()
    (home / "examples").rmdir()
    give_examples(source, home)
    assert not (home / "examples").exists()
