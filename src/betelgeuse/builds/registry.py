"""Registries by skopeo, which takes credentials from where `docker login` and `skopeo login` put them."""

import re
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import images
from betelgeuse.errors import BetelgeuseError, BuildError, UsageError
from betelgeuse.programs.model import REPOSITORY, Image
from betelgeuse.progress import say, step
from betelgeuse.shell import run

_LOG: Final = "registry"
_SECONDS: Final = 1800.0
_PATH: Final = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def checked(registry: str) -> str:
    """Return where images are to go, without a slash at its end; UsageError for what is no host with a path."""
    host, *path = registry.removesuffix("/").split("/")
    # As every client of a registry reads it: a first part without one of these signs is a folder of Docker Hub.
    named = any(sign in host for sign in ".:") or host == "localhost"
    if not named or not _HOST.fullmatch(host) or not path or not all(map(_PATH.fullmatch, path)):
        message = f"--push: expected a registry and a path, e.g. registry.example.org/platform, got {registry[:60]!r}"
        raise UsageError(message)
    return registry.removesuffix("/")


def _skopeo(*arguments: str) -> str:
    log = paths.CACHE / "logs" / f"{_LOG}.log"
    return run(["skopeo", *arguments], log=log, timeout=_SECONDS)


def digest(reference: str) -> str:
    """Return the digest of an image in a registry, that of all its platforms together; BuildError says why not."""
    try:
        found = _skopeo("inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{reference}").strip()
    except BetelgeuseError as error:
        message = f"no digest of {reference}: {error}"
        raise BuildError(message) from None
    if not _DIGEST.fullmatch(found):
        message = f"no digest of {reference}: skopeo answered {found[:60]!r}"
        raise BuildError(message)
    return found


def name_of(image: Image) -> str:
    """Return what a built image is called in every registry, with its tag."""
    return images.reference(image).removeprefix(f"{REPOSITORY}/")


def _there(reference: str) -> bool:
    try:
        digest(reference)
    except BuildError:
        return False
    return True


def push(image: Image, registry: str) -> str:
    """Bring a built image to a registry, unless it has it, and return its name there.

    Its tag says what it is made of, so what is there is the same. BuildError says why it did not arrive.
    """
    target = f"{registry}/{name_of(image)}"
    if _there(target):
        say(f"{target}: there already")
        return target
    archive = f"docker-archive:{images.archive(image)}"
    with step(f"push {target}"):
        try:
            _skopeo("copy", "--quiet", "--retry-times=2", archive, f"docker://{target}")
        except BetelgeuseError as error:
            message = f"{target} did not arrive: {error}; `skopeo login` or `docker login` gives credentials"
            raise BuildError(message) from None
    return target
