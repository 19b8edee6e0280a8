"""The embedded cluster as a target of `deploy`: what is built, in which order, beside what."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import yaml

from betelgeuse import materialise, paths
from betelgeuse.builds import artifacts, golang, images
from betelgeuse.builds.images import Image
from betelgeuse.clusters.local import cluster, layout, renewal, resize, sealing
from betelgeuse.clusters.local.certificates import SEASON
from betelgeuse.clusters.local.kubeadm import Versions
from betelgeuse.clusters.local.layout import Node
from betelgeuse.kube import Obj
from betelgeuse.pipeline import Task
from betelgeuse.pipeline import run as run_tasks
from betelgeuse.progress import say, step
from betelgeuse.settings import Settings, remember

CONTROL_PLANE: Final = ("pause", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_KUBEADM: Final = {*CONTROL_PLANE, "coredns"}
"""What runs before the tree is applied."""
_NODE_PRODUCTS: Final = ("kubernetes", "containerd", "runc", "cni-plugins", "etcd")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGES_COMPONENT: Final = paths.UPSTREAM / "local-images" / "kustomization.yaml"


def nodes_of(settings: Settings) -> list[Node]:
    """Return the nodes the settings ask for."""
    return layout.nodes(str(settings.node_subnet), settings.nodes)


def programs() -> cluster.Programs:
    """Return what a node runs; everything must be built."""
    folders = [str(golang.commands(product)) for product in _NODE_PRODUCTS]
    table = images.table()
    versions = Versions(etcd=table["etcd"].upstream[1], coredns=table["coredns"].upstream[1])
    return cluster.Programs(":".join([*folders, _PATH]), golang.commands("cni-plugins") / "loopback", versions)


def write_images_component() -> None:
    """Write the kustomize component that maps upstream image names to what we build.

    It is derived from content keys alone, so a tree can be rendered before anything is built.
    """
    entries = []
    for image in images.table().values():
        if image.on_demand:
            continue
        name, _ = image.upstream
        new_name, _, tag = images.reference(image).rpartition(":")
        entries.append({"name": name, "newName": new_name, "newTag": tag})
    component = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "images": entries}
    text = "# Generated from images/images.yaml: edits are lost.\n" + yaml.safe_dump(component, sort_keys=False)
    if IMAGES_COMPONENT.is_file() and IMAGES_COMPONENT.read_text() == text:
        return
    IMAGES_COMPONENT.parent.mkdir(parents=True, exist_ok=True)
    draft = IMAGES_COMPONENT.with_suffix(".new")
    draft.write_text(text)
    draft.rename(IMAGES_COMPONENT)


def prepare_tree() -> None:
    """Bring .upstream/ up to date, so that the overlay renders."""
    materialise.materialise(lambda tool: golang.commands(tool) / tool)
    write_images_component()


def _sources(image: Image) -> list[str]:
    """Return the names of the tasks an image needs."""
    needs = []
    for source in image.context.values():
        kind, _, rest = source.partition(":")
        if kind in {"go", "build"}:
            needs.append(f"{kind} {rest.partition('/')[0]}")
    if image.base.startswith("image:"):
        needs.append(f"image {image.base.removeprefix('image:')}")
    elif image.base:
        needs.append(f"base {image.base}")
    return list(dict.fromkeys(needs))


def _work(name: str) -> Task:
    """Return the task of that name: `go X`, `build X`, `base X`."""
    kind, _, what = name.partition(" ")
    if kind == "go":
        return Task(name, partial(golang.commands, what))
    if kind == "build":
        return Task(name, partial(artifacts.resolve, f"build:{what}/"))
    return Task(name, partial(images.base, what))


def build_tasks(wanted: Iterable[Image]) -> list[Task]:
    """Return the tasks that build images and what they are made of, each once."""
    tasks: dict[str, Task] = {}

    def add(image: Image) -> None:
        needs = _sources(image)
        for name in needs:
            if name.startswith("image "):
                add(images.table()[name.removeprefix("image ")])
            elif name not in tasks:
                tasks[name] = _work(name)
        tasks.setdefault(f"image {image.name}", Task(f"image {image.name}", partial(images.build, image), tuple(needs)))

    for image in wanted:
        # What is in the store already needs none of its parts.
        if images.archive(image).is_file():
            tasks.setdefault(f"image {image.name}", Task(f"image {image.name}", partial(images.archive, image)))
        else:
            add(image)
    return list(tasks.values())


def needed_images(objects: Sequence[Obj]) -> list[Image]:
    """Return the images a node must have: kubeadm's own, and those that a rendered tree names in any place.

    Controllers make pods of images that stand in variables and ConfigMaps.
    """
    text = json.dumps(objects)
    return [image for name, image in images.table().items() if name in _KUBEADM or images.reference(image) in text]


@dataclass
class _Import:
    """Loads images into nodes; asks each node once what it has."""

    nodes: Sequence[Node]

    def missing(self, image: Image) -> list[Node]:
        return [node for node in self.nodes if images.reference(image) not in cluster.images_of(node)]

    def load(self, image: Image) -> None:
        for node in self.missing(image):
            cluster.import_image(node, images.archive(image), images.reference(image))


def resized(settings: Settings) -> list[str]:
    """Return what a deploy would do to the nodes, as lines of a plan."""
    return resize.planned(nodes_of(settings))


def bring_up(settings: Settings, objects: Sequence[Obj], minutes: float, *, prune_data: bool = False) -> None:
    """Build what a tree needs and is missing (in up to `minutes`), form the cluster, load images, remove other nodes.

    Raises BuildError, RefusedError, WaitTimeoutError with the reason; run again, it goes on where it stopped.
    """
    nodes = nodes_of(settings)
    resize.check(nodes, prune_data=prune_data)
    remember(settings)
    loader = _Import(nodes)
    table = images.table()
    needed = needed_images(objects)
    control = [table[name] for name in CONTROL_PLANE]
    others = [image for image in needed if image not in control]
    if missing := [image for image in needed if not images.archive(image).is_file()]:
        say(f"{len(missing)} of {len(needed)} images are not built yet: building takes up to {minutes:.0f} minutes")

    def start() -> None:
        cluster.boot(nodes, programs())
        for image in control:
            loader.load(image)
        renewal.renew(nodes, SEASON)
        cluster.form(nodes, programs(), settings.domain)
        sealing.seal(nodes[0], programs(), settings.domain)

    node_tasks = [_work(f"go {product}") for product in _NODE_PRODUCTS]
    builds = {task.name: task for task in (*node_tasks, *build_tasks(control))}
    first = tuple(builds)
    builds["cluster"] = Task("cluster", start, first)
    for task in build_tasks(others):
        builds.setdefault(task.name, task)
    for image in others:
        name = f"import {image.name}"
        builds[name] = Task(name, partial(loader.load, image), (f"image {image.name}", "cluster"))
    run_tasks(list(builds.values()))
    resize.shrink(nodes)


def provide(image: Image) -> str:
    """Build an on-demand image and load it into the running nodes, where they lack it; return what a pod calls it."""
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
