"""The real kubeadm renews what it made: in a mount namespace of the test's own, as in a node."""

import os
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from betelgeuse.clusters.local import certificates, cluster, kubeadm, layout, renewal
from betelgeuse.settings import Settings
from tests.unit.test_local_cluster import VERSIONS

KUBEADM = Path(os.environ.get("BETELGEUSE_APISERVER_DIR", "")) / "kubeadm"
KUBEADMS = {"apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "etcd-server"} | {
    *("etcd-peer", "etcd-healthcheck-client", "admin.conf", "super-admin.conf"),
    *("controller-manager.conf", "scheduler.conf"),
}


def test_short_lived_certificates_become_long_lived_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything kubeadm made for a day is valid for a year afterwards, kubeconfigs included."""
    if os.getuid() or not KUBEADM.is_file():
        pytest.skip("needs root, and kubeadm beside the API server of BETELGEUSE_APISERVER_DIR")
    for module in (layout, certificates):
        monkeypatch.setattr(module, "CLUSTER_DIR", tmp_path)
    (node,) = layout.nodes(Settings(env="local", domain="a.b", nodes=1))
    etc = node.root / "etc/kubernetes"
    etc.mkdir(parents=True)
    node.log.mkdir()
    config = kubeadm.init_config(node, VERSIONS, "example.test")
    documents = list(yaml.safe_load_all(config))
    documents[1]["certificateValidityPeriod"] = "24h"
    (etc / "short.yaml").write_text(yaml.safe_dump_all(documents))
    (etc / "kubeadm-init.yaml").write_text(config)
    pid = 0

    def inside(_: layout.Node, argv: Sequence[str], **__: Any) -> str:  # noqa: ANN401 - as the real one
        nonlocal pid
        if argv[0] in {"pgrep", "pkill"}:
            # Nothing runs here: what is asked for is another process each time.
            pid += 1
            return str(pid)
        script = 'mount --bind "$0" /etc && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, str(etc.parent), str(KUBEADM), *argv[1:]]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own argv

    monkeypatch.setattr(cluster, "inside", inside)
    monkeypatch.setattr(cluster, "write_kubeconfig", lambda _: None)
    for phase in ("certs", "kubeconfig"):
        inside(node, ["kubeadm", "init", "phase", phase, "all", "--config", "/etc/kubernetes/short.yaml"])
    (node.folder / "joined").touch()
    assert {each.name for each in certificates.due(certificates.on_disk(), certificates.MONTH)} == KUBEADMS

    assert renewal.renew([node], certificates.MONTH)

    assert certificates.due(certificates.on_disk(), timedelta(days=360)) == []
    assert {each.name for each in certificates.on_disk()} == {*KUBEADMS, "ca", "front-proxy-ca", "etcd-ca"}
