"""A pytest plugin that puts the model platform where the real one would be: the whole suite runs, unchanged.

Loaded by name (`-p tests.conformance_suite.stand_in`) in a process of its own; the faults come from the environment.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from betelgeuse import kube, paths, render, settings
from betelgeuse.identity import forward
from betelgeuse.kube import command
from conformance import exemptions
from conformance.auth import test_tokens
from conformance.probes import tcp
from conformance.tcp import test_exposed_ports
from tests.conformance_suite.cluster import FakeKube, tree_objects
from tests.conformance_suite.idp import DOMAIN
from tests.conformance_suite.model import Edge


def pytest_load_initial_conftests() -> None:
    """Take the places of the cluster and the tree before the suite's conftest asks for them."""
    folder = Path(os.environ["MODEL_FOLDER"])
    edge = Edge(folder, set(os.environ.get("MODEL_FAULTS", "").split()))
    objects = tree_objects(edge.https, edge.http)
    edge.authority.write(folder / "ca.pem")
    model = settings.Settings("local", DOMAIN, gateway_addresses=("127.0.0.1",))
    # The module objects are the places: the suite looks these names up at call time.
    places = {"kube": kube, "paths": paths, "render": render, "settings": settings}
    places |= {"command": command, "exemptions": exemptions}
    modules: Any = SimpleNamespace(**places)
    modules.settings.load = lambda _env: model
    # The real list's pods and ports are not the model's; the rest of it is used as it is.
    listed = replace(exemptions.load(), pods=(), ports=())
    modules.exemptions.load = lambda: listed
    modules.render.render = lambda _env, _profile: objects
    cluster = FakeKube(objects, edge.stored, edge.renew)
    modules.kube.connect = lambda _settings: cluster
    modules.command.exec_in = lambda _settings, *arguments, **_: cluster.execute(*arguments)
    modules.paths.state_dir = lambda _env: folder
    modules.paths.REPORTS = folder / "reports"
    ways: Any = forward

    @contextmanager
    def to_pod(_settings: object, *_where: object) -> Iterator[int]:
        yield edge.back

    ways.to_pod = to_pod
    ports: Any = tcp
    ports.ALL_PORTS = (edge.http, edge.https)
    # Between a short-lived token and its end lies the whole run: there is no hurry.
    edge.idp.hurry = 1.0
    tokens: Any = test_tokens
    tokens._SKEW = 0.06
    well_known: Any = test_exposed_ports
    well_known._WELL_KNOWN = ()
