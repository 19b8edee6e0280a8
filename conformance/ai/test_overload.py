"""More than the model can take: who is too many is told at once, who is in is served in time, who leaves makes room."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from betelgeuse.tree import Host
from conformance.parallel import gather
from conformance.probes import openai
from conformance.probes.http import Answer, Header, Request
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none
from loadtests import scenario
from loadtests.measure import FIRST_TOKEN, PER_TOKEN

PATH: Final = "/v1/chat/completions"
pytestmark = pytest.mark.feature("llm")

_CROWD: Final = 5
"""So many times what is admitted, and some ten times what is written at the same time."""
_MOST: Final = 200
_LONG: Final = 1024
"""Tokens of an answer that nobody waits for: written to its end it would keep its place for many seconds."""
_STAY: Final = 1.0
"""Seconds before a client hangs up."""
_CONVERSATION: Final = (("X-Conversation-Id", "11111111-2222-3333-4444-555555555555"),)
"""What tells llama-server to write an answer to its end for a reader who may come back; the gateway drops it."""
_KINDS: Final[Sequence[tuple[str, bool, tuple[Header, ...]]]] = (
    ("streams", True, ()),
    ("whole-answers", False, ()),
    ("streams-of-a-conversation", True, _CONVERSATION),
)
"""What the clients that hang up had asked for: to whom nothing is sent before the end, nothing fails to be sent."""
_SLO: Final = scenario.load("llm").slo
"""What the load tests hold the model to."""


def _places(site: Site, host: Host) -> int:
    """Return how many requests at a time the tree lets through to a model."""
    routes = {(ref.namespace, ref.name) for ref in host.routes}
    for policy in site.tree.kind("BackendTrafficPolicy"):
        breaker = policy["spec"].get("circuitBreaker", {})
        targets = {(policy["metadata"]["namespace"], ref["name"]) for ref in policy["spec"].get("targetRefs", ())}
        if targets & routes and "maxParallelRequests" in breaker:
            return int(breaker["maxParallelRequests"])
    return 0


def _ask(  # noqa: PLR0913 - each is one property of a request
    site: Site, host: Host, question: str, tokens: int, extra: tuple[Header, ...] = (), *, stream: bool = True
) -> Request:
    payload = {"messages": [{"role": "user", "content": question}], "max_tokens": tokens, "stream": stream}
    return openai.json_request(host.name, PATH, payload, (*site.credentials(host), *extra))


def _durations(answer: Answer) -> dict[str, float]:
    """Return what the SLO speaks of, in seconds; without a token the first comes never."""
    at = [event.at for event in openai.events(answer) if event.data] or [math.inf]
    return {FIRST_TOKEN: at[0], PER_TOKEN: (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else 0.0}


def test_overload_is_told(site: Site, llm: Host) -> None:
    """A crowd gets answers within the SLO or, at once, 429 or 503 with Retry-After; afterwards all is as before."""
    places = _places(site, llm)
    require(
        places,
        where=f"the BackendTrafficPolicy of {llm}",
        want="circuitBreaker.maxParallelRequests: without it requests pile up before the model without end",
        got="none",
        reproduce="invoke render | grep -A3 circuitBreaker",
    )
    requests = [_ask(site, llm, f"Tell me about the number {at}.", 24) for at in range(min(_CROWD * places, _MOST))]

    answers = gather(lambda request: site.send(request, TIMEOUTS.completion), requests, workers=len(requests))

    served = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status in {429, 503}]
    faults = [str(answer) for answer in answers if answer not in served + refused]
    faults += [fault for each in refused if (fault := openai.refusal_fault(each, "rate_limit", "overloaded"))]
    faults += [f"{answer} without Retry-After" for answer in refused if not answer.header("retry-after")]
    faults += [f"{answer} after {answer.seconds:.1f} s" for answer in refused if answer.seconds > TIMEOUTS.connect]
    faults += [] if served else ["nobody was served"]
    faults += [] if refused else ["nobody was refused"]
    waits = [_durations(answer) for answer in served]
    late = [wait[FIRST_TOKEN] for wait in waits if not _SLO.holds(wait)]
    if len(late) > (1 - _SLO.share) * len(served):
        faults += [f"{len(late)} of {len(served)} are served beyond the SLO: first tokens after {max(late):.1f} s"]
    site.facts["a crowd at the llm"] = f"{len(requests)} at once: {len(served)} served, {len(refused)} refused"
    require_none(
        faults,
        where=f"https://{llm}{PATH}, {len(requests)} requests at once",
        want=f"200 within {dict(_SLO.limits)}, or 429 or 503 with Retry-After within {TIMEOUTS.connect:.0f} s",
        reproduce=site.curl(requests[0]),
    )
    after = site.send(requests[0], TIMEOUTS.completion)
    require(
        after.status == 200,
        where=f"https://{llm}{PATH}, after the crowd",
        want="200",
        got=after,
        reproduce=site.curl(requests[0]),
    )


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind[0])
def test_who_leaves_makes_room(site: Site, llm: Host, kind: tuple[str, bool, tuple[Header, ...]]) -> None:
    """When all places but one's are taken by clients that hang up, the next one is served two seconds later."""
    short = _ask(site, llm, "Say a word about the sky.", 4)
    usual = _durations(alone := site.send(short, TIMEOUTS.completion))[FIRST_TOKEN]
    require(
        usual < math.inf,
        where=f"https://{llm}{PATH}",
        want="a streamed answer",
        got=alone,
        reproduce=site.curl(short),
    )
    what, stream, extra = kind
    longest = usual * 2 + TIMEOUTS.freed
    asked = [f"Count from {at} to ten thousand." for at in range(_places(site, llm) or 4)]
    staying, *leaving = [
        _ask(site, llm, question, _LONG, extra, stream=stream or not at) for at, question in enumerate(asked)
    ]

    with ThreadPoolExecutor(1) as pool:
        # Its tokens are news all the time: a server that waits for a moment without any never looks.
        stayed = pool.submit(site.leave, staying, _STAY + longest)
        read = gather(lambda request: site.leave(request, _STAY), leaving, workers=len(leaving))
        answer = site.send(short, TIMEOUTS.completion)

    first = _durations(answer)[FIRST_TOKEN]
    require(
        stayed.result() and first <= longest,
        where=f"https://{llm}{PATH}, after {len(leaving)} clients hung up ({what}, {sum(read)} bytes of answers read)",
        want=f"the first token within {TIMEOUTS.freed:.0f} s and twice the {usual:.2f} s it takes alone",
        got=f"{first:.2f} s, and {stayed.result()} bytes for who stayed" if first < math.inf else answer,
        reproduce=f"timeout 1 {site.curl(leaving[0])} ; {site.curl(short)}",
    )
