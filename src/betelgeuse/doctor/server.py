"""Checks of a server that becomes a node, asked over SSH; those that any node's machine must pass are the others'."""

import json
import re
from typing import Final

from betelgeuse.clusters.local import cgroup2
from betelgeuse.clusters.local.layout import CGROUP_ROOT
from betelgeuse.clusters.servers import place
from betelgeuse.clusters.servers.packages import PACKAGES
from betelgeuse.doctor.model import Check, Context, Finding, Shape, fail, ok, skip, warn

_SERVER: Final = frozenset({Shape.SERVER})
_DEBIANS: Final = {"12": "bookworm", "13": "trixie"}
_DISK_SHARE: Final = 0.4
"""Of a profile's disk space; the rest is the build cache's, which a server has none of."""
_PLACE: Final = "/var/lib"
_SKEW_WARN: Final = 2.0
_SKEW_FAIL: Final = 60.0
"""Seconds. Certificates begin with the moment they are made, and tokens live for minutes."""
_STRANGERS: Final = {
    "/etc/kubernetes": "the files of a cluster",
    "/var/lib/etcd/member": "an etcd's data",
    "/var/lib/rancher/k3s": "k3s",
    "/etc/systemd/system/kubelet.service": "a kubelet",
    "/usr/lib/systemd/system/kubelet.service": "a kubelet",
    "/usr/lib/systemd/system/containerd.service": "a containerd",
    "/usr/lib/systemd/system/docker.service": "Docker",
}


def _owner(context: Context) -> str:
    """Return the environment whose node the server is, empty where it is none of ours."""
    return (context.probe.read(place.OWNER) or "").strip()


def _rights(context: Context) -> Finding:
    user = context.server.user if context.server else "?"
    if context.probe.uid != 0:
        return fail(f"commands run as user {context.probe.uid}")
    return ok("root") if user == "root" else ok(f"{user}, and root by sudo")


def _debian(context: Context) -> Finding:
    text = context.probe.read("/etc/os-release") or ""
    said = dict(re.findall(r'(?m)^([A-Z_]+)="?([^"\n]*)"?$', text))
    name = said.get("PRETTY_NAME") or "no /etc/os-release"
    if said.get("ID") != "debian":
        return fail(f"{name}")
    return ok(name) if said.get("VERSION_ID") in _DEBIANS else warn(name)


def _systemd(context: Context) -> Finding:
    if not context.probe.exists(str(cgroup2.SYSTEMD)):
        return fail("another program is the first process")
    _, state = context.probe.run("systemctl", "is-system-running")
    return ok(state) if state in {"running", "starting"} else warn(state or "systemctl does not answer")


def _cgroups(context: Context) -> Finding:
    if not cgroup2.alone(context.probe.read("/proc/mounts") or ""):
        return warn("cgroup v1 hierarchies, which Kubernetes is about to give up")
    have = (context.probe.read(f"{CGROUP_ROOT}/cgroup.controllers") or "").split()
    if lacking := [name for name in cgroup2.NEEDED if name not in have]:
        return fail(f"cgroup v2 without {', '.join(lacking)}")
    return ok("cgroup v2")


def _disk(context: Context) -> Finding:
    free, want = context.probe.free_gib(_PLACE), context.budget.disk_gib * _DISK_SHARE
    text = f"{free:.1f} GiB free at {_PLACE}, {want:g} GiB needed"
    if free >= want:
        return ok(text)
    # What is there already needs no second copy.
    return warn(text) if _owner(context) else fail(text)


def _packages(context: Context) -> Finding:
    missing = [name for name, (probe, _) in PACKAGES.items() if not context.probe.exists(probe)]
    if not missing:
        return ok("all that a node's programs call")
    if context.probe.which("apt-get") is None:
        return fail(f"{', '.join(missing)} missing, and no apt-get")
    return ok(f"deploy installs {', '.join(missing)}")


def _address(context: Context) -> Finding:
    address = context.server.address if context.server else ""
    code, text = context.probe.run("ip", "-json", "address", "show")
    if code != 0:
        return skip("the ip command is not installed yet; deploy installs it")
    found = {info["local"]: link["ifname"] for link in json.loads(text or "[]") for info in link.get("addr_info", [])}
    if address in found:
        return ok(f"{address} is {found[address]}'s")
    return fail(f"no interface has {address}")


def _skew(context: Context) -> Finding:
    if context.here is None:
        return skip("there is no clock to compare with")
    before, there, after = context.here.now, context.probe.now, context.here.now
    # Exact to half of what the question took.
    skew = max(abs(there - (before + after) / 2) - (after - before) / 2, 0.0)
    text = f"{skew:.1f} s from this machine's clock"
    if skew > _SKEW_FAIL:
        return fail(text)
    return warn(text) if skew > _SKEW_WARN else ok(text)


def _leftovers(context: Context) -> Finding:
    env, owner = context.settings.env, _owner(context)
    if owner == env:
        return ok(f"a node of {env}")
    if owner:
        return fail(f"a node of environment {owner}", f"invoke destroy --env={owner}")
    found = [f"{what} ({path})" for path, what in _STRANGERS.items() if context.probe.exists(path)]
    return fail(f"has {', '.join(found)}") if found else ok("none")


def _firewall(context: Context) -> Finding:
    if not (admins := context.settings.admin_cidrs):
        return warn("SSH, the API and the node's programs may be reached from everywhere")
    return ok(f"SSH and the API from {', '.join(map(str, admins))} alone")


CHECKS: Final = (
    Check(
        "server-rights",
        "a deploy writes units, files and kernel settings there",
        "let the user become root without a password: visudo, USER ALL=(ALL) NOPASSWD: ALL",
        _rights,
        _SERVER,
    ),
    Check(
        "server-debian",
        "packages and paths are those of Debian 12 and 13",
        "install Debian 12 (bookworm) or 13 (trixie)",
        _debian,
        _SERVER,
    ),
    Check(
        "server-systemd",
        "it starts a node's programs, after a reboot too",
        "systemctl --failed shows what is wrong; without systemd a server cannot be a node",
        _systemd,
        _SERVER,
    ),
    Check(
        "server-cgroups",
        "every container is limited and counted in cgroups",
        "boot with systemd.unified_cgroup_hierarchy=1 (cgroup v2 alone)",
        _cgroups,
        _SERVER,
    ),
    Check(
        "server-disk",
        "images, volumes and logs are there",
        "free space, or mount a larger disk at /var/lib",
        _disk,
        _SERVER,
    ),
    Check(
        "server-packages",
        "a node's programs call other programs",
        f"apt-get install {' '.join(PACKAGES)}",
        _packages,
        _SERVER,
    ),
    Check(
        "server-address",
        "the node's programs listen at its address, and others reach it there",
        "write the address that the server itself has into servers.yaml",
        _address,
        _SERVER,
    ),
    Check(
        "server-clock",
        "certificates and tokens made there must be valid here, and the other way round",
        "set the clock: timedatectl set-ntp true",
        _skew,
        _SERVER,
    ),
    Check(
        "server-firewall",
        "what a node's programs serve is for its administrators",
        "set ADMIN_CIDRS in the environment's environment.env to the networks that you come from",
        _firewall,
        _SERVER,
    ),
    Check(
        "server-leftovers",
        "two clusters on one server take each other's ports, addresses and containers",
        "remove the other one: kubeadm reset, apt-get purge; or install the server anew",
        _leftovers,
        _SERVER,
    ),
)
