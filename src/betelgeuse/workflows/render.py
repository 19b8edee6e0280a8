"""Print what an environment consists of, exactly as it would be applied."""

from betelgeuse import yamls
from betelgeuse.progress import out
from betelgeuse.render import render


def show(env: str) -> int:
    """Print the rendered tree as YAML; return 0."""
    out(yamls.dump(render(env)))
    return 0
