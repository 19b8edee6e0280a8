"""How full volumes are, as each node's kubelet measures it.

A folder of the node's disk (local-path) is measured by the disk that it shares: what is left is left for all of them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Kube
from betelgeuse.progress import say

NEARLY: Final = 0.85
"""The share in use from which a volume is named by itself."""
_GIB: Final = 1 << 30


@dataclass(frozen=True)
class Volume:
    """A claim's volume."""

    namespace: str
    claim: str
    used: int
    left: int

    @property
    def share(self) -> float:
        """Return how much of what it can hold is in use, as df tells it."""
        return self.used / max(1, self.used + self.left)

    def __str__(self) -> str:
        """Show it: `db/data-valkey-0 is 77 % full, 20.8 GiB left`."""
        return f"{self.namespace}/{self.claim} is {self.share:.0%} full, {self.left / _GIB:.1f} GiB left"


def measured(summary: dict[str, Any]) -> Iterator[Volume]:
    """Yield the volumes with claims that a kubelet's summary tells of; one that it did not measure yet is left out."""
    for pod in summary.get("pods") or ():
        for volume in pod.get("volume") or ():
            claim = volume.get("pvcRef")
            if claim and {"usedBytes", "availableBytes"} <= set(volume):
                yield Volume(claim["namespace"], claim["name"], volume["usedBytes"], volume["availableBytes"])


def volumes(kube: Kube) -> list[Volume]:
    """Return every claim's volume, the fullest first; a node that does not tell is told."""
    found: set[Volume] = set()
    for node in kube.list("v1", "Node"):
        name = node["metadata"]["name"]
        try:
            found |= {*measured(json.loads(kube.request("GET", f"/api/v1/nodes/{name}/proxy/stats/summary")))}
        except BetelgeuseError as error:
            say(f"node {name} does not tell how full its volumes are: {error}")
    return sorted(found, key=lambda one: (-one.share, one.left, one.namespace, one.claim))


def lines(found: list[Volume]) -> list[str]:
    """Return what people are told: the fullest, and every one that is nearly full."""
    if not found:
        return []
    first, *others = found
    return [f"{len(found)} volumes, the fullest {first}", *(str(one) for one in others if one.share >= NEARLY)]
