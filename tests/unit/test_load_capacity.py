"""The capacity card: what is compared with what, and when that is not good enough."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError, UsageError, WaitTimeoutError
from loadtests.capacity import Edge, Pairs, Sides, compare, together
from loadtests.card import GOALS, kind, text
from loadtests.connection import Connection, Failure
from loadtests.measure import Answer
from loadtests.scripted_server import Script, running
from loadtests.workflows import capacity
from loadtests.workflows.benchmarks import fields
from loadtests.workflows.capacity import measure


def test_ratio_is_of_each_pair() -> None:
    """The median of the pairs' ratios counts, not the ratio of medians: a slow moment of the machine meets both."""
    pairs = Pairs(limit=[100.0, 50.0, 80.0], edge=[98.0, 50.0, 40.0])

    shown = pairs.shown()

    # 1.2533 / sqrt(3) of the standard deviation of 0.98, 1.0 and 0.5.
    assert shown.pop("error") == pytest.approx(0.7236 * 0.28308, rel=1e-3)
    assert (shown.pop("pairs"), shown.pop("unsteady")) == (3, 0)
    assert shown == {"limit": 80.0, "edge": 50.0, "ratio": 0.98, "least": 0.5, "most": 1.0}
    assert Pairs(limit=[2.0], edge=[1.0]).shown()["error"] == 0


def test_streams_count_once_all_are_written() -> None:
    """To the end of the last, and tokens as the server counts them."""
    one = Answer(0, 0, pieces=[1.0, 2.0, 3.0, 4.0], ended=4.0, tokens=8)
    other = Answer(0, 0, pieces=[2.0, 3.0, 4.0, 5.0], ended=5.0, tokens=4)

    # From 2 to 5 s: two pieces of two tokens, and three of one.
    assert together([one, other]) == pytest.approx((2 * 2 + 3 * 1) / 3.0)


def test_pieces_of_a_message_were_written_since_the_one_before() -> None:
    """Of four pieces that came four seconds after the one before, one is of the last second."""
    one = Answer(0, 0, pieces=[1.0, 5.0, 5.0, 5.0, 5.0], ended=5.0, tokens=5)
    other = Answer(0, 0, pieces=[4.0, 5.0], ended=5.0, tokens=2)

    assert together([one, other]) == pytest.approx((4 * 1 / 4 + 1) / 1.0)


def test_streams_are_measured_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of a token each 5 ms, which is 200 a second for one; a busy machine may be slower, none is faster."""
    with running(Script(first=0.01, gap=0.005)) as url:
        monkeypatch.setattr(Edge, "_connection", lambda *_: Connection(url))
        assert 250 <= Edge("example.org", lambda: "").streams() <= 4 / 0.005 * 1.02


class Rates:
    """A side of the comparison that has these rates, and says when it was asked."""

    def __init__(self, name: str, log: list[str], *rates: float) -> None:
        """`log` is shared by both sides; the rates come in turns."""
        self._name, self._log, self._rates = name, log, itertools.cycle(rates)

    def __getattr__(self, what: str) -> Callable[..., float]:
        """Return a measure of any name."""

        def work(*given: float) -> float:
            self._log.append(" ".join([self._name, what, *map(str, given)]))
            return next(self._rates)

        return work


def test_benchmarks_before_and_after() -> None:
    """A machine that gets slower favours neither; context as full on both sides, and both have worked once before."""
    log: list[str] = []
    told: list[str] = []

    # They answer to the names of every measure, which a type cannot say of them.
    edge: Any = Rates("edge", log, 130, *[1.0, 9.0] * 8)
    bench: Any = Rates("bench", log, *[10.2, 9.8, 10.2] * 4)

    found, missing = measure(edge, bench, 2, told.append)

    assert not missing
    assert {name: pairs.ratios for name, pairs in found.items()} == {name: [0.9, 0.9] for name in GOALS}
    pair = ["edge depth", "edge decode", "bench decode 130"]
    assert log[:8] == ["edge depth", "bench decode 130", *pair, *pair]
    assert log[9:12] == ["edge streams", "edge streams", "bench streams"]
    assert told[0] == "round 1 of 2, decode: 9.0 of 10.0 tokens/s"


def test_a_pair_on_a_machine_that_changed_its_speed_does_not_count() -> None:
    """Whether it did is the benchmarks' word alone; what came after such a pair begins the next."""
    told: list[str] = []
    bench, edge = itertools.chain([10.0, 10.6, 10.4, 7.0, 7.3]), itertools.cycle([5.0])

    pairs = compare("prefill", Sides(bench.__next__, edge.__next__, edge.__next__), 2, told.append)

    assert (pairs.limit, pairs.edge, pairs.unsteady) == ([10.5, pytest.approx(7.15)], [5.0, 5.0], 2)
    assert told == [
        "round 1 of 2, prefill: once more, the benchmark had 10.0 tokens/s before and 10.6 after",
        "round 1 of 2, prefill: 5.0 of 10.5 tokens/s",
        "round 2 of 2, prefill: once more, the benchmark had 10.4 tokens/s before and 7.0 after",
        "round 2 of 2, prefill: 5.0 of 7.2 tokens/s",
    ]


