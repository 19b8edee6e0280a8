"""images/images.yaml, the recipes and the content keys agree with each other."""

from pathlib import Path

import pytest
import yaml

from betelgeuse import paths
from betelgeuse.builds import artifacts, images
from betelgeuse.errors import UsageError

ROWS = sorted(images.table())


@pytest.mark.parametrize("name", ROWS)
def test_recipe_copies_exactly_its_context(name: str) -> None:
    """Every file of the table is copied by the Dockerfile, and the Dockerfile copies nothing unknown."""
    image = images.table()[name]
    recipe = (image.folder / "Dockerfile").read_text()
    copied = {word for line in recipe.splitlines() if line.startswith("COPY") for word in line.split() if "/" in word}

    for target in image.context:
        assert any(word == target or word.startswith(f"{target}/") for word in copied), target


@pytest.mark.parametrize("name", ROWS)
def test_image_runs_as_nobody_in_particular(name: str) -> None:
    """Images name a non-root user, except those of the node's own system components."""
    system = {"cilium", "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"}
    recipe = (images.table()[name].folder / "Dockerfile").read_text()
    base = images.table()[name].base

    assert name in system or base.startswith("image:") or "\nUSER " in recipe


def test_folders_and_table_agree() -> None:
    """No recipe without a row, no row without a recipe."""
    folders = {path.parent.name for path in (paths.ROOT / "images").glob("*/Dockerfile")}

    assert folders == set(ROWS)


def test_tag_follows_the_content() -> None:
    """An image's tag carries the key of what it is made of, so a change is a rollout."""
    image = images.table()["envoy"]

    assert images.reference(image).rpartition(":")[2].startswith(image.upstream[1] + "-")


@pytest.mark.parametrize("source", ["goo:x", "web:x", "build:nothing/x"])
def test_unknown_sources_are_refused(source: str) -> None:
    """A typo in the table is one line that names what is known."""
    with pytest.raises(UsageError, match="known"):
        artifacts.key(source)


def test_unknown_row_key_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A typo in a row's key is one line."""
    table = tmp_path / "images.yaml"
    table.write_text(yaml.safe_dump({"envoy": {"replaces": "a:1", "contxt": {}}}))
    monkeypatch.setattr(images, "TABLE", table)
    images.table.cache_clear()

    with pytest.raises(UsageError, match="contxt"):
        images.table()
    images.table.cache_clear()
