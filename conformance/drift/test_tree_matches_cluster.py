"""The cluster is what the tree says: nothing edited by hand, nothing missing."""

from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance.drift.compare import declared as declared_part
from conformance.drift.compare import differences, without_bookkeeping
from conformance.site import Site
from conformance.verdict import require

_MANAGER: Final = "betelgeuse"


def _drift(site: Site, wanted: Obj, live: Obj) -> list[str]:
    """Return the fields that differ; a mere difference of spelling is cleared by asking what an apply would change."""
    found = list(differences(declared_part(wanted), live))
    if not found or wanted["kind"] == "Secret":
        return found
    applied = site.cluster.dry_apply(wanted, _MANAGER)
    same = applied.ok and without_bookkeeping(applied.data) == without_bookkeeping(live)
    return [] if same else found


def test_object_is_as_declared(site: Site, declared: Ref) -> None:
    """Every object of the tree exists in the cluster with every field as declared."""
    live = site.cluster.find(declared)
    require(live, where=str(declared), want="the object", got="not found", reproduce=declared.kubectl("get"))
    assert live is not None

    found = _drift(site, site.tree.find(declared), live)

    require(
        not found,
        where=str(declared),
        want="every declared field as in the tree",
        got="; ".join(found),
        reproduce=f"invoke plan --env={site.settings.env}",
    )
