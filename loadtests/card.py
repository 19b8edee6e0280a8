"""The capacity card: what one node carries, and how close that is to the hardware. Pure: plain data in, text out."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from loadtests.page import table, whole
from loadtests.plan import UNITS

Card = Mapping[str, Any]

GOALS: Final[Mapping[str, float]] = {"decode": 0.97, "decode, 4 streams": 0.95, "prefill": 0.95, "embeddings": 0.85}
"""Least rate through the edge, as a share of the benchmark's."""
BENCHMARKS: Final[Mapping[str, str]] = {"llm": "decode", "embeddings": "embeddings"}
"""The benchmark that a target's throughput is compared with, from one card to the next."""

_WITHIN: Final = " within the SLO"
"""Ends the name of a target's largest load, which begins with its unit."""
_SLACK: Final = 0.05
"""So much may a ratio fall below a stored card's."""
_SURE: Final = 2.0
"""A ratio is below another when it is by so many standard errors more: the pairs of a shared machine spread."""
_LESS: Final = 0.85
"""So much of the stored load, and of its throughput for each unit of the benchmark's: neighbours of a sweep's steps."""


def carried(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sweep's report says of its target; without a load that held the SLO, only that."""
    figures, unit = result["figures"], result["unit"]
    held = figures["largest load within the SLO"]
    step = next((step for step in result["steps"] if step["load"] == held), None)
    waits = {} if step is None else step["waits"]
    return {
        "scenario": result["scenario"]["name"],
        "slo": result["slo"],
        f"{result['load']['unit']}{_WITHIN}": held,
        f"{unit} per second": None if step is None else step["throughput"],
        **waits,
        "knee": figures["knee"],
        "complete": not result["notes"],
    }


def _within(target: Mapping[str, Any]) -> tuple[str, float]:
    """Return the name and the value of a target's largest load."""
    return next((name, value) for name, value in target.items() if name.endswith(_WITHIN))


def _relative(card: Card, name: str) -> float | None:
    """Return a target's throughput for each token per second of its benchmark."""
    speed = card["targets"][name][f"{UNITS[name]} per second"]
    bench = card["pairs"].get(BENCHMARKS[name])
    return speed / bench["limit"] if speed and bench else None


def _shown(row: Mapping[str, float]) -> str:
    return f"{row['ratio']:.3f} ± {row['error']:.3f}"


def broken(card: Card, stored: Card | None) -> list[str]:
    """Return what is worse than the goals, or, with a stored card, than that card, by more than chance.

    Only ratios are compared: to the benchmark of the same minutes, and to the stored card's of its own.
    """
    pairs = card["pairs"]
    if stored is None:
        return [
            f"{name}: ratio {_shown(pairs[name])}, the goal is {goal}"
            for name, goal in GOALS.items()
            if name in pairs and pairs[name]["ratio"] + _SURE * pairs[name]["error"] < goal
        ]
    faults = [
        f"{name}: ratio {_shown(pairs[name])}, the stored card says {_shown(kept)}"
        for name, kept in stored["pairs"].items()
        if name in pairs
        and pairs[name]["ratio"] + _SURE * math.hypot(pairs[name]["error"], kept["error"]) < kept["ratio"] - _SLACK
    ]
    for name, target in stored["targets"].items():
        if name not in card["targets"]:
            continue
        what, kept = _within(target)
        now = _within(card["targets"][name])[1]
        if now < _LESS * kept:
            faults.append(f"{name}: {now:g} {what}, the stored card says {kept:g}")
        before, after = _relative(stored, name), _relative(card, name)
        if before and (after or 0) < _LESS * before:
            faults.append(f"{name}: {after or 0:.3f} {UNITS[name]} for each token of the benchmark, was {before:.3f}")
    return faults


def _pairs(card: Card) -> tuple[Sequence[str], list[list[str]]]:
    heads = ["measure", "benchmark, tokens/s", "through the edge", "ratio, ± error", "spread", "pairs", "goal"]
    rows = [
        [
            *(name, f"{row['limit']:.1f}", f"{row['edge']:.1f}", _shown(row)),
            *(f"{row['least']:.3f} to {row['most']:.3f}", f"{row['pairs']} of {row['pairs'] + row['unsteady']}"),
            f"{GOALS[name]:g}",
        ]
        for name, row in card["pairs"].items()
    ]
    return heads, rows


def _targets(card: Card) -> tuple[Sequence[str], list[list[str]]]:
    rows = []
    for name, target in card["targets"].items():
        facts = card["models"][name]
        slo = target["slo"]
        limits = ", ".join(f"{limit} ≤ {most:g} s" for limit, most in slo["limits"].items())
        what, held = _within(target)
        speed = target[f"{UNITS[name]} per second"]
        first = " / ".join(_seconds(target, f"time to first token {each}") for each in ("p50", "p95"))
        last = " / ".join(_seconds(target, f"end to end {each}") for each in ("p50", "p95"))
        rows.append(
            [
                f"{name}: {facts['model']}",
                f"{target['scenario']} ({limits} for {slo['share']:.0%})",
                f"{held:g} {what.removesuffix(_WITHIN)}",
                f"{speed:.1f} {UNITS[name]}/s" if speed else "none",
                first,
                last,
                f"{target['knee']:.2g}" if target["knee"] else "none",
                f"{facts['memory MiB']:.0f} MiB",
            ]
        )
    heads = ["model", "scenario and SLO", "largest load", "throughput at it", "first token, s, p50 / p95"]
    return [*heads, "end to end, s, p50 / p95", "knee", "memory at most"], rows


def _seconds(target: Mapping[str, Any], name: str) -> str:
    found = target.get(name)
    return "-" if found is None else f"{found:.2f}"


def kind(card: Card) -> str:
    """Return the name of the kind of node that a card is about: cards of one kind are compared."""
    node = card["node"]
    processor = re.sub(r"[^a-z0-9]+", "-", node["processor"].lower()).strip("-")
    return f"{card['environment']}-{node['processors']}x-{processor}-{node['memory GiB']:.0f}-gib"


def title(card: Card) -> str:
    """Return what a card is about, in words."""
    node = card["node"]
    return (
        f"{card['environment']}: {node['processors']} processors ({node['processor']}), {node['memory GiB']:.0f} GiB, "
        f"{card['made']}"
    )


def _notes(card: Card) -> list[str]:
    notes = []
    if any(row["unsteady"] for row in card["pairs"].values()):
        notes.append("Pairs during which the machine changed its speed (benchmarks before and after) do not count.")
    incomplete = [name for name, target in card["targets"].items() if not target["complete"]]
    return notes + [f"The sweep of {name} had no time to bracket both answers." for name in incomplete]


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def text(card: Card) -> str:
    """Return a card's tables as Markdown."""
    tables = [_markdown(*_pairs(card))]
    if card["targets"]:
        tables.append(_markdown(*_targets(card)))
    return "\n\n".join([*tables, *_notes(card)])


def document(cards: Iterable[Card]) -> str:
    """Return docs/capacity.md: every stored card."""
    parts = [
        "# Capacity",
        "",
        "How many users a node carries, and how close the platform comes to the hardware: one card for each kind of",
        "node, measured by `invoke capacity --keep`. A later `invoke capacity` on such a node is compared with its",
        "card, as ratios, and ends with exit code 1 when it is worse. Words: [load tests](../loadtests/README.md);",
        "what was tuned: [performance](performance.md).",
    ]
    for card in sorted(cards, key=title):
        parts += ["", f"## {title(card)}", "", text(card)]
    return "\n".join(parts) + "\n"


def page(card: Card, faults: Sequence[str]) -> str:
    """Return a card as one HTML page."""
    verdict = "".join(f"<li>{escape(fault)}</li>" for fault in faults)
    head = f'<ul class="broken">{verdict}</ul>' if faults else '<p class="verdict holds">As good as it should be.</p>'
    parts = [
        head,
        f"<h2>Through the edge, and the hardware's limit</h2>{table(*_pairs(card))}",
        f"<h2>What it carries</h2>{table(*_targets(card), numbers=False)}" if card["targets"] else "",
        *(f"<p>{escape(note)}</p>" for note in _notes(card)),
    ]
    return whole("Capacity", title(card), parts)
