"""Two pods of the run's own: one that writes log lines and may send to the collector, and a stranger."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance.inside import Inside, started
from conformance.probes import canary as program
from conformance.probes import mimic
from conformance.site import Site

NAME: Final = "canary"
"""The container, and the workload that the pod's label names."""
SENDS: Final = "betelgeuse.io/uses-collector"
_STAYS: Final = "import signal; signal.pause()"
_PYTHON: Final = "/usr/bin/python3"


@dataclass(frozen=True)
class Pod:
    """A pod with a Python, and the mark of the lines that it writes."""

    site: Site
    place: Ref
    node: str
    mark: str = ""

    def run(self, snippet: str, *arguments: str, timeout: float = 30.0) -> Any:  # noqa: ANN401 - whatever the program prints
        """Run a program in the pod and return the JSON that it prints last."""
        command = [_PYTHON, "-c", snippet, *arguments]
        answer = self.site.execute(self.place.namespace, self.place.name, command, timeout=timeout)
        return json.loads(answer.splitlines()[-1])


def pod(namespace: str, name: str, image: str, command: list[str], labels: dict[str, str]) -> Obj:
    """Return a pod that obeys every rule."""
    amounts = {"cpu": "5m", "memory": "64Mi", "ephemeral-storage": "64Mi"}
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "resources": {"requests": amounts, "limits": {**amounts, "cpu": "500m"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    meta = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": NAME, **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def start(site: Site, inside: Inside, name: str, command: list[str], mark: str = "", **labels: str) -> Pod:
    """Put a pod into the run's namespace, with which it goes, and wait until it runs."""
    obj = pod(inside.namespace, name, mimic.image(site.tree), command, labels)
    seen = started(site, obj)
    return Pod(site, Ref("Pod", inside.namespace, name, "v1"), str(seen["spec"].get("nodeName", "")), mark)


def writer(site: Site, inside: Inside) -> Pod:
    """Return the pod that has written a line of each kind; it may send to the collector."""
    mark = uuid.uuid4().hex
    source = Path(program.__file__).read_text("utf-8")
    return site.once(
        ("canary", inside.namespace),
        lambda: start(site, inside, NAME, [_PYTHON, "-c", source, mark], mark, **{SENDS: "true"}),
    )


def stranger(site: Site, inside: Inside) -> Pod:
    """Return a pod that may send nowhere."""
    return site.once(("stranger", inside.namespace), lambda: start(site, inside, "stranger", [_PYTHON, "-c", _STAYS]))
