"""The one list of exceptions (exemptions.yaml), read strictly: an entry without a reason is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml

from betelgeuse.errors import UsageError

PATH: Final = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, slots=True)
class NamespaceExemption:
    """A namespace with another Pod Security level than restricted."""

    namespace: str
    level: str
    reason: str


@dataclass(frozen=True, slots=True)
class PodExemption:
    """Pods that break named rules."""

    pods: str
    rules: tuple[str, ...]
    reason: str

    def matches(self, namespace: str, name: str) -> bool:
        """Whether it speaks of this pod."""
        return fnmatchcase(f"{namespace}/{name}", self.pods)


@dataclass(frozen=True, slots=True)
class PortExemption:
    """A port a node may answer on."""

    port: int
    reason: str


@dataclass(frozen=True, slots=True)
class PowerExemption:
    """A service account (namespace/name with * and ?) with rights by which it becomes more than it is."""

    account: str
    powers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class AbsentFeature:
    """A feature an environment may lack."""

    environment: str
    feature: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exemptions:
    """All exceptions."""

    namespaces: tuple[NamespaceExemption, ...] = ()
    pods: tuple[PodExemption, ...] = ()
    ports: tuple[PortExemption, ...] = ()
    powers: tuple[PowerExemption, ...] = ()
    absent_features: tuple[AbsentFeature, ...] = ()

    def level(self, namespace: str) -> str:
        """Return the Pod Security level a namespace must enforce."""
        return next((entry.level for entry in self.namespaces if entry.namespace == namespace), "restricted")

    def allows(self, namespace: str, pod: str, rule: str) -> bool:
        """Whether a pod may break a rule."""
        return any(rule in entry.rules and entry.matches(namespace, pod) for entry in self.pods)

    def powers_of(self, account: str) -> set[str]:
        """Return the powers that a service account may have."""
        return {power for entry in self.powers if fnmatchcase(account, entry.account) for power in entry.powers}

    def may_lack(self, env: str, feature: str) -> bool:
        """Whether an environment may lack a feature."""
        return any(
            fnmatchcase(env, entry.environment) and fnmatchcase(feature, entry.feature)
            for entry in self.absent_features
        )


_SECTIONS: Final[Mapping[str, type]] = {
    "namespaces": NamespaceExemption,
    "pods": PodExemption,
    "ports": PortExemption,
    "powers": PowerExemption,
    "absent_features": AbsentFeature,
}


def _entry(where: str, entry_type: type, data: Any) -> object:  # noqa: ANN401 - whatever YAML holds, judged here
    names = [field.name for field in fields(entry_type)]
    if not isinstance(data, dict) or sorted(data) != sorted(names):
        message = f"{where}: an entry has exactly the keys {', '.join(names)}, got {data!r}"
        raise UsageError(message)
    if not str(data["reason"] or "").strip():
        message = f"{where}: every exemption needs a reason"
        raise UsageError(message)
    return entry_type(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})


def parse(text: str, where: str = PATH.name) -> Exemptions:
    """Read the text of the file."""
    document = yaml.safe_load(text) or {}
    unknown = set(document) - set(_SECTIONS)
    if unknown:
        message = f"{where}: unknown section {', '.join(sorted(unknown))}; known: {', '.join(_SECTIONS)}"
        raise UsageError(message)
    sections: dict[str, Any] = {
        name: tuple(
            _entry(f"{where}: {name}[{at}]", entry_type, data) for at, data in enumerate(document.get(name) or [])
        )
        for name, entry_type in _SECTIONS.items()
    }
    return Exemptions(**sections)


def load() -> Exemptions:
    """Read the file."""
    return parse(PATH.read_text("utf-8"))
