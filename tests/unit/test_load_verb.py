"""`invoke loadtest`: what Locust is told, and what is refused before anything runs."""

import json
import sys
from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError, UsageError
from loadtests import progress, report
from loadtests.plan import PROFILES, TARGETS, order
from loadtests.workflows import loadtest as verb
from loadtests.workflows.capacity import capacity
from loadtests.workflows.loadtest import arguments, carry_out, loadtest
from tests.unit.test_load_report import made

SMOKE = order("llm", "smoke")


def test_locust_is_told_what_was_asked_for() -> None:
    """And no more: the rest is the profile's."""
    assert arguments("llm", "steady", load=3, seconds=60, scenario="rag") == [
        *("-f", "loadtests/llm.py", "--headless", "--only-summary", "--progress=json"),
        *("--profile-name=steady", "--scenario=rag", "--load=3", "--seconds=60"),
    ]
    assert arguments("embeddings", "smoke")[-1] == "--profile-name=smoke"
    assert "--scenario=/a/b.json" in arguments("llm", "smoke", scenario="/a/b.json")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_target_and_profile_is_known(target: str, profile: str) -> None:
    """To the verb as to Locust."""
    assert Path(arguments(target, profile)[1]).name == f"{target}.py"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"target": "lm"}, "no target 'lm'; did you mean 'llm'?; there are llm, embeddings"),
        ({"profile": "smok"}, "no profile 'smok'; did you mean 'smoke'?"),
        ({"scenario": "rga"}, "no scenario 'rga'; did you mean 'rag'?"),
        ({"load": "many"}, "--load: expected a number from 0.01 to 1,000,000, got 'many'"),
        ({"load": "0"}, "--load: expected a number from 0.01 to 1,000,000, got '0'"),
        ({"seconds": "nan"}, "--seconds: expected a number from 1 to 1,000,000, got 'nan'"),
        ({"seconds": "-1"}, "--seconds: expected a number from 1"),
        ({"seconds": "0"}, "--seconds: expected a number from 1"),
        ({"scenario": "absent.json"}, f"--scenario: there is no file {Path('absent.json').absolute()}"),
        ({"scenario": "rag", "target": "embeddings"}, "scenario rag is of kind chat, the target embeddings needs"),
        ({"env": "locla"}, ""),
    ],
)
def test_what_cannot_be_is_refused_first(said: dict[str, str], words: str) -> None:
    """Before a tree is rendered or a cluster asked."""
    with pytest.raises(UsageError) as caught:
        loadtest(**{"env": "local", "target": "llm", "profile": "smoke", **said})

    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("rounds", ["0", "-1", "0.5", "many", ""])
def test_rounds_are_whole(rounds: str) -> None:
    """A capacity of no rounds is none."""
    with pytest.raises(UsageError, match="--rounds: expected a whole number from 1, got"):
        capacity("local", rounds)


def test_a_card_to_compare_with_is_there_first() -> None:
    """Two sweeps later would be a quarter of an hour too late."""
    with pytest.raises(UsageError, match=r"--against: there is no card /nowhere/card\.json"):
        capacity("local", "5", "/nowhere/card.json")


def test_calibrated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration beyond its goal is one all the same; none at all is an error with the last words."""
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    (tmp_path / "machine.json").write_text(json.dumps({"machine": report.machine()}), "utf-8")
    monkeypatch.setattr(verb, "_LOADTEST", (sys.executable, "-c", "raise SystemExit('no Locust')"))
    with pytest.raises(BetelgeuseError, match="no Locust"):
        verb.calibrate()

    move = f"os.rename({str(tmp_path / 'machine.json')!r}, {str(tmp_path / report.CALIBRATION)!r})"
    made = f"import os; {move}; raise SystemExit(1)"
    monkeypatch.setattr(verb, "_LOADTEST", (sys.executable, "-c", made))
    verb.calibrate()

    # There is one now: what would fail is not run.
    verb.calibrate()


def test_a_run_without_a_report_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old report is not taken for its own, and its exit code is told."""
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    (tmp_path / "loadtest-llm-smoke-closed.json").write_text('{"broken": []}', "utf-8")
    for code, words in (("raise SystemExit('oh no')", "oh no"), ("", "the run wrote no report; see")):
        with pytest.raises(BetelgeuseError, match=words):
            carry_out([sys.executable, "-c", code], {}, SMOKE, 30)


def test_a_run_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bounded in time."""
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    with pytest.raises(BetelgeuseError, match=r"did not end within 0.3 s and was stopped"):
        carry_out([sys.executable, "-c", "import time; time.sleep(60)"], {}, SMOKE, 0.3)


@pytest.mark.parametrize("broken", [[], ["p95: expected at most 1, got 2"]])
def test_the_report_of_a_run_gives_the_verdict(
    broken: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 with a report is a broken promise, not a failure of ours; what is printed is the report's."""
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    found = report.finite(made()) | {"broken": broken}
    (tmp_path / "made.json").write_text(json.dumps(found), "utf-8")
    move = f"os.rename({str(tmp_path / 'made.json')!r}, {str(tmp_path / 'loadtest-llm-smoke-closed.json')!r})"

    assert (
        carry_out([sys.executable, "-c", f"import os; {move}; raise SystemExit({len(broken)})"], {}, SMOKE, 30) == found
    )
    assert capsys.readouterr().out == f"{report.summary(found)}\n"


def test_progress_is_data() -> None:
    """The newest whole line of it, for people; what else a run says is passed over."""
    lines = [
        progress.line("json", 4.6, 2, "users"),
        progress.line("json", 12.4, 4, "users"),
        "{}",
        "[1]",
        '{"seconds": 1',
    ]
    assert (
        progress.newest("\n".join(["llm-smoke", *lines]))
        == "12 s  4 users"
        == progress.line("text", 12.4, 4, "users").strip()
    )
    assert not progress.newest("    10 s  5 users\n")
