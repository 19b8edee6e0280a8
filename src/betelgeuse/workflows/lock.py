"""Write what is locked beside a program's program.yaml, for the version and packages that stand there now."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from betelgeuse import materialise, paths
from betelgeuse.builds import golang, maven, npm
from betelgeuse.errors import UsageError
from betelgeuse.programs import locks, table
from betelgeuse.programs.model import Build, Program
from betelgeuse.progress import out, step
from betelgeuse.shell import run

_SECONDS: Final = 3600.0
_KUBERNETES: Final = "k8s.io/kubernetes"
"""The module that requires others which it keeps in its own tree."""


def _go(program: Program) -> None:
    """Let Go require the version; what it must resolve besides is its business."""
    go = str(golang.toolchain(program))
    environment = {**golang.environment(program), "GOFLAGS": "-mod=mod"}
    if not (program.folder / locks.GO).is_file():
        run([go, "mod", "init", f"betelgeuse.local/programs/{program.name}"], cwd=program.folder, env=environment)
    _staging(program, go, environment)
    wanted = [f"{module}@{version}" for module, version in program.modules()]
    run([go, "get", *wanted], cwd=program.folder, env=environment, timeout=_SECONDS)
    # Every module of the build gets its checksum; nothing is compiled. What a build of the program's own makes for a
    # module to embed is not there yet.
    incomplete = ["-e"] if program.source.go and program.source.go.replace else []
    run([go, "list", *incomplete, "-deps", "tool"], cwd=program.folder, env=environment, timeout=_SECONDS)
    if program.source.go and (tests := program.source.go.tests):
        run([go, "list", "-deps", "-test", *tests], cwd=program.folder, env=environment, timeout=_SECONDS)


def staged(kubernetes: Mapping[str, Any], ours: Mapping[str, Any], version: str) -> list[str]:
    """Return the edits of our go.mod that replace what Kubernetes keeps in its tree by what it publishes of it.

    Both are what `go mod edit -json` tells. Of v1.37.2 it publishes k8s.io/api as v0.37.2.
    """
    published = f"v0.{version.partition('.')[2]}"
    kept = [each["Old"]["Path"] for each in kubernetes["Replace"] if each["New"]["Path"].startswith("./staging/")]
    former = [each["Old"]["Path"] for each in ours["Replace"] or [] if each["Old"]["Path"] == each["New"]["Path"]]
    return [
        *(f"-dropreplace={module}" for module in former if module not in kept and module.startswith("k8s.io/")),
        *(f"-replace={module}={module}@{published}" for module in kept),
    ]


def _staging(program: Program, go: str, environment: Mapping[str, str]) -> None:
    version = dict(program.modules()).get(_KUBERNETES)
    if version is None:
        return

    def ask(*arguments: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(run([go, "mod", *arguments], cwd=program.folder, env=environment, timeout=_SECONDS))

    kubernetes = ask("edit", "-json", ask("download", "-json", f"{_KUBERNETES}@{version}")["GoMod"])
    edits = staged(kubernetes, ask("edit", "-json"), version)
    run([go, "mod", "edit", *edits], cwd=program.folder, env=environment)


def _pypi(program: Program) -> None:
    target = program.folder / locks.PYPI
    if isinstance(program.source.build, Build):
        # A source package would have to be built to be resolved; these are files that nobody installs.
        lines = [line for requirement in program.source.pypi for line in _pinned(requirement)]
        target.write_text("\n".join(lines) + "\n", "utf-8")
        return
    # Universal: one lock for every Python from 3.11 and every platform. No annotations of indexes or hosts.
    argv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    argv += ["--generate-hashes", "--no-annotate", "--custom-compile-command", f"invoke lock --program={program.name}"]
    if (overrides := program.folder / locks.OVERRIDES).is_file():
        argv += ["--override", str(overrides)]
    run([*argv, "-o", str(target), "-"], input="\n".join(program.source.pypi), timeout=_SECONDS)


def _pinned(requirement: str) -> list[str]:
    from betelgeuse.builds import pypi  # noqa: PLC0415 - the index's client is slow to import

    name, _, version = requirement.partition("==")
    return [f"{requirement} \\", f"    --hash=sha256:{pypi.only_file(name, version)}"]


def _maven(program: Program) -> None:
    _write(program, locks.MAVEN, maven.digests(program))


def _npm(program: Program) -> None:
    said = program.source.npm
    if said is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in (locks.PACKAGE, locks.NPM[said.installer]):
            if (program.folder / name).is_file():
                shutil.copy(program.folder / name, folder)
        if said.packages:
            manifest = {"name": program.name, "private": True, "dependencies": dict(said.packages)}
            (Path(folder) / locks.PACKAGE).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        run(npm.resolving(said), cwd=Path(folder), timeout=_SECONDS)
        for name in (locks.PACKAGE, locks.NPM[said.installer]):
            shutil.copy(Path(folder) / name, program.folder)


def _bundles(program: Program) -> None:
    made = materialise.contents(program.bundles.values(), lambda tool: golang.commands(tool) / tool)
    _write(program, locks.BUNDLES, {name: materialise.digest(content) for name, content in made.items()})


def _write(program: Program, name: str, digests: Mapping[str, str]) -> None:
    text = "".join(f"{digest}  {what}\n" for what, digest in sorted(digests.items()))
    (program.folder / name).write_text(text, "utf-8")


def lock(name: str) -> None:
    """Write every lock that a program needs; its program.yaml decides which."""
    program = table.program(name)
    source = program.source
    steps: list[tuple[object, str, Callable[[Program], None]]] = [
        (source.go, locks.GO, _go),
        (source.pypi, locks.PYPI, _pypi),
        (source.maven, locks.MAVEN, _maven),
        (source.npm, locks.PACKAGE, _npm),
        (program.bundles, locks.BUNDLES, _bundles),
    ]
    wanted = [(file, write) for needed, file, write in steps if needed]
    if not wanted:
        message = f"{paths.shown(program.folder)}: program.yaml names nothing that is locked"
        raise UsageError(message)
    for file, write in wanted:
        with step(f"lock {paths.shown(program.folder / file)}"):
            write(program)
        out(paths.shown(program.folder / file))
