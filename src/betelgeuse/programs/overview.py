"""docs/systems.md: every image of the tree, where it comes from in each kind of environment, and what runs it."""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from betelgeuse.kube import Obj, api_group
from betelgeuse.programs.model import Image, Program
from betelgeuse.tree.workloads import WORKLOADS, containers, pod_spec

_HEAD: Final = """# Systems

What runs where. Environments that reach a registry pull the projects' own images; `local` builds each from packages, so
the two differ in who built them and in nothing else, unless the last column says so. What nobody else publishes is the
same build everywhere.
`nox -s docs` writes this page from `programs/`, `apps/` and the tree.

| program | version | image elsewhere | on `local` | runs as |
|---|---|---|---|---|
"""
_NODE: Final = "part of every node"


def _origin(program: Program) -> str:
    """Return where a program's files come from, in words."""
    source = program.source
    kinds: list[tuple[object, str]] = [
        (source.go, "Go modules"),
        (source.maven, "Maven"),
        (source.npm, "npm"),
        (source.build, "source package" if source.pypi else "a build of ours"),
        (source.pypi and not source.build, "PyPI"),
        (source.debian, f"Debian {source.debian}"),
    ]
    found = [words for there, words in kinds if there]
    return f"built from {' and '.join(found)}" if found else "our own code"


def _runs(objects: Iterable[Obj]) -> Mapping[str, list[str]]:
    """Return what runs an image, by its name with its tag and without."""
    found: dict[str, list[str]] = {}
    for obj in objects:
        specs = [pod_spec(obj)] if obj["kind"] in WORKLOADS else _indirect(obj)
        for spec in specs:
            for container in containers(spec):
                image = str(container.get("image", ""))
                where = f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
                for name in (image, image.rpartition(":")[0]):
                    if where not in found.setdefault(name, []):
                        found[name].append(where)
    return found


def _indirect(obj: Obj) -> list[Any]:
    """Return the pods that a controller makes of what an object says: the gateway's proxies, databases, Prometheus."""
    if obj["kind"] == "EnvoyProxy":
        return [obj["spec"]["provider"]["kubernetes"]["envoyDaemonSet"]["patch"]["value"]["spec"]["template"]["spec"]]
    if (api_group(obj), obj["kind"]) == ("postgresql.cnpg.io", "Cluster"):
        return [{"containers": [{"image": obj["spec"]["imageName"]}]}]
    if api_group(obj) == "monitoring.coreos.com" and obj["kind"] in {"Prometheus", "Alertmanager"}:
        return [{"containers": [{"image": obj["spec"]["image"]}]}]
    return []


def _rows(programs: Mapping[str, Program], objects: Sequence[Obj]) -> Iterator[tuple[str, ...]]:
    runs, text = _runs(objects), json.dumps(objects)
    parents = {image.parent for program in programs.values() for image in program.images.values()}
    for program in programs.values():
        for image in program.images.values():
            name = image.built if image.ours else image.replaces
            where = ", ".join(sorted(runs.get(name, []))) or _unnamed(image, parents, text)
            made = "not on `local`" if image.pulled else _origin(program)
            yield program.name, program.version, "the same build" if image.ours else f"`{image.replaces}`", made, where


def _unnamed(image: Image, parents: Container[str], tree: str) -> str:
    if image.on_demand:
        return "on demand"
    if image.name in parents:
        return "base of other images"
    if (f"{image.built}:" if image.ours else image.replaces) in tree:
        return "made by a controller"
    if image.pulled:
        return "with a component that no environment lists"
    return _NODE if image.replaces.startswith("registry.k8s.io/") else "on `local` alone"


def page(programs: Mapping[str, Program], objects: Sequence[Obj]) -> str:
    """Return the page, from the programs and the rendered tree of an environment that pulls its images."""
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in _rows(programs, objects))
