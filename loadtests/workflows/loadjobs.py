"""The objects of a load test that runs as pods: a master, its workers, and what they may reach. Pure: objects out."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from betelgeuse.kube import Obj
from betelgeuse.policy.parties import NAMESPACE_LABEL

NAMESPACE: Final = "loadtest"
MASTER: Final = "master"
WORKER: Final = "worker"
ROLE: Final = "app.kubernetes.io/component"
OWN: Final = "betelgeuse.io/load-test"
"""Label of the namespace: it is a run's, and may be removed with all that is in it."""

_CODE: Final = "/load"
_CREDENTIALS: Final = "/credentials"
_ROOTS: Final = "ca.pem"
_BUS: Final = 5557
_GATEWAY: Final = 10443
"""The proxies' own port behind 443: policies speak of pods, not of Services."""
_NOBODY: Final = 65532
_MOST_BYTES: Final = 512 * 1024
"""Of a ConfigMap; the API server takes a MiB."""
_CONNECT_SECONDS: Final = 120
_READABLE: Final = 0o444
_GROUP_READABLE: Final = 0o440


@dataclass(frozen=True)
class Load:
    """What pods must know to make one run's load."""

    image: str
    arguments: Sequence[str]
    """Locust's, as for a run outside the cluster."""
    workers: int
    seconds: float
    """After which Kubernetes ends the pods, whoever started them."""
    files: Mapping[str, str]
    """Path below the checkout -> text: the load test's own code."""
    roots: str = ""
    """PEM of the roots to trust, empty where public ones are enough."""
    token_url: str = ""
    """Where tokens are asked for, empty where the API asks for none."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Of the client that asks for them: name of a file -> its text."""


def code(root: Path, scenario: str = "") -> dict[str, str]:
    """Return the files a run needs of a checkout; `scenario` is a file of one's own, or empty."""
    folder = root / "loadtests"
    # The verbs stay here: they drive the cluster, which pods cannot.
    code = [path for path in sorted(folder.rglob("*.py")) if path.parent.name != "workflows"]
    paths = [*code, *sorted(folder.rglob("*.json"))]
    # loadtests.report asks it for the version.
    paths.append(root / "pyproject.toml")
    found = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}
    if scenario:
        found[own_scenario(scenario)] = Path(scenario).read_text("utf-8")
    return found


def own_scenario(path: str) -> str:
    """Return where the pods find a scenario of one's own: its name stays, the report tells it."""
    return f"own/{Path(path).name}"


def namespace() -> Obj:
    """Return the namespace, which is also what one run at a time holds."""
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    labels = {OWN: "true", "app.kubernetes.io/part-of": "betelgeuse", **modes}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _object(api_version: str, kind: str, name: str, **rest: Any) -> Obj:  # noqa: ANN401 - any JSON value
    labels = {"app.kubernetes.io/name": NAMESPACE, "app.kubernetes.io/part-of": "betelgeuse"}
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def _pods(role: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": NAMESPACE, ROLE: role}


def _policy(name: str, selector: Obj, *, ingress: Sequence[Obj] = (), egress: Sequence[Obj] = ()) -> Obj:
    spec: Obj = {"podSelector": selector, "policyTypes": ["Ingress", "Egress"]}
    spec |= {"ingress": list(ingress)} if ingress else {}
    spec |= {"egress": list(egress)} if egress else {}
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def _elsewhere(namespace: str, labels: Mapping[str, str]) -> Obj:
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": {"matchLabels": dict(labels)},
    }


def _policies() -> Iterator[Obj]:
    """Yield who may call whom: the master calls nobody, the workers names, the gateway and the master."""
    bus = [{"port": _BUS, "protocol": "TCP"}]
    names = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    master, worker = ({"matchLabels": _pods(role)} for role in (MASTER, WORKER))
    gateway = _elsewhere("gateway", {ROLE: "proxy"})
    yield _policy("default-deny", {})
    yield _policy(MASTER, master, ingress=[{"from": [{"podSelector": worker}], "ports": bus}])
    egress: list[Obj] = [
        {"to": [_elsewhere("kube-system", {"k8s-app": "kube-dns"})], "ports": names},
        {"to": [gateway], "ports": [{"port": _GATEWAY, "protocol": "TCP"}]},
        {"to": [{"podSelector": master}], "ports": bus},
    ]
    yield _policy(WORKER, worker, egress=egress)


