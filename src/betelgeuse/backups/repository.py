"""Where copies are kept: a repository of restic's, which encrypts, deduplicates and verifies them."""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import say
from betelgeuse.shell import run

_MISSING: Final = "repository does not exist"
_KEEP: Final = ("--keep-last", "3", "--keep-daily", "7", "--keep-weekly", "5", "--keep-monthly", "6")


@dataclass(frozen=True)
class Copy:
    """One kept copy of a store."""

    id: str
    store: str
    """Its name; of one that has parts, `name:part`."""
    made: datetime
    size: int
    """Bytes of the stream, before deduplication and compression."""


def home(env: str) -> Path:
    """Return where copies are kept unless BACKUP_TARGET says otherwise; `destroy` leaves it alone."""
    return paths.STATE / "backups" / env


def key_file(env: str) -> Path:
    """Return the file with the key of an environment's copies."""
    return paths.STATE / "backups" / f"{env}.key"


def _make_key(env: str) -> None:
    """Make the key with the first copy."""
    path = key_file(env)
    if path.is_file():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.write(path, secrets.token_hex(32) + "\n", private=True)
    say(f"made {path}: keep a copy of it elsewhere, without it no backup can be read")


class Repository:
    """The copies of one environment."""

    def __init__(self, env: str, target: str, restic: Path) -> None:
        """`target` is a folder, or what restic calls `s3:https://host/bucket/path`; empty: on this machine."""
        self.env, self.target = env, target or str(home(env))
        self._restic = restic

    def _run(self, *arguments: str, text: str | None = None) -> str:
        env = {
            "RESTIC_REPOSITORY": self.target,
            "RESTIC_PASSWORD_FILE": str(key_file(self.env)),
            "RESTIC_CACHE_DIR": str(paths.CACHE / "restic"),
            "RESTIC_PROGRESS_FPS": "0",
        }
        return run([str(self._restic), "--retry-lock", "60s", *arguments], env=env, input=text)

    def open(self, *, create: bool = False) -> None:
        """See that it is there and that our key fits; BetelgeuseError where not. `create` makes what is missing."""
        if create:
            _make_key(self.env)
        elif not key_file(self.env).is_file():
            message = (
                f"{key_file(self.env)} is missing: without the key of its backups nothing of {self.env} can be read"
            )
            raise BetelgeuseError(message)
        try:
            self._run("cat", "config")
        except BetelgeuseError as error:
            if _MISSING not in str(error):
                message = f"backups in {self.target} cannot be read: {error}"
                raise BetelgeuseError(message) from None
            if not create:
                message = f"there are no backups in {self.target} yet: `invoke backup` makes one"
                raise BetelgeuseError(message) from None
            self._run("init")

    def _named(self, store: str) -> tuple[str, ...]:
        return ("backup", "--quiet", "--host", self.env, "--tag", store, "--stdin-filename", store)

    def save(self, store: str, command: Sequence[str]) -> None:
        """Keep what a command prints; where it fails, nothing is kept."""
        self._run(*self._named(store), "--stdin-from-command", "--", *command)

    def save_text(self, store: str, text: str) -> None:
        """Keep a text, which no other user of the machine sees on the way."""
        self._run(*self._named(store), "--stdin", text=text)

    def copies(self) -> list[Copy]:
        """Return every copy, the newest last."""
        found = json.loads(self._run("snapshots", "--json", "--host", self.env)) or []
        copies = [
            Copy(
                one["short_id"],
                (one.get("tags") or [""])[0],
                datetime.fromisoformat(one["time"]).astimezone(UTC),
                int((one.get("summary") or {}).get("total_bytes_processed", 0)),
            )
            for one in found
        ]
        return sorted(copies, key=lambda one: one.made)

    def extract(self, copy: Copy, to: Path) -> None:
        """Write a copy to a file; every block is verified, so what ends well is whole."""
        descriptor = os.open(to, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        os.close(descriptor)
        self._run("dump", "--target", str(to), copy.id, f"/{copy.store}")
        if copy.size and to.stat().st_size != copy.size:
            message = f"copy {copy.id} of {copy.store} is {to.stat().st_size} bytes, {copy.size} were kept"
            raise BetelgeuseError(message)

    def check(self, part: str = "5%") -> None:
        """Verify the repository's structure and read back a part of its data; note when that was."""
        self._run("check", f"--read-data-subset={part}")
        (paths.STATE / "backups" / f"{self.env}.checked").write_text(datetime.now(UTC).isoformat(), "utf-8")

    def checked(self) -> datetime | None:
        """Return when the repository was last verified from here."""
        path = paths.STATE / "backups" / f"{self.env}.checked"
        return datetime.fromisoformat(path.read_text("utf-8")) if path.is_file() else None

    def forget(self) -> None:
        """Drop copies that are old and many, and what only they used."""
        self._run("forget", "--quiet", "--host", self.env, "--group-by", "host,tags", *_KEEP, "--prune")
