"""`python3 -m studio migrate` brings the database up to date, `python3 -m studio serve` answers on port 8080.

Environment, besides Label Studio's own: PUBLIC_NAME (the name people call it by, label.DOMAIN; programs call
label-api.DOMAIN), TOKEN_DAYS (gate.py), THREADS (requests that are answered at a time). Its accounts lie in /accounts:
postgres and s3, as files host, port, user, password, ca.crt and database; key/secret-key signs sessions and tokens.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from serving import begin
from serving.metrics import HEALTH, counted, tell

from studio import prepare

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

ACCOUNTS: Final = Path("/accounts")
PORT: Final = 8080
_LARGEST: Final = 260 << 20
"""Bytes of a request: as many as Label Studio takes in a file (250 MiB), and what a form adds."""
_IN_MEMORY: Final = 1 << 20
"""Bytes of a body that are held in memory; more go to a file in /tmp."""


def names(name: str) -> dict[str, str]:
    """Return Label Studio's variables that follow from its public name."""
    label, _, domain = name.partition(".")
    return {
        "LABEL_STUDIO_HOST": f"https://{name}",
        "CSRF_TRUSTED_ORIGINS": f"https://{name}",
        "ALLOWED_HOSTS": f"{name},{label}-api.{domain}",
    }


def accounts(folder: Path) -> dict[str, str]:
    """Return Label Studio's variables that follow from its accounts in the stores.

    AWS_ACCESS_KEY_ID is none of them: with it, whoever connects a bucket without a key of his own would use ours.
    """

    def read(name: str) -> str:
        return (folder / name).read_text("utf-8").strip()

    store = f"https://{read('s3/host')}:{read('s3/port')}"
    return {
        "SECRET_KEY": read("key/secret-key"),
        "DJANGO_DB": "default",
        "POSTGRE_HOST": read("postgres/host"),
        "POSTGRE_PORT": read("postgres/port"),
        "POSTGRE_NAME": read("postgres/database"),
        "POSTGRE_USER": read("postgres/user"),
        "POSTGRE_PASSWORD": read("postgres/password"),
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(folder / "postgres" / "ca.crt"),
        "STORAGE_TYPE": "s3",
        "STORAGE_AWS_ACCESS_KEY_ID": read("s3/user"),
        "STORAGE_AWS_SECRET_ACCESS_KEY": read("s3/password"),
        "STORAGE_AWS_BUCKET_NAME": read("s3/user"),
        "STORAGE_AWS_REGION_NAME": "us-east-1",
        "STORAGE_AWS_ENDPOINT_URL": store,
        "AWS_CA_BUNDLE": str(folder / "s3" / "ca.crt"),
        "AWS_EC2_METADATA_DISABLED": "true",
        # Buckets that people connect are looked for there too, where they name no other address; one they do name must
        # not lead into the cluster (SSRF_PROTECTION_ENABLED).
        "S3_ENDPOINT": store,
    }


def _healthy(application: Application) -> Application:
    """Return the application, and an answer to the kubelet, which calls no host by its name."""

    def answer(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == HEALTH:
            start(f"{HTTPStatus.OK.value} OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
            return [b"ok\n"]
        return application(environ, start)

    return answer


def _migrate() -> None:
    """Bring the database up to date, with a line for each migration."""
    from django.core.management import call_command  # noqa: PLC0415 - prepare() comes first

    call_command("locked_migrate", interactive=False)


def _serve() -> None:
    """Answer requests until the end."""
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415 - prepare() comes first
    from waitress import serve  # noqa: PLC0415 - as above

    from studio.gate import keep_files_behind_the_gate  # noqa: PLC0415 - as above

    keep_files_behind_the_gate()
    application: Application = get_wsgi_application()
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    tell()
    serve(
        _healthy(counted(application)),
        host="0.0.0.0",  # noqa: S104 - a pod has one address, and the network policy says who may ask
        port=PORT,
        threads=int(os.environ.get("THREADS", "8")),
        # No Server header.
        ident="",
        # People come by TLS, which ends at the gateway.
        url_scheme="https",
        max_request_header_size=65536,
        max_request_body_size=_LARGEST,
        inbuf_overflow=_IN_MEMORY,
        outbuf_overflow=_IN_MEMORY,
        channel_timeout=60,
        clear_untrusted_proxy_headers=True,
    )


VERBS: Final = {"migrate": _migrate, "serve": _serve}

if __name__ == "__main__":
    begin()
    os.environ.update({**names(os.environ["PUBLIC_NAME"]), **accounts(ACCOUNTS)})
    prepare()
    VERBS[sys.argv[1]]()
