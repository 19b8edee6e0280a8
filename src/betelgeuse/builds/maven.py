"""Files from Maven's central repository: programs whose distribution is published nowhere else that we reach.

They are fetched by Maven itself, so that mirrors and proxies of the user's settings.xml apply, and verified by a lock
of ours: Maven checks that a file is what its repository says, not that it is what we reviewed.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from xml.etree import ElementTree as ET

from betelgeuse import paths
from betelgeuse.builds.archive import extract, sha256_of
from betelgeuse.builds.store import produce
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.programs import locks
from betelgeuse.programs.model import Program
from betelgeuse.progress import step
from betelgeuse.shell import run

_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
_FIELDS: Final = ("groupId", "artifactId", "version", "type", "classifier")
_ARCHIVES: Final = ("zip", "tar.gz")
_SECONDS: Final = 1800
_ABSENT: Final = ("could not find artifact", "status code: 403", "status code: 404", "status: 403", "status: 404")


def file_name(artifact: str) -> str:
    """Return the file name of an artifact `group:name:version:type[:classifier]`."""
    _, name, version, kind, *classifier = artifact.split(":")
    return f"{'-'.join((name, version, *classifier))}.{kind}"


def _project(artifacts: Iterable[str], out: Path) -> str:
    """Return a pom.xml whose one step copies the artifacts, and nothing that they depend on, into a folder."""
    project = ET.Element("project", xmlns="http://maven.apache.org/POM/4.0.0")
    for name, value in (("modelVersion", "4.0.0"), ("groupId", "betelgeuse.local"), ("artifactId", "fetch")):
        ET.SubElement(project, name).text = value
    ET.SubElement(project, "version").text = "1"
    ET.SubElement(project, "packaging").text = "pom"
    plugins = ET.SubElement(ET.SubElement(project, "build"), "plugins")
    plugin = ET.SubElement(plugins, "plugin")
    for name, value in zip(_FIELDS, _PLUGIN.split(":"), strict=False):
        ET.SubElement(plugin, name).text = value
    configuration = ET.SubElement(plugin, "configuration")
    ET.SubElement(configuration, "outputDirectory").text = str(out)
    items = ET.SubElement(configuration, "artifactItems")
    for artifact in artifacts:
        item = ET.SubElement(items, "artifactItem")
        for name, value in zip(_FIELDS, artifact.split(":"), strict=False):
            ET.SubElement(item, name).text = value
    return ET.tostring(project, encoding="unicode")


def _fetch(artifacts: Iterable[str], folder: Path, program: Program) -> Path:
    """Let one run of Maven put artifacts into a folder `out` of `folder`; its own parts stay beside it."""
    origin = program.folder / "program.yaml"
    (folder / "pom.xml").write_text(_project(artifacts, folder / "out"), "utf-8")
    argv = ["mvn", "--batch-mode", "--no-transfer-progress", f"-Dmaven.repo.local={folder / 'repository'}"]
    log = paths.CACHE / "logs" / "maven.log"
    try:
        run([*argv, f"{_PLUGIN}:copy"], cwd=folder, log=log, timeout=_SECONDS)
    except BetelgeuseError as error:
        text = str(error).lower()
        if any(word in text for word in _ABSENT):
            hint = f"the repository does not give it: name another version in {paths.shown(origin)}"
        else:
            hint = "run it again; if it fails the same way, read the log"
        message = f"cannot download the artifacts of {paths.shown(origin)}: {hint}: {error}"
        raise BuildError(message) from None
    return folder / "out"


def _kept(artifact: str, sha256: str) -> Path:
    return paths.CACHE / "downloads" / f"{sha256[:16]}-{file_name(artifact)}"


def _fetched(artifacts: Collection[str], program: Program) -> dict[str, str]:
    """Fetch artifacts, keep each under its hash, and return the hashes."""
    downloads = paths.CACHE / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    digests = {}
    # On the same disk as the target, so that the rename is one step.
    with (
        TemporaryDirectory(prefix=f".{os.getpid()}-maven-", dir=downloads) as folder,
        step(f"download {len(artifacts)} artifacts of {program.name}"),
    ):
        out = _fetch(artifacts, Path(folder), program)
        for artifact in artifacts:
            file = out / file_name(artifact)
            digests[artifact] = sha256_of(file)
            file.rename(_kept(artifact, digests[artifact]))
    return digests


def digests(program: Program) -> dict[str, str]:
    """Return the sha256 that each of a program's artifacts has now: what is to be locked."""
    return _fetched(program.source.maven, program)


def download(program: Program) -> Mapping[str, Path]:
    """Return the files of a program's artifacts, downloaded once and verified by their locked sha256.

    Raises BuildError when the repository refuses one or its content differs from the lock.
    """
    locked = locks.artifacts(program)
    files = {artifact: _kept(artifact, sha256) for artifact, sha256 in locked.items()}
    if missing := [artifact for artifact, file in files.items() if not file.is_file()]:
        for artifact, got in _fetched(missing, program).items():
            if got != locked[artifact]:
                _kept(artifact, got).unlink()
                message = f"{artifact}: expected sha256 {locked[artifact]}, got {got}; the file is another one"
                raise BuildError(message)
    return files


def inputs(program: Program) -> dict[str, object]:
    """Return what decides the files."""
    return {"artifacts": locks.artifacts(program)}


def files(program: Program) -> Path:
    """Return a folder with a program's artifacts: jars as they are, archives unpacked under their artifact's name."""

    def make(out: Path) -> None:
        for artifact, file in download(program).items():
            _, name, _, kind, *_ = artifact.split(":")
            if kind in _ARCHIVES:
                extract(file, out / name)
            else:
                shutil.copyfile(file, out / file_name(artifact))

    return produce(f"maven-{program.name}", inputs(program), make)
