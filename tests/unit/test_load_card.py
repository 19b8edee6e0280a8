"""The capacity card: what counts as worse, and that the document shows the cards."""

import json
from typing import Any

import pytest

from betelgeuse import paths
from loadtests.card import broken, carried, document, page, text

SLO = {"limits": {"time to first token": 10}, "share": 0.95}


def card(users: float = 8, speed: float | None = 40.0, error: float = 0.0, **ratios: float) -> dict[str, Any]:
    """Return a card with these ratios."""
    rest = {"error": error, "pairs": 5, "unsteady": 0}
    pairs = {
        name: {"limit": 50.0, "edge": 50 * each, "ratio": each, "least": each, "most": each, **rest}
        for name, each in (ratios or {"decode": 0.97}).items()
    }
    waits = {"time to first token p50": 0.5, "time to first token p95": 1.0}
    llm = {"scenario": "chat", "slo": SLO, "users within the SLO": users, "tokens per second": speed, **waits}
    return {
        "made": "2026-11-24",
        "environment": "local",
        "node": {"processors": 2, "processor": "<EPYC>", "memory GiB": 24.0},
        "models": {"llm": {"model": "gemma3 270M", "threads": 2, "memory MiB": 700.0}},
        "pairs": pairs,
        "targets": {"llm": {**llm, "knee": 1.5, "complete": True}},
    }


@pytest.mark.parametrize(
    ("now", "stored", "faults"),
    [
        (card(decode=0.98, prefill=0.95), None, []),
        (card(decode=0.96), None, ["decode: ratio 0.960 ± 0.000, the goal is 0.97"]),
        (card(decode=0.96, error=0.004), None, ["decode: ratio 0.960 ± 0.004, the goal is 0.97"]),
        (card(decode=0.96, error=0.006), None, []),
        (card(decode=0.90), card(decode=0.94), []),
        (card(decode=0.88), card(decode=0.94), ["decode: ratio 0.880 ± 0.000, the stored card says 0.940 ± 0.000"]),
        (
            card(decode=0.85, error=0.012),
            card(decode=0.94, error=0.012),
            ["decode: ratio 0.850 ± 0.012, the stored card says 0.940 ± 0.012"],
        ),
        (card(decode=0.85, error=0.012), card(decode=0.94, error=0.017), []),
        (card(decode=0.5), card(prefill=0.9), []),
        (card(users=7), card(users=8), []),
        (card(users=6), card(users=8), ["llm: 6 users within the SLO, the stored card says 8"]),
        (card(speed=35), card(speed=40), []),
        (card(speed=30), card(speed=40), ["llm: 0.600 tokens for each token of the benchmark, was 0.800"]),
        (
            card(users=0, speed=None),
            card(),
            [
                "llm: 0 users within the SLO, the stored card says 8",
                "llm: 0.000 tokens for each token of the benchmark, was 0.800",
            ],
        ),
        (card(), {**card(), "targets": {}}, []),
        ({**card(), "targets": {}}, card(), []),
    ],
)
def test_verdict(now: dict[str, Any], stored: dict[str, Any] | None, faults: list[str]) -> None:
    """Without a card of before the goals count, else that card with the spread of a shared machine."""
    assert broken(now, stored) == faults


def swept(held: float, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a report of a sweep."""
    steps = [{"load": load, "throughput": 10 * load, "waits": {"end to end p95": load}} for load in (1.0, 2.0)]
    return {
        "unit": "texts",
        "scenario": {"name": "batch"},
        "slo": SLO,
        "load": {"unit": "users"},
        "figures": {"largest load within the SLO": held, "knee": 1.2},
        "steps": steps,
        "notes": list(notes),
    }


def test_what_a_sweep_carried() -> None:
    """The step of the largest load that held the SLO; where none did, no figure is made up."""
    found = carried(swept(2.0))

    assert (found["users within the SLO"], found["texts per second"], found["end to end p95"]) == (2.0, 20.0, 2.0)
    assert found["complete"]
    none = carried(swept(0.0, ("time ran out",)))
    assert (none["users within the SLO"], none["texts per second"], none["complete"]) == (0.0, None, False)
    assert "end to end p95" not in none


def test_pages_show_the_card_and_escape_it() -> None:
    """Faults first, and no word of a node becomes markup."""
    shown = page(card(), ["decode: ratio <b>"])

    assert "&lt;EPYC&gt;" in shown
    assert "decode: ratio &lt;b&gt;" in shown
    assert "0.50 / 1.00" in shown
    assert "not observed" not in shown
    cut = card()
    cut["targets"]["llm"]["complete"] = False
    assert "had no time to bracket" in text(cut)


def test_pairs_that_do_not_count_are_shown() -> None:
    """How many, in the table, and why, below it."""
    noisy = card()
    noisy["pairs"]["decode"]["unsteady"] = 3

    assert "| 5 of 8 |" in text(noisy)
    assert "changed its speed" in text(noisy)
    assert "changed its speed" not in text(card())


def test_document_is_of_the_kept_cards() -> None:
    """docs/capacity.md is what `invoke capacity --keep` writes of docs/capacity/."""
    folder = paths.ROOT / "docs" / "capacity"
    cards = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]

    assert cards
    assert (paths.ROOT / "docs" / "capacity.md").read_text("utf-8") == document(cards)
