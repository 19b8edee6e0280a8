"""The folders of programs/ and apps/ agree with their locks, with each other, and with the tree."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.builds import artifacts, golang, images, npm, recipe
from betelgeuse.clusters.local import target
from betelgeuse.errors import UsageError
from betelgeuse.pipeline import check
from betelgeuse.programs import locks, read, table
from betelgeuse.programs.model import File, Image, Kind, Npm, Program, Script

PROGRAMS = sorted(table.table())
IMAGES = sorted(table.images())


@pytest.mark.parametrize("name", PROGRAMS)
def test_locks_are_of_the_version(name: str) -> None:
    """Every lock that a program needs stands beside it, and is of the version that program.yaml says."""
    program = table.program(name)

    if program.source.go:
        locks.modules(program)
    if program.source.pypi:
        locks.requirements(program)
    if program.source.maven:
        locks.artifacts(program)
    if program.source.npm:
        locks.packages(program)
    if program.bundles:
        assert locks.checksum(program)
        assert locks.bundles(program)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_file_of_a_folder_is_used(name: str) -> None:
    """What neither program.yaml nor a build names is dead."""
    program = table.program(name)
    used = {"README.md", read.FILE}
    used |= {locks.GO, locks.SUMS} if program.source.go else set()
    used |= {path.relative_to(program.folder).parts[0] for path in program.folder.rglob("*.go") if program.source.go}
    used |= {locks.PYPI, locks.OVERRIDES} if program.source.pypi else set()
    used |= {locks.MAVEN} if program.source.maven else set()
    used |= {locks.PACKAGE, locks.NPM[program.source.npm.installer]} if program.source.npm else set()
    used |= {read.SCRIPT} if isinstance(program.source.build, Script) else set()
    used |= {locks.BUNDLES} if program.bundles else set()
    used |= {bundle.values.name for bundle in program.bundles.values() if bundle.values}
    used |= {image.dockerfile.name for image in program.images.values() if image.dockerfile}
    # An image may stand in another program's folder.
    files = [file for image in table.images().values() for file in image.files.values() if file.program == name]
    if isinstance(program.source.build, Script):
        files += program.source.build.files.values()
    used |= {file.path.partition("/")[0] for file in files if file.kind is Kind.OWN}
    present = {path.name for path in program.folder.iterdir() if path.name != "__pycache__"}

    assert present - used <= BUILD_FILES.get(name, set())


BUILD_FILES = {
    "llama-server": {"targets.cmake", "patches"},
    # Run by a person, against a running server.
    "embeddings": {"exactness.py"},
}


@pytest.mark.parametrize("name", [name for name in IMAGES if table.images()[name].dockerfile])
def test_dockerfile_copies_exactly_its_files(name: str) -> None:
    """Every file is copied by the Dockerfile."""
    image = images.named(name)
    lines = recipe.dockerfile(image).splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:]}

    # What the copying itself leaves out.
    for path in set(image.files) - {".dockerignore"}:
        assert any(word == path or word.startswith(f"{path}/") for word in copied), path


@pytest.mark.parametrize("name", IMAGES)
def test_image_runs_as_nobody_in_particular(name: str) -> None:
    """Images name a user that is not root, except the node's own system components and what Kubernetes' tests run."""
    control_plane = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"}
    system = {"cilium", "kind-node", *control_plane}
    users = re.findall(r"(?m)^USER (\d+):\d+$", recipe.dockerfile(images.named(name)))

    assert name in system or images.named(name).program == "kubernetes-e2e" or int(users[-1]) > 0


@pytest.mark.parametrize("name", IMAGES)
def test_every_image_has_a_name_before_it_is_built(name: str) -> None:
    """The tag carries the key of what the image is made of, so a change is a rollout."""
    image = images.named(name)
    tag = images.reference(image).rpartition(":")[2]

    assert tag.startswith(image.upstream[1])


def test_the_whole_build_can_be_planned() -> None:
    """Every task that a task needs exists, and none needs itself."""
    tasks = target.build_tasks(table.images().values())

    check(tasks)
    assert {f"image {name}" for name in IMAGES} <= {task.name for task in tasks}


def test_the_tree_names_no_version_of_an_image() -> None:
    """A version stands in program.yaml alone; the generated components put it into the tree."""
    found = []
    for top in ("base", "components"):
        for file in sorted((paths.ROOT / top).rglob("*.yaml")):
            names = re.findall(r"image: '?([a-z0-9][^\s'{]*/[^\s']+)", file.read_text("utf-8"))
            found += [f"{paths.shown(file)}: {name}" for name in names if ":" in name.rpartition("/")[2]]

    assert found == []


def test_a_go_program_may_be_three_lines(tmp_path: Path) -> None:
    """The usual image: a static command on nothing, run as a user without rights."""
    program = written(tmp_path, "version: 1.2\nsource: {go: example.org/thing}\n" + IMAGE)
    image = program.images["thing"]

    assert image.files == {"/bin/thing": File("thing", Kind.GO, "thing")}
    assert recipe.dockerfile(image) == ('FROM scratch\nCOPY rootfs/ /\nUSER 65532:65532\nENTRYPOINT ["/bin/thing"]\n')


def test_an_application_of_python_may_be_three_lines(tmp_path: Path) -> None:
    """Its packages on our Python, compiled, since the root is read-only where they run."""
    text = "version: 1.2\nsource: {pypi: [thing==1.2]}\nimages: {thing: {replaces: a/thing:1, cmd: [thing]}}\n"
    image = written(tmp_path, text).images["thing"]

    assert image.parent == "python"
    assert "compileall" in recipe.dockerfile(image)
    assert 'ENV PYTHONPATH="/opt/thing"' in recipe.dockerfile(image)
    assert recipe.dockerfile(image).splitlines()[-2:] == ["USER 65532:65532", 'CMD ["thing"]']


def test_an_application_of_node_may_be_three_lines(tmp_path: Path) -> None:
    """Its packages on our Node."""
    text = "version: 1.2\nsource: {npm: {packages: {thing: '{version}'}}}\nimages: {thing: {replaces: a/thing:1}}\n"
    image = written(tmp_path, text).images["thing"]

    assert (image.parent, image.workdir) == ("node", "/opt/thing")
    assert image.files == {"/opt/thing": File("thing", Kind.NPM)}


def test_a_script_without_its_mode_may_be_executed(tmp_path: Path) -> None:
    """The Go proxy keeps no modes: a script of a module is one by its first line, and the module stays as it is."""
    module, text = tmp_path / "wrapper.sh", tmp_path / "text"
    module.write_text("#!/bin/sh\n")
    text.write_text("words\n")
    for file in (module, text):
        file.chmod(0o444)
        images.stage(file, tmp_path / "image" / file.name)

    assert [(tmp_path / "image" / file.name).stat().st_mode & 0o111 for file in (module, text)] == [0o111, 0]
    assert module.stat().st_mode & 0o777 == 0o444


def test_what_is_only_pulled_has_no_build(tmp_path: Path) -> None:
    """An image without a source is known by its name and tag, and no deploy here builds it."""
    image = written(tmp_path, "version: 1.2\nimages: {thing: {replaces: 'docker.io/a/thing:{version}'}}\n").images[
        "thing"
    ]

    assert image.pulled
    assert image.upstream == ("docker.io/a/thing", "1.2")


IMAGE = "images: {thing: {replaces: 'a/thing:v{version}', entrypoint: [/bin/thing]}}\n"


def written(folder: Path, text: str, files: Mapping[str, str] | None = None) -> Program:
    """Read a program of this text."""
    inner = folder / "programs" / "thing"
    inner.mkdir(parents=True)
    (inner / "program.yaml").write_text(text)
    for name, content in (files or {}).items():
        (inner / name).write_text(content)
    return read.read(inner)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: [1]\n", r"version: must be text, not a list"),
        ("source: {}\n", r"needs `version`"),
        ("- 1\n", r"must be a mapping"),
        ("version: 1\nsuorce: {}\n", r"unknown key 'suorce'; did you mean 'source'\?"),
        ("version: 1\nsource: {gol: x}\n", r"source: unknown key 'gol'; did you mean 'go'\?"),
        ("version: 1\nsource: {go: {module: x}}\n", r"source.go: unknown key 'module'; did you mean 'modules'\?"),
        ("version: 1\nsource: {go: {cgo: true}}\n", r"source.go: needs `modules`"),
        ("version: 1\nsource: {go: {modules: [x], cgo: yes}}\n", r"source.go.cgo: must be true or false, not 'yes'"),
        ("version: 1\nsource: {go: {modules: []}}\n", r"source.go.modules: must be a list, not an empty list"),
        ("version: 1\nsource: {maven: ['a:b:1']}\n", r"source.maven: 'a:b:1' is not written group:artifact"),
        ("version: 1\nsource: {pypi: [thing>=1]}\n", r"source.pypi: 'thing>=1' is not written name==version"),
        ("version: 1\nsource: {build: {}}\n", r"source.build: .*build.sh does not exist"),
        ("version: 1\nsource: {npm: {packages: {a: 1}, installer: yarn}}\n", r"'yarn' is none of npm, bun"),
        ("version: 1\nsource: {npm: {installer: bun, peers: false}}\n", r"npm.peers: can be `false` for npm alone"),
        ("version: 1\nsource: {debian: trixi}\n", r"source.debian: 'trixi' is none of .*; did you mean 'trixie'\?"),
        ("version: 1\nsource: {build: lama}\n", r"source.build: 'lama' is none of .*; did you mean 'llama'\?"),
        ("version: 1\nimages: {thing: {}}\n", r"images.thing: needs `replaces`"),
        ("version: 1\nimages: {thing: {replaces: a/thing}}\n", r"images.thing: needs `replaces`.* with its tag"),
        ("version: 1\nimages: {thing: {replaces: 'a:{verison}'}}\n", r"unknown placeholder \{verison\}; known: \{vers"),
        ("version: 1\nimages: {thing: {replaces: a:1, user: [1]}}\n", r"images.thing.user: must be text"),
        ("version: 1\nimages: {thing: {replaces: a:1, files: {bin/x: {go: x}}}}\n", r"bin/x is no path in the image"),
        ("version: 1\nimages: {thing: {replaces: a:1, files: {/x: {goo: x}}}}\n", r"unknown key 'goo'"),
        ("version: 1\nimages: {thing: {replaces: a:1, files: {/x: {program: y}}}}\n", r"needs exactly one of go, "),
        ("version: 1\nimages: {thing: {replaces: a:1, files: {/x: {own: ../y}}}}\n", r"\.\./y leaves the source"),
        ("version: 1\nimages: {thing: {replaces: a:1, packages: [x]}}\n", r"packages need a base that is Debian's"),
        ("version: 1\nbundles: {thing: {files: x}}\n", r"bundles: come out of a Go module"),
        ("version: 1\nsource: {go: x}\nbundles: {thing: {}}\n", r"bundles.thing: needs either files or chart"),
        ("version: 1\nsource: {go: x}\nbundles: {thing: {files: a, fill: {}}}\n", r"`fill` belongs to a chart"),
        ("version: 1\nsource: {go: x}\nbundles: {thing: {chart: a}}\n", r"values.yaml does not exist"),
        ("version: 1\nsource: [\n", r"program.yaml:\d: not valid YAML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    """It names the file and the key, and what may have been meant."""
    with pytest.raises(UsageError, match=told) as error:
        written(tmp_path, text)

    assert "programs/thing/program.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["user: 1:1", "env: {A: b}", "cmd: [a]", "entrypoint: [a]", "workdir: /a"])
def test_a_dockerfile_decides_alone(tmp_path: Path, key: str) -> None:
    """What it would silently overrule is refused."""
    text = f"version: 1\nimages: {{thing: {{replaces: 'a:1', {key}}}}}\n"

    with pytest.raises(UsageError, match=r"Dockerfile decides about"):
        written(tmp_path, text, {"Dockerfile": "FROM scratch\n"})


def test_a_second_image_has_a_dockerfile_of_its_own(tmp_path: Path) -> None:
    """Named by the image."""
    text = "version: 1\nimages: {thing: {replaces: a:1, user: 1:1}, other: {replaces: b:1}}\n"
    program = written(tmp_path, text, {"Dockerfile.other": "FROM scratch\nUSER 2:2\n"})

    assert recipe.dockerfile(program.images["thing"]) == "FROM scratch\nUSER 1:1\n"
    assert recipe.dockerfile(program.images["other"]) == "FROM scratch\nUSER 2:2\n"


def test_files_of_a_dockerfile_are_in_its_context(tmp_path: Path) -> None:
    """It says where they go."""
    text = "version: 1\nsource: {go: x}\nimages: {thing: {replaces: a:1, files: {/bin/x: {go: x}}}}\n"

    with pytest.raises(UsageError, match=r"/bin/x: .*Dockerfile copies it"):
        written(tmp_path, text, {"Dockerfile": "FROM scratch\n"})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("{fils: {}}", r"source.build: unknown key 'fils'; did you mean 'files'\?"),
        ("{files: {../x: {own: program.yaml}}}", r"source.build: \.\./x is outside of the folder"),
        ("{files: {x: {gol: x}}}", r"source.build.files.x: unknown key 'gol'"),
    ],
)
def test_a_mistake_about_a_script_is_one_line(tmp_path: Path, said: str, told: str) -> None:
    """As about an image."""
    with pytest.raises(UsageError, match=told):
        written(tmp_path, f"version: 1\nsource: {{build: {said}}}\n", {"build.sh": ""})


def test_files_of_a_script_are_checked(tmp_path: Path) -> None:
    """What it needs must be obtainable."""
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "build.sh").touch()
    (tmp_path / "thing" / "program.yaml").write_text("version: 1\nsource: {build: {files: {x: {npm: x}}}}\n")

    with pytest.raises(UsageError, match=r"source.build.files.x: the source of thing has no `npm`"):
        table.load([tmp_path])


def loaded(folder: Path, **texts: str) -> Mapping[str, Program]:
    """Read several programs together."""
    for name, text in texts.items():
        (folder / name).mkdir()
        (folder / name / "program.yaml").write_text(text)
    return table.load([folder])


OTHER = "version: 1\nsource: {go: x}\nimages: {other: {replaces: 'a:1', entrypoint: [/other]}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("images: {a: {replaces: 'a:1', base: othr}}", r"images.a.base: unknown base 'othr'; did you mean 'other'\?"),
        ("images: {a: {replaces: 'a:1', base: bookwrm}}", r"did you mean 'bookworm'\?"),
        ("images: {other: {replaces: 'a:1'}}", r"images.other: \w+ makes an image of that name"),
        ("images: {a: {replaces: 'a:1', base: a}}", r"images.a.base: the image stands on itself"),
        ("images: {a: {replaces: 'a:1', files: {/x: {go: x}}}}", r"files./x: the source of thing has no `go`"),
        (
            "images: {a: {replaces: 'a:1', files: {/x: {program: othr, go: x}}}}",
            r"files./x: unknown program 'othr'; did you mean 'other'\?",
        ),
        ("images: {a: {replaces: 'a:1', files: {/x: {own: x}}}}", r"files./x: .*thing/x does not exist"),
    ],
)
def test_what_programs_owe_each_other_is_checked(tmp_path: Path, text: str, told: str) -> None:
    """A reference into nothing is one line."""
    with pytest.raises(UsageError, match=told):
        loaded(tmp_path, other=OTHER, thing=f"version: 1\n{text}\n")


def test_bundles_are_unique(tmp_path: Path) -> None:
    """Each is a folder of .upstream/."""
    text = "version: 1\nsource: {go: x}\nbundles: {same: {files: a}}\n"

    with pytest.raises(UsageError, match=r"bundles.same: \w+ has a bundle of that name"):
        loaded(tmp_path, one=text, two=text)


def test_programs_are_unique(tmp_path: Path) -> None:
    """A name is a folder of programs/ or of apps/."""
    for top in "ab":
        (tmp_path / top / "thing").mkdir(parents=True)
        (tmp_path / top / "thing" / "program.yaml").write_text("version: 1\n")

    with pytest.raises(UsageError, match=r"has the same name"):
        table.load([tmp_path / "a", tmp_path / "b"])


def test_a_folder_without_a_declaration_is_told(tmp_path: Path) -> None:
    """Every folder is a program."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match=r"empty/program.yaml: does not exist"):
        table.load([tmp_path])


