"""The roots that clients of an environment must trust."""

from betelgeuse import trust
from betelgeuse.progress import out
from betelgeuse.workflows.session import opened


def roots(env: str) -> None:
    """Print the file with the roots that clients must trust, brought up to date."""
    _, kube, objects = opened(env)
    path = trust.refresh(env, kube, objects)
    out(str(path) if path is not None else f"{env}: certificates chain to public roots, nothing to trust")
