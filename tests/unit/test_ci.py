""".ci/run does what README.md says, takes the cluster away, and is red whenever the tests are."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from betelgeuse import paths

SUCCESS = "===== 2 passed in 0.10s ====="
FAILURE = "===== 1 failed, 1 passed in 0.10s ====="
NONE = "===== no tests ran in 0.10s ====="

README = """
1. <!-- command: platform -->
   ```sh
   {platform}
   ```
2. <!-- command: tests -->
   ```sh
   {tests}
   ```
"""


@dataclass(frozen=True)
class Case:
    """Two commands and how the run must end."""

    name: str
    platform: str
    tests: str
    code: int
    last: str
    destroy: str = "echo gone"
    trees: str = "echo core"
    """How a tree is rendered; $2 names the profile."""
    lacking: str = "true"
    """How images that are not built yet are named."""
    more: str = f"echo '{SUCCESS}'"
    """What conformance says on a bigger profile."""


CASES = [
    Case("green", "echo up", f"echo '{SUCCESS}'; echo session done", 0, SUCCESS),
    Case("red", "echo up", f"echo '{FAILURE}'; exit 1", 1, FAILURE),
    Case("red but swallowed", "echo up", f"echo '{FAILURE}'", 1, FAILURE),
    Case("no test ran", "echo up", f"echo '{NONE}'; exit 5", 5, NONE),
    Case("no test ran but swallowed", "echo up", f"echo '{NONE}'", 1, NONE),
    Case("silent", "echo up", "echo nothing", 1, "no test ran"),
    Case("last of several", "echo up", f"echo '{FAILURE}'; echo '{SUCCESS}'; exit 1", 1, SUCCESS),
    Case("deploy fails", "exit 7", f"echo '{SUCCESS}'", 7, "no test ran"),
    Case("destroy fails", "echo up", f"echo '{SUCCESS}'", 1, SUCCESS, destroy="exit 9"),
    Case("a bigger profile", "echo up", f"echo '{SUCCESS}'", 0, SUCCESS, trees="echo tree $2"),
    Case(
        "a bigger profile is red", "echo up", f"echo '{SUCCESS}'", 1, FAILURE, trees="echo $2", more=f"echo '{FAILURE}'"
    ),
    Case("a profile not built", "echo up", f"echo '{SUCCESS}'", 0, SUCCESS, trees="echo $2", lacking="echo kafka"),
    Case("reads nothing", "cat; echo up", f"cat; echo '{SUCCESS}'", 0, SUCCESS),
]


def _checkout(folder: Path, case: Case) -> Path:
    (folder / ".ci").mkdir()
    script = folder / ".ci" / "run"
    shutil.copy(paths.ROOT / ".ci" / "run", script)
    (folder / "README.md").write_text(README.format(platform=case.platform, tests=case.tests), "utf-8")
    invoke = folder / ".venv" / "bin" / "invoke"
    invoke.parent.mkdir(parents=True)
    verbs = {"destroy": case.destroy, "render": case.trees, "images": case.lacking, "deploy": "echo deployed"}
    ways = "".join(f"{verb}) {script} ;;\n" for verb, script in verbs.items())
    invoke.write_text(f"#!/bin/sh\necho $@ >> invoked\ncase $1 in\n{ways}esac\n", "utf-8")
    nox = invoke.with_name("nox")
    nox.write_text(f"#!/bin/sh\n{case.more}\n", "utf-8")
    for program in (invoke, nox):
        program.chmod(0o755)
    return script


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_run(tmp_path: Path, case: Case) -> None:
    """Exit code, last line, and the cluster taken away exactly once."""
    script = _checkout(tmp_path, case)
    done = subprocess.run([script], cwd="/", input="typed", capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - our own script

    assert (done.returncode, done.stdout.splitlines()[-1]) == (case.code, case.last), done
    assert (tmp_path / "invoked").read_text("utf-8").splitlines().count("destroy") == 1


def test_bigger_profiles_are_proven_once_or_named(tmp_path: Path) -> None:
    """Each tree is deployed once, as far as its images are built; what is not run is said."""
    trees = "case $2 in *data) echo data ;; *full) echo full ;; *) echo core ;; esac"
    lacking = "case $2 in *full) echo kafka ;; esac"
    script = _checkout(tmp_path, Case("", "echo up", f"echo '{SUCCESS}'", 0, "", trees=trees, lacking=lacking))
    done = subprocess.run([script], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own script
    deployed = [line for line in (tmp_path / "invoked").read_text("utf-8").splitlines() if line.startswith("deploy")]

    assert deployed == ["deploy --profile=data"]
    assert "profile full: not run, the build cache lacks kafka" in done.stdout
    assert "profile tools: nothing to run" in done.stdout


def test_where_everything_is_built_one_run_proves_it(tmp_path: Path) -> None:
    """Each smaller profile by itself would cost its minutes again and say nothing new."""
    script = _checkout(tmp_path, Case("", "echo up", f"echo '{SUCCESS}'", 0, "", trees="echo $2"))
    done = subprocess.run([script], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own script
    deployed = [line for line in (tmp_path / "invoked").read_text("utf-8").splitlines() if line.startswith("deploy")]

    assert deployed == ["deploy --profile=full"]
    assert "profile data: not run by itself, it is a part of full" in done.stdout


def test_a_profile_that_would_be_cut_off_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the smaller ones took too long, as on a slow machine."""
    monkeypatch.setenv("BETELGEUSE_CI_LATEST", "0")
    script = _checkout(tmp_path, Case("", "echo up", f"echo '{SUCCESS}'", 0, "", trees="echo $2"))
    done = subprocess.run([script], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own script

    assert "deploy" not in (tmp_path / "invoked").read_text("utf-8")
    assert done.stdout.count("not run, 0 minutes are gone, and one begins within 0") == 4


def test_a_missing_command_is_said(tmp_path: Path) -> None:
    """A README without its markers is no green run."""
    script = _checkout(tmp_path, CASES[0])
    (tmp_path / "README.md").write_text("nothing\n", "utf-8")
    done = subprocess.run([script], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - our own script

    assert done.returncode == 2
    assert "README.md has no command 'platform'" in done.stdout


def test_the_script_is_executable_and_strict() -> None:
    """As CI calls it: `bash .ci/run` and directly."""
    script = paths.ROOT / ".ci" / "run"

    assert script.stat().st_mode & 0o111
    assert "\nset -euo pipefail\n" in script.read_text("utf-8")