def test_half_of_the_pairs_are_enough() -> None:
    """A machine that is hardly ever steady ends the run, and what it was steady for counts."""
    halves = itertools.cycle([10.0, *[10.0, 15.0] * 3])
    never = itertools.cycle([10.0, 15.0])

    def sides(rates: Iterator[float]) -> Sides:
        return Sides(rates.__next__, lambda: 0.0, lambda: 9.0)

    assert compare("decode", sides(halves), 4, lambda _: None).edge == [9.0] * 3
    with pytest.raises(Failure, match=r"^the machine changed its speed by more than 5% during 16 of 16 pairs"):
        compare("decode", sides(never), 4, lambda _: None)


NODE = {"processors": 2, "processor": "AMD EPYC", "memory GiB": 23.9}
MODELS = {app: {"model": "gemma", "threads": 2, "memory MiB": 500.0} for app in ("llm", "embeddings")}
SWEEP = {
    "target": "llm",
    "unit": "tokens",
    "scenario": {"name": "chat"},
    "slo": {"limits": {"time to first token": 10}, "share": 0.95},
    "load": {"unit": "users"},
    "figures": {"largest load within the SLO": 2.0, "knee": 1.5},
    "steps": [{"load": 2.0, "throughput": 50.0, "waits": {"time to first token p50": 0.5}}],
    "notes": [],
}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Path]]:
    """Measure a card with this rate through the edge, where the benchmark has 10, and the sweep above."""
    monkeypatch.setattr(capacity, "CARDS", tmp_path / "capacity")
    monkeypatch.setattr(paths, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(capacity, "TARGETS", ("llm",))
    monkeypatch.setattr(capacity, "sweep", lambda *_: SWEEP)
    monkeypatch.setattr(capacity, "reached", lambda *_: (None, [], "", None))

    def run(edge: float, *, keep: bool = False, against: str = "") -> tuple[int, Path]:
        bench = Rates("bench", [], 10.0)
        bench.facts = lambda: (NODE, MODELS)  # type: ignore[attr-defined]
        monkeypatch.setattr(capacity, "Edge", lambda *_: Rates("edge", [], edge))
        monkeypatch.setattr(capacity, "Benchmarks", lambda *_: bench)
        return capacity.capacity("local", "1", against, keep=keep), tmp_path / "reports" / "capacity-local.json"

    return run


@pytest.mark.parametrize(("edge", "code"), [(9.9, 0), (5.0, 1)])
def test_card_is_written_and_judged(
    said: Callable[..., tuple[int, Path]], edge: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card is a file, a page and tables; the exit code tells whether it is good enough."""
    found, card = said(edge)

    measured = json.loads(card.read_text())
    shown = capsys.readouterr().out
    assert found == code
    assert measured["pairs"]["decode"]["ratio"] == pytest.approx(edge / 10)
    assert text(measured) in shown
    assert "2 users" in shown
    assert ("FAILED  decode" in shown) is bool(code)
    assert "<h2>What it carries</h2>" in card.with_suffix(".html").read_text()
    assert not capacity.CARDS.exists()


def test_a_kept_card_is_what_counts_from_then_on(
    said: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the same kind of node; another card can be named."""
    assert said(8.0, keep=True)[0] == 1

    stored = json.loads((capacity.CARDS / "local-2x-amd-epyc-24-gib.json").read_text())
    assert f"{kind(stored)}.json" == "local-2x-amd-epyc-24-gib.json"
    assert text(stored) in capacity.CARDS.with_suffix(".md").read_text()
    assert said(7.6)[0] == 0
    capsys.readouterr()
    assert said(7.4)[0] == 1
    assert "FAILED  decode: ratio 0.740 ± 0.000, the stored card says 0.800 ± 0.000" in capsys.readouterr().out
    better = {**stored, "pairs": {"decode": {**stored["pairs"]["decode"], "ratio": 0.99}}}
    (tmp_path / "better.json").write_text(json.dumps(better), "utf-8")
    assert said(8.0, against=str(tmp_path / "better.json"))[0] == 1


@pytest.mark.parametrize("broken", [["prefill"], [*GOALS]])
def test_one_measure_does_not_cost_the_others(
    said: Callable[..., tuple[int, Path]],
    broken: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was measured is a card, which says what is missing and is not kept; without any there is none."""

    def failing(name: str, sides: Sides, wanted: int, told: Callable[[str], None]) -> Pairs:
        if name in broken:
            cause = "HTTP 503"
            raise Failure(cause)
        return compare(name, sides, wanted, told)

    monkeypatch.setattr(capacity, "compare", failing)
    if len(broken) == len(GOALS):
        with pytest.raises(BetelgeuseError, match=r"^capacity: decode: not measured: HTTP 503; .*prefill"):
            said(9.9, keep=True)
        assert not (tmp_path / "reports" / "capacity-local.json").exists()
    else:
        code, card = said(9.9, keep=True)
        assert code == 1
        assert "FAILED  prefill: not measured: HTTP 503" in capsys.readouterr().out
        assert set(json.loads(card.read_text())["pairs"]) == {*GOALS} - {*broken}
    assert not capacity.CARDS.exists()


def test_fields_of_proc() -> None:
    """A name that comes once for each processor has that many values."""
    found = fields("processor\t: 0\nmodel name\t: AMD: EPYC\n\nprocessor\t: 1\nVmHWM:\t  1024 kB\n")

    assert found["processor"] == ["0", "1"]
    assert found["model name"] == ["AMD: EPYC"]
    assert found["VmHWM"] == ["1024 kB"]


@pytest.mark.parametrize("error", [Failure("HTTP 503", "full"), BetelgeuseError("no pod"), RuntimeError("no token")])
def test_what_cannot_be_measured_is_one_line(
    said: Callable[..., tuple[int, Path]], error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that does not answer is told in a line, and no card is written."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(capacity, "measure", fail)

    with pytest.raises(BetelgeuseError, match=f"{error}$"):
        said(9.9)
    assert not (tmp_path / "reports" / "capacity-local.json").exists()


def test_a_measurement_that_takes_too_long_ends(
    said: Callable[..., tuple[int, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it was at."""
    monkeypatch.setattr(capacity, "_ROUND_SECONDS", -1.0)

    with pytest.raises(WaitTimeoutError, match=r"did not end within -1 s: round 1 of 1, decode"):
        said(9.9)


def test_an_unreadable_card_is_refused_first(said: Callable[..., tuple[int, Path]], tmp_path: Path) -> None:
    """And not after two sweeps and all rounds."""
    (tmp_path / "cut.json").write_text("{", "utf-8")

    with pytest.raises(UsageError, match=r"cut\.json is no card"):
        said(9.9, against=str(tmp_path / "cut.json"))
