"""What of a declared representation is not so in the live one, and how to say it. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from betelgeuse.identity.realm import Rep

_SECRET: Final = frozenset({"secret"})
_SHOWN: Final = 100
_ELSEWHERE: Final = frozenset({"protocolMappers", "defaultClientScopes", "optionalClientScopes"})
"""Fields that have addresses of their own in the Admin API: a PUT of the whole does not change them."""


def _same(want: object, live: object) -> bool:
    """Compare declared fields only; the order of a list never matters here (addresses, scopes)."""
    if isinstance(want, Mapping):
        return isinstance(live, Mapping) and all(_same(value, live.get(key)) for key, value in want.items())
    if isinstance(want, list | tuple):
        return sorted(map(str, want)) == sorted(map(str, live if isinstance(live, list) else []))
    # Keycloak leaves out an attribute that is empty.
    return want == live or (want == "" and live is None)


def fields(want: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Return the declared fields that differ."""
    return [key for key, value in want.items() if key not in _ELSEWHERE and not _same(value, live.get(key))]


def _text(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=list, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _leaves(name: str, want: object, live: object) -> Iterable[str]:
    if isinstance(want, Mapping):
        known = live if isinstance(live, Mapping) else {}
        for key, value in want.items():
            if not _same(value, known.get(key)):
                yield from _leaves(f"{name}.{key}", value, known.get(key))
    else:
        yield f"{name} {_text(live)} -> {_text(want)}"


def told(want: Mapping[str, Any], live: Mapping[str, Any]) -> str:
    """Return the differences for people, never a secret's value; empty when there are none."""
    words: list[str] = []
    for name in fields(want, live):
        words += [f"{name} differs"] if name in _SECRET else _leaves(name, want[name], live.get(name))
    return ", ".join(words)


def merged(live: Mapping[str, Any], want: Mapping[str, Any]) -> Rep:
    """Return the live representation with everything declared in it: a PUT without the rest would reset the rest."""
    found: Rep = dict(live)
    for key, value in want.items():
        if key in _ELSEWHERE:
            continue
        inner = found.get(key)
        found[key] = {**inner, **value} if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return found
