"""Every environment runs every profile, and sizes of apps arrive where an environment sets them."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import paths, profiles, settings, sizes
from betelgeuse.clusters.local import target
from betelgeuse.kube import Obj, describe
from betelgeuse.render import render
from betelgeuse.yamls import parse
from tests.render.checks.workloads import images as images_of
from tests.render.conftest import Slim
from tests.render.trees import Tree

Build = Callable[[str, str], list[Obj]]


@pytest.fixture(scope="module")
def build(slim: Slim) -> Build:
    """Return what gives the objects of an environment that runs a profile, made as a deploy makes them."""

    @cache
    def built(env: str, name: str) -> list[Obj]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paths, "ROOT", slim.root)
            patch.setattr(paths, "OVERLAYS", slim.root / "overlays")
            with profiles.overlay(env, name) as overlay:
                found = slim.build(str(overlay.relative_to(slim.root)))
        assert isinstance(found, list), found
        return found

    return built


def _namespaces(objects: list[Obj] | str) -> set[str]:
    assert isinstance(objects, list), objects
    return {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}


def _documents(file: Path) -> list[Any]:
    return parse(file.read_text("utf-8"), str(file))


def _patched(name: str) -> Iterator[str]:
    """Yield what the components of a profile's own patch."""
    profile = paths.ROOT / "profiles" / name
    for component in _documents(profile / "kustomization.yaml")[0].get("components", ()):
        folder = profile / component
        for patch in _documents(folder / "kustomization.yaml")[0].get("patches", ()):
            yield from map(describe, _documents(folder / patch["path"]))


@pytest.mark.parametrize("name", profiles.names())
@pytest.mark.parametrize("env", settings.environments())
def test_every_profile_builds(slim: Slim, build: Build, env: str, name: str) -> None:
    """With its areas; what core has is in each, unchanged but for what the profile's own components patch."""
    built = build(env, name)

    for area in profiles.load(name).areas:
        assert _namespaces(slim.build(f"base/{area.name}")) <= _namespaces(built), area.name
    patched = set(_patched(name))
    assert {describe(obj) for obj in build(env, "core") if obj not in built} == patched
    assert patched <= {describe(obj) for obj in built}


def test_an_area_less_is_seen(slim: Slim, build: Build) -> None:
    """The copy of an overlay really runs the other profile."""
    less = slim.root / "profiles" / "less"
    less.mkdir()
    core = (slim.root / "profiles" / "core" / "kustomization.yaml").read_text("utf-8")
    (less / "kustomization.yaml").write_text(core.replace("  - ../../base/portal\n", ""), "utf-8")

    assert _namespaces(build("local", "core")) - _namespaces(build("local", "less")) == {"portal"}


def _referred(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield every namespace that a part of an object names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [item] if key == "namespace" and isinstance(item, str) else _referred(item)
    elif isinstance(value, list):
        for item in value:
            yield from _referred(item)


def test_areas_need_what_they_refer_to(slim: Slim) -> None:
    """An area whose routes, listeners or policies lead into another one does not run without it."""
    homes = {space: area for area in profiles.areas() for space in _namespaces(slim.build(f"base/{area}"))}
    found: dict[str, set[str]] = {}
    for area in profiles.areas():
        built = slim.build(f"base/{area}")
        assert isinstance(built, list), built
        # A grant lets others in: it asks for nothing.
        specs = [obj["spec"] for obj in built if "spec" in obj and obj["kind"] != "ReferenceGrant"]
        found[area] = {homes.get(space, area) for space in _referred(specs)} - {area}
    declared = {area.name: set(area.needs) for area in profiles.load("full").areas}

    assert found["portal"] >= {"auth", "gateway"}
    assert {area: needs - declared[area] for area, needs in found.items() if needs - declared[area]} == {}


def test_images_are_those_of_the_tree(trees: Callable[[str], Tree]) -> None:
    """A deploy builds what the tree runs, what controllers make pods of, and kubeadm's own; nothing else."""
    tree = trees("local")
    needed = {image.name for image in target.needed_images(tree.objects)}
    run = {image.rpartition(":")[0].rpartition("/")[2] for _, image in images_of(tree)}

    assert run <= needed
    assert {"cert-manager-acmesolver", "local-path-provisioner", "envoy"} <= needed
    assert needed == run | {*target.CONTROL_PLANE, "coredns"}
    assert needed & {"llama-server", "locust"} == set()
    less = [obj for obj in tree.objects if obj["metadata"].get("namespace") != "portal"]
    assert needed - {image.name for image in target.needed_images(less)} == {"portal"}
    assert {image.name for image in target.needed_images([])} == {*target.CONTROL_PLANE, "coredns"}


APPS = sorted(set(sizes.keys().values()))


@pytest.mark.parametrize("folder", APPS)
def test_a_size_is_the_apps_own_until_an_environment_sets_it(slim: Slim, folder: str) -> None:
    """Without the component nothing of the environment matters; with it every key changes the tree."""
    keys = [key for key, place in sizes.keys().items() if place == folder]

    def change(content: dict[str, Any]) -> None:
        content["components"].insert(-1, folder)

    variant = slim.variant("local", change)
    file = slim.root / variant / "environment.env"
    values = {key: f"{number}77" for number, key in enumerate(keys, start=1)}
    file.write_text(file.read_text("utf-8") + "".join(f"{key}={value}\n" for key, value in values.items()), "utf-8")
    before, after = slim.build("overlays/local"), slim.build(variant)
    assert isinstance(after, list), after

    changed = [obj for obj in after if obj not in before]
    assert len(changed) == 1
    assert all(f"'{value}'" in str(changed) for value in values.values())


def test_environments_keep_only_the_sizes_in_which_they_differ() -> None:
    """A value that repeats the app's own says nothing."""
    for env in settings.environments():
        content = paths.environment_file(env).read_text("utf-8")
        held = {line.partition("=")[0] for line in content.splitlines()} & set(sizes.keys())

        assert held == {key for key, place in sizes.keys().items() if place in sizes.listed(env)}
        for folder in sizes.listed(env):
            app = folder.rsplit("/", 2)[1]
            own = next(obj for obj in render("local") if (obj["kind"], obj["metadata"]["name"]) == ("Deployment", app))
            here = next(obj for obj in render(env) if (obj["kind"], obj["metadata"]["name"]) == ("Deployment", app))
            assert own["spec"]["template"]["spec"] != here["spec"]["template"]["spec"]
