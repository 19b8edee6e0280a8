"""The example of docs/how-to/add-a-service.md, followed to the letter on a copy of the tree."""

import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from betelgeuse import hostfiles, paths
from betelgeuse.errors import UsageError
from tests.render.checks import CHECKS
from tests.render.conftest import Slim
from tests.render.trees import Tree

PAGE = paths.ROOT / "docs" / "how-to" / "add-a-service.md"
_FILE = re.compile(r"(?ms)^ *<!-- file: (\S+) -->\n( *)```\w+\n(.*?)^ *```$")
_FOLDER = "base/ai/hello"
_MOST_FILES = 6


def _files() -> dict[str, str]:
    """Return the files of the page, by their place in the tree."""
    return {place: textwrap.dedent(text) for place, _, text in _FILE.findall(PAGE.read_text("utf-8"))}


def _add(root: Path, files: dict[str, str]) -> None:
    for place, text in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, "utf-8")
    area = root / "base" / "ai" / "kustomization.yaml"
    area.write_text(area.read_text("utf-8") + "  - hello\n", "utf-8")


@pytest.fixture(scope="module")
def with_hello(slim: Slim, tmp_path_factory: pytest.TempPathFactory) -> Slim:
    """A copy of the tree with the example in it."""
    root = tmp_path_factory.mktemp("hello") / "tree"
    shutil.copytree(slim.root, root)
    _add(root, _files())
    hostfiles.check(root / "base")
    return Slim(root)


@pytest.fixture(scope="module")
def tree(with_hello: Slim, trees: Callable[[str], Tree]) -> Tree:
    """The tree of `local` with the example; CRDs are those of the environment."""
    whole = trees("local")
    definitions = [obj for obj in whole.objects if obj["kind"] == "CustomResourceDefinition"]
    return Tree(whole.settings, [*definitions, *with_hello.objects("overlays/local")])


def test_the_example_is_small() -> None:
    """An application with a login is one folder of a few files."""
    files = _files()

    assert files
    assert all(place.startswith(f"{_FOLDER}/") for place in files)
    assert len(files) <= _MOST_FILES


def test_the_example_adds_everything_a_host_needs(tree: Tree, trees: Callable[[str], Tree]) -> None:
    """What the page promises is there, named after the host."""
    before = {(obj["kind"], obj["metadata"]["name"]) for obj in trees("local").objects}
    added = {(obj["kind"], obj["metadata"]["name"]) for obj in tree.objects} - before
    hashed = {name for kind, name in added if kind == "ConfigMap"}

    assert added - {("ConfigMap", name) for name in hashed} == {
        ("BackendTrafficPolicy", "hello"),
        ("Certificate", "hello"),
        ("Deployment", "hello"),
        ("HTTPRoute", "hello"),
        ("HTTPRoute", "hello-redirect"),
        ("ListenerSet", "hello"),
        ("NetworkPolicy", "hello"),
        ("Probe", "hello"),
        ("Secret", "hello-oidc"),
        ("SecurityPolicy", "hello"),
        ("Service", "hello"),
        ("ServiceAccount", "hello"),
    }
    assert len(hashed) == 1


@pytest.mark.parametrize("check", CHECKS)
def test_tree_with_the_example(tree: Tree, check: str) -> None:
    """What the check's own docstring claims holds with the example in the tree."""
    problems = list(CHECKS[check](tree))

    assert not problems, "\n".join([f"{CHECKS[check].__doc__}", *problems])


OTHERS = {
    "gate-token": "  gate: token\n  timeout: 60s\n  bodyLimit: 4Mi\n  requestsPerSecond: 20\n  parallelRequests: 8\n",
    "gate-login-and-token": "  gate: login-and-token\n  groups: [researchers]\n  timeout: 60s\n  audience: hello-api\n"
    "  requestsPerSecond: 20\n  parallelRequests: 8\n",
    "gate-native": "  gate: native\n  callback: /login/back\n  reason: it asks Keycloak itself\n  timeout: 0s\n",
    "gate-password": "  gate: password\n  timeout: 60s\n",
    "gate-open": "  gate: open\n  reason: everybody may read it\n",
    "tcp-by-port": "  names: [hello.DOMAIN, hello.ai.svc]\n  port: 8080\n  connect: 'SQL: sql {host}'\n",
    "tcp-by-sni": "  names: [hello.DOMAIN, hello.ai.svc]\n  port: 8080\n  connect: 'SQL: sql {host}'\n",
}
"""Other components in place of the example's, with what the declaration then says."""


def _declaration(component: str) -> tuple[str, str]:
    """Return the name and the text of the declaration that a component reads."""
    frame = _files()[f"{_FOLDER}/host.yaml"].partition("  description:")[0]
    if component.startswith("tcp-"):
        return "tcphost.yaml", frame.replace("kind: Host", "kind: TcpHost") + "  service: hello\n" + OTHERS[component]
    return "host.yaml", f"{frame}  description: A page\n  service: hello\n{OTHERS[component]}"


@pytest.mark.parametrize("component", OTHERS)
def test_every_component_keeps_the_promises(
    slim: Slim, trees: Callable[[str], Tree], tmp_path: Path, component: str
) -> None:
    """With any other gate, or as a TCP service, the example keeps every promise of the tree."""
    files = _files()
    file, text = _declaration(component)
    del files[f"{_FOLDER}/host.yaml"]
    files[f"{_FOLDER}/{file}"] = text
    listed = yaml.safe_load(files[f"{_FOLDER}/kustomization.yaml"])
    listed["resources"][0] = file
    listed["components"] = [f"../../../components/{component}"]
    files[f"{_FOLDER}/kustomization.yaml"] = yaml.safe_dump(listed)
    if component.startswith("tcp-"):
        # Service, pods and gateway share the port's number.
        files[f"{_FOLDER}/service.yaml"] = files[f"{_FOLDER}/service.yaml"].replace("port: 80\n", "port: 8080\n")
    root = tmp_path / "tree"
    shutil.copytree(slim.root, root)
    _add(root, files)
    hostfiles.check(root / "base")
    whole = trees("local")
    definitions = [obj for obj in whole.objects if obj["kind"] == "CustomResourceDefinition"]
    changed = Tree(whole.settings, [*definitions, *Slim(root).objects("overlays/local")])

    problems = [problem for check in CHECKS.values() for problem in check(changed)]

    assert not problems, "\n".join(problems)
    assert len(changed.objects) > len(whole.objects)


@pytest.mark.parametrize("line", ["components:\n  - ../../../components/gate-login\n", "  - host.yaml\n"])
def test_a_forgotten_line_fails_the_build(tmp_path: Path, line: str) -> None:
    """Without its component the folder is refused by name; without its declaration kustomize itself fails."""
    kept = _files()
    place = f"{_FOLDER}/kustomization.yaml"
    assert line in kept[place]
    kept[place] = kept[place].replace(line, "")
    shutil.copytree(paths.ROOT / "components", tmp_path / "components")
    for name, text in kept.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")

    if line.startswith("components"):
        with pytest.raises(UsageError, match=r"kustomization\.yaml: `components` must list"):
            hostfiles.check(tmp_path / "base")
    else:
        assert "Host" in str(Slim(tmp_path).build(_FOLDER))
