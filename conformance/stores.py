"""Accounts of the stores, and a pod of the run's own that has every store's client."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import urllib3
from minio import Minio

from betelgeuse.kube import Obj
from betelgeuse.tree import STORE, STORE_ADMIN, Ref, TcpHost
from betelgeuse.tree.workloads import containers, pod_spec
from conformance.features import STORES
from conformance.inside import Inside, started
from conformance.names import resolved
from conformance.secrecy import MASKER, NAMES, Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand

ACCOUNTS: Final = Ref("Deployment", "db", "store-accounts", "apps/v1")
"""What makes the accounts; its image has every client."""
ALL: Final = (*STORES, "qdrant")
"""What a client may reach; Qdrant has a key and no accounts."""
_ROOT: Final = Ref("Secret", "cert-manager", "stores-ca", "v1")
_VECTORS: Final = Ref("Secret", "vec", "qdrant", "v1")
_PROGRAM: Final = """
import json, sys, time
values = json.loads(sys.stdin.readline())
def attempt(function, *arguments, **named):
    begin = time.monotonic()
    try:
        return {"value": function(*arguments, **named), "seconds": time.monotonic() - begin}
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error), "seconds": time.monotonic() - begin}
def file(text):
    import tempfile
    with tempfile.NamedTemporaryFile("w", delete=False) as stream:
        stream.write(text)
    return stream.name
exec(compile(sys.stdin.read(), "snippet", "exec"))
print(json.dumps(result, default=str))
"""


def _keys(secret: Obj) -> dict[str, str]:
    keys = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
    for key, value in keys.items():
        if key not in NAMES:
            MASKER.learn(value)
    return keys


def _secret(site: Site, label: str, store: str, user: str = "") -> dict[str, str]:
    found = [_keys(secret) for secret in site.cluster.fresh("v1", "Secret", labels=f"{label}={store}")]
    return demand(
        next((keys for keys in found if not user or keys.get("user") == user), None),
        where=f"store {store}",
        want=f"a Secret with the label {label}={store}{f' and user {user}' if user else ''}",
        got=f"{len(found)} Secrets",
        reproduce=f"kubectl get secrets -A -l {label}={store}",
    )


def account(site: Site, store: str, user: str) -> dict[str, str]:
    """Return the keys of a declared account: host, port, user, password, ca.crt and the store's own."""
    return _secret(site, STORE, store, user)


def vectors_key(site: Site) -> Secret:
    """Return the key of the vector store, which knows no accounts."""
    return demand(
        site.cluster.secret(_VECTORS, "credential"),
        where=str(_VECTORS),
        want="a key",
        got="none",
        reproduce=_VECTORS.kubectl("describe"),
    )


def administrator(site: Site, store: str) -> dict[str, str]:
    """Return the keys of a store's administrator."""
    return _secret(site, STORE_ADMIN, store)


@contextmanager
def s3(site: Site, user: str, password: str = "") -> Iterator[Minio]:
    """Yield a client of the object store outside, of an account with its own or another password."""
    keys, host = account(site, "s3", user), site.host("s3")
    web = urllib3.PoolManager(
        ca_certs=str(site.ca) if site.ca else None,
        timeout=urllib3.Timeout(connect=TIMEOUTS.connect, read=TIMEOUTS.answer),
        retries=False,
    )
    with resolved(site, host.name):
        yield Minio(host.name, keys["user"], password or keys["password"], region="us-east-1", http_client=web)


def _root(site: Site) -> TemporaryDirectory[str]:
    text = demand(
        site.cluster.secret(_ROOT, "ca.crt"),
        where=str(_ROOT),
        want="the root of the stores' CA",
        got="nothing",
        reproduce="invoke ca --stores",
    )
    folder = TemporaryDirectory()
    Path(folder.name, "ca.crt").write_text(text.reveal(), "utf-8")
    return folder


def root(site: Site) -> Path:
    """Return a file with the root of the stores' CA; it goes with the run."""
    return Path(site.once(("stores root",), lambda: _root(site)).name, "ca.crt")


def server(site: Site, name: str) -> TcpHost:
    """Return where a store is reached from outside, by the first label of its public name."""
    return demand(
        next((host for host in site.tree.tcp_hosts if host.name.partition(".")[0] == name), None),
        where="the tree",
        want=f"a TcpHost with the name {name}.DOMAIN",
        got=[str(host) for host in site.tree.tcp_hosts],
        reproduce=f"invoke open {name}",
    )


@dataclass(frozen=True)
class Client:
    """A pod that may reach every store, as an application's pod with its labels may."""

    site: Site
    pod: Obj

    def run(self, snippet: str, *, timeout: float = 30.0, **values: object) -> Any:  # noqa: ANN401 - whatever the snippet's `result` is
        """Run Python in the pod and return what it leaves in `result`; the map `values` goes there by standard input.

        It may run for `timeout` seconds.
        `attempt(function, …)` gives {"value"} or {"error", "text"} with "seconds"; `file(text)` the path of a file.
        """
        meta = self.pod["metadata"]
        stdin = f"{json.dumps(values)}\n{snippet}"
        command = ["/usr/bin/python3", "-c", _PROGRAM]
        answer = self.site.execute(meta["namespace"], meta["name"], command, stdin=stdin, timeout=timeout)
        return json.loads(answer.splitlines()[-1])

    def execute(self, program: str, timeout: float) -> str:
        """Run a whole Python program in the pod and return what it prints; it may run for `timeout` seconds."""
        meta = self.pod["metadata"]
        return self.site.execute(
            meta["namespace"], meta["name"], ["/usr/bin/python3", "-"], stdin=program, timeout=timeout
        )


def _pod(namespace: str, image: str, name: str, stores: Sequence[str]) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {f"betelgeuse.io/uses-{store}": "true" for store in stores},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/usr/bin/python3", "-c", "import signal; signal.pause()"],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
                        "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "64Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a folder of its own
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}],
        },
    }


def _image(site: Site) -> str:
    return str(next(iter(containers(pod_spec(site.tree.find(ACCOUNTS)))))["image"])


@contextmanager
def client(site: Site, inside: Inside, name: str = "stores-client", stores: Sequence[str] = ALL) -> Iterator[Client]:
    """Put a client of some stores into the run's namespace; it goes with it."""
    pod = _pod(inside.namespace, _image(site), name, stores)
    started(site, pod)
    try:
        yield Client(site, pod)
    finally:
        site.cluster.kube.delete(pod)


@contextmanager
def application(site: Site, inside: Inside, store: str, template: Obj) -> Iterator[Client]:
    """Put a pod with the labels and volumes of an application's template into the run's namespace, for a while.

    The Secret that the template mounts holds the keys of the account `research`.
    """
    pod = _pod(inside.namespace, _image(site), f"page-{store}", ())
    (volume,), (container,) = template["spec"]["volumes"], template["spec"]["containers"]
    pod["metadata"]["labels"] = template["metadata"]["labels"]
    pod["spec"]["volumes"].append(volume)
    pod["spec"]["containers"][0]["volumeMounts"] += container["volumeMounts"]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": volume["secret"]["secretName"], "namespace": inside.namespace},
        "stringData": {"key": vectors_key(site).reveal()} if store == "qdrant" else account(site, store, "research"),
    }
    site.cluster.kube.server_side_apply(secret, "betelgeuse-conformance", force=True)
    started(site, pod)
    try:
        yield Client(site, pod)
    finally:
        site.cluster.kube.delete(pod)
