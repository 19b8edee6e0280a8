"""Build what the embedded cluster runs, without starting it."""

import json
from pathlib import Path

from betelgeuse import render, selection, settings, system
from betelgeuse.builds import bases, carry, components, images, pins, registry
from betelgeuse.clusters.local import target
from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj
from betelgeuse.pipeline import run
from betelgeuse.programs import table
from betelgeuse.programs.model import Image
from betelgeuse.progress import out, step
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


def check_env(env: str, *, asked: bool) -> None:
    """Refuse an environment that is unknown, or said where none is asked: the cache is every environment's."""
    settings.known(env)
    if not asked:
        message = "--env: goes with --push or --resolve; the build cache is the same for every environment"
        raise UsageError(message)


def _tree(env: str, profile: str) -> list[Obj]:
    if env == LOCAL:
        message = f"--push, --resolve: say --env=<env>; {LOCAL} takes its images from the build cache"
        raise UsageError(message)
    settings.load(env)
    system.install(system.REGISTRY)
    target.settle_bases()
    target.prepare_tree()
    return render.render(env, selection.select(env, profile).name)


def push(env: str, profile: str, where: str) -> None:
    """Build what an environment runs of our own, on demand too, bring it to a registry and tell the environment so.

    Raises UsageError for what is no registry, BuildError where an image does not arrive; run again, it goes on.
    """
    place = registry.checked(where)
    text = json.dumps(_tree(env, profile))
    built = [image for image in table.images().values() if not image.pulled]
    with components.aimed(env):
        wanted = [image for image in built if f"/{registry.name_of(image)}" in text or (image.ours and image.on_demand)]
        system.install()
        run(target.build_tasks(wanted))
        for image in wanted:
            registry.push(image, place)
    pins.add(env, [pins.pushed(image.name, place) for image in wanted])


def resolve(env: str, profile: str) -> None:
    """Ask the registries what the tags of an environment's images are now, and pin it to that.

    Raises BuildError for an image that its registry does not tell of.
    """
    text = json.dumps(_tree(env, profile))
    named = [image for image in table.images().values() if any(image.replaces + end in text for end in '"@')]
    asked = sorted({image.upstream for image in named})
    entries: list[dict[str, str]] = []
    with step("ask registries for digests", lambda: f"{len(entries)} of {len(asked)}"):
        for name, tag in asked:
            entries.append(pins.resolved(name, tag, registry.digest(f"{name}:{tag}")))
    pins.add(env, entries)


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
