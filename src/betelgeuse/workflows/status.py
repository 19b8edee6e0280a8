"""How the platform is, area by area, honestly: what is not ready says why."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from betelgeuse.apply import THREADS
from betelgeuse.kube import Kube, Obj
from betelgeuse.progress import out
from betelgeuse.readiness import State, judge
from betelgeuse.settings import Settings
from betelgeuse.wait import Waiting, explain, observe

_CLUSTER: Final = "(cluster)"
_NOT_READY: Final = 1


def _nodes(kube: Kube) -> list[tuple[str, State]]:
    """Return each node's verdict."""
    found: list[tuple[str, State]] = []
    for node in kube.list("v1", "Node"):
        state = judge(node)
        if state.ready and (node.get("spec") or {}).get("unschedulable"):
            state = State(ready=False, reason="is cordoned")
        found.append((node["metadata"]["name"], state))
    return found


def report(kube: Kube, objects: Sequence[Obj]) -> dict[str, Any]:
    """Return the state of everything as plain data, for `--json` and for the table."""
    waiting = observe(kube, objects)
    with ThreadPoolExecutor(THREADS) as pool:
        explained: list[Waiting] = list(pool.map(lambda entry: explain(kube, entry), waiting))
    total = Counter(str(obj["metadata"].get("namespace") or _CLUSTER) for obj in objects)
    broken = Counter(entry.key.namespace or _CLUSTER for entry in explained)
    nodes = _nodes(kube)
    return {
        "ready": not explained and all(state.ready for _, state in nodes) and bool(nodes),
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


def status(settings: Settings, kube: Kube, objects: Sequence[Obj], *, as_json: bool = False) -> int:
    """Print the state of the platform; return 0 when everything is ready, else 1."""
    found = report(kube, objects)
    out(json.dumps(found, indent=2) if as_json else table(settings, found))
    return 0 if found["ready"] else _NOT_READY
