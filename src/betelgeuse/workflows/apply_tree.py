"""Bring a cluster to what the tree says: secrets, waves, readiness, and what left the tree removed."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from betelgeuse import inventory, profiles, rotation, secrets, trust, webhooks
from betelgeuse.apply import Applied, Applier, Outcome, snapshot
from betelgeuse.errors import BetelgeuseError, WaitTimeoutError
from betelgeuse.hands import Hands
from betelgeuse.inventory import Inventory
from betelgeuse.issuance import Retry
from betelgeuse.kube import Key, Kube, Obj, key_of
from betelgeuse.owners import Controllers
from betelgeuse.progress import Ticker, say, step
from betelgeuse.prune import Pruned, claims, prune
from betelgeuse.readiness import short
from betelgeuse.settings import LOCAL, Settings
from betelgeuse.wait import explain, observe, summary, until_ready
from betelgeuse.waves import BUILT_IN, Group, custom_kinds, plan

READY_SECONDS: Final = 420.0
"""Bounds each wait of a deploy: a cold start on two busy cores loads models."""
_CRD_SECONDS: Final = 60.0
_COPY_EVERY: Final = 3.0
_PAUSE: Final = 1.0


@dataclass
class Result:
    """What a deploy did to the cluster."""

    applied: Applied
    pruned: Pruned = field(default_factory=Pruned)
    generated: dict[Key, list[str]] = field(default_factory=dict)
    rolled: list[Key] = field(default_factory=list)
    """Workloads that still used values of before a rotation."""
    realm: list[str] = field(default_factory=list)
    """What is different in Keycloak."""

    @property
    def changes(self) -> int:
        """How many things are different now: objects, and settings of the realm."""
        objects = set(self.applied.changes) | set(self.generated) | set(self.rolled)
        return len(objects) + len(self.pruned.deleted) + len(self.realm)

    def __str__(self) -> str:
        """Return the summary line."""
        kept = f", {len(self.pruned.kept)} kept" if self.pruned.kept else ""
        made = f", secrets generated in {len(self.generated)}" if self.generated else ""
        going = f", {len(self.pruned.going)} not gone yet" if self.pruned.going else ""
        return f"{self.applied}, {len(self.pruned.deleted)} deleted{going}{kept}{made}"


class _Deploy:
    """One run over one tree."""

    def __init__(self, kube: Kube, objects: Sequence[Obj], timeout: float, env: str) -> None:
        self.kube, self.objects, self.timeout = kube, objects, timeout
        self.groups = plan(objects)
        self.owned = inventory.load(kube)
        self.live = snapshot(kube, objects)
        adopted = self.owned.union(objects, (), self.live).adopted
        hands = Hands(kube, Controllers.of(objects, self.live.values()), adopted)
        self.applier = Applier(hands, self.live, self.owned.records, custom_kinds(objects))
        self.guards = webhooks.guards(objects)
        self.result = Result(self.applier.applied)
        self.waiting: dict[Key, Obj] = {}
        """Secrets that copy from a Secret nobody made yet."""
        self._copied = 0.0
        self._certificates = Retry(kube, objects, partial(trust.started_anew, env, kube))

    def foreclaim(self, profile: str) -> None:
        """Write down what may be ours before the first change, so that a kill -9 leaves nothing unknown."""
        pending = map(key_of, self.applier.pending(self.objects))
        wanted = replace(self.owned.union(self.objects, pending, self.live), profile=profile)
        if wanted != self.owned:
            inventory.save(self.kube, wanted)
            self.owned = wanted

    def make_secrets(self, objects: Sequence[Obj]) -> None:
        """Make what the Secrets among the objects ask for; remember those that cannot be made yet."""
        wanted = {key_of(obj): obj for obj in objects if secrets.recipes(obj)}
        if not wanted:
            return
        made = secrets.ensure(self.kube, wanted.values(), self.live)
        self.waiting |= {key: wanted[key] for key in made.waiting}
        for key, reason in made.waiting.items():
            say(f"{key}: waits for {reason}")
        self._generated(made)

    def _generated(self, made: secrets.Made) -> None:
        for key, names in made.generated.items():
            say(f"{key}: generated {', '.join(names)}")
        self.result.generated |= made.generated

    def follow(self) -> None:
        """Roll what an interrupted rotation of secrets left with older values."""
        if not any(map(secrets.stamp, self.live.values())):
            return
        kinds = {"Secret", *rotation.WORKLOADS}
        now = snapshot(self.kube, [obj for obj in self.objects if obj["kind"] in kinds])
        for entry in rotation.pending(self.objects, now):
            say(f"{entry.key}: rolled, its Secrets were rotated")
            rotation.roll(self.kube, entry)
            self.result.rolled.append(entry.key)

    def copies(self) -> None:
        """Try again what copies from a Secret that a controller makes."""
        if not self.waiting or time.monotonic() - self._copied < _COPY_EVERY:
            return
        self._copied = time.monotonic()
        made = secrets.ensure(self.kube, self.waiting.values(), snapshot(self.kube, self.waiting.values()))
        self._generated(made)
        complete = [self.waiting.pop(key) for key in set(self.waiting) - set(made.waiting)]
        self.applier.run(complete)

    def meanwhile(self) -> None:
        """Do what becomes possible while everything gets ready."""
        self.copies()
        self._certificates.look()

    def group(self, group: Group) -> None:
        """Apply one wave, phase by phase, each object as soon as its webhooks answer."""
        self.make_secrets(group.objects)
        for phase in group.phases:
            ready = [obj for obj in phase if key_of(obj) not in self.waiting]
            held = {key_of(obj) for obj in ready if group.wave > BUILT_IN and self._awaited(obj)}
            self.applier.run([obj for obj in ready if key_of(obj) not in held])
            self._behind_webhooks([obj for obj in self.applier.pending(ready) if key_of(obj) in held])
            self.applier.run([obj for obj in ready if key_of(obj) not in self.applier.applied.outcomes])

    def _awaited(self, obj: Obj) -> list[Obj]:
        return webhooks.awaited(obj, self.guards)

    def _behind_webhooks(self, objects: Sequence[Obj]) -> None:
        todo = list(objects)
        begin = time.monotonic()
        with Ticker(self.timeout) as ticker:
            while todo:
                needed = {key_of(workload): workload for obj in todo for workload in self._awaited(obj)}
                closed = {entry.key: entry for entry in observe(self.kube, list(needed.values()))}
                is_open = [obj for obj in todo if not any(key_of(load) in closed for load in self._awaited(obj))]
                self.applier.run(is_open)
                done = {key_of(obj) for obj in is_open}
                todo = [obj for obj in todo if key_of(obj) not in done]
                if not todo:
                    return
                reason = summary([explain(self.kube, entry) for entry in list(closed.values())[:2]])
                if time.monotonic() - begin > self.timeout:
                    message = f"webhooks did not answer after {self.timeout:.0f} s: {reason}"
                    raise WaitTimeoutError(message)
                ticker.update(f"webhooks of {len(todo)} objects: {reason}")
                time.sleep(_PAUSE)

    def barrier(self, done: Sequence[Obj], following: Group) -> None:
        """Wait for what the next wave stands on, and for nothing else: pods become ready while we go on."""
        before = {key_of(obj) for obj in done}
        changed = set(self.applier.applied.changes)
        crds = [obj for obj in done if obj["kind"] == "CustomResourceDefinition"]
        if following.wave > BUILT_IN and any(key_of(obj) in changed for obj in crds):
            until_ready(self.kube, crds, _CRD_SECONDS)
        explicit = [obj for group in self.groups if group.barrier for obj in group.objects]
        wanted = list(done) if following.barrier else [obj for obj in explicit if key_of(obj) in before]
        if wanted:
            until_ready(self.kube, wanted, self.timeout, before_round=self.copies)


def _apply(run: _Deploy, env: str, meanwhile: Callable[[], None], *, wait: bool) -> None:
    done: list[Obj] = []
    with step(f"applying {len(run.objects)} objects to {env}"):
        for group in run.groups:
            if done:
                run.barrier(done, group)
            run.group(group)
            done += group.objects
        run.follow()
    for warning, requests in sorted(run.kube.warnings.items()):
        more = f" and {len(requests) - 1} more" if len(requests) > 1 else ""
        say(f"warning for {'/'.join(min(requests).split('/')[-4:])}{more}: {short(warning)}")

    def before_round() -> None:
        run.meanwhile()
        meanwhile()

    if wait:
        with step("waiting until everything is ready"):
            until_ready(run.kube, run.objects, run.timeout, before_round=before_round)


def kept_data(settings: Settings, objects: Sequence[Obj], pruned: Pruned) -> str:
    """Return how to remove or return what stays for its data alone; empty where nothing does."""
    if not pruned.data:
        return ""
    spaces = {key.namespace or key.name for key in pruned.data if key.namespace or key.kind == "Namespace"}
    # What left an area that stays comes back with no profile.
    gone = spaces - {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
    back = sorted({name for space in gone for name in profiles.serving(space)})
    env = "" if settings.env == LOCAL else f" --env={settings.env}"
    ways = [f"`invoke deploy{env} --prune-data` deletes it with its data"]
    ways += [f"`invoke deploy{env} --profile={name}` takes it back" for name in back[:1]]
    return f"{len(pruned.data)} objects stay for their data: {', '.join(ways)}"


def tell(settings: Settings, objects: Sequence[Obj], pruned: Pruned) -> None:
    """Say what left the tree and is still there."""
    for key, fate in pruned.forgotten.items():
        say(f"{key}: left the tree, but {fate}")
    for key, held in pruned.going.items():
        say(f"{key}: left the tree, but is not gone yet: it {held}")
    for key, reason in pruned.kept.items():
        say(f"{key}: kept although it left the tree: {reason}")
    if text := kept_data(settings, objects, pruned):
        say(text)


def claimed(kube: Kube, owned: Inventory, objects: Sequence[Obj]) -> Inventory:
    """Return the inventory with leaving StatefulSets' claims, written down before anything is deleted."""
    found = claims(kube, owned, objects)
    if found != owned:
        inventory.save(kube, found)
    return found


