"""Container images without a registry: base file systems by mmdebstrap, images by buildah, archives in the store."""

import os
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import yaml

from betelgeuse import paths
from betelgeuse.builds import artifacts
from betelgeuse.builds.store import hash_tree, key_of, place, produce
from betelgeuse.errors import BetelgeuseError, BuildError, UsageError
from betelgeuse.shell import run

TABLE: Final = paths.ROOT / "images" / "images.yaml"
REPOSITORY: Final = "betelgeuse.local"
SUITES: Final = ("bookworm", "trixie")
_LEAN: Final = tuple(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man"))
"""A node keeps a copy of every base: manuals and translations stay out."""
_KEYS: Final = {"replaces", "base", "context", "own", "on-demand"}
_TAG_KEY: Final = 8


@dataclass(frozen=True)
class Image:
    """One row of images/images.yaml."""

    name: str
    replaces: str
    base: str = ""
    context: dict[str, str] = field(default_factory=dict)
    on_demand: bool = False
    """No part of the tree: built and loaded by the verb that runs it, never by a deploy."""

    @property
    def folder(self) -> Path:
        """Return the folder with the Dockerfile and our own files."""
        return paths.ROOT / "images" / self.name

    @property
    def upstream(self) -> tuple[str, str]:
        """Return the name and the tag that manifests use."""
        name, _, tag = self.replaces.rpartition(":")
        return name, tag


@cache
def table() -> dict[str, Image]:
    """Read images/images.yaml; a wrong row is a UsageError naming it."""
    rows = cast("dict[str, dict[str, Any]]", yaml.safe_load(TABLE.read_text()))
    images: dict[str, Image] = {}
    for name, row in rows.items():
        if unknown := set(row) - _KEYS:
            message = f"images/images.yaml: {name}: unknown key {min(unknown)!r}; known: {', '.join(sorted(_KEYS))}"
            raise UsageError(message)
        context, on_demand = row.get("context") or {}, bool(row.get("on-demand"))
        images[name] = Image(name, row["replaces"], row.get("base", ""), context, on_demand)
        if not (images[name].folder / "Dockerfile").is_file():
            message = f"images/{name}/Dockerfile does not exist, yet images/images.yaml lists {name}"
            raise UsageError(message)
    return images


def _inputs(image: Image) -> dict[str, object]:
    return {
        "image": image.replaces,
        "folder": {path.name: hash_tree(path) for path in sorted(image.folder.iterdir()) if path.suffix != ".md"},
        "base": _base_key(image.base),
        "context": {target: artifacts.key(source) for target, source in sorted(image.context.items())},
    }


def _base_key(base: str) -> str:
    if base.startswith("image:"):
        return key_of(_inputs(table()[base.removeprefix("image:")]))
    return key_of(_suite_inputs(base)) if base else ""


def _suite_inputs(suite: str) -> dict[str, object]:
    return {"suite": suite, "options": _LEAN}


def reference(image: Image) -> str:
    """Return the name a node knows the image by; its tag changes with its content, so a change is a rollout.

    Images of kubeadm's own components keep the plain tag that kubeadm asks for.
    """
    tag = image.upstream[1]
    if image.replaces.startswith("registry.k8s.io/"):
        return f"{REPOSITORY}/{image.name}:{tag}"
    return f"{REPOSITORY}/{image.name}:{tag}-{key_of(_inputs(image))[:_TAG_KEY]}"


def archive(image: Image) -> Path:
    """Return where the image's archive is or will be."""
    return place(f"image-{image.name}", _inputs(image)) / "image.tar"


def _buildah(*arguments: str, log: Path) -> str:
    root = paths.CACHE / "containers"
    storage = ["--root", str(root / "storage"), "--runroot", str(root / "run"), "--storage-driver", "overlay"]
    # Isolation by chroot needs no user namespace, no runc and no cgroup.
    environment = {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(_tmp())}
    return run(["buildah", *storage, *arguments], env=environment, log=log, timeout=1800)


def _tmp() -> Path:
    folder = paths.CACHE / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def base(suite: str) -> str:
    """Return the local name of a Debian base image, made on first use."""
    if suite not in SUITES:
        message = f"images/images.yaml: base {suite!r} is none of {', '.join(SUITES)}, image:<name>"
        raise UsageError(message)
    name = f"localhost/debian:{suite}-{key_of(_suite_inputs(suite))[:_TAG_KEY]}"
    log = paths.CACHE / "logs" / f"base-{suite}.log"

    def make(out: Path) -> None:
        retry = '--aptopt=Acquire::Retries "3"'
        argv = ["mmdebstrap", "--variant=minbase", retry, *_LEAN, suite, str(out / "base.tar")]
        try:
            run(argv, env={"TMPDIR": str(_tmp())}, log=log, timeout=900)
        except BetelgeuseError as error:
            message = f"base file system of Debian {suite} failed: {error}"
            raise BuildError(message) from None
        (out / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")

    folder = produce(f"base-{suite}", _suite_inputs(suite), make)
    if not _known(name, log):
        _buildah("bud", "-q", "-t", name, str(folder), log=log)
    return name


def _known(name: str, log: Path) -> bool:
    try:
        _buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", name, log=log)
    except BetelgeuseError:
        return False
    return True


def _base(image: Image) -> str:
    if image.base.startswith("image:"):
        parent = table()[image.base.removeprefix("image:")]
        build(parent)
        name = reference(parent)
        log = paths.CACHE / "logs" / f"image-{image.name}.log"
        if not _known(name, log):
            _buildah("pull", "-q", f"docker-archive:{archive(parent)}", log=log)
        return name
    return base(image.base)


def build(image: Image) -> Path:
    """Return the image's archive (docker-archive), built unless the store has it."""
    log = paths.CACHE / "logs" / f"image-{image.name}.log"
    name = reference(image)
    # Outside produce(): these are results of their own, and their time is not this image's.
    sources = {target: artifacts.resolve(source) for target, source in image.context.items()}
    argument = ["--build-arg", f"BASE={_base(image)}"] if image.base and not archive(image).is_file() else []

    def make(out: Path) -> None:
        context = out / "context"
        shutil.copytree(image.folder, context, ignore=shutil.ignore_patterns("__pycache__"))
        for target, source in sources.items():
            _place(source, context / target)
        try:
            _buildah("bud", "-q", "--network", "host", *argument, "-t", name, str(context), log=log)
            _buildah("push", "-q", name, f"docker-archive:{out / 'image.tar'}:{name}", log=log)
        except BetelgeuseError as error:
            message = f"image {image.name} failed: {error}"
            raise BuildError(message) from None
        shutil.rmtree(context)
        if not any(row.base == f"image:{image.name}" for row in table().values()):
            _buildah("rmi", name, log=log)

    return produce(f"image-{image.name}", _inputs(image), make) / "image.tar"


def _place(source: Path, target: Path) -> None:
    """Put a file or folder into a build context, by hard link where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
