"""The embedded cluster's etcd: a copy of what it holds, and a control plane that begins again from one.

A copy is one line, `etcd` and the checksum of the cluster's CA, and then etcd's own snapshot, which ends with a
checksum of itself. Secrets in it are sealed with the key that lies on the node (encryption): a copy is of use to the
cluster that it was made of, and to no other.
"""

import contextlib
import hashlib
import shutil
from functools import partial
from pathlib import Path
from typing import Final

from betelgeuse.builds import golang
from betelgeuse.clusters.local import cluster, kubeadm, renewal
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.progress import step
from betelgeuse.shell import run

_PKI: Final = "/etc/kubernetes/pki"
_ETCD: Final = renewal.STATIC_PODS[0]
_API_SECONDS: Final = 180.0
_DUMP: Final = f"""set -eu
umask 077
folder=/var/lib/betelgeuse-etcd
rm -rf "$folder"
mkdir "$folder"
trap 'rm -rf "$folder"' EXIT
{kubeadm.ETCDCTL} snapshot save "$folder/db" >"$folder/said" 2>&1 || {{ tail -n 3 "$folder/said" >&2; exit 1; }}
echo "etcd $(sha256sum <{_PKI}/ca.crt | cut -d ' ' -f 1)"
cat "$folder/db"
"""
_SUM: Final = hashlib.sha256().digest_size
_PIECE: Final = 1 << 20
_LATER: Final = 1_000_000_000
"""Revisions by which the data is newer than all that anybody saw: whoever watched something looks at it anew."""


def _first() -> Node:
    if nodes := cluster.recorded():
        return nodes[0]
    message = "there is no cluster of `local`: `invoke deploy` forms one"
    raise BetelgeuseError(message)


def dump() -> list[str]:
    """Return the command that prints a copy; BetelgeuseError where the node does not run."""
    return cluster.entering(_first(), ["sh", "-c", _DUMP])


def _authority(node: Node) -> str:
    return hashlib.sha256((node.root / _PKI.lstrip("/") / "ca.crt").read_bytes()).hexdigest()


def unpack(copy: Path, authority: str, to: Path) -> None:
    """Write the snapshot of a copy to a file; RefusedError where it is none, another cluster's, or not whole."""
    digest, kept = hashlib.sha256(), b""
    with copy.open("rb") as source, to.open("wb") as out:
        head = source.readline(100).decode(errors="replace").split()
        if len(head) != 2 or head[0] != "etcd":  # noqa: PLR2004 - a word and a checksum
            message = "this is no copy of an etcd; nothing was changed"
            raise RefusedError(message)
        if head[1] != authority:
            message = (
                "this copy is of a cluster with another CA, whose Secrets this one cannot read; nothing was changed"
            )
            raise RefusedError(message)
        while piece := source.read(_PIECE):
            out.write(piece)
            kept += piece
            digest.update(kept[:-_SUM])
            kept = kept[-_SUM:]
    if kept != digest.digest():
        message = "this copy of etcd is cut short or bent; nothing was changed"
        raise RefusedError(message)


def rebuild(snapshot: Path, to: Path, name: str, peer: str) -> None:
    """Make of a snapshot the data of a cluster of one member, by its name and the URL that peers would reach it at."""
    whose = ["--name", name, "--initial-cluster", f"{name}={peer}", "--initial-advertise-peer-urls", peer]
    later = [f"--bump-revision={_LATER}", "--mark-compacted"]
    etcdutl = str(golang.commands("etcdutl") / "etcdutl")
    run([etcdutl, "snapshot", "restore", str(snapshot), "--data-dir", str(to), *whose, *later])


def _swap(node: Node, fresh: Path) -> None:
    """Put restored data into the place of what is there, while no etcd writes."""
    data = node.root / "var/lib/etcd"
    with contextlib.suppress(BetelgeuseError):
        # None that runs is no failure: it may be what is broken.
        cluster.inside(node, ["pkill", "-STOP", "-f", _ETCD])
    if (data / "member").exists():
        (data / "member").rename(data / "before")
    (fresh / "member").rename(data / "member")
    with contextlib.suppress(BetelgeuseError):
        cluster.inside(node, ["pkill", "-KILL", "-f", _ETCD])
    # It waits longer and longer with what failed to start; a new one does not.
    renewal.end(node, "^kubelet ")


def _forget(data: Path) -> None:
    for rest in ("restored", "before"):
        shutil.rmtree(data / rest, ignore_errors=True)


def load(copy: Path, scratch: Path) -> None:
    """Have the control plane begin again from a copy; killed at any point, the next one does it anew.

    `scratch` is a folder for the snapshot. Raises RefusedError for a copy that cannot be used, before anything is
    touched.
    """
    node = _first()
    snapshot = scratch / "snapshot.db"
    unpack(copy, _authority(node), snapshot)
    data = node.root / "var/lib/etcd"
    fresh = data / "restored"
    if not (data / "member").exists() and (data / "before").exists():
        # One was killed between two steps.
        (data / "before").rename(data / "member")
    _forget(data)
    rebuild(snapshot, fresh, node.name, f"https://{node.address}:2380")
    with step("control plane with the data of the copy"):
        renewal.restart(node, "control plane with the data of the copy", partial(_swap, node, fresh))
        cluster.wait("API server", _API_SECONDS, lambda: cluster.api_ready(node))
    _forget(data)
