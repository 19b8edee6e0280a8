"""Static analysis of the rendered workloads by checkov, in an environment of its own (`nox -s render`)."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from betelgeuse import settings
from betelgeuse.tree.workloads import WORKLOADS
from tests.render.trees import Tree

CHECKOV = os.environ.get("BETELGEUSE_CHECKOV", "")
ACCEPTED = Path(__file__).with_name("checkov.yaml")
_SECONDS = 300
"""Seven seconds idle; this bounds a busy machine."""


@dataclass(frozen=True)
class Accepted:
    """A finding we accept."""

    checks: list[str]
    resources: list[str]
    reason: str

    def covers(self, check: str, resource: str) -> bool:
        """Tell whether it speaks of this finding."""
        return check in self.checks and any(fnmatchcase(resource, pattern) for pattern in self.resources)


def _write(trees: Callable[[str], Tree], folder: Path) -> set[str]:
    """Write each distinct object of all environments once, CRDs left out; return the names of the workloads.

    `local` has stores of its own, which the environments that run all areas have not.
    """
    workloads = set()
    for env in [*settings.environments(), "local:full"]:
        for obj in trees(env).objects:
            if obj["kind"] == "CustomResourceDefinition":
                continue
            text = yaml.dump(obj, Dumper=yaml.CSafeDumper)
            digest = hashlib.sha256(text.encode()).hexdigest()[:12]
            (folder / f"{obj['kind']}-{digest}.yaml").write_text(text, "utf-8")
            if obj["kind"] in WORKLOADS:
                workloads.add(f"{obj['kind']}.{obj['metadata'].get('namespace', 'default')}.{obj['metadata']['name']}")
    return workloads


def _findings(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for finding in report["results"]["failed_checks"]:
        yield finding["check_id"], finding["resource"], finding["check_name"]


@pytest.mark.skipif(not CHECKOV, reason="checkov has an environment of its own: run `nox -s render`")
def test_checkov_finds_nothing_new(trees: Callable[[str], Tree], tmp_path: Path) -> None:
    """Every finding is fixed, or accepted with a reason in checkov.yaml; no acceptance is left over."""
    accepted = [Accepted(**entry) for entry in yaml.safe_load(ACCEPTED.read_text("utf-8"))]
    workloads = _write(trees, tmp_path)
    argv = [CHECKOV, "--directory", str(tmp_path), "--framework", "kubernetes", "--output", "json"]
    quiet = ["--skip-download", "--compact", "--soft-fail"]
    done = subprocess.run([*argv, *quiet], capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 - our own environment's
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)

    seen = {each["resource"] for part in ("passed_checks", "failed_checks") for each in report["results"][part]}
    findings = set(_findings(report))
    new = {each for each in findings if not any(entry.covers(*each[:2]) for entry in accepted)}
    unneeded = [
        entry
        for entry in accepted
        for check in entry.checks
        if not any(Accepted([check], entry.resources, "").covers(*each[:2]) for each in findings)
    ]

    assert report["summary"]["parsing_errors"] == 0
    assert workloads <= seen
    assert not new
    assert not unneeded


def test_accepted_findings_have_reasons() -> None:
    """Nothing is accepted without a word why."""
    assert all(len(entry["reason"]) > 20 for entry in yaml.safe_load(ACCEPTED.read_text("utf-8")))
