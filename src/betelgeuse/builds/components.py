"""The kustomize components that give every image its tag: the upstream one, or that of our own build."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from betelgeuse import paths
from betelgeuse.builds import images
from betelgeuse.programs import table

LOCAL: Final = "images-local"
UPSTREAM: Final = "images-upstream"
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


def _write(name: str, entries: list[dict[str, str]]) -> None:
    file = path(name)
    fields = file.with_name("fields.yaml")
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "configurations": [fields.name],
        "images": entries,
    }
    _settle(fields, _FIELDS)
    _settle(file, component)


def _settle(file: Path, content: Mapping[str, object]) -> None:
    text = "# Generated from programs/ and apps/: edits are lost.\n" + yaml.safe_dump(dict(content), sort_keys=False)
    if file.is_file() and file.read_text("utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(text, "utf-8")
    draft.rename(file)


def path(name: str) -> Path:
    """Return a component's file."""
    return paths.GENERATED / name / "kustomization.yaml"


def write() -> None:
    """Write both components.

    They are derived from program.yaml and content keys alone, so a tree can be rendered before anything is built.
    """
    known = [image for image in table.images().values() if not image.on_demand]
    _write(UPSTREAM, [_entry(image.upstream[0], image.replaces) for image in known])
    built = [image for image in known if not image.pulled]
    _write(LOCAL, [_entry(image.upstream[0], images.reference(image)) for image in built])
