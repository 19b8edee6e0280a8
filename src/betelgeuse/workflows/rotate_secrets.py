"""Make the platform's secrets anew while it runs, and wait until everything uses the new ones."""

from collections.abc import Sequence
from datetime import UTC, datetime

from betelgeuse import lease, lock, rotation, secrets, settings
from betelgeuse.apply import snapshot
from betelgeuse.identity.declarations import clients
from betelgeuse.kube import Key, Kube, Obj, key_of
from betelgeuse.progress import say, step
from betelgeuse.rotation import WORKLOADS
from betelgeuse.settings import Settings
from betelgeuse.wait import until_ready
from betelgeuse.workflows import realm
from betelgeuse.workflows.apply_tree import READY_SECONDS
from betelgeuse.workflows.session import opened


def _seen(kube: Kube, objects: Sequence[Obj]) -> dict[Key, Obj]:
    return snapshot(kube, [obj for obj in objects if obj["kind"] in {"Secret", *WORKLOADS}])


def follow(kube: Kube, objects: Sequence[Obj], *, wait: bool = True) -> list[Key]:
    """Roll, stage by stage, every workload that still uses older values, and wait for each stage.

    Without `wait` for Keycloak's alone, which the others ask.
    """
    workload = realm.provider(objects)
    provider = None if workload is None else key_of(workload)
    rolled: list[Key] = []
    for stage in rotation.stages(rotation.pending(objects, _seen(kube, objects)), provider):
        with step(f"rolling {', '.join(str(entry.key) for entry in stage)}"):
            for entry in stage:
                rotation.roll(kube, entry)
            if wait or provider in {entry.key for entry in stage}:
                until_ready(kube, [entry.obj for entry in stage], READY_SECONDS)
        rolled += [entry.key for entry in stage]
    return rolled


def _identity(objects: Sequence[Obj], domain: str) -> set[Key]:
    """Return the Secrets whose values Keycloak must be told of."""
    return {realm.ADMIN, *(client.secret for client in clients(objects, domain))}


def _synchronise(chosen: Settings, kube: Kube, objects: Sequence[Obj]) -> None:
    workload = realm.provider(objects)
    if workload is None:
        return
    until_ready(kube, [workload], READY_SECONDS)
    for change in realm.reconcile(chosen, kube, objects):
        say(change)


def _write(kube: Kube, selected: Sequence[Obj], objects: Sequence[Obj]) -> int:
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    live = _seen(kube, objects)
    count = 0
    for obj in selected:
        key = key_of(obj)
        if key not in live:
            say(f"{key}: not in the cluster yet; `invoke deploy` makes it")
            continue
        keep = frozenset({realm.PASSWORD}) if key == realm.ADMIN else frozenset[str]()
        names = rotation.regenerate(kube, obj, live[key], now, keep=keep)
        say(f"{key}: {', '.join(names)} made anew")
        count += 1
    # Copies of what changed.
    for key, names in secrets.ensure(kube, objects, _seen(kube, objects)).generated.items():
        say(f"{key}: {', '.join(names)} copied anew")
    return count


def run(chosen: Settings, kube: Kube, objects: Sequence[Obj], only: Sequence[str] = ()) -> int:
    """Rotate Secrets of a running platform and have everything follow; return how many Secrets have new values.

    Killed at any point, a deploy or another rotation first finishes what is left.
    """
    selected = rotation.select(objects, only)
    follow(kube, objects)
    told = any(key_of(obj) in _identity(objects, chosen.domain) for obj in selected)
    if told:
        # An interrupted rotation of the administrator's password must end before there is a third one.
        _synchronise(chosen, kube, objects)
    count = _write(kube, selected, objects)
    if told:
        # At once: the gateway sees a client's new secret within a second.
        _synchronise(chosen, kube, objects)
    rolled = follow(kube, objects)
    say(f"{chosen.env}: {count} Secrets have new values, {len(rolled)} workloads were rolled")
    return count


def rotate(env: str, only: Sequence[str] = ()) -> int:
    """Rotate the secrets of an environment; see run."""
    # An environment that is none leaves no lock of its own behind.
    settings.load(env)
    with lock.exclusive(env, "rotate-secrets"):
        chosen, kube, objects = opened(env)
        with lease.held(kube, env):
            return run(chosen, kube, objects, only)
