"""docs/runbooks/: what each alert of the tree means and what to do, one page for each component."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from betelgeuse.tree.alerts import Alert

INDEX: Final = "README.md"
_VALUE: Final = re.compile(r"\{\{\s*(?P<what>.*?)\s*\}\}")
_LABEL: Final = re.compile(r"\$labels\.(\w+)")
_NOTE: Final = "`nox -s docs` writes this page from the rules in the tree.\n"


def _plain(text: str) -> str:
    """Return a description without template: VALUE and the labels' names stand for what the alert fills in."""

    def word(found: re.Match[str]) -> str:
        label = _LABEL.search(found["what"])
        return label[1].upper() if label else "VALUE"

    return _VALUE.sub(word, " ".join(text.split()))


def _section(alert: Alert) -> str:
    lines = [
        f"## {alert.name}\n",
        f"{_plain(alert.annotations.get('summary', ''))}.\n",
        f"- **What it says:** {_plain(alert.annotations.get('description', ''))}",
        f"- **What to do:** {_plain(alert.annotations.get('action', ''))}",
        f"- **Severity:** {alert.labels.get('severity', '')}, after {alert.wait or 'no time at all'}\n",
        f"```promql\n{alert.expression}\n```\n",
    ]
    return "\n".join(lines)


def pages(alerts: Iterable[Alert]) -> Mapping[str, str]:
    """Return the pages by their names, the index among them."""
    found: defaultdict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        if alert not in found[alert.component]:
            found[alert.component].append(alert)
    made = {
        f"{component}.md": "\n".join([f"# {component}\n", _NOTE, *map(_section, of_it)])
        for component, of_it in sorted(found.items())
    }
    rows = [
        f"| [{alert.name}]({component}.md#{alert.name.lower()}) | {alert.labels.get('severity', '')} "
        f"| {_plain(alert.annotations.get('summary', ''))} |\n"
        for component, of_it in sorted(found.items())
        for alert in of_it
    ]
    head = (
        "# Runbooks\n\nWhat each alert means and what to do, one page for each component. Words in capitals stand for "
        f"what the alert fills in.\n\n{_NOTE}\n| alert | severity | what |\n|---|---|---|\n"
    )
    return {**made, INDEX: head + "".join(rows)}


def write(folder: Path, alerts: Iterable[Alert]) -> None:
    """Write the pages; those of components that have no alert any more go."""
    made = pages(alerts)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")
