"""Accounts of the stores: what applications declare, and nothing else."""

import json

import pytest

from betelgeuse.tree import STORE
from conformance.site import Site
from conformance.stores import ACCOUNTS
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

pytestmark = pytest.mark.feature("store-accounts")


def _report(site: Site) -> dict[str, object]:
    """Return what the keeper of accounts says of itself."""
    read = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:8080/').read().decode())"
    text = site.execute(ACCOUNTS.namespace, f"deployment/{ACCOUNTS.name}", ["/usr/bin/python3", "-c", read])
    return dict(json.loads(text))


def test_every_declared_account_is_there_and_no_other(site: Site) -> None:
    """Every account that the tree declares is in its store as declared, and no store has one that nobody declares."""
    labels = [secret["metadata"].get("labels") or {} for secret in site.tree.kind("Secret")]
    wanted = {found[STORE] for found in labels if STORE in found}

    def holds(report: dict[str, object]) -> bool:
        stores = report.get("stores")
        return (
            report.get("trouble") == ""
            and isinstance(stores, dict)
            and wanted <= set(stores)
            and not any(state["problems"] or state["undeclared"] for state in stores.values())
        )

    report, seconds = poll(lambda: _report(site), holds, TIMEOUTS.reaction)
    require(
        holds(report),
        where=str(ACCOUNTS),
        want=f"no problem and no undeclared account in {', '.join(sorted(wanted))} within {TIMEOUTS.reaction:.0f} s",
        got=f"{report} after {seconds:.0f} s",
        reproduce=f"kubectl -n {ACCOUNTS.namespace} exec deploy/{ACCOUNTS.name} -- python3 -m store_accounts list",
    )
