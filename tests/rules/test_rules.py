"""Alerts fire when they must, and are silent when they must be."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
import yaml

from betelgeuse.kube import Obj
from betelgeuse.tree.alerts import alerts
from tests.rules import cases

HERE: Final = Path(__file__).parent
FILES: Final = sorted(path for path in HERE.glob("*.yaml"))
NOT_TRIED: Final[Mapping[str, str]] = {"Watchdog": "fires always, so there is no case in which it is silent"}
"""Alerts without cases, each with the reason."""


def _promtool(*argv: str) -> str:
    """Return what promtool complains of; empty when it is content."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - built by us
    return "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"


def _read(file: Path) -> cases.Cases:
    content: cases.Cases = yaml.safe_load(file.read_text("utf-8"))
    # YAML takes promtool's 0x20 (zero, and twenty more) for a hexadecimal number.
    return content if "tests" in content else yaml.load(file.read_text("utf-8"), yaml.BaseLoader)  # noqa: S506 - strings alone


def test_rules_are_sound(promtool: str, declared: Sequence[Obj], tmp_path: Path) -> None:
    """Every rule parses, its templates too."""
    for obj in declared:
        meta = obj["metadata"]
        file = tmp_path / f"{meta['namespace']}-{meta['name']}.yaml"
        file.write_text(yaml.safe_dump({"groups": obj["spec"]["groups"]}, sort_keys=False), "utf-8")

    assert not _promtool(promtool, "check", "rules", *map(str, sorted(tmp_path.iterdir())))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_alerts_of_the_component(promtool: str, declared: Sequence[Obj], tmp_path: Path, file: Path) -> None:
    """Each case's alerts fire, with exactly the labels that it names, or none does."""
    tests = cases.tests(_read(file), list(alerts(declared)))
    # The others are computed for every minute of every case too.
    bare = tmp_path / "bare.yaml"
    bare.write_text(yaml.safe_dump(cases.bare(cases.asked(declared, tests)), sort_keys=False), "utf-8")
    made = {"rule_files": [str(bare)], "evaluation_interval": "1m", "tests": tests}
    asked = tmp_path / "cases.yaml"
    asked.write_text(yaml.safe_dump(made, sort_keys=False), "utf-8")

    assert not _promtool(promtool, "test", "rules", str(asked))


@pytest.mark.parametrize("fires", [True, False], ids=["fires", "is silent"])
def test_every_alert_is_tried(declared: Sequence[Obj], *, fires: bool) -> None:
    """There is a case in which it fires, and one in which it does not."""
    names = {alert.name for alert in alerts(declared)}
    found = {name for file in FILES for name, must in cases.tried(_read(file)) if must == fires}

    assert sorted(names - found - set(NOT_TRIED)) == []
    assert sorted(found - names) == [], "cases of alerts that are not in the tree"


def test_exemptions_are_needed(declared: Sequence[Obj]) -> None:
    """What has cases by now is no exemption any more."""
    both = [
        {name for file in FILES for name, must in cases.tried(_read(file)) if must == fires} for fires in (True, False)
    ]
    names = {alert.name for alert in alerts(declared)}

    assert [name for name in NOT_TRIED if name not in names or all(name in found for found in both)] == []


def test_a_wrong_expectation_is_noticed(promtool: str, bare: Path, tmp_path: Path) -> None:
    """A case that expects an alert of a healthy series is red."""
    case = {"series": {'up{job="llm"}': "1x20"}, "at": "10m", "fires": [{}]}
    made = {"rule_files": [str(bare)], "tests": cases.tests({"LlmDown": [case]}, [])}
    asked = tmp_path / "cases.yaml"
    asked.write_text(yaml.safe_dump(made), "utf-8")

    assert "LlmDown" in _promtool(promtool, "test", "rules", str(asked))
