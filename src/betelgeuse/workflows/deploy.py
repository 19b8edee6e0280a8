"""From nothing, or from anything in between, to the platform that the tree describes."""

import time

from betelgeuse import (
    dns,
    doctor,
    edge,
    gitops,
    inventory,
    issuance,
    lease,
    lock,
    profiles,
    render,
    selection,
    servers,
    settings,
    system,
    trust,
)
from betelgeuse.builds import components, pins
from betelgeuse.clusters.kind import target as kind
from betelgeuse.clusters.local import target
from betelgeuse.clusters.servers import target as hosts
from betelgeuse.errors import RefusedError
from betelgeuse.identity.declarations import clients
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.profiles import Profile
from betelgeuse.progress import out, say
from betelgeuse.settings import KIND, LOCAL, MADE, Settings
from betelgeuse.tree import Tree
from betelgeuse.workflows import backup, realm
from betelgeuse.workflows.apply_tree import Result, apply_tree


def _prepare(chosen: Settings, said: str, *, prune_data: bool) -> tuple[Profile, Kube, list[Obj]]:
    """Return the profile, the cluster and the tree; a cluster that is ours to make is made on the way."""
    listed = servers.load(chosen.env)
    if chosen.env not in MADE and not listed:
        kube = connect(chosen)
        profile = selection.select(chosen.env, said, kube)
        say(str(profile))
        target.prepare_tree()
        objects = _tree(chosen, profile)
        pins.refuse_ours(chosen.env, target.carried(objects))
        return profile, kube, objects
    if listed:
        hosts.check(chosen, listed)
    profile = selection.select(chosen.env, said)
    say(str(profile))
    kind.install() if chosen.env == KIND else system.install()
    doctor.preflight(chosen, profile)
    target.settle_bases()
    if chosen.env == KIND:
        kind.decide()
    target.prepare_tree()
    objects = _tree(chosen, profile)
    if chosen.env == LOCAL:
        target.bring_up(chosen, objects, profile.budget.build_minutes, prune_data=prune_data)
    elif chosen.env == KIND:
        kind.bring_up(chosen, objects, profile.budget.build_minutes)
    else:
        backup.before_change(chosen)
        hosts.bring_up(chosen, listed, objects, profile.budget.build_minutes)
    kube = connect(chosen)
    known = inventory.load(kube).profile
    if not said and known != selection.chosen(chosen.env, profile):
        other = known or "the overlay's own profile"
        message = f"{chosen.env} runs {other}, this machine remembers {profile.name}: say --profile=<name>"
        raise RefusedError(message)
    return profile, kube, objects


def _tree(chosen: Settings, profile: Profile) -> list[Obj]:
    pins.refuse_old(chosen.env)
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
    with lock.exclusive(env, "deploy"), components.aimed(env):
        selected, kube, objects = _prepare(chosen, profile, prune_data=prune_data)
        # Where its nodes are is known once they run.
        chosen = settings.load(env, nodes=nodes)
        name = selection.chosen(env, selected)
        selection.remember(env, name)
        with lease.held(kube, env) as hold:
            gitops.refuse(kube, env)
            early = realm.Early(chosen, kube, objects)
            result = apply_tree(
                chosen, kube, objects, profile=name, data=not prune_data, check=hold.check, meanwhile=early.look
            )
            result.realm = early.finish()
            roots = trust.present(kube, objects)
            bundle = trust.refresh(env, kube, roots)
            renewed = issuance.follow(kube, roots) if roots else 0
            steady = edge.STEADY_SECONDS if result.changes or renewed else 0.0
            edge.settle(objects, chosen.gateway_addresses, steady=steady)
    for change in result.realm:
        say(change)
    address = chosen.gateway_addresses[0] if chosen.gateway_addresses else "the gateway's address"
    say(f"{env} is up after {time.monotonic() - begin:.1f} s; {result.changes} changes")
    out(f"hosts file: {address} {' '.join(dns.hosts(Tree(objects, chosen.domain)))}")
    if bundle is not None:
        out(f"roots to trust: {bundle}")
    return result
