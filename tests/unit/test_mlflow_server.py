"""What runs MLflow's server: its accounts, and the bounds on what a request may bring."""

import asyncio
import importlib.util
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from betelgeuse import paths

Message = dict[str, Any]
ARTIFACT: Final = "/api/2.0/mlflow-artifacts/artifacts/1/weights.bin"


@pytest.fixture(scope="module")
def server() -> Any:  # noqa: ANN401 - a module of an image, found by its path
    """Return the program."""
    spec = importlib.util.spec_from_file_location("mlflow_server", paths.ROOT / "programs/mlflow/mlflow_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def _reads_all(_: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
    """Answer with the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def _breaks(*_: object) -> None:
    """Raise as an application does that has a fault."""
    raise RuntimeError


def _ask(app: Any, path: str, *pieces: bytes, length: int | None = None) -> tuple[int, bytes]:  # noqa: ANN401 - ASGI
    """Send a request in pieces, and return status and body of the one answer."""
    said: list[Message] = []
    left = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    left.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    asyncio.run(app({"type": "http", "path": path, "headers": headers}, receive, send))
    assert [message["type"] for message in said] == ["http.response.start", "http.response.body"]
    return said[0]["status"], said[1]["body"]


def _account(folder: Path, **files: str) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_accounts_become_settings(server: Any, tmp_path: Path) -> None:  # noqa: ANN401 - see above
    """The database's address names its driver and trusts the account's root; a password may hold any letter."""
    where = {"host": "pg", "port": "5432", "user": "mlflow"}
    _account(tmp_path / "postgres", **where, database="mlflow", password="a/b@c:d%")  # noqa: S106 - an example
    _account(tmp_path / "s3", host="s3", port="8333", user="mlflow", password="secret", bucket="models")  # noqa: S106 - an example
    _account(tmp_path / "encryption", passphrase="phrase")  # noqa: S106 - an example

    made = server.environment(tmp_path, "mlflow.example.org")

    assert made["_MLFLOW_SERVER_FILE_STORE"] == (
        "postgresql+psycopg2://mlflow:a%2Fb%40c%3Ad%25@pg:5432/mlflow"
        f"?sslmode=verify-full&sslrootcert={tmp_path}/postgres/ca.crt"
    )
    assert made["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] == "s3://models/"
    assert made["MLFLOW_S3_ENDPOINT_URL"] == "https://s3:8333"
    assert made["MLFLOW_CRYPTO_KEK_PASSPHRASE"] == "phrase"  # noqa: S105 - an example
    assert made["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")[0] == "mlflow.example.org"
    assert made["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.example.org"


@pytest.mark.parametrize(("path", "limit"), [(ARTIFACT, 100), ("/api/2.0/mlflow/runs/create", 10)])
def test_a_body_is_bounded(server: Any, path: str, limit: int) -> None:  # noqa: ANN401 - see above
    """A body of the limit passes; one byte more is refused, whether its length is told before or not."""
    app = server.Bounded(_reads_all, 100, 10)

    assert _ask(app, path, b"a" * limit, length=limit) == (200, str(limit).encode())
    assert _ask(app, path, b"a" * (limit - 1), b"a") == (200, str(limit).encode())
    for told, pieces in ((limit + 1, ()), (None, (b"a" * limit, b"a"))):
        status, body = _ask(app, path, *pieces, length=told)
        assert status == 413
        assert json.loads(body)["error_code"] == "INVALID_PARAMETER_VALUE"


def test_a_fault_of_the_application_stays_one(server: Any) -> None:  # noqa: ANN401 - see above
    """What the application raises is the server's to answer, and counts as 500."""
    before = server.REQUESTS.labels("500")._value.get()
    with pytest.raises(RuntimeError):
        _ask(server.Bounded(_breaks), "/")

    assert server.REQUESTS.labels("500")._value.get() == before + 1


def test_few_artifacts_are_under_way_at_a_time(server: Any) -> None:  # noqa: ANN401 - see above
    """As many as there are places are moved; the others wait for one, and what is no artifact passes them."""
    running, most, passed = 0, 0, asyncio.Event()

    async def app(scope: Message, *_: object) -> None:
        nonlocal running, most
        if scope["path"] != ARTIFACT:
            passed.set()
            return
        running += 1
        most = max(most, running)
        await passed.wait()
        running -= 1

    async def nothing(*_: object) -> Message:
        return {}

    async def together() -> None:
        bounded = server.Bounded(app)
        paths = [ARTIFACT] * (server.TRANSFERS + 3) + ["/"]
        scopes = ({"type": "http", "path": path, "headers": []} for path in paths)
        await asyncio.gather(*(bounded(scope, nothing, nothing) for scope in scopes))

    asyncio.run(together())

    assert most == server.TRANSFERS
