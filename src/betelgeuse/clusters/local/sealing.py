"""Bring a cluster that was formed without encryption to it: flag on the API server, every Secret written again."""

import json
from typing import Final

from betelgeuse.clusters.local import cluster, encryption, kubeadm
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step

_RESTART_SECONDS: Final = 120.0
_REWRITE_SECONDS: Final = 60.0
_CONFIG: Final = "/etc/kubernetes/kubeadm-init.yaml"
_MANIFEST: Final = "etc/kubernetes/manifests/kube-apiserver.yaml"
_FLAG: Final = f"--encryption-provider-config={encryption.FILE}"


def seal(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Leave no Secret in the clear; a cluster that was born with the key is left alone, an interrupted run goes on."""
    if encryption.sealed(first).is_file():
        return
    with step("encrypting the Secrets in etcd"):
        if _FLAG not in (first.root / _MANIFEST).read_text():
            _reconfigure(first, programs, domain)
        cluster.wait("API server with the key", _RESTART_SECONDS, lambda: _restarted(first))
        cluster.wait("Secrets written again", _REWRITE_SECONDS, _rewritten)
        encryption.sealed(first).touch()


def _reconfigure(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Write the API server's manifest anew, as `kubeadm init` would today; the kubelet restarts it."""
    encryption.ensure(first)
    (first.root / _CONFIG.lstrip("/")).write_text(kubeadm.init_config(first, programs.versions, domain))
    for phase in (("upload-config", "kubeadm"), ("control-plane", "apiserver")):
        cluster.inside(first, ["kubeadm", "init", "phase", *phase, "--config", _CONFIG], log=first.log / "seal.log")


def _restarted(first: Node) -> str:
    try:
        cluster.inside(first, ["pgrep", "-f", f"^kube-apiserver .*{_FLAG}"])
    except BetelgeuseError:
        return "the kubelet has not restarted it yet"
    return cluster.api_ready(first)


def _rewritten() -> str:
    """Write every Secret as it is: the API server seals what it read in the clear. Return why it has to be repeated."""
    try:
        found = json.loads(cluster.kubectl("get", "secrets", "--all-namespaces", "--output=json"))
        cluster.kubectl("replace", "-f", "-", data=json.dumps(found))
    except BetelgeuseError as error:
        # Somebody wrote one at the same moment, or the server is not through its start.
        return str(error)[-160:]
    return ""
