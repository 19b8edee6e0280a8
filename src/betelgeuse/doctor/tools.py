"""Checks of programs: what must be installed, and whether the registries that bring the rest answer."""

import re
import sys
from datetime import datetime
from importlib.metadata import requires
from typing import Final

from betelgeuse import paths, servers, system
from betelgeuse.builds import bases, golang
from betelgeuse.doctor.model import Check, Context, Finding, Shape, fail, ok, skip, warn
from betelgeuse.errors import BetelgeuseError

_EMBEDDED: Final = frozenset({Shape.EMBEDDED})
_DOCKER: Final = frozenset({Shape.DOCKER})
_SERVERS: Final = frozenset({Shape.SERVERS})
_LEAST_PYTHON: Final = (3, 11)
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")
_NETWORK_SECONDS: Final = 60.0
"""A registry's answer to one small request, over a slow line."""
_TELLING: Final = re.compile(r"\b[45]\d\d\b|error|fail|^E:", re.IGNORECASE)
"""The lines of a client's output that say why it failed."""
_DAY: Final = 86400
_STALE_DAYS: Final = 14
"""Debian publishes security updates every few days; two weeks are long for what faces a network."""
_MODULE: Final = "sigs.k8s.io/yaml@v1.6.0"
"""A small module nearly everything here depends on."""


def _python(context: Context) -> Finding:
    have = ".".join(map(str, context.probe.python))
    return ok(have) if context.probe.python >= _LEAST_PYTHON else fail(have)


def pins(requirements: list[str]) -> dict[str, str]:
    """Return distribution -> version of the exact requirements."""
    return {found[1]: found[2] for requirement in requirements if (found := _PIN.match(requirement))}


def _distributions(context: Context) -> Finding:
    if context.probe.installed("betelgeuse") is None:
        return fail("the package betelgeuse is not installed here")
    wanted = pins(requires("betelgeuse") or [])
    wrong = [
        f"{name} {context.probe.installed(name) or 'missing'} (want {version})"
        for name, version in wanted.items()
        if context.probe.installed(name) != version
    ]
    return fail(", ".join(wrong)) if wrong else ok(f"{len(wanted)} pinned, all installed")


def _packages(context: Context) -> Finding:
    missing = [name for name, (brings, _) in system.PACKAGES.items() if not context.probe.exists(brings)]
    if not missing:
        return ok(f"all {len(system.PACKAGES)} installed")
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if context.probe.which("apt-get") is None:
        return fail(f"missing: {', '.join(missing)}; no apt-get here", "install your distribution's equivalents")
    if context.probe.uid != 0:
        return fail(f"missing: {', '.join(missing)}", command)
    return warn(f"missing: {', '.join(missing)}", f"nothing: deploy installs them, as `{command}` does")


def _go(context: Context) -> Finding:
    code, text = context.probe.run("go", "version")
    needed = golang.minimum()
    least = ".".join(map(str, needed))
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    if code != 0 or found is None:
        return ok(f"none; deploy brings one as a wheel ({least} or newer)")
    version = tuple(int(part or 0) for part in found.groups())
    if version < needed:
        return ok(f"{found[0]} is older than {least}; deploy brings a newer one as a wheel")
    return ok(found[0])


def _bases(context: Context) -> Finding:
    dates = {path.rpartition("/")[2]: context.probe.read(path) for path in context.probe.glob(f"{bases.FOLDER}/*")}
    if not dates:
        return ok("none yet; deploy makes them of the newest packages")
    ages = {
        suite: context.probe.now - datetime.fromisoformat((date or "").strip()).timestamp()
        for suite, date in dates.items()
    }
    told = ", ".join(f"{suite} {age / _DAY:.0f} days" for suite, age in sorted(ages.items()))
    return ok(told) if max(ages.values()) <= _STALE_DAYS * _DAY else warn(f"old packages: {told}")


def _refusal(context: Context, client: str, text: str) -> Finding:
    """Say how a registry failed; with finished builds in the cache a deploy may need nothing of it."""
    lines = [line for line in text.splitlines() if _TELLING.search(line)] or text.splitlines()[-1:]
    reason = " ".join(lines[-1].split())[:160] if lines else "no answer"
    told = f"{client}: {'it refuses (403): ' if '403' in text else ''}{reason}"
    if context.probe.glob(f"{paths.CACHE}/*/*"):
        return warn(told, "nothing, as long as all that is needed is in the cache")
    return fail(told)


