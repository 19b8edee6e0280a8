"""Who may call whom, drawn from the tree; and what the data plane dropped lately, asked of the cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from betelgeuse import paths, settings
from betelgeuse.kube import connect
from betelgeuse.kube.command import exec_in
from betelgeuse.policy import drops, graph, svg
from betelgeuse.progress import out, say
from betelgeuse.settings import Settings
from betelgeuse.workflows.session import tree

_AGENT: Final = "cilium-agent"
_READ: Final = "cat /var/run/cilium/hubble/drops*.log | grep -v -F betelgeuse.io/conformance | tail -n 5000"
"""The latest of each node, oldest file first; without the conformance suite's pods, whose labels tell them."""

_DRAWN: Final = 40
"""More red curves than this hide the picture; the table has them all."""


def _dropped(chosen: Settings) -> Iterator[str]:
    """Yield the latest lines of every node's agent; one that dropped nothing has none."""
    for agent in connect(chosen).list("v1", "Pod", "kube-system", labels="k8s-app=cilium"):
        text = exec_in(chosen, "kube-system", agent["metadata"]["name"], ["sh", "-c", _READ], container=_AGENT)
        yield from text.splitlines()


def show(env: str, profile: str = "", *, live: bool = False) -> int:
    """Print the table, write the picture to reports/ and say where; return 0."""
    chosen = settings.load(env)
    edges = graph.edges(tree(env, profile))
    dropped = drops.read(_dropped(chosen)) if live else ()
    out(graph.as_table(edges))
    if live:
        out("")
        out(drops.as_table(dropped) if dropped else "nothing was dropped lately")
    drawn = [drop for drop in dropped if drop.caller != drops.SUITE][:_DRAWN]
    target = _write(env, svg.draw(f"Who may call whom: {env}", edges, drawn))
    say(f"{len(edges)} permissions, drawn in {target}")
    return 0


def _write(env: str, text: str) -> Path:
    target = paths.REPORTS / f"policy-{env}.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    return target
