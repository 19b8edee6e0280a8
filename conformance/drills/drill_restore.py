"""Every store is lost, with its volume, and comes back from its copy."""

import sys
import time
import uuid
from functools import partial
from operator import eq
from typing import Final

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.shell import run
from betelgeuse.tree.backups import backups
from conformance import stores
from conformance.drills.canaries import READ, WRITE
from conformance.inside import Inside
from conformance.site import Site
from conformance.verdict import poll, require, require_none

pytestmark = pytest.mark.feature("store-accounts")
_VERB: Final = 1200.0
"""Seconds for one verb of invoke, on a busy machine."""
_GONE: Final = 300.0
_BACK: Final = 300.0
"""An account being usable again after its store came back."""
_GOAL: Final = 300.0
"""Seconds from the loss of a store to its content being there again."""


def _invoke(site: Site, *arguments: str) -> float:
    """Run a verb as an operator does; return the seconds it took."""
    begin = time.monotonic()
    argv = [sys.executable, "-m", "invoke", *arguments, f"--env={site.settings.env}"]
    run(argv, cwd=paths.ROOT, timeout=_VERB, log=paths.REPORTS / "drill-restore.log")
    return time.monotonic() - begin


def _read(site: Site, client: stores.Client, store: str, mark: str) -> object:
    keys = stores.account(site, store, "research")
    try:
        return client.run(READ[store], keys=keys, mark=mark, timeout=120)
    except BetelgeuseError as error:
        return f"not readable: {str(error)[-300:]}"


def test_every_store_comes_back(site: Site, inside: Inside) -> None:
    """What was written before the copy is there after namespace and volumes are deleted, the same in every byte."""
    declared = {name: one for name, one in backups(site.tree.objects).items() if name in WRITE}
    mark = f"drill{uuid.uuid4().hex[:10]}"
    with stores.client(site, inside) as client:
        for name in declared:
            client.run(WRITE[name], keys=stores.account(site, name, "research"), mark=mark, timeout=120)
        before = {name: _read(site, client, name, mark) for name in declared}
        require_none(
            [f"{name}: {seen}" for name, seen in before.items() if not isinstance(seen, list) or not seen],
            where=", ".join(declared),
            want="what was just written",
            reproduce="nox -s conformance -- conformance/data",
        )
        _invoke(site, "backup")
        lost = time.monotonic()
        spaces = sorted({one.home for one in declared.values()})
        for space in spaces:
            site.cluster.kube.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})

        def left() -> list[str]:
            found = {obj["metadata"]["name"] for obj in site.cluster.fresh("v1", "Namespace")}
            return [space for space in spaces if space in found]

        remaining, seconds = poll(left, lambda found: not found, _GONE)
        require(not remaining, where="namespaces", want="gone", got=f"{remaining} after {seconds:.0f} s", reproduce="-")
        _invoke(site, "deploy")
        again = time.monotonic() - lost
        faults, told = [], []
        for name in declared:
            took = _invoke(site, "restore", f"--store={name}")
            after, _ = poll(partial(_read, site, client, name, mark), partial(eq, before[name]), _BACK)
            told.append(f"{name} {again + took:.0f} s ({took:.0f} s of them its restore)")
            if after != before[name]:
                faults.append(f"{name}: {str(after)[:200]} instead of {str(before[name])[:200]}")
            if again + took > _GOAL:
                faults.append(f"{name}: back after {again + took:.0f} s, the goal is {_GOAL:.0f} s")
    site.facts["restored"] = f"stores empty again after {again:.0f} s; content back: {', '.join(told)}"
    require_none(
        faults,
        where=", ".join(declared),
        want="what was written before the copy",
        reproduce="nox -s drill -- -k comes_back; reports/drill-restore.log",
    )
