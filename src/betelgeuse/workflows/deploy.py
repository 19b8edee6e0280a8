"""From nothing, or from anything in between, to the platform that the tree describes."""

import time

from betelgeuse import (
    doctor,
    edge,
    gitops,
    inventory,
    lease,
    lock,
    profiles,
    render,
    selection,
    settings,
    system,
    trust,
)
from betelgeuse.clusters.local import target
from betelgeuse.errors import RefusedError
from betelgeuse.identity.declarations import clients
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.profiles import Profile
from betelgeuse.progress import out, say
from betelgeuse.settings import LOCAL, Settings
from betelgeuse.tree import hostnames
from betelgeuse.workflows import realm
from betelgeuse.workflows.apply_tree import Result, apply_tree


def _prepare(chosen: Settings, said: str, *, prune_data: bool) -> tuple[Profile, Kube, list[Obj]]:
    """Return the profile, the cluster and the tree; the embedded cluster is made on the way."""
    if chosen.env != LOCAL:
        kube = connect(chosen)
        profile = selection.select(chosen.env, said, kube)
        say(str(profile))
        target.prepare_tree()
        return profile, kube, _tree(chosen, profile)
    profile = selection.select(chosen.env, said)
    say(str(profile))
    system.install()
    doctor.preflight(chosen, profile)
    target.settle_bases()
    target.prepare_tree()
    objects = _tree(chosen, profile)
    target.bring_up(chosen, objects, profile.budget.build_minutes, prune_data=prune_data)
    kube = connect(chosen)
    known = inventory.load(kube).profile
    if not said and known != selection.chosen(chosen.env, profile):
        other = known or "the overlay's own profile"
        message = f"{chosen.env} runs {other}, this machine remembers {profile.name}: say --profile=<name>"
        raise RefusedError(message)
    return profile, kube, objects


def _tree(chosen: Settings, profile: Profile) -> list[Obj]:
    objects = render.render(chosen.env, profile.name)
    # A wrong declaration is told before anything is built, not after minutes of waiting.
    clients(objects, chosen.domain)
    return objects


def deploy(env: str, nodes: int | str | None = None, profile: str = "", *, prune_data: bool = False) -> Result:
    """Deploy an environment: build and form the cluster where it is ours to make, then apply the tree and wait.

    Without a profile it is the one deployed last, else the one that the overlay names. What left the tree and holds
    data stays, unless `prune_data`; a node with volumes is then no reason to refuse fewer nodes. Raises UsageError for
    an unknown or incomplete profile, RefusedError where the machine lacks what the profile needs or Argo CD owns the
    platform, LockedError while another deploy runs, WaitTimeoutError with the reason where something does not become
    ready. Run again, it goes on where it stopped.
    """
    begin = time.monotonic()
    chosen = settings.load(env, nodes=nodes)
    if profile:
        profiles.load(profile)
    with lock.exclusive(env, "deploy"):
        selected, kube, objects = _prepare(chosen, profile, prune_data=prune_data)
        name = selection.chosen(env, selected)
        selection.remember(env, name)
        with lease.held(kube, env) as hold:
            gitops.refuse(kube, env)
            result = apply_tree(chosen, kube, objects, profile=name, data=not prune_data, check=hold.check)
            result.realm = realm.reconcile(chosen, kube, objects)
            steady = edge.STEADY_SECONDS if result.changes else 0.0
            edge.settle(objects, chosen.gateway_addresses, steady=steady)
            roots = trust.refresh(env, kube, objects)
    for change in result.realm:
        say(change)
    address = chosen.gateway_addresses[0] if chosen.gateway_addresses else "the gateway's address"
    say(f"{env} is up after {time.monotonic() - begin:.1f} s; {result.changes} changes")
    out(f"hosts file: {address} {' '.join(sorted(hostnames(objects)))}")
    if roots is not None:
        out(f"roots to trust: {roots}")
    return result
