"""Build what the embedded cluster runs, without starting it."""

from pathlib import Path

from betelgeuse import render, selection, system
from betelgeuse.builds import bases, carry, images
from betelgeuse.clusters.local import target
from betelgeuse.errors import UsageError
from betelgeuse.pipeline import run
from betelgeuse.programs.model import Image
from betelgeuse.progress import out
from betelgeuse.settings import LOCAL


def build(profile: str = "", *, refresh: bool = False) -> None:
    """Build every image of a profile that the store lacks, then print what each build took in seconds.

    With `refresh` Debian's packages are those of now: where a suite has newer ones, its base and every image that
    stands on it are built again, and the next deploy rolls them out.
    """
    selected = selection.select(LOCAL, profile)
    system.install()
    for suite in target.settle_bases(refresh=refresh):
        out(f"Debian {suite}: packages of {bases.release(suite)}")
    run(target.build_tasks(_needed(selected.name)))
    rows = target.build_report()
    total = sum(seconds for _, seconds in rows)
    for name, seconds in rows:
        out(f"{seconds:8.1f} s  {seconds / total:6.1%}  {name}")
    out(f"{total:8.1f} s  in all, one after the other")


def _needed(profile: str) -> list[Image]:
    """Return the images that a profile's tree names; the states of Debian's suites are chosen before."""
    target.prepare_tree()
    return target.needed_images(render.render(LOCAL, profile))


def show_lacking(profile: str = "") -> None:
    """Print the images of a profile that the store lacks, one a line; nothing is built but what rendering needs."""
    selected = selection.select(LOCAL, profile)
    target.settle_bases()
    needed = _needed(selected.name)
    out("".join(f"{image.name}\n" for image in needed if not images.archive(image).is_file()).rstrip())


def export(profile: str, file: str) -> None:
    """Write what a profile runs, built before, into a file for another machine; BuildError where something is not."""
    path = _tar("--export", file)
    selected = selection.select(LOCAL, profile)
    target.settle_bases()
    needed = _needed(selected.name)
    count = carry.export(path, [*(images.archive(image).parent for image in needed), *target.tools()])
    out(f"{path}: {count} results for profile {selected.name}")


def take(file: str) -> None:
    """Put a file that `export` wrote on another machine into this machine's cache, verified; UsageError for another."""
    new = carry.take(_tar("--import", file))
    out(f"{new} results are new here; `invoke images --lacking` names what is still missing")


def _tar(option: str, file: str) -> Path:
    """Return the full path of a file that is to hold a build cache."""
    path = Path(file).absolute()
    if path.suffix != ".tar" or not path.parent.is_dir():
        message = f"{option}: expected a name that ends with .tar, in a folder that exists; got {file[:60]!r}"
        raise UsageError(message)
    return path


def build_one(name: str) -> None:
    """Build one image and print where its archive is, and what the embedded cluster calls it."""
    image = images.named(name)
    system.install()
    target.settle_bases()
    run(target.build_tasks([image]))
    out(f"{images.archive(image)}  {images.reference(image)}")
