"""Text of others, made fit to be shown: it can neither drive a terminal nor turn a line around, and always encodes."""

import re
from typing import Final

_ORDINARY: Final = re.compile(r"[^ -~]")


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with what is not printable as an escape: `\x1b`, `\u202e`, half a surrogate pair.

    What is in `keep` stays, e.g. the ends of lines. Escapes are those of YAML's double quotes.
    """

    def shown(found: re.Match[str]) -> str:
        sign = found[0]
        return sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode()

    return _ORDINARY.sub(shown, text)
