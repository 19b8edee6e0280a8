"""Make the keys of a mesh anew while the cluster runs on it."""

from betelgeuse import lock, servers, settings
from betelgeuse.clusters.servers import mesh, programs
from betelgeuse.clusters.servers.target import reach
from betelgeuse.errors import UsageError
from betelgeuse.progress import say


def rotate(env: str) -> None:
    """Give every server of an environment a new key, which it makes itself; see mesh.rotate.

    Killed at any moment, a deploy or another rotation joins what is apart. Raises UsageError for an environment without
    a mesh.
    """
    settings.load(env)
    listed = servers.load(env)
    if len(listed) < 2:  # noqa: PLR2004 - one alone has nobody to talk to
        message = f"{env} has no mesh: overlays/{env}/{servers.FILE} lists fewer than two servers"
        raise UsageError(message)
    with lock.exclusive(env, "rotate-mesh"):
        mesh.rotate(reach(env, listed), programs.folders()["wireguard"])
    say(f"{env}: {len(listed)} servers have new keys")
