"""What a tree says in secret: faults of its generators are told without it, and it is kept out of others' messages."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from betelgeuse import paths, yamls
from betelgeuse.errors import UsageError

_GENERATORS: Final = ("secretGenerator", "configMapGenerator")
KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
"""What a key of a Secret or a ConfigMap may be."""
_SHORTEST: Final = 4
"""Characters below which a text is no secret, and too common to be hidden."""
_HIDDEN: Final = "***"


class _Kustomization(NamedTuple):
    path: Path
    text: str
    document: dict[str, Any]

    def at(self, word: str) -> str:
        """Return the place where a text stands, without the text."""
        lines = self.text.splitlines()
        number = next((number for number, line in enumerate(lines, start=1) if word and word in line), 1)
        return f"{paths.shown(self.path)}:{number}"

    def entries(self, section: str) -> list[Any]:
        found = self.document.get(section)
        return found if isinstance(found, list) else []

    def generators(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for section in _GENERATORS:
            yield from ((section, entry) for entry in self.entries(section) if isinstance(entry, dict))


def _documents(path: Path) -> tuple[str, list[Any]]:
    """Return a file's text and documents; of one that cannot be read, nothing: whoever needs it says so."""
    with suppress(OSError, UnicodeDecodeError, UsageError):
        text = path.read_text("utf-8")
        return text, yamls.parse(text, paths.shown(path))
    return "", []


def _reached(folder: Path, seen: set[Path]) -> Iterator[_Kustomization]:
    """Yield the kustomizations that one is made of, other projects' left out: they hold no secret of ours."""
    path = folder / "kustomization.yaml"
    if path.resolve() in seen or paths.UPSTREAM.name in path.parts:
        return
    seen.add(path.resolve())
    text, documents = _documents(path)
    for document in documents:
        if isinstance(document, dict):
            here = _Kustomization(path, text, document)
            yield here
            for name in (*here.entries("resources"), *here.entries("components")):
                if isinstance(name, str) and (folder / name).is_dir():
                    yield from _reached((folder / name).resolve(), seen)


def _listed(generator: dict[str, Any], key: str) -> list[Any]:
    found = generator.get(key)
    return found if isinstance(found, list) else []


def _pair(text: str, *, secret: bool) -> str:
    """Return what is wrong with a KEY=VALUE, empty when nothing is."""
    key, equals, value = text.partition("=")
    if not equals:
        return "has no '=': write KEY=VALUE"
    if not KEY.fullmatch(key):
        return "has a key of other signs than letters, digits, '-', '_' and '.'"
    if secret and not value.strip("="):
        # `c2VjcmV0==` is no key.
        return "has no value behind its key"
    return ""


def _files(folder: Path, generator: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yield each file of lines that a generator reads, as it is written there and as a path."""
    for name in (*_listed(generator, "envs"), generator.get("env")):
        if isinstance(name, str):
            yield name, folder / name


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with suppress(OSError, UnicodeDecodeError):
        for number, raw in enumerate(path.read_text("utf-8-sig").split("\n"), start=1):
            line = raw.removesuffix("\r").lstrip()
            if line and not line.startswith("#"):
                yield number, line


def _fault(here: _Kustomization, section: str, generator: dict[str, Any]) -> str | None:
    name, secret = f"{section} {generator.get('name')!r}", section == "secretGenerator"
    for number, literal in enumerate(_listed(generator, "literals"), start=1):
        wrong = _pair(literal, secret=secret) if isinstance(literal, str) else "is no text: quote it"
        if wrong:
            return f"{here.at(str(literal))}: {name}: literal {number} {wrong} (its text is not shown)"
    for shown, path in _files(here.path.parent, generator):
        if not path.is_file():
            return f"{here.at(shown)}: {name}: the file of an `envs` entry does not exist"
        for number, line in _lines(path):
            if wrong := _pair(line, secret=secret):
                return f"{paths.shown(path)}:{number}: {name}: the line {wrong} (its text is not shown)"
    for number, entry in enumerate(_listed(generator, "files"), start=1):
        if not (here.path.parent / str(entry).rpartition("=")[2]).is_file():
            return f"{here.at(str(entry))}: {name}: file {number} does not exist"
    return None


def fault(overlay: Path) -> str | None:
    """Return the first thing wrong with a generator that an overlay is made of, or None.

    Kustomize repeats a wrong literal whole, and takes the lines of a key file for names.
    """
    found = (_fault(here, *generator) for here in _reached(overlay, set()) for generator in here.generators())
    return next(filter(None, found), None)


def _scalars(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _scalars(entry)
    elif value is not None and not isinstance(value, bool):
        yield from (line.strip() for line in str(value).splitlines())


def _of_document(document: object) -> Iterator[str]:
    """Yield what a Secret, or a patch of one, holds."""
    if isinstance(document, dict) and (document.get("kind") == "Secret" or "stringData" in document):
        for section in ("data", "stringData"):
            yield from _scalars(document.get(section))
    if isinstance(document, list):
        yield from _scalars([step.get("value") for step in document if isinstance(step, dict)])


def _texts(here: _Kustomization) -> Iterator[str]:
    folder = here.path.parent
    for section, generator in here.generators():
        lines = [line for _, path in _files(folder, generator) for _, line in _lines(path)]
        if section == "secretGenerator":
            pairs = [*map(str, _listed(generator, "literals")), *lines]
            yield from (text for pair in pairs for text in (pair, pair.partition("=")[2]))
    patches = [patch if isinstance(patch, dict) else {"path": patch} for patch in here.entries("patches")]
    inline = [str(patch["patch"]) for patch in patches if "patch" in patch]
    for text in inline:
        documents = []
        with suppress(UsageError):
            documents = yamls.parse(text, "")
        if documents:
            yield from (found for document in documents for found in _of_document(document))
        else:
            yield from _scalars(text)
    named = [*here.entries("resources"), *(patch.get("path") for patch in patches)]
    for name in named:
        if isinstance(name, str) and (folder / name).is_file():
            yield from (found for document in _documents(folder / name)[1] for found in _of_document(document))


def hide(complaint: str, overlay: Path) -> str:
    """Return others' words about an overlay without what it says in secret."""
    found = {text for here in _reached(overlay, set()) for text in _texts(here) if len(text) >= _SHORTEST}
    for text in sorted(found, key=len, reverse=True):
        complaint = complaint.replace(text, _HIDDEN)
    return complaint
