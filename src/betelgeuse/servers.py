"""The servers that an environment's cluster is made of: `overlays/<env>/servers.yaml`, checked before anything runs.

An environment without the file has a cluster that somebody else made.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType
from typing import Final

from betelgeuse import paths, yamls
from betelgeuse.errors import UsageError
from betelgeuse.settings import suggest

FILE: Final = "servers.yaml"
SSH_PORT: Final = 22
_MAX_PORT: Final = 65535
_LONGEST_NAME: Final = 63
_SHOWN: Final = 60

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_LABEL_KEY: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


class Role(StrEnum):
    """What a server does: run the control plane, the platform's pods, or both."""

    CONTROL_PLANE = "control-plane"
    WORKER = "worker"
    BOTH = "both"


@dataclass(frozen=True)
class Server:
    """One server: how it is reached, how it proves who it is, and what it does in the cluster."""

    name: str
    """Its name in Kubernetes, and in every message."""
    address: str
    """IPv4; nodes and clients reach it there, and so do we."""
    host_key: str
    """Fingerprint of one of its SSH host keys, as `ssh-keygen -lf` prints it."""
    user: str = "root"
    port: int = SSH_PORT
    role: Role = Role.BOTH
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def controls(self) -> bool:
        """Whether it runs the control plane."""
        return self.role is not Role.WORKER

    @property
    def works(self) -> bool:
        """Whether it runs the platform's pods, the gateway's proxy among them."""
        return self.role is not Role.CONTROL_PLANE


def _text(pattern: re.Pattern[str], want: str) -> Callable[[object], object]:
    def parse(value: object) -> object:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(want)
        return value

    return parse


def _address(value: object) -> object:
    try:
        return str(IPv4Address(str(value)))
    except ValueError:
        message = "an IPv4 address"
        raise ValueError(message) from None


def _port(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MAX_PORT:
        message = f"a whole number from 1 to {_MAX_PORT}"
        raise ValueError(message)
    return value


def _role(value: object) -> object:
    known = [str(role) for role in Role]
    if value not in known:
        message = f"one of {', '.join(known)}{suggest(str(value), known)}"
        raise ValueError(message)
    return Role(str(value))


def _labels(value: object) -> object:
    message = "a mapping of label names to texts, e.g. {topology.kubernetes.io/zone: fsn1}"
    if not isinstance(value, dict):
        raise ValueError(message)  # noqa: TRY004 - a wrong value of a file, not of a caller
    for name, text in value.items():
        if not (isinstance(name, str) and _LABEL_KEY.fullmatch(name)):
            raise ValueError(message)
        if not (isinstance(text, str) and _LABEL_VALUE.fullmatch(text)):
            raise ValueError(message)
    return MappingProxyType(value)


_KEYS: Final[Mapping[str, Callable[[object], object]]] = {
    "name": _text(_NAME, f"lower-case letters, digits and hyphens, {_LONGEST_NAME} at most"),
    "address": _address,
    "hostKey": _text(_FINGERPRINT, "the fingerprint of an SSH host key, SHA256: and 43 characters"),
    "user": _text(_USER, "the name of a user"),
    "port": _port,
    "role": _role,
    "labels": _labels,
}
_FIELDS: Final = {"hostKey": "host_key"}
_NEEDED: Final = ("name", "address", "hostKey")


def _one(where: str, number: int, entry: object) -> Server:
    """Return one entry of the list as a server."""
    at = f"{where}: server {number}"
    if not isinstance(entry, dict):
        message = f"{at}: expected name, address and hostKey"
        raise UsageError(message)
    values: dict[str, object] = {}
    for key, value in entry.items():
        if key not in _KEYS:
            message = f"{at}: unknown key {str(key)[:_SHOWN]!r}{suggest(str(key), _KEYS)}"
            raise UsageError(message)
        try:
            values[_FIELDS.get(str(key), str(key))] = _KEYS[key](value)
        except ValueError as error:
            message = f"{at}: {key} must be {error}, got {str(value)[:_SHOWN]!r}"
            raise UsageError(message) from None
    if lacking := [key for key in _NEEDED if key not in entry]:
        message = f"{at}: {', '.join(lacking)} is missing"
        raise UsageError(message)
    return Server(**values)  # type: ignore[arg-type] # _KEYS holds one converter per field; a test compares them


def parse(where: str, content: str) -> tuple[Server, ...]:
    """Turn the text of a file into servers; `where` names it in messages. Raises UsageError with what is wrong."""
    documents = yamls.parse(content, where)
    document = documents[0] if len(documents) == 1 else None
    if not isinstance(document, dict) or not isinstance(document.get("servers"), list):
        message = f"{where}: expected one document with a list `servers`"
        raise UsageError(message)
    if unknown := [str(key) for key in document if key != "servers"]:
        message = f"{where}: unknown key {unknown[0][:_SHOWN]!r}{suggest(unknown[0], ['servers'])}"
        raise UsageError(message)
    found = tuple(_one(where, number, entry) for number, entry in enumerate(document["servers"], 1))
    for what in ("name", "address"):
        values = [getattr(server, what) for server in found]
        if double := [value for value in values if values.count(value) > 1]:
            message = f"{where}: two servers have the {what} {double[0]}"
            raise UsageError(message)
    for what, some in (("runs the control plane", "controls"), ("runs the platform's pods", "works")):
        if not any(getattr(server, some) for server in found):
            message = f"{where}: no server {what}: give one the role {Role.BOTH}"
            raise UsageError(message)
    return found


def file_of(env: str) -> Path:
    """Return the file of an environment, there or not."""
    return paths.OVERLAYS / env / FILE


def load(env: str) -> tuple[Server, ...]:
    """Return the servers of an environment; none where its cluster is not ours to form."""
    file = file_of(env)
    try:
        content = file.read_text("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{paths.shown(file)}: cannot be read: {getattr(error, 'strerror', '') or 'not UTF-8 text'}"
        raise UsageError(message) from None
    return parse(paths.shown(file), content)


def named(env: str, known: Sequence[Server], name: str) -> Server:
    """Return the server of that name; UsageError where the environment has none."""
    found = {server.name: server for server in known}
    if name not in found:
        message = f"overlays/{env}/{FILE} has no server {name!r}{suggest(name, list(found))}"
        raise UsageError(message)
    return found[name]
