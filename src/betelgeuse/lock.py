"""One writer per environment: a lock that names its holder and cannot go stale."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError, LockedError


def _acquire(env: str) -> int:
    """Open and lock the file; the kernel drops a flock with its process, so kill -9 leaves nothing behind."""
    path = paths.state_dir(env) / "lock"
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror}; run as root, or set BETELGEUSE_STATE to a folder you own"
            raise BetelgeuseError(message) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise LockedError(_busy(env, holder)) from None
        try:
            current = path.stat().st_ino
        except FileNotFoundError:
            current = -1
        if current == os.fstat(descriptor).st_ino:
            return descriptor
        # `destroy` removed the folder between open and flock: what we hold is no longer the file others see.
        os.close(descriptor)


def _busy(env: str, holder: bytes) -> str:
    try:
        data = json.loads(holder)
        who = f"{data['verb']} (pid {data['pid']}, since {data['since']})"
    except (ValueError, KeyError, TypeError):
        who = "another command"
    return f"environment {env!r} is locked by {who}; wait for it to end, then run this again"


@contextmanager
def exclusive(env: str, verb: str) -> Iterator[None]:
    """Hold the environment's lock; raise LockedError naming the holder when another command has it."""
    # What is absent now, and empty in the end, a refused command must not leave behind.
    absent = [folder for folder in (paths.state_dir(env), paths.STATE) if not folder.exists()]
    descriptor = _acquire(env)
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = json.dumps({"pid": os.getpid(), "verb": verb, "since": since})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.ftruncate(descriptor, 0)
        if absent and [path.name for path in paths.state_dir(env).glob("*")] == ["lock"]:
            # While we hold it: who waits looks again whether its file is the one that others see.
            (paths.state_dir(env) / "lock").unlink()
            with suppress(OSError):
                for folder in absent:
                    folder.rmdir()
        # Closing releases the flock. The descriptor is not inheritable, so no child started meanwhile can keep it.
        os.close(descriptor)
