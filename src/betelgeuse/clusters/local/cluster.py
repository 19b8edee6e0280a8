"""Bring the embedded cluster up and down. Every step looks at what is there first, so any run continues any other."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, cast

from betelgeuse import paths
from betelgeuse.clusters import kubeconfig
from betelgeuse.clusters.drain import Kubectl
from betelgeuse.clusters.local import audit, cgroups, encryption, guard, host, invitation, kubeadm, network
from betelgeuse.clusters.local.layout import DESIRED, ENV, GUARD_LOCK, Node
from betelgeuse.errors import BetelgeuseError, RefusedError, WaitTimeoutError
from betelgeuse.kube import command
from betelgeuse.progress import Ticker, say, step
from betelgeuse.shell import run

_BOOT_SECONDS: Final = 60.0
_API_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 20.0
"""For one look at the API: on a slow machine kubectl alone takes six of them."""
_GUARD_SECONDS: Final = 10.0
_POLL: Final = 0.05
_ADMIN: Final = "/etc/kubernetes/admin.conf"


@dataclasses.dataclass(frozen=True)
class Programs:
    """What a node runs: the folders on its PATH, and the CNI plugin every sandbox needs."""

    path: str
    loopback: Path
    versions: kubeadm.Versions


def wait(what: str, seconds: float, ready: Callable[[], str]) -> None:
    """Poll until `ready` returns "", else say its reason; raise with the last one when the time is over."""
    with Ticker(seconds, what) as ticker:
        while reason := ready():
            if ticker.elapsed > seconds:
                message = f"{what}: not within {seconds:.0f} s: {reason}"
                raise WaitTimeoutError(message)
            ticker.update(reason)
            time.sleep(_POLL)


def entering(node: Node, argv: Sequence[str]) -> list[str]:
    """Return the command that runs a program inside a node, with the node's own programs on its PATH."""
    pid = guard.init_pid(node)
    if pid is None:
        message = f"{node.name} is not running: run `invoke deploy` to boot it"
        raise BetelgeuseError(message)
    enter = ["nsenter", "--target", str(pid), "--mount", "--uts", "--net", "--pid", "--"]
    return [*enter, "env", f"PATH={_search_path()}", f"KUBECONFIG={_ADMIN}", *argv]


def inside(node: Node, argv: Sequence[str], *, data: str | None = None, log: Path | None = None) -> str:
    """Run a program inside a node and return its output."""
    return run(entering(node, argv), input=data, log=log, internet=False)


def _search_path() -> str:
    return cast("str", json.loads(DESIRED.read_text())["path"])


def _containerd_ready(node: Node) -> str:
    pid = guard.init_pid(node)
    if pid is None:
        return f"{node.name} is not booted ({node.log / 'init.log'}, {guard.LOG})"
    if not Path(f"/proc/{pid}/root/run/betelgeuse-ready").exists():
        return f"{node.name} builds its file system ({node.log / 'init.log'})"
    if not Path(f"/proc/{pid}/root/run/containerd/containerd.sock").exists():
        return f"containerd of {node.name} has no socket yet ({node.log / 'containerd.log'})"
    return ""


def _prepare(node: Node, programs: Programs) -> None:
    """Write the files a node needs before its programs start."""
    for name, text in (
        ("etc/containerd/config.toml", kubeadm.containerd_config(programs.versions.pause)),
        (audit.FILE.lstrip("/"), audit.document()),
        *((f"etc/kubernetes/patches/{name}", text) for name, text in kubeadm.patches(node).items()),
    ):
        file = node.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    plugins = node.root / "opt/cni/bin"
    plugins.mkdir(parents=True, exist_ok=True)
    shutil.copy2(programs.loopback, plugins / "loopback")


def recorded() -> list[Node]:
    """Return the nodes that should be running."""
    try:
        return [Node(**node) for node in json.loads(DESIRED.read_text())["nodes"]]
    except (FileNotFoundError, ValueError):
        return []


def boot(nodes: Sequence[Node], programs: Programs) -> None:
    """Boot the nodes: a guard keeps them running from now on, and those that run already until they are drained."""
    _check_leftovers(nodes)
    host.prepare(nodes[0])
    for node in nodes:
        _prepare(node, programs)
    everyone = [*nodes, *(node for node in recorded() if node not in nodes)]
    wanted = json.dumps({"path": programs.path, "nodes": [dataclasses.asdict(node) for node in everyone]})
    paths.settle(DESIRED, wanted)
    if not _guarded():
        guard.spawn()
    for node in nodes:
        wait(f"boot {node.name}", _BOOT_SECONDS, partial(_containerd_ready, node))


def _check_leftovers(nodes: Sequence[Node]) -> None:
    """Refuse to build over a cluster at other addresses, and clear away what kubeadm left half done."""
    running = recorded()
    if running and running[0].address != nodes[0].address:
        message = (
            f"a cluster runs at {running[0].address}, the settings say {nodes[0].address}:"
            " run `invoke destroy --env=local` first"
        )
        raise RefusedError(message)
    for node in half_formed(nodes):
        say(f"{node.name}: kubeadm stopped half way last time: it starts anew")
        wipe(node)


def wipe(node: Node) -> None:
    """Take a node out of the wanted ones, power it off and forget its disk."""
    with guard.boot_lock():
        data = json.loads(DESIRED.read_text())
        data["nodes"] = [entry for entry in data["nodes"] if entry["index"] != node.index]
        paths.write(DESIRED, json.dumps(data))
        _power_off(node)
    shutil.rmtree(node.folder, ignore_errors=True)


