"""Checks over the tree's files: where is what, how long is it, is it used. Functions over path -> text."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from betelgeuse import paths
from betelgeuse.programs import table

Files = Mapping[str, str]

TOPS: Final = ("base", "components", "profiles", "overlays")
KUSTOMIZATION: Final = "kustomization.yaml"
_MAX_LINES: Final = 40
_MAX_INLINE: Final = 3
_MAX_PATCHES: Final = 5
_MAX_OVERLAY_FILES: Final = 9
_AREA: Final = re.compile(r"base/[^/]+/area\.yaml")
"""What betelgeuse.profiles reads."""
_ENTRIES: Final = re.compile(
    r"(overlays|components|profiles)/[^/]+/kustomization\.yaml|base/.+/sizes/kustomization\.yaml"
)
_FREE: Final = ("config", "dashboards")
"""Folders of files that a generator reads as they are."""
_ROLES: Final = {"rules": "prometheusrule", "dashboard": "configmap"}
"""Files named after what they are for: alerts, and a page of panels."""
_DEPRECATED: Final = ("bases", "commonLabels", "vars", "patchesStrategicMerge", "patchesJson6902")
_IMPLEMENTATION: Final = "gateway.envoyproxy.io"
_ITS_PLACES: Final = re.compile(
    # The portal reads who may come in, Argo CD what it reconciles.
    r"base/gateway/|components/gateway-|components/traced-edge/envoyproxy-"
    r"|base/(?:portal/app|gitops/argocd/application-controller)/rbac\.yaml$"
    r"|.*/(securitypolicy|backendtrafficpolicy|clienttrafficpolicy|httproutefilter|referencegrant)(-[a-z0-9-]+)?\.yaml$"
)
_FILTER: Final = re.compile(r"extensionRef:\s+group: gateway\.envoyproxy\.io\n")
"""How a route names a filter that adds a credential, which the standard has none of."""
_README_WORDS: Final = ("Purpose:", "Usage:", "Changes:")


def read() -> dict[str, str]:
    """Return the files of the tree."""
    found = (path for top in TOPS for path in (paths.ROOT / top).rglob("*") if path.is_file())
    return {str(path.relative_to(paths.ROOT)): path.read_text("utf-8") for path in sorted(found)}


def _kustomizations(files: Files) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, text in files.items():
        if PurePosixPath(name).name == KUSTOMIZATION:
            yield name, yaml.safe_load(text)


def _documents(files: Files) -> Iterator[tuple[str, list[Any]]]:
    """Yield the manifests: YAML that is neither a kustomization nor read by a generator."""
    for name, text in files.items():
        path = PurePosixPath(name)
        listed = path.name == KUSTOMIZATION or _AREA.fullmatch(name) or path.parent.name in _FREE
        if path.suffix == ".yaml" and not listed:
            yield name, [document for document in yaml.safe_load_all(text) if document]


def kustomizations_are_short(files: Files) -> Iterator[str]:
    """A kustomization is a table of contents."""
    for name, content in _kustomizations(files):
        if (lines := files[name].count("\n")) > _MAX_LINES:
            yield f"{name}: {lines} lines, at most {_MAX_LINES}: split the folder"
        for patch in content.get("patches", ()):
            if patch.get("patch", "").count("\n") > _MAX_INLINE:
                yield f"{name}: an inline patch of more than {_MAX_INLINE} lines: make it a file"
            # test_kustomize.py sees that what is removed by its labels was there.
            if "target" in patch and "$patch: delete" not in patch.get("patch", ""):
                yield f"{name}: a patch with `target` is silent when nothing matches: name the object in the patch"
        if len(content.get("patches", ())) > _MAX_PATCHES:
            yield f"{name}: more than {_MAX_PATCHES} patches: own the manifest"


def kustomizations_use_no_old_fields(files: Files) -> Iterator[str]:
    """Deprecated fields write selectors or vanish."""
    for name, content in _kustomizations(files):
        yield from (f"{name}: {field} is deprecated" for field in _DEPRECATED if field in content)


def overlays_are_short(files: Files) -> Iterator[str]:
    """An overlay is four short lists: fewer than ten files."""
    names = sorted(name for name in files if name.startswith("overlays/"))
    for overlay, group in groupby(names, key=lambda name: "/".join(name.split("/")[:2])):
        if (count := len(list(group))) > _MAX_OVERLAY_FILES:
            yield f"{overlay}: {count} files, at most {_MAX_OVERLAY_FILES}"


def files_are_named_after_their_kind(files: Files) -> Iterator[str]:
    """`deployment.yaml`, `deployment-server.yaml`: one kind per file, lower-case, in front, or its role's word."""
    for name, documents in _documents(files):
        objects = [each for each in documents if isinstance(each, dict) and "kind" in each]
        kinds = {str(each["kind"]).lower() for each in objects}
        stem = PurePosixPath(name).stem
        if stem == "rbac" and all("role" in kind for kind in kinds):
            continue
        if len(kinds) > 1:
            yield f"{name}: holds {', '.join(sorted(kinds))}; one kind per file"
        elif kinds:
            kind = kinds.pop()
            words = (kind, *(word for word, meant in _ROLES.items() if meant == kind))
            if not any(stem == word or stem.startswith(f"{word}-") for word in words):
                yield f"{name}: holds a {kind}: name it {kind}.yaml or {kind}-<what>.yaml"


