"""Trees for the checks: each environment rendered once, and a slim copy of the files to try changes on."""

import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from betelgeuse import paths, settings, yamls
from betelgeuse.clusters.local import target
from betelgeuse.kube import Obj, describe
from betelgeuse.kube.command import kubectl
from betelgeuse.render import render
from tests.render import layout
from tests.render.trees import Tree

_BUILD_SECONDS = 300
"""A slim overlay takes a core for one second, or for 15 with every area; this bounds a busy machine."""


@pytest.fixture(scope="session")
def trees() -> Callable[[str], Tree]:
    """Give the tree of an environment, or of another profile of it (`local:full`); .upstream/ is brought up to date."""
    target.prepare_tree()

    def built(name: str) -> Tree:
        env, _, profile = name.partition(":")
        return Tree(settings.load(env), render(env, profile))

    # kustomize works while Python parses another environment's output.
    with ThreadPoolExecutor() as pool:
        list(pool.map(built, [*settings.environments(), "local:full"]))
    return cache(built)


@dataclass(frozen=True)
class Slim:
    """The tree's files without the CRDs: overlays build in a second instead of five."""

    root: Path
    _built: dict[str, list[Obj] | str] = field(default_factory=dict)

    def build(self, folder: str) -> list[Obj] | str:
        """Return the objects a folder builds to, or kustomize's complaint."""
        if folder not in self._built:
            self._built[folder] = self._build(folder)
        return self._built[folder]

    def _build(self, folder: str) -> list[Obj] | str:
        argv = [kubectl(), "kustomize", str(self.root / folder)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)  # noqa: S603 - the pinned kubectl
        return yamls.parse(done.stdout, folder) if done.returncode == 0 else done.stderr

    def objects(self, folder: str) -> list[Obj]:
        """Return the objects of a folder that builds; it fails with kustomize's complaint."""
        built = self.build(folder)
        assert isinstance(built, list), built
        return built

    def variant(self, env: str, change: Callable[[dict[str, Any]], None]) -> str:
        """Return the folder of a copy of an overlay whose kustomization was changed."""
        folder = self.root / "overlays" / f"{env}-{len(list((self.root / 'overlays').iterdir()))}"
        shutil.copytree(self.root / "overlays" / env, folder)
        file = folder / layout.KUSTOMIZATION
        content = yaml.safe_load(file.read_text("utf-8"))
        change(content)
        file.write_text(yaml.safe_dump(content), "utf-8")
        return str(folder.relative_to(self.root))


@pytest.fixture(scope="session")
def slim(trees: object, tmp_path_factory: pytest.TempPathFactory) -> Slim:
    """A copy of the tree to try changes on."""
    assert trees
    root = tmp_path_factory.mktemp("tree")
    for top in (*layout.TOPS, ".upstream", ".generated"):
        shutil.copytree(paths.ROOT / top, root / top)
    for manifests in (root / ".upstream").glob("*/manifests.yaml"):
        documents = re.split(r"(?m)^---[ \t]*$", manifests.read_text("utf-8"))
        others = [each for each in documents if not re.search(r"(?m)^kind: CustomResourceDefinition$", each)]
        manifests.write_text("---".join(others), "utf-8")
    return Slim(root)


@pytest.fixture(scope="session")
def plain(slim: Slim) -> list[Obj]:
    """The objects of `single-node` as it is."""
    return slim.objects("overlays/single-node")


@pytest.fixture(scope="session")
def with_component(slim: Slim, trees: Callable[[str], Tree]) -> Callable[[str], Tree]:
    """Give the tree of `single-node` with a component, and with the CRDs of the environment."""

    def made(component: str) -> Tree:
        def change(content: dict[str, Any]) -> None:
            content["components"].insert(0, f"../../components/{component}")

        whole, built = trees("single-node"), slim.objects(slim.variant("single-node", change))
        # The slim tree keeps a definition here and there.
        kept = set(map(describe, built))
        definitions = [obj for obj in whole.kind("CustomResourceDefinition") if describe(obj) not in kept]
        return Tree(whole.settings, [*definitions, *built])

    return made
