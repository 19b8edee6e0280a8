"""Renew what kubeadm signed for a control plane, before it ends: a deploy looks, and does it within the last season."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from betelgeuse.clusters.local import certificates, cluster
from betelgeuse.clusters.local.certificates import SEASON, Certificate
from betelgeuse.clusters.local.renewal import STATIC_PODS
from betelgeuse.clusters.servers import forming, place
from betelgeuse.progress import say, step
from betelgeuse.ssh import Connection

_SECONDS: Final = 300.0
_MARK: Final = "== "
# Of kubeconfigs the certificate alone: the key beside it stays where it is.
_READ: Final = f"""
cd /etc/kubernetes
for file in pki/*.crt pki/etcd/*.crt; do
  [ -e "$file" ] || continue
  echo "{_MARK}$file"
  cat "$file"
done
for file in admin super-admin controller-manager scheduler; do
  [ -e "$file.conf" ] || continue
  echo "{_MARK}$file.conf.crt"
  sed -n 's/.*client-certificate-data: //p' "$file.conf" | base64 -d
done
for file in /var/lib/kubelet/pki/kubelet-*-current.pem; do
  [ -e "$file" ] || continue
  echo "{_MARK}$(basename "$file" -current.pem).crt"
  sed '/KEY/,$d' "$file"
done
"""


def parse(server: str, text: str) -> list[Certificate]:
    """Return the certificates in what a server says, the earliest to end first."""
    parts = [part.partition("\n") for part in text.split(_MARK)[1:]]
    return certificates.collect((f"/nodes/{server}/root/{name}", pem) for name, _, pem in parts)


def read(connection: Connection) -> list[Certificate]:
    """Return the certificates of a server's part of the cluster, the earliest to end first."""
    return parse(connection.server.name, connection.run(_READ))


def renew(connection: Connection, within: timedelta = SEASON) -> bool:
    """Renew what ends within a time and have the control plane start with it; return whether anything was due."""
    name = connection.server.name
    # The kubelet sees to its own.
    found = [each for each in read(connection) if not each.name.startswith("kubelet-")]
    if not (due := certificates.due(found, within)):
        return False
    say(f"{name}: {certificates.words(due, datetime.now(UTC))}: {len(due)} are renewed")
    with step(f"renew the control plane's certificates on {name}"):
        # Further control planes know the configuration from the cluster.
        config = f"$([ ! -e {place.INIT} ] || echo --config {place.INIT})"
        connection.run(f"PATH={place.BIN}:$PATH kubeadm certs renew all {config}", timeout=_SECONDS)
        forming.keep(connection)
        restart(connection, "control plane with new certificates")
    return True


def restart(connection: Connection, what: str, instead: Callable[[], object] | None = None) -> None:
    """End the control plane's pods one after the other, and wait until each runs anew, as `what` says.

    `instead` ends etcd its own way.
    """
    # Each behind what it asks: who finds nobody gives up, and is started again ever later.
    for pattern in STATIC_PODS:
        before = _pids(connection, pattern)
        if instead and pattern is STATIC_PODS[0]:
            instead()
        else:
            # None to end is no failure: whatever starts it next reads the new files.
            connection.succeeds(f"pkill -f {_quoted(pattern)}")
        cluster.wait(what, _SECONDS, partial(_old, connection, pattern, before))


def _quoted(pattern: str) -> str:
    return f"'{pattern}'"


def _pids(connection: Connection, pattern: str) -> set[str]:
    return set(connection.run(f"pgrep -f {_quoted(pattern)} || [ $? = 1 ]").split())


def _old(connection: Connection, pattern: str, before: set[str]) -> str:
    """Return what has not started anew yet, or does not serve."""
    if not _pids(connection, pattern) - before:
        return f"the kubelet has not started {pattern} again"
    return forming.api_ready(connection)
