"""Debian packages that the embedded cluster and the checks need on this machine, and their installation."""

import os
import shutil
from collections.abc import Mapping
from typing import Final

from betelgeuse import paths
from betelgeuse.errors import BuildError, RefusedError
from betelgeuse.progress import step
from betelgeuse.shell import run

PACKAGES: Final[dict[str, tuple[str, str]]] = {
    # package: (a command or file it brings, why)
    "buildah": ("/usr/bin/buildah", "builds images from Dockerfiles without a daemon"),
    "ca-certificates": ("/etc/ssl/certs/ca-certificates.crt", "trust for package downloads"),
    "cmake": ("/usr/bin/cmake", "builds llama.cpp"),
    "conntrack": ("/usr/sbin/conntrack", "kubeadm and kube-proxy expect it on a node"),
    "ethtool": ("/usr/sbin/ethtool", "kubeadm expects it on a node"),
    "g++": ("/usr/bin/g++", "builds llama.cpp"),
    "gcc": ("/usr/bin/gcc", "builds runc (cgo)"),
    "git": ("/usr/bin/git", "the Go command and builds ask it for versions"),
    "gpg": ("/usr/bin/gpg", "signs what Argo CD is to bring about"),
    "gpg-agent": ("/usr/bin/gpg-agent", "uses the key for it"),
    "iproute2": ("/usr/sbin/ip", "network namespaces, veth pairs, the bridge"),
    "ipset": ("/usr/sbin/ipset", "Cilium's node needs it"),
    "iptables": ("/usr/sbin/iptables", "kubeadm and Cilium expect it on a node"),
    "libseccomp-dev": ("/usr/include/seccomp.h", "runc's seccomp profiles"),
    "maven": ("/usr/bin/mvn", "fetches Keycloak"),
    "mmdebstrap": ("/usr/bin/mmdebstrap", "base file systems for images"),
    "mount": ("/usr/bin/mount", "the nodes' mount namespaces"),
    "ninja-build": ("/usr/bin/ninja", "builds llama.cpp"),
    "npm": ("/usr/bin/npm", "installs the packages of Node applications into images"),
    "nftables": ("/usr/sbin/nft", "kube-proxy's data plane"),
    "pkg-config": ("/usr/bin/pkg-config", "finds libseccomp"),
    "procps": ("/usr/sbin/sysctl", "kernel settings"),
    "socat": ("/usr/bin/socat", "kubeadm expects it on a node"),
    "util-linux": ("/usr/bin/nsenter", "entering and creating namespaces"),
}

BROWSER: Final[dict[str, tuple[str, str]]] = {
    "chromium": ("/usr/bin/chromium", "the browser in which conformance logs in to the portal"),
    "chromium-driver": ("/usr/bin/chromedriver", "drives it"),
    "libnss3-tools": ("/usr/bin/certutil", "puts the platform's roots into the browser's trust"),
}
"""For the checks only: a deploy does not need it."""

PODMAN: Final[dict[str, tuple[str, str]]] = {
    "aardvark-dns": ("/usr/lib/podman/aardvark-dns", "nodes find each other by their names"),
    "netavark": ("/usr/lib/podman/netavark", "the nodes' network and ports"),
    "podman": ("/usr/bin/podman", "kind's nodes are its containers"),
    "runc": ("/usr/sbin/runc", "runs them; the usual crun refuses cgroup v1 hierarchies"),
}
"""For environment `kind`, on a machine with neither Docker nor podman."""

REGISTRY: Final[dict[str, tuple[str, str]]] = {
    "ca-certificates": ("/etc/ssl/certs/ca-certificates.crt", "trust for registries"),
    "skopeo": ("/usr/bin/skopeo", "brings images to registries, and asks for digests"),
}
"""For `invoke images` with `--push` or `--resolve` only."""

EMULATOR: Final[dict[str, tuple[str, str]]] = {
    "e2fsprogs": ("/usr/sbin/mkfs.ext4", "makes the emulated machine's disks"),
    "mmdebstrap": ("/usr/bin/mmdebstrap", "fills them"),
    "openssh-client": ("/usr/bin/ssh", "commands in it"),
    "qemu-system-x86": ("/usr/bin/qemu-system-x86_64", "is the machine"),
}
"""For `nox -s machine` only."""


def missing(packages: Mapping[str, tuple[str, str]] = PACKAGES) -> list[str]:
    """Return the packages whose command or file is absent."""
    return [package for package, (probe, _) in packages.items() if not os.path.lexists(probe)]


def install(packages: Mapping[str, tuple[str, str]] = PACKAGES) -> list[str]:
    """Install what is missing and return its names; needs root and apt-get.

    Raises RefusedError without root, BuildError where apt-get is absent or fails.
    """
    wanted = missing(packages)
    if not wanted:
        return []
    names = " ".join(wanted)
    if os.geteuid() != 0:
        message = f"system packages are missing ({names}): run as root, or install them: apt-get install {names}"
        raise RefusedError(message)
    if shutil.which("apt-get") is None:
        message = f"system packages are missing ({names}) and this machine has no apt-get: install their equivalents"
        raise BuildError(message)
    log = paths.CACHE / "logs" / "apt.log"
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"system packages: {names}"):
        run(["apt-get", "update", "-qq"], env=quiet, log=log, timeout=600)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted], env=quiet, log=log, timeout=1200)
    if still := missing(packages):
        message = f"apt-get finished, yet {' '.join(still)} did not bring the expected files; see {log}"
        raise BuildError(message)
    return wanted
