"""program.yaml -> Program: one file, read strictly; what programs owe each other is betelgeuse.programs.table's."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Final

from betelgeuse import paths
from betelgeuse.programs.entry import Entry, parse
from betelgeuse.programs.model import (
    SCRATCH,
    SUITES,
    Build,
    Bundle,
    File,
    Go,
    Image,
    Installer,
    Kind,
    Npm,
    Program,
    Script,
    Source,
)
from betelgeuse.settings import suggest

FILE: Final = "program.yaml"
SCRIPT: Final = "build.sh"
_IMAGE: Final = (
    "base",
    "cmd",
    "entrypoint",
    "env",
    "files",
    "on-demand",
    "packages",
    "replaces",
    "user",
    "workdir",
)
_BUNDLE: Final = ("chart", "files", "fill", "namespace", "release", "templates", "values", "version")
_OF_CHARTS: Final = ("fill", "namespace", "release", "templates", "values", "version")
_COORDINATES: Final = (4, 5)


def _go(entry: Entry) -> Go:
    if isinstance(entry.value, str):
        return Go((entry.text(),))
    said = entry.known(each.name for each in fields(Go))
    if "modules" not in said:
        message = "needs `modules`"
        raise entry.wrong(message)
    return Go(
        said["modules"].texts(),
        cgo="cgo" in said and said["cgo"].flag(),
        tags=said["tags"].text() if "tags" in said else "",
        variables=said["variables"].table() if "variables" in said else {},
        rename=said["rename"].table() if "rename" in said else {},
        replace=said["replace"].table() if "replace" in said else {},
        tests=said["tests"].texts() if "tests" in said else (),
    )


def _npm(entry: Entry) -> Npm:
    said = entry.known(each.name for each in fields(Npm))
    installer = said["installer"].choice(Installer) if "installer" in said else Installer.NPM
    peers = "peers" not in said or said["peers"].flag()
    if not peers and installer is Installer.BUN:
        message = "can be `false` for npm alone"
        raise said["peers"].wrong(message)
    return Npm(said["packages"].table() if "packages" in said else {}, installer, peers)


def _maven(entry: Entry) -> tuple[str, ...]:
    for artifact in entry.texts():
        if len(artifact.split(":")) not in _COORDINATES or not all(artifact.split(":")):
            message = f"{artifact!r} is not written group:artifact:version:type[:classifier]"
            raise entry.wrong(message)
    return entry.texts()


def _pypi(entry: Entry) -> tuple[str, ...]:
    for requirement in entry.texts():
        name, pinned, version = requirement.partition("==")
        if not (name and pinned and version):
            message = f"{requirement!r} is not written name==version"
            raise entry.wrong(message)
    return entry.texts()


def _suite(entry: Entry) -> str:
    if (suite := entry.text()) not in SUITES:
        message = f"{suite!r} is none of {', '.join(SUITES)}{suggest(suite, list(SUITES))}"
        raise entry.wrong(message)
    return suite


def _build(entry: Entry, folder: Path) -> Build | Script:
    if isinstance(entry.value, str):
        return entry.choice(Build)
    if not (folder / SCRIPT).is_file():
        message = f"{paths.shown(folder / SCRIPT)} does not exist"
        raise entry.wrong(message)
    said = entry.known(["files"])
    files = {path: _file(each, folder.name) for path, each in said["files"].named().items()} if "files" in said else {}
    for path in files:
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            message = f"{path} is outside of the folder in which the script runs"
            raise entry.wrong(message)
    return Script(files)


def _source(entry: Entry, folder: Path) -> Source:
    said = entry.known(each.name for each in fields(Source))
    return Source(
        go=_go(said["go"]) if "go" in said else None,
        maven=_maven(said["maven"]) if "maven" in said else (),
        npm=_npm(said["npm"]) if "npm" in said else None,
        pypi=_pypi(said["pypi"]) if "pypi" in said else (),
        debian=_suite(said["debian"]) if "debian" in said else "",
        build=_build(said["build"], folder) if "build" in said else None,
    )


def _file(entry: Entry, program: str) -> File:
    said = entry.known(["program", *(kind.value for kind in Kind)])
    kinds = [kind for kind in Kind if kind.value in said]
    if len(kinds) != 1:
        message = f"needs exactly one of {', '.join(kind.value for kind in Kind)}"
        raise entry.wrong(message)
    path = PurePosixPath(said[kinds[0].value].text())
    if path.is_absolute() or ".." in path.parts:
        message = f"{path} leaves the source it is a part of"
        raise entry.wrong(message)
    return File(said["program"].text() if "program" in said else program, kinds[0], str(path))


def _files(entry: Entry, program: str, dockerfile: Path | None) -> dict[str, File]:
    files = {path: _file(each, program) for path, each in entry.named().items()}
    for path in files:
        if dockerfile is None and not path.startswith("/"):
            message = f"{path} is no path in the image; it begins with a slash"
            raise entry.wrong(message)
        if dockerfile is not None and (path.startswith("/") or ".." in PurePosixPath(path).parts):
            message = f"{path}: {paths.shown(dockerfile)} copies it, so it is a path in the build context"
            raise entry.wrong(message)
    return files


def _usual(name: str, program: str, source: Source, entrypoint: tuple[str, ...]) -> tuple[str, Mapping[str, File], str]:
    """Return base, files and folder of an image that says nothing about its files.

    An application of Python or Node goes to /opt/<image> whole; a Go command to where the entry point is.
    """
    if source.go and entrypoint:
        return SCRATCH, {entrypoint[0]: File(program, Kind.GO, PurePosixPath(entrypoint[0]).name)}, ""
    if source.pypi:
        return "python", {f"/opt/{name}": File(program, Kind.PYPI)}, ""
    if source.npm:
        return "node", {f"/opt/{name}": File(program, Kind.NPM)}, f"/opt/{name}"
    return SCRATCH, {}, ""


def _image(entry: Entry, name: str, folder: Path, source: Source) -> Image:
    said = entry.known(_IMAGE)
    if "replaces" not in said or ":" not in said["replaces"].text().rpartition("/")[2]:
        message = "needs `replaces`, the image that other environments pull, with its tag"
        raise entry.wrong(message)
    own = folder / ("Dockerfile" if name == folder.name else f"Dockerfile.{name}")
    dockerfile = own if own.is_file() else None
    entrypoint = said["entrypoint"].texts() if "entrypoint" in said else ()
    base, files, workdir = _usual(name, folder.name, source, entrypoint)
    env = said["env"].table() if "env" in said else {}
    if "files" in said or dockerfile:
        base, workdir = SCRATCH, ""
        files = _files(said["files"], folder.name, dockerfile) if "files" in said else {}
    elif f"/opt/{name}" in files and source.pypi:
        env = {"PYTHONPATH": f"/opt/{name}", **env}
    base = said["base"].text() if "base" in said else source.debian or base
    for key in ("packages", "env", "user", "workdir", "entrypoint", "cmd"):
        if dockerfile and key in said:
            message = f"{paths.shown(dockerfile)} decides about {key}; say it there"
            raise entry.wrong(message)
    if "packages" in said and base == SCRATCH:
        message = "packages need a base that is Debian's"
        raise entry.wrong(message)
    return Image(
        name=name,
        program=folder.name,
        replaces=said["replaces"].text(),
        suite=base if base in SUITES else "",
        parent=base if base not in {SCRATCH, *SUITES} else "",
        packages=said["packages"].texts() if "packages" in said else (),
        files=files,
        env=env,
        user=said["user"].text() if "user" in said else Image.user,
        workdir=said["workdir"].text() if "workdir" in said else workdir,
        entrypoint=entrypoint,
        cmd=said["cmd"].texts() if "cmd" in said else (),
        on_demand="on-demand" in said and said["on-demand"].flag(),
        dockerfile=dockerfile,
    )


def _bundle(entry: Entry, name: str, folder: Path, version: str) -> Bundle:
    said = entry.known(_BUNDLE)
    if ("files" in said) == ("chart" in said):
        message = "needs either files or chart"
        raise entry.wrong(message)
    if "files" in said:
        for key in _OF_CHARTS:
            if key in said:
                message = f"`{key}` belongs to a chart"
                raise entry.wrong(message)
        return Bundle(name, folder.name, files=said["files"].text())
    values = folder / (said["values"].text() if "values" in said else "values.yaml")
    if not values.is_file():
        message = f"{paths.shown(values)} does not exist; a chart needs values of ours, if only an empty file"
        raise entry.wrong(message)
    return Bundle(
        name,
        folder.name,
        chart=said["chart"].text(),
        version=said["version"].text() if "version" in said else version,
        release=said["release"].text() if "release" in said else name,
        namespace=said["namespace"].text() if "namespace" in said else "default",
        templates=said["templates"].text() if "templates" in said else "",
        fill=said["fill"].table() if "fill" in said else {},
        values=values,
    )


def read(folder: Path) -> Program:
    """Read one program; a mistake is a UsageError that names file and key."""
    file = folder / FILE
    if not file.is_file():
        message = "does not exist; every folder here is a program"
        raise Entry(paths.shown(file), "", None).wrong(message)
    plain = parse(file.read_text("utf-8"), paths.shown(file))
    if "version" not in plain.named():
        message = "needs `version`"
        raise plain.wrong(message)
    version = plain.named()["version"].text()
    major, minor = [*version.split("."), ""][:2]
    entry = Entry(plain.file, "", plain.value, {"version": version, "major": major, "minor": minor})
    keys = entry.known(["version", "source", "component", "images", "bundles"])
    source = _source(keys["source"], folder) if "source" in keys else Source()
    images = keys["images"].named() if "images" in keys else {}
    bundles = keys["bundles"].named() if "bundles" in keys else {}
    if bundles and source.go is None:
        message = "come out of a Go module, and `source` names none"
        raise keys["bundles"].wrong(message)
    return Program(
        name=folder.name,
        folder=folder,
        version=version,
        source=source,
        component=keys["component"].text() if "component" in keys else "",
        images={name: _image(each, name, folder, source) for name, each in images.items()},
        bundles={name: _bundle(each, name, folder, version) for name, each in bundles.items()},
    )
