"""Every store and every tool is lost, with its volumes, and comes back from its copies."""

import time
import uuid
from collections.abc import Mapping
from functools import partial
from operator import eq
from typing import Final

import pytest

from betelgeuse.errors import BetelgeuseError
from betelgeuse.tree.backups import backups
from conformance import stores
from conformance.drills.canaries import READ, WRITE, store_keys
from conformance.drills.tool_canaries import CANARIES
from conformance.drills.verbs import invoke
from conformance.inside import Inside
from conformance.site import Site
from conformance.verdict import poll, require, require_none

pytestmark = pytest.mark.feature("store-accounts")
_GONE: Final = 300.0
_BACK: Final = 300.0
"""An account being usable again after its store came back."""
_GOAL: Final = 300.0
"""Seconds from the loss of a store to its content being there again."""


def _read(site: Site, client: stores.Client, store: str, mark: str) -> object:
    try:
        return client.run(READ[store], keys=store_keys(site, store), mark=mark, timeout=120)
    except BetelgeuseError as error:
        return f"not readable: {str(error)[-300:]}"


def _lose(site: Site, spaces: list[str]) -> None:
    """Delete namespaces, with every volume of theirs."""
    for space in spaces:
        site.cluster.kube.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})

    def left() -> list[str]:
        found = {obj["metadata"]["name"] for obj in site.cluster.fresh("v1", "Namespace")}
        return [space for space in spaces if space in found]

    remaining, seconds = poll(left, lambda found: not found, _GONE)
    require(not remaining, where="namespaces", want="gone", got=f"{remaining} after {seconds:.0f} s", reproduce="-")


def _there(before: Mapping[str, object]) -> None:
    """See that what was just written is there."""
    require_none(
        [f"{name}: {seen}" for name, seen in before.items() if not isinstance(seen, list) or not seen],
        where=", ".join(before),
        want="what was just written",
        reproduce="nox -s conformance -- conformance/data conformance/tools",
    )


def test_every_store_comes_back(site: Site, inside: Inside) -> None:
    """What was written before the copy is there after namespace and volumes are deleted, the same in every byte."""
    declared = {name: one for name, one in backups(site.tree.objects).items() if name in WRITE}
    mark = f"drill{uuid.uuid4().hex[:10]}"
    with stores.client(site, inside) as client:
        for name in declared:
            client.run(WRITE[name], keys=store_keys(site, name), mark=mark, timeout=120)
        before = {name: _read(site, client, name, mark) for name in declared}
        _there(before)
        copying = invoke(site, "backup")
        lost = time.monotonic()
        _lose(site, sorted({one.home for one in declared.values()}))
        invoke(site, "deploy")
        again = time.monotonic() - lost
        faults, told = [], []
        for name in declared:
            took = invoke(site, "restore", f"--store={name}")
            after, _ = poll(partial(_read, site, client, name, mark), partial(eq, before[name]), _BACK)
            told.append(f"{name} {again + took:.0f} s ({took:.0f} s of them its restore)")
            if after != before[name]:
                faults.append(f"{name}: {str(after)[:200]} instead of {str(before[name])[:200]}")
            if again + took > _GOAL:
                faults.append(f"{name}: back after {again + took:.0f} s, the goal is {_GOAL:.0f} s")
    site.facts["restored"] = (
        f"copies of at most {copying:.0f} s before the loss; stores empty again after {again:.0f} s; "
        f"content back: {', '.join(told)}"
    )
    require_none(
        faults,
        where=", ".join(declared),
        want="what was written before the copy",
        reproduce="nox -s drill -- -k comes_back; reports/drill-*.log",
    )


def test_every_tool_comes_back(site: Site) -> None:
    """What people left with each tool is there after its namespace, Keycloak's and those of its stores are deleted."""
    present = [one for one in CANARIES if site.features[one.feature]]
    if not present:
        pytest.skip("no tool runs here")
    declared = backups(site.tree.objects)
    # Keys first: with another one, nothing else could be read.
    names = ["keys", *sorted({store for one in present for store in one.stores} - {"keys"})]
    mark = f"drill{uuid.uuid4().hex[:10]}"
    states = {one.feature: one.write(site, mark) for one in present}
    before = {one.feature: one.read(site, states[one.feature]) for one in present}
    _there(before)
    copying = invoke(site, "backup")
    lost = time.monotonic()
    homes = {declared[name].home for name in names if name != "keys"}
    _lose(site, sorted(homes | {space for one in present for space in one.spaces}))
    invoke(site, "deploy")
    again = time.monotonic() - lost
    took = {name: invoke(site, "restore", f"--store={name}") for name in names}
    # The realm learns the clients' new secrets.
    invoke(site, "deploy")
    site.identity.renew()
    whole = time.monotonic() - lost
    faults = []
    for one in present:
        seen, _ = poll(partial(one.read, site, states[one.feature]), partial(eq, before[one.feature]), _BACK)
        if seen != before[one.feature]:
            faults.append(f"{one.feature}: {str(seen)[:300]} instead of {str(before[one.feature])[:300]}")
    each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    site.facts["tools restored"] = (
        f"copies of at most {copying:.0f} s before the loss; tools empty again after {again:.0f} s; "
        f"all content back after {whole:.0f} s, of them {each}"
    )
    require_none(
        faults,
        where=", ".join(before),
        want="what was there before the copy",
        reproduce="nox -s drill -- -k tool_comes_back; reports/drill-*.log",
    )
