"""Set a node aside while its server is worked on: its pods go elsewhere, and come again afterwards."""

from functools import partial
from typing import Final

from betelgeuse.clusters import drain
from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.servers import forming
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step

MARK: Final = "betelgeuse.io/set-aside"
"""Annotation of a node that we cordoned: what a killed command leaves is told from a person's cordon."""
_ESCAPED: Final = MARK.replace(".", r"\.")
_READY: Final = '--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}'
_NODE_SECONDS: Final = 300.0


def marked(env: str, name: str) -> bool:
    """Whether a node was set aside and not taken back."""
    return bool(forming.kubectl(env, "get", "node", name, f"--output=jsonpath={{.metadata.annotations.{_ESCAPED}}}"))


def put(env: str, name: str) -> None:
    """Have a node's pods go elsewhere; BetelgeuseError with the way back where some do not leave it."""
    if not forming.kubectl(env, "get", "node", name, "--output=jsonpath={.spec.unschedulable}"):
        forming.kubectl(env, "annotate", "node", name, f"{MARK}=true", "--overwrite")
    with step(f"pods of {name} go elsewhere"):
        drain.empty(partial(forming.kubectl, env), name, (), "by ")


def take_back(env: str, name: str) -> None:
    """Wait until a node is ready and have pods come to it; one that a person cordoned stays so."""
    cluster.wait(f"node {name}", _NODE_SECONDS, partial(_unready, env, name))
    if marked(env, name):
        forming.kubectl(env, "uncordon", name)
        forming.kubectl(env, "annotate", "node", name, f"{MARK}-")


def _unready(env: str, name: str) -> str:
    """Return why a node is not ready; empty when it is."""
    try:
        told = forming.kubectl(env, "get", "node", name, _READY)
    except BetelgeuseError as error:
        return str(error)
    return "" if told == "True" else f"node {name} says Ready={told or 'nothing'}"
