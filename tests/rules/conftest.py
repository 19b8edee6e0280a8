"""The tree's rules, and promtool."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from betelgeuse.clusters.local import target
from betelgeuse.kube import Obj, describe
from betelgeuse.render import render
from betelgeuse.tree.alerts import rules
from tests.rules import cases


@pytest.fixture(scope="session")
def promtool() -> str:
    """Give promtool, of the version that the tree runs; `nox -s rules` builds it."""
    found = os.environ.get("BETELGEUSE_PROMTOOL", "")
    assert Path(found).is_file(), f"BETELGEUSE_PROMTOOL={found}: run `nox -s rules`"
    return found


@pytest.fixture(scope="session")
def declared() -> Sequence[Obj]:
    """Give the PrometheusRules of everything that `local` can run, and of what runs where images are pulled alone."""
    target.prepare_tree()
    found = rules([*render("local", "full"), *render("single-node")])
    return list({describe(obj): obj for obj in found}.values())


@pytest.fixture(scope="session")
def bare(declared: Sequence[Obj], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file of all rules, without their annotations."""
    file = tmp_path_factory.mktemp("rules") / "bare.yaml"
    file.write_text(yaml.safe_dump(cases.bare(declared), sort_keys=False), "utf-8")
    return file
