# ruff: noqa: INP001 - a module of an image: the folder is on the path there
"""Runs MLflow's tracking server in one process, with bounds on what a request may bring.

Upstream's `mlflow server` starts further processes and takes the database's password on its command line, where every
program of the machine sees it. This starts the same application under the same server (uvicorn), brings the database's
tables to its version first, and tells Prometheus what it does.

Environment: PUBLIC_NAME (what browsers call). Accounts lie below /accounts, as files: postgres/{host, port, user,
password, database, ca.crt}, s3/{host, port, user, password, bucket, ca.crt} and encryption/passphrase. /tmp must be
writable and hold TRANSFERS artifacts of LARGEST bytes.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from prometheus_client import Counter, Gauge
from serving.metrics import DURATION, REQUESTS, tell

PORT: Final = 8080
ACCOUNTS: Final = Path("/accounts")
INSIDE: Final = ("mlflow", "mlflow.ml", "mlflow.ml.svc", "mlflow.ml.svc.cluster.local")
"""Names by which programs of the cluster call: other Host headers are refused."""
HEALTH: Final = "/health"
ARTIFACTS: Final = "/mlflow-artifacts/artifacts/"
"""What is below such a path is handed on in pieces, by way of a file; every other body is held in memory."""
LARGEST: Final = 512 << 20
"""Bytes of an artifact."""
LARGEST_REQUEST: Final = 16 << 20
"""Bytes of any other body."""
TRANSFERS: Final = 4
"""Artifacts under way at a time; more wait."""
REST: Final = 75
"""Seconds that a connection may rest: longer than the gateway keeps one, so that it never meets one that is closing."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

BYTES: Final = Counter("mlflow_artifact_bytes", "Bytes of artifacts, by the way they went.", ["way"])
UNDER_WAY: Final = Gauge("mlflow_artifact_transfers", "Artifacts under way or waiting.")
_LOG: Final = logging.getLogger("mlflow_server")


class TooLargeError(Exception):
    """A body is larger than it may be; its client has been told."""


def account(folder: Path) -> dict[str, str]:
    """Return an account's files by name."""
    return {file.name: file.read_text("utf-8").strip() for file in folder.iterdir() if file.is_file()}


def database(said: MutableMapping[str, str], root: Path) -> str:
    """Return the address of an account's database: the driver is named, and the server must show a certificate."""
    user, password = quote(said["user"], safe=""), quote(said["password"], safe="")
    place = f"{said['host']}:{said['port']}/{said['database']}"
    return f"postgresql+psycopg2://{user}:{password}@{place}?sslmode=verify-full&sslrootcert={root}"


