# ruff: noqa: INP001 - a module of an image: the folder is on the path there
"""The pod of a person's server, as the tree's PodTemplate has it.

KubeSpawner says who it is for: name, labels, command, variables, and which claim is the home.
"""

from typing import Any, Final

TEMPLATE: Final = "notebook"
HOME: Final = "home"
"""The template's volume in whose place the person's own claim is mounted."""


async def from_template(spawner: Any, pod: Any) -> Any:  # noqa: ANN401 - of libraries that only the image has
    """Return the pod to make, from what KubeSpawner would make."""
    found = await spawner.api.read_namespaced_pod_template(TEMPLATE, spawner.namespace)
    return filled(found.template, pod, spawner.pvc_name)


def filled(template: Any, pod: Any, claim: str) -> Any:  # noqa: ANN401 - as above
    """Return a pod with the template's spec, and the name, the labels, the command and the variables of another."""
    wanted, (container, *_) = pod.spec.containers[0], template.spec.containers
    container.args = wanted.args
    container.env = [*(container.env or ()), *wanted.env]
    for volume in template.spec.volumes:
        if volume.name == HOME:
            volume.ephemeral = None
            volume.persistent_volume_claim = {"claimName": claim}
    pod.metadata.labels |= template.metadata.labels
    pod.spec = template.spec
    return pod
