"""Snippets of the documentation: each fenced block of a page, with the mark that says where it is executed.

A mark is an HTML comment on the line above the block, which no reader of the page sees; README.md lists them.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from betelgeuse import paths

DOCS: Final = paths.ROOT / "docs"
TUTORIALS: Final = tuple(sorted(path.stem for path in (DOCS / "tutorials").glob("*.md")))
"""The pages of docs/tutorials."""

MACHINE: Final = "run: machine"
POD: Final = "run: pod"
NOTEBOOK: Final = "run: notebook"
ACCOUNT: Final = "account"
UPLOAD: Final = "upload"
PRINTS: Final = "prints"
SKIPPED: Final = "not executed"
_LANGUAGES: Final[Mapping[str, frozenset[str]]] = {
    MACHINE: frozenset({"sh", "python"}),
    POD: frozenset({"yaml", "python"}),
    NOTEBOOK: frozenset({"python"}),
    ACCOUNT: frozenset({"sh"}),
    UPLOAD: frozenset({"text"}),
    PRINTS: frozenset({"text"}),
}
_ARGUED: Final = frozenset({ACCOUNT, UPLOAD, SKIPPED})
"""Marks that say something behind their colon."""
_FENCE: Final = re.compile(
    r"(?ms)^(?: *<!-- (?P<mark>[^\n]*?) -->\n)?"
    r"(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$"
)


class PageError(ValueError):
    """A page whose blocks cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A block of a page: where it is, what it is, what is done with it, and what it must print (None: whatever)."""

    where: str
    language: str
    text: str
    mark: str
    argument: str = ""
    prints: str | None = None


def _mark(where: str, language: str, text: str) -> tuple[str, str]:
    """Return a mark and what it says behind its colon; a PageError where it is none, or not for this language."""
    name, _, argument = text.partition(": ")
    mark, argument = (name, argument.strip()) if name in _ARGUED else (text, "")
    languages = sorted(_LANGUAGES.get(mark, ()))
    problem = ""
    if mark not in {*_LANGUAGES, SKIPPED}:
        problem = f"needs a mark above it ({', '.join([*_LANGUAGES, SKIPPED])}), has {text or 'none'!r}"
    elif mark in _ARGUED and not argument:
        problem = f"has a mark that says nothing behind its colon: {text!r}"
    elif languages and language not in languages:
        problem = f"has the mark {mark!r}, which is for {' or '.join(languages)}"
    if problem:
        message = f"{where}: the block of {language or 'no language'} {problem}"
        raise PageError(message)
    return mark, argument


def parse(text: str, name: str) -> tuple[Snippet, ...]:
    """Return the blocks of a page in their order; a PageError names the line of one that has no good mark."""
    found: list[Snippet] = []
    matches = list(_FENCE.finditer(text))
    if len(re.findall(r"(?m)^ *```", text)) != 2 * len(matches):
        message = f"{name}: a block does not end, or ends at another depth than it begins"
        raise PageError(message)
    for match in matches:
        where = f"{name}:{text.count(chr(10), 0, match.start('language')) + 1}"
        mark, argument = _mark(where, match["language"], match["mark"] or "")
        body = textwrap.dedent(match["text"])
        if mark != PRINTS:
            found.append(Snippet(where, match["language"], body, mark, argument))
        elif found and found[-1].mark in {MACHINE, POD, NOTEBOOK} and found[-1].prints is None:
            found[-1] = replace(found[-1], prints=body)
        else:
            message = f"{where}: {PRINTS!r} stands below no block that is executed"
            raise PageError(message)
    return tuple(found)


def read(page: Path) -> tuple[Snippet, ...]:
    """Return the blocks of a file."""
    return parse(page.read_text("utf-8"), str(page.relative_to(paths.ROOT)))


def store_page(store: str) -> tuple[Snippet, ...]:
    """Return the blocks of a store's page."""
    return read(DOCS / "how-to" / f"{store}.md")


def has(snippets: tuple[Snippet, ...], mark: str) -> bool:
    """Whether a page has blocks of a mark."""
    return any(snippet.mark == mark for snippet in snippets)


def agrees(want: str, got: str) -> bool:
    """Whether a text is what a page says it is: the same but for the space at its ends and what `…` stands for."""
    return re.fullmatch(".*?".join(map(re.escape, want.strip().split("…"))), got.strip(), re.DOTALL) is not None