def _references(content: Mapping[str, Any]) -> Iterator[str]:
    for field in ("resources", "components"):
        yield from content.get(field, ())
    for field in ("patches", "replacements", "transformers", "configurations"):
        yield from (each if isinstance(each, str) else each.get("path", "") for each in content.get(field, ()))
    for field in ("configMapGenerator", "secretGenerator"):
        for generator in content.get(field, ()):
            yield from (each.rpartition("=")[2] for each in [*generator.get("files", ()), *generator.get("envs", ())])


def _resolved(folder: PurePosixPath, target: str) -> str:
    parts: list[str] = []
    for part in (folder / target).parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def files_are_used(files: Files) -> Iterator[str]:
    """Every file is reached from an overlay, a profile, a component, a program or base/: what nothing lists is dead."""
    entries = [name for name in files if _ENTRIES.fullmatch(name)]
    # `images-upstream`, which is generated, lists them.
    swaps = [f"{program.component}/{KUSTOMIZATION}" for program in table.table().values() if program.component]
    reached: set[str] = set()
    queue = [*entries, *swaps, f"base/{KUSTOMIZATION}"]
    while queue:
        name = queue.pop()
        if name in reached or name not in files:
            continue
        reached.add(name)
        if PurePosixPath(name).name == KUSTOMIZATION:
            for target in filter(None, _references(yaml.safe_load(files[name]))):
                path = _resolved(PurePosixPath(name).parent, target)
                queue += [path, f"{path}/{KUSTOMIZATION}"]
    for name in files:
        if name not in reached and PurePosixPath(name).name != "README.md" and not _AREA.fullmatch(name):
            yield f"{name}: nothing lists it"


def implementation_is_named_in_its_place(files: Files) -> Iterator[str]:
    """Only the gateway's folder and the policies know which implementation serves."""
    for name, text in files.items():
        if _IMPLEMENTATION in _FILTER.sub("", text) and not _ITS_PLACES.match(name):
            yield f"{name}: names {_IMPLEMENTATION}"


def components_explain_themselves(files: Files) -> Iterator[str]:
    """Every component has a README with purpose, usage and what it changes."""
    for name in sorted({name.split("/")[1] for name in files if name.startswith("components/")}):
        text = files.get(f"components/{name}/README.md", "")
        yield from (f"components/{name}/README.md: no line `{word}`" for word in _README_WORDS if word not in text)


def text_is_clean(files: Files) -> Iterator[str]:
    """No tabs in YAML, no trailing blanks, no carriage returns, one line feed at the end."""
    for name, text in files.items():
        for number, line in enumerate(text.split("\n"), start=1):
            if line != line.rstrip():
                yield f"{name}:{number}: trailing blanks or a carriage return"
            if "\t" in line and name.endswith(".yaml"):
                yield f"{name}:{number}: a tab"
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            yield f"{name}: must end with one line feed"


CHECKS: Final[Mapping[str, Callable[[Files], Iterator[str]]]] = {
    check.__name__: check
    for check in (
        kustomizations_are_short,
        kustomizations_use_no_old_fields,
        overlays_are_short,
        files_are_named_after_their_kind,
        files_are_used,
        implementation_is_named_in_its_place,
        components_explain_themselves,
        text_is_clean,
    )
}
