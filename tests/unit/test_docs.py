"""What documents say is true: commands, paths, links, versions, keys and checks."""

import re
import tomllib
from pathlib import Path

import pytest

from betelgeuse import doctor, paths, profiles, settings

DOCUMENTS = sorted(
    [*paths.ROOT.glob("*.md"), *(paths.ROOT / "docs").rglob("*.md"), *paths.ROOT.glob("components/*/*.md")]
)
README = (paths.ROOT / "README.md").read_text("utf-8")
# Built from parts, so that the tree itself names none of them.
REGISTRY_HOSTS = re.compile(
    "|".join(["py" + r"pi\.org", r"python" + r"hosted\.org", "proxy" + r"\.golang", "deb" + r"\.debian"])
)


def command(name: str) -> str:
    """Return the command of a marked block, as .ci/run reads it."""
    found = re.search(rf"<!-- command: {name} -->\n\s*```sh\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1].strip()


def _name(path: Path) -> str:
    return str(path.relative_to(paths.ROOT))


@pytest.mark.parametrize("name", ["platform", "tests"])
def test_the_two_commands_are_one_line_each(name: str) -> None:
    """They can be copied as they are."""
    assert "\n" not in command(name)


def test_the_first_command_installs_from_locks_and_deploys() -> None:
    """Nothing unpinned on the way."""
    parts = command("platform").split(" && ")

    assert parts[0] == "python3 -m venv .venv"
    assert "--require-hashes -r locks/dev.txt" in parts[1]
    assert "--no-deps --no-build-isolation --editable ." in parts[2]
    assert parts[3:] == [".venv/bin/invoke deploy"]


def test_the_second_command_ends_with_the_proof() -> None:
    """Fast sessions first; the suite's closing line is pytest's last one."""
    sessions = command("tests").split()[2:]

    assert command("tests").startswith(".venv/bin/nox -s ")
    assert sessions[:4] == ["lint", "types", "unit", "render"]
    assert sessions[-1] == "conformance"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_to_files(document: Path) -> None:
    """Every relative link of a document exists."""
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text("utf-8"))
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]

    assert broken == []


def test_promises_name_files() -> None:
    """Each promise has a check on the tree and one on a cluster (or of the engine, or of the suite)."""
    rows = re.findall(r"^\| (.+?) \| (tests/\S+) \| (\S+) \|$", README, re.MULTILINE)
    missing = [path for _, *files in rows for path in files if not (paths.ROOT / path).is_file()]

    assert len(rows) >= 15
    assert missing == []


def test_every_conformance_file_keeps_a_promise() -> None:
    """A check nobody promised is missing from the table: the folder of each is named there."""
    folders = {path.parent.name for path in (paths.ROOT / "conformance").glob("*/test_*.py")}

    assert {folder for folder in folders if f"conformance/{folder}/" not in README} == set()


def test_the_map_names_every_folder() -> None:
    """README's tree has what is there."""
    tree = README.partition("## Where is what")[2].partition("```\n")[2].partition("```")[0]
    named = set(re.findall(r"^([a-z]+)/", tree, re.MULTILINE))
    tracked = {path.name for path in paths.ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}

    assert named == tracked - {"reports", "build", "dist"}


def test_every_environment_and_profile_is_described() -> None:
    """New ones come with a line."""
    names = [*settings.environments(), *profiles.names()]

    assert [name for name in names if f"| `{name}` |" not in README] == []


def test_every_verb_and_session_is_described() -> None:
    """`invoke --list` and `nox -l` hold nothing that README leaves out."""
    verbs = re.findall(r"^@verb\ndef (\w+)", (paths.ROOT / "tasks.py").read_text("utf-8"), re.MULTILINE)
    sessions = re.findall(r"^@nox\.session.*\ndef (\w+)", (paths.ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE)
    checks = README.partition("| `nox -l` |")[2].partition("\n")[0]

    assert [verb for verb in verbs if f"`invoke {verb.replace('_', '-')}" not in README] == []
    assert [name for name in sessions if name != "lock" and name not in checks] == []


def test_every_key_is_described() -> None:
    """docs/operations/install.md knows every key of environment.env."""
    text = (paths.ROOT / "docs" / "operations" / "install.md").read_text("utf-8")

    assert [key for key in settings.KEYS if f"`{key}`" not in text] == []


def test_every_check_of_the_doctor_is_described() -> None:
    """docs/operations/troubleshooting.md lists them with their reasons."""
    text = (paths.ROOT / "docs" / "operations" / "troubleshooting.md").read_text("utf-8")

    assert [check.name for check in doctor.CHECKS if f"| `{check.name}` |" not in text or check.why not in text] == []


def test_decisions_are_numbered_and_complete() -> None:
    """No gap, no two of a number, and each has its parts."""
    records = sorted((paths.ROOT / "docs" / "adr").glob("*.md"))
    numbers = [int(path.name[:4]) for path in records]
    texts = [path.read_text("utf-8") for path in records]
    parts = ("\nStatus: ", "\n## Context\n", "\n## Decision\n", "\n## Consequences\n")

    assert numbers == list(range(1, len(records) + 1))
    assert [
        path.name for path, text in zip(records, texts, strict=True) if not all(part in text for part in parts)
    ] == []


def test_the_changelog_has_the_version() -> None:
    """What pyproject.toml calls itself is what CHANGELOG.md tells about."""
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert f"\n## {project['version']} " in (paths.ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("document", [*DOCUMENTS, *sorted((paths.ROOT / "locks").iterdir())], ids=_name)
def test_no_registry_is_named(document: Path) -> None:
    """Where packages come from is the clients' configuration."""
    assert REGISTRY_HOSTS.search(document.read_text("utf-8")) is None


@pytest.mark.parametrize("name", ["dev", "checkov", "kind"])
def test_locks_have_hashes(name: str) -> None:
    """Every requirement of a lock is pinned and has at least one hash."""
    text = (paths.ROOT / "locks" / f"{name}.txt").read_text("utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", text.partition("\n\n")[2] or text)

    assert [entry.split()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry] == []


def test_the_lock_holds_what_the_project_pins() -> None:
    """pyproject.toml and locks/dev.txt agree: run `nox -s lock` after a change."""
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))
    text = (paths.ROOT / "locks" / "dev.txt").read_text("utf-8").lower()
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *groups["test"], *groups["lint"]]
    wanted += [entry for entry in groups["dev"] if isinstance(entry, str)]

    assert [entry for entry in wanted if f"\n{entry.lower()}{'' if '==' in entry else '=='}" not in text] == []


def test_readme_says_what_each_profile_needs() -> None:
    """The table's rows are the sums that the doctor compares with the machine."""
    rows = re.findall(r"(?m)^\| `([\w-]+)` \| (\S+) \| (\S+) GiB \| (\S+) GiB \| (\S+) \|$", README)
    budgets = {name: profiles.load(name).budget for name in profiles.names()}

    assert {name: tuple(map(float, numbers)) for name, *numbers in rows} == {
        name: (each.cpu, each.memory_gib, each.disk_gib, each.build_minutes) for name, each in budgets.items()
    }
