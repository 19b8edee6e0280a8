"""Reports: everything a run saw, readable without scripts, and nothing of it can become markup."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loadtests import charts, page, report
from loadtests.charts import Axis
from loadtests.measure import Answer
from loadtests.memory import GROWTH, Memory
from loadtests.pacing import Sweep
from loadtests.plan import order
from loadtests.recorder import SHARES
from loadtests.run import Run
from loadtests.sweep import Step

NASTY = "<script>alert('x')</script>&\""


def made(
    profile: str = "smoke", *, cause: str = "HTTP 500", tmp: Path = Path("/nowhere"), memory: Memory | None = None
) -> dict[str, Any]:
    """The result of a run of ten seconds with five answers and a failure."""
    run = Run(order("llm", profile, seconds=10))
    run.began, run.ended = 100.0, 110.0
    run.recorder.began = 100.0
    for number in range(5):
        begin = 100.5 + 2 * number
        answer = Answer(begin, begin, [begin + 0.2, begin + 0.3, begin + 0.4], begin + 0.4, 3, 7)
        run.recorder.at(begin).started += 1
        run.recorder.add_answer(answer)
    run.recorder.add_failure(108.0, cause)
    sweep = None
    if run.order.profile.sweeps:
        sweep = Sweep(1, 8, True, 10, run.order.scenario.slo, 1, 1)  # noqa: FBT003 - of users
        sweep.steps = [Step(load, min(load, 4) * 10, max(1, load / 4), good=load < 8) for load in (1, 2, 4, 8)]
    return report.result(run, "https://llm.example.org", [0.25], sweep, [], tmp, memory)


def test_memory_is_promised_where_it_is_watched() -> None:
    """Growth is a figure and breaks a soak; a command that fails is a broken promise, none at all is no promise."""
    grown, failing, none = Memory("ask"), Memory("ask"), Memory("")
    grown.samples, failing.trouble = [100.0, 100.0, 200.0], "ask: gone"

    found = made("soak", memory=grown)
    assert found["figures"][GROWTH] == 2
    assert f"{GROWTH}: expected at most 1.05, got 2" in found["broken"]
    found = made("soak", memory=failing)
    assert any(words.startswith(GROWTH) for words in found["broken"])
    assert "memory: ask: gone" in found["notes"]
    for memory in (none, None):
        assert not any(words.startswith(GROWTH) for words in made("soak", memory=memory)["broken"])


class Strict(HTMLParser):
    """Notes what a page would load or run, and that its tags are balanced."""

    VOID = ("meta", "line", "polyline", "circle", "rect")

    def __init__(self, text: str) -> None:
        """Read all of it."""
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.outside += [str(value) for name, value in attrs if name in {"src", "href", "data"} or name[:2] == "on"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost."""
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.words.append(data)


@pytest.mark.parametrize("profile", ["smoke", "steady", "sweep"])
def test_a_page_is_whole_and_self_contained(profile: str) -> None:
    """Nothing is loaded, nothing runs, every tag is closed, every chart is there."""
    read = Strict(page.page(report.finite(made(profile))))

    assert read.open == []
    assert read.outside == []
    assert not {"script", "link", "img", "iframe"} & set(read.tags)
    assert read.tags.count("svg") == (6 if profile == "sweep" else 4)
    assert not re.search(r"\bnan\b|\binf\b|None", " ".join(read.words))


def test_nothing_of_a_run_becomes_markup() -> None:
    """Not what a server says, nor a host's name, a limit or a scenario."""
    found = report.finite(made(cause=NASTY))
    found |= {"host": NASTY, "label": NASTY, "broken": [NASTY], "notes": [NASTY], "begun": NASTY}
    found["scenario"] = {"name": NASTY, "about": NASTY}
    found["curves"] = {NASTY: found["curves"].popitem()[1]}
    found["figures"] |= {f"{NASTY} {head}": 1.0 for head in ("mean", *SHARES, "max")}

    read = Strict(page.page(found))

    assert "script" not in read.tags
    assert " ".join(read.words).count("<script>") >= 8


def test_whatever_a_server_says_the_reports_are_whole(tmp_path: Path) -> None:
    """Control characters, turned text and half characters are escapes, on the console and in both files."""
    odd = "half\ud83d\x1b[31m\u202e\x07"
    found = made(cause=odd)
    written = report.write(found | {"notes": [odd]}, tmp_path)
    texts = [written.read_text("utf-8"), report.shown(report.summary(found))]
    texts += json.loads(written.with_suffix(".json").read_text("utf-8"))["failures"]

    for text in texts:
        assert r"half\ud83d\x1b[31m\u202e\x07" in text
        assert text.replace("\n", "").isprintable()


