"""Remove an environment: the embedded cluster whole, of other clusters only what we own there."""

from dataclasses import replace

from betelgeuse import inventory, lease, lock, selection, settings
from betelgeuse.clusters.local import target
from betelgeuse.kube import Key, Kube, connect
from betelgeuse.progress import say, step
from betelgeuse.prune import Pruned, prune
from betelgeuse.settings import LOCAL, Settings
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
        with lease.held(kube, env):
            remove(chosen, kube)
        selection.remember(env, "")
