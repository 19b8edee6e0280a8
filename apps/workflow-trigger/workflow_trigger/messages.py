"""What a message asks for. Pure: a message in, a Workflow out, or what is wrong with it."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

Obj = dict[str, Any]

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_LONGEST: Final = 63
"""A workflow's name is a label of its pods."""


class MessageError(Exception):
    """The message asks for nothing that can be done; the text says why, and holds nothing of the message but names."""


@dataclass(frozen=True)
class Place:
    """Where a message is, and when it was written (milliseconds)."""

    topic: str
    partition: int
    offset: int
    timestamp: int

    def __str__(self) -> str:
        """Show it: `workflows.start/0/12`."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Wanted:
    """A template to start, with its parameters."""

    template: str
    parameters: dict[str, str] = field(default_factory=dict)


def wanted(value: bytes | None) -> Wanted:
    """Return what a message asks for."""
    try:
        said = json.loads(value or b"")
    except ValueError:
        message = "is not JSON"
        raise MessageError(message) from None
    if not isinstance(said, dict) or not {"template"} <= set(said) <= {"template", "parameters"}:
        message = "is no map of `template` and `parameters` alone"
        raise MessageError(message)
    template, parameters = said["template"], said.get("parameters", {})
    if not isinstance(template, str) or not _NAME.fullmatch(template):
        message = "names no template"
        raise MessageError(message)
    if not isinstance(parameters, dict) or not all(_PARAMETER.fullmatch(name) for name in parameters):
        message = f"asks for {template} with parameters that are no map of names"
        raise MessageError(message)
    if not all(isinstance(each, str | int | float) for each in parameters.values()):
        message = f"asks for {template} with parameters that are neither texts nor numbers"
        raise MessageError(message)
    # As JSON writes them: `true`, not Python's word for it.
    texts = {name: each if isinstance(each, str) else json.dumps(each) for name, each in parameters.items()}
    return Wanted(template, texts)


def _short(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits or "0"


def name_of(template: str, place: Place) -> str:
    """Return the name of the workflow for a message: the same whenever the message is read."""
    end = f"-{place.partition}-{place.offset}-{_short(max(place.timestamp, 0))}"
    return template[: _LONGEST - len(end)].rstrip("-") + end


def workflow(asked: Wanted, place: Place) -> Obj:
    """Return the workflow that a message asks for."""
    parameters = [{"name": name, "value": value} for name, value in sorted(asked.parameters.items())]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": name_of(asked.template, place),
            "labels": {"betelgeuse.io/started-by": "message"},
            "annotations": {"betelgeuse.io/message": str(place)},
        },
        "spec": {
            "workflowTemplateRef": {"name": asked.template},
            **({"arguments": {"parameters": parameters}} if parameters else {}),
        },
    }
