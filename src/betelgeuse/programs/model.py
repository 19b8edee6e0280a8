"""A program as data: version, sources, images, bundles. Nothing here touches the network or a build."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

SUITES: Final = ("bookworm", "trixie")
"""The Debian releases that an image may stand on."""
SCRATCH: Final = "scratch"
REPOSITORY: Final = "betelgeuse.local"
"""Before the name of each build of ours: no registry's name, as nodes are handed what it names."""
_OURS: Final = "ghcr.io/betelgeuse/"


class Kind(Enum):
    """Where a file of an image comes from; the key that names it in program.yaml."""

    GO = "go"
    """A command of the program's Go modules."""
    MODULE = "module"
    """A file or folder of the program's first Go module."""
    MAVEN = "maven"
    """A file or folder among the program's Maven artifacts; archives are unpacked under their artifact's name."""
    NPM = "npm"
    """A file or folder of the installed npm packages, `node_modules/` included."""
    PYPI = "pypi"
    """A file or folder of the installed Python packages."""
    SDIST = "sdist"
    """A file or folder of a source package of PyPI: its name, and the path inside; nothing of it is run."""
    BUILD = "build"
    """A file that the program's own build makes."""
    OWN = "own"
    """A file or folder of the program's folder."""


class Build(Enum):
    """Builds that are Python code of ours; each is named by `source.build`."""

    LLAMA = "llama"
    GEMMA = "gemma"
    MINILM = "minilm"
    UNPACKED = "unpacked"


@dataclass(frozen=True)
class File:
    """One file or folder that goes into an image or into a build."""

    program: str
    kind: Kind
    path: str = "."


@dataclass(frozen=True)
class Script:
    """A build by a script of the program's folder, without a network."""

    files: Mapping[str, File]
    """What the script finds in its folder, by path: copies, which it may change."""


class Installer(Enum):
    """What installs npm packages from their lock."""

    NPM = "npm"
    """Debian's npm, from package-lock.json."""
    BUN = "bun"
    """programs/bun, from bun.lock: for trees of thousands of packages, which npm takes half an hour for."""


@dataclass(frozen=True)
class Go:
    """Go modules of one version, and what differs from the plain static build of their commands."""

    modules: tuple[str, ...]
    cgo: bool = False
    tags: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Linker variables (`-X`)."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Names of the results, by the names that Go gives them."""
    replace: Mapping[str, str] = field(default_factory=dict)
    """Folders of the build's result that stand for a module: where assets have to be made before Go embeds them."""
    # Outside the representation, which is part of what other programs' builds are found by.
    tests: tuple[str, ...] = field(default=(), repr=False)
    """Packages among the tools whose tests are compiled, each a command `<package>.test`."""


@dataclass(frozen=True)
class Npm:
    """npm packages with their exact versions, and what installs them."""

    packages: Mapping[str, str] = field(default_factory=dict)
    """None: package.json is written by hand, as where it is another project's own."""
    installer: Installer = Installer.NPM
    peers: bool = True
    """False: what packages want beside them is ours to list, also where they disagree. For npm alone."""


@dataclass(frozen=True)
class Source:
    """Where a program comes from; several may be combined, none means an image that is only pulled."""

    go: Go | None = None
    maven: tuple[str, ...] = ()
    """Artifacts, written group:artifact:version:type or group:artifact:version:type:classifier."""
    npm: Npm | None = None
    pypi: tuple[str, ...] = ()
    """Requirements, each pinned with `==`."""
    debian: str = ""
    """A suite: the program is a package of it, and its images stand on it."""
    build: Build | Script | None = None


@dataclass(frozen=True)
class Image:
    """One image made of a program."""

    name: str
    program: str
    replaces: str
    """The image that other environments pull in its place, with its tag."""
    suite: str = ""
    """The Debian suite it stands on, if it does; at most one of `suite` and `parent` is set."""
    parent: str = ""
    """The image of the tree that it stands on."""
    packages: tuple[str, ...] = ()
    """Debian packages that its base lacks."""
    files: Mapping[str, File] = field(default_factory=dict)
    """By their path in the image; where the image has a Dockerfile, by their path in its build context."""
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "65532:65532"
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    on_demand: bool = False
    """No part of the tree: built and loaded by the verb that runs it, never by a deploy."""
    dockerfile: Path | None = None

    @property
    def upstream(self) -> tuple[str, str]:
        """Return the name and the tag that other environments pull."""
        name, _, tag = self.replaces.rpartition(":")
        return name, tag

    @property
    def built(self) -> str:
        """Return the name, without a tag, by which nodes know our build."""
        return f"{REPOSITORY}/{self.name}"

    @property
    def ours(self) -> bool:
        """Whether no other project publishes it: it is built here wherever it runs."""
        return self.replaces.startswith(_OURS)

    @property
    def pulled(self) -> bool:
        """Whether nothing is said about how to build it: the environments that pull have it, `local` has not."""
        return not (self.files or self.packages or self.dockerfile)


@dataclass(frozen=True)
class Bundle:
    """Manifests of a program's first Go module: `files` as they are, or a `chart` rendered by helm."""

    name: str
    program: str
    files: str = ""
    chart: str = ""
    version: str = ""
    """What the release process writes into the chart."""
    release: str = ""
    namespace: str = ""
    templates: str = ""
    fill: Mapping[str, str] = field(default_factory=dict)
    values: Path | None = None
    """Our values for the chart."""


@dataclass(frozen=True)
class Program:
    """One folder of programs/ or apps/."""

    name: str
    folder: Path
    version: str
    source: Source = field(default_factory=Source)
    component: str = ""
    """A component that brings this program's manifests in place of another's, wherever images are pulled."""
    images: Mapping[str, Image] = field(default_factory=dict)
    bundles: Mapping[str, Bundle] = field(default_factory=dict)

    def modules(self) -> Iterator[tuple[str, str]]:
        """Yield the Go modules with their version as Go writes it."""
        if self.source.go is not None:
            yield from ((module, f"v{self.version}") for module in self.source.go.modules)
