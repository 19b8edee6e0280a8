"""Checks of the kernel: what nodes, containers, kube-proxy and Cilium ask of it.

Features that the kernel builds in or loads on demand are tried in a throw-away network namespace, which vanishes with
the command: a configuration file may be missing or speak of another kernel.
"""

import re
from collections.abc import Callable
from typing import Final

from betelgeuse.clusters.local import cgroup2
from betelgeuse.clusters.local.layout import CGROUP_ROOT, CONTROLLERS
from betelgeuse.doctor.model import Check, Context, Finding, Shape, fail, ok, skip, warn

_EMBEDDED: Final = frozenset({Shape.EMBEDDED})
_NODES: Final = frozenset({Shape.EMBEDDED, Shape.SERVER})
"""Where nodes are, in namespaces or as servers."""
_LEAST: Final = (5, 10)
"""Cilium 1.20's minimum."""
_NO_ROOT: Final = "needs root to try"
_MISSING: Final = (
    "take cgroup_disable=… off the kernel's command line and add cgroup_enable=memory; in a container, give it all "
    "controllers"
)
_WRITABLE: Final = (
    "run outside the container, or start it with a cgroup tree it may write: --privileged --cgroupns=private"
)
_STEP_DOWN: Final = (
    "have systemd as PID 1 of the container, or move them: mkdir /sys/fs/cgroup/all && for p in "
    "$(cat /sys/fs/cgroup/cgroup.procs); do echo $p > /sys/fs/cgroup/all/cgroup.procs; done"
)
_OTHER_KERNEL: Final = "use a distribution's stock kernel, which has it (as a module at least)"


def _version(context: Context) -> Finding:
    _, text = context.probe.run("uname", "-r")
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        return skip(f"cannot read version {text!r}")
    version = (int(found[1]), int(found[2]))
    return ok(text) if version >= _LEAST else fail(text)


def _file_systems(*wanted: str) -> Callable[[Context], Finding]:
    def look(context: Context) -> Finding:
        known = {fields[-1] for fields in _rows(context, "/proc/filesystems", 1)}
        # A module that is not loaded yet does not show; modprobe says whether it could be.
        lacking = [name for name in wanted if name not in known and context.probe.run("modprobe", "-n", name)[0] != 0]
        return fail(f"no {', '.join(lacking)}") if lacking else ok(", ".join(wanted))

    return look


def _btf(context: Context) -> Finding:
    if context.probe.exists("/sys/kernel/btf/vmlinux"):
        return ok("type information is there")
    return warn("no /sys/kernel/btf/vmlinux: some of Cilium's probes are skipped")


def _bpf(context: Context) -> Finding:
    if context.probe.uid != 0:
        return skip(_NO_ROOT)
    jit = (context.probe.read("/proc/sys/net/core/bpf_jit_enable") or "").strip()
    # The switch of the compiler is not shown in network namespaces, and a server may itself be a container.
    if not jit and not context.probe.exists("/sys/fs/bpf"):
        return fail("the kernel has no BPF")
    config = context.probe.run("zcat", "/proc/config.gz")[1] if context.probe.exists("/proc/config.gz") else ""
    wanted = ("CGROUP_BPF", "NET_CLS_BPF", "NET_SCH_INGRESS", "BPF_EVENTS") if config else ()
    if lacking := [name for name in wanted if not re.search(rf"^CONFIG_{name}=[ym]$", config, re.MULTILINE)]:
        return fail(f"built without {', '.join(lacking)}")
    return ok("programs load" if jit != "0" else "programs load, interpreted (bpf_jit_enable is 0)")


def _namespaces(context: Context) -> Finding:
    if context.probe.uid != 0:
        return skip(_NO_ROOT)
    kinds = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
    code, text = context.probe.run("unshare", *kinds, "--fork", "true")
    return ok("mount, UTS, IPC, network, PID and cgroup") if code == 0 else fail(text)


def _tried(*argv: str) -> Callable[[Context], Finding]:
    """Return a check that runs a command in a network namespace of its own."""

    def look(context: Context) -> Finding:
        if context.probe.uid != 0:
            return skip(_NO_ROOT)
        if context.probe.which(argv[0]) is None:
            return skip(f"{argv[0]} is not installed yet; deploy installs it")
        code, text = context.probe.run("unshare", "--net", *argv)
        return ok("works") if code == 0 else fail(text.splitlines()[-1] if text else f"exit code {code}")

    return look


def _rows(context: Context, path: str, columns: int) -> list[list[str]]:
    lines = (context.probe.read(path) or "").splitlines()
    return [fields for line in lines if len(fields := line.split()) >= columns]


