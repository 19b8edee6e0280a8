"""The roots that clients of an environment must trust."""

from betelgeuse import trust
from betelgeuse.progress import out
from betelgeuse.workflows.session import opened


def roots(env: str, *, stores: bool = False) -> None:
    """Print the file with the roots that clients (of databases and brokers) must trust, brought up to date."""
    _, kube, objects = opened(env)
    if stores:
        root = trust.stores(env, kube)
        out(str(root) if root is not None else f"{env}: there is no CA of the stores yet: `invoke deploy` makes it")
        return
    path = trust.refresh(env, kube, trust.present(kube, objects))
    out(str(path) if path is not None else f"{env}: certificates chain to public roots, nothing to trust")
