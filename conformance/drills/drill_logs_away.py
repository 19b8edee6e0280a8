"""The log store away for a minute while somebody writes: every line is there afterwards, once."""

import json
import time
import uuid
from typing import Final

import pytest

from betelgeuse.tree import Ref
from conformance import canary, telemetry
from conformance.drills.pods import scale, strike
from conformance.inside import Inside
from conformance.site import Site
from conformance.verdict import poll, require

pytestmark = [pytest.mark.feature("observability"), pytest.mark.feature("logs")]

_STORE: Final = Ref("StatefulSet", "observability", "logs", "apps/v1")
_POD: Final = Ref("Pod", "observability", "logs-0", "v1")
_AWAY: Final = 60.0
_BEFORE: Final = 10.0
_RATE: Final = 10
"""Lines per second."""
_COUNT: Final = 1200
"""Of two minutes: before, while it is away, and after."""
_BACK: Final = 240.0
_WRITE: Final = """
import json, signal, sys, time
for number in range(int(sys.argv[2])):
    print(json.dumps({"message": f"{sys.argv[1]} {number}"}), flush=True)
    time.sleep(float(sys.argv[3]))
signal.pause()
"""


def _numbers(site: Site, pod: canary.Pod) -> list[int]:
    """Return the numbers of the lines that the store has; none while it does not answer."""
    where = f'_time:1h "k8s.namespace.name":="{pod.place.namespace}" "k8s.pod.name":="{pod.place.name}"'
    answer = site.send(
        telemetry.request(site, telemetry.LOGS, "/select/logsql/query", {"query": where, "limit": "9999"})
    )
    if answer.status != 200:  # noqa: PLR2004 - HTTP's
        return []
    texts = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
    words = [(text.get("_msg") or text.get("message", "")).split() for text in texts]
    return sorted(int(number.strip('"}')) for *_, number in words if number.strip('"}').isdigit())


def test_nothing_is_lost_while_the_store_is_away(site: Site, inside: Inside) -> None:
    """Lines written before, while and after the store was away for a minute are all there, each once."""
    mark = uuid.uuid4().hex
    command = ["/usr/bin/python3", "-c", _WRITE, mark, str(_COUNT), str(1 / _RATE)]
    pod = canary.start(site, inside, "steady", command, mark)
    time.sleep(_BEFORE)
    scale(site, _STORE, 0)
    # As a power cut would end it: what it acknowledged must be on the disk by then.
    strike(site, _POD)
    try:
        time.sleep(_AWAY)
    finally:
        scale(site, _STORE, 1)

    seen, seconds = poll(lambda: _numbers(site, pod), lambda seen: len(set(seen)) >= _COUNT, _COUNT / _RATE + _BACK)

    lost = sorted(set(range(_COUNT)) - set(seen))
    told = f"{len(set(seen))} of {_COUNT} lines, {len(seen) - len(set(seen))} twice, {seconds:.0f} s after its return"
    site.facts["log store away for a minute"] = told
    require(
        not lost and len(seen) == _COUNT,
        where=f"{_STORE}, killed and scaled to none for {_AWAY:.0f} s",
        want=f"{_COUNT} lines, each once",
        got=f"{told}; lost {lost[:20]}",
        reproduce=telemetry.log_query(site, f'"k8s.pod.name":="{pod.place.name}"'),
    )
