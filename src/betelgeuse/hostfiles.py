"""What applications declare in `host.yaml` and `tcphost.yaml`, checked before kustomize reads it.

Kustomize copies fields from these files into what `components/` makes of them. It fails where a field is missing,
without the file's name, and is silent about a field it does not know: here both are one line that names the file.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from betelgeuse import paths, yamls
from betelgeuse.errors import UsageError
from betelgeuse.identity.realm import GROUPS
from betelgeuse.settings import suggest

API_VERSION: Final = "betelgeuse.io/v1alpha1"
LOCAL_CONFIG: Final = "config.kubernetes.io/local-config"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")
_DURATION: Final = re.compile(r"\d{1,5}(ms|s|m|h)")
_SIZE: Final = re.compile(r"[1-9]\d*(Ki|Mi|Gi)")
_PATH: Final = re.compile(r"/[A-Za-z0-9._~/-]*")
_INSIDE: Final = re.compile(r"(?:\*\.)?[a-z0-9][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)+")
_MAX_PORT: Final = 65535

Check = Callable[[Any], bool]
Rule = tuple[Check, str]
"""A test of a value, and what it must be, in words."""


def _matching(pattern: re.Pattern[str], words: str) -> Rule:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None, words


def _number(value: object, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest


def _groups(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(name in GROUPS for name in value)


def _names(value: object) -> bool:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        return False
    public, *inside = value
    label, _, domain = public.partition(".")
    return bool(_NAME.fullmatch(label)) and domain == "DOMAIN" and all(map(_INSIDE.fullmatch, inside))


_LABEL: Final = _matching(_NAME, "a DNS label: lower-case letters, digits and dashes, at most 50")
_TEXT: Final[Rule] = (lambda value: isinstance(value, str) and bool(value.strip()), "text")
_GROUPS: Final[Rule] = (_groups, f"a list of groups of the realm ({', '.join(GROUPS)})")
_TIMEOUT: Final = _matching(_DURATION, "a duration such as 60s (0s: no limit)")
_COUNT: Final[Rule] = (lambda value: _number(value, 1_000_000), "a whole number above 0")

_COMMON: Final[Mapping[str, Rule]] = {"description": _TEXT, "service": _LABEL}
GATES: Final[Mapping[str, Mapping[str, Rule]]] = {
    "login": {"groups": _GROUPS, "timeout": _TIMEOUT},
    "token": {
        "timeout": _TIMEOUT,
        "bodyLimit": _matching(_SIZE, "a size such as 4Mi"),
        "requestsPerSecond": _COUNT,
        "parallelRequests": _COUNT,
    },
    "login-and-token": {
        "groups": _GROUPS,
        "timeout": _TIMEOUT,
        "audience": _LABEL,
        "requestsPerSecond": _COUNT,
        "parallelRequests": _COUNT,
    },
    "native": {"callback": _matching(_PATH, "a path such as /login/callback"), "reason": _TEXT, "timeout": _TIMEOUT},
    "password": {"timeout": _TIMEOUT},
    "open": {"reason": _TEXT},
}
"""What a host says besides the common fields, by its gate: each is a folder `components/gate-<gate>`."""
_TCP: Final[Mapping[str, Rule]] = {
    "service": _LABEL,
    "names": (_names, "a list of DNS names, the first of them <label>.DOMAIN, the others of Services inside"),
    "port": (lambda value: _number(value, _MAX_PORT), f"a TCP port, 1 to {_MAX_PORT}"),
    "connect": _TEXT,
}
_TCP_COMPONENTS: Final = ("tcp-by-port", "tcp-by-sni")
_FILES: Final = {"host.yaml": "Host", "tcphost.yaml": "TcpHost"}


def _only(where: str, value: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    for key in value:
        if key not in names:
            message = f"{where}: unknown field {key!r}{suggest(str(key), names)} (known: {', '.join(names)})"
            raise UsageError(message)


def _fields(where: str, spec: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    _only(f"{where}: spec", spec, rules)
    for name, (good, words) in rules.items():
        if name not in spec:
            message = f"{where}: spec.{name} is missing; it must be {words}"
            raise UsageError(message)
        if not good(spec[name]):
            message = f"{where}: spec.{name} must be {words}, got {str(spec[name])[:60]!r}"
            raise UsageError(message)


def _document(file: Path, where: str) -> dict[str, Any]:
    """Return a declaration whose frame is right: kind, name, and the mark that keeps it out of the cluster."""
    try:
        found = yamls.parse(file.read_text("utf-8"), where)
    except (OSError, UnicodeDecodeError) as error:
        message = f"{where}: cannot be read: {error}"
        raise UsageError(message) from None
    kind = _FILES[file.name]
    value = found[0] if len(found) == 1 and isinstance(found[0], dict) else {}
    if (value.get("apiVersion"), value.get("kind")) != (API_VERSION, kind):
        message = f"{where}: must hold one {kind} of {API_VERSION}"
        raise UsageError(message)
    _only(where, value, ("apiVersion", "kind", "metadata", "spec"))
    meta, spec = value.get("metadata"), value.get("spec")
    if not isinstance(meta, dict) or not isinstance(spec, dict):
        message = f"{where}: must have the maps metadata and spec"
        raise UsageError(message)
    _only(f"{where}: metadata", meta, ("name", "annotations"))
    good, words = _LABEL
    if not good(meta.get("name")):
        message = f"{where}: metadata.name must be {words}, got {str(meta.get('name'))[:60]!r}"
        raise UsageError(message)
    if (meta.get("annotations") or {}).get(LOCAL_CONFIG) != "true":
        message = f'{where}: metadata.annotations needs {LOCAL_CONFIG}: "true", or kustomize would apply it'
        raise UsageError(message)
    return value


def _components(folder: Path) -> list[str]:
    """Return the names of the components that the folder's kustomization lists."""
    file = folder / "kustomization.yaml"
    where = paths.shown(file)
    if not file.is_file():
        message = f"{where} is missing: it lists the declaration and the component of its gate"
        raise UsageError(message)
    documents = yamls.parse(file.read_text("utf-8"), where)
    listed = (documents[0] if documents and isinstance(documents[0], dict) else {}).get("components") or []
    return [Path(str(entry)).name for entry in listed]


