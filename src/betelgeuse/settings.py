"""The one configuration file of an environment, read exactly as kustomize reads it and checked before anything runs."""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from ipaddress import IPv4Network, ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from betelgeuse import nodecount, paths, sizes
from betelgeuse.errors import UsageError

LOCAL: Final = "local"
"""The embedded cluster."""
KIND: Final = "kind"
MADE: Final = (LOCAL, KIND)
"""Environments whose cluster a deploy makes and `destroy` removes whole."""

MAX_NODES: Final = 9
"""Of the embedded cluster."""
NODE_SUBNET: Final = IPv4Network("172.30.0.0/24")


@dataclass(frozen=True)
class Settings:
    """One environment: every value checked, so no later step needs to doubt it."""

    env: str
    domain: str
    nodes: int = 1
    gateway_addresses: tuple[str, ...] = ()
    acme_server: str = ""
    acme_email: str = ""
    kube_context: str = ""
    node_subnet: IPv4Network = NODE_SUBNET
    admin_cidrs: tuple[IPv4Network, ...] = ()
    """From where servers may be administered: their SSH and the API; empty: from everywhere."""
    backup_target: str = ""
    """Where copies of the stores go: a folder, or restic's `s3:https://host/bucket/path`; empty: on this machine."""

    @property
    def node_addresses(self) -> tuple[str, ...]:
        """Addresses of the local nodes: the first is .11, the bridge has .1."""
        return tuple(str(self.node_subnet.network_address + 10 + number) for number in range(1, self.nodes + 1))

    @property
    def bridge_address(self) -> str:
        """The host's own address on the local node network."""
        return str(self.node_subnet.network_address + 1)


_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,200}}$){_LABEL}(\.{_LABEL})+")
_NAME: Final = re.compile(_LABEL)
_QUANTITY: Final = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CONTEXT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]*")
_TARGET: Final = re.compile(r"/[^\s]+|s3:https?://[^\s/]+/[^\s]+")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OVERLAY: Final = "overlays/{}/kustomization.yaml"


def _match(pattern: re.Pattern[str], want: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(want)
        return value

    return parse


def _nodes(value: str) -> int:
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_NODES):
        message = f"a whole number from 1 to {MAX_NODES}"
        raise ValueError(message)
    return int(value)


def _addresses(value: str) -> tuple[str, ...]:
    words = value.replace(",", " ").split()
    for word in words:
        try:
            ip_address(word)
        except ValueError:
            message = f"IP addresses separated by spaces or commas ({word!r} is none)"
            raise ValueError(message) from None
    return tuple(words)


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if value and (parts.scheme != "https" or not parts.hostname or any(c.isspace() for c in value)):
        message = "an https:// address"
        raise ValueError(message)
    return value


def _email(value: str) -> str:
    return _match(_EMAIL, "a mail address")(value) if value else value


def _subnet(value: str) -> IPv4Network:
    try:
        network = IPv4Network(value)
    except ValueError:
        network = IPv4Network("0.0.0.0/0")
    # Node k is .(10+k): a /24 holds every node we allow, and larger nets only risk overlapping someone else's.
    if network.prefixlen != 24 or not network.is_private:  # noqa: PLR2004 - /24 is explained in the line above
        message = "a private IPv4 network with /24, e.g. 172.30.0.0/24"
        raise ValueError(message)
    return network


def _networks(value: str) -> tuple[IPv4Network, ...]:
    found = []
    for word in value.replace(",", " ").split():
        try:
            found.append(IPv4Network(word))
        except ValueError:
            message = f"IPv4 networks separated by spaces or commas ({word!r} is none), e.g. 198.51.100.0/24"
            raise ValueError(message) from None
    return tuple(found)


KEYS: Final[Mapping[str, Callable[[str], object]]] = {
    "DOMAIN": _match(_DOMAIN, "a lower-case DNS name with a dot, e.g. betelgeuse.test"),
    "NODES": _nodes,
    "GATEWAY_ADDRESSES": _addresses,
    "ACME_SERVER": _url,
    "ACME_EMAIL": _email,
    "KUBE_CONTEXT": _match(_CONTEXT, "the name of a kubeconfig context"),
    "NODE_SUBNET": _subnet,
    "ADMIN_CIDRS": _networks,
    "BACKUP_TARGET": _match(_TARGET, "a folder (/path), or s3:https://host/bucket/path"),
}
"""Every key an environment file may hold besides sizes of apps, with the function that checks and converts it."""

_SIZE: Final = {"CPU": _match(_QUANTITY, "a CPU quantity, e.g. 2 or 500m")}
_OTHER_SIZE: Final = _match(_QUANTITY, "a quantity, e.g. 2Gi")


def suggest(word: str, known: Iterator[str] | list[str] | Mapping[str, object]) -> str:
    """Return `; did you mean 'x'?` when something known is near, else an empty string."""
    near = get_close_matches(word, list(known), n=1)
    if not near:
        # A wrong case or an abbreviation is farther away than difflib's default allows.
        near = [name for name in known if name.casefold() == word.casefold()]
    return f"; did you mean {near[0]!r}?" if near else ""


