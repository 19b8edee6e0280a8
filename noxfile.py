"""Every check of this project, one session each: `nox -l` lists them.

The sessions run in the environment that README.md's first command made, so nothing is installed on the way. Only the
tools whose dependencies conflict with ours have an environment of their own, filled from a lock with hashes.
"""

import json
import sys
from pathlib import Path
from typing import Final

import nox

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "none"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "unit", "render"]

ROOT: Final = Path(__file__).parent
REPORTS: Final = ROOT / "reports"
LOCKS: Final = ROOT / "locks"
LOADTEST: Final = ROOT / "programs" / "locust" / "requirements.txt"
"""One lock for the operator's machine and for the image of the pods that make load."""

TYPED: Final = ("src", "tests", "conformance", "loadtests", "apps", "tasks.py", "noxfile.py")
"""What mypy reads; a part that does not exist yet is left out."""

PURE: Final = (
    "apply_rules",
    "backups",
    "bundles",
    "certificate",
    "deletion",
    "diff",
    "doctor",
    "gitops",
    "hostfiles",
    "identity",
    "immutable",
    "inventory",
    "managed_fields",
    "materialise",
    "overlays",
    "owners",
    "pods",
    "profiles",
    "policy",
    "programs",
    "readiness",
    "rotation",
    "runbooks",
    "schema",
    "secrets",
    "selection",
    "servers",
    "settings",
    "sizes",
    "tree",
    "volumes",
    "wait",
    "waves",
    "webhooks",
    "yamls",
)
"""Modules (or packages) of src/betelgeuse that decide without touching a machine: unit tests cover them."""

PURE_ELSEWHERE: Final = ("loadtests/workflows/loadjobs.py",)
"""Files that are pure in other packages."""

COVERED: Final = 95.0
"""Least per cent of lines and branches covered, for each pure module."""