def test_a_result_holds_what_makes_it_repeatable() -> None:
    """Loop, seed, scenario, SLO, versions, and the generator's own load."""
    found = made()

    assert (found["label"], found["loop"], found["seed"], found["unit"]) == ("llm-smoke-closed", "closed", 1, "tokens")
    assert found["scenario"]["name"] == "chat"
    assert found["slo"]["share"] == 0.95
    assert found["versions"]["betelgeuse"]
    assert found["generator"] == {"cores used": [0.25], "calibration": None}
    assert found["failures"] == {"HTTP 500": 1}
    assert found["figures"]["requests"] == 6
    assert sum(point["tokens per second"] for point in found["timeline"]) == pytest.approx(15)


def test_a_warm_up_does_not_count() -> None:
    """Of ten seconds the first two: one answer is gone from the figures, none from the timeline."""
    found = made("steady")

    assert found["warm-up"] == 2
    assert found["figures"]["requests"] == 5
    assert found["figures"]["requests per second"] == pytest.approx(4 / 8)


def test_broken_limits_and_problems_are_told() -> None:
    """In the summary, with what was wanted and what was seen."""
    found = made()

    assert found["broken"] == [
        "failure ratio: expected at most 0, got 0.167",
        "tokens per second: expected at least 2, got 1.5",
    ]
    assert "FAILED  failure ratio: expected at most 0, got 0.167" in report.summary(found)
    assert "failed: 1 x HTTP 500" in report.summary(found)
    assert "all limits hold" not in report.summary(found)
    assert "all limits hold" in report.summary(found | {"broken": []})


def test_a_busy_generator_is_noted() -> None:
    """Its times may be its own."""
    run = Run(order("llm", "smoke", seconds=10))
    run.end()

    assert report.result(run, "", [0.2, 0.9], None, [])["notes"] == [
        "a generator used 90% of a core: some of these times may be its own"
    ]


def test_files_are_json_and_a_page(tmp_path: Path) -> None:
    """What was not observed is null: JSON has no NaN."""
    run = Run(order("llm", "smoke", seconds=10))
    run.end()
    path = report.write(report.result(run, "", [0.1], None, ["stopped"], tmp_path), tmp_path / "made")

    read = json.loads(path.with_suffix(".json").read_text("utf-8"), parse_constant=pytest.fail)
    assert read["figures"]["failure ratio"] is None
    assert read["broken"][0] == "stopped"
    assert "not observed" in path.read_text("utf-8")


def test_a_calibration_is_carried_where_it_was_made(tmp_path: Path) -> None:
    """That of another machine, or an unreadable one, is not."""
    path = tmp_path / report.CALIBRATION
    path.write_text(json.dumps({"machine": report.machine(), "words": "off by 0.1 ms"}), "utf-8")
    assert "off by 0.1 ms" in page.page(report.finite(made(tmp=tmp_path)))
    for other in (json.dumps({"machine": {"cpus": 999}, "words": "off by 0.1 ms"}), "{", "[]"):
        path.write_text(other, "utf-8")
        assert "none on this machine" in page.page(report.finite(made(tmp=tmp_path)))


def test_a_line_is_interrupted_where_a_value_is_missing() -> None:
    """Not drawn through what nobody saw."""
    drawn = charts.line("t", [("s", [(0, 1.0), (1, 2.0), (2, None), (3, 1.0)])], (Axis("x"), Axis("y")))

    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 1


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("values", [[0.0], [1e-6, 1e6], [5.0, 5.0], [0.1, 0.2, 0.3]])
def test_every_point_lies_on_the_chart(values: list[float], *, log: bool) -> None:
    """Whatever the scale; a logarithmic one has no place for 0."""
    drawn = charts.line("t", [("s", list(enumerate(values)))], (Axis("x"), Axis("y", log=log)), dots=True)

    places = [(float(x), float(y)) for x, y in re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', drawn)]
    assert len(places) == sum(value > 0 or not log for value in values)
    assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in places)


def test_nothing_to_draw_is_no_chart() -> None:
    """Rather than an empty frame."""
    assert charts.line("t", [("s", [(0, None)])], (Axis("x"), Axis("y"))) == ""
    assert charts.bars("t", []) == ""
