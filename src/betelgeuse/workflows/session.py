"""What most commands begin with: an environment's settings, its cluster, its tree."""

from betelgeuse import render, selection, settings
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.settings import Settings


def opened(env: str, profile: str = "", nodes: int | str | None = None) -> tuple[Settings, Kube, list[Obj]]:
    """Return the settings, a connection and the rendered tree of an environment."""
    chosen = settings.load(env, nodes=nodes)
    kube = connect(chosen)
    return chosen, kube, render.render(env, selection.select(env, profile, kube).name)


def tree(env: str, profile: str = "") -> list[Obj]:
    """Return the rendered tree of an environment for commands that ask no cluster."""
    return render.render(env, selection.select(env, profile).name)
