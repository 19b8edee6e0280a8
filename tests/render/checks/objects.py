"""Checks of single objects: valid, complete, each once."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from betelgeuse import schema, sizes
from betelgeuse.kube import describe
from betelgeuse.settings import KEYS
from tests.render.trees import Tree, strings

_SKIPPED: Final = "CustomResourceDefinition"
"""Upstream's descriptions speak of everything."""
_DECLARED: Final = ("HOST", "TCPHOST", "HOSTNAME", "SERVICE", "DESCRIPTION", "TIMEOUT", "LIMIT", "GROUPS", "CALLBACK")
"""What components leave for an application's declaration to fill in."""
_PLACEHOLDER: Final = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join([*KEYS, *sizes.keys(), *_DECLARED])})(?![A-Za-z0-9_])")
_CODE: Final = re.compile(r"\.(args|command|env)\b|^data\.[^.]*(sh|py)$")
"""Where a word in capitals is a program's own."""


def objects_are_valid(tree: Tree) -> Iterator[str]:
    """Every object fits its schema, unknown fields refused."""
    catalog = schema.kubernetes().with_crds(tree.objects)
    for obj in tree.objects:
        yield from catalog.problems(obj)


def objects_are_unique(tree: Tree) -> Iterator[str]:
    """No object is there twice."""
    names = Counter((obj["apiVersion"], describe(obj)) for obj in tree.objects)
    for (version, name), count in names.items():
        if count > 1:
            yield f"{name} ({version}) is there {count} times"


def placeholders_are_filled(tree: Tree) -> Iterator[str]:
    """No placeholder of environment.env or of a host's declaration is left, e.g. llm.DOMAIN, HOST-tls."""
    for obj in tree.objects:
        if obj["kind"] == _SKIPPED:
            continue
        for at, text in strings(obj):
            if not _CODE.search(at) and (found := _PLACEHOLDER.search(text)):
                yield f"{describe(obj)}: {at} still has the placeholder {found[1]}: {text[:60]!r}"


def nothing_local_is_left(tree: Tree) -> Iterator[str]:
    """Objects marked for kustomize's own use are not applied."""
    for obj in tree.objects:
        if "config.kubernetes.io/local-config" in obj["metadata"].get("annotations", {}):
            yield f"{describe(obj)}: is marked local-config and reached the tree"


def secrets_hold_nothing(tree: Tree) -> Iterator[str]:
    """No secret value is in git: a Secret says how to generate its data."""
    for obj in tree.kind("Secret"):
        if obj.get("data") or obj.get("stringData"):
            yield f"{describe(obj)}: has data in the tree; write a betelgeuse.io/generate annotation instead"
        # Kubernetes itself fills a token of an account.
        elif obj.get("type") == "kubernetes.io/service-account-token":
            continue
        elif "betelgeuse.io/generate" not in obj["metadata"].get("annotations", {}):
            yield f"{describe(obj)}: has neither data nor a betelgeuse.io/generate annotation"


CHECKS: Final = (
    objects_are_valid,
    objects_are_unique,
    placeholders_are_filled,
    nothing_local_is_left,
    secrets_hold_nothing,
)