def environments() -> list[str]:
    """List the environments the tree has: folders of overlays/ with an environment.env."""
    return sorted(path.parent.name for path in paths.OVERLAYS.glob("*/environment.env"))


def known(env: str) -> None:
    """Raise UsageError, with a suggestion, unless the tree has the environment."""
    names = environments()
    if env not in names:
        have = ", ".join(names) or "none"
        message = f"unknown environment {env!r}{suggest(env, names)} (overlays/ has: {have})"
        raise UsageError(message)


def _pairs(where: str, content: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, key, value) as kustomize would; refuse every spelling the two readers could see differently."""
    for number, raw in enumerate(content.split("\n"), start=1):
        line = raw.removesuffix("\r").lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        at = f"{where}:{number}"
        if not equals:
            message = f"{at}: expected KEY=VALUE (the line is not shown)"
            raise UsageError(message)
        if not _KEY.fullmatch(key):
            message = f"{at}: {key[:60]!r} is not a key; write KEY=VALUE without spaces around '='"
            raise UsageError(message)
        if value != value.strip() or value[:1] in {'"', "'"} or " #" in value:
            message = f"{at}: {key} must be a bare value: no quotes, no surrounding spaces, no comment behind it"
            raise UsageError(message)
        if not value.isprintable():
            message = f"{at}: {key} holds a control character"
            raise UsageError(message)
        yield number, key, value


def _sized(env: str, where: str, lines: Mapping[str, int], apps: Mapping[str, str], listed: Collection[str]) -> None:
    """Refuse a size that nothing reads, and the lack of one that something reads."""
    for key, folder in apps.items():
        if key in lines and folder not in listed:
            message = f"{where}:{lines[key]}: {key} has no effect until {_OVERLAY.format(env)} lists {folder}"
            raise UsageError(message)
        if key not in lines and folder in listed:
            message = f"{where}: {key} is missing; {folder}, a component of {_OVERLAY.format(env)}, reads it"
            raise UsageError(message)


def parse(
    env: str, where: str, content: str, apps: Mapping[str, str] = MappingProxyType({}), listed: Collection[str] = ()
) -> Settings:
    """Turn the text of an environment file into Settings; `where` names it in messages.

    `apps` are the keys of sizes with the component that reads each, `listed` the components that the overlay lists.
    """
    values: dict[str, object] = {}
    lines: dict[str, int] = {}
    for number, key, text in _pairs(where, content):
        if key not in KEYS and key not in apps:
            message = f"{where}:{number}: unknown key {key}{suggest(key, [*KEYS, *apps])}"
            raise UsageError(message)
        if key in lines:
            message = f"{where}:{number}: {key} was already set in line {lines[key]}"
            raise UsageError(message)
        lines[key] = number
        try:
            if key in KEYS:
                values[key.lower()] = KEYS[key](text)
            else:
                _SIZE.get(key.rpartition("_")[2], _OTHER_SIZE)(text)
        except ValueError as error:
            message = f"{where}:{number}: {key} must be {error}, got {text[:60]!r}"
            raise UsageError(message) from None
    if "domain" not in values:
        message = f"{where}: DOMAIN is missing; every host name is made from it"
        raise UsageError(message)
    _sized(env, where, lines, apps, listed)
    values.setdefault("kube_context", f"betelgeuse-{env}")
    return Settings(env=env, **values)  # type: ignore[arg-type] # KEYS holds one converter per field; a test compares them


def _with_nodes(settings: Settings, source: str, nodes: str) -> Settings:
    try:
        count = _nodes(nodes)
    except ValueError as error:
        message = f"{source} must be {error}, got {nodes[:60]!r}"
        raise UsageError(message) from None
    return Settings(**{**vars(settings), "nodes": count})


def _read(env: str) -> Settings:
    """Read an environment's file."""
    known(env)
    path = paths.environment_file(env)
    try:
        content = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{paths.shown(path)}: not UTF-8 text (byte {error.start})"
        raise UsageError(message) from None
    except OSError as error:
        message = f"{paths.shown(path)}: cannot be read: {error.strerror}"
        raise UsageError(message) from None
    return parse(env, paths.shown(path), content, sizes.keys(), sizes.listed(env))


def load(env: str, *, nodes: int | str | None = None) -> Settings:
    """Read an environment; `nodes` (from --nodes) or the variable NODES overrides the file's NODES.

    On a cluster that a deploy makes such a number holds until another is given, or NODES in the file is changed.
    """
    settings = _read(env)
    if nodes is not None:
        settings = _with_nodes(settings, "--nodes", str(nodes))
    elif os.environ.get("NODES"):
        settings = _with_nodes(settings, "NODES", os.environ["NODES"])
    elif env in MADE:
        settings = replace(settings, nodes=nodecount.recall(env, settings.nodes))
    if settings.gateway_addresses:
        return settings
    # Every node runs a proxy. We chose the addresses of the embedded cluster's; others were found.
    return replace(settings, gateway_addresses=settings.node_addresses if env == LOCAL else nodecount.addresses(env))


def remember(settings: Settings) -> None:
    """Keep the number of nodes for the commands to come, which name none."""
    nodecount.remember(settings.env, _read(settings.env).nodes, settings.nodes)
