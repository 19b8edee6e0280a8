"""A cluster in a dictionary for what comes and goes with a run, and time that passes when somebody sleeps."""

import itertools
from collections.abc import Callable, Mapping

from betelgeuse.kube import Obj, key_of
from loadtests.workflows.loadjobs import NAMESPACE
from tests.unit.fakes import FakeKube, refused


class Cluster(FakeKube):
    """A cluster in a dictionary that creates, renews and keeps logs too."""

    def __init__(self, *objects: Obj) -> None:
        """`logs`: of pods; `at_create`: what happens before an object is created."""
        super().__init__(*objects)
        self.logs: dict[str, str] = {}
        self.renewals = list[Exception]()
        self.numbers = itertools.count(1)

    def create(self, entry: Obj, _: str) -> Obj:
        """Create an object that must not exist yet."""
        key = key_of(entry)
        if key in self.objects:
            raise refused(409, "already exists")
        made = {**entry, "metadata": {**entry["metadata"], "uid": f"uid-{next(self.numbers)}"}}
        self.objects[key] = made
        return made

    def delete(self, entry: Obj, *, uid: str = "", propagation: str = "Background") -> bool:
        """Delete an object, and what is in it."""
        there = self.objects.get(key_of(entry))
        if uid and there is not None and there["metadata"]["uid"] != uid:
            raise refused(409, "the UID is another")
        name = entry["metadata"]["name"]
        self.objects = {key: each for key, each in self.objects.items() if key.namespace != name}
        return super().delete(entry, uid=uid, propagation=propagation)

    def request(self, method: str, path: str, **_: object) -> bytes:
        """Renew a Lease."""
        assert (method, path.rpartition("/")[2]) == ("PATCH", NAMESPACE)
        if self.renewals:
            raise self.renewals.pop(0)
        return b"{}"

    def raw(self, path: str, query: Mapping[str, object] | None = None) -> str:
        """Return a log."""
        assert query is not None
        if (name := path.split("/")[-2]) not in self.logs:
            raise refused(400, "waiting to start")
        return self.logs[name]


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        """Begin at 0; `events` are called one by one when somebody sleeps."""
        self.now = 0.0
        self.events = list[Callable[[], object]]()

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, and something happen."""
        self.now += seconds
        if self.events:
            self.events.pop(0)()
