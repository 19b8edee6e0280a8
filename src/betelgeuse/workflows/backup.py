"""Copy what the stores hold to where BACKUP_TARGET says, list the copies, and put one back."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import lease, lock, paths, servers
from betelgeuse.backups import claims, frames, keys
from betelgeuse.backups.repository import Copy, Repository
from betelgeuse.builds import golang
from betelgeuse.clusters.local import etcd
from betelgeuse.clusters.servers import etcd as hosts_etcd
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import Kube, Obj, key_of
from betelgeuse.kube.command import exec_command
from betelgeuse.owners import RESTARTED
from betelgeuse.progress import out, say, step
from betelgeuse.settings import LOCAL, Settings, load
from betelgeuse.shell import run
from betelgeuse.tree.backups import CLAIMS, CLIENT, SECRETS, Backup, chosen
from betelgeuse.wait import until_ready
from betelgeuse.workflows import rotate_secrets
from betelgeuse.workflows.apply_tree import READY_SECONDS
from betelgeuse.workflows.session import opened

_MERGE: Final = "application/merge-patch+json"
_KILO: Final = 1024.0
_MANAGER: Final = "betelgeuse-backup"
ETCD: Final = Backup("etcd", "etcd", "kube-system", "", (), (), "kube-system", ())
"""What the API server keeps; a copy of it is made where the control plane is ours."""
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


def parted(store: str) -> tuple[str, str]:
    """Return the name of a store and of the part of it that `--store` asks for: `homes:home-alice`."""
    name, _, part = store.partition(":")
    return name, part


def _forms(env: str) -> bool:
    """Whether an environment's control plane is ours, and with it etcd."""
    return env == LOCAL or bool(servers.load(env))


def _wanted(env: str, objects: Sequence[Obj], store: str) -> tuple[list[Backup], str]:
    """Return what `--store` names, and the part; UsageError where the store has none."""
    name, part = parted(store)
    found = chosen(objects, name, *([ETCD] if _forms(env) else []))
    if part and found[0].method != CLAIMS:
        message = f"{name} has no parts: --store={name}"
        raise UsageError(message)
    return found, part


def _save_claims(settings: Settings, kube: Kube, repository: Repository, one: Backup, part: str) -> None:
    """Copy each volume; one that cannot be copied keeps no other from it."""
    wanted, failed = [part] if part else claims.names(kube, one), []
    for claim in wanted:
        try:
            with claims.held(kube, one, claim) as pod:
                repository.save(f"{one.name}:{claim}", exec_command(settings, one.home, pod, one.dump))
        except BetelgeuseError as error:
            failed.append(claim)
            say(f"{one.name}:{claim}: not backed up: {error}")
    if failed:
        message = f"{len(failed)} of {len(wanted)}: {', '.join(failed)}"
        raise BetelgeuseError(message)


def _save(settings: Settings, kube: Kube, repository: Repository, one: Backup, part: str) -> None:
    if one.method == CLAIMS:
        _save_claims(settings, kube, repository, one, part)
    elif one.method == SECRETS:
        repository.save_text(one.name, keys.dump(kube, one.name, one.objects))
    elif one is ETCD:
        repository.save(one.name, etcd.dump() if settings.env == LOCAL else hosts_etcd.dump(settings.env))
    else:
        repository.save(one.name, exec_command(settings, one.namespace, _pod(kube, one), one.dump))


def backup(env: str, store: str = "") -> None:
    """Copy one store, a part of it, or all; RefusedError where the copy would lie in the store itself."""
    settings, kube, objects = opened(env)
    wanted, part = _wanted(env, objects, store)
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
            with step(f"backup {store or one.name}"):
                _save(settings, kube, repository, one, part)
            if not part:
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
    copies = repository.copies()
    width = max((len(one.store) for one in copies), default=0)
    for one in copies:
        out(f"{one.made:%Y-%m-%d %H:%M:%S}Z  {one.store:<{width}} {_sized(one.size):>9}  {one.id}")
    when = repository.checked()
    out(f"{repository.target}: {f'verified {when:%Y-%m-%d %H:%M}Z' if when else 'never verified from this machine'}")


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
    of_store = [copy for copy in copies if store in {copy.store, parted(copy.store)[0]}]
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
        with claims.held(kube, one, parted(copy.store)[1], make=True) as pod:
            run(exec_command(settings, one.home, pod, one.load, stdin=True), input=spool)
    else:
        if one.method == CLIENT:
            frames.verify(one.name, spool)
        run(exec_command(settings, one.namespace, _pod(kube, one), one.load, stdin=True), input=spool)


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
    repository = _repository(load(env))
    repository.open()
    (copy,) = select(repository.copies(), ETCD.name, at)
    with lock.exclusive(env, "restore"), _taken_out(repository, copy) as spool:
        if env == LOCAL:
            etcd.load(spool, spool.parent)
        else:
            hosts_etcd.load(env, spool, spool.parent)
    say("what was made or deleted since is as it was then: `invoke deploy` brings the platform to its tree")
    return [copy]


def _restore(env: str, store: str, at: str) -> list[Copy]:
    settings, kube, objects = opened(env)
    (one,), _ = _wanted(env, objects, store)
    repository = _repository(settings)
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
    copies = _restore_etcd(env, at) if store == ETCD.name and _forms(env) else _restore(env, store, at)
    seconds = time.monotonic() - begin
    oldest = min(copy.made for copy in copies)
    out(f"{env}: {store} is as of {oldest:%Y-%m-%d %H:%M:%S}Z again, after {seconds:.1f} s")
    return seconds
