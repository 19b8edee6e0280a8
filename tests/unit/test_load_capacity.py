"""The capacity card: what is compared with what, and when that is not good enough."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from betelgeuse.errors import BetelgeuseError
from loadtests import capacity
from loadtests.capacity import GOALS, Pairs, both_writing, broken, measure, table
from loadtests.connection import Failure
from loadtests.measure import Answer


def test_ratio_is_of_each_round() -> None:
    """The median of the rounds' ratios counts, not the ratio of medians: a slow moment of the machine meets both."""
    pairs = Pairs(limit=[100.0, 50.0, 80.0], edge=[98.0, 50.0, 40.0])

    assert pairs.shown() == {"limit": 80.0, "edge": 50.0, "ratio": 0.98, "least": 0.5, "most": 1.0}


def card(**ratios: float) -> dict[str, dict[str, float]]:
    """Return a card with these ratios."""
    return {
        name: {"limit": 1.0, "edge": each, "ratio": each, "least": each, "most": each} for name, each in ratios.items()
    }


@pytest.mark.parametrize(
    ("now", "stored", "faults"),
    [
        (card(decode=0.98, prefill=0.95), None, []),
        (card(decode=0.96), None, ["decode: ratio 0.960, the goal is 0.97"]),
        (card(decode=0.90), card(decode=0.94), []),
        (card(decode=0.88), card(decode=0.94), ["decode: ratio 0.880, the stored card says 0.940"]),
        (card(decode=0.5), card(prefill=0.9), []),
    ],
)
def test_verdict(now: dict[str, Any], stored: dict[str, Any] | None, faults: list[str]) -> None:
    """Without a card of before the goals count, else that card with the spread of a shared machine."""
    assert broken(now, stored) == faults


def test_streams_count_while_all_are_written() -> None:
    """Only the time in which every stream runs counts, and tokens as the server counts them."""
    one = Answer(0, 0, pieces=[1.0, 2.0, 3.0, 4.0], ended=4.0, tokens=8)
    other = Answer(0, 0, pieces=[2.0, 3.0, 4.0, 5.0], ended=5.0, tokens=4)

    # From 2 to 4 s: two pieces of two tokens, and two of one.
    assert both_writing([one, other]) == pytest.approx((2 * 2 + 2 * 1) / 2.0)


class Rates:
    """A side of the comparison that always has the same rates, and says when it was asked."""

    def __init__(self, name: str, log: list[str], rate: float) -> None:
        """`log` is shared by both sides."""
        self._name, self._log, self._rate = name, log, rate

    def __getattr__(self, what: str) -> Callable[[], float]:
        """Return a measure of any name."""

        def work() -> float:
            self._log.append(f"{self._name} {what}")
            return self._rate

        return work


def test_sides_take_turns() -> None:
    """Each round pairs every measure, and the order changes: warming up must favour neither side."""
    log: list[str] = []
    told: list[str] = []

    found = measure(Rates("edge", log, 9.0), Rates("bench", log, 10.0), 2, told.append)  # type: ignore[arg-type]

    assert {name: pairs.ratios for name, pairs in found.items()} == {name: [0.9, 0.9] for name in GOALS}
    assert log[:2] == ["bench decode", "edge decode"]
    assert log[len(log) // 2 :][:2] == ["edge decode", "bench decode"]
    assert told[0] == "round 1 of 2, decode: 9.0 of 10.0 tokens/s"


@pytest.mark.parametrize(("edge", "code"), [(9.9, 0), (5.0, 1)])
def test_card_is_written_and_judged(
    edge: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card is a file and a table; the exit code tells whether it is good enough."""
    log: list[str] = []
    monkeypatch.setattr(capacity, "Edge", lambda *_: Rates("edge", log, edge))
    monkeypatch.setattr(capacity, "Limit", lambda *_: Rates("bench", log, 10.0))
    out = tmp_path / "card.json"

    assert capacity.main(["--rounds=1", f"--out={out}"]) == code

    kept = json.loads(out.read_text())
    shown = capsys.readouterr().out
    assert kept["decode"]["ratio"] == pytest.approx(edge / 10)
    assert table(kept) in shown
    assert ("FAILED  decode" in shown) is bool(code)


@pytest.mark.parametrize("error", [Failure("HTTP 503", "full"), BetelgeuseError("no pod"), RuntimeError("no token")])
def test_what_cannot_be_measured_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cluster that does not answer is told in a line with exit code 2, and no card is written."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(capacity, "measure", fail)

    assert capacity.main(["--rounds=1", f"--out={tmp_path / 'card.json'}"]) == 2
    assert capsys.readouterr().err == f"capacity: {error}\n"
    assert not (tmp_path / "card.json").exists()