@pytest.mark.parametrize(("ask", "told"), [(table.program, "program 'envy'"), (images.named, "image 'envy'")])
def test_unknown_names_are_told(ask: object, told: str) -> None:
    """With the one that was meant."""
    assert callable(ask)
    with pytest.raises(UsageError, match=rf"unknown {told}; did you mean 'envoy'\?"):
        ask("envy")


GO = "version: 1.3.0\nsource: {go: example.org/thing}\n"
PYPI = "version: 1\nsource: {pypi: [thing==1]}\n"
NPM = "version: 1\nsource: {npm: {packages: {thing: 1}}}\n"
MAVEN = "version: 1\nsource: {maven: ['g:thing:1:jar']}\n"


@pytest.mark.parametrize(
    ("text", "files", "told"),
    [
        (GO, {}, r"go.mod: does not exist"),
        (
            GO,
            {"go.mod": "require example.org/thing v1.2.0\n"},
            r"thing is v1.2.0 there and v1.3.0 in program",
        ),
        (GO, {"go.mod": "module x\n"}, r"go.mod: example.org/thing is not required there"),
        (GO, {"go.mod": "require example.org/thing v1.3.0\n"}, r"go.sum: does not exist"),
        (GO, {"go.mod": "require example.org/thing v1.3.0\n", "go.sum": ""}, r"go.sum: has no checksum of example.org"),
        (PYPI, {}, r"requirements.txt: does not exist"),
        (PYPI, {"requirements.txt": "thing==2 --hash=sha256:00\n"}, r"thing is 2 there and 1 in program.yaml"),
        (PYPI, {"requirements.txt": "thing==1\n"}, r"thing has no hash"),
        (NPM, {"package.json": "{}"}, r"package.json: has other dependencies than program.yaml"),
        (NPM, {"package.json": '{"dependencies": {"thing": "1"}}'}, r"package-lock.json: does not exist"),
        (MAVEN, {"maven.sha256": "xyz  g:thing:1:jar\n"}, r"maven.sha256: line 1 is not written `sha256  what`"),
        (MAVEN, {"maven.sha256": f"{'0' * 64}  g:thing:2:jar\n"}, r"maven.sha256: has no line for g:thing:1:jar"),
    ],
)
def test_a_lock_of_another_version_is_told(tmp_path: Path, text: str, files: Mapping[str, str], told: str) -> None:
    """With the command that writes it."""
    program = written(tmp_path, text, files)
    ask = {"go": locks.checksum, "pypi": locks.requirements, "npm": locks.packages, "maven": locks.artifacts}
    kind = next(kind for kind in ask if getattr(program.source, kind))

    with pytest.raises(UsageError, match=told) as error:
        ask[kind](program)

    assert str(error.value).endswith("run `invoke lock --program=thing`")


