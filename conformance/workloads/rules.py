"""What a pod must be, rule by rule. Pure: a pod in, its faults out."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from betelgeuse.kube import Obj

_API_ACCESS: Final = "kube-api-access"
_STUCK: Final = frozenset(
    {"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerError", "InvalidImageName"}
)
_LOOP: Final = 3
_RECENT: Final = timedelta(minutes=5)
_PATIENCE: Final = 3
"""Seconds that a pod with little of a node whose every core computes may take to say that it is alive."""
_DISK: Final = "ephemeral-storage"
_LOGS: Final = 64 * 2**20
"""Bytes: the kubelet keeps five files of 10 MiB of what a container says, and looks every ten seconds."""
_ASKED: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_FACTORS: Final[Mapping[str, Decimal | int]] = {
    "": 1,
    "m": Decimal("0.001"),
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{letter: 1000**power for power, letter in enumerate("kMGT", start=1)},
}


def amount(quantity: str | int) -> Decimal:
    """Return a quantity as a number: bytes, or cores."""
    number = str(quantity).rstrip("".join(_FACTORS))
    return Decimal(number) * _FACTORS[str(quantity)[len(number) :]]


def containers(spec: Obj) -> Iterator[Obj]:
    """Yield every container of a pod: init and sidecar ones too."""
    yield from spec.get("initContainers", [])
    yield from spec.get("containers", [])
    yield from spec.get("ephemeralContainers", [])


def _effective(spec: Obj, container: Obj, field: str) -> Any:  # noqa: ANN401 - as typed in the API
    """Return a security setting: the container's own, else the pod's."""
    own = container.get("securityContext", {}).get(field)
    return spec.get("securityContext", {}).get(field) if own is None else own


def _nonroot(spec: Obj, container: Obj) -> str:
    if _effective(spec, container, "runAsNonRoot") is not True:
        return "runAsNonRoot is not true"
    return "runAsUser is 0" if _effective(spec, container, "runAsUser") == 0 else ""


def _privileged(_: Obj, container: Obj) -> str:
    return "privileged" if container.get("securityContext", {}).get("privileged") else ""


def _escalation(_: Obj, container: Obj) -> str:
    allowed = container.get("securityContext", {}).get("allowPrivilegeEscalation")
    return "" if allowed is False else "allowPrivilegeEscalation is not false"


def _capabilities(_: Obj, container: Obj) -> str:
    capabilities = container.get("securityContext", {}).get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        return "capabilities.drop lacks ALL"
    added = set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}
    return f"adds {', '.join(sorted(added))}" if added else ""


def _seccomp(spec: Obj, container: Obj) -> str:
    profile = _effective(spec, container, "seccompProfile") or {}
    kind = profile.get("type")
    return "" if kind in {"RuntimeDefault", "Localhost"} else f"seccompProfile is {kind}"


def _read_only(_: Obj, container: Obj) -> str:
    read_only = container.get("securityContext", {}).get("readOnlyRootFilesystem")
    return "" if read_only is True else "readOnlyRootFilesystem is not true"


def _host_network(spec: Obj, container: Obj) -> str:
    shared = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    ports = [str(port["hostPort"]) for port in container.get("ports", []) if port.get("hostPort")]
    return ", ".join([*shared, *(f"hostPort {port}" for port in ports)])


def _host_path(spec: Obj, container: Obj) -> str:
    mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
    paths = [v["hostPath"]["path"] for v in spec.get("volumes", []) if "hostPath" in v and v["name"] in mounted]
    return f"mounts {', '.join(paths)} of the node" if paths else ""


def _amounts(container: Obj, section: str) -> str:
    missing = [name for name in ("cpu", "memory") if name not in container.get("resources", {}).get(section, {})]
    return f"no {section} for {' and '.join(missing)}" if missing else ""


def _requests(_: Obj, container: Obj) -> str:
    return _amounts(container, "requests")


def _limits(_: Obj, container: Obj) -> str:
    return _amounts(container, "limits")


def _disk(container: Obj) -> Decimal:
    return amount(container.get("resources", {}).get("limits", {}).get(_DISK, 0))


def _storage(spec: Obj, container: Obj) -> str:
    """Without bounds, what one container writes fills the node's disk, and the kubelet evicts others for it."""
    resources = container.get("resources", {})
    missing = [section for section in ("requests", "limits") if _DISK not in resources.get(section, {})]
    if missing:
        return f"no {' and '.join(missing)} for {_DISK}"
    # What only prepares these is soon over and says little.
    lasting = [*spec["containers"], *(c for c in spec.get("initContainers", []) if c.get("restartPolicy") == "Always")]
    if container in lasting and _disk(container) < _LOGS:
        return f"may be evicted for its logs alone: a limit of at least {_LOGS // 2**20}Mi for {_DISK}"
    volumes = {each["name"]: each["emptyDir"] or {} for each in spec.get("volumes", []) if "emptyDir" in each}
    endless = [name for name, volume in volumes.items() if "sizeLimit" not in volume]
    if endless:
        return f"emptyDir {', '.join(endless)} has no sizeLimit"
    # The kubelet counts these to the pod, whose limit is the sum of its containers'.
    held = sum(amount(each["sizeLimit"]) for each in volumes.values() if each.get("medium") != "Memory")
    limit = sum(_disk(each) for each in lasting)
    return "" if held < limit else f"the pod's emptyDirs may hold {held} bytes, and all of it {limit}"


