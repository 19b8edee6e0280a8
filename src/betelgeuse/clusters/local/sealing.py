"""Bring a cluster that was formed without encryption to it: flag on the API server, every Secret written again."""

import json
from typing import Final

from betelgeuse.clusters.local import cluster, controlplane, encryption
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step

_REWRITE_SECONDS: Final = 60.0
_FLAG: Final = f"--encryption-provider-config={encryption.FILE}"


def seal(first: Node, programs: cluster.Programs, domain: str) -> None:
    """Leave no Secret in the clear; a cluster that was born with the key is left alone, an interrupted run goes on."""
    if encryption.sealed(first).is_file():
        return
    with step("encrypting the Secrets in etcd"):
        if controlplane.lacking(first, _FLAG, controlplane.APISERVER):
            encryption.ensure(first)
            controlplane.reconfigure(first, programs, domain, controlplane.APISERVER)
        controlplane.restarted(first, _FLAG)
        cluster.wait("Secrets written again", _REWRITE_SECONDS, _rewritten)
        encryption.sealed(first).touch()


def _rewritten() -> str:
    """Write every Secret as it is: the API server seals what it read in the clear. Return why it has to be repeated."""
    try:
        found = json.loads(cluster.kubectl("get", "secrets", "--all-namespaces", "--output=json"))
        cluster.kubectl("replace", "-f", "-", data=json.dumps(found))
    except BetelgeuseError as error:
        # Somebody wrote one at the same moment, or the server is not through its start.
        return str(error)[-160:]
    return ""