def _python(session: nox.Session, module: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run a module of the project's own environment."""
    session.run(sys.executable, "-m", module, *arguments, env=env, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff with every rule on, and its formatter: nox -s lint -- --fix."""
    _python(session, "ruff", "check", *session.posargs, ".")
    _python(session, "ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy, strict, over everything that is Python."""
    _python(session, "mypy", *session.posargs, *(name for name in TYPED if (ROOT / name).exists()))


@nox.session
def unit(session: nox.Session) -> None:
    """Run the unit tests, and see that they cover the pure modules: nox -s unit -- -k waves."""
    REPORTS.mkdir(exist_ok=True)
    data = f"--data-file={REPORTS / '.coverage'}"
    _python(session, "coverage", "run", data, "-m", "pytest", *(session.posargs or ["tests/unit"]))
    if session.posargs:
        session.log("a selection of tests says nothing about coverage: it is not checked")
        return
    report = REPORTS / "coverage.json"
    _python(session, "coverage", "json", data, "--quiet", "-o", str(report))
    below = _uncovered(json.loads(report.read_text("utf-8"))["files"])
    if below:
        _python(session, "coverage", "report", data, "--include", ",".join(below))
        session.error(
            f"coverage below {COVERED:.0f} %: {', '.join(f'{name} {share:.1f} %' for name, share in below.items())}"
        )


def _uncovered(files: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    """Return the files of pure modules that are covered too little, with their share."""
    shares = {name: entry["summary"]["percent_covered"] for name, entry in files.items()}
    return {name: share for name, share in shares.items() if share < COVERED and _pure(Path(name))}


def _pure(path: Path) -> bool:
    """Whether a file, as coverage names it, is one that unit tests must cover."""
    package = Path("src") / "betelgeuse"
    inside = path.is_relative_to(package) and path.relative_to(package).parts[0].removesuffix(".py") in PURE
    return inside or path.as_posix() in PURE_ELSEWHERE


@nox.session(venv_backend="uv")
def render(session: nox.Session) -> None:
    """Check the built trees of every environment, with checkov: nox -s render -- -k local."""
    session.install("--quiet", "--require-hashes", "-r", str(LOCKS / "checkov.txt"))
    checkov = {"BETELGEUSE_CHECKOV": str(Path(session.bin) / "checkov")}
    # Each process holds the trees of every environment.
    everything = ["-n", "auto", "--maxprocesses=4", "tests/render"]
    _python(session, "pytest", *(session.posargs or everything), env=checkov)


def _on(session: nox.Session) -> list[str]:
    """Return the arguments of the user's, for the embedded cluster where they name no other."""
    chosen = any(argument.startswith("--env") for argument in session.posargs)
    return [*([] if chosen else ["--env=local"]), *session.posargs]


def _browser(session: nox.Session) -> None:
    """Install the browser that some checks use; where that cannot be, those checks fail and say what is missing."""
    session.run(sys.executable, "-m", "invoke", "setup", "--browser", external=True, success_codes=range(8))


@nox.session
def suite(session: nox.Session) -> None:
    """Prove the conformance suite on stand-in platforms, good and broken: nox -s suite -- -k smuggling."""
    _browser(session)
    _python(session, "pytest", *(session.posargs or ["tests/conformance_suite"]))


@nox.session
def engine(session: nox.Session) -> None:
    """Try the apply engine on a real API server, started for the run: nox -s engine -- -k prune."""
    ask = "from betelgeuse.builds import golang; print(*(golang.commands(name) for name in ('kubernetes', 'etcd')))"
    # Finished builds of a deploy; without one they are built now.
    answer = session.run(sys.executable, "-c", ask, silent=True, external=True)
    folder = ROOT / ".build" / "control-plane"
    folder.mkdir(parents=True, exist_ok=True)
    kubernetes, etcd = map(Path, str(answer).split()[-2:])
    for built in (kubernetes / "kube-apiserver", kubernetes / "kubeadm", etcd / "etcd"):
        (folder / built.name).unlink(missing_ok=True)
        (folder / built.name).symlink_to(built)
    _python(session, "pytest", *(session.posargs or ["tests/engine"]), env={"BETELGEUSE_APISERVER_DIR": str(folder)})


@nox.session
def rules(session: nox.Session) -> None:
    """Try the tree's alerts on series made up for them, by the promtool of the version that runs: -- -k llm."""
    # A finished build of a deploy; without one it is built now.
    ask = "from betelgeuse.builds import golang; print(golang.commands('prometheus') / 'promtool')"
    answer = session.run(sys.executable, "-c", ask, silent=True, external=True)
    promtool = {"BETELGEUSE_PROMTOOL": str(answer).split()[-1]}
    _python(session, "pytest", *(session.posargs or ["tests/rules"]), env=promtool)


@nox.session
def programs(session: nox.Session) -> None:
    """Build small programs of every kind and run their images as pods run: nox -s programs -- -k npm."""
    session.run(sys.executable, "-m", "invoke", "setup", external=True, success_codes=range(8))
    _python(session, "pytest", *(session.posargs or ["tests/programs"]))


@nox.session
def conformance(session: nox.Session) -> None:
    """Check a living cluster against what its tree declares: nox -s conformance -- --env=local."""
    _browser(session)
    _python(session, "pytest", "conformance", *_on(session))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ask the models of a living cluster 2000 made-up questions per path: nox -s fuzz -- --env=local -k inputs."""
    arguments = ["conformance/ai/test_protocol.py", "--report=fuzz", *_on(session)]
    _python(session, "pytest", *arguments, env={"BETELGEUSE_FUZZ": "2000"})


@nox.session
def drill(session: nox.Session) -> None:
    """Take parts of a living cluster away on purpose and see who notices: nox -s drill -- -k identity."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "conformance" / "drills").glob("drill_*.py"))
    _python(session, "pytest", *files, "--report=drill", *_on(session))


@nox.session
def screenshots(session: nox.Session) -> None:
    """Write docs/images/: the overview, a dashboard and a trace of a living cluster, as a person sees them."""
    _browser(session)
    files = ["conformance/screenshots/take_screenshots.py", "--report=screenshots"]
    _python(session, "pytest", *files, *_on(session))


@nox.session(venv_backend="uv")
def kind(session: nox.Session) -> None:
    """Make a kind cluster by pytest-kind, deploy to it, prove it and take it away: nox -s kind -- --keep-cluster."""
    session.install("--quiet", "--require-hashes", "-r", str(LOCKS / "kind.txt"))
    session.install("--quiet", "--no-deps", "--no-build-isolation", "-e", ".")
    _browser(session)
    session.run("python", "-m", "pytest", "tests/kind", *session.posargs)


@nox.session
def kubernetes(session: nox.Session) -> None:
    """Run the conformance tests that Kubernetes itself brings on the running `local`: nox -s kubernetes -- -k alone."""
    _python(session, "pytest", "-s", "tests/kubernetes", *session.posargs)


@nox.session
def machine(session: nox.Session) -> None:
    """Deploy in an emulated Debian with systemd and cgroup v2 alone, from this machine's builds: hours, not in CI."""
    install = "from betelgeuse import system; system.install(system.EMULATOR)"
    session.run(sys.executable, "-c", install, external=True)
    _python(session, "pytest", "-s", "-x", *(session.posargs or ["tests/machine"]))


@nox.session
def rehearsal(session: nox.Session) -> None:
    """Deploy to three bare Debian servers over SSH, in namespaces of this machine; with `-- --single` to one."""
    REPORTS.mkdir(exist_ok=True)
    _python(session, "pytest", "-s", "-x", "tests/rehearsal", *session.posargs)


@nox.session(venv_backend="uv")
def loadtest(session: nox.Session) -> None:
    """Put load on a living platform: nox -s loadtest -- -f loadtests/llm.py --headless --host https://llm.DOMAIN.

    `nox -s loadtest -- --calibrate` measures the generator itself.
    """
    session.install("--quiet", "--require-hashes", "-r", str(LOADTEST))
    calibrate, said = session.posargs[:1] == ["--calibrate"], session.posargs or ["--help"]
    module, arguments = ("loadtests.calibrate", said[1:]) if calibrate else ("locust", said)
    session.run("python", "-m", module, *arguments)


@nox.session(venv_backend="uv")
def loadtest_check(session: nox.Session) -> None:
    """Prove the load generator on a scripted server, alone and distributed: nox -s loadtest_check -- -k sweep."""
    session.install("--quiet", "--require-hashes", "-r", str(LOADTEST))
    locust = {"BETELGEUSE_LOCUST": str(Path(session.bin) / "python")}
    _python(session, "pytest", *(session.posargs or ["tests/loadtests"]), env=locust)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the pages that are made from the tree: docs/systems.md and docs/runbooks/."""
    write = (
        "from betelgeuse import paths, render, runbooks; from betelgeuse.clusters.local import target; "
        "from betelgeuse.programs import overview, table; from betelgeuse.tree.alerts import alerts; "
        "target.prepare_tree(); docs = paths.ROOT / 'docs'; servers = render.render('single-node'); "
        "(docs / 'systems.md').write_text(overview.page(table.table(), servers), 'utf-8'); "
        "runbooks.write(docs / 'runbooks', alerts([*render.render('local', 'full'), *servers]))"
    )
    session.run(sys.executable, "-c", write, external=True)


@nox.session
def lock(session: nox.Session) -> None:
    """Write locks/ from pyproject.toml: nox -s lock -- --upgrade."""
    LOCKS.mkdir(exist_ok=True)
    wanted = {
        "dev": ["pyproject.toml", "--group", "dev"],
        "checkov": ["--group", "checkov"],
        "kind": ["pyproject.toml", "--group", "kind"],
    }
    for name, what in wanted.items():
        # Universal: one lock for every Python from 3.11 and every platform. No annotations of indexes or hosts.
        shape = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--quiet"]
        note = ["--custom-compile-command", "nox -s lock"]
        target = str((LOCKS / f"{name}.txt").relative_to(ROOT))
        _python(session, "uv", "pip", "compile", *what, *shape, *note, *session.posargs, "-o", target)
