"""Requests compared with the protocol: what does not fit is told by its field."""

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError

from .body import InvalidError, read
from .parts import REPETITIONS
from .protocol import Api, schemas

NESTING: Final = 64
"""Brackets inside one another in a grammar or a regular expression: both are read by recursion."""
PATTERN: Final = 4096
"""Characters of a regular expression."""
_SHOWN: Final = 100
_COUNTS: Final = ("minItems", "maxItems", "minLength", "maxLength")
_EXCLUSIVE: Final = (("grammar", "json_schema"), ("grammar", "tools"))
_LITERAL: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\[(?:[^\]\\\n]|\\.)*\]')
_BRACKETS: Final = {"(": 1, ")": -1}
_REPEATED: Final = re.compile(r"\{\s*(\d*)\s*(?:,\s*(\d*)\s*)?\}")


class Checker:
    """What one API's requests may hold; safe for threads."""

    def __init__(self, api: Api) -> None:
        """Compile the schemas."""
        self._validators = {path: Draft202012Validator(schema) for path, schema in schemas(api).items()}

    def knows(self, path: str) -> bool:
        """Whether the model is asked at a path."""
        return path in self._validators

    def check(self, path: str, body: bytes) -> None:
        """Raise InvalidError unless a body is one that the path takes; a path without a schema takes any."""
        validator = self._validators.get(path)
        if validator is None:
            return
        value = read(body)
        error = next(iter(validator.iter_errors(value)), None)
        if error is not None:
            raise _told(error)
        for one, other in _EXCLUSIVE:
            if value.get(one) and value.get(other):
                message = f"{one} and {other} exclude each other"
                raise InvalidError(message, one)
        _grammars(value)


def _told(error: ValidationError) -> InvalidError:
    """Return the refusal for the first thing that does not fit."""
    param = ""
    for step in error.absolute_path:
        param += f"[{step}]" if isinstance(step, int) else f".{step}" if param else str(step)
    if error.validator == "required":
        needed: Any = error.validator_value
        present: Any = error.instance
        missing = next(str(name) for name in needed if name not in present)
        param = f"{param}.{missing}" if param else missing
        return InvalidError(f"{param[:_SHOWN]} is missing", param[:_SHOWN], "missing_required_parameter")
    schema: Any = error.schema
    words = schema.get("description", "of another form") if isinstance(schema, Mapping) else "of another form"
    code = "invalid_type" if error.validator == "type" else "invalid_value"
    return InvalidError(f"{param[:_SHOWN] or 'the body'} must be {words}", param[:_SHOWN], code)


def _nesting(text: str) -> int:
    """Return how many round brackets are open at most; those inside literals and classes do not count."""
    if text.count("(") <= NESTING:
        return 0
    brackets = (_BRACKETS[letter] for letter in _LITERAL.sub("", text) if letter in _BRACKETS)
    return max(accumulate(brackets), default=0)


def _grammars(value: Mapping[str, Any]) -> None:
    """Raise for a grammar, or a JSON schema that becomes one, which the model server cannot take."""
    if isinstance(grammar := value.get("grammar"), str):
        _expression("grammar", grammar)
    for name in ("json_schema", "response_format", "tools", "text"):
        for path, key, inner in _members(value.get(name), name):
            if key == "pattern" and isinstance(inner, str):
                if len(inner) > PATTERN:
                    message = f"{path} must be text of at most {PATTERN} characters"
                    raise InvalidError(message, path)
                _expression(path, inner)
            elif key in _COUNTS and isinstance(inner, (int, float)) and not 0 <= inner <= REPETITIONS:
                message = f"{path} must be a whole number from 0 to {REPETITIONS}"
                raise InvalidError(message, path)


def _expression(path: str, text: str) -> None:
    if _nesting(text) > NESTING:
        message = f"{path} must not hold more than {NESTING} brackets inside one another"
        raise InvalidError(message, path, "too_deep")
    for found in _REPEATED.finditer(_LITERAL.sub("", text)):
        if any(
            len(digits) > len(str(REPETITIONS)) or int(digits) > REPETITIONS for digits in found.groups("0") if digits
        ):
            message = f"{path} must not repeat anything more than {REPETITIONS} times"
            raise InvalidError(message, path)


def _members(value: object, path: str) -> Iterator[tuple[str, str, object]]:
    """Yield (path, key, value) of every member of every object inside a value; without recursion."""
    rest: list[tuple[str, object]] = [(path, value)]
    while rest:
        at, each = rest.pop()
        if isinstance(each, dict):
            for key, inner in each.items():
                below = f"{at}.{key}"[:_SHOWN]
                yield below, key, inner
                rest.append((below, inner))
        elif isinstance(each, list):
            rest.extend((f"{at}[{index}]", inner) for index, inner in enumerate(each))
