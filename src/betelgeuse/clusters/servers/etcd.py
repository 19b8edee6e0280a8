"""The etcd of a cluster on servers: a copy of what it holds, and a control plane that begins again from one.

Copies are as those of the embedded cluster: one line that says whose they are, then etcd's own snapshot.
"""

from functools import partial
from pathlib import Path
from typing import Final

from betelgeuse import servers
from betelgeuse.clusters.local import etcd
from betelgeuse.clusters.local.renewal import STATIC_PODS
from betelgeuse.clusters.servers import joining, renewal
from betelgeuse.clusters.servers.target import reach
from betelgeuse.errors import RefusedError
from betelgeuse.progress import step
from betelgeuse.shell import run
from betelgeuse.ssh import Connection

_DATA: Final = "/var/lib/etcd"
"""The same path on the server and in etcd's container."""
_WHOSE: Final = "sha256sum </etc/kubernetes/pki/ca.crt | cut -d ' ' -f 1"
_DUMP: Final = f"""umask 077
trap 'rm -f {_DATA}/copy.db' EXIT
{joining.ETCDCTL} snapshot save {_DATA}/copy.db >&2
echo "etcd $({_WHOSE})"
cat {_DATA}/copy.db
"""
_MANIFEST: Final = "/etc/kubernetes/manifests/etcd.yaml"
# One that was killed between two steps is undone first.
_BRING: Final = f"""umask 077
cd {_DATA}
[ -e member ] || [ ! -e before ] || mv before member
rm -rf before restored
mkdir restored
tar -x -C restored --no-same-owner
"""
# None that runs is no failure: it may be what is broken. The kubelet waits longer and longer with what failed to start;
# a new one does not.
_SWAP: Final = f"""cd {_DATA}
pkill -STOP -f '{STATIC_PODS[0]}' || [ $? = 1 ]
[ ! -e member ] || mv member before
mv restored/member member
pkill -KILL -f '{STATIC_PODS[0]}' || [ $? = 1 ]
systemctl restart kubelet
"""
_SEND_SECONDS: Final = 900.0


def dump(env: str) -> list[str]:
    """Return the command that prints a copy, asked of the first control plane."""
    controls = [server for server in servers.load(env) if server.controls]
    (connection,) = reach(env, controls[:1])
    return connection.argv(_DUMP)


def _argument(connection: Connection, name: str) -> str:
    """Return what the server's etcd is told, whether it runs or not."""
    return connection.run(f"sed -n 's/^ *- --{name}=//p' {_MANIFEST}").strip()


def load(env: str, copy: Path, scratch: Path) -> None:
    """Have the control plane begin again from a copy; killed at any point, the next one does it anew.

    `scratch` is a folder for what comes out of it. Raises RefusedError for a copy that cannot be used and for several
    control planes, before anything is touched.
    """
    controls = [server for server in servers.load(env) if server.controls]
    if len(controls) > 1:
        others = ", ".join(server.name for server in controls[1:])
        message = (
            f"{env} has {len(controls)} control planes, and a copy is for one: take the others out"
            f" (`invoke nodes --env={env} --remove=NAME`: {others}), restore, and list them again"
        )
        raise RefusedError(message)
    (connection,) = reach(env, controls)
    snapshot, fresh, packed = scratch / "snapshot.db", scratch / "restored", scratch / "member.tar"
    etcd.unpack(copy, connection.run(_WHOSE).strip(), snapshot)
    etcd.rebuild(snapshot, fresh, _argument(connection, "name"), _argument(connection, "initial-advertise-peer-urls"))
    run(["tar", "-c", "-C", str(fresh), "-f", str(packed), "member"])
    with step(f"control plane of {connection.server.name} with the data of the copy"):
        connection.run(_BRING, input=packed, timeout=_SEND_SECONDS)
        renewal.restart(connection, "control plane with the data of the copy", partial(connection.run, _SWAP))
    connection.run(f"rm -rf {_DATA}/before {_DATA}/restored")
