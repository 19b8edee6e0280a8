"""Everybody tries to reach everybody: what the policies of the tree allow, and what really came through."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.policy.parties import API_SERVER, METADATA, NODE, SHUT, WORLD, Party, of_pod
from betelgeuse.policy.verdicts import Policies, Verdict, label_keys
from conformance.inside import Inside, is_left_over
from conformance.parallel import gather
from conformance.probes import mimic
from conformance.probes.inside import LABEL
from conformance.probes.k8s import MIMIC
from conformance.probes.mimic import Plan
from conformance.probes.tcp import Place
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

_MANAGER: Final = "betelgeuse-conformance"
_STRANGER: Final = "stranger"
_SCANNER: Final = "scanner"
_API_PORT: Final = 6443
_NODE_PORTS: Final = (*SHUT, 4240, 4244, 9962, 9965, 9966, 10249, 10256, 10257, 10259)
_WORLD: Final = (("1.1.1.1", 443), ("8.8.8.8", 53), (METADATA, 80))


@dataclass(frozen=True)
class Source:
    """A kind of pod of a namespace, as policies tell them apart."""

    party: Party
    id: str

    def __str__(self) -> str:
        """Show it."""
        return str(self.party)


@dataclass(frozen=True)
class Goal:
    """A place to be reached, or not."""

    party: Party
    place: Place
    behind: int = 0
    """The party's own port, where the place is a Service's."""

    @property
    def port(self) -> int:
        """The port that policies speak of."""
        return self.behind or self.place[1]

    def __str__(self) -> str:
        """Show whose it is, and where."""
        return f"{self.party} ({self.place[0]}:{self.place[1]})"


@dataclass(frozen=True)
class Cell:
    """One source and one goal: what the policies say, and what happened."""

    source: Source
    goal: Goal
    verdict: Verdict
    reached: bool

    @property
    def fault(self) -> str:
        """What is wrong with it; empty when policy and network agree."""
        # Whoever may leave the cluster depends on the world for an answer.
        if self.verdict.allowed == self.reached or (self.verdict.allowed and self.goal.party.entities == WORLD):
            return ""
        told = "came through" if self.reached else "did not come through"
        return f"{self.source} -> {self.goal} {told} ({'; '.join(self.verdict.why)})"


@dataclass(frozen=True)
class Matrix:
    """All of it, observed once per run."""

    cells: tuple[Cell, ...]
    open_ports: Mapping[str, frozenset[int]]
    """Node address -> ports that accept connections from a pod no policy holds back."""
    complete: bool

    def of(self, namespace: str) -> tuple[Cell, ...]:
        """Return the cells of a namespace's pods."""
        return tuple(cell for cell in self.cells if cell.source.party.namespace == namespace)


def _own_pods(site: Site) -> Iterator[tuple[Obj, Party]]:
    for namespace in site.tree.namespaces:
        for pod in site.cluster.fresh("v1", "Pod", namespace):
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
                party = of_pod(pod)
                if party.is_pod and party.address:
                    yield pod, party


def _shut_namespaces(site: Site) -> set[str]:
    return {policy["metadata"]["namespace"] for policy in site.tree.kind("NetworkPolicy")}


def sources(site: Site, pods: Sequence[tuple[Obj, Party]], foreign: str) -> tuple[Source, ...]:
    """Return each kind of pod once, and a stranger in every namespace and in one that the platform does not know."""
    telling = label_keys(site.tree.objects)
    namespaces = sorted(_shut_namespaces(site))
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Source] = {}
    for _, party in pods:
        labels = {key: value for key, value in party.labels.items() if key in telling}
        key = (party.namespace, tuple(sorted(labels.items())))
        if party.namespace in namespaces and labels:
            found.setdefault(key, Source(Party(party.namespace, party.name, labels), f"as-{len(found)}"))
    strangers = (Source(Party(namespace, _STRANGER), _STRANGER) for namespace in (*namespaces, foreign))
    return (*found.values(), *strangers)


def goals(site: Site, inside: Inside, pods: Sequence[tuple[Obj, Party]]) -> tuple[Goal, ...]:
    """Return every TCP port of the platform's pods, the nodes' own services, the API server, and the world."""
    parties = {party.address: party for _, party in pods}
    found = [
        Goal(parties[target.address], (target.address, target.port))
        for target in inside.targets
        if target.address in parties
    ]
    for node in site.cluster.list("v1", "Node"):
        for address in _addresses(node):
            party = Party("", f"node {node['metadata']['name']}", entities=NODE, address=address)
            found.extend(Goal(party, (address, port)) for port in _NODE_PORTS)
            if "node-role.kubernetes.io/control-plane" in node["metadata"].get("labels", {}):
                api = Party("", "kube-apiserver", entities=API_SERVER, address=address)
                found.append(Goal(api, (address, _API_PORT)))
    for service in site.cluster.list("v1", "Service", "default"):
        if service["metadata"]["name"] == "kubernetes":
            api = Party("", "kube-apiserver by its Service", entities=API_SERVER, address=service["spec"]["clusterIP"])
            found.append(Goal(api, (api.address, service["spec"]["ports"][0]["port"]), _API_PORT))
    found += [Goal(Party("", "world", entities=WORLD, address=place[0]), place) for place in _WORLD]
    return tuple(found)