def environment(accounts: Path, public: str) -> dict[str, str]:
    """Return what MLflow reads: where it keeps things, who may call, and that it calls nobody else."""
    store = database(account(accounts / "postgres"), accounts / "postgres" / "ca.crt")
    objects = account(accounts / "s3")
    return {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "MLFLOW_TRACKING_URI": store,
        "MLFLOW_REGISTRY_URI": store,
        # Clients send artifacts here, and need no account of the object store's.
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"s3://{objects['bucket']}/",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_S3_ENDPOINT_URL": f"https://{objects['host']}:{objects['port']}",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
        "AWS_ACCESS_KEY_ID": objects["user"],
        "AWS_SECRET_ACCESS_KEY": objects["password"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CA_BUNDLE": str(accounts / "s3" / "ca.crt"),
        # Keys of other services that people leave here are encrypted with this.
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": account(accounts / "encryption")["passphrase"],
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join((public, *INSIDE)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"https://{public}",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN",
        # Runners of jobs are ten processes and a gigabyte.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_WORKSPACES": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # At most ten connections, however many threads ask.
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5",
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "5",
    }


class Bounded:
    """The application, each of its answers counted, its bodies bounded, and few artifacts under way at a time."""

    def __init__(self, app: App, largest: int = LARGEST, request: int = LARGEST_REQUEST) -> None:
        """Wrap an application."""
        self._app = app
        self._largest = largest
        self._request = request
        self._places = asyncio.Semaphore(TRANSFERS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] == HEALTH:
            await self._app(scope, receive, send)
            return
        begun, answer = time.perf_counter(), _Answer(scope, receive, send, self._limit(scope))
        try:
            if ARTIFACTS in scope["path"]:
                with UNDER_WAY.track_inprogress():
                    async with self._places:
                        await answer.given_by(self._app)
            else:
                await answer.given_by(self._app)
        finally:
            DURATION.observe(time.perf_counter() - begun)
            REQUESTS.labels(str(answer.status)).inc()

    def _limit(self, scope: Message) -> int:
        return self._largest if ARTIFACTS in scope["path"] else self._request


class _Answer:
    """One request on its way: what came in, and whether it was refused for its size."""

    def __init__(self, scope: Message, receive: Receive, send: Send, limit: int) -> None:
        self.status = 500
        """An application that raises is answered so by the server."""
        self._scope, self._receive, self._send, self._limit = scope, receive, send, limit
        self._came = 0
        self._artifact = ARTIFACTS in scope["path"]
        self._refused = False

    async def given_by(self, app: App) -> None:
        """Have an application answer, or refuse."""
        declared = dict(self._scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await self._refuse()
            return
        try:
            await app(self._scope, self._bounded, self._noted)
        except Exception:
            # What the application makes of a body that ends in the middle is of no interest any more.
            if not self._refused:
                raise

    async def _bounded(self) -> Message:
        message = await self._receive()
        size = len(message.get("body", b""))
        self._came += size
        if self._artifact:
            BYTES.labels("in").inc(size)
        if self._came > self._limit:
            await self._refuse()
            raise TooLargeError
        return message

    async def _noted(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self._artifact:
            BYTES.labels("out").inc(len(message.get("body", b"")))
        await self._send(message)

    async def _refuse(self) -> None:
        """Answer 413, in the form of MLflow's own refusals."""
        self._refused, self.status = True, 413
        words = f"the body is larger than {self._limit >> 20} MiB"
        body = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": words}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send(
            {"type": "http.response.start", "status": 413, "headers": [*headers, (b"connection", b"close")]}
        )
        await self._send({"type": "http.response.body", "body": body})


def keep_artifacts_here() -> None:
    """Have every artifact go by way of this server.

    With an object store behind it MLflow tells clients to fetch every file there, and to send large ones, by addresses
    that it signs. They do not reach the store, and no setting ends that: MLflow looks whether its store is of a class
    that can sign. This one only has such a store.
    """
    from mlflow.store.artifact import artifact_repository_registry as known  # noqa: PLC0415 - only the image has it
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository  # noqa: PLC0415 - as above

    class Here:
        def __init__(self, *place: str, **servers: str | None) -> None:
            self._store = S3ArtifactRepository(*place, **servers)

        def __getattr__(self, name: str) -> object:
            return getattr(self._store, name)

    known._artifact_repository_registry.register("s3", Here)  # noqa: SLF001 - else by an entry point of a package


def upgrade(store: str) -> None:
    """Make the database's tables, or bring them to the version of this program."""
    from mlflow.db import upgrade as command  # noqa: PLC0415 - reads the environment when it is imported

    command.callback(store)


def main() -> None:
    """Serve until told to end."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    _LOG.setLevel(logging.INFO)
    os.environ.update(environment(ACCOUNTS, os.environ["PUBLIC_NAME"]))
    upgrade(os.environ["_MLFLOW_SERVER_FILE_STORE"])
    _LOG.info("the database is ready")
    keep_artifacts_here()
    import uvicorn  # noqa: PLC0415 - only the image has it
    from mlflow.server.fastapi_app import app  # noqa: PLC0415 - reads the environment when it is imported

    tell()
    uvicorn.run(
        Bounded(app),
        host="0.0.0.0",  # noqa: S104 - a pod has one address, and the network policy says who may ask
        port=PORT,
        log_level="warning",
        # The gateway writes down who asked for what.
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=REST,
        timeout_graceful_shutdown=20,
        limit_concurrency=200,
    )


if __name__ == "__main__":
    main()
