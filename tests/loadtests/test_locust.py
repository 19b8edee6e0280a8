"""Locust really runs: figures are those of the script, broken servers break promises, workers add up.

The runs are made a few at a time before the first test needs its own: each waits for seconds more than it computes.
"""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from loadtests.plan import order
from loadtests.scripted_server import Script, running
from loadtests.workflows.loadtest import arguments, carry_out

LOCUST = os.environ.get("BETELGEUSE_LOCUST", "")
PATIENCE = 60
AT_ONCE = 6
MASTER_PORT = "15557"
# Server-sent events in a thread of this process: quick, and not exact.
QUICK = Script(first=0.02, gap=0.002, tokens=20, service=0.01)

pytestmark = pytest.mark.skipif(not LOCUST, reason="no environment with Locust: run nox -s loadtest_check")


@dataclass(frozen=True)
class Case:
    """A run: a target, a server's script, and Locust's arguments."""

    target: str
    script: Script
    said: Sequence[str]
    workers: int = 0


@dataclass
class Outcome:
    """What a run ended with."""

    code: int
    output: str
    report: dict[str, Any] = field(default_factory=dict)
    served: int = 0
    """Requests, as the server counted them."""

    @property
    def figures(self) -> dict[str, float]:
        """The report's figures."""
        figures: dict[str, float] = self.report["figures"]
        return figures


def script(**changes: Any) -> Script:  # noqa: ANN401 - a script's parts
    """The quick script, changed."""
    return Script(**(vars(QUICK) | changes))


SLOW_SLO = {"slo": {"time to first token": 0.3, "share": 0.95}}
CASES: Mapping[str, Case] = {
    # The longest first.
    "sweep": Case("llm", script(slots=2), ["--profile-name=sweep", "--load=4", "--window=1", "--seconds=40"]),
    "workers": Case("llm", QUICK, ["--profile-name=steady", "--load=20", "--seconds=4"], workers=2),
    "closed": Case("llm", QUICK, ["--seconds=4"]),
    "open": Case("embeddings", QUICK, ["--profile-name=steady", "--load=40", "--seconds=4", "--seed=3"]),
    "errors": Case("llm", script(faults={"500": 0.1}), ["--seconds=4"]),
    "cut": Case("llm", script(faults={"cut": 0.2}), ["--seconds=4"]),
    "late": Case(
        "llm",
        script(faults={"late": 0.5}, late=0.4),
        ["--profile-name=steady", "--load=10", "--seconds=4", "--scenario=SLOW"],
    ),
    "overload": Case(
        "embeddings",
        script(service=0.25, slots=1),
        ["--profile-name=steady", "--load=20", "--seconds=4", "--pool=4", "--start-bound=0.2"],
    ),
    "nobody": Case("llm", QUICK, ["--seconds=3", "--host=http://127.0.0.1:9"]),
    "scenario": Case("llm", QUICK, ["--scenario=chta"]),
    "address": Case("llm", QUICK, ["--host=ftp://x"]),
}


def locust(case: Case, *said: str) -> subprocess.Popen[str]:
    """Start Locust on a case's target."""
    command = [LOCUST, "-m", "locust", "-f", f"loadtests/{case.target}.py", *said]
    return subprocess.Popen(  # noqa: S603 - the environment of our own session
        command, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(case: Case, folder: Path) -> Outcome:
    """Run a case to its end."""
    slow = folder / "SLOW.json"
    chat = json.loads((paths.ROOT / "loadtests" / "scenarios" / "chat.json").read_text("utf-8"))
    slow.write_text(json.dumps(chat | SLOW_SLO), "utf-8")
    with running(case.script) as url:
        said = ["--headless", "--only-summary", f"--host={url}", f"--reports={folder}", *case.said]
        said = [word.replace("=SLOW", f"={slow}") for word in said]
        workers = []
        if case.workers:
            here = ["--master-bind-host=127.0.0.1", f"--master-bind-port={MASTER_PORT}"]
            said += ["--master", f"--expect-workers={case.workers}", *here]
            workers = [locust(case, "--worker", f"--master-port={MASTER_PORT}") for _ in range(case.workers)]
        process = locust(case, *said)
        output, _ = process.communicate(timeout=PATIENCE)
        for worker in workers:
            worker.communicate(timeout=PATIENCE)
        with urllib.request.urlopen(f"{url}/requests", timeout=PATIENCE) as answer:  # noqa: S310 - our own server
            served = json.load(answer)["requests"]
    reports = list(folder.glob("loadtest-*.json"))
    report = json.loads(reports[0].read_text("utf-8")) if reports else {}
    return Outcome(process.returncode, output, report, served)


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Outcome]]]:
    """Every case's run, begun."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run, case, tmp_path_factory.mktemp(name)) for name, case in CASES.items()}


def outcome(outcomes: Mapping[str, Future[Outcome]], name: str) -> Outcome:
    """The outcome of one case; what Locust said is shown when a test fails."""
    found = outcomes[name].result(PATIENCE * 2)
    print(found.output)  # noqa: T201 - pytest shows it of failed tests only
    return found


Runs = Mapping[str, "Future[Outcome]"]


# First, and in the foreground, while the cases run.
@pytest.mark.usefixtures("outcomes")
@pytest.mark.parametrize(("faults", "held"), [({}, True), ({"500": 1.0}, False)])
def test_the_verb_prints_the_summary_and_returns_the_verdict(
    faults: dict[str, float],
    held: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What `invoke loadtest` does once it knows the address."""
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    with running(script(faults=faults)) as url:
        said = arguments("llm", "smoke", seconds=3)
        argv = [LOCUST, "-m", "locust", *said, f"--host={url}", f"--reports={tmp_path}"]

        assert (carry_out(argv, {}, order("llm", "smoke", seconds=3), PATIENCE)["broken"] == []) is held

    printed = capsys.readouterr().out
    assert printed.startswith("llm-smoke-closed: closed loop, 4 users, scenario chat")
    assert printed.splitlines()[-1].startswith("all limits hold" if held else "FAILED  ")


