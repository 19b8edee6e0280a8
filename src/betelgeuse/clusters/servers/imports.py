"""Carry images to servers, which have no registry to pull them from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from betelgeuse.builds import images
from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.local import target as local
from betelgeuse.clusters.servers import place
from betelgeuse.programs.model import Image
from betelgeuse.progress import step
from betelgeuse.ssh import Connection, at_once

_IMPORT_SECONDS: Final = 1800.0
_CTR: Final = f"{place.BIN}/ctr -n k8s.io"
_EVERYWHERE: Final = ("pause", "kube-proxy")
"""Of the control plane's images, what a worker runs too."""


@dataclass
class Import:
    """Loads images into servers; asks each what it has."""

    connections: Sequence[Connection]

    def load(self, image: Image) -> None:
        """Bring an image to every server that lacks it, and keep it from garbage collection."""
        at_once(partial(self._load, image), self.connections)

    @staticmethod
    def _load(image: Image, connection: Connection) -> None:
        reference = images.reference(image)
        if reference in connection.run(f"{_CTR} images list -q").split():
            return
        with step(f"carry image {image.name} to {connection.server.name}"):
            # What is unpacked needs no second copy, packed: half of the disk that images take.
            load = f"{_CTR} images import --local --discard-unpacked-layers - >/dev/null"
            connection.run(load, input=images.archive(image), timeout=_IMPORT_SECONDS)
            # The mark comes last: an image without it is carried again.
            connection.run(f"{_CTR} images label {reference} {cluster.PINNED} >/dev/null")


def for_kubeadm(connection: Connection) -> None:
    """Bring what kubeadm starts on a server before anything else runs there."""
    loader = Import([connection])
    for name in local.CONTROL_PLANE if connection.server.controls else _EVERYWHERE:
        loader.load(images.named(name))
