"""Print what an environment consists of, exactly as it would be applied."""

from betelgeuse import yamls
from betelgeuse.progress import out
from betelgeuse.workflows.session import tree


def show(env: str, profile: str = "") -> int:
    """Print the rendered tree as YAML; return 0."""
    out(yamls.dump(tree(env, profile)))
    return 0
