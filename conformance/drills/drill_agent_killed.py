"""The network's agent killed on every node, again and again: policies and connections live in the kernel, not in it."""

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from betelgeuse.clusters.local import cluster, layout
from betelgeuse.errors import BetelgeuseError
from conformance.inside import Inside
from conformance.site import Site
from conformance.verdict import poll, require, require_none

if TYPE_CHECKING:
    from conformance.probes.inside import Target

_AGENT: Final = "cilium-agent"
_LONG: Final = 30.0
"""Seconds of killing: the kubelet brings the agent back in two or three, and waits longer each time."""
_EVERY: Final = 0.2
_PATIENCE: Final = 5.0
_BACK: Final = 180.0
"""The agent being ready again: the kubelet's growing pause, and all policies read anew on a busy machine."""


@dataclass
class Seen:
    """What was seen while the agents died; faults are what must not be there."""

    kills: int = 0
    requests: int = 0
    allowed: int = 0
    denied: int = 0
    faults: list[str] = field(default_factory=list)


def _hold(site: Site, until: float, seen: Seen) -> None:
    """Keep one connection to the gateway busy: every answer must come on it."""
    request = f"GET /drill HTTP/1.1\r\nHost: {site.tree.hosts[0].name}\r\n\r\n".encode()
    with socket.create_connection((site.addresses[0], site.http), _PATIENCE) as connection:
        connection.settimeout(_PATIENCE)
        while time.monotonic() < until:
            try:
                connection.sendall(request)
                answer = connection.recv(65536)
            except OSError as error:
                seen.faults.append(f"the standing connection broke after {seen.requests} requests: {error}")
                return
            if not answer.startswith(b"HTTP/1.1 "):
                seen.faults.append(f"the standing connection ended after {seen.requests} requests")
                return
            seen.requests += 1
            time.sleep(_EVERY)


def _sweep(inside: Inside, until: float, seen: Seen) -> None:
    """Connect anew, again and again, from every node: by turns to what is allowed and to what is not."""
    opened = [each for each in inside.targets if each.public]
    shut = [each for each in inside.targets if not each.public and not each.name.startswith("kube-system/")]
    turn = 0
    while time.monotonic() < until:
        goals, pod = (opened, shut)[turn % 2], inside.pods[turn // 2 % len(inside.pods)]
        goal: Target = goals[turn // 2 % len(goals)]
        came = inside.reaches(pod, goal)
        if goal.public:
            seen.allowed += 1
            seen.faults += [] if came else [f"{goal} was not reached, which is allowed"]
        else:
            seen.denied += 1
            seen.faults += [f"{goal} was reached, which is denied"] if came else []
        turn += 1


def _kill(site: Site, until: float, seen: Seen) -> None:
    """Kill every agent as soon as it runs."""
    while time.monotonic() < until:
        for node in layout.nodes(site.settings):
            try:
                cluster.inside(node, ["pkill", "-9", "-x", _AGENT])
            except BetelgeuseError:
                continue  # the kubelet has not started it again yet
            seen.kills += 1
        time.sleep(_EVERY)


def _ready(site: Site) -> bool:
    live = site.cluster.kube.get("apps/v1", "DaemonSet", "cilium", "kube-system") or {}
    status = live.get("status", {})
    return bool(0 < status.get("desiredNumberScheduled", 0) == status.get("numberReady", 0))


def test_killed_agents_change_nothing(site: Site, inside: Inside) -> None:
    """While agents die, what stands stays, what is allowed connects, what is denied does not; then they are back."""
    if site.settings.env != "local":
        pytest.skip("only the embedded cluster's processes can be killed from here")
    seen, until = Seen(), time.monotonic() + _LONG
    work = [
        threading.Thread(target=_hold, args=(site, until, seen)),
        threading.Thread(target=_sweep, args=(inside, until, seen)),
        threading.Thread(target=_kill, args=(site, until, seen)),
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    back, took = poll(lambda: _ready(site), bool, _BACK)

    told = (
        f"{seen.kills} kills in {_LONG:.0f} s; {seen.requests} requests on one connection, {seen.allowed} allowed and"
        f" {seen.denied} denied connections tried; ready {took:.0f} s after the last"
    )
    site.facts["agents killed"] = told
    look = "kubectl -n kube-system get pods -l k8s-app=cilium -o wide"
    require(seen.kills and seen.requests, where="drill", want="agents killed under traffic", got=told, reproduce=look)
    require_none(seen.faults, where=told, want="nobody notices", reproduce=look)
    require(back, where="agents", want=f"ready within {_BACK:.0f} s", got=told, reproduce=look)
