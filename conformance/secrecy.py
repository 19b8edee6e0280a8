"""Secrets of the cluster pass through here: usable in a request, never printable."""

import base64
import re
import threading
from dataclasses import dataclass, field
from typing import Final

from betelgeuse.printable import printable

MASK: Final = "***"
NAMES: Final = frozenset({"bucket", "database", "host", "port", "user", "username"})
"""Keys of Secrets whose values are no secrets: they are in the tree, and in what people are told."""
_MINIMUM: Final = 6
"""Shorter values are no secrets worth the name; masking them would garble the report."""
_LONG: Final = 48
_BEGIN: Final = 24
"""A long secret is known by its first characters too."""
_SIGNS: Final = r"[\w.~+/=-]"
"""What tokens, cookies, passwords and base64 are made of."""
_WORD: Final = re.compile(rf"{_SIGNS}{{{_MINIMUM},}}")
_LARGE: Final = 100_000
"""Characters from which on looking for each secret in a text's different words is sooner done than in the text."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that never shows itself: its repr, its str and the report have the mask or the command that reads it."""

    _value: str = field(repr=False)
    shell: str
    """A shell expression that yields the value for whoever may read it: goes into the 'reproduce' commands."""

    def __str__(self) -> str:
        """Show the mask: an f-string cannot leak it."""
        return MASK

    def reveal(self) -> str:
        """Return the value, for the wire only."""
        return self._value


class Masker:
    """Knows every secret seen in this run and takes them out of any text."""

    def __init__(self) -> None:
        """Start with nothing to hide."""
        self._words: set[str] = set()
        self._others: set[str] = set()
        self._begins: set[str] = set()
        self._lock = threading.Lock()

    def learn(self, value: str) -> None:
        """Hide this value from now on, in plain and in base64 (the form a Secret object shows)."""
        if len(value) < _MINIMUM:
            return
        with self._lock:
            for form in (value, base64.b64encode(value.encode()).decode()):
                (self._words if _WORD.fullmatch(form) else self._others).add(form)
                if len(form) > _LONG:
                    self._begins.add(form[:_BEGIN])

    def known(self) -> frozenset[str]:
        """Return what is hidden, to be looked for."""
        with self._lock:
            return frozenset(self._words | self._others)

    def clean(self, text: str) -> str:
        """Return the text without any known secret, fit to be shown; the longest first, as one may contain another.

        Thousands are known after a while, and every check's result comes by: most texts hold none of them.
        """
        if not text:
            return text
        words = "\n".join(set(_WORD.findall(text))) if len(text) > _LARGE else text
        with self._lock:
            found = [value for value in self._words if value in words]
            found += [value for value in self._others if value in text]
            # What was cut short on its way here (pytest cuts what it shows) is still the beginning of a secret.
            begins = [begin for begin in self._begins if begin in text]
        for value in sorted(found, key=len, reverse=True):
            text = text.replace(value, MASK)
        for begin in begins:
            text = re.sub(rf"{re.escape(begin)}{_SIGNS}*", MASK, text)
        return printable(text, "\n\t")


MASKER: Final = Masker()
