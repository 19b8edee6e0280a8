"""The whole suite as people run it, against the model platform: exit codes, reports, masks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from betelgeuse import paths
from tests.conformance_suite.idp import ADMIN, SECRETS


@dataclass(frozen=True)
class Ended:
    """What one run of the suite left behind."""

    code: int
    console: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """The JSON report."""
        found: dict[str, Any] = json.loads((self.folder / "reports" / "conformance-local.json").read_text())
        return found

    @property
    def page(self) -> str:
        """The HTML report."""
        return (self.folder / "reports" / "conformance-local.html").read_text()

    def failed(self) -> set[str]:
        """Return the promises that broke."""
        return {entry["promise"] for entry in self.report["promises"] if entry["outcome"] == "failed"}


Suite = Callable[..., Ended]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Return a function that runs the suite in a process of its own."""

    def run(*arguments: str, faults: str = "", **environment: str) -> Ended:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conformance_suite.stand_in",
            "-p",
            "no:cacheprovider",
            "--assert=plain",
        ]
        ended = subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [*command, *(arguments or ("conformance",)), "--env=local"],
            cwd=paths.ROOT,
            env={**os.environ, "MODEL_FOLDER": str(tmp_path), "MODEL_FAULTS": faults, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout + ended.stderr, tmp_path)

    return run


class _Page(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__()
        self.outside: list[str] = []
        self.pictures = 0
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts and references."""
        self.depth += tag not in {"meta", "br", "img"}
        self.outside += [tag] if tag in {"script", "link", "iframe"} else []
        inside = {name for name, value in attrs if (value or "").startswith("data:image/png;base64,")}
        self.pictures += tag == "img" and "src" in inside
        own = {name for name, _ in attrs if name in {"src", "href"} or name.startswith("on")}
        self.outside += sorted(own - inside)

    def handle_endtag(self, tag: str) -> None:
        """Count what is closed."""
        self.depth -= tag not in {"meta", "br", "img"}


BIGGER = {"store", "observability", "logs", "traces", "dashboards", "events", "resource"}
BIGGER |= {"argocd", "git", "label", "mlflow", "n8n", "notebooks", "workflows"}
"""First words of the features that profile core lacks."""
BIGGER |= {"chat"}
"""And of what the model platform leaves out of it."""


def test_good_platform_is_conformant(suite: Suite) -> None:
    """A good platform: exit code 0, verdict conformant, all four forms of report."""
    ended = suite()

    assert ended.code == 0, ended.console
    assert ended.report["verdict"] == "conformant"
    assert ended.report["gaps"] == []
    assert ended.report["counts"]["failed"] == 0
    assert ended.report["features"]["multi-node"] is False
    skipped = {entry["reason"] for entry in ended.report["results"] if entry["outcome"] == "skipped"}
    assert {reason for reason in skipped if reason.split()[1].partition("-")[0] not in BIGGER} == {
        "feature multi-node is absent in local"
    }
    assert "promises of local: conformant" in ended.console
    page = _Page()
    page.feed(ended.page)
    assert (page.outside, page.depth, page.pictures) == ([], 0, 2)
    assert (ended.folder / "reports" / "conformance-local-portal.png").read_bytes().startswith(b"\x89PNG")
    assert ended.report["probes"]["auth"] >= 500
    assert "CONFORMANT" in ended.page
    cases = ET.parse(ended.folder / "reports" / "conformance-local.xml").getroot().iter("testcase")  # noqa: S314 - ours
    assert len(list(cases)) == sum(ended.report["counts"].values())


def test_broken_platform_is_told_with_a_command_and_without_the_key(suite: Suite) -> None:
    """A fault: exit code 1, the promise named, a command to see it, no secret anywhere in what we write or print."""
    ended = suite("conformance/ai", "conformance/auth", faults="jwt-query llm-nonsense")

    assert ended.code == 1
    assert ended.report["verdict"] == "broken"
    assert ended.failed() == {
        "ai/test_completions.py::test_answers_are_sensible",
        "auth/test_tokens.py::test_token_elsewhere_is_refused",
    }
    failures = [entry for entry in ended.report["results"] if entry["outcome"] == "failed"]
    assert all(entry["reproduce"].startswith("curl") and entry["want"] and entry["got"] for entry in failures)
    junit = (ended.folder / "reports" / "conformance-local.xml").read_text()
    # A token begins with its header in base64, whatever is in it.
    for word in (*SECRETS.values(), ADMIN[1], "eyJhbGciOiJSUzI1NiIs"):
        assert not [text for text in (ended.console, ended.page, json.dumps(ended.report), junit) if word in text]


def test_whatever_a_server_answers_all_reports_are_whole(suite: Suite) -> None:
    """Control characters and halves of characters are shown as escapes, on the console and in every file."""
    ended = suite("conformance/ai/test_completions.py", faults="llm-odd")
    reports = ended.folder / "reports"
    junit = (reports / "conformance-local.xml").read_text("utf-8")

    assert ended.code == 1, ended.console
    assert "Traceback" not in ended.console
    assert "ai/test_completions.py::test_answers_are_sensible" in ended.failed()
    assert ET.fromstring(junit).findall(".//failure")  # noqa: S314 - ours
    page = _Page()
    page.feed(ended.page)
    assert page.depth == 0
    for text in (ended.console, ended.page, junit):
        assert "\\ud83d" in text
        assert [sign for sign in text if not sign.isprintable() and sign not in "\n\t"] == []


def test_part_is_never_called_conformant(suite: Suite) -> None:
    """A run that was asked for a part passes, and says that it proves nothing about the rest."""
    ended = suite("conformance/tcp")

    assert ended.code == 0, ended.console
    assert ended.report["verdict"] == "partial"
    assert ended.report["complete"] is False


def test_hidden_selection_turns_the_run_red(suite: Suite) -> None:
    """A selection that the command line does not show (here PYTEST_ADDOPTS) is a gap, and the run fails."""
    ended = suite(PYTEST_ADDOPTS="-k 'tls or tcp or everything'")

    assert ended.code == 1
    assert ended.report["verdict"] == "broken"
    assert any("deselected" in gap for gap in ended.report["gaps"])
    assert any("test_smuggling" in gap and "never executed" in gap for gap in ended.report["gaps"])
    assert ended.failed() == {"test_completeness.py::test_everything_declared_was_checked"}


def test_wrong_environment_is_one_line(tmp_path: Path) -> None:
    """A wrong --env ends in one line with a suggestion, not in a traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "conformance", "--env=locl"],
        cwd=paths.ROOT,
        env={**os.environ, "BETELGEUSE_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unknown environment 'locl'; did you mean 'local'?" in ended.stderr
    assert "Traceback" not in ended.stderr
