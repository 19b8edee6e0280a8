"""What a deploy would change, asked of the API server itself; secrets never show."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from betelgeuse import gitops, inventory, rotation, secrets
from betelgeuse.apply import THREADS, failure, snapshot
from betelgeuse.apply_rules import Transient, alike, prepared, settled, transient
from betelgeuse.builds import pins
from betelgeuse.clusters.local import target
from betelgeuse.deletion import advice, going, reason
from betelgeuse.diff import unified
from betelgeuse.errors import BetelgeuseError, ConflictError
from betelgeuse.hands import Hands, told
from betelgeuse.kube import ApiError, Key, Kube, Obj, UnknownKindError, key_of
from betelgeuse.owners import Controllers
from betelgeuse.progress import out, say, step
from betelgeuse.prune import Pruned, candidates, claims
from betelgeuse.settings import LOCAL, Settings
from betelgeuse.waves import custom_kinds
from betelgeuse.workflows import realm
from betelgeuse.workflows.apply_tree import kept_data
from betelgeuse.workflows.session import opened

NO_CHANGES: Final = 0
CHANGES: Final = 2
_NOT_FOUND: Final = 404


@dataclass(frozen=True)
class Change:
    """One object a deploy would touch: the diff, or one line where there is nothing to compare."""

    key: Key
    text: str
    blocked: bool = False
    """Whether the deploy would stop here: a controller owns what the tree sets, or the object is refused."""


class _Plan:
    def __init__(self, kube: Kube, objects: Sequence[Obj], deputy: str) -> None:
        self.kube, self.objects = kube, objects
        self.owned = inventory.load(kube)
        self.live = snapshot(kube, objects)
        adopted = self.owned.union(objects, (), self.live).adopted
        self.hands = Hands(kube, Controllers.of(objects, self.live.values()), adopted, deputy)
        self.custom = custom_kinds(objects)
        self.served = {(entry.api_version.rpartition("/")[0], entry.kind) for entry in kube.resources()}
        self.namespaces = {obj["metadata"]["name"] for obj in kube.list("v1", "Namespace")}

    def one(self, obj: Obj) -> Change | None:
        """Dry-run one object; None when it would stay as it is."""
        key = key_of(obj)
        before = self.live.get(key)
        wanted = prepared(gitops.told_as(obj, before) if self.hands.deputy else obj)
        if before is not None and going(before):
            held = f"{reason(before)}: {advice(before)}; once it is gone, a deploy makes it anew"
            return Change(key, f"! {key} {held}", blocked=True)
        fresh = self._generated(obj, before)
        additions = self.hands.additions(before)
        if settled(wanted, before, self.owned.records.get(key, "")) and not additions:
            after: Obj | None = before
        elif before is None and (later := self._future(key)):
            return Change(key, f"+ {key} (new; {later})\n{unified(None, wanted)}")
        else:
            try:
                after = self.hands.apply(wanted, dry_run=True)
                # Of what a hand had, only what the apply leaves to it was added: the rest is set back.
                additions = self.hands.additions(after)
                if before is not None and additions:
                    after = self.hands.expected(before, after, additions)
            except BetelgeuseError as error:
                return self._refused(wanted, error)
        if before is None or after is None or not alike(before, after):
            text = unified(before, after)
            text += f"\n# {told(additions)}" if text and additions else ""
            # A change without a visible line is one of ownership only: the next deploy takes nothing and says nothing.
            return Change(key, text + fresh) if text or fresh else None
        return Change(key, f"~ {key}{fresh}") if fresh else None

    def _future(self, key: Key) -> str:
        if (key.group, key.kind) in self.custom - self.served:
            return "its kind is not served yet"
        if key.namespace and key.namespace not in self.namespaces:
            return "its namespace does not exist yet"
        return ""

    def _generated(self, obj: Obj, before: Obj | None) -> str:
        existing = (before or {}).get("data") or {}
        names = [name for key, recipe in secrets.recipes(obj).items() for name in secrets.produced(key, recipe)]
        fresh = sorted(set(names) - set(existing))
        stale = secrets.outdated(obj, self.live)
        words = f"\n# will be generated: {', '.join(fresh)}" if fresh else ""
        return words + (f"\n# will be copied anew: {', '.join(stale)}" if stale else "")

    def _refused(self, obj: Obj, error: BetelgeuseError) -> Change:
        key = key_of(obj)
        if isinstance(error, ConflictError):
            return Change(key, f"! {error}", blocked=True)
        passing: Transient | None = transient(error, self.custom, obj)
        if passing is not None or isinstance(error, UnknownKindError):
            return Change(key, f"? {key}: cannot be compared: {passing.reason if passing else error}")
        if isinstance(error, ApiError) and "does not support dry run" in str(error):
            return Change(key, f"? {key}: cannot be compared: its webhook does not support dry runs")
        line = failure(obj, error) if isinstance(error, ApiError) else error
        return Change(key, f"! {line}", blocked=True)


def changes(kube: Kube, objects: Sequence[Obj], *, data: bool = True, deputy: str = "") -> tuple[list[Change], Pruned]:
    """Return what a deploy would change and what it would delete; `data` keeps what holds data.

    A `deputy` is the field manager that brings the tree about in our place (`Hands`).
    """
    work = _Plan(kube, objects, deputy)
    with ThreadPoolExecutor(THREADS) as pool:
        found = [change for change in pool.map(work.one, objects) if change is not None]
    rolls = rotation.pending(objects, work.live)
    found += [Change(roll.key, f"~ {roll.key}\n# will be rolled: its Secrets were rotated") for roll in rolls]
    return found, candidates(kube, claims(kube, work.owned, objects), objects, data=data)


def show(env: str, profile: str = "", nodes: int | str | None = None, *, data: bool = True) -> int:
    """Print what a deploy would change in an environment, the embedded cluster's nodes included; return as `plan`."""
    pins.refuse_old(env)
    settings, kube, objects = opened(env, profile, nodes)
    return plan(settings, kube, objects, target.resized(settings) if env == LOCAL else (), data=data)


