"""Bring programs and units to a server: what is there and right is left alone."""

import shlex
import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import golang
from betelgeuse.clusters.local import audit, cluster, kubeadm, sysctls
from betelgeuse.clusters.local.kubeadm import Traits
from betelgeuse.clusters.servers import place, units
from betelgeuse.clusters.servers.packages import PACKAGES
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step
from betelgeuse.ssh import Connection

CARRIED: Final[Mapping[str, tuple[str, ...]]] = {
    "kubernetes": ("kubeadm", "kubelet"),
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "runc": ("runc",),
    "cni-plugins": ("loopback",),
    "crictl": ("crictl",),
    "wireguard": ("wireguard-go",),
}
"""The commands of each program that a server gets; the rest of Kubernetes comes in images."""
_CARRY_SECONDS: Final = 1800.0
_APT_SECONDS: Final = 1200.0
_READY_SECONDS: Final = 60.0
_REMEMBERED: Final = (*sysctls.NAMES, "net/ipv4/ip_forward")


def folders() -> dict[str, str]:
    """Return where each program is on a server; everything must be built."""
    return {name: f"{place.PROGRAMS}/{golang.commands(name).name}" for name in CARRIED}


def packages(connection: Connection) -> None:
    """Install the Debian packages that a node's programs call, where they are missing."""
    looks = "\n".join(f"[ -e {probe} ] || echo {name}" for name, (probe, _) in PACKAGES.items())
    if not (missing := connection.run(looks).split()):
        return
    log = paths.state_dir(connection.env) / "logs" / f"apt-{connection.server.name}.log"
    names = shlex.join(missing)
    install = "apt-get install -y -qq --no-install-recommends"
    with step(f"install {', '.join(missing)} on {connection.server.name}"):
        command = f"export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; {install} {names}"
        connection.run(command, log=log, timeout=_APT_SECONDS)


def carry(connection: Connection) -> None:
    """Bring the programs that are not there yet, each whole or not at all, and take away those of former versions."""
    wanted = {name: Path(folder).name for name, folder in folders().items()}
    there = connection.run(f"mkdir -p {place.PROGRAMS}; ls {place.PROGRAMS}").split()
    for name, key in wanted.items():
        if key not in there:
            with step(f"carry {name} to {connection.server.name}"):
                _carry(connection, golang.commands(name), CARRIED[name], key)
    links = "; ".join(
        f"ln -sfn {place.PROGRAMS}/{key}/{command} {place.BIN}/{command}"
        for name, key in wanted.items()
        for command in CARRIED[name]
    )
    # The plugin that every sandbox needs; Cilium puts its own beside it.
    loopback = f"{place.PROGRAMS}/{wanted['cni-plugins']}/loopback"
    copy = f"cmp -s {loopback} /opt/cni/bin/loopback || install -D {loopback} /opt/cni/bin/loopback"
    connection.run(f"mkdir -p {place.BIN}; {links}; {copy}")


def _carry(connection: Connection, folder: Path, commands: tuple[str, ...], key: str) -> None:
    draft = f"{place.PROGRAMS}/.{key}"
    place_it = f"sync -f {draft}; mv {draft} {place.PROGRAMS}/{key}"
    unpack = f"rm -rf {draft}; mkdir {draft}; tar -x -C {draft} --no-same-owner; {place_it}"
    # Under a name of its own, so that what a killed deploy left is overwritten, or goes with the environment.
    file = paths.state_dir(connection.env) / f"{connection.server.name}.tar"
    with tarfile.open(file, mode="w") as tar:
        for command in commands:
            tar.add(folder / command, command)
    connection.run(unpack, input=file, timeout=_CARRY_SECONDS)
    file.unlink()


def sweep(connection: Connection) -> None:
    """Take away the programs of former versions, once nothing is started from them any more."""
    wanted = {Path(folder).name for folder in folders().values()}
    there = connection.run(f"ls -A {place.PROGRAMS}").split()
    if old := [name for name in there if name not in wanted]:
        connection.run("rm -rf " + " ".join(shlex.quote(f"{place.PROGRAMS}/{name}") for name in old))


def claim(connection: Connection, env: str) -> None:
    """Write down whose node the server is, and what kernel settings it had before it became one."""
    values = "; ".join(f"echo {name.replace('/', '.')}=$(cat /proc/sys/{name})" for name in _REMEMBERED)
    remember = (
        f"[ -e {place.BEFORE} ] || {{ {{ {values}; }} > {place.BEFORE}.new; mv {place.BEFORE}.new {place.BEFORE}; }}"
    )
    connection.run(f"mkdir -p {place.HOME}; {remember}")
    connection.write(place.OWNER, f"{env}\n")


def sysctl_file(before: str) -> str:
    """Return the kernel settings of a node, given those of the server before it was one, in sysctl's own form."""
    known = dict(line.split("=", 1) for line in before.splitlines())
    names = {name.replace("/", "."): least for name, least in sysctls.RAISED.items()}
    limits = [f"{name} = {max(least, int(known[name]))}\n" for name, least in names.items() if name in known]
    return "".join(["# Pods' packets pass through the server.\n", "net.ipv4.ip_forward = 1\n", *limits])


def configure(connection: Connection, traits: Traits, pause: str) -> None:
    """Have containerd run, and the kubelet be ready for kubeadm, both as today's version says."""
    found = folders()
    runtime = {
        f"{place.UNITS}/{units.CONTAINERD}": units.containerd(found, resources=traits.resources),
        place.CONTAINERD: kubeadm.containerd_config(pause, traits),
    }
    agent = {f"{place.UNITS}/{units.KUBELET}": units.kubelet(found, resources=traits.resources)}
    others = {
        place.SYSCTLS: sysctl_file(connection.run(f"cat {place.BEFORE}")),
        audit.FILE: audit.document(),
        **{f"/etc/kubernetes/patches/{name}": text for name, text in kubeadm.shares().items()},
    }
    changed = connection.settle({**runtime, **agent, **others})
    steps = ["systemctl daemon-reload"] if changed else []
    steps += [f"sysctl -q -p {place.SYSCTLS}", f"systemctl enable --quiet {units.CONTAINERD} {units.KUBELET}"]
    if set(changed) & set(runtime):
        steps.append(f"systemctl restart {units.CONTAINERD}")
    steps.append(f"systemctl start {units.CONTAINERD}")
    if set(changed) & set(agent):
        # It runs where kubeadm has been; elsewhere its condition is not met.
        steps.append(f"systemctl restart {units.KUBELET}")
    with step(f"start containerd on {connection.server.name}"):
        connection.run("; ".join(steps))
        cluster.wait("containerd", _READY_SECONDS, partial(_containerd, connection))


def _containerd(connection: Connection) -> str:
    try:
        connection.run(f"{place.BIN}/ctr version >/dev/null")
    except BetelgeuseError as error:
        return f"{connection.server.name} has none yet: {str(error)[-160:]}; journalctl -u {units.CONTAINERD}"
    return ""
