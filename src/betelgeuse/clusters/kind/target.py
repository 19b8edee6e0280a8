"""A kind cluster as a target of `deploy`: which images, which nodes, in which order."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from betelgeuse import nodecount, paths, system
from betelgeuse.builds import components, golang, images
from betelgeuse.clusters.kind import engine, host, nodes
from betelgeuse.clusters.local.target import (
    KUBEADM,
    announce,
    build_tasks,
    kubeadm_tags,
    needed_images,
    settle_bases,
)
from betelgeuse.errors import RefusedError
from betelgeuse.kube import Obj
from betelgeuse.pipeline import Task
from betelgeuse.pipeline import run as run_tasks
from betelgeuse.programs import table
from betelgeuse.programs.model import REPOSITORY, Image
from betelgeuse.progress import say, step
from betelgeuse.settings import KIND, Settings, remember
from betelgeuse.shell import run

_SECONDS: Final = 1800.0
_ASK_SECONDS: Final = 10.0
_DOCKER_HUB: Final = {"docker.io": "registry-1.docker.io"}
"""Where a registry is that its images do not name."""


def install() -> None:
    """Install what builds images, and a container engine where the machine has none."""
    system.install()
    engine.chosen()


def decide() -> None:
    """Choose whose images the cluster runs, once: upstream's where their registries answer, ours where one does not."""
    if components.decided():
        return
    pulled = {image.replaces.partition("/")[0] for image in table.images().values() if not image.ours}
    silent = next((name for name in sorted(pulled) if not _answers(_DOCKER_HUB.get(name, name))), "")
    if silent:
        say(f"no answer from {silent}: nodes and images are our own builds")
    components.decide(components.LOCAL if silent else components.UPSTREAM)


def _answers(registry: str) -> bool:
    try:
        urllib.request.urlopen(f"https://{registry}/v2/", timeout=_ASK_SECONDS).close()
    except urllib.error.HTTPError:
        # It wants to know who asks, and so it is there.
        return True
    except OSError:
        return False
    return True


def ours() -> bool:
    """Whether nodes and images are our own builds."""
    return components.decided() == components.LOCAL


def program() -> Path:
    """Return kind: the machine's own, else the one built from its module."""
    return Path(shutil.which("kind") or golang.commands("kind") / "kind")


def _kind(*arguments: str) -> str:
    # A proxy is for upstream's registries; nodes that ask none must not be told of one.
    environment = engine.chosen().environment
    return run([str(program()), *arguments], env=environment, timeout=_SECONDS, internet=not ours())


def containers() -> list[str]:
    """Return the names of the nodes' containers, the control plane first."""
    return sorted(_kind("get", "nodes", "--name", nodes.NAME).split())


def node_tasks() -> list[Task]:
    """Return the tasks that build kind, and what nodes of ours are made of."""
    first = [images.named(name) for name in (*KUBEADM, "kind-node")] if ours() else []
    return [Task("kind", program), *build_tasks(first)]


def prepare(count: int) -> tuple[Path, str]:
    """Make ready what kind needs for so many nodes; return its configuration, and our node image or nothing."""
    tags = kubeadm_tags() if ours() else {}
    folder = paths.state_dir(KIND) / "nodes"
    mounts = {}
    for path, text in nodes.files(tags.get("pause", "")).items():
        mounts[path] = folder / path.lstrip("/").replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        mounts[path].write_text(text, "utf-8")
    if ours():
        mounts |= {f"{nodes.IMAGES}/{name}.tar": images.archive(images.named(name)) for name in KUBEADM}
    file = paths.state_dir(KIND) / "kind.yaml"
    file.write_text(nodes.config(count, mounts, tags), "utf-8")
    host.prepare()
    _favour()
    return file, _node_image() if ours() else ""


def _favour() -> None:
    if engine.chosen().variables:
        host.favour()