def _pip(context: Context) -> Finding:
    name, version = next(iter(pins(requires("betelgeuse") or []).items()))
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--retries=1"]
    folder = context.probe.scratch()
    code, text = context.probe.run(*argv, "--dest", folder, f"{name}=={version}", timeout=_NETWORK_SECONDS)
    return ok(f"pip got {name} {version}") if code == 0 else _refusal(context, "pip", text)


def _goproxy(context: Context) -> Finding:
    if context.probe.which("go") is None:
        return skip("go is not installed yet; deploy brings it as a wheel")
    # A module cache of its own: the real one would answer for the proxy.
    env = {
        "GOMODCACHE": context.probe.scratch(),
        "GOFLAGS": "-mod=mod -modcacherw",
        "GOWORK": "off",
        "GO111MODULE": "on",
    }
    code, text = context.probe.run("go", "list", "-m", _MODULE, env=env, timeout=_NETWORK_SECONDS)
    return ok(f"go got {_MODULE}") if code == 0 else _refusal(context, "go", text)


def _apt(context: Context) -> Finding:
    if not context.probe.exists(bases.HELPER):
        return skip("no apt on this machine")
    shape = "$(REPO_URI)dists/$(RELEASE)/InRelease"
    code, text = context.probe.run("apt-get", "indextargets", "--format", shape)
    sources = sorted(set(text.split()))
    if code != 0 or not sources:
        return fail("no package source is configured", "write /etc/apt/sources.list, then apt-get update")
    target = f"{context.probe.scratch()}/InRelease"
    # An older copy is no obstacle; only the answer matters.
    code, text = context.probe.run(bases.HELPER, "-qq", "download-file", sources[0], target, timeout=_NETWORK_SECONDS)
    return ok(f"{len(sources)} sources configured, the first answers") if code == 0 else _refusal(context, "apt", text)


def _containers(context: Context) -> Finding:
    code, text = context.probe.run("docker", "version", "--format", "{{.Server.Version}}")
    if code == 0:
        return ok(f"Docker {text}")
    if context.probe.which("podman") is not None:
        return ok("podman")
    if context.probe.which("apt-get") is not None and context.probe.uid == 0:
        return ok("no Docker answers; deploy installs podman")
    return fail(text.splitlines()[-1] if text else "docker does not answer")


def _ssh(context: Context) -> Finding:
    if not context.servers:
        return ok(f"no overlays/{context.settings.env}/{servers.FILE}: the cluster is not ours to form")
    if context.probe.which("ssh") is None:
        return fail("ssh is not installed", "apt-get install openssh-client")
    failed = []
    for server in context.servers:
        try:
            context.reach(server)
        except BetelgeuseError as error:
            failed.append(str(error))
    return fail("; ".join(failed)) if failed else ok(f"{len(context.servers)} let us in as root")


CHECKS: Final = (
    Check("python", "the package is written for it", "install Python 3.11 or newer and make the venv anew", _python),
    Check(
        "distributions",
        "kubectl and the Kubernetes client come as wheels of exact versions",
        "run the first command of README.md again",
        _distributions,
    ),
    Check("packages", "builds and nodes use these Debian packages", "invoke setup", _packages, _EMBEDDED),
    Check(
        "bases",
        "images hold Debian's packages, security updates included",
        "invoke images --refresh",
        _bases,
        _EMBEDDED,
    ),
    Check("go", "most components are built from pinned Go modules", "nothing", _go, _EMBEDDED),
    Check(
        "registry-pip",
        "wheels and source packages",
        "check the network, or name a mirror: pip config set global.index-url URL",
        _pip,
        quick=False,
    ),
    Check(
        "registry-go",
        "Go modules",
        "check the network, or name a mirror: go env -w GOPROXY=URL",
        _goproxy,
        _EMBEDDED,
        quick=False,
    ),
    Check(
        "registry-apt",
        "Debian packages for this machine and for images",
        "check the network and /etc/apt/sources.list",
        _apt,
        _EMBEDDED,
        quick=False,
    ),
    Check(
        "containers",
        "kind's nodes are containers",
        "start Docker, install podman, or use --env=local",
        _containers,
        _DOCKER,
        quick=False,
    ),
    Check(
        "ssh",
        "servers are set up over SSH with keys, never with passwords",
        "ssh-copy-id USER@ADDRESS, or load the key: ssh-add; a user but root needs sudo without a password",
        _ssh,
        _SERVERS,
    ),
)
