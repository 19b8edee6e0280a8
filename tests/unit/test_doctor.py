"""What the doctor decides, on machines made of tables."""

import json
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from betelgeuse import doctor, paths, profiles, servers, system
from betelgeuse.builds import bases
from betelgeuse.clusters.local.cgroup2 import PLACES
from betelgeuse.clusters.local.layout import CGROUP_ROOT, DESIRED
from betelgeuse.clusters.servers.packages import PACKAGES
from betelgeuse.clusters.servers.place import OWNER
from betelgeuse.doctor import machine, network, tools
from betelgeuse.doctor.model import Check, Context, Finding, Report, Shape, Status, shape
from betelgeuse.doctor.probe import Probe
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.profiles import Area, Budget, Profile
from betelgeuse.servers import Role, Server
from betelgeuse.settings import Settings
from tests.unit.fakes import obj
from tests.unit.machines import CGROUPS, FILESYSTEMS, MOUNTS, TCP_HEADER, FakeMachine, requirements
from tests.unit.test_certificates import NOW, made

LOCAL = Settings(env="local", domain="betelgeuse.test")
HETZNER = Settings(
    env="hetzner",
    domain="example.org",
    gateway_addresses=("203.0.113.7",),
    acme_server="https://acme.example/directory",
    acme_email="admin@example.org",
)
SINGLE = replace(HETZNER, env="single-node")
REHEARSAL = replace(HETZNER, env="rehearsal")
"""Its certificates are signed by an authority of its own."""
HOSTS = [
    obj("gateway.networking.k8s.io/v1", "HTTPRoute", name, "n", spec={"hostnames": [f"{name}.example.org"]})
    for name in ("llm", "auth")
]
SHUT = replace(HETZNER, admin_cidrs=(IPv4Network("198.51.100.0/24"),))
ONE = Server("one", "203.0.113.7", f"SHA256:{'a' * 43}")
KIND = Settings(env="kind", domain="betelgeuse.test")
NO_DOCKER: dict[str, Any] = {"commands": {"docker": (1, "Cannot connect to the Docker daemon")}}

BUDGET = Budget(cpu=2.0, memory_gib=6.0, disk_gib=20.0, build_minutes=30.0)
CORE = Profile("core", (Area("all", (), BUDGET),))
MORE = Area("more", ("all",), Budget(cpu=0.5, memory_gib=3.0, disk_gib=10.0, build_minutes=10.0))
FULL = Profile("full", (*CORE.areas, MORE))
CHECKS = {check.name: check for check in doctor.CHECKS}
STATE = paths.STATE / "local"
KUBECONFIG = "clusters:\n- cluster:\n    server: https://172.30.0.11:6443\n"
HOLDER = '{"pid": 42, "verb": "deploy", "since": "2026-11-24T08:00:00+00:00"}'
V2 = MOUNTS.replace(
    "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0", "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0"
)


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for what the tables ask for, whatever is installed here and whichever profiles the tree has."""
    monkeypatch.setattr("betelgeuse.selection.select", lambda _env, said: FULL if said == "full" else CORE)
    monkeypatch.setattr(profiles, "smaller", lambda profile: (CORE,) if profile is FULL else ())
    monkeypatch.setattr("betelgeuse.settings.load", lambda _: LOCAL)
    monkeypatch.setattr("betelgeuse.render.render", lambda _env, _profile: HOSTS)
    monkeypatch.setattr(tools, "requires", requirements)


def certified(**days: int) -> dict[str, Any]:
    """Return a machine with certificates of a node that end in so many days."""
    folder = f"{STATE}/cluster/nodes/node-1/root/etc/kubernetes/pki"
    files = {f"{folder}/{name}.crt": made(left)[0].decode() for name, left in days.items()}
    return {"files": files, "now": NOW.timestamp()}


@dataclass(frozen=True)
class Case:
    """A machine and what one check must find on it."""

    check: str
    status: Status
    text: str
    machine: dict[str, Any] = field(default_factory=dict)
    settings: Settings = LOCAL
    fix: str = ""
    listed: bool = False
    """Whether the environment lists a server, and the machine is that one."""
    closed: str = ""
    """Why the server lets nobody in."""

    def __str__(self) -> str:
        """Name the case in pytest's output."""
        return f"{self.check}-{self.status}-{self.text[:30]}"


def _meminfo(total: int, available: int, swap: int = 0) -> dict[str, str]:
    lines = {"MemTotal": total, "MemAvailable": available, "SwapTotal": swap, "SwapFree": 0}
    return {"/proc/meminfo": "".join(f"{name}: {gib * 2**20} kB\n" for name, gib in lines.items())}


def _nodes_use(gib: int) -> dict[str, str]:
    stat = f"cache 1\nrss 2\ntotal_cache {9 * 2**30}\ntotal_rss {gib * 2**29}\n"
    return {f"/sys/fs/cgroup/memory/btg-local-node-{number}/memory.stat": stat for number in (1, 2)}


def _links(address: str, link: str) -> dict[str, tuple[int, str]]:
    return {"ip -json address": (0, json.dumps([{"ifname": link, "addr_info": [{"local": address}]}]))}


def _routes(*routes: tuple[str, str]) -> dict[str, tuple[int, str]]:
    return {"ip -json route": (0, json.dumps([{"dst": target, "dev": link} for target, link in routes]))}


