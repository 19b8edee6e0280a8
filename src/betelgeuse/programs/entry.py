"""Read YAML strictly: every value has a place to name in an error, every key is known or refused."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import yaml

from betelgeuse.errors import UsageError
from betelgeuse.settings import suggest

Member = TypeVar("Member", bound=Enum)


@dataclass(frozen=True)
class Entry:
    """A value of a file, where it stands, and what its placeholders mean."""

    file: str
    at: str
    value: object
    placeholders: Mapping[str, str] = field(default_factory=dict)

    def wrong(self, what: str) -> UsageError:
        """Return the error that something is wrong here."""
        return UsageError(f"{self.file}: {self.at}: {what}" if self.at else f"{self.file}: {what}")

    def _inner(self, key: str, value: object) -> "Entry":
        return Entry(self.file, f"{self.at}.{key}" if self.at else key, value, self.placeholders)

    def named(self) -> "dict[str, Entry]":
        """Return the entries of a mapping whose keys are names."""
        if not isinstance(self.value, dict):
            message = f"must be a mapping, not {_said(self.value)}"
            raise self.wrong(message)
        return {str(key): self._inner(str(key), value) for key, value in self.value.items()}

    def known(self, keys: Iterable[str]) -> "dict[str, Entry]":
        """Return the entries of a mapping whose keys must be among the known ones."""
        entries, names = self.named(), sorted(keys)
        for key in entries:
            if key not in names:
                message = f"unknown key {key!r}{suggest(key, names)} (known: {', '.join(names)})"
                raise self.wrong(message)
        return entries

    def text(self) -> str:
        """Return a text with its placeholders filled in."""
        if not isinstance(self.value, str) or not self.value:
            message = f"must be text, not {_said(self.value)}"
            raise self.wrong(message)

        def filled(found: re.Match[str]) -> str:
            if found[1] not in self.placeholders:
                names = ", ".join(f"{{{name}}}" for name in self.placeholders)
                message = f"unknown placeholder {found[0]}; known: {names}"
                raise self.wrong(message)
            return self.placeholders[found[1]]

        return re.sub(r"\{(\w+)\}", filled, self.value)

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts."""
        if not isinstance(self.value, list) or not self.value:
            message = f"must be a list, not {_said(self.value)}"
            raise self.wrong(message)
        return tuple(self._inner(str(number), value).text() for number, value in enumerate(self.value))

    def table(self) -> dict[str, str]:
        """Return a mapping of names to texts."""
        return {key: entry.text() for key, entry in self.named().items()}

    def flag(self) -> bool:
        """Return true or false."""
        if self.value not in {"true", "false"}:
            message = f"must be true or false, not {_said(self.value)}"
            raise self.wrong(message)
        return self.value == "true"

    def choice(self, kind: type[Member]) -> Member:
        """Return the member of an enumeration with this value."""
        text, known = self.text(), [str(member.value) for member in kind]
        if text not in known:
            message = f"{text!r} is none of {', '.join(known)}{suggest(text, known)}"
            raise self.wrong(message)
        return kind(text)


def _said(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return repr(value) if value else "nothing"


def parse(text: str, file: str) -> Entry:
    """Return a YAML document; every scalar is text, so that version 18.10 stays what it is."""
    try:
        # The loader of the base types only: it makes no objects.
        value = yaml.load(text, Loader=yaml.CBaseLoader)  # noqa: S506 - see above
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        message = f"{file}{line}: not valid YAML: {error.problem or error.context}"
        raise UsageError(message) from None
    return Entry(file, "", value)
