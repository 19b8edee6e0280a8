"""The kustomize components that give every image its tag: the upstream one, or that of our own build."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import yaml

from betelgeuse import overlays, paths
from betelgeuse.builds import images, llama
from betelgeuse.programs import table
from betelgeuse.programs.model import Image
from betelgeuse.settings import KIND

LOCAL: Final = "images-local"
UPSTREAM: Final = "images-upstream"
ON_KIND: Final = "images-kind"
_FIELDS: Final = {
    "images": [
        {"path": "spec/imageName", "group": "postgresql.cnpg.io", "kind": "Cluster"},
        {"path": "spec/image", "group": "monitoring.coreos.com", "kind": "Prometheus"},
        {"path": "spec/image", "group": "monitoring.coreos.com", "kind": "Alertmanager"},
        {"path": "spec/templates[]/container/image", "group": "argoproj.io", "kind": "WorkflowTemplate"},
        # An operator starts pods of an image that it is told of in its environment.
        {"path": "spec/template/spec/containers[]/env[]/value", "kind": "Deployment"},
    ]
}
"""Fields that hold an image, beside `image` of every container, which kustomize knows by itself."""


def _entry(name: str, reference: str) -> dict[str, str]:
    new_name, _, tag = reference.rpartition(":")
    return {"name": name, "newName": new_name, "newTag": tag} if new_name != name else {"name": name, "newTag": tag}


def _write(name: str, entries: Mapping[str, Mapping[str, str]], swaps: Iterable[str] = ()) -> None:
    settle(path(name), entries.values(), "# Generated from programs/ and apps/: edits are lost.\n", swaps)


def settle(file: Path, entries: Iterable[Mapping[str, str]], note: str, swaps: Iterable[str] = ()) -> None:
    """Write a component that changes images, unless it says the same already; `note` is its first line.

    `swaps` are components that change manifests before, by their paths in the tree.
    """
    fields = file.with_name("fields.yaml")
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "components": [f"../../{swap}" for swap in swaps],
        "configurations": [fields.name],
        "images": [dict(entry) for entry in entries],
    }
    for written, content in ((fields, _FIELDS), (file, component)):
        paths.settle(written, note + yaml.safe_dump(content, sort_keys=False))


def path(name: str) -> Path:
    """Return a component's file."""
    return paths.GENERATED / name / "kustomization.yaml"


def listed(name: str) -> str:
    """Return how an overlay names a component."""
    return f"../../{paths.GENERATED.name}/{name}"


def _decision() -> Path:
    return paths.state_dir(KIND) / "images"


def decided() -> str:
    """Return which component names the images on kind, empty before a deploy has decided."""
    return _decision().read_text("utf-8").strip() if _decision().is_file() else ""


def decide(name: str) -> None:
    """Keep which component names the images on kind, until `destroy`."""
    paths.write(_decision(), f"{name}\n")


def _built(known: Iterable[Image]) -> dict[str, dict[str, str]]:
    return {image.upstream[0]: _entry(image.upstream[0], images.reference(image)) for image in known}


def write() -> None:
    """Write all components.

    They are derived from program.yaml, content keys and the decision about kind alone, so a tree can be rendered before
    anything is built.
    """
    known = [image for image in table.images().values() if not (image.on_demand or image.pulled)]
    ours = [image for image in known if image.ours]
    pulled = {name: _entry(name, image.replaces) for name, image in table.pulled().items()}
    swaps = sorted(program.component for program in table.table().values() if program.component)
    with llama.aimed(portable=True):
        _write(UPSTREAM, pulled | _built(ours), swaps)
    with llama.aimed(portable=False):
        _write(LOCAL, _built(known))
        on_kind = (pulled | _built(known), ()) if decided() == LOCAL else (pulled | _built(ours), swaps)
        _write(ON_KIND, *on_kind)


def aimed(env: str) -> AbstractContextManager[None]:
    """Make what is built within the block run where an environment runs: on servers that pull, on any processor."""
    return llama.aimed(portable=listed(UPSTREAM) in overlays.components(env))
