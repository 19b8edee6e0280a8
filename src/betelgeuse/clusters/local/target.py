"""The embedded cluster as a target of `deploy`: what is built, in which order, beside what."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from betelgeuse import materialise, paths
from betelgeuse.builds import artifacts, bases, components, golang, images
from betelgeuse.clusters.local import cluster, controlplane, layout, renewal, resize, sealing
from betelgeuse.clusters.local.certificates import SEASON
from betelgeuse.clusters.local.kubeadm import Versions
from betelgeuse.clusters.local.layout import Node
from betelgeuse.kube import Obj
from betelgeuse.pipeline import Task
from betelgeuse.pipeline import run as run_tasks
from betelgeuse.programs import table
from betelgeuse.programs.model import Image, Kind
from betelgeuse.progress import say, step
from betelgeuse.settings import Settings, remember

CONTROL_PLANE: Final = ("pause", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
KUBEADM: Final = (*CONTROL_PLANE, "coredns")
"""Images that run before the tree is applied."""
_NODE_PROGRAMS: Final = ("kubernetes", "containerd", "runc", "cni-plugins", "etcd")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def kubeadm_tags() -> dict[str, str]:
    """Return the tags of the images whose names kubeadm is told."""
    return {name: images.named(name).upstream[1] for name in ("etcd", "coredns", "pause")}


def versions() -> Versions:
    """Return the versions of what kubeadm runs."""
    return Versions(kubernetes=f"v{table.program('kubernetes').version}", **kubeadm_tags())


def node_programs() -> cluster.Programs:
    """Return what a node runs; everything must be built."""
    folders = [str(golang.commands(name)) for name in _NODE_PROGRAMS]
    return cluster.Programs(":".join([*folders, _PATH]), golang.commands("cni-plugins") / "loopback", versions())


def tools() -> list[Path]:
    """Return the folders of what nodes and the tree need beside images, built on first use."""
    return [golang.commands(name) for name in (*_NODE_PROGRAMS, "helm")]


def prepare_tree() -> None:
    """Bring .upstream/ and .generated/ up to date, so that the overlays render."""
    materialise.materialise(lambda tool: golang.commands(tool) / tool)
    components.write()


def _made(kind: Kind, name: str) -> Task:
    """Return the task that makes everything of a kind that a program has."""
    return Task(f"{kind.value} {name}", partial(artifacts.prepare, kind, name))


def _parts(image: Image) -> list[Task]:
    """Return the tasks that make what an image is put together from."""
    # A folder of ours is there already.
    tasks = [_made(file.kind, file.program) for file in image.files.values() if file.kind is not Kind.OWN]
    if image.suite:
        tasks.append(Task(f"base {image.suite}", partial(bases.base, image.suite)))
    return tasks


def build_tasks(wanted: Iterable[Image]) -> list[Task]:
    """Return the tasks that build images and what they are made of, each once."""
    tasks: dict[str, Task] = {}

    def add(image: Image) -> None:
        # What is in the store already needs none of its parts.
        if images.archive(image).is_file():
            tasks.setdefault(f"image {image.name}", Task(f"image {image.name}", partial(images.archive, image)))
            return
        needs = {part.name: part for part in _parts(image)}
        for part in needs.values():
            tasks.setdefault(part.name, part)
        if image.parent:
            add(images.named(image.parent))
        parents = [f"image {image.parent}"] if image.parent else []
        name = f"image {image.name}"
        tasks.setdefault(name, Task(name, partial(images.build, image), (*needs, *parents)))

    for image in wanted:
        add(image)
    return list(tasks.values())


def settle_bases(*, refresh: bool = False) -> list[str]:
    """Choose the state of the Debian suites that images stand on; with `refresh` the newest. Return what changed."""
    return bases.settle((image.suite for image in table.images().values() if image.suite), refresh=refresh)


def needed_images(objects: Sequence[Obj]) -> list[Image]:
    """Return the images a node must have: kubeadm's own, and those that a rendered tree names in any place.

    Controllers make pods of images that stand in variables and ConfigMaps.
    """
    text = json.dumps(objects)
    built = [image for image in table.images().values() if not image.on_demand and not image.pulled]
    return [image for image in built if image.name in KUBEADM or images.reference(image) in text]


def carried(objects: Sequence[Obj]) -> list[str]:
    """Return the names of the images of a tree that are builds of ours, and that only a deploy can bring to nodes."""
    return [image.name for image in needed_images(objects) if image.name not in KUBEADM]


@dataclass
class _Import:
    """Loads images into nodes; asks each node once what it has."""

    nodes: Sequence[Node]

    def missing(self, image: Image) -> list[Node]:
        return [node for node in self.nodes if images.reference(image) not in cluster.images_of(node)]

    def load(self, image: Image) -> None:
        for node in self.missing(image):
            cluster.import_image(node, images.archive(image), images.reference(image))


def announce(needed: Sequence[Image], minutes: float) -> None:
    """Say how many images have to be built, and how long that takes at most."""
    if missing := [image for image in needed if not images.archive(image).is_file()]:
        say(f"{len(missing)} of {len(needed)} images are not built yet: building takes up to {minutes:.0f} minutes")


def stages(
    needed: Sequence[Image], node_programs: Sequence[str], start: Callable[[], None], load: Callable[[Image], None]
) -> list[Task]:
    """Return the tasks of forming a cluster: its programs and control plane are built first, then `start` begins.

    Meanwhile the other images are built; `load` brings each to the nodes, once these are a cluster.
    """
    control = [images.named(name) for name in CONTROL_PLANE]
    others = [image for image in needed if image not in control]
    node_tasks = [_made(Kind.GO, name) for name in node_programs]
    builds = {task.name: task for task in (*node_tasks, *build_tasks(control))}
    first = tuple(builds)
    builds["cluster"] = Task("cluster", start, first)
    for task in build_tasks(others):
        builds.setdefault(task.name, task)
    for image in others:
        name = f"import {image.name}"
        builds[name] = Task(name, partial(load, image), (f"image {image.name}", "cluster"))
    return list(builds.values())


def resized(settings: Settings) -> list[str]:
    """Return what a deploy would do to the nodes, as lines of a plan."""
    return resize.planned(layout.nodes(settings))


def bring_up(settings: Settings, objects: Sequence[Obj], minutes: float, *, prune_data: bool = False) -> None:
    """Build what a tree needs and is missing (in up to `minutes`), form the cluster, load images, remove other nodes.

    Raises BuildError, RefusedError, WaitTimeoutError with the reason; run again, it goes on where it stopped.
    """
    nodes = layout.nodes(settings)
    resize.check(nodes, prune_data=prune_data)
    remember(settings)
    loader = _Import(nodes)
    needed = needed_images(objects)
    announce(needed, minutes)

    def start() -> None:
        cluster.boot(nodes, node_programs())
        for name in CONTROL_PLANE:
            loader.load(images.named(name))
        renewal.renew(nodes, SEASON)
        cluster.form(nodes, node_programs(), settings.domain)
        sealing.seal(nodes[0], node_programs(), settings.domain)
        controlplane.audited(nodes[0], node_programs(), settings.domain)
        controlplane.open_to_prometheus(nodes[0], node_programs(), settings.domain)

    run_tasks(stages(needed, _NODE_PROGRAMS, start, loader.load))
    resize.shrink(nodes)


def provide(image: Image) -> str:
    """Build an on-demand image and load it into the running nodes, where they lack it; return what a pod calls it."""
    settle_bases()
    images.build(image)
    loader = _Import(cluster.recorded())
    if missing := loader.missing(image):
        with step(f"load image {image.name} into {', '.join(node.name for node in missing)}"):
            loader.load(image)
    return images.reference(image)


def destroy() -> None:
    """Remove the cluster; the cache of builds stays."""
    cluster.destroy()


def build_report() -> list[tuple[str, float]]:
    """Return what was built and how long it took in seconds, longest first."""
    records = [json.loads(path.read_text()) for path in (paths.CACHE / "store").glob("*.json")]
    return sorted(((record["name"], record["seconds"]) for record in records), key=lambda row: -row[1])
