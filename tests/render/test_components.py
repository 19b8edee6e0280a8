"""Components that no overlay lists, each added to `local`: the tree keeps every promise with it too."""

from collections.abc import Callable
from typing import Any

import pytest

from betelgeuse.kube import Obj
from tests.render.checks import CHECKS
from tests.render.conftest import Slim
from tests.render.test_kustomize import OPTIONAL
from tests.render.trees import Tree


def _with(slim: Slim, component: str) -> list[Obj]:
    """Return the objects of `local` with one more component, before the last one, which spreads the settings."""

    def change(content: dict[str, Any]) -> None:
        content["components"].insert(-1, f"../../components/{component}")

    return slim.objects(slim.variant("local", change))


@pytest.fixture(scope="module", params=OPTIONAL)
def changed(request: pytest.FixtureRequest, slim: Slim, trees: Callable[[str], Tree]) -> Tree:
    """The tree with the component; CRDs are those of the environment, as no component brings one."""
    whole = trees("local")
    definitions = [obj for obj in whole.objects if obj["kind"] == "CustomResourceDefinition"]
    return Tree(whole.settings, [*definitions, *_with(slim, request.param)])


@pytest.mark.parametrize("check", CHECKS)
def test_tree_with_the_component(changed: Tree, check: str) -> None:
    """What the check's own docstring claims still holds."""
    problems = list(CHECKS[check](changed))

    assert not problems, "\n".join([f"{CHECKS[check].__doc__}", *problems])


def test_basic_auth_replaces_the_login(slim: Slim) -> None:
    """The chosen UI asks for a password and for nothing else, and has no client in the realm any more."""
    objects = _with(slim, "basic-auth")
    policy = next(o for o in objects if (o["kind"], o["metadata"]["name"]) == ("SecurityPolicy", "portal"))
    secrets = {o["metadata"]["name"] for o in objects if o["kind"] == "Secret"}

    assert policy["spec"].keys() == {"targetRefs", "basicAuth"}
    assert policy["spec"]["basicAuth"]["users"]["name"] == "portal-basic-auth"
    assert "portal-basic-auth" in secrets
    assert "portal-oidc" not in secrets
    # Its pages for 401 would hide the header by which a browser knows that it must ask.
    assert not [o for o in objects if (o["kind"], o["metadata"]["name"]) == ("BackendTrafficPolicy", "portal")]


def test_basic_auth_leaves_the_others_alone(slim: Slim) -> None:
    """APIs still ask for tokens, and other pages for a login."""
    before = slim.build("overlays/local")
    after = _with(slim, "basic-auth")

    def policies(objects: Any) -> dict[str, Any]:  # noqa: ANN401 - what kustomize built, or its complaint
        return {o["metadata"]["name"]: o for o in objects if o["kind"] == "SecurityPolicy"}

    same = {name for name, policy in policies(before).items() if policies(after)[name] == policy}
    assert same == {"chat", "llm", "embeddings"}
