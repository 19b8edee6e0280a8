"""Bundles of other projects: verified against their locks, written once, and every edit told in one line."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from betelgeuse import materialise as subject
from betelgeuse import paths
from betelgeuse.builds import golang
from betelgeuse.errors import BetelgeuseError, BuildError, UsageError
from betelgeuse.programs import locks, table
from betelgeuse.workflows.lock import lock

MODULE = "example.org/thing@v1.2.3"

PROGRAM = """\
# A comment.
version: 1.2.3
source: {go: example.org/thing}
bundles:
  crds:
    files: crds/*.yaml
  chart:
    chart: charts/thing
    version: v{version}
    release: thing
    namespace: things
    templates: templates/*.yaml
    fill:
      Image: example.org/image:v{version}
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
    """A checkout with a program, its module in the module cache, and programs that stand for go and helm."""

    root: Path
    module: Path
    asked: list[str]

    @property
    def folder(self) -> Path:
        """The program's folder."""
        return self.root / "programs" / "thing"

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

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace some text of a file of the folder that must be there."""
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))
        table.table.cache_clear()

    def locked(self, bundle: str) -> str:
        """Return the hash the lock has for a bundle."""
        return locks.bundles(table.program("thing"))[bundle]

    def update(self) -> None:
        """Write the lock of the bundles."""
        made = subject.contents(table.bundles().values(), self.tools)
        lines = [f"{subject.digest(content)}  {name}\n" for name, content in made.items()]
        (self.folder / locks.BUNDLES).write_text("".join(lines))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree without a lock of its bundles."""
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
    made = Tree(tmp_path, module, [])
    made.folder.mkdir(parents=True)
    (made.folder / "program.yaml").write_text(PROGRAM)
    (made.folder / "values.yaml").write_text("ours: 1\n")
    (made.folder / locks.GO).write_text("require example.org/thing v1.2.3\n")
    (made.folder / locks.SUMS).write_text("example.org/thing v1.2.3 h1:good=\n")
    (tmp_path / "programs" / "kubernetes").mkdir()
    (tmp_path / "programs" / "kubernetes" / "program.yaml").write_text("version: 1.37.2\n")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "UPSTREAM", tmp_path / ".upstream")
    monkeypatch.setattr(table, "FOLDERS", [tmp_path / "programs"])
    monkeypatch.setattr(golang, "toolchain", lambda _: tmp_path / "bin" / "go")
    table.table.cache_clear()
    made.go({"Dir": str(module), "Sum": "h1:good="})
    made.program("helm", HELM)
    return made


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What was read of another tree is read no more."""
    yield
    table.table.cache_clear()


@pytest.fixture
def current(tree: Tree) -> Tree:
    """A tree whose lock and .upstream/ agree."""
    tree.update()
    subject.materialise(tree.tools)
    tree.asked.clear()
    return tree


def line(error: pytest.ExceptionInfo[BetelgeuseError]) -> str:
    """Return the message, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


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
        args: thing --namespace things --kube-version 1.37.2 --values values.yaml
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
    current.edit("values.yaml", "1", "2")

    with pytest.raises(BuildError) as error:
        subject.materialise(current.tools)

    assert line(error).startswith("programs/thing/bundles.sha256: chart comes out as sha256 ")
    assert "undo the edit of programs/thing/values.yaml, or run `invoke lock --program=thing`" in line(error)


def test_edited_hash_is_told(current: Tree) -> None:
    """A bundle that does not hash to what the lock says is refused."""
    current.edit(locks.BUNDLES, current.locked("crds"), "f" * 64)

    with pytest.raises(BuildError) as error:
        subject.materialise(current.tools)

    assert "the lock says ffffffffffff…: undo the edit, or run" in line(error)


def test_edited_checksum_is_told(current: Tree) -> None:
    """A module whose checksum is not the one in go.sum is not used."""
    current.edit(locks.SUMS, "h1:good=", "h1:evil=")

    with pytest.raises(BuildError) as error:
        subject.materialise(current.tools)

    assert line(error) == f"{MODULE} has checksum h1:good=, programs/thing/go.sum says h1:evil="


def test_raised_version_is_told(current: Tree) -> None:
    """The lock of another version is none."""
    current.edit("program.yaml", "version: 1.2.3", "version: 1.2.4")

    with pytest.raises(UsageError) as error:
        subject.materialise(current.tools)

    assert line(error).startswith("programs/thing/go.mod: example.org/thing is v1.2.3 there and v1.2.4 in program.yaml")


def test_refusing_proxy_is_one_line(tree: Tree) -> None:
    """A 403 of the module proxy says which module and what to do."""
    tree.go('{"Path": "example.org/thing",\n "Error": "reading x.info: 403 Forbidden\\n\\tnot available"}\n', code=1)

    with pytest.raises(BuildError) as error:
        tree.update()

    assert line(error).startswith(f"build of {MODULE} failed: the module registry refuses a module")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("crds/*.yaml", "none/*.yaml", "bundles.crds: no file of the module matches none/*.yaml"),
        ("charts/thing", "charts/other", "bundles.chart: the module has no folder charts/other"),
        ("      Image:", "      Other:", "bundles.chart: its values ask for Image, which `fill` does not give"),
    ],
)
def test_what_the_module_lacks_is_told(tree: Tree, old: str, new: str, told: str) -> None:
    """Every mistake about a bundle is one line that names it."""
    tree.edit("program.yaml", old, new)

    with pytest.raises(BuildError) as error:
        tree.update()

    assert line(error) == f"programs/thing/program.yaml: {told}"


def test_missing_lock_is_told(tree: Tree) -> None:
    """Without a lock there is nothing to trust."""
    with pytest.raises(UsageError) as error:
        subject.materialise(tree.tools)

    assert line(error).startswith("programs/thing/bundles.sha256: does not exist, yet thing needs it: run `invoke lock")


def test_lock_is_written_by_a_verb(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the hashes that the version and our values give now; after it the bundles are written."""
    monkeypatch.setattr(golang, "commands", lambda _: tree.root / "bin")
    tree.program("go", f'#!/bin/sh\n[ "$1 $2" = "mod download" ] && cat {tree.root}/answer.json\nexit 0\n')

    lock("thing")

    assert sorted(subject.materialise(tree.tools)) == ["chart", "crds"]
    assert (tree.folder / "program.yaml").read_text() == PROGRAM
