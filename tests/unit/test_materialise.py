"""Bundles of other projects: verified against the lock, written once, and every edit told in one line."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from betelgeuse import materialise as subject
from betelgeuse import paths
from betelgeuse.builds import golang
from betelgeuse.bundles import lock
from betelgeuse.errors import BuildError

MODULE = "example.org/thing@v1.2.3"

LOCK = """\
# A comment that survives.
kubernetes: 1.37.2
modules:
  example.org/thing@v1.2.3: h1:good=
bundles:
  crds:
    module: example.org/thing@v1.2.3
    files: crds/*.yaml
    sha256: "0"

  chart:
    module: example.org/thing@v1.2.3
    chart: charts/thing
    version: v1.2.3
    release: thing
    namespace: things
    templates: templates/*.yaml
    fill:
      Image: example.org/image:v1.2.3
    sha256: "0"
"""

HELM = """\
#!/bin/sh
# Shows what it was called with and what it was given; a real helm is not needed to test what surrounds it.
chart=$3
echo "---"
echo "args: $2 $4 $5 $6 $7 $8 $(basename $9)"
cat "$chart/Chart.yaml" "$chart/values.yaml" "$9"
ls "$chart/templates"
"""


@dataclass
class Tree:
    """A checkout with a lock, a module in the module cache, and programs that stand for go and helm."""

    root: Path
    module: Path
    asked: list[str]

    def tools(self, name: str) -> Path:
        """Give the fake helm, and remember that it was asked for."""
        self.asked.append(name)
        return self.root / "bin" / name

    def go(self, answer: object, *, code: int = 0) -> None:
        """Let `go mod download -json` answer so."""
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (self.root / "answer.json").write_text(text)
        self.program("go", f"#!/bin/sh\ncat {self.root}/answer.json\nexit {code}\n")

    def program(self, name: str, text: str) -> None:
        """Write a program into bin/."""
        path = self.root / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def edit(self, old: str, new: str) -> None:
        """Replace some text of the lock that must be there."""
        text = lock.LOCK.read_text()
        assert old in text
        lock.LOCK.write_text(text.replace(old, new))

    def locked(self, bundle: str) -> str:
        """Return the hash the lock has for a bundle."""
        return {each.name: each.sha256 for each in lock.read_lock().bundles}[bundle]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree whose lock has hashes of nothing yet."""
    module = tmp_path / "cache" / "thing@v1.2.3"
    files = {
        "crds/b.yaml": "kind: B\n",
        "crds/a.yaml": "kind: A\n\n",
        "templates/crd.yaml": "kind: C\n",
        "charts/thing/Chart.template.yaml": "name: thing\nversion: v0\nappVersion: v0\n",
        "charts/thing/values.tmpl.yaml": "image: ${Image}\n",
        "charts/thing/templates/deployment.yaml": "kind: Deployment\n",
    }
    for name, content in files.items():
        (module / name).parent.mkdir(parents=True, exist_ok=True)
        (module / name).write_text(content)
        (module / name).chmod(0o444)
    (tmp_path / "bin").mkdir()
    (tmp_path / "upstream" / "values").mkdir(parents=True)
    (tmp_path / "upstream" / "values" / "chart.yaml").write_text("ours: 1\n")
    (tmp_path / "upstream" / "lock.yaml").write_text(LOCK)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "UPSTREAM", tmp_path / ".upstream")
    monkeypatch.setattr(lock, "LOCK", tmp_path / "upstream" / "lock.yaml")
    monkeypatch.setattr(lock, "VALUES", tmp_path / "upstream" / "values")
    monkeypatch.setattr(golang, "toolchain", lambda: tmp_path / "bin" / "go")
    made = Tree(tmp_path, module, [])
    made.go({"Dir": str(module), "Sum": "h1:good="})
    made.program("helm", HELM)
    return made


@pytest.fixture
def current(tree: Tree) -> Tree:
    """A tree whose lock and .upstream/ agree."""
    subject.lock_update(tree.tools)
    subject.materialise(tree.tools)
    tree.asked.clear()
    return tree


def line(error: pytest.ExceptionInfo[BuildError]) -> str:
    """Return the message, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def test_update_locks_what_comes_out_and_keeps_comments(tree: Tree) -> None:
    """Hashes of all bundles are written into the lock, and nothing else of it changes."""
    changed = subject.lock_update(tree.tools)

    assert changed == ["crds", "chart"]
    text = lock.LOCK.read_text()
    assert text.startswith("# A comment that survives.\n")
    for name in changed:
        text = text.replace(tree.locked(name), '"0"')
    assert text == LOCK


def test_files_are_joined_in_the_order_of_their_names(current: Tree) -> None:
    """A bundle of files is one stream of documents, the same on every machine."""
    content = (current.root / ".upstream" / "crds" / "manifests.yaml").read_bytes()

    assert content == b"---\nkind: A\n---\nkind: B\n"
    assert hashlib.sha256(content).hexdigest() == current.locked("crds")


def test_chart_is_prepared_as_its_release_would(current: Tree) -> None:
    """Version stamped, values filled, CRD templates added; rendered for our Kubernetes with our values."""
    text = (current.root / ".upstream" / "chart" / "manifests.yaml").read_text()

    assert text == dedent("""\
        ---
        args: thing --namespace things --kube-version 1.37.2 --values chart.yaml
        name: thing
        version: v1.2.3
        appVersion: v1.2.3
        image: example.org/image:v1.2.3
        ours: 1
        crd.yaml
        deployment.yaml
        """)


def test_second_run_does_nothing(current: Tree) -> None:
    """Neither go nor helm is asked when all is current."""
    current.go("broken", code=1)

    assert subject.materialise(current.tools) == []
    assert current.asked == []


@pytest.mark.parametrize("name", ["manifests.yaml", "kustomization.yaml", ".inputs"])
@pytest.mark.parametrize("damage", ["edited", "removed"])
def test_damaged_bundle_is_written_again(current: Tree, name: str, damage: str) -> None:
    """A file edited or removed by hand comes back, and only its bundle is produced."""
    path = current.root / ".upstream" / "crds" / name
    content = path.read_bytes()
    if damage == "edited":
        path.write_text("kind: Evil\n")
    else:
        path.unlink()

    assert subject.materialise(current.tools) == ["crds"]
    assert path.read_bytes() == content
    assert current.asked == []


def test_changed_value_is_told(current: Tree) -> None:
    """Our values decide what a chart becomes, so a change needs a new hash in the lock."""
    (lock.VALUES / "chart.yaml").write_text("ours: 2\n")

    with pytest.raises(BuildError) as error:
        subject.materialise(current.tools)

    assert line(error).startswith("upstream/lock.yaml: bundle chart comes out as sha256 ")
    assert "undo the edit of the lock or of upstream/values/chart.yaml, or run `python -m" in line(error)


def test_edited_hash_is_told(current: Tree) -> None:
    """A bundle that does not hash to what the lock says is refused."""
    current.edit(current.locked("crds"), "f" * 64)

    with pytest.raises(BuildError) as error:
        subject.materialise(current.tools)

    assert "the lock says ffffffffffff…: undo the edit of the lock, or run" in line(error)


def test_edited_checksum_is_told(current: Tree) -> None:
    """A module whose checksum is not the lock's is not used."""
    current.edit("h1:good=", "h1:evil=")

    with pytest.raises(BuildError) as error:
        subject.materialise(current.tools)

    assert f"module {MODULE} has checksum h1:good=, the lock says h1:evil=: undo the edit" in line(error)


def test_update_accepts_another_checksum(current: Tree) -> None:
    """After a version was raised on purpose, one command writes what it is now."""
    current.edit("h1:good=", "h1:old=")

    assert subject.lock_update(current.tools) == [MODULE]
    assert lock.read_lock().modules == {MODULE: "h1:good="}


def test_refusing_proxy_is_one_line(tree: Tree) -> None:
    """A 403 of the module proxy says which module and what to do."""
    tree.go('{"Path": "example.org/thing",\n "Error": "reading x.info: 403 Forbidden\\n\\tnot available"}\n', code=1)

    with pytest.raises(BuildError) as error:
        subject.materialise(tree.tools)

    assert line(error).startswith(f"{MODULE}: the Go module proxy refuses it (403); try later, or set GOPROXY")


def test_silent_proxy_is_one_line(tree: Tree) -> None:
    """Any other failure of the download keeps its reason."""
    tree.go('{"Error": "dial tcp: no route to host"}', code=1)

    with pytest.raises(BuildError) as error:
        subject.materialise(tree.tools)

    assert "does not give it: " in line(error)
    assert "no route to host" in line(error)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("crds/*.yaml", "none/*.yaml", f"bundle crds: no file of {MODULE} matches none/*.yaml"),
        ("charts/thing", "charts/other", f"bundle chart: {MODULE} has no folder charts/other"),
        ("      Image:", "      Other:", "bundle chart: its values ask for Image, which `fill` does not give"),
        ("    release:", "    relaese:", "bundle chart: unknown key relaese; known are chart, files, fill, module, "),
        ("    files: crds/*.yaml\n", "", "bundle crds needs either files or chart"),
        ("    files:", "    chart: x\n    files:", "bundle crds needs either files or chart"),
        ('    files: crds/*.yaml\n    sha256: "0"\n', "", "bundle crds needs module and sha256"),
        (
            "  crds:\n    module: example.org/thing@v1.2.3",
            "  crds:\n    module: x@v1",
            "bundle crds: module x@v1 has no",
        ),
        ("bundles:\n", "bundles:\n  odd: 1\n", "bundle odd must be a mapping with the keys chart, files, "),
        ("bundles:\n", "rest:\n", "must have the mappings `modules` and `bundles` and the version `kubernetes`"),
        ("kubernetes:", "- kubernetes:", "is not YAML: "),
    ],
)
def test_wrong_lock_is_told(tree: Tree, old: str, new: str, told: str) -> None:
    """Every mistake in the lock is one line that names it."""
    tree.edit(old, new)

    with pytest.raises(BuildError) as error:
        subject.materialise(tree.tools)

    assert line(error).startswith(f"upstream/lock.yaml: {told}")


def test_missing_lock_is_told(tree: Tree) -> None:
    """Without a lock there is nothing to trust."""
    lock.LOCK.unlink()

    with pytest.raises(BuildError) as error:
        subject.materialise(tree.tools)

    assert line(error) == "upstream/lock.yaml: is missing: restore it from git"


def test_command_updates_and_materialises(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """`--update` locks and writes in one go; without it a current tree says so."""
    helm = ["--helm", str(tree.root / "bin" / "helm")]

    assert subject.main(["--update", *helm]) == 0
    assert subject.main(helm) == 0

    assert capsys.readouterr().out.splitlines() == [
        "locked: crds, chart",
        "written: crds, chart",
        "written: nothing, all is current",
    ]


def test_command_builds_helm_when_none_is_named(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --helm the project's own build is used."""
    monkeypatch.setattr(
        golang, "commands", lambda product: tree.root / "bin" if product == "helm" else Path("/nowhere")
    )

    assert subject.main(["--update"]) == 0


def test_command_tells_errors_in_one_line(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """An unverified bundle ends the command with the code of build errors."""
    assert subject.main(["--helm", str(tree.root / "bin" / "helm")]) == BuildError.exit_code

    assert capsys.readouterr().err.startswith("upstream/lock.yaml: bundle crds comes out as sha256 ")


def test_this_tree_is_locked() -> None:
    """The project's own lock is well-formed and has a hash for every bundle."""
    bundles = lock.read_lock().bundles

    assert {bundle.name for bundle in bundles if len(bundle.sha256) != 64} == set()
    assert [bundle.name for bundle in bundles if bundle.chart and not bundle.values.is_file()] == []
