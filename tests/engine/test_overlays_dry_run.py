"""Every environment's tree is accepted by a real API server: admission, defaulting, strict fields; all by dry run."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from betelgeuse.clusters.local import target
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.render import render
from betelgeuse.settings import Settings, environments
from betelgeuse.wait import until_ready
from tests.engine.conftest import CONTEXT, binaries, running

MANAGER = "dry-run"
CRD_SECONDS = 60.0
FOUNDATIONS = ("CustomResourceDefinition", "Namespace")


@pytest.fixture(scope="module")
def empty_cluster(controlplane: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """Return an API server of this module's own: CRDs of all environments would disturb the other tests."""
    assert controlplane.is_file()  # asked for its skip: no store, no server
    found = binaries(Path(os.environ["BETELGEUSE_APISERVER_DIR"]))
    assert found is not None
    with running(*found, tmp_path_factory.mktemp("dry-run"), CONTEXT) as path, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setattr("betelgeuse.paths.STATE", folder)
        patch.setenv("KUBECONFIG", str(path))
        yield connect(Settings(env="local", domain="betelgeuse.test", kube_context=CONTEXT))


def _refusal(kube: Kube, obj: Obj) -> str:
    try:
        kube.server_side_apply(obj, MANAGER, dry_run=True, force=True)
    except BetelgeuseError as error:
        return f"{obj['kind']} {obj['metadata']['name']}: {error}"
    return ""


@pytest.mark.parametrize("name", [*environments(), "local:full"])
def test_tree_is_accepted(empty_cluster: Kube, name: str) -> None:
    """With its CRDs and namespaces there, the server takes every object of the environment, or of a profile of it."""
    target.prepare_tree()
    env, _, profile = name.partition(":")
    objects = render(env, profile)
    foundations = [obj for obj in objects if obj["kind"] in FOUNDATIONS]
    for obj in foundations:
        empty_cluster.server_side_apply(obj, MANAGER, force=True)
    until_ready(empty_cluster, foundations, CRD_SECONDS)
    empty_cluster.refresh()
    rest = [obj for obj in objects if obj["kind"] not in FOUNDATIONS]

    with ThreadPoolExecutor(8) as pool:
        refused = [text for text in pool.map(lambda obj: _refusal(empty_cluster, obj), rest) if text]

    assert len(rest) > len(foundations) // 2
    assert refused == []


def test_a_wrong_object_is_refused(empty_cluster: Kube) -> None:
    """The check can fail: an object with a misspelt field is not taken."""
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "wrong", "namespace": "default"},
        "dta": {"a": "b"},
    }

    assert "dta" in _refusal(empty_cluster, obj)
