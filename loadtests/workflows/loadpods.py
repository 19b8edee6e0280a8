"""A load test whose master and workers are pods of the cluster: put there, followed, its report fetched, removed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from betelgeuse import paths, servers
from betelgeuse.builds import images, pins
from betelgeuse.claim import Claim, claimed
from betelgeuse.clusters.kind import target as kind
from betelgeuse.clusters.local import target
from betelgeuse.clusters.servers import target as hosts
from betelgeuse.errors import BetelgeuseError, UsageError, WaitTimeoutError
from betelgeuse.identity.declarations import clients
from betelgeuse.identity.token import PATH, key, machine
from betelgeuse.kube import ApiError, Kube, Obj, UnreachableError
from betelgeuse.pods import IMAGE_FAULTS, worst
from betelgeuse.progress import step
from betelgeuse.readiness import short
from betelgeuse.settings import KIND, LOCAL, Settings
from loadtests import progress, report
from loadtests.client_credentials import ID, KEY
from loadtests.plan import Order
from loadtests.pod import CutError, read, without_report
from loadtests.workflows import loadjobs
from loadtests.workflows.loadjobs import MASTER, NAMESPACE, ROLE, Load
from loadtests.workflows.reach import fresh_log, reached, show

_MANAGER: Final = "betelgeuse-loadtest"
_MOST: Final = 64
"""More workers would ask more of one master than it adds up."""
_START_SECONDS: Final = 300.0
"""For the pods to run: a node may have to pull the image first."""
_SPARE: Final = 180.0
"""Seconds beside the run: workers connect, users start and stop, the report is written."""
_POLL: Final = 2.0
_LOG_LINES: Final = 2000
_SERVER: Final = 500
"""HTTP statuses from here on are the server's own trouble, and so is the next."""
_BUSY: Final = 429
_LOG_TRIES: Final = 5


def count(text: str) -> int:
    """Return how many workers a command line asks for; UsageError for anything but a number that makes sense."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST):
        message = f"--workers: expected a whole number from 1 to {_MOST}, got {text[:40]!r}"
        raise UsageError(message)
    return int(text)


def _state(pod: Obj, kind: str) -> Mapping[str, Any] | None:
    """Return the state of a pod's container if it is of that kind: waiting, running, terminated."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    found: Mapping[str, Any] | None = (statuses[0].get("state") or {}).get(kind)
    return found


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    return short(lines[-1]) if lines else "it said nothing"


def crash(pod: Obj) -> str:
    """Return how a pod failed, empty when it did not."""
    name, end = pod["metadata"]["name"], _state(pod, "terminated")
    if end is not None and end.get("exitCode"):
        said = last_line(str(end.get("message") or ""))
        return f"pod {name} ended with exit code {end['exitCode']} ({end.get('reason', 'Error')}): {said}"
    if end is None and pod["status"].get("phase") == "Failed":
        words = (pod["status"].get("reason"), pod["status"].get("message"))
        return f"pod {name} failed: {': '.join(word for word in words if word) or 'no reason given'}"
    return ""


def missing(pods: Sequence[Obj], wanted: int, warning: str) -> str:
    """Return why not all pods run, empty when they do; `warning`: the newest of the namespace's events."""
    begun = [pod for pod in pods if _state(pod, "running") is not None or _state(pod, "terminated") is not None]
    if len(begun) >= wanted:
        return ""
    words = ""
    for pod in pods:
        wait = _state(pod, "waiting") or {}
        if wait.get("reason") in IMAGE_FAULTS:
            words = f"pod {pod['metadata']['name']}: {wait['reason']}: {wait.get('message', 'no message')}"
            break
    words = words or worst([pod for pod in pods if pod not in begun])
    if not words or "ContainerCreating" in words:
        words = "; ".join(filter(None, (words, warning))) or "the Job's controller has not made all of them yet"
    return f"{len(begun)} of {wanted} pods run ({short(words)})"


def _warning(kube: Kube) -> str:
    """Return the newest warning of the namespace."""
    events = kube.list("v1", "Event", NAMESPACE, fields="type=Warning")
    found = sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"{found[-1].get('reason')}: {found[-1].get('message')}" if found else ""


def _log(kube: Kube, pod: Obj, lines: int = 0) -> str:
    """Return a pod's log, or its last lines; empty where there is none to be had at this moment."""
    query: dict[str, object] = {"container": "locust"} | ({"tailLines": lines} if lines else {})
    try:
        return kube.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/log", query)
    except (ApiError, UnreachableError):
        return ""


