"""Container images without a registry: built by buildah on bases of ours, kept as archives in the store."""

import os
import shutil
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import artifacts, bases, recipe
from betelgeuse.builds.buildah import buildah, has
from betelgeuse.builds.store import key_of, place, produce
from betelgeuse.errors import BetelgeuseError, BuildError, UsageError
from betelgeuse.programs import table
from betelgeuse.programs.model import Image
from betelgeuse.settings import suggest

_TAG_KEY: Final = 8
_OTHERS_READ: Final = 0o004
_EXECUTED: Final = 0o100


def named(name: str) -> Image:
    """Return the image of that name."""
    images = table.images()
    if name not in images:
        message = f"unknown image {name!r}{suggest(name, list(images))}"
        raise UsageError(message)
    return images[name]


def _inputs(image: Image) -> dict[str, object]:
    return {
        "image": image.replaces,
        "recipe": recipe.dockerfile(image),
        "base": _base_key(image),
        "files": {path: artifacts.key(file) for path, file in sorted(image.files.items())},
    }


def _base_key(image: Image) -> str:
    if image.parent:
        return key_of(_inputs(named(image.parent)))
    return key_of(bases.inputs(image.suite)) if image.suite else ""


def reference(image: Image) -> str:
    """Return the name a node knows the image by; its tag changes with its content, so a change is a rollout.

    Images of kubeadm's own components keep the plain tag that kubeadm asks for.
    """
    tag = image.upstream[1]
    if image.replaces.startswith("registry.k8s.io/"):
        return f"{image.built}:{tag}"
    return f"{image.built}:{tag}-{key_of(_inputs(image))[:_TAG_KEY]}"


def archive(image: Image) -> Path:
    """Return where the image's archive is or will be."""
    return place(f"image-{image.name}", _inputs(image)) / "image.tar"


def _base(image: Image, log: Path) -> str:
    if not image.parent:
        return bases.base(image.suite)
    parent = named(image.parent)
    build(parent)
    name = reference(parent)
    if not has(name, log):
        buildah("pull", "-q", f"docker-archive:{archive(parent)}", log=log)
    return name


def build(image: Image) -> Path:
    """Return the image's archive (docker-archive), built unless the store has it."""
    log = paths.CACHE / "logs" / f"image-{image.name}.log"
    name = reference(image)
    # Outside produce(): these are results of their own, and their time is not this image's.
    files = {path: artifacts.resolve(file) for path, file in image.files.items()}
    based = bool(image.parent or image.suite) and not archive(image).is_file()
    argument = ["--build-arg", f"BASE={_base(image, log)}"] if based else []

    def make(out: Path) -> None:
        context = out / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(recipe.dockerfile(image), "utf-8")
        for path, source in files.items():
            stage(source, context / recipe.place(image, path))
        try:
            buildah("bud", "-q", "--network", "host", *argument, "-t", name, str(context), log=log)
            buildah("push", "-q", name, f"docker-archive:{out / 'image.tar'}:{name}", log=log)
        except BetelgeuseError as error:
            message = f"image {image.name} failed: {error}"
            raise BuildError(message) from None
        shutil.rmtree(context)
        if not any(each.parent == image.name for each in table.images().values()):
            buildah("rmi", name, log=log)

    return produce(f"image-{image.name}", _inputs(image), make) / "image.tar"


def stage(source: Path, target: Path) -> None:
    """Put a file or folder into a build context, readable for the image's user, by hard link where that is possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, symlinks=True, ignore=ignored, copy_function=_copy_file)
        for folder, _, _ in os.walk(target):
            Path(folder).chmod(0o755)
    else:
        with source.open("rb") as stream:
            script = stream.read(2) == b"#!"
        # A module of the Go proxy keeps no modes.
        _copy_file(str(source), str(target), _EXECUTED if script else 0)


def _copy_file(source: str, target: str, added: int = 0) -> str:
    """Link or copy a file; one that lacks a mode that is to be added is copied: a link would change the original's."""
    before = Path(source).stat().st_mode
    mode = before | added
    if mode == before and mode & _OTHERS_READ:
        try:
            os.link(source, target)
        except OSError:
            pass
        else:
            return target
    shutil.copyfile(source, target)
    # As git keeps modes: a file may be executed or not.
    Path(target).chmod(0o755 if mode & _EXECUTED else 0o644)
    return target
