"""Take back what hands did to objects of ours; refuse to fight a controller."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Final

from betelgeuse.apply_rules import MANAGER, Conflict, alike, conflicts_of
from betelgeuse.errors import ConflictError, UsageError
from betelgeuse.kube import ApiError, Key, Kube, Obj, UnknownKindError, describe, key_of
from betelgeuse.managed_fields import Place, backwards, locate, pointer, without
from betelgeuse.owners import REPLICAS, Addition, Controllers, disowned, scaled
from betelgeuse.progress import say
from betelgeuse.secrets import produced, recipes

_REPLICAS: Final = ".spec.replicas"
_AUTOSCALER: Final = "kube-controller-manager"


class Hands:
    """What a run knows of who writes into a cluster's objects."""

    def __init__(
        self, kube: Kube, controllers: Controllers, adopted: AbstractSet[Key] = frozenset(), deputy: str = ""
    ) -> None:
        """Start from the controllers.

        In `adopted` objects, which others made, additions are nobody's business. A `deputy` is the field manager that
        brings the same tree about in our place: what it set is as if we had.
        """
        self.kube = kube
        self.controllers = controllers
        self.adopted = adopted
        self.deputy = deputy
        self._lock = threading.Lock()
        self._scaled: frozenset[Key] | None = None

    def autoscaled(self, obj: Mapping[str, Any]) -> bool:
        """Whether a HorizontalPodAutoscaler of the cluster sets an object's replicas."""
        with self._lock:
            if self._scaled is None:
                try:
                    found = self.kube.list("autoscaling/v2", "HorizontalPodAutoscaler")
                except UnknownKindError:
                    found = []
                self._scaled = frozenset(map(scaled, found))
        return key_of(obj) in self._scaled

    def additions(self, live: Mapping[str, Any] | None) -> list[Addition]:
        """Return what hands added to a live object of the tree."""
        if live is None or key_of(live) in self.adopted:
            return []
        kept = _values(live)
        found = [entry for entry in self.controllers.additions(live) if entry.path not in kept]
        if any(entry.path == REPLICAS for entry in found) and self.autoscaled(live):
            return self.controllers.additions(live, autoscaled=True)
        return found

    def _foreign(self, obj: Obj, conflicts: Iterable[Conflict]) -> list[Conflict]:
        """Return the conflicts with controllers that are still there to fight for the field."""
        meta = obj["metadata"]
        live = self.kube.get(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace")) or obj
        return [
            conflict
            for conflict in conflicts
            if conflict.manager != self.deputy
            and self.controllers.owns(live, conflict.manager)
            and not (conflict == Conflict(_REPLICAS, _AUTOSCALER) and not self.autoscaled(obj))
        ]

    def apply(self, obj: Obj, *, dry_run: bool = False) -> Obj:
        """Apply one object without force; take over fields that hands changed; ConflictError for a controller's."""
        try:
            return self.kube.server_side_apply(obj, MANAGER, dry_run=dry_run)
        except ApiError as error:
            conflicts = conflicts_of(error)
            if not conflicts:
                raise
        if foreign := self._foreign(obj, conflicts):
            raise _refusal(obj, foreign)
        if not dry_run:
            fields = ", ".join(conflict.field for conflict in conflicts[:3])
            say(f"{describe(obj)}: {fields} was changed by {conflicts[0].manager!r}; set back to the tree's value")
        return self.kube.server_side_apply(obj, MANAGER, dry_run=dry_run, force=True)

    def take_back(self, live: Obj, additions: Sequence[Addition], *, dry_run: bool = False) -> Obj:
        """Remove from an object what hands added, unless it changed since (HTTP 409); return it as it is then."""
        operations: list[Obj] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": disowned(live, additions)},
        ]
        operations += [{"op": "remove", "path": pointer(place)} for place in backwards(_places(live, additions))]
        after = self.kube.json_patch(live, operations, MANAGER, dry_run=dry_run)
        if not dry_run and not alike(live, after):
            say(f"{describe(live)}: {told(additions)}: removed")
        return after

    def expected(self, before: Obj, applied: Obj, additions: Sequence[Addition]) -> Obj:
        """Return what an object will be once an apply (by its dry run) and the additions' removal are through."""
        if alike(before, applied):
            # Only the server knows which defaults come in place of what is removed.
            return self.take_back(before, additions, dry_run=True)
        return without(applied, _places(applied, additions))


def _values(live: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Return the values that a Secret is to have, whoever set them: without one, whatever uses it stops working.

    A value that a person set stays until a rotation makes it anew.
    """
    with suppress(UsageError):
        names = (name for key, recipe in recipes(live).items() for name in produced(key, recipe))
        return {("f:data", f"f:{name}") for name in names}
    return set()


def told(additions: Sequence[Addition]) -> str:
    """Return the first additions in words."""
    more = f" and {len(additions) - 3} more" if len(additions) > 3 else ""  # noqa: PLR2004 - as many as fit a line
    return "; ".join(map(str, additions[:3])) + more


def _places(obj: Obj, additions: Iterable[Addition]) -> list[Place]:
    return [place for entry in additions if (place := locate(obj, entry.path)) is not None]


def _refusal(obj: Obj, foreign: Sequence[Conflict]) -> ConflictError:
    shown = "; ".join(f"{conflict.field} belongs to {conflict.manager!r}" for conflict in foreign[:3])
    return ConflictError(
        f"{describe(obj)}: {shown}; a controller sets it, so take the field out of the tree (or stop that controller)"
    )