@dataclass
class Follower:
    """Watches a run until its master has ended."""

    kube: Kube
    load: Load
    log: Path
    words: str = "the pods are made"
    """How far it is."""
    begin: float = field(default_factory=time.monotonic)
    _complete: bool = False
    """Whether all pods ran at some time."""
    _master: bool = False
    _newest: str = ""
    """What the master said last of its load."""

    @property
    def elapsed(self) -> float:
        """Seconds since the pods were asked for."""
        return time.monotonic() - self.begin

    def look(self) -> Obj | None:
        """Return the master once it has ended; raise as soon as it is certain that no report will come."""
        if self.elapsed > self.load.seconds + _SPARE:
            message = f"the run did not end within {self.load.seconds + _SPARE:.0f} s: {self.words}"
            raise WaitTimeoutError(message)
        try:
            return self._judge(self.kube.list("v1", "Pod", NAMESPACE))
        except (ApiError, UnreachableError) as error:
            if isinstance(error, ApiError) and error.status < _SERVER and error.status != _BUSY:
                raise
            # The pods go on without us; the time limit bounds this too.
            self.words = str(error)
            return None

    def _judge(self, pods: Sequence[Obj]) -> Obj | None:
        master = next((pod for pod in pods if pod["metadata"]["labels"][ROLE] == MASTER), None)
        if master is not None:
            self._master = True
            if _state(master, "terminated") is not None or crash(master):
                return master
            if text := _log(self.kube, master, _LOG_LINES) if _state(master, "running") is not None else "":
                self.log.write_text(text, "utf-8")
                self._newest = progress.newest(text) or self._newest
        elif self._master:
            self._lost()
        for pod in pods:
            if words := crash(pod):
                message = f"a worker is lost, and with it the run: {words}"
                raise BetelgeuseError(message)
        self._wait(pods)
        return None

    def _wait(self, pods: Sequence[Obj]) -> None:
        if not self._complete:
            wanted = self.load.workers + 1
            # Events are asked for only while something is wrong.
            why = missing(pods, wanted, "") and missing(pods, wanted, _warning(self.kube))
            self._complete = not why
            if why and self.elapsed > _START_SECONDS:
                message = f"not all pods of the load test run after {_START_SECONDS:.0f} s: {why}"
                raise WaitTimeoutError(message)
            self.words = why or "the workers connect to the master"
        self.words = self._newest or self.words

    def _lost(self) -> None:
        """Say why the master's pod is gone: its Job knows."""
        job = self.kube.get("batch/v1", "Job", MASTER, NAMESPACE) or {}
        failed = [each for each in (job.get("status") or {}).get("conditions") or () if each.get("status") == "True"]
        if any(each.get("reason") == "DeadlineExceeded" for each in failed):
            message = f"the run did not end within {self.load.seconds:.0f} s and was stopped: {self.words}"
            raise WaitTimeoutError(message)
        words = "; ".join(f"{each.get('reason')}: {each.get('message')}" for each in failed) or "its pod was deleted"
        message = f"the master is gone, and with it the report: {short(words)}"
        raise BetelgeuseError(message)


def deliver(kube: Kube, master: Obj, log: Path) -> dict[str, Any]:
    """Return the report that the master's log ends with; BetelgeuseError where it is missing or not whole."""
    reason = ""
    for attempt in range(_LOG_TRIES):
        # A node may write a log's last lines a moment after it told of the container's end.
        time.sleep(attempt)
        text = _log(kube, master)
        if text:
            log.write_text(without_report(text), "utf-8")
        try:
            if found := read(text):
                return found
        except CutError as error:
            reason = str(error)
            continue
        if text and crash(master):
            break
    last = last_line(log.read_text("utf-8")) if log.is_file() else "it said nothing"
    reason = reason or crash(master) or f"the master wrote no report: {last}"
    message = f"{reason}; see {paths.shown(log)}"
    raise BetelgeuseError(message)


def _image(chosen: Settings) -> str:
    """Return what pods call Locust's image, which the nodes have, or can pull, from now on."""
    row = images.named("locust")
    if chosen.env == LOCAL:
        return target.provide(row)
    if chosen.env == KIND:
        return kind.provide(row)
    if listed := servers.load(chosen.env):
        return hosts.provide(chosen.env, listed, row)
    return pins.provided(chosen.env, row)


def _credentials(kube: Kube, objects: Sequence[Obj], chosen: Settings, client: str) -> dict[str, str]:
    """Return the files by which pods ask for tokens as that client."""
    return {ID: client, KEY: key(kube, machine(clients(objects, chosen.domain), client), chosen.env)}


def _carry_out(kube: Kube, claim: Claim, load: Load, log: Path, title: str) -> dict[str, Any]:
    """Put the run's objects into its namespace, follow it, and return its report."""
    follower = Follower(kube, load, log)
    with step(title, lambda: follower.words):
        for obj in loadjobs.objects(load):
            kube.server_side_apply(obj, _MANAGER)
        while (master := follower.look()) is None:
            claim.keep()
            time.sleep(_POLL)
        return deliver(kube, master, log)


def loadtest(chosen: Settings, run: Order, said: Sequence[str], workers: int, scenario: str) -> dict[str, Any]:
    """Make a run from so many pods, print what it showed, and return its report.

    `said` is Locust's command line, `scenario` what it says of one. Raises LockedError naming the holder while another
    run goes on in the cluster.
    """
    own = scenario if scenario.endswith(".json") else ""
    kube, objects, client, roots = reached(chosen, f"{run.target}.{chosen.domain}")
    load = Load(
        image=_image(chosen),
        arguments=[f"--scenario={loadjobs.own_scenario(own)}" if own and word.endswith(own) else word for word in said],
        workers=workers,
        seconds=run.seconds + _START_SECONDS + _SPARE,
        files=loadjobs.code(paths.ROOT, own),
        roots=roots.read_text("utf-8") if roots else "",
        token_url=f"https://auth.{chosen.domain}{PATH}" if client else "",
        credentials=_credentials(kube, objects, chosen, client) if client else {},
    )
    log = fresh_log(f"loadtest-{run.label}")
    title = f"load on the {run.target} by {workers} workers in {chosen.env}, profile {run.profile.name}"
    with claimed(kube, loadjobs.namespace(), loadjobs.OWN, chosen.env) as claim:
        found = _carry_out(kube, claim, load, log, title)
    show(found, report.write(found, paths.REPORTS))
    return found
