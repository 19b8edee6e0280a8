"""The language model away and coming back: callers are told which of the two it is, and never that it is full."""

import time
from collections import Counter
from typing import Final

import pytest

from betelgeuse.tree import Host, Ref
from conformance.drills.pods import scale
from conformance.probes import openai
from conformance.probes.http import Answer, Request
from conformance.site import Site
from conformance.verdict import require_none

WORKLOAD: Final = Ref("Deployment", "ai", "llm", "apps/v1")
_AWAY: Final = 10.0
"""Seconds without a model server, from when it is told to go."""
_BACK: Final = 300.0
"""Its start on a busy machine of two cores."""
_PACE: Final = 0.25
_PATIENCE: Final = 30.0
_GONE: Final = ("unavailable", "loading")


def _fault(answer: Answer) -> str:
    """Return what is wrong with an answer while the model goes and comes; empty for 200 and for a proper refusal."""
    if answer.status == 200:  # noqa: PLR2004 - as asked
        return ""
    if answer.status != 503 or not answer.header("retry-after"):  # noqa: PLR2004 - as asked
        return f"{answer}, Retry-After {answer.header('retry-after')}"
    return openai.refusal_fault(answer, *_GONE)


@pytest.mark.feature("llm")
def test_who_is_away_is_not_full(site: Site, llm: Host) -> None:
    """While there is no model server, and while it loads, requests get 503 that says so; then they are answered."""
    replicas = int((site.cluster.get(WORKLOAD) or {}).get("spec", {}).get("replicas", 1)) or 1
    payload = {"messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 2}
    request: Request = openai.json_request(llm.name, "/v1/chat/completions", payload, site.credentials(llm))
    faults: list[str] = []
    seen: Counter[str] = Counter()

    def ask() -> Answer:
        answer = site.send(request, _PATIENCE)
        seen[str(openai.error(answer).get("type") or answer.status)] += 1
        faults.extend(filter(None, [_fault(answer)]))
        time.sleep(_PACE)
        return answer

    begin = time.monotonic()
    scale(site, WORKLOAD, 0)
    try:
        while time.monotonic() < begin + _AWAY:
            ask()
    finally:
        scale(site, WORKLOAD, replicas)
    while (answer := ask()).status != 200 and time.monotonic() < begin + _AWAY + _BACK:  # noqa: PLR2004 - as asked
        pass
    site.facts["while the model was away"] = ", ".join(f"{kind}: {count}" for kind, count in sorted(seen.items()))
    faults += [] if answer.status == 200 else [f"after {_BACK:.0f} s still {answer}"]  # noqa: PLR2004 - as asked
    faults += [] if seen["unavailable"] else ["nobody was told that it is away"]
    require_none(
        faults,
        where=f"https://{llm}/v1/chat/completions, {WORKLOAD} scaled to none and back",
        want=f"503 with Retry-After and error.type {' or '.join(_GONE)}, then 200",
        reproduce=site.curl(request),
    )
