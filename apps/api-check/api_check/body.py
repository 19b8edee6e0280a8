"""A request's body as JSON, read with bounds: whatever comes, reading it takes bounded time, memory and stack."""

import json
import math
import re
import threading
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final, NoReturn

DEPTH: Final = 64
"""Objects and lists inside one another; a model server reads them by recursion, on a thread's small stack."""
VALUES: Final = 100_000
"""Commas and opening brackets: small values take a hundred times the memory of their text."""
LARGE: Final = 256 * 1024
"""Bytes from which on bodies are read one at a time, so that a crowd of them does not exceed the memory limit."""
_SHOWN: Final = 60
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS: Final = dict.fromkeys(b"[{", 1) | dict.fromkeys(b"]}", -1)
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{},"))
_one_at_a_time: Final = threading.Lock()


class InvalidError(Exception):
    """A request that is refused: what is wrong, in which field (empty: the body), and a word for programs."""

    def __init__(self, message: str, param: str = "", code: str = "invalid_value") -> None:
        """Keep what the client is told."""
        super().__init__(message)
        self.param, self.code = param, code


def read(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the value of a body; raise InvalidError for what is no JSON, or more of it than anybody needs."""
    if len(body) < LARGE:
        return _read(body)
    with _one_at_a_time:
        return _read(body)


def _read(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    _bounded(body)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: byte {error.start}"
        raise InvalidError(message, code="invalid_json") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
    except json.JSONDecodeError as error:
        message = f"the body is not JSON: {error.msg} at character {error.pos}"
        raise InvalidError(message, code="invalid_json") from None
    except (ValueError, RecursionError):
        # Python reads no whole number of more than some thousand digits.
        message = "the body holds a number that is too long"
        raise InvalidError(message, code="invalid_json") from None
    if "\\u" in text:
        _texts_are_characters(value)
    return value


def _bounded(body: bytes) -> None:
    """Raise if a body holds too many values, or values too deep inside one another: without recursion."""
    if body.count(b"{") + body.count(b"[") <= DEPTH and body.count(b",") <= VALUES:
        return
    structure = _STRING.sub(b"", body).translate(None, _OTHERS)
    if len(structure) - structure.count(b"]") - structure.count(b"}") > VALUES:
        message = f"the body holds more than {VALUES} values"
        raise InvalidError(message, code="too_many_values")
    depths: Iterable[int] = accumulate(map(_STEPS.__getitem__, structure.translate(None, b",")))
    if max(depths, default=0) > DEPTH:
        message = f"the body holds objects and lists more than {DEPTH} deep inside one another"
        raise InvalidError(message, code="too_deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        message = f"the key {twice[:_SHOWN]!r} is there twice: readers disagree on which one counts"
        raise InvalidError(message, twice[:_SHOWN], "duplicate_key")
    return found


def _constant(name: str) -> NoReturn:
    message = f"{name} is no JSON number"
    raise InvalidError(message, code="invalid_json")


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        message = f"the number {text[:_SHOWN]} is too large"
        raise InvalidError(message, code="invalid_json")
    return number


def _texts_are_characters(value: object) -> None:
    """Raise if a text holds half a character (a lone surrogate), or NUL, where C would end it."""
    for path, text in texts(value):
        if "\0" in text:
            message = f"{path or 'a key'} holds the character NUL"
            raise InvalidError(message, path, "invalid_character")
        try:
            text.encode()
        except UnicodeEncodeError:
            message = f"{path or 'a key'} holds half a character: a \\u escape of D800 to DFFF without its other half"
            raise InvalidError(message, path, "invalid_character") from None


def texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text inside a value with its path, keys with none; without recursion."""
    rest = [(path, value)]
    while rest:
        at, each = rest.pop()
        if isinstance(each, str):
            yield at, each
        elif isinstance(each, dict):
            for name, inner in each.items():
                yield "", name
                rest.append((f"{at}.{name}" if at else name, inner))
        elif isinstance(each, list):
            rest.extend((f"{at}[{index}]", inner) for index, inner in enumerate(each))