def _image(_: Obj, container: Obj) -> str:
    image = container["image"]
    if "@sha256:" in image:
        return ""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "" if tag and tag != "latest" else f"image {image} is not pinned"


def _liveness(_: Obj, container: Obj) -> str:
    probe = container.get("livenessProbe")
    if probe is None:
        return ""
    seconds = probe.get("timeoutSeconds", 1)
    if seconds < _PATIENCE:
        return f"is restarted for answers that take {seconds} s; wait for {_PATIENCE}"
    ready = container.get("readinessProbe", {})
    same = any(handler in probe and probe[handler] == ready.get(handler) for handler in _ASKED)
    return "is restarted for what only makes it unready: ask something cheaper whether it is alive" if same else ""


RULES: Final[Mapping[str, Callable[[Obj, Obj], str]]] = MappingProxyType(
    {
        "nonroot": _nonroot,
        "privileged": _privileged,
        "escalation": _escalation,
        "capabilities": _capabilities,
        "seccomp": _seccomp,
        "read-only": _read_only,
        "host-network": _host_network,
        "host-path": _host_path,
        "requests": _requests,
        "limits": _limits,
        "storage": _storage,
        "image": _image,
        "liveness": _liveness,
    },
)
"""Rule -> (pod spec, container) -> what is wrong, or an empty string."""


def faults(pod: Obj, rule: str) -> list[str]:
    """Return what is wrong with a pod by one rule, one entry per container."""
    found = ((c["name"], RULES[rule](pod["spec"], c)) for c in containers(pod["spec"]))
    meta = pod["metadata"]
    return [f"{meta['namespace']}/{meta['name']} container {name}: {fault}" for name, fault in found if fault]


def mounts_token(pod: Obj) -> bool:
    """Whether the pod carries a token for the Kubernetes API."""
    for volume in pod["spec"].get("volumes", []):
        if volume["name"].startswith(_API_ACCESS):
            return True
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", [])):
            return True
    return False


def restart_fault(status: Obj, now: datetime) -> str:
    """Return why a container looks like one that restarts in a loop; a restart long past is history, not a loop."""
    waiting = status.get("state", {}).get("waiting", {}).get("reason", "")
    if waiting in _STUCK:
        return f"{status['name']}: {waiting}"
    finished = status.get("lastState", {}).get("terminated", {}).get("finishedAt")
    count = status.get("restartCount", 0)
    if count >= _LOOP and finished and now - datetime.fromisoformat(finished) < _RECENT:
        return f"{status['name']}: restarted {count} times, last at {finished}"
    return ""
