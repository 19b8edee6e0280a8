"""From nothing, or from anything in between, to the platform that the tree describes."""

import time

from betelgeuse import doctor, edge, lock, render, settings, system, trust
from betelgeuse.clusters.local import target
from betelgeuse.identity.declarations import clients
from betelgeuse.kube import connect
from betelgeuse.progress import out, say
from betelgeuse.settings import LOCAL
from betelgeuse.workflows import realm, tree


def deploy(env: str, nodes: int | None = None, *, prune_data: bool = False) -> tree.Result:
    """Deploy an environment: build and form the cluster where it is ours to make, then apply the tree and wait.

    Raises RefusedError where the machine lacks what the profile needs, or a node with volumes would go without
    `prune_data`, LockedError while another deploy runs,
    WaitTimeoutError with the reason where something does not become ready. Run again, it goes on where it stopped.
    """
    begin = time.monotonic()
    chosen = settings.load(env, nodes=nodes)
    with lock.exclusive(env, "deploy"):
        if env == LOCAL:
            system.install()
            doctor.preflight(chosen)
            target.bring_up(chosen, prune_data=prune_data)
        else:
            target.prepare_tree()
        objects = render.render(env)
        # A wrong declaration is told before the tree is applied, not after minutes of waiting.
        clients(objects, chosen.domain)
        kube = connect(chosen)
        result = tree.apply_tree(chosen, kube, objects)
        result.realm = realm.reconcile(chosen, kube, objects)
        steady = edge.STEADY_SECONDS if result.changes else 0.0
        edge.settle(objects, chosen.gateway_addresses, steady=steady)
        roots = trust.refresh(env, kube, objects)
    for change in result.realm:
        say(change)
    address = chosen.gateway_addresses[0] if chosen.gateway_addresses else "the gateway's address"
    say(f"{env} is up after {time.monotonic() - begin:.1f} s; {result.changes} changes")
    out(f"hosts file: {address} {' '.join(sorted(edge.hosts(objects)))}")
    if roots is not None:
        out(f"roots to trust: {roots}")
    return result


def destroy(env: str) -> None:
    """Remove an environment. The embedded cluster goes whole; elsewhere only what we own in the cluster."""
    chosen = settings.load(env)
    if env == LOCAL:
        with lock.exclusive(env, "destroy"):
            target.destroy()
        say(f"{env} is removed; the build cache stays")
        return
    with lock.exclusive(env, "destroy"):
        kube = connect(chosen)
        tree.remove(chosen, kube)
