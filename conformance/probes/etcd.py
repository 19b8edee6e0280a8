"""What etcd really keeps, read with etcd's own client inside its pod: the API server would decrypt it for us."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from conformance.probes.k8s import Cluster

NAMESPACE: Final = "kube-system"
CIPHER: Final = b"k8s:enc:"
"""What begins every value that the API server sealed; then come provider, version and the key's name."""

_PKI: Final = "/etc/kubernetes/pki/etcd"
_CLIENT: Final = (
    "etcdctl",
    "--endpoints=https://127.0.0.1:2379",
    f"--cacert={_PKI}/ca.crt",
    f"--cert={_PKI}/healthcheck-client.crt",
    f"--key={_PKI}/healthcheck-client.key",
)
"""As kubeadm lays it out; the image holds no shell, and none is needed."""


class Exec(Protocol):
    """How to run a program in a pod; conformance/conftest.py gives kubectl's."""

    def __call__(
        self, namespace: str, pod: str, argv: Sequence[str], /, *, stdin: str = "", timeout: float = 30.0
    ) -> str:
        """Return what the program printed; it may run for `timeout` seconds."""


def no_exec(_namespace: str, _pod: str, _argv: Sequence[str], /, *, stdin: str = "", timeout: float = 30.0) -> str:  # noqa: ARG001 - as Exec
    """Stand where nobody gave a way into pods."""
    message = "this site has no way to run a program in a pod"
    raise BetelgeuseError(message)


@dataclass(frozen=True)
class Etcd:
    """One member."""

    pod: Obj
    run: Exec

    @property
    def command(self) -> str:
        """The command that does by hand what this does."""
        return f"kubectl -n {NAMESPACE} exec {self.pod['metadata']['name']} -- {' '.join(_CLIENT)}"

    def _ask(self, *arguments: str) -> str:
        return self.run(NAMESPACE, self.pod["metadata"]["name"], [*_CLIENT, *arguments])

    def value(self, key: str) -> bytes:
        """Return what is stored under a key; empty when nothing is."""
        # Hexadecimal: ciphertext is no text.
        lines = self._ask("get", key, "--hex").split()
        return bytes.fromhex(lines[1].replace("\\x", "")) if len(lines) > 1 else b""

    def beginnings(self, prefix: str, length: int) -> dict[str, bytes]:
        """Return the first bytes of every value below a prefix: enough to see a cipher, too few to keep a secret."""
        lines = [line for line in self._ask("get", prefix, "--prefix", "--hex").splitlines() if line]
        raw = [bytes.fromhex(line.replace("\\x", "")) for line in lines]
        return {key.decode(): value[:length] for key, value in zip(raw[::2], raw[1::2], strict=True)}


def members(cluster: Cluster, run: Exec) -> tuple[Etcd, ...]:
    """Return every member that runs as a pod; none where the control plane is somebody else's."""
    pods = cluster.list("v1", "Pod", NAMESPACE)
    chosen = (pod for pod in pods if pod["metadata"].get("labels", {}).get("component") == "etcd")
    return tuple(Etcd(pod, run) for pod in chosen)
