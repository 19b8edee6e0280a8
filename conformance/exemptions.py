"""The one list of exceptions (exemptions.yaml), read strictly: an entry without a reason is refused."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
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
    opened_by: str = ""
    """The workload (Kind/namespace/name) that opens it: without one the port may be shut. Empty: always there."""


@dataclass(frozen=True, slots=True)
class NodePortExemption:
    """Pods (namespace/name with * and ?) that may reach ports of a node which are shut to all others."""

    pods: str
    ports: tuple[int, ...]
    reason: str

    def allows(self, pod: str, port: int) -> bool:
        """Whether it lets a pod (namespace/name) reach a port."""
        return port in self.ports and fnmatchcase(pod, self.pods)


@dataclass(frozen=True, slots=True)
class PowerExemption:
    """A service account (namespace/name with * and ?) with rights by which it becomes more than it is."""

    account: str
    powers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class UnloggedExemption:
    """Containers (namespace/pod/container with * and ?) of which the log store has no line."""

    containers: str
    reason: str

    def matches(self, name: str) -> bool:
        """Whether it speaks of this container."""
        return fnmatchcase(name, self.containers)


@dataclass(frozen=True, slots=True)
class MetricExemption:
    """Metrics (a name with * and ?) that a rule names and that need not exist."""

    metric: str
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
    node_ports: tuple[NodePortExemption, ...] = ()
    powers: tuple[PowerExemption, ...] = ()
    unlogged: tuple[UnloggedExemption, ...] = ()
    metrics: tuple[MetricExemption, ...] = ()
    absent_features: tuple[AbsentFeature, ...] = ()

    def level(self, namespace: str) -> str:
        """Return the Pod Security level a namespace must enforce."""
        return next((entry.level for entry in self.namespaces if entry.namespace == namespace), "restricted")

    def allows(self, namespace: str, pod: str, rule: str) -> bool:
        """Whether a pod may break a rule."""
        return any(rule in entry.rules and entry.matches(namespace, pod) for entry in self.pods)

    def may_reach(self, pod: str, port: int) -> bool:
        """Whether a pod (namespace/name) may reach a port of a node that is shut to all others."""
        return any(entry.allows(pod, port) for entry in self.node_ports)

    def powers_of(self, account: str) -> set[str]:
        """Return the powers that a service account may have."""
        return {power for entry in self.powers if fnmatchcase(account, entry.account) for power in entry.powers}

    def may_be_unlogged(self, container: str) -> bool:
        """Whether the log store may have no line of a container."""
        return any(entry.matches(container) for entry in self.unlogged)

    def may_miss(self, metric: str) -> bool:
        """Whether a metric that a rule names may be missing."""
        return any(fnmatchcase(metric, entry.metric) for entry in self.metrics)

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
    "node_ports": NodePortExemption,
    "powers": PowerExemption,
    "unlogged": UnloggedExemption,
    "metrics": MetricExemption,
    "absent_features": AbsentFeature,
}


def _entry(where: str, entry_type: type, data: Any) -> object:  # noqa: ANN401 - whatever YAML holds, judged here
    names = [field.name for field in fields(entry_type) if field.default is MISSING]
    optional = {field.name for field in fields(entry_type)} - set(names)
    if not isinstance(data, dict) or set(data) - optional != set(names):
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