def test_the_verb_tells_why_there_is_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Locust's last words."""
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    argv = [LOCUST, "-m", "locust", *arguments("llm", "smoke"), "--host=ftp://x", f"--reports={tmp_path}"]

    with pytest.raises(BetelgeuseError, match=r"expected http\(s\)://NAME\[:PORT\], got 'ftp://x'"):
        carry_out(argv, {}, order("llm", "smoke"), PATIENCE)


def test_a_closed_loop_reports_what_the_server_does(outcomes: Runs) -> None:
    """No time is shorter than the script's, and every request is accounted for."""
    found = outcome(outcomes, "closed")
    figures = found.figures

    assert found.code == 0
    assert "all limits hold" in found.output
    assert found.report["loop"] == "closed"
    assert figures["requests"] + figures["unfinished"] == found.served
    assert figures["tokens per second"] == pytest.approx(20 * figures["requests per second"])
    assert 0.02 <= figures["time to first token p50"] < 0.2
    assert 0.0015 < figures["inter-token latency mean"] < 0.01
    assert figures["end to end p50"] >= 0.02 + 19 * 0.002
    assert figures["start delay max"] < 0.5


def test_an_open_loop_keeps_its_rate(outcomes: Runs) -> None:
    """As many starts as arrivals were drawn for the seed, none dropped."""
    found = outcome(outcomes, "open")

    assert found.code == 0
    assert found.report["loop"] == "open"
    assert found.report["seed"] == 3
    assert found.figures["dropped ratio"] == 0
    assert found.served == pytest.approx(40 * 4, rel=0.3)
    assert found.figures["end to end p50"] >= 0.01


def test_workers_add_up(outcomes: Runs) -> None:
    """The master's figures are those of both workers: the server counted as many, at the rate of one."""
    found = outcome(outcomes, "workers")
    everything = sum(point["requests per second"] for point in found.report["timeline"])

    assert found.code == 0
    assert len(found.report["generator"]["cores used"]) == 2
    assert everything == pytest.approx(found.served, abs=4)
    assert found.served == pytest.approx(20 * 4, rel=0.35)
    assert found.figures["time to first token p50"] >= 0.02


def test_errors_break_the_promise(outcomes: Runs) -> None:
    """With the cause, and the share of them."""
    found = outcome(outcomes, "errors")

    assert found.code == 1
    assert "FAILED  failure ratio: expected at most 0, got" in found.output
    assert set(found.report["failures"]) == {"HTTP 500"}
    assert found.figures["failure ratio"] == pytest.approx(0.1, abs=0.05)


def test_a_cut_stream_is_no_answer(outcomes: Runs) -> None:
    """Though it began well."""
    found = outcome(outcomes, "cut")

    assert found.code == 1
    assert "FAILED  failure ratio: expected at most 0, got" in found.output
    assert set(found.report["failures"]) == {"stream cut"}


def test_slow_first_tokens_are_no_goodput(outcomes: Runs) -> None:
    """Every request was answered, half of them too late for the scenario's SLO."""
    found = outcome(outcomes, "late")

    assert found.code == 1
    assert "FAILED  goodput ratio: expected at least 0.95, got" in found.output
    assert found.report["failures"] == {}
    assert found.figures["goodput ratio"] == pytest.approx(0.5, abs=0.2)


def test_starts_that_cannot_be_made_are_counted(outcomes: Runs) -> None:
    """Four answers a second where twenty are wanted: the rest is dropped, and who waited has it in the latency."""
    found = outcome(outcomes, "overload")

    assert found.code == 1
    assert "FAILED  dropped ratio: expected at most 0, got" in found.output
    assert found.figures["dropped ratio"] > 0.5
    assert found.figures["start delay p50"] > 0.05
    assert found.figures["end to end p50"] > 0.25 * 3


def test_nobody_there_is_told(outcomes: Runs) -> None:
    """By the system's word for it."""
    found = outcome(outcomes, "nobody")

    assert found.code == 1
    assert set(found.report["failures"]) == {"connection: Connection refused"}


def test_a_sweep_finds_the_slots(outcomes: Runs) -> None:
    """Two requests at once are as fast as one: that is the knee, and throughput stays there."""
    found = outcome(outcomes, "sweep")
    steps = {step["load"]: step["throughput"] for step in found.report["steps"]}

    assert found.code == 0
    assert found.figures["knee"] == pytest.approx(2, rel=0.35)
    assert steps[2] > 1.5 * steps[1]
    assert steps[4] < 1.5 * steps[2]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scenario", "no scenario 'chta'; did you mean 'chat'?"),
        ("address", "--host: expected http(s)://NAME[:PORT], got 'ftp://x'"),
    ],
)
def test_what_is_wrong_is_one_line(outcomes: Runs, name: str, words: str) -> None:
    """And exit code 2, before any load."""
    found = outcome(outcomes, name)

    assert found.code == 2
    assert words in found.output
    assert "Traceback" not in found.output
    assert found.served == 0