def plan(
    settings: Settings, kube: Kube, objects: Sequence[Obj], machines: Sequence[str] = (), *, data: bool = True
) -> int:
    """Print what a deploy would change, delete and, with `data`, keep for its data; return 0 when nothing, else 2.

    `machines` are the lines about nodes that come or go.
    """
    with step(f"comparing {len(objects)} objects with {settings.env}"):
        handed = gitops.owned(kube)
        found, pruned = changes(kube, objects, data=data, deputy=gitops.MANAGER if handed else "")
    drift = realm.drift(settings, kube, objects)
    for text in (*machines, *(change.text for change in found)):
        out(text)
    for line in drift:
        out(line)
    for key in pruned.deleted:
        out(f"- {key} (left the tree, will be deleted)")
    for key, held in pruned.going.items():
        out(f"- {key} (left the tree, not gone yet: {held})")
    for key, why in pruned.kept.items():
        out(f"= {key} (left the tree, will be kept: {why})")
    if text := kept_data(settings, objects, pruned):
        say(text)
    blocked = sum(change.blocked for change in found) + sum(line.startswith("!") for line in machines)
    if blocked:
        say(f"{blocked} of these would stop the deploy (marked with !)")
    if handed:
        say(f"{settings.env}: Argo CD owns it, a deploy is refused")
    if not found and not pruned.deleted and not pruned.going and not drift and not machines:
        say(f"{settings.env}: no changes")
        return NO_CHANGES
    changing = len(found) + len(drift) + len(machines)
    verb = "invoke gitops --publish" if handed else "invoke deploy"
    say(f"{settings.env}: {changing} to change, {len(pruned.deleted)} to delete; `{verb}` does it")
    return CHANGES
