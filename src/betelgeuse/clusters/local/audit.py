"""What the API server writes down of who asked for what: to standard output, with every other container's lines.

There the kubelet keeps it within bounds (`containerLogMaxSize`), and the collector takes it to the logs. No body is
ever written down, so no Secret is.
"""

from typing import Any, Final

import yaml

FOLDER: Final = "/etc/kubernetes/audit"
FILE: Final = f"{FOLDER}/policy.yaml"
FLAG: Final = f"--audit-policy-file={FILE}"

_READ: Final = ["get", "list", "watch"]
_MACHINES: Final[dict[str, Any]] = {
    "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"],
    "userGroups": ["system:nodes", "system:serviceaccounts"],
}


def _of(group: str, *resources: str) -> dict[str, Any]:
    return {"group": group, "resources": list(resources)}


def _machines(**what: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - parts of a rule
    """Return a rule for each sort of name that machines have: within one, users and groups must both match."""
    return [{"level": "None", key: names, **what} for key, names in _MACHINES.items()]


_RULES: Final[list[dict[str, Any]]] = [
    # Health, discovery, metrics: somebody asks every second.
    {"level": "None", "nonResourceURLs": ["*"]},
    # Signs of life, and questions about rights that accompany every other question.
    {
        "level": "None",
        "resources": [
            _of("coordination.k8s.io", "leases"),
            _of("", "events"),
            _of("events.k8s.io", "events"),
            _of("authentication.k8s.io", "tokenreviews"),
            _of("authorization.k8s.io"),
        ],
    },
    # Reading one is worth a line, whoever does it.
    {"level": "Metadata", "resources": [_of("", "secrets")], "omitStages": ["RequestReceived", "ResponseStarted"]},
    # Controllers read all the time, and write down what they found.
    *_machines(verbs=_READ),
    *_machines(
        verbs=["update", "patch"],
        resources=[_of("", "*/status"), _of("apps", "*/status"), _of("batch", "*/status"), _of("cilium.io")],
    ),
    {"level": "Metadata"},
]


def document() -> str:
    """Return the policy."""
    content = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        # An answer tells what its question was.
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": _RULES,
    }
    return yaml.safe_dump(content, sort_keys=False)


def arguments() -> list[dict[str, str]]:
    """Return the API server's flags, as kubeadm takes them."""
    said = {
        "audit-policy-file": FILE,
        "audit-log-path": "-",
        # A reader of the log that falls behind must not hold up the cluster.
        "audit-log-mode": "batch",
    }
    return [{"name": name, "value": value} for name, value in said.items()]
