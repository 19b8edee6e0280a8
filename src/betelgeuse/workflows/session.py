"""What most commands begin with: an environment's settings, its cluster, its tree."""

from betelgeuse import render, settings
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.settings import Settings


def opened(env: str, nodes: int | None = None) -> tuple[Settings, Kube, list[Obj]]:
    """Return the settings, a connection and the rendered tree of an environment."""
    chosen = settings.load(env, nodes=nodes)
    return chosen, connect(chosen), render.render(env)