def _chains(table: str, hook: str, policy: str) -> dict[str, tuple[int, str]]:
    chain = f"\tchain c {{\n\t\ttype filter hook {hook} priority filter; policy {policy};\n\t}}"
    return {"nft list chains": (0, f"table ip6 other {{\n}}\ntable {table} {{\n{chain}\n}}")}


_BRIDGED = {"/proc/sys/net/bridge/bridge-nf-call-iptables": "1\n"}
FORWARD_DROPS: dict[str, dict[str, Any]] = {
    "table ip filter": {"files": _BRIDGED, "commands": _chains("ip filter", "forward", "drop")},
    "table inet firewalld": {"files": _BRIDGED, "commands": _chains("inet firewalld", "forward", "accept")},
    "iptables-legacy": {"files": _BRIDGED, "commands": {"iptables-legacy -S FORWARD": (0, "-P FORWARD DROP")}},
}
"""Machines by the firewall that drops what is forwarded."""


def _alone(
    *,
    have: str = "cpuset cpu io memory hugetlb pids rdma misc",
    mode: str = "rw,nosuid",
    on: str = "",
    systemd: bool = False,
    inner: bool = False,
) -> dict[str, Any]:
    """Return a machine with cgroup v2 alone; `inner`: seen from a container whose processes sit in its root."""
    files: dict[str, str] = {
        # An initramfs may mount a tmpfs there first: the last mount counts.
        "/proc/mounts": f"tmpfs {CGROUP_ROOT} tmpfs rw 0 0\ncgroup2 {CGROUP_ROOT} cgroup2 {mode} 0 0\n",
        f"{CGROUP_ROOT}/cgroup.controllers": f"{have}\n",
        f"{CGROUP_ROOT}/cgroup.subtree_control": f"{on}\n",
        f"{CGROUP_ROOT}/cgroup.procs": "1\n7\n",
    }
    if systemd:
        files["/run/systemd/system/x"] = ""
    if inner:
        files[f"{CGROUP_ROOT}/cgroup.type"] = "domain\n"
    return {"files": files}


def _release(name: str, version: str, shown: str) -> dict[str, str]:
    return {"/etc/os-release": f'PRETTY_NAME="{shown}"\nID={name}\nVERSION_ID="{version}"\n'}


def _systemd(state: str) -> dict[str, Any]:
    return {"files": {"/run/systemd/system/x": ""}, "commands": {"is-system-running": (0, state)}}


NOON = FakeMachine().now
ALL_BUT_ONE = {probe: None if name == "ethtool" else "" for name, (probe, _) in PACKAGES.items()}

OK, WARN, FAIL, SKIP = Status.OK, Status.WARN, Status.FAIL, Status.SKIP