def _addresses(node: Obj) -> list[str]:
    return [entry["address"] for entry in node["status"].get("addresses", []) if entry["type"] == "InternalIP"]


class _Run:
    """The pods of one observation: put there, awaited, read, taken away."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.name = uuid.uuid4().hex[:8]
        self.owners: list[Obj] = []

    def put(self, plans: Mapping[Source, Plan]) -> None:
        nodes = cycle(sorted(node["metadata"]["name"] for node in self.site.cluster.list("v1", "Node")))
        owners = {}
        for namespace in sorted({source.party.namespace for source in plans}):
            mine = {source.id: plan for source, plan in plans.items() if source.party.namespace == namespace}
            config = mimic.config(namespace, self.name, mine)
            owners[namespace] = self.site.cluster.kube.server_side_apply(config, _MANAGER, force=True)
            self.owners.append(owners[namespace])
        wanted = [(owners[source.party.namespace], source, next(nodes)) for source in plans]
        programmed = mimic.image(self.site.tree)

        def start(pod: tuple[Obj, Source, str]) -> None:
            owner, source, node = pod
            obj = mimic.pod(owner, source.id, source.party.labels, programmed, node)
            self.site.cluster.kube.server_side_apply(obj, _MANAGER, force=True)

        gather(start, wanted)

    def answers(self, count: int) -> dict[tuple[str, str], Obj]:
        """Return what each pod printed, by namespace and name."""

        def look() -> tuple[Obj, ...]:
            pods = self.site.cluster.fresh("v1", "Pod", labels=f"{MIMIC}={self.name}")
            return tuple(pod for pod in pods if pod["status"].get("phase") in {"Succeeded", "Failed"})

        pods, seconds = poll(look, lambda pods: len(pods) == count, TIMEOUTS.matrix)
        good = [pod for pod in pods if pod["status"]["phase"] == "Succeeded"]
        require(
            len(good) == count,
            where="isolation matrix",
            want=f"{count} probe pods done within {TIMEOUTS.matrix:.0f} s",
            got=f"{len(good)} after {seconds:.0f} s",
            reproduce=f"kubectl get pods -A -l {MIMIC}; kubectl get events -A",
        )
        return {(pod["metadata"]["namespace"], pod["metadata"]["name"]): self._printed(pod) for pod in good}

    def _printed(self, pod: Obj) -> Obj:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
        found: Obj = json.loads(self.site.cluster.ask("GET", path, accept="*/*").text)
        return found

    def remove(self) -> None:
        for owner in self.owners:
            self.site.cluster.kube.delete(owner)


def observe(site: Site, inside: Inside) -> Matrix:
    """Let everybody try everybody."""
    pods = list(_own_pods(site))
    callers, callees = sources(site, pods, inside.namespace), goals(site, inside, pods)
    places = tuple(sorted({goal.place for goal in callees}))
    nodes = tuple(sorted({address for node in site.cluster.list("v1", "Node") for address in _addresses(node)}))
    plans = {source: Plan(places, (), TIMEOUTS.scan_port, TIMEOUTS.scan_inside) for source in callers}
    # A pod of its own: all ports of the nodes take longer than everything else together.
    scanner = Source(Party(inside.namespace, _SCANNER), _SCANNER)
    plans[scanner] = Plan((), nodes, TIMEOUTS.scan_port, TIMEOUTS.scan_inside)
    for left in site.cluster.fresh("v1", "ConfigMap", labels=f"{LABEL}=true"):
        if is_left_over(left):
            site.cluster.kube.delete(left)
    run = _Run(site)
    try:
        run.put(plans)
        printed = run.answers(len(plans))
    finally:
        run.remove()
    # A pod replaced meanwhile has taken its address along: nothing can be said about it.
    living = {party.address for _, party in _own_pods(site)}
    callees = tuple(goal for goal in callees if not goal.party.is_pod or goal.party.address in living)
    answers = {source: _answer(printed, run.name, source) for source in plans}
    cells = _judged(site, callers, callees, answers)
    ports = {address: frozenset(found) for address, found in answers[scanner]["open"].items()}
    return Matrix(cells, ports, all(answer["complete"] for answer in answers.values()))


def _answer(printed: Mapping[tuple[str, str], Obj], run: str, source: Source) -> Obj:
    return printed[source.party.namespace, f"conformance-{run}-{source.id}"]


def _judged(
    site: Site, callers: Sequence[Source], callees: Sequence[Goal], answers: Mapping[Source, Obj]
) -> tuple[Cell, ...]:
    policies = Policies.read(site.tree.objects)
    cells = []
    for source in callers:
        reached = {(address, port) for address, port in answers[source]["reached"]}
        for goal in callees:
            verdict = policies.verdict(source.party, goal.party, goal.port)
            cells.append(Cell(source, goal, verdict, goal.place in reached))
    allowed = sum(cell.verdict.allowed for cell in cells)
    site.facts["isolation cells"] = f"{len(cells)}: {allowed} open, {len(cells) - allowed} shut"
    return tuple(cells)
