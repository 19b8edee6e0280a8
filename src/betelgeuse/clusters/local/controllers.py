"""Bring scheduler and controller manager of a cluster that was formed by an older version to the flags of today."""

from functools import partial
from typing import Final

from betelgeuse.clusters.local import cluster, kubeadm
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step

_RESTART_SECONDS: Final = 120.0
_CONFIG: Final = "/etc/kubernetes/kubeadm-init.yaml"
_MANIFESTS: Final = "etc/kubernetes/manifests"
_NAMES: Final = {"kube-scheduler": "scheduler", "kube-controller-manager": "controller-manager"}
"""Program -> what kubeadm calls it."""


def _flag(first: Node) -> str:
    return f"--bind-address={first.address}"


def outdated(first: Node) -> list[str]:
    """Return those whose manifest does not let them answer at the node's address."""
    return [name for name in _NAMES if _flag(first) not in (first.root / _MANIFESTS / f"{name}.yaml").read_text()]


def open_to_prometheus(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Have both answer at the node's address; those that do already are left alone."""
    if not (names := outdated(first)):
        return
    with step(f"{' and '.join(names)} begin to answer at {first.address}"):
        (first.root / _CONFIG.lstrip("/")).write_text(kubeadm.init_config(first, programs.versions, domain))
        phases = [("upload-config", "kubeadm"), *(("control-plane", _NAMES[name]) for name in names)]
        for phase in phases:
            argv = ["kubeadm", "init", "phase", *phase, "--config", _CONFIG]
            cluster.inside(first, argv, log=first.log / "controllers.log")
        for name in names:
            cluster.wait(f"{name} at {first.address}", _RESTART_SECONDS, partial(_restarted, first, name))


def _restarted(first: Node, name: str) -> str:
    try:
        cluster.inside(first, ["pgrep", "-f", f"^{name} .*{_flag(first)}"])
    except BetelgeuseError:
        return "the kubelet has not restarted it yet"
    return ""