CASES = [
    Case("root", OK, "running as root"),
    Case("root", FAIL, "running as user 1000", {"uid": 1000}),
    Case("platform", FAIL, "this is Darwin", {"commands": {"uname -s": (0, "Darwin")}}),
    Case("platform", WARN, "aarch64", {"commands": {"uname -m": (0, "aarch64")}}),
    Case("platform", FAIL, "riscv64", {"commands": {"uname -m": (0, "riscv64")}}),
    Case("capabilities", FAIL, "CAP_SYS_ADMIN", {"files": {"/proc/self/status": "CapEff:\t00000000a80425fb\n"}}),
    Case("capabilities", SKIP, "only root", {"uid": 1000}),
    Case("capabilities", SKIP, "does not tell", {"files": {"/proc/self/status": None}}),
    Case("cpus", FAIL, "1 usable, 2 needed", {"cpus": 1}),
    Case("memory", FAIL, "profile core needs 6 GiB of memory; 4.0 are free", {"files": _meminfo(4, 4)}),
    Case("memory", FAIL, "needs 6 GiB of memory; 3.0 are free", {"files": _meminfo(16, 3)}),
    Case("memory", FAIL, "5.0 are free, 2.0 of which our nodes use", {"files": _meminfo(16, 3) | _nodes_use(2)}),
    Case(
        "memory",
        FAIL,
        "4.0 are free, 1.0 of which our nodes use",
        {"files": _meminfo(16, 3) | {f"{PLACES[0]}/btg-local-node-1/memory.stat": f"anon {2**30}\nfile {2**40}\n"}},
    ),
    Case("memory", OK, "7.0 are free, 4.0 of which our nodes use", {"files": _meminfo(16, 3) | _nodes_use(4)}),
    Case("memory", WARN, "needs 6 GiB of memory; 3.0 are free", {"files": _meminfo(16, 3)}, KIND),
    Case("memory", FAIL, "needs 6 GiB of memory; 4.0 are free", {"files": _meminfo(4, 4)}, KIND),
    Case("memory", SKIP, "does not tell", {"files": {"/proc/meminfo": None}}),
    Case("swap", WARN, "2.0 GiB of swap in use", {"files": _meminfo(16, 8, swap=2)}),
    Case("swap", OK, "none"),
    Case("disk-cache", FAIL, "1.0 GiB free", {"free": 1.0}),
    Case("disk-state", FAIL, "1.0 GiB free", {"free": 1.0}),
    Case("disk-cache", WARN, "1.0 GiB free", {"free": 1.0, "files": {f"{paths.CACHE}/store/go-runc": ""}}),
    Case("mounts", OK, "ext4"),
    Case("mounts", FAIL, "mounted noexec", {"files": {"/proc/mounts": MOUNTS + "\ntmpfs /tmp tmpfs rw,noexec 0 0"}}),
    Case(
        "mounts",
        FAIL,
        "/scratch\\040disk"[:8],
        {
            "files": {"/proc/mounts": MOUNTS + "\ntmpfs /scratch\\040disk tmpfs rw,noexec 0 0"},
            "variables": {"TMPDIR": "/scratch disk/x"},
        },
    ),
    Case("mounts", FAIL, "an overlay", {"files": {"/proc/mounts": MOUNTS.replace("ext4", "overlay")}}),
    Case("open-files", FAIL, "limit 1024", {"file_limit": 1024}),
    Case("open-files", WARN, "limit 8192", {"file_limit": 8192}),
    Case("open-files", OK, "limit none", {"file_limit": -1}),
    Case("inotify", OK, "1024 instances, 524288 watches"),
    Case("inotify", OK, "8192 watches: a deploy raises", {"files": {"/proc/sys/fs/inotify/max_user_watches": "8192"}}),
    Case("inotify", FAIL, "no inotify", {"files": {"/proc/sys/fs/inotify/max_user_watches": None}}),
    Case("inotify", OK, "128 instances", {"files": {"/proc/sys/fs/inotify/max_user_instances": "128"}}),
    Case("pids", WARN, "pid_max 4096", {"files": {"/proc/sys/kernel/pid_max": "4096"}}),
    Case("clock", FAIL, "1970-01-01", {"now": 0.0}),
    Case("kernel-version", FAIL, "4.19", {"commands": {"uname -r": (0, "4.19.0-1")}}),
    Case("kernel-version", SKIP, "cannot read", {"commands": {"uname -r": (0, "?")}}),
    Case("kernel-bpf", FAIL, "has no BPF", {"files": {"/proc/sys/net/core/bpf_jit_enable": None}}),
    Case("kernel-bpf", OK, "interpreted", {"files": {"/proc/sys/net/core/bpf_jit_enable": "0"}}),
    Case(
        "kernel-bpf",
        FAIL,
        "NET_CLS_BPF",
        {
            "files": {"/proc/config.gz": ""},
            "commands": {"zcat": (0, "CONFIG_CGROUP_BPF=y\nCONFIG_NET_SCH_INGRESS=m\nCONFIG_BPF_EVENTS=y\n")},
        },
    ),
    Case("kernel-bpf", SKIP, "root", {"uid": 1000}),
    Case("kernel-btf", WARN, "vmlinux", {"files": {"/sys/kernel/btf/vmlinux": None}}),
    Case("kernel-filesystems", OK, "overlay"),
    Case(
        "kernel-filesystems",
        FAIL,
        "no overlay",
        {
            "files": {"/proc/filesystems": FILESYSTEMS.replace("nodev\toverlay\n", "")},
            "commands": {"modprobe -n overlay": (1, "")},
        },
    ),
    Case("kernel-filesystems", OK, "overlay", {"files": {"/proc/filesystems": "nodev\tcgroup\n"}}),
    Case(
        "kernel-namespaces", FAIL, "Operation not permitted", {"commands": {"unshare": (1, "Operation not permitted")}}
    ),
    Case("kernel-namespaces", SKIP, "root", {"uid": 1000}),
    Case("kernel-veth", FAIL, "Unknown device type", {"commands": {"type veth": (2, "Error: Unknown device type.")}}),
    Case("kernel-bridge", FAIL, "exit code 2", {"commands": {"type bridge": (2, "")}}),
    Case("kernel-vxlan", SKIP, "root", {"uid": 1000}),
    Case("kernel-tun", FAIL, "No such device", {"commands": {"tuntap": (1, "open: No such device")}}),
    Case("kernel-nftables", SKIP, "not installed yet", {"absent": ("nft",)}),
    Case("kernel-ipset", OK, "works"),
    Case("cgroups", OK, "all mounted"),
    Case("cgroups", OK, "systemd leaves btg-local.scope to the nodes", _alone(systemd=True)),
    Case(
        "cgroups", FAIL, "without memory", _alone(have="cpuset cpu io pids", systemd=True), fix="cgroup_enable=memory"
    ),
    Case("cgroups", FAIL, "mounted read-only", _alone(mode="ro,nosuid"), fix="--privileged"),
    Case("cgroups", FAIL, "not installed", _alone(systemd=True) | {"absent": ("systemd-run",)}, fix="systemd"),
    Case("cgroups", OK, "the nodes are below /sys/fs/cgroup/btg-local", _alone()),
    Case("cgroups", FAIL, "keep its controllers from the nodes", _alone(inner=True), fix="systemd as PID 1"),
    Case("cgroups", OK, "below", _alone(inner=True, on="cpuset cpu io memory pids")),
    Case("cgroups", FAIL, "no cgroup v1", {"files": {"/proc/filesystems": "nodev\tcgroup2\n"}}),
    Case(
        "cgroups",
        OK,
        "deploy mounts cpu",
        {"files": {"/proc/mounts": MOUNTS.replace("cpu cgroup rw,relatime,cpu 0", "cpu tmpfs rw 0")}},
    ),
    Case(
        "cgroups",
        FAIL,
        "no controller cpu",
        {"files": {"/proc/cgroups": CGROUPS.replace("cpu 1 1 1", "cpu 1 1 0", 1), "/proc/mounts": V2}},
    ),
    Case(
        "cgroups",
        FAIL,
        "has taken cpu",
        {"files": {"/proc/mounts": V2, "/sys/fs/cgroup/unified/cgroup.controllers": "cpu io"}},
    ),
    Case("python", FAIL, "3.10", {"python": (3, 10)}),
    Case("distributions", FAIL, "betelgeuse is not installed", {"distributions": {}}),
    Case(
        "distributions",
        FAIL,
        "kubernetes missing (want 37.0.2)",
        {"distributions": {"betelgeuse": "0", "invoke": "3.0.3"}},
    ),
    Case("distributions", OK, "2 pinned"),
    Case("packages", WARN, "missing: buildah", {"files": {"/usr/bin/buildah": None}}, fix="deploy installs them"),
    Case("packages", FAIL, "buildah", {"files": {"/usr/bin/buildah": None}, "uid": 1000}, fix="apt-get install"),
    Case(
        "packages", FAIL, "no apt-get", {"files": {"/usr/bin/buildah": None}, "absent": ("apt-get",)}, fix="equivalents"
    ),
    Case("bases", OK, "none yet"),
    Case("bases", OK, "trixie 1 days", {"files": {f"{bases.FOLDER}/trixie": "2027-01-14T08:00:00+00:00\n"}}),
    Case(
        "bases",
        WARN,
        "old packages: trixie 45 days",
        {"files": {f"{bases.FOLDER}/trixie": "2026-12-01T08:00:00+00:00\n"}},
        fix="invoke images --refresh",
    ),
    Case("go", OK, "go1.27.1"),
    Case("go", OK, "none; deploy brings one", {"commands": {"go version": (127, "go: No such file")}}),
    Case("go", OK, "older than", {"commands": {"go version": (0, "go version go1.19 linux/amd64")}}),
    Case("registry-pip", OK, "pip got invoke"),
    Case(
        "registry-pip",
        FAIL,
        "it refuses (403)",
        {"commands": {"pip download": (1, "ERROR: HTTP error 403\nsee above")}},
    ),
    Case(
        "registry-pip", FAIL, "no answer within", {"commands": {"pip download": (124, "python: no answer within 60 s")}}
    ),
    Case("registry-pip", FAIL, "no answer", {"commands": {"pip download": (1, "")}}),
    Case(
        "registry-go",
        WARN,
        "dial tcp",
        {"commands": {"go list": (1, "go: dial tcp: error")}, "files": {f"{paths.CACHE}/store/go-runc": ""}},
        fix="in the cache",
    ),
    Case("registry-go", OK, "go got"),
    Case("registry-go", SKIP, "as a wheel", {"absent": ("go",)}),
    Case("registry-apt", OK, "1 sources configured"),
    Case("registry-apt", FAIL, "404", {"commands": {"download-file": (100, "E: Failed to fetch 404 Not Found")}}),
    Case("registry-apt", FAIL, "no package source", {"commands": {"indextargets": (0, "")}}, fix="sources.list"),
    Case("registry-apt", SKIP, "no apt", {"files": {"/usr/lib/apt/apt-helper": None}}),
    Case("containers", OK, "Docker 28.2.0", settings=KIND),
    Case("containers", OK, "podman", NO_DOCKER, KIND),
    Case("containers", OK, "installs podman", {**NO_DOCKER, "absent": ("podman",)}, KIND),
    Case("containers", FAIL, "Cannot connect", {**NO_DOCKER, "absent": ("podman", "apt-get")}, KIND),
    Case(
        "containers", FAIL, "does not answer", {"commands": {"docker": (1, "")}, "absent": ("podman",), "uid": 1}, KIND
    ),
    Case("ssh", OK, "1 let us in as root", settings=HETZNER, listed=True),
    Case("ssh", FAIL, "one: Permission denied", settings=HETZNER, listed=True, closed="one: Permission denied"),
    Case("ssh", FAIL, "not installed", {"absent": ("ssh",)}, HETZNER, listed=True),
    Case("ssh", OK, "not ours to form", settings=SINGLE),
    Case("server-rights", OK, "root", settings=HETZNER, listed=True),
    Case("server-rights", FAIL, "as user 1000", {"uid": 1000}, HETZNER, listed=True),
    Case("server-debian", OK, "bookworm", {"files": _release("debian", "12", "bookworm")}, HETZNER, listed=True),
    Case("server-debian", WARN, "forky", {"files": _release("debian", "14", "forky")}, HETZNER, listed=True),
    Case("server-debian", FAIL, "Ubuntu", {"files": _release("ubuntu", "24.04", "Ubuntu")}, HETZNER, listed=True),
    Case("server-debian", FAIL, "no /etc/os-release", settings=HETZNER, listed=True),
    Case("server-systemd", FAIL, "another program", settings=HETZNER, listed=True),
    Case("server-systemd", OK, "running", _systemd("running"), HETZNER, listed=True),
    Case("server-systemd", WARN, "degraded", _systemd("degraded"), HETZNER, listed=True),
    Case("server-cgroups", WARN, "cgroup v1", settings=HETZNER, listed=True),
    Case("server-cgroups", OK, "cgroup v2", _alone(), HETZNER, listed=True),
    Case("server-cgroups", FAIL, "without cpu, memory", _alone(have="cpuset io pids"), HETZNER, listed=True),
    Case("server-disk", OK, "500.0 GiB free at /var/lib, 8 GiB needed", settings=HETZNER, listed=True),
    Case("server-disk", FAIL, "1.0 GiB free", {"free": 1.0}, HETZNER, listed=True),
    Case("server-disk", WARN, "1.0 GiB free", {"free": 1.0, "files": {OWNER: "hetzner\n"}}, HETZNER, listed=True),
    Case("server-packages", OK, "deploy installs ethtool", {"files": ALL_BUT_ONE}, HETZNER, listed=True),
    Case("server-packages", OK, "all that", {"files": ALL_BUT_ONE | {"/usr/sbin/ethtool": ""}}, HETZNER, listed=True),
    Case(
        "server-packages",
        FAIL,
        "ethtool missing, and no apt-get",
        {"files": ALL_BUT_ONE, "absent": ("apt-get",)},
        HETZNER,
        listed=True,
    ),
    Case("server-address", OK, "is eth0's", {"commands": _links(ONE.address, "eth0")}, HETZNER, listed=True),
    Case("server-address", FAIL, "no interface has 203.0.113.7", settings=HETZNER, listed=True),
    Case("server-address", SKIP, "not installed", {"commands": {"ip -json": (127, "")}}, HETZNER, listed=True),
    Case("server-clock", OK, "0.0 s from", settings=HETZNER, listed=True),
    Case("server-clock", WARN, "10.0 s from", {"now": NOON + 10}, HETZNER, listed=True),
    Case("server-clock", FAIL, "3600.0 s from", {"now": NOON - 3600}, HETZNER, listed=True),
    Case("server-clock", SKIP, "no clock", settings=HETZNER),
    Case("server-firewall", WARN, "from everywhere", settings=HETZNER, listed=True),
    Case("server-firewall", OK, "from 198.51.100.0/24 alone", settings=SHUT, listed=True),
    Case("server-leftovers", OK, "none", settings=HETZNER, listed=True),
    Case("server-leftovers", OK, "a node of hetzner", {"files": {OWNER: "hetzner\n"}}, HETZNER, listed=True),
    Case(
        "server-leftovers",
        FAIL,
        "a node of environment other",
        {"files": {OWNER: "other\n"}},
        HETZNER,
        "invoke destroy --env=other",
        listed=True,
    ),
    Case(
        "server-leftovers",
        FAIL,
        "has the files of a cluster (/etc/kubernetes)",
        {"files": {"/etc/kubernetes/admin.conf": ""}},
        HETZNER,
        listed=True,
    ),
    Case("bridge-address", OK, "172.30.0.1 is free"),
    Case(
        "bridge-address",
        FAIL,
        "172.30.0.9 in 172.30.0.0/24 belongs to eth1",
        {"commands": _links("172.30.0.9", "eth1")},
    ),
    Case("bridge-address", OK, "our own", {"commands": _links("172.30.0.1", "btg0")}),
    Case("bridge-address", SKIP, "not installed", {"commands": {"ip -json": (127, "ip: not found")}}),
    Case("bridge-address", SKIP, "not installed", {"commands": {"ip -json": (0, "not JSON")}}),
    Case("routes", OK, "pods 10.244.0.0/16"),
    Case(
        "routes",
        OK,
        "nodes",
        {"commands": _routes(("172.30.0.0/24", "btg0"), ("default", "eth0"), ("0.0.0.0/0", "eth0"))},
    ),
    Case("routes", FAIL, "over tun0 overlaps the pods'", {"commands": _routes(("10.0.0.0/8", "tun0"))}),
    Case("routes", SKIP, "not installed", {"commands": {"ip -json": (127, "")}}),
    Case(
        "bridge-ports",
        OK,
        "nobody listens",
        {"files": {"/proc/net/tcp": f"{TCP_HEADER} 0: 00000000:01BB 00000000:0000 0A 0\n"}},
    ),
    Case(
        "bridge-ports",
        FAIL,
        "172.30.0.1:443",
        {"files": {"/proc/net/tcp": f"{TCP_HEADER} 0: 01001EAC:01BB 00000000:0000 0A 0\n"}},
    ),
    Case(
        "bridge-ports",
        OK,
        "nobody",
        {"files": {"/proc/net/tcp": f"{TCP_HEADER} 0: 01001EAC:01BB 00000000:0000 01 0\n"}},
    ),
    Case("bridge-ports", OK, "nobody", {"files": {"/proc/net/tcp": None}}),
    Case("server-ports", OK, "free", settings=SINGLE),
    Case("server-ports", SKIP, "asked itself", settings=HETZNER, listed=True),
    Case("server-ports", OK, "a node already", {"files": {"/etc/kubernetes/kubelet.conf": ""}}, SINGLE),
    Case(
        "server-ports",
        FAIL,
        "443 (HTTPS)",
        {"files": {"/proc/net/tcp6": f"{TCP_HEADER} 0: {'0' * 32}:01BB {'0' * 32}:0000 0A 0\n"}},
        SINGLE,
    ),
    Case(
        "server-ports",
        OK,
        "free",
        {"files": {"/proc/net/tcp6": f"{TCP_HEADER} 0: {'0' * 31}1:01BB 0:0 0A 0\n"}},
        SINGLE,
    ),
    Case("forwarding", WARN, "1: this machine forwards", {"files": {"/proc/sys/net/ipv4/ip_forward": "1\n"}}),
    Case("forwarding", WARN, "unknown", {"files": {"/proc/sys/net/ipv4/ip_forward": None}}),
    Case("bridge-filter", OK, "bypass"),
    Case("bridge-filter", OK, "by default", {"files": {"/proc/sys/net/bridge/bridge-nf-call-iptables": "1\n"}}),
    *(
        Case("bridge-filter", status, f"where {who} drops", machine, replace(LOCAL, nodes=nodes), "-i btg0 -o btg0")
        for who, machine in FORWARD_DROPS.items()
        for nodes, status in ((1, WARN), (3, FAIL))
    ),
    Case("firewall", OK, "may send"),
    Case("firewall", OK, "may send", FORWARD_DROPS["table ip filter"]),
    Case("firewall", WARN, "table inet own drops", {"commands": _chains("inet own", "output", "drop")}, fix="-o btg0"),
    Case("network-managers", OK, "none runs"),
    Case(
        "network-managers",
        FAIL,
        "nmcli is not installed",
        {"files": {"/run/NetworkManager/no-stub-resolv.conf": ""}, "absent": ("nmcli",)},
        fix="brings nmcli",
    ),
    Case(
        "network-managers",
        OK,
        "systemd-networkd, NetworkManager: deploy",
        {"files": {"/run/systemd/netif/state": "", "/run/NetworkManager/no-stub-resolv.conf": ""}},
    ),
    Case("proxy", OK, "none set"),
    Case(
        "proxy",
        WARN,
        "set",
        {"variables": {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost"}},
        fix="NO_PROXY=localhost,172.30.0.0/24,.betelgeuse.test",
    ),
    Case("proxy", OK, "directly", {"variables": {"https_proxy": "http://proxy:3128", "no_proxy": "*"}}),
    Case("proxy", OK, "directly", {"variables": {"https_proxy": "x", "no_proxy": "172.30.0.0/24,*.betelgeuse.test"}}),
    Case("environment", OK, "1 gateway addresses", settings=HETZNER),
    Case("environment", FAIL, "empty: ACME_EMAIL", settings=replace(HETZNER, acme_email="")),
    Case("names", FAIL, "2 of 2 names have no address: auth.example.org, llm.example.org", settings=HETZNER),
    Case("names", WARN, "2 of 2", settings=REHEARSAL, fix="invoke dns --env=rehearsal prints the records"),
    Case("names", OK, "2 names", {"addresses": ["203.0.113.7"]}, HETZNER),
    Case("names-elsewhere", SKIP, "no name has an address", settings=HETZNER),
    Case(
        "names-elsewhere",
        FAIL,
        "llm.example.org: got 198.51.100.1, wanted 203.0.113.7",
        {"addresses": ["198.51.100.1"]},
        HETZNER,
        fix="invoke dns --env=hetzner prints the records",
    ),
    Case("names-elsewhere", WARN, "got 198.51.100.1", {"addresses": ["198.51.100.1"]}, REHEARSAL),
    Case("names-elsewhere", OK, "2 names lead to 203.0.113.7", {"addresses": ["203.0.113.7"]}, HETZNER),
    Case("leftovers", OK, "none"),
    Case("leftovers", WARN, "network namespace btg-local-node-1", {"files": {"/run/netns/btg-local-node-1": ""}}),
    Case("leftovers", WARN, "bridge btg0", {"files": {"/sys/class/net/btg0/address": ""}}),
    Case("leftovers", WARN, "1 cgroups", {"files": {"/sys/fs/cgroup/memory/btg-local-node-1/tasks": ""}}),
    *(
        Case("leftovers", WARN, "1 cgroups", {"files": {f"{place}/btg-local-node-1/cgroup.procs": ""}})
        for place in PLACES
    ),
    Case(
        "leftovers",
        WARN,
        "1 mounts",
        {"files": {"/proc/mounts": f"{MOUNTS}\noverlay {STATE}/cluster/x overlay rw 0 0"}},
    ),
    Case("leftovers", OK, "own parts", {"files": {str(DESIRED): "[]", "/run/netns/btg-local-node-1": ""}}),
    Case("leftovers", OK, "none yet", {"files": {str(DESIRED): "[]"}}),
    Case("processes", OK, "none", {"files": {"/proc/7/cgroup": "4:memory:/\n"}}),
    Case("processes", WARN, "e.g. pid 7", {"files": {"/proc/7/cgroup": "4:memory:/btg-local-node-1/init\n"}}),
    Case(
        "processes",
        OK,
        "1 of our nodes",
        {"files": {"/proc/7/cgroup": "4:memory:/btg-local-node-1/init\n", str(DESIRED): "[]"}},
    ),
    Case("certificates", OK, "none yet"),
    Case("certificates", OK, "apiserver of node-1, in 200 days", certified(apiserver=200, ca=3000)),
    Case("certificates", WARN, "apiserver of node-1, in 20 days", certified(apiserver=20), fix="invoke deploy"),
    Case("certificates", FAIL, "apiserver of node-1 ended 2 days ago", certified(apiserver=-3), fix="invoke deploy"),
    Case("certificates", OK, "ca of node-1, in 100 days", certified(ca=100, apiserver=200)),
    Case("certificates", WARN, "ca of node-1, in 80 days", certified(ca=80, apiserver=200), fix="invoke destroy"),
    Case("lock", OK, "free"),
    Case("lock", OK, "free", {"files": {f"{STATE}/lock": ""}}),
    Case("lock", OK, "was killed", {"files": {f"{STATE}/lock": HOLDER}}),
    Case("lock", WARN, "deploy (pid 42) works", {"files": {f"{STATE}/lock": HOLDER, "/proc/42/status": ""}}),
    Case("kubeconfig", OK, "none yet"),
    Case("kubeconfig", OK, "answers", {"files": {f"{STATE}/kubeconfig": KUBECONFIG}}),
    Case("kubeconfig", FAIL, "names no server", {"files": {f"{STATE}/kubeconfig": "{}"}}),
    Case(
        "kubeconfig", WARN, "older cluster", {"files": {f"{STATE}/kubeconfig": KUBECONFIG}, "unreachable": "timed out"}
    ),
    Case(
        "kubeconfig",
        FAIL,
        "does not answer: timed out",
        {"files": {f"{STATE}/kubeconfig": KUBECONFIG, str(DESIRED): "[]"}, "unreachable": "timed out"},
        fix="invoke deploy",
    ),
    Case(
        "kubeconfig",
        FAIL,
        "does not answer: timed out",
        {"files": {str(paths.kubeconfig_path("single-node")): KUBECONFIG}, "unreachable": "timed out"},
        SINGLE,
        fix="makes no cluster but local's",
    ),
]


def _look(name: str, settings: Settings, *, listed: bool = False, closed: str = "", **changes: Any) -> Report:  # noqa: ANN401 - fields of FakeMachine
    def reach(_: Server) -> Probe:
        if closed:
            raise BetelgeuseError(closed)
        return FakeMachine(**changes)

    machine, here = FakeMachine(**changes), FakeMachine()
    context = Context(settings, machine, CORE)
    if listed:
        asked = ONE if CHECKS[name].shapes == {Shape.SERVER} else None
        context = replace(context, servers=(ONE,), reach=reach, server=asked, here=here)
    return doctor._look(CHECKS[name], context)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_state_of_the_machine_is_told_apart(case: Case) -> None:
    """A check finds what is wrong, says it, and names a fix exactly when something is to be done."""
    report = _look(case.check, case.settings, listed=case.listed, closed=case.closed, **case.machine)

    assert (report.finding.status, case.text in report.finding.text) == (case.status, True), report.finding
    assert bool(report.fix) == (case.status in {WARN, FAIL})
    assert case.fix in report.fix


def test_every_check_has_a_case() -> None:
    """A new check comes with the states it tells apart."""
    judged = {case.check for case in CASES if case.status is not OK}

    # Go's absence is no obstacle; the ipset trial is the same function as the others.
    assert judged == set(CHECKS) - {"go", "kernel-ipset"}


@pytest.mark.parametrize("settings", [LOCAL, KIND, HETZNER, SINGLE], ids=lambda settings: settings.env)
def test_a_healthy_machine_passes(settings: Settings) -> None:
    """Nothing fails where all is well."""
    reports = doctor.diagnose(settings, CORE, probe=FakeMachine(addresses=["203.0.113.7"]))

    assert doctor.failures(reports) == []


def test_there_are_enough_checks_and_their_names_are_unique() -> None:
    """The embedded cluster alone has more than 25, each with a why and a fix."""
    local = [check for check in doctor.CHECKS if Shape.EMBEDDED in check.shapes]

    assert len(local) >= 25
    assert len(CHECKS) == len(doctor.CHECKS)
    assert all(check.why and check.fix for check in doctor.CHECKS)


def test_only_what_matters_for_the_environment_is_asked() -> None:
    """Docker is no matter for servers, SSH none for kind."""
    names = {
        settings.env: {report.check.name for report in doctor.diagnose(settings, CORE, probe=FakeMachine())}
        for settings in (KIND, HETZNER)
    }

    assert "containers" in names["kind"] - names["hetzner"]
    assert "ssh" in names["hetzner"] - names["kind"]


def test_every_server_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its own name; one that is out of reach is told once, and keeps nothing from the others."""
    two = replace(ONE, name="two", address="203.0.113.8", role=Role.WORKER)
    monkeypatch.setattr(servers, "load", lambda _: (ONE, two))

    def reach(server: Server) -> Probe:
        if server is two:
            message = "two: no SSH server answers"
            raise BetelgeuseError(message)
        return FakeMachine(uid=7)

    reports = {
        report.check.name: report.finding
        for report in doctor.diagnose(HETZNER, CORE, probe=FakeMachine(), quick=True, reach=reach)
    }

    assert reports["ssh"] == Finding(FAIL, "two: no SSH server answers")
    assert reports["one: server-rights"].text == "commands run as user 7"
    assert "one: kernel-bpf" in reports
    assert not [name for name in reports if name.startswith("two: ")]


@pytest.mark.parametrize(
    ("env", "expected"), [("local", Shape.EMBEDDED), ("kind", Shape.DOCKER), ("own", Shape.SERVERS)]
)
def test_an_environment_of_ones_own_is_made_of_servers(env: str, expected: Shape) -> None:
    """Only two environments need no server."""
    assert shape(env) is expected


def test_without_root_there_is_a_clear_line_and_no_crash() -> None:
    """The doctor itself works for everybody."""
    reports = {report.check.name: report for report in doctor.diagnose(LOCAL, CORE, probe=FakeMachine(uid=1000))}

    assert reports["root"].finding.status is FAIL
    assert "sudo" in reports["root"].fix
    assert reports["kernel-veth"].finding.text == "needs root to try"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (PermissionError(13, "Permission denied", "/root/secret"), SKIP, "needs root: /root/secret"),
        (OSError(5, "Input/output error"), FAIL, "could not look: [Errno 5] Input/output error"),
        (BetelgeuseError("no such\nthing"), FAIL, "could not look: no such thing"),
    ],
)
def test_a_check_that_cannot_look_says_so(error: Exception, status: Status, text: str) -> None:
    """One broken check never hides the others."""

    def broken(_: Context) -> Finding:
        raise error

    report = doctor._look(Check("x", "why", "fix", broken), Context(LOCAL, FakeMachine(), CORE))

    assert report.finding.status is status
    assert text in report.finding.text


def test_deploy_is_refused_in_one_line() -> None:
    """Preflight names the first obstacle, why it is one, what to do, and how many more there are."""
    with pytest.raises(RefusedError) as refusal:
        doctor.preflight(LOCAL, CORE, probe=FakeMachine(cpus=1, free=0.5))

    assert str(refusal.value).startswith(
        "cpus: 1 usable, 2 needed: below this the control plane starves the pods; use a larger"
    )
    assert str(refusal.value).endswith("(and 2 more: invoke doctor --env=local --profile=core)")
    assert "\n" not in str(refusal.value)


def test_preflight_asks_no_network_and_passes_a_healthy_machine() -> None:
    """What deploy asks first takes no registry."""
    fake = FakeMachine()

    doctor.preflight(LOCAL, CORE, probe=fake)

    assert not [line for line in fake.ran if "download" in line or "go list" in line]


def test_the_profile_says_what_is_needed() -> None:
    """A larger profile asks for a larger machine."""
    reports = {report.check.name: report for report in doctor.diagnose(LOCAL, FULL, probe=FakeMachine(), quick=True)}

    assert reports["cpus"].finding.text == "4 usable, 2.5 needed"
    assert "profile full needs 9 GiB of memory" in reports["memory"].finding.text


@pytest.mark.parametrize(
    ("machine", "found"),
    [
        ({"files": _meminfo(16, 6)}, "memory: profile full needs 9 GiB of memory; 6.0 are free: "),
        ({"cpus": 2}, "cpus: 2 usable, 2.5 needed: "),
        ({"free": 15.0}, "disk-cache: 15.0 GiB free at "),
    ],
    ids=["memory", "cpus", "disk"],
)
def test_a_machine_too_small_for_the_profile_hears_which_fits(machine: dict[str, Any], found: str) -> None:
    """Before anything is built, with exit code 3."""
    with pytest.raises(RefusedError) as refusal:
        doctor.preflight(LOCAL, FULL, probe=FakeMachine(**machine))

    assert str(refusal.value).startswith(found)
    assert "; --profile=core fits: 2 cores, 6 GiB of memory, 20 GiB of disk, 30 minutes" in str(refusal.value)
    assert refusal.value.exit_code == 3


@pytest.mark.parametrize(
    "machine",
    [{"files": _meminfo(16, 5)}, {"cpus": 1}, {"cpus": 2, "free": 11.0}, {"cpus": 2, "files": _meminfo(4, 4)}],
)
def test_a_profile_that_does_not_fit_either_is_no_advice(machine: dict[str, Any]) -> None:
    """A machine too small for all of them hears the general advice."""
    with pytest.raises(RefusedError) as refusal:
        doctor.preflight(LOCAL, FULL, probe=FakeMachine(**machine))

    assert "--profile=core fits" not in str(refusal.value)
    assert "use a" in str(refusal.value)


def test_text_tells_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads one line per check, two more where something is to be done, and a sum."""
    code = doctor.run("local", probe=FakeMachine(cpus=1))
    lines = capsys.readouterr().out.splitlines()

    at = next(number for number, line in enumerate(lines) if line.startswith("fail  cpus "))
    assert code == 1
    assert lines[0] == f"profile core: all; needs {BUDGET}"
    assert lines[at + 1].strip().startswith("why: ")
    assert lines[at + 2].strip().startswith("fix: ")
    assert lines[-1].startswith("local: ")
    assert lines[-1].endswith(" ok, 1 fail")


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the same; all well is exit code 0."""
    code = doctor.run("local", probe=FakeMachine(), as_json=True)
    answer = json.loads(capsys.readouterr().out)

    assert (code, answer["ok"], answer["env"]) == (0, True, "local")
    assert {"name", "status", "found", "why", "fix"} == set(answer["checks"][0])
    assert answer["profile"] == {"name": "core", "areas": ["all"], **asdict(BUDGET)}


def test_the_deepest_mount_counts() -> None:
    """The later of two mounts at one point hides the earlier; a name's beginning is no folder."""
    mounts = "a / ext4 rw 0 0\nb /var tmpfs rw 0 0\nc /var xfs rw,noexec 0 0\nd /variety tmpfs rw 0 0"

    assert machine.mount_of(mounts, "/var/lib/x") == ("/var", "xfs", {"rw", "noexec"})


def test_listeners_are_read_as_the_kernel_writes_them() -> None:
    """Addresses are little-endian; a wildcard is empty; a loopback of IPv6 is nobody's business."""
    table = (
        f"{TCP_HEADER} 0: 0100007F:1F90 0:0 0A 0\n 1: 00000000:0050 0:0 0A 0\n 2: {'0' * 24}01000000:0051 0:0 0A 0\n"
    )

    assert list(network.listeners(table)) == [("127.0.0.1", 8080), ("", 80)]


def test_packages_are_the_ones_deploy_installs() -> None:
    """One table names the system packages."""
    everything = {brings: None for brings, _ in system.PACKAGES.values()}

    assert all(name in _look("packages", LOCAL, files=everything).finding.text for name in system.PACKAGES)
