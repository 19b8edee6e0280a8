"""Bring the API server of a cluster that was formed by an older version to the flags of today."""

from typing import Final

from betelgeuse.clusters.local import audit, cluster, kubeadm
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step

_RESTART_SECONDS: Final = 120.0
_CONFIG: Final = "/etc/kubernetes/kubeadm-init.yaml"
_MANIFEST: Final = "etc/kubernetes/manifests/kube-apiserver.yaml"


def has(first: Node, flag: str) -> bool:
    """Tell whether its manifest names the flag."""
    return flag in (first.root / _MANIFEST).read_text()


def reconfigure(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Write its manifest anew, as `kubeadm init` would today; the kubelet restarts it."""
    (first.root / _CONFIG.lstrip("/")).write_text(kubeadm.init_config(first, programs.versions, domain))
    for phase in (("upload-config", "kubeadm"), ("control-plane", "apiserver")):
        cluster.inside(
            first, ["kubeadm", "init", "phase", *phase, "--config", _CONFIG], log=first.log / "apiserver.log"
        )


def restarted(first: Node, flag: str) -> None:
    """Wait until it runs with the flag and serves."""

    def reason() -> str:
        try:
            cluster.inside(first, ["pgrep", "-f", f"^kube-apiserver .*{flag}"])
        except BetelgeuseError:
            return "the kubelet has not restarted it yet"
        return cluster.api_ready(first)

    cluster.wait(f"API server with {flag.partition('=')[0]}", _RESTART_SECONDS, reason)


def audited(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Let it write down who asked for what; one that does already is left alone."""
    if not has(first, audit.FLAG):
        with step("the API server begins to write an audit log"):
            reconfigure(first, programs, domain)
            restarted(first, audit.FLAG)