def test_files_of_an_image_have_keys() -> None:
    """Another path of the same source is other content."""
    files = [
        File("pebble", Kind.GO, "pebble"),
        File("pebble", Kind.GO, "other"),
        File("pebble", Kind.OWN, "program.yaml"),
    ]

    assert len({artifacts.key(file) for file in files}) == len(files)


def test_go_sources_of_a_folder_are_part_of_what_is_built(tmp_path: Path) -> None:
    """A command that is put together there is another one with every edit."""
    program = written(tmp_path, GO)
    (program.folder / "go.mod").write_text("require example.org/thing v1.3.0\n")
    (program.folder / "go.sum").touch()
    keys = [golang.key(program)]
    for path, text in (("main.go", "a"), ("main.go", "b"), ("part/part.go", "b")):
        (program.folder / path).parent.mkdir(exist_ok=True)
        (program.folder / path).write_text(text)
        keys.append(golang.key(program))

    assert len(set(keys)) == len(keys)


def test_an_image_knows_what_it_stands_on() -> None:
    """The nearest first."""
    known = {name: Image(name, "p", "a:1", parent=parent) for name, parent in (("a", "b"), ("b", "c"), ("c", ""))}

    assert [image.name for image in table.ancestors(known["a"], known)] == ["b", "c"]


def test_packages_that_disagree_are_locked_and_installed_alike() -> None:
    """Both commands of npm look at what packages want beside them."""
    usual, alone = Npm(), Npm(peers=False)

    assert all("--legacy-peer-deps" in command(alone) for command in (npm.resolving, npm.installing))
    assert all("--legacy-peer-deps" not in command(usual) for command in (npm.resolving, npm.installing))
