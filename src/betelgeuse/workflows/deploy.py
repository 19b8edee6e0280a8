"""From nothing, or from anything in between, to the platform that the tree describes."""

import time
from collections.abc import Sequence

from betelgeuse import doctor, lock, render, settings, system, trust
from betelgeuse.clusters.local import target
from betelgeuse.kube import Obj, connect
from betelgeuse.progress import out, say
from betelgeuse.settings import LOCAL
from betelgeuse.workflows import tree


def deploy(env: str, nodes: int | None = None) -> tree.Result:
    """Deploy an environment: build and form the cluster where it is ours to make, then apply the tree and wait.

    Raises RefusedError where the machine lacks what the profile needs, LockedError while another deploy runs,
    WaitTimeoutError with the reason where something does not become ready. Run again, it goes on where it stopped.
    """
    begin = time.monotonic()
    chosen = settings.load(env, nodes=nodes)
    with lock.exclusive(env, "deploy"):
        if env == LOCAL:
            system.install()
            doctor.preflight(chosen)
            target.bring_up(chosen)
        else:
            target.prepare_tree()
        objects = render.render(env)
        kube = connect(chosen)
        result = tree.apply_tree(chosen, kube, objects)
        roots = trust.refresh(env, kube, objects)
    hosts = sorted(hosts_of(objects))
    address = chosen.gateway_addresses[0] if chosen.gateway_addresses else "the gateway's address"
    say(f"{env} is up after {time.monotonic() - begin:.1f} s; {result.changes} changes")
    out(f"hosts file: {address} {' '.join(hosts)}")
    if roots is not None:
        out(f"roots to trust: {roots}")
    return result


def hosts_of(objects: Sequence[Obj]) -> set[str]:
    """Return every host name that a listener of the tree serves."""
    owners = [obj for obj in objects if obj["kind"] in {"Gateway", "ListenerSet"}]
    return {listener["hostname"] for obj in owners for listener in obj["spec"]["listeners"] if "hostname" in listener}


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
