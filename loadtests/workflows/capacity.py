"""How close an environment's models come to the hardware, as a card that later runs are compared with."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from betelgeuse import paths, settings
from betelgeuse.errors import BetelgeuseError, UsageError, WaitTimeoutError
from betelgeuse.progress import out, say, step
from betelgeuse.settings import Settings
from loadtests import card, report
from loadtests.capacity import Edge, Pairs, Sides, compare
from loadtests.connection import Failure
from loadtests.plan import TARGETS
from loadtests.tokens import Tokens
from loadtests.workflows.benchmarks import Benchmarks
from loadtests.workflows.loadtest import number, sweep
from loadtests.workflows.reach import address, fresh_log, reached, token_command

_ROUND_SECONDS: Final = 900.0
"""Seconds at most for a round: a pair of each of four measures, tried four times."""
_SWEEP: Final = "1200"

CARDS: Final = paths.ROOT / "docs" / "capacity"
"""A card for each kind of node that was measured; docs/capacity.md shows them."""


def measure(
    edge: Edge, limit: Benchmarks, wanted: int, told: Callable[[str], None]
) -> tuple[dict[str, Pairs], list[str]]:
    """Return so many pairs of each measure, and why there are none of the others; Failure if there are none at all."""
    steps = {
        # llama-bench reads the tokens before the answer and writes one, and begins.
        "decode": Sides(partial(limit.decode, edge.depth()), edge.depth, edge.decode),
        "decode, 4 streams": Sides(limit.streams, edge.streams, edge.streams),
        "prefill": Sides(limit.prefill, edge.prefill, edge.prefill),
        "embeddings": Sides(limit.embeddings, edge.embeddings, edge.embeddings),
    }
    found, missing = {}, []
    for name, sides in steps.items():
        try:
            found[name] = compare(name, sides, wanted, told)
        except Failure as error:
            # An hour's other measures are not lost by it.
            missing.append(f"{name}: not measured: {error}")
    if not found:
        raise Failure("; ".join(missing))
    return found, missing


def _json(path: Path) -> dict[str, Any]:
    """Return a card; UsageError where the file holds none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path} is no card: {error}"
        raise UsageError(message) from None
    return found


def _write(path: Path, measured: card.Card) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")


class _Words:
    """What a measurement says on its way: kept in a file, the last shown; ends one that takes too long."""

    def __init__(self, log: Path, seconds: float) -> None:
        self._log, self._seconds, self._begin = log, seconds, time.monotonic()
        self.last = ""

    def __call__(self, words: str) -> None:
        self.last = words
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{words}\n")
        if time.monotonic() - self._begin > self._seconds:
            message = f"the measurement did not end within {self._seconds:.0f} s: {words}"
            raise WaitTimeoutError(message)


def _measured(chosen: Settings, rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Return the parts of a card that are measured, and what is missing; BetelgeuseError when nothing could be."""
    host = f"llm.{chosen.domain}"
    _, _, client, roots = reached(chosen, host)
    token = Tokens(token_command(chosen, client)).get
    edge = Edge(chosen.domain, token, str(roots or ""), address(chosen))
    limit = Benchmarks(chosen)
    words = _Words(fresh_log(f"capacity-{chosen.env}"), rounds * _ROUND_SECONDS)
    try:
        with step(f"capacity of {chosen.env}, {rounds} rounds", lambda: words.last):
            found, missing = measure(edge, limit, rounds, words)
            node, models = limit.facts()
    except (Failure, OSError, ValueError, KeyError, RuntimeError) as error:
        message = f"capacity: {error}"
        raise BetelgeuseError(message) from None
    return {"node": node, "models": models, "pairs": {name: pairs.shown() for name, pairs in found.items()}}, missing


def _judge(
    measured: card.Card, missing: list[str], kept: Mapping[str, card.Card], against: card.Card | None, *, keep: bool
) -> int:
    """Write a card, print and judge it; 0 when it is good enough, else 1. `missing`: why there is no more in it."""
    name = card.kind(measured)
    faults = missing + card.broken(measured, against or kept.get(name))
    path = paths.REPORTS / f"capacity-{measured['environment']}.json"
    _write(path, measured)
    path.with_suffix(".html").write_text(card.page(measured, faults), "utf-8")
    out("\n".join([card.title(measured), card.text(measured), *(f"FAILED  {fault}" for fault in faults)]))
    if keep and missing:
        out("not kept: later runs would have nothing to compare these measures with")
    elif keep:
        _write(CARDS / f"{name}.json", measured)
        CARDS.with_suffix(".md").write_text(card.document({**kept, name: measured}.values()), "utf-8")
    say(f"card: {paths.shown(path)}, {paths.shown(path.with_suffix('.html'))}")
    return 1 if faults else 0


def capacity(env: str, rounds: str, against: str = "", sweep_seconds: str = "", *, keep: bool = False) -> int:
    """Measure a card and print it; 0 when it is good enough, else 1.

    `against`: a card of before, compared with instead of the one kept for such a node. `sweep_seconds`: the longest
    that each of the two sweeps may take, 0 for none. `keep`: keep the card, and show it in docs/capacity.md. Nothing
    measured is a BetelgeuseError.
    """
    chosen = settings.load(env)
    if not rounds.isdecimal() or not int(rounds):
        message = f"--rounds: expected a whole number from 1, got {rounds!r}"
        raise UsageError(message)
    seconds = number("--sweep-seconds", sweep_seconds or _SWEEP)
    if against and not Path(against).is_file():
        message = f"--against: there is no card {against}"
        raise UsageError(message)
    # Now, and not after two sweeps and all rounds.
    before = _json(Path(against)) if against else None
    kept = {path.stem: _json(path) for path in CARDS.glob("*.json")}
    sweeps = [sweep(chosen, target, seconds) for target in TARGETS] if seconds else []
    found, missing = _measured(chosen, int(rounds))
    # A model says itself what it is called.
    measured = report.finite(
        {
            "made": time.strftime("%Y-%m-%d", time.gmtime()),
            "environment": env,
            **found,
            "targets": {result["target"]: card.carried(result) for result in sweeps},
        }
    )
    return _judge(measured, missing, kept, before, keep=keep)
