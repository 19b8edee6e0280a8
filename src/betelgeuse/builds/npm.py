"""npm packages from their lock: what is locked is installed, no script of theirs is run, nothing is fetched later."""

from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.store import produce
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.programs import locks, table
from betelgeuse.programs.model import Installer, Npm, Program
from betelgeuse.shell import run

_SECONDS: Final = 1800.0
_NO_ADDRESSES: Final = ("--omit-lockfile-registry-resolved",)
"""Where packages come from is the configuration of whoever installs them."""
_QUIET: Final = ("--no-audit", "--no-fund", "--no-update-notifier")


def inputs(program: Program) -> dict[str, object]:
    """Return what decides the packages: manifest, lock, and what installs them."""
    npm = program.source.npm
    known: dict[str, object] = {"files": locks.packages(program), "installer": npm.installer.value if npm else ""}
    return known if npm is None or npm.peers else {**known, "peers": False}


def _program(npm: Npm) -> str:
    if npm.installer is Installer.NPM:
        return "npm"
    return str(installed(table.program("bun")) / "node_modules" / "@oven" / "bun-linux-x64" / "bin" / "bun")


def _peers(npm: Npm) -> list[str]:
    return [] if npm.peers else ["--legacy-peer-deps"]


def installing(npm: Npm) -> list[str]:
    """Return the command that installs what is locked in the current folder."""
    if npm.installer is Installer.NPM:
        return [_program(npm), "ci", "--ignore-scripts", "--omit=dev", *_peers(npm), *_QUIET]
    # Hoisted is npm's layout: one flat node_modules.
    flags = ["--frozen-lockfile", "--ignore-scripts", "--production", "--linker", "hoisted"]
    return [_program(npm), "install", *flags]


def resolving(npm: Npm) -> list[str]:
    """Return the command that writes the lock of the package.json in the current folder."""
    if npm.installer is Installer.NPM:
        return [
            _program(npm),
            "install",
            "--package-lock-only",
            "--ignore-scripts",
            *_peers(npm),
            *_NO_ADDRESSES,
            *_QUIET,
        ]
    return [_program(npm), "install", "--lockfile-only", "--ignore-scripts"]


def installed(program: Program) -> Path:
    """Return a folder with package.json, its lock and node_modules; BuildError where a package cannot be had."""

    def make(out: Path) -> None:
        npm = program.source.npm
        for name, text in locks.packages(program).items():
            (out / name).write_text(text, "utf-8")
        try:
            argv = installing(npm) if npm else []
            run(argv, cwd=out, timeout=_SECONDS, log=paths.CACHE / "logs" / f"npm-{program.name}.log")
        except BetelgeuseError as error:
            message = f"the packages of {paths.shown(program.folder / locks.PACKAGE)} failed: {error}"
            raise BuildError(message) from None

    return produce(f"npm-{program.name}", inputs(program), make)