def _expects(folder: Path, where: str, wanted: tuple[str, ...], own: Callable[[str], bool]) -> None:
    """Raise unless exactly one of the wanted components, and no other of that family, is listed beside it."""
    listed = [name for name in _components(folder) if own(name)]
    if len(listed) != 1 or listed[0] not in wanted:
        kustomization = paths.shown(folder / "kustomization.yaml")
        choice = " or ".join(f"../../../components/{name}" for name in wanted)
        message = (
            f"{kustomization}: `components` must list {choice}, as {Path(where).name} asks; got {listed or 'none'}"
        )
        raise UsageError(message)


def _host(file: Path) -> None:
    where = paths.shown(file)
    spec = _document(file, where)["spec"]
    gate = spec.get("gate")
    if gate not in GATES:
        hint = suggest(str(gate), list(GATES))
        message = f"{where}: spec.gate must be one of {', '.join(GATES)}, got {str(gate)[:60]!r}{hint}"
        raise UsageError(message)
    named: Rule = (lambda value: value == gate, "the gate")
    _fields(where, spec, {**_COMMON, "gate": named, **GATES[gate]})
    _expects(file.parent, where, (f"gate-{gate}",), lambda name: name.startswith("gate-"))


def _tcp_host(file: Path) -> None:
    where = paths.shown(file)
    _fields(where, _document(file, where)["spec"], _TCP)
    _expects(file.parent, where, _TCP_COMPONENTS, lambda name: name.startswith("tcp-"))


def _undeclared(base: Path) -> Iterator[str]:
    """Yield the folders that list a gate and declare no host."""
    for file in sorted(base.rglob("kustomization.yaml")):
        for name in _components(file.parent):
            family = "host.yaml" if name.startswith("gate-") else "tcphost.yaml" if name in _TCP_COMPONENTS else ""
            if family and not (file.parent / family).is_file():
                yield f"{paths.shown(file)}: lists {name}, which reads {family}: it is missing"


def connecting(name: str, base: Path = paths.ROOT / "base") -> str:
    """Return the lines that a TcpHost gives people to connect with; empty where it gives none."""
    specs = (_document(file, paths.shown(file)) for file in sorted(base.rglob("tcphost.yaml")))
    return next((str(found["spec"].get("connect", "")) for found in specs if found["metadata"]["name"] == name), "")


def check(base: Path = paths.ROOT / "base") -> None:
    """Check every declaration below `base`; raise UsageError with file, field and what it must be."""
    for file in sorted(base.rglob("host.yaml")):
        _host(file)
    for file in sorted(base.rglob("tcphost.yaml")):
        _tcp_host(file)
    for problem in _undeclared(base):
        raise UsageError(problem)