def apply_tree(  # noqa: PLR0913 - what a deploy may be told
    settings: Settings,
    kube: Kube,
    objects: Sequence[Obj],
    *,
    profile: str = "",
    data: bool = True,
    timeout: float = READY_SECONDS,
    wait: bool = True,
    check: Callable[[], None] = lambda: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Result:
    """Apply a rendered tree and return what changed; `data` keeps what left the tree and holds data.

    Before anything is deleted, `check` raises where the cluster is no longer ours to change. `meanwhile` runs before
    each look at whether everything is ready.

    `profile` is the chosen one to be remembered, empty where it is the overlay's own.
    Nothing is done twice: a second run over the same tree sends lists only. A run that was killed is simply run again.
    """
    run = _Deploy(kube, objects, timeout, settings.env)
    run.foreclaim(profile)
    try:
        _apply(run, settings.env, meanwhile, wait=wait)
    except BaseException:
        # What was applied is proven, whatever stopped the rest; if this cannot be written, it is only done again.
        with suppress(BetelgeuseError):
            inventory.save(kube, run.owned.partial(run.applier.applied.records))
        raise
    check()
    run.owned = claimed(kube, run.owned, objects)
    run.result.pruned = prune(kube, run.owned, objects, data=data)
    for key, outcome in run.applier.applied.outcomes.items():
        if outcome is Outcome.CHANGED:
            say(f"{key}: changed")
    for key in run.result.pruned.deleted:
        say(f"{key}: deleted, it left the tree")
    tell(settings, objects, run.result.pruned)
    exact = run.owned.exact(objects, run.applier.applied.records, [*run.result.pruned.kept, *run.result.pruned.going])
    if exact != run.owned:
        inventory.save(kube, exact)
    say(f"{settings.env}: {run.result}")
    return run.result
