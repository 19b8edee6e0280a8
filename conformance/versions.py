"""What exactly was judged: versions of the cluster, its nodes and its images."""

import platform
from contextlib import suppress

from betelgeuse.errors import BetelgeuseError
from conformance.site import Site
from conformance.workloads.rules import containers


def collect(site: Site) -> dict[str, str]:
    """Return names and versions; what cannot be read is left out, a report is written all the same."""
    found = {"python": platform.python_version()}
    with suppress(BetelgeuseError):
        server = site.cluster.ask("GET", "/version").data
        found["kubernetes"] = str(server.get("gitVersion", "unknown"))
        for node in site.cluster.list("v1", "Node"):
            info = node["status"]["nodeInfo"]
            text = (
                f"kubelet {info['kubeletVersion']}, {info['containerRuntimeVersion']}, kernel {info['kernelVersion']}"
            )
            found[f"node {node['metadata']['name']}"] = text
        images = {c["image"] for pod in site.cluster.list("v1", "Pod") for c in containers(pod["spec"])}
        for image in sorted(images):
            name, _, tag = image.rpartition(":")
            found[f"image {name}"] = tag
    return found
