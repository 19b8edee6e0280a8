"""Every refusal of an API says why, whoever refuses: JSON with `error.message` and `error.type`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from betelgeuse.tree import Host
from conformance.auth.refusal import sent_to_login
from conformance.probes.http import Header, Request
from conformance.probes.openai import refusal_fault
from conformance.site import Site, random_label
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require_none

pytestmark = pytest.mark.feature("tokens")

_TOO_LARGE: Final = 5 * 1024 * 1024
"""Bytes: more than any API of the platform takes."""


@dataclass(frozen=True)
class Case:
    """A request that is refused, with which status, and what the refusal may call itself."""

    id: str
    make: Callable[[Host, tuple[Header, ...]], Request]
    status: int
    kinds: tuple[str, ...]


def _posted(host: Host, headers: tuple[Header, ...], body: bytes) -> Request:
    path = next((match.path for match in host.matches if match.method == "POST"), host.door.path)
    return Request(host.name, path, "POST", (*headers, ("Content-Type", "application/json")), body)


GATES: Final = (
    Case("no-token", lambda host, _: Request(host.name, host.door.path), 401, ("authentication_required",)),
    Case(
        "wrong-token",
        lambda host, _: Request(host.name, host.door.path, headers=(("Authorization", "Bearer wrong"),)),
        401,
        ("invalid_token",),
    ),
)
"""Refused by the gate, in front of every API."""
MODELS: Final = (
    Case(
        "unknown-path",
        lambda host, headers: Request(host.name, f"/{random_label()}", headers=headers),
        404,
        ("invalid_request_error",),
    ),
    Case(
        "unknown-method",
        lambda host, headers: Request(host.name, host.door.path, "DELETE", headers),
        404,
        ("invalid_request_error",),
    ),
    Case("no-json", lambda host, headers: _posted(host, headers, b"hello"), 400, ("invalid_request_error",)),
    Case(
        "too-large",
        lambda host, headers: _posted(host, headers, b'{"a": "' + b"a" * _TOO_LARGE + b'"}'),
        413,
        ("invalid_request_error",),
    ),
)
"""Refused by what checks requests to models; other applications have forms of their own."""


def _judge(site: Site, host: Host, case: Case) -> None:
    request = case.make(host, site.credentials(host))

    answer = site.send(request, TIMEOUTS.embedding)

    faults = [str(answer)] if answer.status != case.status else []
    faults += [fault] if (fault := refusal_fault(answer, *case.kinds)) else []
    if sent_to_login(host, request, answer):
        # Who shows no token at a host for people too is taken for a person.
        faults = []
    require_none(
        faults,
        where=f"{request.method} https://{host}{request.path}, {case.id}",
        want=f"{case.status} with error.message, and error.type {' or '.join(case.kinds)}",
        reproduce=site.curl(request),
    )


@pytest.mark.parametrize("case", GATES, ids=lambda case: case.id)
def test_refusal_says_why(site: Site, token_host: Host, case: Case) -> None:
    """Who is refused at the door of an API is told so in the form that its clients read."""
    _judge(site, token_host, case)


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_refusal_by_a_model_says_why(site: Site, model_host: Host, case: Case) -> None:
    """A request that is none of the models' protocol is refused in the form that its clients read."""
    _judge(site, model_host, case)
