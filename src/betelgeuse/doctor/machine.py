"""Checks of the machine itself: who we are, what it is made of, how much of it is free."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.clusters.local import cgroup2, sysctls
from betelgeuse.clusters.local.layout import CGROUP_ROOT, ENV
from betelgeuse.doctor.model import Check, Context, Finding, Shape, fail, ok, shape, skip, warn

_EMBEDDED: Final = frozenset({Shape.EMBEDDED})
_NODES: Final = frozenset({Shape.EMBEDDED, Shape.DOCKER, Shape.SERVER})
"""Machines that carry the platform."""
_OF_LINUX: Final = frozenset({Shape.EMBEDDED, Shape.SERVER})
_KIB_PER_GIB: Final = 2**20
_BYTES_PER_GIB: Final = 2**30
_SCOPES: Final = f"btg-{ENV}-*"
_PLACES: Final = {paths.CACHE: 0.6, paths.STATE: 0.4}
"""The shares of a profile's disk space."""
_BUILT_AFTER: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""This software did not exist before: an earlier clock is wrong, and every certificate would be 'not yet valid'."""

# Bits of Linux' capability sets: what namespaces, interfaces, chroots, device nodes and BPF programs take.
_CAPABILITIES: Final = {
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_MKNOD": 27,
}
_FILES_NEEDED: Final = 16384
_FILES_LEAST: Final = 4096
_PIDS_LEAST: Final = 32768


def _root(context: Context) -> Finding:
    uid = context.probe.uid
    return ok("running as root") if uid == 0 else fail(f"running as user {uid}")


def _platform(context: Context) -> Finding:
    _, system = context.probe.run("uname", "-s")
    _, machine = context.probe.run("uname", "-m")
    if system != "Linux":
        return fail(f"this is {system}")
    if machine == "x86_64":
        return ok("Linux on x86_64")
    return warn(f"Linux on {machine}") if machine == "aarch64" else fail(f"Linux on {machine}")


def _capabilities(context: Context) -> Finding:
    if context.probe.uid != 0:
        return skip("only root has any")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", context.probe.read("/proc/self/status") or "", re.MULTILINE)
    if found is None:
        return skip("/proc/self/status does not tell capabilities")
    effective = int(found[1], 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]
    return fail(f"missing: {', '.join(missing)}") if missing else ok("all that nodes need")


def _cpus(context: Context) -> Finding:
    have, want = context.probe.cpus, context.budget.cpu
    text = f"{have} usable, {want:g} needed"
    return ok(text) if have >= want else fail(text, _smaller(context))


def _meminfo(context: Context) -> dict[str, float]:
    lines = (context.probe.read("/proc/meminfo") or "").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name: int(value.split()[0]) / _KIB_PER_GIB for name, value in pairs}


def _own(context: Context) -> float:
    """Return the GiB that our nodes use already: they stay the platform's."""
    places = (f"{CGROUP_ROOT}/memory", *map(str, cgroup2.PLACES))
    stats = [path for place in places for path in context.probe.glob(f"{place}/{_SCOPES}/memory.stat")]
    # The first is v1's name for it, the second v2's.
    found = [re.search(r"^(?:total_rss|anon) (\d+)$", context.probe.read(path) or "", re.MULTILINE) for path in stats]
    return sum(int(match[1]) for match in found if match) / _BYTES_PER_GIB


def _free(context: Context) -> float:
    """Return the GiB of memory that the platform has or can have."""
    info = _meminfo(context)
    return info.get("MemAvailable", info.get("MemTotal", 0.0)) + _own(context)


def _memory(context: Context) -> Finding:
    info, want, free, own = _meminfo(context), context.budget.memory_gib, _free(context), _own(context)
    if "MemTotal" not in info:
        return skip("/proc/meminfo does not tell")
    used = f", {own:.1f} of which our nodes use" if own else ""
    text = f"profile {context.profile.name} needs {want:g} GiB of memory; {free:.1f} are free{used}"
    if free >= want:
        return ok(text)
    if shape(context.settings.env) is not Shape.EMBEDDED and info["MemTotal"] >= want:
        # What containers of ours use cannot be told from other programs'.
        return warn(text, "end other programs, unless the platform itself uses the memory")
    return fail(text, _smaller(context))


def _swap(context: Context) -> Finding:
    info = _meminfo(context)
    used = info.get("SwapTotal", 0.0) - info.get("SwapFree", 0.0)
    if used > 1.0:
        return warn(f"{used:.1f} GiB of swap in use")
    return ok("not in use" if info.get("SwapTotal") else "none")


def _has_room(context: Context, place: Path, want: float) -> bool:
    # What is built already needs no second copy.
    return context.probe.free_gib(str(place)) >= want or bool(context.probe.glob(f"{place}/*/*"))


def _disk(place: Path) -> Callable[[Context], Finding]:
    def look(context: Context) -> Finding:
        free, want = context.probe.free_gib(str(place)), context.budget.disk_gib * _PLACES[place]
        text = f"{free:.1f} GiB free at {place}, {want:g} GiB needed"
        if free >= want:
            return ok(text)
        return warn(text) if _has_room(context, place, want) else fail(text, _smaller(context))

    return look


def _smaller(context: Context) -> str:
    """Return the advice to take the largest smaller profile that fits this machine; empty where none does."""
    for profile in context.smaller:
        needs = profile.budget
        rooms = [_has_room(context, place, needs.disk_gib * share) for place, share in _PLACES.items()]
        if context.probe.cpus >= needs.cpu and _free(context) >= needs.memory_gib and all(rooms):
            return f"--profile={profile.name} fits: {needs}"
    return ""


