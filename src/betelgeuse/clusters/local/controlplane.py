"""Bring the control plane of a cluster that was formed by an older version to the flags of today."""

from functools import partial
from typing import Final

from betelgeuse.clusters.local import audit, cluster, kubeadm
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step

_RESTART_SECONDS: Final = 120.0
_CONFIG: Final = "/etc/kubernetes/kubeadm-init.yaml"
_MANIFESTS: Final = "etc/kubernetes/manifests"
APISERVER: Final = "kube-apiserver"
CONTROLLERS: Final = ("kube-scheduler", "kube-controller-manager")


def lacking(first: Node, flag: str, *names: str) -> list[str]:
    """Return the programs whose manifest does not name the flag."""
    return [name for name in names if flag not in (first.root / _MANIFESTS / f"{name}.yaml").read_text()]


def reconfigure(first: Node, programs: cluster.Programs, domain: str, *names: str) -> None:
    """Write the programs' manifests anew, as `kubeadm init` would today; the kubelet restarts them."""
    (first.root / _CONFIG.lstrip("/")).write_text(kubeadm.init_config(first, programs.versions, domain))
    # kubeadm calls them by the second half of their names.
    phases = [("upload-config", "kubeadm"), *(("control-plane", name.removeprefix("kube-")) for name in names)]
    for phase in phases:
        argv = ["kubeadm", "init", "phase", *phase, "--config", _CONFIG]
        cluster.inside(first, argv, log=first.log / "controlplane.log")


def restarted(first: Node, flag: str, name: str = APISERVER) -> None:
    """Wait until a program runs with the flag, and the API server serves."""
    cluster.wait(f"{name} with {flag.partition('=')[0]}", _RESTART_SECONDS, partial(_reason, first, flag, name))


def _reason(first: Node, flag: str, name: str) -> str:
    try:
        cluster.inside(first, ["pgrep", "-f", f"^{name} .*{flag}"])
    except BetelgeuseError:
        return "the kubelet has not restarted it yet"
    return cluster.api_ready(first) if name == APISERVER else ""


def audited(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Let the API server write down who asked for what; one that does already is left alone."""
    _follow(first, programs, domain, audit.FLAG, APISERVER, said="begins to write an audit log")


def open_to_prometheus(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Have scheduler and controller manager answer at the node's address; those that do already are left alone."""
    flag = f"--bind-address={first.address}"
    _follow(first, programs, domain, flag, *CONTROLLERS, said=f"begins to answer at {first.address}")


def _follow(first: Node, programs: cluster.Programs, domain: str, flag: str, *names: str, said: str) -> None:
    if outdated := lacking(first, flag, *names):
        with step(f"{' and '.join(outdated)} {said}"):
            reconfigure(first, programs, domain, *outdated)
            for name in outdated:
                restarted(first, flag, name)
