"""What is locked beside program.yaml, and whether it is locked for the version that program.yaml says."""

import json
import re
from collections.abc import Mapping
from typing import Final

from betelgeuse import paths
from betelgeuse.errors import UsageError
from betelgeuse.programs.model import Installer, Program

GO: Final = "go.mod"
SUMS: Final = "go.sum"
PYPI: Final = "requirements.txt"
OVERRIDES: Final = "overrides.txt"
"""What a Python package asks for, where that is said anew: by hand, and no lock."""
MAVEN: Final = "maven.sha256"
BUNDLES: Final = "bundles.sha256"
PACKAGE: Final = "package.json"
NPM: Final = {Installer.NPM: "package-lock.json", Installer.BUN: "bun.lock"}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def _wrong(program: Program, name: str, what: str) -> UsageError:
    return UsageError(f"{paths.shown(program.folder / name)}: {what}: run `invoke lock --program={program.name}`")


def text(program: Program, name: str) -> str:
    """Return a lock's text; a missing one is a UsageError."""
    try:
        return (program.folder / name).read_text("utf-8")
    except FileNotFoundError:
        message = f"does not exist, yet {program.name} needs it"
        raise _wrong(program, name, message) from None


def modules(program: Program) -> tuple[str, str]:
    """Return go.mod and go.sum, locked for the program's version."""
    mod = text(program, GO)
    for module, version in program.modules():
        locked = re.search(rf"(?m)^(?:\t|require ){re.escape(module)} (\S+)", mod)
        if locked is None or locked[1] != version:
            message = f"{module} is {locked[1] if locked else 'not required'} there and {version} in program.yaml"
            raise _wrong(program, GO, message)
    return mod, text(program, SUMS)


def checksum(program: Program) -> tuple[str, str]:
    """Return the first module as `path@version`, and the checksum that go.sum has of it."""
    module, version = next(program.modules())
    found = re.search(rf"(?m)^{re.escape(module)} {re.escape(version)} (h1:\S+)$", modules(program)[1])
    if found is None:
        message = f"has no checksum of {module} {version}"
        raise _wrong(program, SUMS, message)
    return f"{module}@{version}", found[1]


def requirements(program: Program) -> dict[str, tuple[str, ...]]:
    """Return the sha256 of each locked Python package by its name."""
    lock = text(program, PYPI)
    entries = re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)((?:.*\\\n)*.*)$", lock)
    for requirement in program.source.pypi:
        name, _, version = requirement.partition("==")
        plain = _plain(name.partition("[")[0])
        if version not in (locked := [each[1] for each in entries if _plain(each[0]) == plain]):
            message = f"{name} is {locked[0] if locked else 'absent'} there and {version} in program.yaml"
            raise _wrong(program, PYPI, message)
    hashes: dict[str, tuple[str, ...]] = {}
    for name, _, rest in entries:
        if not (found := tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))):
            message = f"{name} has no hash"
            raise _wrong(program, PYPI, message)
        # One package may be locked in several versions, each for some Pythons.
        hashes[_plain(name)] = (*hashes.get(_plain(name), ()), *found)
    return hashes


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def digests(program: Program, name: str) -> dict[str, str]:
    """Return a file of lines `sha256  what`, as sha256sum writes them."""
    found: dict[str, str] = {}
    for number, line in enumerate(text(program, name).splitlines(), start=1):
        digest, _, what = line.partition("  ")
        if not _DIGEST.fullmatch(digest) or not what:
            message = f"line {number} is not written `sha256  what`"
            raise _wrong(program, name, message)
        found[what] = digest
    return found


def artifacts(program: Program) -> dict[str, str]:
    """Return the sha256 of each Maven artifact."""
    return _complete(program, MAVEN, program.source.maven)


def bundles(program: Program) -> dict[str, str]:
    """Return the sha256 of each bundle."""
    return _complete(program, BUNDLES, tuple(program.bundles))


def _complete(program: Program, name: str, wanted: tuple[str, ...]) -> dict[str, str]:
    found = digests(program, name)
    for what in wanted:
        if what not in found:
            message = f"has no line for {what}"
            raise _wrong(program, name, message)
    return {what: found[what] for what in wanted}


def packages(program: Program) -> Mapping[str, str]:
    """Return package.json and the lock of the npm packages, by file name."""
    npm = program.source.npm
    assert npm is not None  # noqa: S101 - callers have asked
    manifest = text(program, PACKAGE)
    if npm.packages and json.loads(manifest).get("dependencies") != dict(npm.packages):
        message = "has other dependencies than program.yaml"
        raise _wrong(program, PACKAGE, message)
    lock = NPM[npm.installer]
    return {PACKAGE: manifest, lock: text(program, lock)}
