"""All programs together: names are unique, and what one refers to of another exists."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.errors import UsageError
from betelgeuse.programs.model import SCRATCH, SUITES, Bundle, File, Image, Kind, Program, Script
from betelgeuse.programs.read import FILE, read
from betelgeuse.settings import suggest

FOLDERS: Final = [paths.ROOT / "programs", paths.ROOT / "apps"]
"""Other projects' programs, and our own."""
_OF_SOURCE: Final = {Kind.MODULE: Kind.GO, Kind.SDIST: Kind.PYPI}
"""Kinds of files whose source has another name."""


@cache
def table() -> Mapping[str, Program]:
    """Return every program by its name; the first mistake in any of them is a UsageError."""
    return load(FOLDERS)


def load(folders: Iterable[Path]) -> Mapping[str, Program]:
    """Read the programs of some folders and check what they owe each other."""
    programs: dict[str, Program] = {}
    for folder in (each for top in folders for each in sorted(top.iterdir()) if each.is_dir()):
        if folder.name in programs:
            message = f"{paths.shown(folder)}: {paths.shown(programs[folder.name].folder)} has the same name"
            raise UsageError(message)
        programs[folder.name] = read(folder)
    known = _unique(programs.values())
    for image in known.values():
        _check(image, programs, known)
    for each in programs.values():
        if isinstance(each.source.build, Script):
            _check_files(f"{_file(each)}: source.build", each.source.build.files, programs)
    return programs


def _unique(programs: Iterable[Program]) -> dict[str, Image]:
    images: dict[str, Image] = {}
    bundles: dict[str, Bundle] = {}
    for program in programs:
        for name in program.images:
            if name in images:
                message = f"{_file(program)}: images.{name}: {images[name].program} makes an image of that name"
                raise UsageError(message)
        for name in program.bundles:
            if name in bundles:
                message = f"{_file(program)}: bundles.{name}: {bundles[name].program} has a bundle of that name"
                raise UsageError(message)
        images.update(program.images)
        bundles.update(program.bundles)
    return images


def _file(program: Program) -> str:
    return paths.shown(program.folder / FILE)


def _check(image: Image, programs: Mapping[str, Program], known: Mapping[str, Image]) -> None:
    where = f"{_file(programs[image.program])}: images.{image.name}"
    if image.parent and image.parent not in known:
        bases = [SCRATCH, *SUITES, *known]
        known_ones = f"{', '.join((SCRATCH, *SUITES))}, and the images of the tree"
        message = f"{where}.base: unknown base {image.parent!r}{suggest(image.parent, bases)} (known: {known_ones})"
        raise UsageError(message)
    if image.name in {parent.name for parent in ancestors(image, known)}:
        message = f"{where}.base: the image stands on itself, by way of {image.parent}"
        raise UsageError(message)
    _check_files(where, image.files, programs)


def _check_files(where: str, files: Mapping[str, File], programs: Mapping[str, Program]) -> None:
    for path, file in files.items():
        if problem := _unobtainable(file, programs):
            message = f"{where}.files.{path}: {problem}"
            raise UsageError(message)


def ancestors(image: Image, known: Mapping[str, Image]) -> Iterator[Image]:
    """Yield the images that an image stands on, the nearest first; one that stands on itself comes up once."""
    seen: set[str] = set()
    while image.parent and image.parent not in seen:
        seen.add(image.parent)
        image = known[image.parent]
        yield image


def _unobtainable(file: File, programs: Mapping[str, Program]) -> str:
    """Return why a file cannot be had, or nothing."""
    if file.program not in programs:
        return f"unknown program {file.program!r}{suggest(file.program, list(programs))}"
    program = programs[file.program]
    if file.kind is Kind.OWN:
        own = program.folder / file.path
        return "" if own.exists() else f"{paths.shown(own)} does not exist"
    wanted = _OF_SOURCE.get(file.kind, file.kind)
    return "" if getattr(program.source, wanted.value) else f"the source of {program.name} has no `{wanted.value}`"


def program(name: str) -> Program:
    """Return one program; an unknown name is a UsageError."""
    if name not in table():
        message = f"unknown program {name!r}{suggest(name, list(table()))} (programs/ and apps/ have them)"
        raise UsageError(message)
    return table()[name]


def images() -> dict[str, Image]:
    """Return every image by its name."""
    return {name: image for each in table().values() for name, image in each.images.items()}


def pulled() -> dict[str, Image]:
    """Return every image of other projects by the name that environments pull, without the tag.

    Where one is built in one version and only pulled in another, environments that pull have the other.
    """
    known = [image for image in images().values() if not (image.on_demand or image.ours)]
    return {image.upstream[0]: image for image in sorted(known, key=lambda image: image.pulled)}


def bundles() -> dict[str, Bundle]:
    """Return every bundle by its name."""
    return {name: bundle for each in table().values() for name, bundle in each.bundles.items()}
