"""Exceptions of the render checks, each with its reason; an exception nothing needs fails a test."""

from collections.abc import Mapping
from typing import Final

NO_DEFAULT_DENY: Final[Mapping[str, str]] = {
    "kube-system": "control plane, CNI and kube-proxy are on the host network, where no policy reaches; DNS serves all",
}
"""Namespaces without default-deny policies."""

NO_PODS: Final[Mapping[str, str]] = {
    "CiliumClusterwideNetworkPolicy uses-qdrant": "for pods of applications to come, and of people's own",
    "NetworkPolicy vec/qdrant": "lets those in; the gateway has a policy of its own",
}
"""Policies that are for pods which the tree does not have, or name such as peers."""

NO_READINESS: Final[Mapping[str, str]] = {
    "Deployment cert-manager/cert-manager": "its Service carries metrics only, and upstream has no such probe",
}
"""Workloads behind a Service that do not say whether they serve."""
