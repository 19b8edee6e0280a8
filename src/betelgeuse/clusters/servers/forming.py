"""Make a Kubernetes cluster of servers: kubeadm there, its administrator's kubeconfig here."""

import base64
import json
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

from cryptography import x509

from betelgeuse import paths
from betelgeuse.clusters import kubeconfig
from betelgeuse.clusters.local import cluster, encryption, kubeadm
from betelgeuse.clusters.local.kubeadm import Member, Traits, Versions
from betelgeuse.clusters.local.layout import API_PORT
from betelgeuse.clusters.servers import place
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.kube import command
from betelgeuse.progress import step
from betelgeuse.servers import Server
from betelgeuse.shell import run
from betelgeuse.ssh import Connection

_INIT_SECONDS: Final = 900.0
_API_SECONDS: Final = 180.0
_SIGNED_SECONDS: Final = 120.0
_ADMIN: Final = "/etc/kubernetes/admin.conf"
_SERVING: Final = "/var/lib/kubelet/pki/kubelet-server-current.pem"
_SIGNER: Final = "kubernetes.io/kubelet-serving"
_EXCLUDED: Final = "node.kubernetes.io/exclude-from-external-load-balancers-"


def kubectl(env: str, *arguments: str, data: str | None = None, timeout: float = 30) -> str:
    """Run kubectl as the cluster's administrator and return its output; `data` is what it reads."""
    argv = [command.kubectl(), "--kubeconfig", str(paths.kubeconfig_path(env)), *arguments]
    return run(argv, input=data, timeout=timeout, internet=False)


def encrypt(connection: Connection, *, joined: bool) -> None:
    """Make the key of the cluster's Secrets unless it is there; refuse to make a second one for sealed data."""
    if connection.succeeds(f"[ -e {encryption.FILE} ]"):
        return
    if joined:
        message = (
            f"{connection.server.name}: {encryption.FILE} is gone, and with it the key of this cluster's Secrets: put"
            f" it back from a backup, or begin anew with `invoke destroy --env={connection.env}`"
        )
        raise RefusedError(message)
    connection.run(f"mkdir -p -m 700 {encryption.FOLDER}")
    connection.write(encryption.FILE, encryption.fresh(), 0o600)


def form(connection: Connection, member: Member, versions: Versions, domain: str, traits: Traits) -> None:
    """Run kubeadm on the first server, which is a node by the name and at the address of `member`."""
    server = connection.server
    config = kubeadm.init_config(member, versions, domain, traits)
    connection.write(place.INIT, config, 0o600)
    log = paths.state_dir(connection.env) / "logs" / f"kubeadm-init-{server.name}.log"
    with step(f"kubeadm init on {server.name}"):
        init = f"PATH={place.BIN}:$PATH kubeadm init --config {place.INIT}"
        connection.run(init, log=log, timeout=_INIT_SECONDS)
        connection.run(f"touch {place.JOINED}; sync -f {place.JOINED}")


def keep(connection: Connection) -> None:
    """Keep the administrator's kubeconfig here, with the server's own address: the mesh's is for its members."""
    url = f"https://{connection.server.address}:{API_PORT}"
    kubeconfig.keep(connection.env, connection.run(f"cat {_ADMIN}"), url)


def fetch(connection: Connection) -> None:
    """Keep the administrator's kubeconfig here, and wait for the API server that it names."""
    keep(connection)
    cluster.wait("API server", _API_SECONDS, partial(api_ready, connection))


def api_ready(connection: Connection) -> str:
    """Return why the API server does not serve yet; empty when it does."""
    return cluster.unready(partial(kubectl, connection.env), connection.server.address)


def label(env: str, server: Server) -> None:
    """Give the node its labels; kubeadm bars load balancers from control planes, but ours carries the gateway."""
    wanted = [f"{name}={text}" for name, text in sorted(server.labels.items())]
    barred = [_EXCLUDED] if server.works and server.controls else []
    if wanted or barred:
        kubectl(env, "label", "node", server.name, "--overwrite", *wanted, *barred)


def sign(connection: Connection, *addresses: str) -> None:
    """See that the kubelet serves with a certificate of the cluster's authority: approve what it asks for.

    `addresses` are those that the node has in the cluster.
    """
    with step(f"sign the kubelet's certificate of {connection.server.name}"):
        cluster.wait("the kubelet's certificate", _SIGNED_SECONDS, partial(_unsigned, connection, addresses))


def _unsigned(connection: Connection, addresses: Collection[str]) -> str:
    """Approve requests of the server's kubelet; return why it has no certificate yet."""
    server = connection.server
    try:
        found = json.loads(kubectl(connection.env, "get", "certificatesigningrequests", "--output=json"))["items"]
        for request in found:
            if approvable(request, server, addresses):
                kubectl(connection.env, "certificate", "approve", request["metadata"]["name"])
    except BetelgeuseError as error:
        return str(error)[-160:]
    served = connection.run(f"sed '/KEY/,$d' {_SERVING} 2>/dev/null || true")
    if not served.strip():
        return f"{server.name} has not asked for one, or not got it"
    # It asks for another when the node has got another address.
    lacking = {server.name, *addresses} - _hosts(x509.load_pem_x509_certificate(served.encode()))
    return f"{server.name} has not asked for one for {', '.join(sorted(lacking))}" if lacking else ""


def _hosts(signed: x509.Certificate | x509.CertificateSigningRequest) -> set[str]:
    try:
        names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def approvable(request: Mapping[str, Any], server: Server, addresses: Collection[str]) -> bool:
    """Tell whether a request is open, the server's kubelet's own, and for nothing but its name and addresses."""
    spec, user = request["spec"], f"system:node:{server.name}"
    if request.get("status", {}).get("conditions") or spec["signerName"] != _SIGNER or spec["username"] != user:
        return False
    asked = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
    hosts = _hosts(asked)
    return bool(hosts) and hosts <= {server.name, *addresses} and asked.is_signature_valid
