"""The roots that clients of an environment must trust."""

from betelgeuse import render, settings, trust
from betelgeuse.kube import connect
from betelgeuse.progress import out


def roots(env: str) -> None:
    """Print the file with the roots that clients must trust, brought up to date."""
    chosen = settings.load(env)
    path = trust.refresh(env, connect(chosen), render.render(env))
    out(str(path) if path is not None else f"{env}: certificates chain to public roots, nothing to trust")
