"""How many nodes an environment was last asked to have, by its file or by somebody who said otherwise; where they are.

Without this memory, a command that names no number would see nodes too many, and a deploy remove them.
"""

import json
from collections.abc import Iterable
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
    paths.write(_file(env), json.dumps({"declared": declared, "nodes": nodes}))


def _addresses(env: str) -> Path:
    return paths.state_dir(env) / "addresses"


def addresses(env: str) -> tuple[str, ...]:
    """Return the addresses that the nodes were given; none where nobody kept any."""
    return tuple(_addresses(env).read_text().split()) if _addresses(env).is_file() else ()


def remember_addresses(env: str, found: Iterable[str]) -> None:
    """Keep the addresses that a container engine gave the nodes."""
    paths.write(_addresses(env), "".join(f"{address}\n" for address in found))
