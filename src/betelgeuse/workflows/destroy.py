"""Remove an environment: the embedded cluster whole, of other clusters only what we own there."""

from betelgeuse import inventory, lock, settings
from betelgeuse.clusters.local import target
from betelgeuse.kube import Key, Kube, connect
from betelgeuse.progress import say, step
from betelgeuse.prune import Pruned, prune, tell
from betelgeuse.settings import LOCAL, Settings


def remove(settings: Settings, kube: Kube, *, data: bool = False) -> Pruned:
    """Delete everything we own in a cluster; what holds data stays (and stays ours) unless `data` is given too."""
    owned = inventory.load(kube)
    with step(f"removing {len(owned.versions)} objects from {settings.env}"):
        pruned = prune(kube, owned, [], data=not data)
    home = Key("", "Namespace", "", inventory.NAMESPACE)
    pruned.kept.pop(home, None)
    tell(pruned)
    if pruned.kept:
        inventory.save(kube, owned.exact([], {}, [*pruned.kept, home]))
    else:
        inventory.forget(kube)
    say(f"{settings.env}: {len(pruned.deleted)} deleted, {len(pruned.kept)} kept")
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
        remove(chosen, kube)