def _node_image() -> str:
    """Return the name by which the engine knows our node image, loaded on first use."""
    image = images.named("kind-node")
    if not engine.chosen().has("image", images.reference(image)):
        with step("load the node image"):
            engine.chosen().run("load", "--quiet", "--input", str(images.archive(image)))
    return images.reference(image)


def _create(count: int) -> None:
    """Make the cluster, or start the containers of one that is there; what kind left half done is made anew."""
    known = containers()
    if known and not paths.kubeconfig_path(KIND).is_file():
        say("kind stopped half way last time: it starts anew")
        _kind("delete", "cluster", "--name", nodes.NAME)
        known = []
    if known and len(known) != count:
        message = f"kind has {len(known)} nodes, {count} are wanted: run `invoke destroy --env={KIND}` first"
        raise RefusedError(message)
    if known:
        _favour()
        engine.chosen().run("start", *known)
    else:
        file, image = prepare(count)
        chosen = ["--image", image] if image else []
        unfinished = paths.state_dir(KIND) / "kubeconfig.new"
        with step(f"kind create cluster, {count} nodes in {engine.chosen().name}"):
            _kind("create", "cluster", f"--config={file}", f"--kubeconfig={unfinished}", *chosen)
        unfinished.unlink()
    record()


def record() -> None:
    """Keep how to reach a cluster that kind has finished."""
    kubeconfig = paths.kubeconfig_path(KIND)
    draft = kubeconfig.with_suffix(".new")
    _kind("export", "kubeconfig", f"--name={nodes.NAME}", f"--kubeconfig={draft}")
    draft.replace(kubeconfig)
    shape = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    found = engine.chosen().run("inspect", "--format", shape, *containers()).split()
    nodecount.remember_addresses(KIND, found)


def _lacking(image: Image) -> bool:
    listing = ("ctr", "-n", "k8s.io", "images", "list", "-q")
    return any(
        images.reference(image) not in engine.chosen().run("exec", name, *listing).split() for name in containers()
    )


def _load(image: Image) -> None:
    if _lacking(image):
        # `load docker-image` would ask for Docker, whichever engine there is.
        with step(f"load image {image.name}"):
            _kind("load", "image-archive", str(images.archive(image)), f"--name={nodes.NAME}")


def provide(image: Image) -> str:
    """Build an on-demand image and load it into the nodes that lack it; return what a pod calls it."""
    settle_bases()
    images.build(image)
    _load(image)
    return images.reference(image)


def bring_up(settings: Settings, objects: Sequence[Obj], minutes: float) -> None:
    """Build what a tree needs and no registry has (in up to `minutes`), make the cluster, load images.

    Raises BuildError, RefusedError with the reason; run again, it goes on where it stopped.
    """
    remember(settings)
    needed = [image for image in needed_images(objects) if ours() or image.name not in KUBEADM]
    announce(needed, minutes)
    tasks = {task.name: task for task in node_tasks()}
    tasks["cluster"] = Task("cluster", partial(_create, settings.nodes), tuple(tasks))
    for task in build_tasks(needed):
        tasks.setdefault(task.name, task)
    for image in needed:
        if image.name not in KUBEADM:
            name = f"load {image.name}"
            tasks[name] = Task(name, partial(_load, image), (f"image {image.name}", "cluster"))
    run_tasks(list(tasks.values()))


def destroy() -> None:
    """Remove the cluster, its network and our node image, and put the machine back; the cache of builds stays."""
    if (running := engine.recorded()) is not None:
        with step(f"remove {nodes.NAME} from {running.name}"):
            _kind("delete", "cluster", f"--name={nodes.NAME}")
            if running.has("network", engine.NETWORK):
                running.run("network", "rm", engine.NETWORK)
            # Its name holds the key of what it is made of now; another one was made of something else.
            for name in running.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
                if name.startswith(f"{REPOSITORY}/kind-node:"):
                    running.run("rmi", name)
            if running.name == engine.PODMAN:
                host.sweep()
        host.restore()
    if (folder := paths.state_dir(KIND)).is_dir():
        shutil.rmtree(folder)
