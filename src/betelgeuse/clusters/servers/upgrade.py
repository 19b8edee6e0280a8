"""Bring a cluster to the tree's version of Kubernetes: control planes one after the other, then the kubelets.

A kubelet may be older than its API server, never newer, so no kubelet is replaced before the last control plane.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from betelgeuse import paths, yamls
from betelgeuse.builds import images
from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.local.kubeadm import TIMEOUTS, Traits, Versions
from betelgeuse.clusters.servers import aside, forming, imports, place
from betelgeuse.clusters.servers.imports import Import
from betelgeuse.clusters.servers.node import Node
from betelgeuse.errors import RefusedError
from betelgeuse.progress import say, step
from betelgeuse.ssh import Connection, at_once

_CONFIG: Final = "/etc/kubernetes/kubeadm-upgrade.yaml"
_SECONDS: Final = 1200.0
_SETTLE_SECONDS: Final = 300.0
_STEADY_SECONDS: Final = 20.0
"""A kubelet looks at its static pods as soon as it runs: within seconds, on a busy machine within some more."""
_RECORD: Final = "kubeadm-config"
_KEY: Final = "ClusterConfiguration"


def _minor(version: str) -> tuple[int, int]:
    """Return 1 and 37 of `v1.37.2`."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    return int(major), int(minor)


def check(name: str, runs: str, wanted: str) -> None:
    """Refuse a way that Kubernetes does not support: to an older minor version, or over one."""
    (major, minor), goal = _minor(runs), _minor(wanted)
    if goal < (major, minor):
        message = f"{name} runs Kubernetes {runs}, the tree has {wanted}: a control plane does not go back"
        raise RefusedError(message)
    if goal not in {(major, minor), (major, minor + 1)}:
        message = (
            f"{name} runs Kubernetes {runs}, the tree has {wanted}, and an upgrade is of one minor version: deploy a"
            f" tree with v{major}.{minor + 1} first"
        )
        raise RefusedError(message)


def config(versions: Versions, traits: Traits) -> str:
    """Return the configuration of `kubeadm upgrade`, of the first control plane and of the others."""
    said = {
        # A deploy renews them in their last season.
        "certificateRenewal": False,
        "etcdUpgrade": True,
        "imagePullPolicy": "Never",
        "ignorePreflightErrors": [*traits.ignored, "CreateJob"],
        "patches": {"directory": "/etc/kubernetes/patches"},
    }
    return yamls.dump(
        [
            {
                "apiVersion": "kubeadm.k8s.io/v1beta4",
                "kind": "UpgradeConfiguration",
                # Nobody is there to be asked; the ways that are refused are refused before.
                "apply": {**said, "kubernetesVersion": versions.kubernetes, "forceUpgrade": True},
                "node": said,
                "timeouts": TIMEOUTS,
            }
        ]
    )


def _behind(node: Node, wanted: str) -> bool:
    return node.found.upgrading or node.found.version != wanted


def control_planes(joined: Sequence[Node], versions: Versions) -> None:
    """Upgrade those of a cluster's control planes that are behind; killed at any point, the next deploy goes on."""
    wanted = versions.kubernetes
    controls = [node for node in joined if node.server.controls]
    # One that was left half way is the one that the others wait for.
    behind = sorted((node for node in controls if _behind(node, wanted)), key=lambda node: not node.found.upgrading)
    if not behind:
        return
    forming.fetch(controls[0].connection)
    connections = [node.connection for node in joined]
    at_once(imports.for_kubeadm, connections)
    dns = images.named("coredns")
    images.build(dns)
    Import(connections).load(dns)
    applied = len(behind) < len(controls)
    if not applied:
        _declare(behind[0].connection.env, versions)
    for node in behind:
        _upgrade(node, versions, "node" if applied else "apply")
        applied = True


def _declare(env: str, versions: Versions) -> None:
    """Have the cluster's own record say which etcd and DNS are to run: kubeadm takes them from there."""
    at = ("configmap", _RECORD, "--namespace=kube-system")
    (held,) = yamls.parse(json.loads(forming.kubectl(env, "get", *at, "--output=json"))["data"][_KEY], _RECORD)
    tags: dict[str, Any] = {"etcd": {"local": {"imageTag": versions.etcd}}, "dns": {"imageTag": versions.coredns}}
    if any(held.get(name) != said for name, said in tags.items()):
        change = json.dumps({"data": {_KEY: yamls.dump([{**held, **tags}])}})
        forming.kubectl(env, "patch", *at, "--type=merge", f"--patch={change}")


def _upgrade(node: Node, versions: Versions, verb: str) -> None:
    connection, name = node.connection, node.server.name
    say(f"{name}: the control plane goes from {node.found.version} to {versions.kubernetes}")
    log = paths.state_dir(connection.env) / "logs" / f"kubeadm-upgrade-{name}.log"
    with step(f"kubeadm upgrade on {name}"):
        connection.write(_CONFIG, config(versions, node.traits))
        connection.run(f"touch {place.UPGRADING}; sync -f {place.UPGRADING}")
        # One that a killed deploy left running is waited for.
        alone = f"flock -w {_SECONDS / 2:.0f} {place.UPGRADING}"
        command = f"PATH={place.BIN}:$PATH {alone} kubeadm upgrade {verb} --config {_CONFIG}"
        connection.run(command, log=log, timeout=_SECONDS)
        forming.fetch(connection)
        connection.run(f"rm -f {_CONFIG} {place.UPGRADING}")


def one_by_one(configure: Callable[[Node], None], nodes: Sequence[Node], wanted: str) -> None:
    """Bring every server's programs up to date, those of another minor version one by one with their pods elsewhere."""
    old = [node for node in nodes if node.found.kubelet and _minor(node.found.kubelet) != _minor(wanted)]
    at_once(configure, [node for node in nodes if node not in old])
    for node in old:
        env, name = node.connection.env, node.server.name
        say(f"{name}: the kubelet goes from {node.found.kubelet} to {wanted}")
        if len(nodes) > 1:
            aside.put(env, name)
        configure(node)
        if node.server.controls:
            forming.fetch(node.connection)
            cluster.wait(f"API server of {name}", _SETTLE_SECONDS, _Steady(node.connection))
        if len(nodes) > 1:
            aside.take_back(env, name)


class _Steady:
    """Why an API server is not to be relied on yet: a new kubelet may start its pod anew, when it comes to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._since = connection, time.monotonic()

    def __call__(self) -> str:
        """Return the reason; empty once it has answered for long enough."""
        now = time.monotonic()
        if reason := forming.api_ready(self._connection):
            self._since = now
            return reason
        answers = now - self._since
        return "" if answers >= _STEADY_SECONDS else f"it has answered for {answers:.0f} of {_STEADY_SECONDS:.0f} s"
