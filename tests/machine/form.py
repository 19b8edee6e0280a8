"""Form a node up to its API server with what a build cache holds, and say how long each step took: run in the guest."""

import time
from collections.abc import Callable

from betelgeuse import settings
from betelgeuse.builds import images
from betelgeuse.clusters.local import cluster, layout, target
from betelgeuse.progress import out


def _timed(what: str, step: Callable[[], object]) -> None:
    begin = time.monotonic()
    step()
    out(f"{time.monotonic() - begin:7.1f} s  {what}")


def main() -> None:
    """Boot the node, load the control plane's images, run kubeadm, ask the API server for its nodes."""
    chosen = settings.load(settings.LOCAL)
    nodes, programs = layout.nodes(chosen), target.node_programs()
    _timed("boot", lambda: cluster.boot(nodes, programs))
    for image in map(images.named, target.CONTROL_PLANE):
        archive, reference = images.archive(image), images.reference(image)
        _timed(f"load {image.name}", lambda at=archive, name=reference: cluster.import_image(nodes[0], at, name))  # type: ignore[misc]
    _timed("kubeadm", lambda: cluster.form(nodes, programs, chosen.domain))
    out(cluster.kubectl("get", "nodes,pods", "--all-namespaces", "-o", "wide", timeout=120))


if __name__ == "__main__":
    main()
