"""Secrets of the cluster pass through here: usable in a request, never printable."""

import base64
import re
import threading
from dataclasses import dataclass, field
from typing import Final

from betelgeuse.printable import printable

MASK: Final = "***"
_MINIMUM: Final = 6
"""Shorter values are no secrets worth the name; masking them would garble the report."""
_LONG: Final = 48
_BEGIN: Final = 24
"""A long secret is known by its first characters too."""


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
        self._values: set[str] = set()
        self._lock = threading.Lock()

    def learn(self, value: str) -> None:
        """Hide this value from now on, in plain and in base64 (the form a Secret object shows)."""
        if len(value) >= _MINIMUM:
            with self._lock:
                self._values |= {value, base64.b64encode(value.encode()).decode()}

    def known(self) -> frozenset[str]:
        """Return what is hidden, to be looked for."""
        with self._lock:
            return frozenset(self._values)

    def clean(self, text: str) -> str:
        """Return the text without any known secret, fit to be shown; the longest first, as one may contain another."""
        with self._lock:
            values = sorted(self._values, key=len, reverse=True)
        for value in values:
            text = text.replace(value, MASK)
        # What was cut short somewhere on its way here (pytest cuts what it shows) is still the beginning of a secret.
        begins = {re.escape(value[:_BEGIN]) for value in values if len(value) > _LONG}
        text = re.sub(rf"(?:{'|'.join(sorted(begins))})[\w.~+/=-]*", MASK, text) if begins else text
        return printable(text, "\n\t")


MASKER: Final = Masker()
