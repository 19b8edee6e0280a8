"""Copy what the stores hold to where BACKUP_TARGET says, and list the copies."""

import time
from collections.abc import Sequence
from typing import Final

from betelgeuse import paths, servers
from betelgeuse.backups import claims, keys
from betelgeuse.backups.repository import Repository
from betelgeuse.builds import golang
from betelgeuse.clusters.local import etcd
from betelgeuse.clusters.servers import etcd as hosts_etcd
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import Kube, Obj
from betelgeuse.kube.command import exec_command
from betelgeuse.progress import out, say, step
from betelgeuse.settings import LOCAL, Settings
from betelgeuse.tree.backups import CLAIMS, SECRETS, Backup, chosen
from betelgeuse.workflows.session import opened

_KILO: Final = 1024.0
_MANAGER: Final = "betelgeuse-backup"
ETCD: Final = Backup("etcd", "etcd", "kube-system", "", (), (), "kube-system", ())
"""What the API server keeps; a copy of it is made where the control plane is ours."""
RECORD: Final = "backup_made_timestamp_seconds"
"""The metric that says when a store's last good copy was made; alerts are written against it."""


def repository_of(settings: Settings) -> Repository:
    """Return where an environment's copies are kept."""
    return Repository(settings.env, settings.backup_target, golang.commands("restic") / "restic")


def serving_pod(kube: Kube, one: Backup) -> str:
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


def forms_etcd(env: str) -> bool:
    """Whether an environment's control plane is ours, and with it etcd."""
    return env == LOCAL or bool(servers.load(env))


def stores_of(env: str, objects: Sequence[Obj], store: str) -> tuple[list[Backup], str]:
    """Return what `--store` names, and the part; UsageError where the store has none."""
    name, part = parted(store)
    found = chosen(objects, name, *([ETCD] if forms_etcd(env) else []))
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


def _save_etcd(env: str, repository: Repository) -> None:
    repository.save(ETCD.name, etcd.dump() if env == LOCAL else hosts_etcd.dump(env))


def _save(settings: Settings, kube: Kube, repository: Repository, one: Backup, part: str) -> None:
    if one.method == CLAIMS:
        _save_claims(settings, kube, repository, one, part)
    elif one.method == SECRETS:
        repository.save_text(one.name, keys.dump(kube, one.name, one.objects))
    elif one is ETCD:
        _save_etcd(settings.env, repository)
    else:
        repository.save(one.name, exec_command(settings, one.namespace, serving_pod(kube, one), one.dump))


def _ready(settings: Settings) -> Repository:
    """Return the repository for a new copy; RefusedError where that would lie in the store itself."""
    if _same_cluster(settings):
        message = (
            f"BACKUP_TARGET={settings.backup_target} lies in the cluster that is to be backed up: "
            "it would be lost with it; name a folder or an S3 elsewhere"
        )
        raise RefusedError(message)
    repository = repository_of(settings)
    repository.open(create=True)
    return repository


def before_change(settings: Settings) -> None:
    """Copy the etcd of a cluster on servers before something changes the cluster.

    Where that fails it is said, and the change goes on: it may be what mends the cause.
    """
    env = settings.env
    if not servers.load(env) or not paths.kubeconfig_path(env).is_file():
        return
    try:
        with step("copy etcd before anything is changed"):
            _save_etcd(env, _ready(settings))
    except BetelgeuseError as error:
        say(f"etcd: no copy was made before this change: {error}")


def backup(env: str, store: str = "") -> None:
    """Copy one store, a part of it, or all; RefusedError where the copy would lie in the store itself."""
    settings, kube, objects = opened(env)
    stores, part = stores_of(env, objects, store)
    if not stores:
        out(f"{env}: its profile has no store to back up")
        return
    repository = _ready(settings)
    failed = []
    for one in stores:
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
        message = f"{env}: {len(failed)} of {len(stores)} not backed up: {', '.join(failed)}"
        raise BetelgeuseError(message)
    out(f"{env}: {len(stores)} backed up to {repository.target}")


def _sized(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < _KILO:
            return f"{size:.0f} {unit}"
        size /= _KILO
    return f"{size:.1f} GiB"


def listed(env: str) -> None:
    """Print every copy: of what, from when, how big, and when the copies were last verified."""
    settings, _, _ = opened(env)
    repository = repository_of(settings)
    repository.open()
    copies = repository.copies()
    width = max((len(one.store) for one in copies), default=0)
    for one in copies:
        out(f"{one.made:%Y-%m-%d %H:%M:%S}Z  {one.store:<{width}} {_sized(one.size):>9}  {one.id}")
    when = repository.checked()
    out(f"{repository.target}: {f'verified {when:%Y-%m-%d %H:%M}Z' if when else 'never verified from this machine'}")
