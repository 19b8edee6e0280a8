"""How many nodes an environment was last asked to have, as its file says it or as somebody said instead.

Without this memory, a command that names no number would see nodes too many, and a deploy remove them.
"""

import json
from pathlib import Path

from betelgeuse import paths


def _file(env: str) -> Path:
    return paths.state_dir(env) / "nodes.json"


def recall(env: str, declared: int) -> int:
    """Return the number that was last asked for; the file's own once that was edited since."""
    try:
        found = json.loads(_file(env).read_text())
        return int(found["nodes"]) if int(found["declared"]) == declared else declared
    except (OSError, ValueError, KeyError, TypeError):
        return declared


def remember(env: str, declared: int, nodes: int) -> None:
    """Keep a number, beside what the file declared at that time."""
    file = _file(env)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps({"declared": declared, "nodes": nodes}))
    draft.rename(file)
