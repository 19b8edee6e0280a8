"""How the platform is, area by area, honestly: what is not ready says why."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from betelgeuse import fill
from betelgeuse.apply import THREADS
from betelgeuse.clusters.local.certificates import Certificate, days, on_disk, words
from betelgeuse.kube import Kube, Obj
from betelgeuse.progress import out
from betelgeuse.readiness import State, judge_node
from betelgeuse.settings import LOCAL, Settings
from betelgeuse.wait import Waiting, explain, observe
from betelgeuse.workflows.session import opened

_CLUSTER: Final = "(cluster)"
_NOT_READY: Final = 1


def _nodes(kube: Kube) -> list[tuple[str, State]]:
    """Return each node's verdict."""
    return [(node["metadata"]["name"], judge_node(node)) for node in kube.list("v1", "Node")]


def report(
    kube: Kube, objects: Sequence[Obj], ending: Sequence[Certificate] = (), volumes: Sequence[fill.Volume] = ()
) -> dict[str, Any]:
    """Return the state of everything as plain data, for `--json` and for the table."""
    now = datetime.now(UTC)
    waiting = observe(kube, objects)
    with ThreadPoolExecutor(THREADS) as pool:
        explained: list[Waiting] = list(pool.map(lambda entry: explain(kube, entry), waiting))
    total = Counter(str(obj["metadata"].get("namespace") or _CLUSTER) for obj in objects)
    broken = Counter(entry.key.namespace or _CLUSTER for entry in explained)
    nodes, expired = _nodes(kube), any(each.ends <= now for each in ending)
    return {
        "ready": not explained and all(state.ready for _, state in nodes) and bool(nodes) and not expired,
        "certificates": [{"node": each.node, "name": each.name, "days": days(each, now)} for each in ending],
        "ending": words(ending, now),
        "volumes": [
            {"namespace": each.namespace, "claim": each.claim, "used": each.used, "left": each.left} for each in volumes
        ],
        "filling": fill.lines(list(volumes)),
        "nodes": [{"name": name, "ready": state.ready, "reason": state.reason} for name, state in nodes],
        "areas": [
            {"namespace": name, "objects": total[name], "ready": total[name] - broken[name]} for name in sorted(total)
        ],
        "waiting": [
            {
                "kind": entry.key.kind,
                "namespace": entry.key.namespace,
                "name": entry.key.name,
                "reason": entry.state.reason,
            }
            for entry in explained
        ],
    }


def table(settings: Settings, found: dict[str, Any]) -> str:
    """Return the report for people."""
    ready = sum(node["ready"] for node in found["nodes"])
    lines = [f"{settings.env}: {ready}/{len(found['nodes'])} nodes ready"]
    lines += [f"  node {node['name']}: {node['reason']}" for node in found["nodes"] if not node["ready"]]
    lines += [f"  certificates: {found['ending']}"] if found["ending"] else []
    lines += [f"  {line}" for line in found["filling"]]
    width = max((len(area["namespace"]) for area in found["areas"]), default=0)
    for area in found["areas"]:
        mark = "ok" if area["ready"] == area["objects"] else "NOT READY"
        lines.append(f"  {area['namespace']:<{width}}  {area['ready']:>4}/{area['objects']:<4} {mark}")
        here = "" if area["namespace"] == _CLUSTER else area["namespace"]
        lines += [
            f"  {'':<{width}}    {entry['kind']} {entry['name']}: {entry['reason']}"
            for entry in found["waiting"]
            if entry["namespace"] == here
        ]
    return "\n".join(lines)


def show(env: str, profile: str = "", *, as_json: bool = False) -> int:
    """Print the state of an environment, its own certificates included where we made it; return as `status`."""
    settings, kube, objects = opened(env, profile)
    ending = on_disk() if env == LOCAL else ()
    return status(settings, kube, objects, ending, fill.volumes(kube), as_json=as_json)


def status(  # noqa: PLR0913 - each is a part of the state
    settings: Settings,
    kube: Kube,
    objects: Sequence[Obj],
    ending: Sequence[Certificate] = (),
    volumes: Sequence[fill.Volume] = (),
    *,
    as_json: bool = False,
) -> int:
    """Print the state of the platform; return 0 when everything is ready, else 1.

    `ending` are the cluster's own certificates, the earliest to end first; `volumes` the fullest first.
    """
    found = report(kube, objects, ending, volumes)
    out(json.dumps(found, indent=2) if as_json else table(settings, found))
    return 0 if found["ready"] else _NOT_READY
