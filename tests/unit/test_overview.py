"""The page of systems: a row for each image, with who runs it and where it comes from."""

from pathlib import Path

import pytest

from betelgeuse.kube import Obj
from betelgeuse.programs import overview, table
from betelgeuse.programs.model import Program
from tests.unit.fakes import obj

PROGRAMS = {
    "store": "source: {debian: trixie}\nimages:\n  store: {replaces: 'r.io/store:{version}', packages: [store]}\n",
    "ui": "images:\n  ui: {replaces: 'r.io/ui:{version}', base: store, files: {/ui: {own: ui}}}\n",
    "apart": "images:\n  apart: {replaces: 'r.io/apart:{version}'}\n",
    "asked": "images:\n  asked: {replaces: 'r.io/asked:{version}'}\n",
    "solver": "images:\n  solver: {replaces: 'r.io/solver:{version}', files: {/s: {own: s}}}\n",
    "load": "images:\n  load: {replaces: 'r.io/load:{version}', files: {/l: {own: l}}, on-demand: true}\n",
    "etcd": "images:\n  etcd: {replaces: 'registry.k8s.io/etcd:{version}', files: {/e: {own: e}}}\n",
    "pg": "images:\n  pg: {replaces: 'r.io/pg:{version}', files: {/p: {own: p}}}\n",
    "pebble": "images:\n  pebble: {replaces: 'r.io/pebble:{version}', files: {/p: {own: p}}}\n",
}


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Program]:
    """Programs of every kind of place."""
    for name, text in PROGRAMS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "program.yaml").write_text(f"version: 1.2.3\n{text}")
        for own in "uislep":
            (tmp_path / name / own).write_text("x")
        (tmp_path / name / "ui").write_text("x")
    return dict(table.load([tmp_path]))


def _workload(kind: str, name: str, image: str, **variables: str) -> Obj:
    env = [{"name": key, "value": value} for key, value in variables.items()]
    spec = {"template": {"spec": {"containers": [{"name": "c", "image": image, "env": env}]}}}
    return obj("apps/v1", kind, name, "ns", spec=spec)


def test_every_image_has_a_row(programs: dict[str, Program]) -> None:
    """Who runs it is read from the tree; what nothing names says why it is there."""
    pod = {"spec": {"template": {"spec": {"containers": [{"name": "envoy", "image": "r.io/asked:1.2.3"}]}}}}
    patch = {"type": "StrategicMerge", "value": pod}
    proxy = {"provider": {"kubernetes": {"envoyDaemonSet": {"patch": patch}}}}
    tree = [
        _workload("Deployment", "ui", "r.io/ui:1.2.3", SOLVER="r.io/solver:1.2.3"),
        _workload("StatefulSet", "ui-2", "r.io/ui:1.2.3"),
        obj("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy", "gateway", "gateway", spec=proxy),
        obj("postgresql.cnpg.io/v1", "Cluster", "one", "ns", spec={"imageName": "r.io/pg:1.2.3"}),
        obj("monitoring.coreos.com/v1", "Prometheus", "platform", "ns", spec={"image": "r.io/ui:1.2.3"}),
    ]
    rows = [line for line in overview.page(programs, tree).splitlines() if line.startswith("| ")][1:]

    assert rows == [
        "| apart | 1.2.3 | `r.io/apart:1.2.3` | not on `local` | with a component that no environment lists |",
        "| asked | 1.2.3 | `r.io/asked:1.2.3` | not on `local` | gateway/gateway |",
        "| etcd | 1.2.3 | `registry.k8s.io/etcd:1.2.3` | our own code | part of every node |",
        "| load | 1.2.3 | `r.io/load:1.2.3` | our own code | on demand |",
        "| pebble | 1.2.3 | `r.io/pebble:1.2.3` | our own code | on `local` alone |",
        "| pg | 1.2.3 | `r.io/pg:1.2.3` | our own code | ns/one |",
        "| solver | 1.2.3 | `r.io/solver:1.2.3` | our own code | made by a controller |",
        "| store | 1.2.3 | `r.io/store:1.2.3` | built from Debian trixie | base of other images |",
        "| ui | 1.2.3 | `r.io/ui:1.2.3` | our own code | ns/platform, ns/ui, ns/ui-2 |",
    ]


def test_origins_are_told_in_words() -> None:
    """For every kind of source the tree has."""
    text = overview.page(table.table(), [])

    for words in ("Go modules", "Maven", "PyPI", "npm", "source package", "Debian trixie"):
        assert f"built from {words}" in text