def _configs(load: Load) -> tuple[list[Obj], list[Obj]]:
    """Return the ConfigMaps with the code, and how a projected volume makes folders of their flat keys."""
    files = {**load.files, **({_ROOTS: load.roots} if load.roots else {})}
    chunks: list[dict[str, str]] = [{}]
    size = 0
    for path, text in files.items():
        length = len(text.encode())
        if size + length > _MOST_BYTES and chunks[-1]:
            chunks.append({})
            size = 0
        chunks[-1][path] = text
        size += length
    configs, sources = [], []
    for number, chunk in enumerate(chunks):
        # A key has no slashes; the number keeps a/b.py and a.b.py apart.
        keys = {f"{at}.{path.replace('/', '.')}": path for at, path in enumerate(chunk)}
        name = f"code-{number}"
        configs.append(_object("v1", "ConfigMap", name, data={key: chunk[path] for key, path in keys.items()}))
        items = [{"key": key, "path": path} for key, path in keys.items()]
        sources.append({"configMap": {"name": name, "items": items}})
    return configs, sources


def _environment(load: Load, role: str) -> list[Obj]:
    variables = {"BETELGEUSE_CA": f"{_CODE}/{_ROOTS}"} if load.roots else {}
    if load.token_url and role == WORKER:
        variables |= {
            "BETELGEUSE_TOKEN_COMMAND": "/usr/bin/python3 -m loadtests.client_credentials",
            "BETELGEUSE_TOKEN_URL": load.token_url,
            "BETELGEUSE_CLIENT": _CREDENTIALS,
        }
    return [{"name": name, "value": value} for name, value in variables.items()]


def _arguments(load: Load, role: str) -> list[str]:
    """Return what follows `python3 -m`."""
    if role == MASTER:
        wait = [f"--expect-workers={load.workers}", f"--expect-workers-max-wait={_CONNECT_SECONDS}"]
        return ["loadtests.pod", *load.arguments, "--master", *wait]
    # The rest comes from the master. A failed request is the report's business, no crash of a worker.
    host = f"--master-host={MASTER}.{NAMESPACE}.svc.cluster.local"
    return ["locust", *load.arguments[:2], "--worker", host, "--exit-code-on-error=0"]


def _container(load: Load, role: str) -> Obj:
    mounts = [{"name": "code", "mountPath": _CODE, "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in its own pod
    if load.token_url and role == WORKER:
        mounts.append({"name": "credentials", "mountPath": _CREDENTIALS, "readOnly": True})
    container = {
        "name": "locust",
        "image": load.image,
        "imagePullPolicy": "IfNotPresent",
        "args": _arguments(load, role),
        "workingDir": _CODE,
        "env": _environment(load, role),
        # One core is all that one Locust uses; a quota of that much would hold back pieces it is about to time.
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
            "limits": {"cpu": "2", "memory": "512Mi", "ephemeral-storage": "128Mi"},
        },
        # What it said last is then in its status, also when its log is gone.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    if role == MASTER:
        container["ports"] = [{"name": "bus", "containerPort": _BUS}]
        container["readinessProbe"] = {"tcpSocket": {"port": "bus"}, "periodSeconds": 2, "timeoutSeconds": 5}
    return container


def _job(load: Load, role: str, sources: Sequence[Obj]) -> Obj:
    count = load.workers if role == WORKER else 1
    volumes: list[Obj] = [
        {"name": "code", "projected": {"defaultMode": _READABLE, "sources": list(sources)}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    if load.token_url and role == WORKER:
        volumes.append({"name": "credentials", "secret": {"secretName": "client", "defaultMode": _GROUP_READABLE}})
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _pods(role)},
    }
    pod = {
        "serviceAccountName": NAMESPACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        # Full names are asked for at once: the search list would cost each connection four questions more.
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "fsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
        "containers": [_container(load, role)],
        "volumes": volumes,
    }
    spec = {
        # A pod that is started anew would join a run that is half over.
        "backoffLimit": 0,
        "activeDeadlineSeconds": round(load.seconds),
        "parallelism": count,
        "completions": count,
        "template": {"metadata": {"labels": {**_pods(role), "app.kubernetes.io/part-of": "betelgeuse"}}, "spec": pod},
    }
    return _object("batch/v1", "Job", role, spec=spec)


def objects(load: Load) -> list[Obj]:
    """Return what a run needs in its namespace, in the order to apply it."""
    configs, sources = _configs(load)
    ports = [{"name": "bus", "port": _BUS, "targetPort": "bus"}]
    found = [
        _object("v1", "ServiceAccount", NAMESPACE, automountServiceAccountToken=False),
        *_policies(),
        _object("v1", "Service", MASTER, spec={"selector": _pods(MASTER), "ports": ports}),
        *configs,
    ]
    if load.token_url:
        data = {name: base64.b64encode(text.encode()).decode() for name, text in load.credentials.items()}
        found.append(_object("v1", "Secret", "client", type="Opaque", data=data))
    return [*found, *(_job(load, role, sources) for role in (MASTER, WORKER))]
