"""Copy what the stores hold to where BACKUP_TARGET says, list the copies, and put one back."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import paths
from betelgeuse.backups.repository import Copy, Repository
from betelgeuse.builds import golang
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import Kube, Obj
from betelgeuse.kube.command import exec_command
from betelgeuse.owners import RESTARTED
from betelgeuse.progress import out, say, step
from betelgeuse.settings import Settings
from betelgeuse.shell import run
from betelgeuse.tree.backups import Backup, chosen
from betelgeuse.workflows.session import opened

_MERGE: Final = "application/merge-patch+json"
_KILO: Final = 1024.0
_MANAGER: Final = "betelgeuse-backup"
RECORD: Final = "backup_made_timestamp_seconds"
"""The metric that says when a store's last good copy was made; alerts are written against it."""


def _repository(chosen_env: Settings) -> Repository:
    return Repository(chosen_env.env, chosen_env.backup_target, golang.commands("restic") / "restic")


def _pod(kube: Kube, one: Backup) -> str:
    """Return a ready pod that can make or take the copy; BetelgeuseError where there is none."""
    for pod in kube.list("v1", "Pod", one.namespace, labels=one.pods):
        conditions = pod.get("status", {}).get("conditions") or ()
        if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            return str(pod["metadata"]["name"])
    message = f"{one.name}: no ready pod in {one.namespace} with {one.pods}: `invoke status` tells why"
    raise BetelgeuseError(message)


def note(one: Backup, made: float) -> Obj:
    """Return a rule by which Prometheus knows when the last good copy was made: nothing in the cluster makes copies."""
    rule = {"record": RECORD, "expr": f"vector({made:.0f})", "labels": {"store": one.name}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        # Beside the store: lost with it, it is told that the new one was never copied.
        "metadata": {"name": f"backup-{one.name}", "namespace": one.home},
        "spec": {"groups": [{"name": "backup", "rules": [rule]}]},
    }


def _tell(kube: Kube, one: Backup) -> None:
    try:
        kube.server_side_apply(note(one, time.time()), _MANAGER, force=True)
    except BetelgeuseError as error:
        say(f"{one.name}: is backed up, but the cluster could not be told so: {error}")


def _same_cluster(settings: Settings) -> bool:
    host = settings.backup_target.removeprefix("s3:").partition("//")[2].partition("/")[0].partition(":")[0]
    return bool(host) and (host == settings.domain or host.endswith(f".{settings.domain}"))


def backup(env: str, store: str = "") -> None:
    """Copy one store or all; RefusedError where the copy would lie in the store itself."""
    settings, kube, objects = opened(env)
    wanted = chosen(objects, store)
    if not wanted:
        out(f"{env}: its profile has no store to back up")
        return
    if _same_cluster(settings):
        message = (
            f"BACKUP_TARGET={settings.backup_target} lies in the cluster that is to be backed up: "
            "it would be lost with it; name a folder or an S3 elsewhere"
        )
        raise RefusedError(message)
    repository = _repository(settings)
    repository.open(create=True)
    failed = []
    for one in wanted:
        try:
            with step(f"backup {one.name}"):
                repository.save(one.name, exec_command(settings, one.namespace, _pod(kube, one), one.dump))
            _tell(kube, one)
        except BetelgeuseError as error:
            failed.append(one.name)
            say(f"{one.name}: not backed up: {error}")
    with step("check and tidy"):
        repository.forget()
        repository.check()
    if failed:
        message = f"{env}: {len(failed)} of {len(wanted)} not backed up: {', '.join(failed)}"
        raise BetelgeuseError(message)
    out(f"{env}: {len(wanted)} backed up to {repository.target}")


def _sized(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < _KILO:
            return f"{size:.0f} {unit}"
        size /= _KILO
    return f"{size:.1f} GiB"


def listed(env: str) -> None:
    """Print every copy: of what, from when, how big, and when the copies were last verified."""
    settings, _, _ = opened(env)
    repository = _repository(settings)
    repository.open()
    for one in repository.copies():
        out(f"{one.made:%Y-%m-%d %H:%M:%S}Z  {one.store:<12} {_sized(one.size):>9}  {one.id}")
    when = repository.checked()
    out(f"{repository.target}: {f'verified {when:%Y-%m-%d %H:%M}Z' if when else 'never verified from this machine'}")


def select(copies: Sequence[Copy], store: str, at: str) -> Copy:
    """Return the newest copy of a store, at a time or before; UsageError where there is none."""
    try:
        until = datetime.fromisoformat(at) if at else datetime.now(UTC)
    except ValueError:
        message = f"--at must be a time such as 2026-11-28T14:30, got {at[:60]!r}"
        raise UsageError(message) from None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    of_store = [copy for copy in copies if copy.store == store]
    found = [copy for copy in of_store if copy.made <= until]
    if not found:
        first = f"; the first is of {of_store[0].made:%Y-%m-%d %H:%M:%S}Z" if of_store else ""
        message = f"no copy of {store}{f' from {at} or before' if at else ''}{first}"
        raise UsageError(message)
    return found[-1]


def _restart(kube: Kube, one: Backup, objects: Sequence[Obj]) -> None:
    for name in one.restart:
        found = (o for o in objects if (o["kind"], o["metadata"]["name"]) == ("Deployment", name))
        deployment = next((o for o in found if o["metadata"]["namespace"] == one.home), None)
        if deployment is None:
            message = f"{one.name}: restart names Deployment {name}, which {one.home} has not"
            raise UsageError(message)
        annotations = {RESTARTED: datetime.now(UTC).isoformat()}
        path = f"/apis/apps/v1/namespaces/{one.home}/deployments/{name}"
        body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        kube.request("PATCH", path, body=body, content_type=_MERGE)
        say(f"{one.home}/{name}: started anew, it remembers what was there before")


def restore(env: str, store: str, at: str = "") -> float:
    """Replace what a store holds with a copy; return the seconds it took.

    The copy is taken out of the repository and verified whole before the store is touched.
    """
    settings, kube, objects = opened(env)
    if not store:
        message = "--store is missing: a restore replaces what one store holds"
        raise UsageError(message)
    one = chosen(objects, store)[0]
    begin = time.monotonic()
    repository = _repository(settings)
    repository.open()
    copy = select(repository.copies(), store, at)
    scratch = paths.STATE / "backups"
    with TemporaryDirectory(dir=scratch, prefix="restore-") as folder:
        spool = Path(folder) / store
        with step(f"read and verify copy {copy.id} of {copy.made:%Y-%m-%d %H:%M:%S}Z"):
            repository.extract(copy, spool)
        with step(f"restore {store}"):
            run(exec_command(settings, one.namespace, _pod(kube, one), one.load, stdin=True), input=spool)
    _restart(kube, one, objects)
    seconds = time.monotonic() - begin
    out(f"{env}: {store} is as of {copy.made:%Y-%m-%d %H:%M:%S}Z again, after {seconds:.1f} s")
    return seconds
