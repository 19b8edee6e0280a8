"""Take further servers into a cluster: workers and control planes, also one that was wiped and comes again."""

import json
from collections.abc import Mapping
from typing import Any, Final

from betelgeuse import paths
from betelgeuse.clusters.local import encryption, invitation, kubeadm
from betelgeuse.clusters.local.kubeadm import Member, Traits
from betelgeuse.clusters.servers import forming, place
from betelgeuse.progress import say, step
from betelgeuse.servers import Server
from betelgeuse.ssh import Connection

_JOIN_SECONDS: Final = 900.0
_JOIN: Final = "/etc/kubernetes/kubeadm-join.yaml"
_UNINITIALIZED: Final = "node.cloudprovider.kubernetes.io/uninitialized"
_SHARED: Final = "pki/ca.* pki/sa.* pki/front-proxy-ca.* pki/etcd/ca.* " + encryption.FOLDER.removeprefix(
    "/etc/kubernetes/"
)
"""What every control plane has in common, below /etc/kubernetes: authorities, and the key of Secrets at rest."""
_CRICTL: Final = f"{place.BIN}/crictl --runtime-endpoint unix://{place.SOCKET}"
# Not by the API: it reaches a container through the kubelet, whose certificate may not be signed yet.
ETCDCTL: Final = (
    f"{_CRICTL} exec $({_CRICTL} ps --quiet --name '^etcd$' --label io.kubernetes.pod.namespace=kube-system)"
    f" {kubeadm.ETCDCTL}"
)
"""How etcd is asked on a control plane's server, in a line of its shell."""


def _token(env: str) -> str:
    token, secret = invitation.token()
    # By standard input: arguments are visible to every process of the machine.
    forming.kubectl(env, "apply", "-f", "-", data=secret)
    return token


def hand_over(seed: Connection, connection: Connection) -> None:
    """Give a further control plane what it has in common with the first: through memory, from server to server."""
    packed = seed.run(f"cd /etc/kubernetes; tar -c --owner=0 --group=0 {_SHARED} | base64 -w 0")
    unpack = "umask 077; mkdir -p -m 755 /etc/kubernetes; base64 -d | tar -x -C /etc/kubernetes --same-permissions"
    connection.run(unpack, input=packed)


def stale(listed: Mapping[str, Any], name: str, address: str) -> list[str]:
    """Return the ids (hexadecimal) of etcd's members that are a server's, by its name or its address on the mesh.

    One that never started has no name yet.
    """
    return [
        f"{member['ID']:x}"
        for member in listed.get("members", [])
        if member.get("name") == name or any(f"//{address}:" in url for url in member.get("peerURLs", []))
    ]


def forget(seed: Connection, server: Server, address: str) -> None:
    """Take out of the cluster what it remembers of a server that is not in it, or not any more.

    `address` is the one that it has or had on the mesh.
    """
    if server.controls:
        listed = json.loads(seed.run(f"{ETCDCTL} member list --write-out=json"))
        for each in stale(listed, server.name, address):
            say(f"{server.name}: etcd forgets the member that it was")
            seed.run(f"{ETCDCTL} member remove {each}")
    forming.kubectl(seed.env, "delete", "node", server.name, "--ignore-not-found", timeout=60)
    # A node of the same name would inherit them, with states of containers that it never had.
    bound = ("--all-namespaces", f"--field-selector=spec.nodeName={server.name}", "--force", "--grace-period=0")
    forming.kubectl(seed.env, "delete", "pods", *bound, timeout=120)


def join(connection: Connection, member: Member, seed: Connection, first: Member, traits: Traits) -> None:
    """Run kubeadm on a further server; `seed` is a control plane of the cluster, `first` its member of the mesh."""
    env, server = connection.env, connection.server
    forget(seed, server, member.address)
    if server.controls:
        hand_over(seed, connection)
    pin = invitation.pin(seed.run("cat /etc/kubernetes/pki/ca.crt").encode())
    config = kubeadm.join_config(member, first, _token(env), pin, traits, controls=server.controls)
    connection.write(_JOIN, config, 0o600)
    log = paths.state_dir(env) / "logs" / f"kubeadm-join-{server.name}.log"
    with step(f"kubeadm join on {server.name}"):
        connection.run(f"PATH={place.BIN}:$PATH kubeadm join --config {_JOIN}", log=log, timeout=_JOIN_SECONDS)
        connection.run(f"rm {_JOIN}; touch {place.JOINED}; sync -f {place.JOINED}")


def introduce(env: str, server: Server, member: Member) -> None:
    """Say where clients find a node, and let pods onto it: what a cloud's own controller would do."""
    node = json.loads(forming.kubectl(env, "get", "node", server.name, "--output=json"))
    addresses = [
        {"type": "InternalIP", "address": member.address},
        {"type": "ExternalIP", "address": server.address},
        {"type": "Hostname", "address": server.name},
    ]
    if node["status"].get("addresses") != addresses:
        change = json.dumps({"status": {"addresses": addresses}})
        forming.kubectl(env, "patch", "node", server.name, "--subresource=status", "--type=merge", f"--patch={change}")
    if any(taint["key"] == _UNINITIALIZED for taint in node["spec"].get("taints", [])):
        forming.kubectl(env, "taint", "node", server.name, f"{_UNINITIALIZED}-")
