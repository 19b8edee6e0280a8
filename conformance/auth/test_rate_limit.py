"""One client's haste is its own affair."""

import time
from dataclasses import dataclass
from typing import Final

import pytest

from betelgeuse.tree import Host
from conformance.probes.http import Answer, Header, Request
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.verdict import poll, require

pytestmark = pytest.mark.feature("tokens")

_WORKERS: Final = 8
_LAXITY: Final = 2.0
_SECONDS: Final = 6.0
"""A flood that is not stopped within this is not stopped."""


def _bearer(site: Site, host: Host, who: str) -> tuple[Header, ...]:
    """Return the token of a program of this run's own: nobody else suffers from what it does."""

    def make() -> str:
        machine = site.identity.machine(host.gate.audiences[0])
        return site.identity.granted(machine.name, machine.secret)

    token = site.once(("flood", who, host.name), make)
    return (("Authorization", Secret(f"Bearer {token}", f"Bearer $TOKEN_{who.upper()}")),)


@dataclass(frozen=True, slots=True)
class Flood:
    """What came of a flood: the refusals among its answers, and what a calm client got meanwhile."""

    sent: int
    refused: tuple[Answer, ...]
    calm: tuple[Answer, ...]
    disguised: tuple[Answer, ...]


def _flood(site: Site, host: Host) -> Flood:
    """Ask as one client as fast as it goes until it is refused, with another one and a disguise asking in between."""
    door = host.door
    method = door.method or "GET"
    hasty, calm = _bearer(site, host, "hasty"), _bearer(site, host, "calm")
    request = Request(host.name, door.path, method, hasty)
    refused: list[Answer] = []
    disguised: list[Answer] = []
    end = time.monotonic() + _SECONDS
    sent = 0
    while not refused and time.monotonic() < end:
        refused += [answer for answer in site.sweep([request] * 64) if answer.status == 429]
        sent += 64
    if not refused:
        return Flood(sent, (), (), ())
    mixed = [*[request] * 16, Request(host.name, door.path, method, calm), *[request] * 16]
    beside = site.sweep(mixed)[16:17]
    end = time.monotonic() + _SECONDS
    # Once may be too little: the gateway counts anew each second. Each disguise is too seldom to be slowed down itself.
    while all(answer.status != 429 for answer in disguised) and time.monotonic() < end:
        other = f"somebody-{len(disguised)}"
        headers = (*hasty, ("X-Client-Id", other), ("X_Client_Id", other))
        again = site.sweep([*[request] * 64, *[Request(host.name, door.path, method, headers)] * 32])
        disguised += again[64:]
    return Flood(sent, tuple(refused), tuple(beside), tuple(disguised))


def _once(site: Site, host: Host) -> Flood:
    return site.once(("flood", host.name), lambda: _flood(site, host))


def test_hasty_client_is_slowed_down(site: Site, token_host: Host) -> None:
    """A client that asks too fast gets 429, and is told when to come back."""
    flood = _once(site, token_host)

    waits = {answer.header("retry-after") for answer in flood.refused}
    require(
        flood.refused and all(wait and wait.isdigit() for wait in waits),
        where=f"https://{token_host}{token_host.door.path}, {flood.sent} requests at once by one client",
        want="429 with Retry-After in seconds",
        got=f"{len(flood.refused)} refusals, Retry-After {sorted(map(str, waits))}",
        reproduce=f"seq 500 | xargs -P {_WORKERS} -n 1 {site.curl(Request(token_host.name, token_host.door.path))}",
    )


def test_calm_client_goes_on(site: Site, token_host: Host) -> None:
    """While one client is slowed down, another one is answered."""
    flood = _once(site, token_host)

    require(
        flood.calm and all(answer.status not in {0, 429, 503} for answer in flood.calm),
        where=f"https://{token_host}{token_host.door.path}, another client meanwhile",
        want="the usual answer",
        got=[str(answer.status) for answer in flood.calm] or "the first client was never slowed down",
        reproduce=f"two clients at https://{token_host}{token_host.door.path}, one of them in a loop",
    )


def test_other_name_does_not_help(site: Site, token_host: Host) -> None:
    """A hasty client that says it is another one, by the header the gateway counts by, is counted all the same."""
    flood = _once(site, token_host)

    require(
        any(answer.status == 429 for answer in flood.disguised),
        where=f"https://{token_host}{token_host.door.path}, X-Client-Id of somebody else",
        want="429 among the answers",
        got=sorted({answer.status for answer in flood.disguised}),
        reproduce="the same loop with -H 'X-Client-Id: somebody-else'",
    )


def test_hasty_client_is_forgiven(site: Site, token_host: Host) -> None:
    """After the time it was told, the same client is answered again."""
    flood = _once(site, token_host)
    told = max((int(answer.header("retry-after") or "1") for answer in flood.refused), default=1)
    request = Request(token_host.name, token_host.door.path, headers=_bearer(site, token_host, "hasty"))

    answer, seconds = poll(
        lambda: site.send(request), lambda answer: answer.status not in {0, 429, 503}, told + _LAXITY
    )

    require(
        answer.status not in {0, 429, 503},
        where=f"https://{token_host}{request.path}, {seconds:.1f} s later",
        want=f"the usual answer after the {told} s it was told",
        got=answer,
        reproduce=site.curl(request),
    )