def mount_of(mounts: str, path: str) -> tuple[str, str, set[str]]:
    """Return (mount point, file system, options) of what holds a path, by /proc/mounts."""
    best = ("", "", set[str]())
    for line in mounts.splitlines():
        _, point, kind, options, *_ = line.split()
        point = point.replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts at one point the later covers the earlier.
        if inside and len(point) >= len(best[0]):
            best = (point, kind, set(options.split(",")))
    return best


def _mounts(context: Context) -> Finding:
    mounts = context.probe.read("/proc/mounts") or ""
    temporary = context.probe.variable("TMPDIR") or "/tmp"  # noqa: S108 - only asked about, never written
    places = {str(paths.CACHE): {"ro", "noexec"}, str(paths.STATE): {"ro", "noexec", "nodev"}, temporary: {"noexec"}}
    for path, forbidden in places.items():
        point, _, options = mount_of(mounts, path)
        if bad := sorted(forbidden & options):
            return fail(f"{path} is on {point}, mounted {','.join(bad)}")
    point, kind, _ = mount_of(mounts, str(paths.STATE))
    if kind == "overlay":
        return fail(f"{paths.STATE} is on {point}, an overlay: containers cannot have their overlays on it")
    return ok(f"{kind or 'unknown file system'}, programs may run from it")


def _open_files(context: Context) -> Finding:
    have = context.probe.file_limit
    text = f"limit {'none' if have < 0 else have}"
    if have < 0 or have >= _FILES_NEEDED:
        return ok(text)
    return warn(text) if have >= _FILES_LEAST else fail(text)


def _number(context: Context, path: str) -> int | None:
    text = (context.probe.read(path) or "").strip()
    return int(text) if text.isdigit() else None


def _inotify(context: Context) -> Finding:
    instances = _number(context, "/proc/sys/fs/inotify/max_user_instances")
    watches = _number(context, "/proc/sys/fs/inotify/max_user_watches")
    if instances is None or watches is None:
        return fail("the kernel has no inotify")
    enough = all(have >= least for have, least in zip((instances, watches), sysctls.RAISED.values(), strict=True))
    return ok(f"{instances} instances, {watches} watches{'' if enough else ': a deploy raises them'}")


def _pids(context: Context) -> Finding:
    limits = {name: _number(context, f"/proc/sys/kernel/{name}") for name in ("pid_max", "threads-max")}
    low = [f"{name} {value}" for name, value in limits.items() if value is not None and value < _PIDS_LEAST]
    return warn(", ".join(low)) if low else ok(", ".join(f"{name} {value}" for name, value in limits.items()))


def _clock(context: Context) -> Finding:
    now = datetime.fromtimestamp(context.probe.now, UTC)
    text = f"{now:%Y-%m-%d %H:%M} UTC"
    return ok(text) if now >= _BUILT_AFTER else fail(f"{text} is in the past")


CHECKS: Final = (
    Check(
        "root",
        "nodes are Linux namespaces with mounts and interfaces of their own",
        "run the command as root: sudo -E .venv/bin/invoke …",
        _root,
        _EMBEDDED,
    ),
    Check(
        "platform",
        "the pinned wheels and builds are tried on Linux x86_64; aarch64 should work",
        "use a Linux x86_64 machine, or --env=kind with Docker",
        _platform,
        _NODES,
    ),
    Check(
        "capabilities",
        "even root lacks them inside most containers",
        "run outside the container, or start it with these capabilities",
        _capabilities,
        _OF_LINUX,
    ),
    Check("cpus", "below this the control plane starves the pods", "use a larger machine", _cpus, _NODES),
    Check(
        "memory",
        "the control plane, the CNI and both models stay resident",
        "end other programs, use a machine with more memory, or a smaller profile",
        _memory,
        _NODES,
    ),
    Check("swap", "a swapping etcd misses its deadlines", "end other programs, or swapoff -a", _swap, _NODES),
    Check(
        "disk-cache",
        "compilers' caches and finished builds are kept there",
        "free space, or set BETELGEUSE_CACHE to a folder on a larger disk",
        _disk(paths.CACHE),
        _EMBEDDED,
    ),
    Check(
        "disk-state",
        "the nodes' images, volumes and logs are there",
        "free space, or set BETELGEUSE_STATE to a folder on a larger disk",
        _disk(paths.STATE),
        _EMBEDDED,
    ),
    Check(
        "mounts",
        "builds and nodes run programs from the cache, the state folder and the temporary folder",
        "set BETELGEUSE_CACHE, BETELGEUSE_STATE or TMPDIR to a folder on a plain disk (ext4, xfs)",
        _mounts,
        _EMBEDDED,
    ),
    Check(
        "open-files",
        "containerd, etcd and the API server hold thousands of files and connections",
        "ulimit -n 65536 before the command; for good: nofile in /etc/security/limits.conf",
        _open_files,
        _EMBEDDED,
    ),
    Check(
        "inotify",
        "kubelets and containerd watch files; all nodes share root's limit",
        "use a kernel with CONFIG_INOTIFY_USER",
        _inotify,
        _OF_LINUX,
    ),
    Check(
        "pids",
        "every container thread takes a number",
        "sysctl -w kernel.pid_max=4194304 kernel.threads-max=120000",
        _pids,
        _OF_LINUX,
    ),
    Check("clock", "certificates are valid from now on", "set the clock: timedatectl set-ntp true", _clock),
)
