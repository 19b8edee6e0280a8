"""Exceptions of the render checks, each with its reason; an exception nothing needs fails a test."""

from collections.abc import Mapping
from typing import Final

NO_DEFAULT_DENY: Final[Mapping[str, str]] = {
    "kube-system": "control plane, CNI and kube-proxy are on the host network, where no policy reaches; DNS serves all",
}
"""Namespaces without default-deny policies."""

NO_PODS: Final[Mapping[str, str]] = {
    "CiliumClusterwideNetworkPolicy uses-keycloak": "for applications that sign people in; core has none",
    "NetworkPolicy auth/keycloak-inside": "lets those in",
    "CiliumNetworkPolicy argo/workflow": "for the pods of workflows, which the controller makes",
    "CiliumClusterwideNetworkPolicy hears-gitea": "for pods of people's own, which Gitea tells of a push",
    "NetworkPolicy gitops/gitea-tells": "lets Gitea ask those",
}
"""Policies that are for pods which the tree does not have, or name such as peers."""

_METRICS_ONLY: Final = "its Service carries metrics only, and upstream has no such probe"

NO_READINESS: Final[Mapping[str, str]] = {
    "Deployment cert-manager/cert-manager": _METRICS_ONLY,
    "Deployment cert-manager/cert-manager-cainjector": _METRICS_ONLY,
}
"""Workloads behind a Service that do not say whether they serve."""

_SILENT: Final = "tells nothing about itself in this version; kube-state-metrics tells whether it runs"
_LOOPBACK: Final = "metrics on the node's loopback; DaemonSet loopback-metrics hands them on and is asked"

NOT_WATCHED: Final[Mapping[str, str]] = {
    "Deployment cert-manager/cert-manager-cainjector": _SILENT,
    "Deployment cert-manager/cert-manager-webhook": _SILENT,
    "Deployment storage-local/local-path-provisioner": _SILENT,
    "Deployment pebble/pebble": _SILENT,
    "DaemonSet kube-system/cilium": _LOOPBACK,
    "Deployment kube-system/cilium-operator": "its monitor is in base/observability/cilium, which profile core lacks",
}
"""Pods that no monitor asks."""

NO_TARGETS: Final[Mapping[str, str]] = {
    "ServiceMonitor observability/kube-apiserver": "Kubernetes itself keeps the Service `kubernetes`",
    "ServiceMonitor observability/kubelet": "Prometheus's operator keeps the Service `kubelet`",
}
"""Monitors of what is no pod of the tree."""

OTHER_DOORS: Final[Mapping[str, str]] = {
    "pods of kube-system/coredns": "kubeadm starts them without a label of ours: base/observability/coredns opens it",
}
"""Pods whose port for Prometheus is opened by a policy of their own."""
