"""The shared accounts of the stores, as files, and the variables that programs look for."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/accounts")
ROOTS: Final = Path("/tmp/roots.pem")  # noqa: S108 - of this pod alone
"""Whom to trust: the stores' CA, the platform's edge, and the public roots."""


def key(store: str, name: str, folder: Path = FOLDER) -> str:
    """Return one key of a store's account."""
    return (folder / store / name).read_text("utf-8")


def ca(store: str, folder: Path = FOLDER) -> str:
    """Return the file of the CA that a store's certificate is of."""
    return str(folder / store / "ca.crt")


def address(store: str, folder: Path = FOLDER) -> str:
    """Return host and port of a store."""
    return f"{key(store, 'host', folder)}:{key(store, 'port', folder)}"


def variables(folder: Path = FOLDER) -> Mapping[str, str]:
    """Return what psql, psycopg, boto3 and others read from the environment by themselves."""

    def found() -> Iterator[tuple[str, str]]:
        for name, of in (("HOST", "host"), ("PORT", "port"), ("USER", "user"), ("DATABASE", "database")):
            yield f"PG{name}", key("postgres", of, folder)
        yield "PGPASSWORD", key("postgres", "password", folder)
        yield "PGSSLMODE", "verify-full"
        yield "PGSSLROOTCERT", ca("postgres", folder)
        yield "AWS_ENDPOINT_URL_S3", f"https://{address('s3', folder)}"
        yield "AWS_ACCESS_KEY_ID", key("s3", "user", folder)
        yield "AWS_SECRET_ACCESS_KEY", key("s3", "password", folder)
        yield "AWS_CA_BUNDLE", ca("s3", folder)
        yield "AWS_REGION", "us-east-1"
        yield "AWS_DEFAULT_REGION", "us-east-1"
        # Of our own account only: nobody else's instance tells who we are.
        yield "AWS_EC2_METADATA_DISABLED", "true"

    return dict(found())


def bundle(texts: Iterable[str]) -> str:
    """Return several PEM texts as one."""
    return "".join(f"{text.strip()}\n" for text in texts if text.strip())
