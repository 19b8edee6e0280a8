"""How far a run is: a line of its output whenever the load changes, for people or, as JSON, for who follows it."""

import json
from typing import Final

FORMATS: Final = ("text", "json")


def text(seconds: float, load: float, unit: str) -> str:
    """Return the line for people."""
    return f"{seconds:6.0f} s  {load:.4g} {unit}"


def line(form: str, seconds: float, load: float, unit: str) -> str:
    """Return the line in one of FORMATS."""
    if form == "text":
        return text(seconds, load, unit)
    return json.dumps({"seconds": seconds, "load": load, "unit": unit})


def newest(output: str) -> str:
    """Return, for people, the newest JSON line among all that a run has said so far; empty when there is none yet."""
    for said in reversed(output.splitlines()):
        try:
            found = json.loads(said)
            return text(found["seconds"], found["load"], found["unit"]).strip()
        except (ValueError, KeyError, TypeError):
            # Another line, or one that is still being written.
            continue
    return ""
