"""Put a copy of what a store holds back in its place."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import lease, lock, paths
from betelgeuse.backups import claims, frames, keys
from betelgeuse.backups.repository import Copy, Repository
from betelgeuse.clusters.local import etcd
from betelgeuse.clusters.servers import etcd as hosts_etcd
from betelgeuse.errors import UsageError
from betelgeuse.kube import Kube, Obj, key_of
from betelgeuse.kube.command import exec_command
from betelgeuse.owners import RESTARTED
from betelgeuse.progress import out, say, step
from betelgeuse.settings import LOCAL, Settings, load
from betelgeuse.shell import run
from betelgeuse.tree.backups import CLAIMS, CLIENT, SECRETS, Backup
from betelgeuse.wait import until_ready
from betelgeuse.workflows import backup, rotate_secrets
from betelgeuse.workflows.apply_tree import READY_SECONDS
from betelgeuse.workflows.session import opened

_MERGE: Final = "application/merge-patch+json"


def _until(at: str) -> datetime:
    try:
        until = datetime.fromisoformat(at) if at else datetime.now(UTC)
    except ValueError:
        message = f"--at must be a time such as 2026-11-28T14:30, got {at[:60]!r}"
        raise UsageError(message) from None
    return until if until.tzinfo else until.replace(tzinfo=UTC)


def select(copies: Sequence[Copy], store: str, at: str) -> list[Copy]:
    """Return the newest copy of a store, or of each of its parts, at a time or before; UsageError where there is none.

    A part that had no copy yet is left out.
    """
    until = _until(at)
    of_store = [copy for copy in copies if store in {copy.store, backup.parted(copy.store)[0]}]
    found = {copy.store: copy for copy in of_store if copy.made <= until}
    if not found:
        first = f"; the first is of {of_store[0].made:%Y-%m-%d %H:%M:%S}Z" if of_store else ""
        message = f"no copy of {store}{f' from {at} or before' if at else ''}{first}"
        raise UsageError(message)
    return [found[name] for name in sorted(found)]


def _restart(kube: Kube, one: Backup, objects: Sequence[Obj]) -> None:
    """Start anew who remembers what was there before, and wait until they serve."""
    for key in one.restart:
        path = f"/apis/apps/v1/namespaces/{key.namespace}/deployments/{key.name}"
        body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: datetime.now(UTC).isoformat()}}}}}
        kube.request("PATCH", path, body=body, content_type=_MERGE)
    with step(f"starting anew {', '.join(map(str, one.restart))}: they remember what was there before"):
        until_ready(kube, [obj for obj in objects if key_of(obj) in one.restart], READY_SECONDS)


def _put(settings: Settings, kube: Kube, one: Backup, copy: Copy, spool: Path) -> None:
    """Replace what a store, or a part of it, holds with a copy that was taken out."""
    if one.method == SECRETS:
        with lock.exclusive(settings.env, "restore"), lease.held(kube, settings.env):
            for key in keys.load(kube, one.name, one.objects, spool.read_text("utf-8")):
                say(f"{key}: has the values of the copy")
    elif one.method == CLAIMS:
        with claims.held(kube, one, backup.parted(copy.store)[1], make=True) as pod:
            run(exec_command(settings, one.home, pod, one.load, stdin=True), input=spool)
    else:
        if one.method == CLIENT:
            frames.verify(one.name, spool)
        run(exec_command(settings, one.namespace, backup.serving_pod(kube, one), one.load, stdin=True), input=spool)


@contextmanager
def _taken_out(repository: Repository, copy: Copy) -> Iterator[Path]:
    """Give a copy as a file, verified whole, for a while."""
    with TemporaryDirectory(dir=paths.STATE / "backups", prefix="restore-") as folder:
        spool = Path(folder) / "copy"
        with step(f"read and verify copy {copy.id} of {copy.store}, {copy.made:%Y-%m-%d %H:%M:%S}Z"):
            repository.extract(copy, spool)
        yield spool


def _restore_etcd(env: str, at: str) -> list[Copy]:
    """Have the control plane begin again: nothing is asked of an API server, which may not serve at all."""
    repository = backup.repository_of(load(env))
    repository.open()
    (copy,) = select(repository.copies(), backup.ETCD.name, at)
    with lock.exclusive(env, "restore"), _taken_out(repository, copy) as spool:
        if env == LOCAL:
            etcd.load(spool, spool.parent)
        else:
            hosts_etcd.load(env, spool, spool.parent)
    say("what was made or deleted since is as it was then: `invoke deploy` brings the platform to its tree")
    return [copy]


def _restore(env: str, store: str, at: str) -> list[Copy]:
    settings, kube, objects = opened(env)
    (one,), _ = backup.stores_of(env, objects, store)
    repository = backup.repository_of(settings)
    repository.open()
    copies = select(repository.copies(), store, at)
    for copy in copies:
        with _taken_out(repository, copy) as spool, step(f"restore {copy.store}"):
            _put(settings, kube, one, copy, spool)
    if one.method == SECRETS:
        with lock.exclusive(env, "restore"), lease.held(kube, env):
            # Who finds its data encrypted with another key does not start: not before its own store is restored.
            rotate_secrets.follow(kube, objects, wait=False)
            say("what encrypts with them starts anew, and is ready once its stores are restored too: `invoke status`")
    if one.restart:
        _restart(kube, one, objects)
    return copies


def restore(env: str, store: str, at: str = "") -> float:
    """Replace what a store holds with a copy; return the seconds it took.

    The copy is taken out of the repository and verified whole before the store is touched.
    """
    if not store:
        message = "--store is missing: a restore replaces what one store holds"
        raise UsageError(message)
    begin = time.monotonic()
    copies = (
        _restore_etcd(env, at) if store == backup.ETCD.name and backup.forms_etcd(env) else _restore(env, store, at)
    )
    seconds = time.monotonic() - begin
    oldest = min(copy.made for copy in copies)
    out(f"{env}: {store} is as of {oldest:%Y-%m-%d %H:%M:%S}Z again, after {seconds:.1f} s")
    return seconds
