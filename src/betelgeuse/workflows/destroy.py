"""Remove an environment: a cluster that a deploy made whole, of other clusters only what we own there."""

from dataclasses import replace

from betelgeuse import inventory, lease, lock, selection, servers, settings
from betelgeuse.clusters.kind import target as kind
from betelgeuse.clusters.local import target as local
from betelgeuse.clusters.servers import target as hosts
from betelgeuse.errors import RefusedError
from betelgeuse.kube import Key, Kube, connect
from betelgeuse.progress import say, step
from betelgeuse.prune import Pruned, prune
from betelgeuse.settings import KIND, MADE, Settings
from betelgeuse.workflows.apply_tree import claimed, tell


def remove(settings: Settings, kube: Kube, *, data: bool = False) -> Pruned:
    """Delete everything we own in a cluster; what holds data stays (and stays ours) unless `data` is given too."""
    owned = claimed(kube, inventory.load(kube), [])
    with step(f"removing {len(owned.versions)} objects from {settings.env}"):
        pruned = prune(kube, owned, [], data=not data)
    home = Key("", "Namespace", "", inventory.NAMESPACE)
    pruned.kept.pop(home, None)
    tell(settings, [], pruned)
    if pruned.kept or pruned.going:
        staying = [*pruned.kept, *pruned.going, home]
        inventory.save(kube, replace(owned.exact([], {}, staying), profile=""))
    else:
        inventory.forget(kube)
    say(f"{settings.env}: {len(pruned.deleted)} deleted, {len(pruned.going)} not gone yet, {len(pruned.kept)} kept")
    return pruned


def ask(env: str, *, yes: bool) -> None:
    """Have a person type the environment's name where a deploy did not make the cluster; RefusedError without it."""
    # Nobody is asked about an environment that is none.
    settings.load(env)
    if yes or env in MADE:
        return
    try:
        typed = input(f"Type {env} to remove everything we own there: ")
    except (EOFError, RuntimeError, UnicodeDecodeError):
        # Also where there is no stream to ask on, or what comes is no text.
        typed = ""
    if typed != env:
        message = f"nothing was removed: type {env}, or say --yes"
        raise RefusedError(message)


def destroy(env: str) -> None:
    """Remove an environment. A cluster that a deploy made goes whole; elsewhere only what we own in the cluster."""
    chosen = settings.load(env)
    if env in MADE:
        with lock.exclusive(env, "destroy"):
            (kind if env == KIND else local).destroy()
        say(f"{env} is removed; the build cache stays")
        return
    if listed := servers.load(env):
        with lock.exclusive(env, "destroy"):
            hosts.destroy(env, listed)
        say(f"{env} is removed from {', '.join(server.name for server in listed)}; the build cache stays")
        return
    with lock.exclusive(env, "destroy"):
        kube = connect(chosen)
        with lease.held(kube, env):
            remove(chosen, kube)
        selection.remember(env, "")
