"""A pytest plugin that puts the model platform where the real one would be: the whole suite runs, unchanged.

Loaded by name (`-p tests.conformance_suite.stand_in`) in a process of its own; the faults come from the environment.
"""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from betelgeuse import kube, paths, render, settings
from conformance import exemptions
from conformance.probes import tcp
from conformance.tcp import test_exposed_ports
from tests.conformance_suite.cluster import FakeKube, tree_objects
from tests.conformance_suite.model import DOMAIN, Edge


def pytest_load_initial_conftests() -> None:
    """Take the places of the cluster and the tree before the suite's conftest asks for them."""
    folder = Path(os.environ["MODEL_FOLDER"])
    edge = Edge(folder, set(os.environ.get("MODEL_FAULTS", "").split()))
    objects = tree_objects(edge.https, edge.http)
    edge.authority.write(folder / "ca.pem")
    model = settings.Settings("local", DOMAIN, gateway_addresses=("127.0.0.1",))
    # The module objects are the places: the suite looks these names up at call time.
    modules: Any = SimpleNamespace(kube=kube, paths=paths, render=render, settings=settings, exemptions=exemptions)
    modules.settings.load = lambda _env: model
    modules.render.render = lambda _env: objects
    modules.kube.connect = lambda _settings: FakeKube(objects, edge.stored, edge.renew)
    modules.paths.state_dir = lambda _env: folder
    modules.paths.REPORTS = folder / "reports"
    ports: Any = tcp
    ports.ALL_PORTS = (edge.http, edge.https)
    well_known: Any = test_exposed_ports
    well_known._WELL_KNOWN = ()
