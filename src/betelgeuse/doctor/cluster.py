"""Checks of what is already here: our cluster, what is left of an older one, who works on it."""

import json
import re
from datetime import UTC, datetime
from typing import Final

from betelgeuse import paths
from betelgeuse.clusters.local import certificates, cgroup2
from betelgeuse.clusters.local.layout import BRIDGE, CGROUP_ROOT, CLUSTER_DIR, DESIRED, ENV
from betelgeuse.doctor.model import Check, Context, Finding, Shape, fail, ok, warn

_EMBEDDED: Final = frozenset({Shape.EMBEDDED})
_SCOPE: Final = f"btg-{ENV}-"
_SERVER: Final = re.compile(r"^\s*server:\s*['\"]?https?://\[?([^\]:/\s'\"]+)\]?:(\d+)", re.MULTILINE)
_MADE_ELSEWHERE: Final = "start the machines it runs on; a deploy makes no cluster but local's"
_DESTROY: Final = f"invoke destroy --env={ENV}"


def _wanted(context: Context) -> bool:
    """Tell whether a cluster is meant to run: then its parts are no leftovers."""
    return context.probe.exists(str(DESIRED))


def _leftovers(context: Context) -> Finding:
    probe = context.probe
    found = [f"network namespace {path.rpartition('/')[2]}" for path in probe.glob(f"/run/netns/{_SCOPE}*")]
    if probe.exists(f"/sys/class/net/{BRIDGE}"):
        found.append(f"bridge {BRIDGE}")
    places = (f"{CGROUP_ROOT}/*", str(cgroup2.PLACES[0]))
    if groups := [group for place in places for group in probe.glob(f"{place}/{_SCOPE}*")]:
        found.append(f"{len(groups)} cgroups ({groups[0]})")
    mounts = (probe.read("/proc/mounts") or "").splitlines()
    if below := [line.split()[1] for line in mounts if line.split()[1].startswith(f"{paths.STATE}/{ENV}/")]:
        found.append(f"{len(below)} mounts ({below[0]})")
    if _wanted(context):
        return ok(
            "the cluster's own parts" if found else "none yet: the cluster is starting or its machine was rebooted"
        )
    return warn("; ".join(found)) if found else ok("none")


def _processes(context: Context) -> Finding:
    marked = [
        path.split("/")[2]
        for path in context.probe.glob("/proc/[0-9]*/cgroup")
        if f"/{_SCOPE}" in (context.probe.read(path) or "")
    ]
    if _wanted(context):
        return ok(f"{len(marked)} of our nodes")
    return warn(f"{len(marked)} run in cgroups of an older cluster, e.g. pid {marked[0]}") if marked else ok("none")


def _lock(context: Context) -> Finding:
    text = context.probe.read(str(paths.state_dir(context.settings.env) / "lock"))
    try:
        holder = json.loads(text or "")
        pid, verb, since = int(holder["pid"]), str(holder["verb"]), str(holder["since"])
    except (ValueError, KeyError, TypeError):
        return ok("free")
    if not context.probe.exists(f"/proc/{pid}"):
        return ok(f"free; {verb} (pid {pid}) was killed, its lock went with it")
    return warn(f"{verb} (pid {pid}) works since {since}")


def _kubeconfig(context: Context) -> Finding:
    path = paths.kubeconfig_path(context.settings.env)
    text = context.probe.read(str(path))
    if text is None:
        return ok("none yet")
    found = _SERVER.search(text)
    if found is None:
        return fail(f"{path} names no server")
    host, port = found[1], int(found[2])
    reason = context.probe.connects(host, port)
    if not reason:
        return ok(f"the API server at {host}:{port} answers")
    if context.settings.env == ENV and not _wanted(context):
        return warn(f"{path} is left of an older cluster", _DESTROY)
    text = f"the API server at {host}:{port} does not answer: {reason}"
    return fail(text) if context.settings.env == ENV else fail(text, _MADE_ELSEWHERE)


def _certificates(context: Context) -> Finding:
    probe = context.probe
    paths_of = [path for pattern in certificates.PATTERNS for path in probe.glob(f"{CLUSTER_DIR}/{pattern}")]
    now = datetime.fromtimestamp(probe.now, UTC)
    found = certificates.collect((path, text) for path in paths_of if (text := probe.read(path)) is not None)
    if not found:
        return ok("none yet")
    words = certificates.words(found, now)
    if found[0].ends <= now:
        return fail(words)
    if found[0].authority:
        return warn(words, _DESTROY) if found[0].ends < now + certificates.SEASON else ok(words)
    # The guard should have renewed it by now.
    return warn(words) if found[0].ends < now + certificates.MONTH else ok(words)


CHECKS: Final = (
    Check(
        "leftovers",
        "parts of a cluster that nothing runs any more; deploy takes them over or removes them",
        f"{_DESTROY} removes them all",
        _leftovers,
        _EMBEDDED,
    ),
    Check(
        "processes",
        "they hold addresses, mounts and memory; deploy ends those in its way",
        f"{_DESTROY} ends them all",
        _processes,
        _EMBEDDED,
    ),
    Check("lock", "one command at a time changes an environment", "wait for it to end", _lock),
    Check(
        "certificates",
        "the cluster's programs and its administrator know each other by them; the guard renews them in time",
        f"invoke deploy --env={ENV} renews them",
        _certificates,
        _EMBEDDED,
        # An expired one is no reason to refuse the deploy that renews it.
        quick=False,
    ),
    Check(
        "kubeconfig",
        "every command talks to the server it names",
        "invoke deploy brings the cluster up again",
        _kubeconfig,
        quick=False,
    ),
)
