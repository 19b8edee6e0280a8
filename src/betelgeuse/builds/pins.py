"""overlays/ENV/images: a component, kept in git, of what an environment's registries have.

Of our own builds it tells the registry that they were pushed to, of other projects' images the digest of their tag.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from betelgeuse import overlays, paths
from betelgeuse.builds import components, images
from betelgeuse.errors import RefusedError, UsageError
from betelgeuse.programs import table
from betelgeuse.programs.model import REPOSITORY, Image
from betelgeuse.progress import out

FOLDER: Final = "images"
_NOTE: Final = "# Written by `invoke images --env={env}` with --push and --resolve: keep it in git.\n"


def file(env: str) -> Path:
    """Return the component's file of an environment."""
    return paths.OVERLAYS / env / FOLDER / overlays.KUSTOMIZATION


def load(env: str) -> dict[str, dict[str, str]]:
    """Return the entries by the name of what they are for; UsageError for a file that is none of ours."""
    if not file(env).is_file():
        return {}
    try:
        return {entry["name"]: entry for entry in yaml.safe_load(file(env).read_text("utf-8"))["images"]}
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
        where = paths.shown(file(env))
        message = f"{where} cannot be read; take the folder away and run `invoke images --env={env} --push` anew"
        raise UsageError(message) from None


def add(env: str, entries: Iterable[Mapping[str, str]]) -> None:
    """Add entries, in place of those for the same names, and say what the overlay must list."""
    merged = load(env) | {entry["name"]: dict(entry) for entry in entries}
    components.settle(file(env), [merged[name] for name in sorted(merged)], _NOTE.format(env=env))
    out(f"{paths.shown(file(env))}: {len(merged)} images")
    if FOLDER not in overlays.components(env):
        after = components.listed(components.UPSTREAM)
        out(f"overlays/{env}/{overlays.KUSTOMIZATION}: list `- ./{FOLDER}` under components, after {after}")


def pushed(name: str, registry: str) -> dict[str, str]:
    """Return the entry of an image of ours in a registry; its tag stays that of its build."""
    return {"name": f"{REPOSITORY}/{name}", "newName": f"{registry}/{name}"}


def provided(env: str, image: Image) -> str:
    """Return what a pod of an environment calls an on-demand image of ours; RefusedError until it was pushed."""
    if (entry := load(env).get(image.built)) is None:
        raise _unpushed(env, [image.name])
    with components.aimed(env):
        return f"{entry['newName']}:{images.reference(image).rpartition(':')[2]}"


def resolved(name: str, tag: str, digest: str) -> dict[str, str]:
    """Return the entry of an image that is pulled, by its tag and what that was when it was asked for."""
    return {"name": name, "newTag": tag, "digest": digest}


def refuse_old(env: str) -> None:
    """Raise RefusedError where the component holds an image back at a version that the tree has left."""
    tags = dict(image.upstream for image in table.pulled().values())
    for name, entry in load(env).items():
        pinned, wanted = entry.get("newTag"), tags.get(name)
        if pinned and wanted and pinned != wanted:
            message = (
                f"{paths.shown(file(env))} pins {name} at {pinned}, the tree wants {wanted}:"
                f" run `invoke images --env={env} --resolve`"
            )
            raise RefusedError(message)


def refuse_ours(env: str, needed: Iterable[str]) -> None:
    """Raise RefusedError where a cluster that is not ours would be told of builds that no registry has."""
    if names := sorted(needed):
        raise _unpushed(env, names)


def _unpushed(env: str, names: Sequence[str]) -> RefusedError:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
    return RefusedError(
        f"{env} would run builds of ours that no registry has ({shown}):"
        f" `invoke images --env={env} --push=REGISTRY/PATH` brings them to one"
    )