def kubectl(*arguments: str, data: str | None = None, timeout: float = 30) -> str:
    """Run kubectl as the cluster's administrator and return its output."""
    argv = [command.kubectl(), "--kubeconfig", str(paths.kubeconfig_path(ENV)), *arguments]
    return run(argv, input=data, timeout=timeout, internet=False)


def _guarded() -> bool:
    """Tell whether a guard holds the lock."""
    try:
        descriptor = os.open(GUARD_LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


PINNED: Final = "io.cri-containerd.pinned=pinned"
"""The label that keeps an image from garbage collection: without a registry, nobody brings it back."""


def images_of(node: Node) -> set[str]:
    """Return the names of the images a node has."""
    return set(inside(node, ["ctr", "-n", "k8s.io", "images", "list", "-q"]).split())


def import_image(node: Node, archive: Path, reference: str) -> None:
    """Load an image archive into a node and keep it from garbage collection."""
    pid = guard.init_pid(node)
    log = node.log / "import.log"
    enter = ["nsenter", "--target", str(pid), "--mount", "--pid", "--"]
    path = {"PATH": _search_path()}
    run([*enter, "ctr", "-n", "k8s.io", "images", "import", "--local", str(archive)], log=log, env=path, internet=False)
    label = ["ctr", "-n", "k8s.io", "images", "label", reference, PINNED]
    run([*enter, *label], log=log, env=path, internet=False)


def _marker(node: Node) -> Path:
    return node.folder / "joined"


def joined(node: Node) -> bool:
    """Return whether a node is part of the cluster."""
    return _marker(node).is_file()


def form(nodes: Sequence[Node], programs: Programs, domain: str) -> None:
    """Make one Kubernetes cluster of the booted nodes; what joined stays, what stopped half way starts anew."""
    first, others = nodes[0], nodes[1:]
    encryption.ensure(first)
    if not joined(first):
        _kubeadm(first, "init", kubeadm.init_config(first, programs.versions, domain))
        encryption.sealed(first).touch()
    write_kubeconfig(first)
    wait("API server", _API_SECONDS, lambda: api_ready(first))
    for node in others:
        if not joined(node):
            _kubeadm(node, "join", kubeadm.join_config(node, first, _new_token(), _ca_hash(first)))
    # kubeadm bars load balancers from control planes; here the control plane's address is the platform's.
    kubectl("label", "node", first.name, "node.kubernetes.io/exclude-from-external-load-balancers-")


def half_formed(nodes: Sequence[Node]) -> list[Node]:
    """Return nodes on which kubeadm began and did not finish: they are wiped before the next try."""
    begun = [node for node in nodes if (node.root / "etc/kubernetes/kubelet.conf").exists()]
    return [node for node in begun if not joined(node)]


def _kubeadm(node: Node, verb: str, config: str) -> None:
    file = node.root / f"etc/kubernetes/kubeadm-{verb}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(config)
    log = node.log / f"kubeadm-{verb}.log"
    with step(f"kubeadm {verb} on {node.name}"):
        inside(node, ["kubeadm", verb, "--config", f"/etc/kubernetes/kubeadm-{verb}.yaml"], log=log)
    _marker(node).touch()


def write_kubeconfig(first: Node) -> None:
    """Leave the administrator's kubeconfig where every command looks for it."""
    kubeconfig.keep(ENV, (first.root / _ADMIN.lstrip("/")).read_text())


def api_ready(first: Node) -> str:
    """Return why the API server does not serve yet; empty when it does."""
    return unready(kubectl, first.address)


def unready(ask: Kubectl, address: str) -> str:
    """Return why the API server that `ask` talks to, at an address, does not serve yet; empty when it does."""
    try:
        answer = ask("get", "--raw", "/readyz", timeout=_LOOK_SECONDS)
    except BetelgeuseError as error:
        return f"{address} does not answer: {str(error)[-160:]}"
    return "" if answer == "ok" else answer


def _new_token() -> str:
    token, secret = invitation.token()
    # By standard input: arguments are visible to every process of the machine.
    kubectl("apply", "-f", "-", data=secret)
    return token


def _ca_hash(first: Node) -> str:
    return invitation.pin((first.root / "etc/kubernetes/pki/ca.crt").read_bytes())


def _power_off(node: Node) -> None:
    """Kill the node's init, and with it everything inside; then its cgroups and its cable."""
    if (pid := guard.init_pid(node)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cgroups.kill_all(node)
    cgroups.remove(node)
    network.node_down(node)


def _strays() -> list[Node]:
    """Return nodes that left a cgroup or a namespace behind although nothing records them any more."""
    prefix = f"btg-{ENV}-node-"
    places = [*cgroups.places(), Path("/run/netns")]
    names = {path.name for place in places if place.is_dir() for path in place.glob(f"{prefix}*")}
    indexes = sorted(int(name.removeprefix(prefix)) for name in names if name.removeprefix(prefix).isdigit())
    return [Node(index, "", 0, "") for index in indexes]


def destroy() -> None:
    """Remove the cluster whole: processes, cgroups, namespaces, cables, files. Safe to repeat and after a kill."""
    nodes = {node.index: node for node in (*_strays(), *recorded())}
    DESIRED.unlink(missing_ok=True)
    wait("guard ends", _GUARD_SECONDS, lambda: f"it holds {GUARD_LOCK}" if _guarded() else "")
    for node in nodes.values():
        with step(f"remove {node.name}"):
            _power_off(node)
    cgroups.close()
    host.restore()
    if (folder := paths.state_dir(ENV)).is_dir():
        with step(f"remove {folder}"):
            shutil.rmtree(folder, ignore_errors=True)