def _unified(context: Context) -> Finding:
    """Look at a machine with cgroup v2 alone."""
    probe = context.probe
    have = (probe.read(f"{CGROUP_ROOT}/cgroup.controllers") or "").split()
    if lacking := [name for name in cgroup2.NEEDED if name not in have]:
        return fail(f"cgroup v2 without {', '.join(lacking)}", _MISSING)
    options = [fields[3] for fields in _rows(context, "/proc/mounts", 4) if fields[1] == str(CGROUP_ROOT)][-1]
    if "ro" in options.split(","):
        return fail(f"{CGROUP_ROOT} is mounted read-only", _WRITABLE)
    if probe.exists(str(cgroup2.SYSTEMD)):
        if probe.which("systemd-run") is None:
            return fail("systemd owns the tree of cgroups, but systemd-run is not installed", "apt-get install systemd")
        return ok(f"cgroup v2; systemd leaves {cgroup2.UNIT} to the nodes")
    on = (probe.read(f"{CGROUP_ROOT}/cgroup.subtree_control") or "").split()
    # Only the kernel's own root, which has no type, may hold processes beside its children.
    inner = probe.exists(f"{CGROUP_ROOT}/cgroup.type") and (probe.read(f"{CGROUP_ROOT}/cgroup.procs") or "").strip()
    if inner and not set(cgroup2.NEEDED) <= set(on):
        return fail(f"processes in {CGROUP_ROOT} itself keep its controllers from the nodes", _STEP_DOWN)
    return ok(f"cgroup v2; the nodes are below {cgroup2.PLACES[1]}")


def _controllers(context: Context) -> Finding:
    if cgroup2.alone(context.probe.read("/proc/mounts") or ""):
        return _unified(context)
    if ["nodev", "cgroup"] not in _rows(context, "/proc/filesystems", 2):
        return fail("the kernel has no cgroup v1")
    enabled = {name for name, _, _, on, *_ in _rows(context, "/proc/cgroups", 4) if on == "1"}
    mounts = _rows(context, "/proc/mounts", 4)
    mounted = {
        option.removeprefix("name=")
        for _, _, kind, options, *_ in mounts
        if kind == "cgroup"
        for option in options.split(",")
    }
    missing = [name for name in CONTROLLERS if name not in mounted]
    if lacking := [name for name in missing if name not in enabled and name != "systemd"]:
        return fail(f"no controller {', '.join(lacking)}")
    # A controller serves one hierarchy: what v2 has taken (it calls blkio io) cannot be mounted as v1.
    unified = next((point for _, point, kind, *_ in mounts if kind == "cgroup2"), "")
    taken = set((context.probe.read(f"{unified}/cgroup.controllers") or "").split()) if unified else set()
    names = {"blkio": "io", "cpuacct": "cpu"}
    if busy := [name for name in missing if names.get(name, name) in taken]:
        return fail(f"cgroup v2 at {unified} has taken {', '.join(busy)}")
    return ok(f"deploy mounts {', '.join(missing)}" if missing else "all mounted")


CHECKS: Final = (
    Check("kernel-version", "Cilium 1.20 needs Linux 5.10", "boot a newer kernel", _version, _NODES),
    Check("kernel-bpf", "Cilium's data plane is BPF", _OTHER_KERNEL, _bpf, _NODES),
    Check("kernel-btf", "BPF programs read the kernel's types", _OTHER_KERNEL, _btf, _NODES),
    Check(
        "kernel-filesystems",
        "containers' layers, Cilium's maps and its socket balancing are mounted from them",
        _OTHER_KERNEL,
        _file_systems("overlay", "bpf", "cgroup2", "tmpfs"),
        _NODES,
    ),
    Check("kernel-namespaces", "a node is a set of namespaces", _OTHER_KERNEL, _namespaces, _NODES),
    Check(
        "kernel-veth",
        "the cable of every node and pod",
        _OTHER_KERNEL,
        _tried("ip", "link", "add", "one", "type", "veth", "peer", "name", "two"),
        _NODES,
    ),
    Check(
        "kernel-bridge",
        "the switch between the nodes",
        _OTHER_KERNEL,
        _tried("ip", "link", "add", "one", "type", "bridge"),
        _EMBEDDED,
    ),
    Check(
        "kernel-vxlan",
        "pods of different nodes talk through it",
        _OTHER_KERNEL,
        _tried("ip", "link", "add", "one", "type", "vxlan", "id", "7", "dstport", "8472"),
        _NODES,
    ),
    Check(
        "kernel-tun",
        "WireGuard in user space is a TUN device",
        _OTHER_KERNEL,
        _tried("ip", "tuntap", "add", "mode", "tun", "name", "one"),
        _EMBEDDED,
    ),
    Check(
        "kernel-nftables",
        "kube-proxy translates Service addresses with it",
        _OTHER_KERNEL,
        _tried(
            "nft",
            "add table ip t; add chain ip t c { type nat hook prerouting priority 0; }; "
            "add rule ip t c ct state established accept; add rule ip t c numgen random mod 2 vmap { 0 : drop }",
        ),
        _NODES,
    ),
    Check(
        "kernel-ipset",
        "Cilium's node keeps address sets",
        _OTHER_KERNEL,
        _tried("ipset", "create", "one", "hash:ip"),
        _EMBEDDED,
    ),
    Check(
        "cgroups",
        "every node's processes are limited and counted in cgroups",
        "boot with systemd.unified_cgroup_hierarchy=1 (cgroup v2 alone), or use --env=kind",
        _controllers,
        _EMBEDDED,
    ),
)
