"""Kustomize is silent about a component, an image or a replacement that does nothing: here it is not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from betelgeuse import paths, settings
from betelgeuse.clusters.local import target
from betelgeuse.programs import table
from tests.render import layout
from tests.render.checks.workloads import images as images_of
from tests.render.conftest import Slim
from tests.render.test_add_a_service import OTHERS as GATES_AND_TCP
from tests.render.trees import Tree


def _listed(env: str) -> list[str]:
    content = yaml.safe_load((paths.OVERLAYS / env / layout.KUSTOMIZATION).read_text("utf-8"))
    return list(content.get("components", ()))


_SOURCE = re.compile(r"fieldPath: data\.([A-Z_]+)\}")
OPTIONAL = ("basic-auth",)
"""Components that no overlay of ours lists; test_components.py tries them on `local`."""
ALONE = ("external-dns", "gateway-nginx", "gpu")
"""Those that `local` cannot have: each has a test of its own, on `single-node`."""
USES = [(env, component) for env in settings.environments() for component in _listed(env)]


@pytest.mark.parametrize(("env", "component"), USES)
def test_every_component_changes_something(slim: Slim, env: str, component: str) -> None:
    """An overlay without the component builds to something else, or not at all."""

    def without(content: dict[str, Any]) -> None:
        content["components"].remove(component)

    complete = slim.build(f"overlays/{env}")
    assert isinstance(complete, list), complete

    assert slim.build(slim.variant(env, without)) != complete


def test_the_grafana_stack_leaves_nothing_of_what_it_replaces(slim: Slim) -> None:
    """Its patch removes by labels: of each of the three there was something, and is nothing any more."""
    stack = "../../base/observability/grafana-stack"

    def without(content: dict[str, Any]) -> None:
        content["components"].remove(stack)

    def names(folder: str) -> set[str]:
        built = slim.build(folder)
        assert isinstance(built, list), built
        return {obj["metadata"].get("labels", {}).get("app.kubernetes.io/name", "") for obj in built}

    ours, theirs = {"dashboards", "logs", "traces"}, {"grafana", "loki", "tempo"}
    before, after = names(slim.variant("single-node", without)), names("overlays/single-node")

    assert ours <= before
    assert after == before - ours | theirs


def test_every_component_is_tried() -> None:
    """A component that no overlay, profile or area lists, and no test adds, is one nobody checks."""
    listed = {Path(component).name for _, component in USES if "/components/" in component}
    for lists in (*paths.ROOT.glob("base/*/kustomization.yaml"), *paths.ROOT.glob("profiles/*/kustomization.yaml")):
        entries = map(Path, yaml.safe_load(lists.read_text("utf-8")).get("components", ()))
        # Others are parts of their own area.
        listed |= {entry.name for entry in entries if "components" in entry.parts}
    tried = {*listed, *OPTIONAL, *ALONE, "gate-login", *GATES_AND_TCP, "host", "tcp-host"}

    assert sorted(tried) == sorted(path.name for path in (paths.ROOT / "components").iterdir() if path.is_dir())


def test_base_builds_by_itself(slim: Slim) -> None:
    """base/ is the whole platform without an environment."""
    built = slim.build("base")

    assert isinstance(built, list), built


@pytest.mark.parametrize("env", settings.environments())
def test_patches_of_the_overlay_change_something(slim: Slim, env: str) -> None:
    """Each patch file of an overlay has an effect."""
    content = yaml.safe_load((paths.OVERLAYS / env / layout.KUSTOMIZATION).read_text("utf-8"))
    complete = slim.build(f"overlays/{env}")
    for patch in content.get("patches", ()):

        def without(changed: dict[str, Any], patch: dict[str, Any] = patch) -> None:
            changed["patches"].remove(patch)

        assert slim.build(slim.variant(env, without)) != complete, patch


@pytest.mark.parametrize("env", settings.environments())
def test_every_key_that_kustomize_reads_arrives(slim: Slim, env: str) -> None:
    """A key of environment.env that a component spreads reaches the tree."""
    folders = [slim.root / "overlays" / env / component for component in _listed(env)]
    spread = {
        key for folder in folders for file in folder.glob("*.yaml") for key in _SOURCE.findall(file.read_text("utf-8"))
    }
    folder = slim.variant(env, lambda _: None)
    values = {key: f"value-of-{key.lower().replace('_', '-')}" for key in spread}
    (slim.root / folder / "environment.env").write_text(
        "".join(f"{key}={text}\n" for key, text in values.items()), "utf-8"
    )
    built = str(slim.build(folder))

    assert "DOMAIN" in spread
    assert {key for key, text in values.items() if text not in built} == set()


def test_every_mapped_image_is_used(trees: Callable[[str], Tree]) -> None:
    """What this machine builds is what the tree, the control plane or another image needs."""
    known = table.images()
    used = {image.rpartition(":")[0].rpartition("/")[2] for _, image in images_of(trees("local:full"))}
    bases = {image.parent for image in known.values() if image.parent}
    on_demand = {name for name, image in known.items() if image.on_demand}
    mapped = {name for name, image in known.items() if not image.pulled} - on_demand

    assert mapped == (used | bases - on_demand) | {*target.CONTROL_PLANE, "coredns"}


@pytest.mark.parametrize("env", settings.environments())
def test_every_image_override_is_used(trees: Callable[[str], Tree], env: str) -> None:
    """An `images` entry of an overlay names an image of its tree."""
    content = yaml.safe_load((paths.OVERLAYS / env / layout.KUSTOMIZATION).read_text("utf-8"))
    present = {image for _, image in images_of(trees(env))}
    for entry in content.get("images", ()):
        wanted = entry.get("newName", entry["name"])

        assert any(image.startswith((f"{wanted}:", f"{wanted}@")) for image in present), entry
