"""What a person's shell says for its owner reaches none of our programs."""

import ast
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import paths
from betelgeuse.clusters.local import cluster, guard, layout
from betelgeuse.kube.command import kubectl
from betelgeuse.settings import Settings
from betelgeuse.shell import run
from betelgeuse.surroundings import direct, environment

PROXY = "http://proxy.example.org:3128"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "No_Proxy")
NODE = layout.nodes(Settings("local", "example.test"))[0]
SHOW = [sys.executable, "-c", "import json, os; print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))"]
STARTS = {"Popen", "run", "call", "check_call", "check_output"}
SOURCES = sorted([*(paths.ROOT / "src").rglob("*.py"), *(paths.ROOT / "conformance").rglob("*.py")])


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set each proxy variable of the shell, and none of its exceptions."""
    for name in PROXIES:
        monkeypatch.setenv(name, PROXY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def _shown(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.mark.usefixtures("proxied")
def test_a_proxy_serves_downloads_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may take the proxy to the Internet, never to a private address; what a person excepts stays so."""
    monkeypatch.setenv("NO_PROXY", "x.test,::1")
    told = _shown(run(SHOW))

    assert told["HTTPS_PROXY"] == PROXY
    assert told["NO_PROXY"] == told["no_proxy"]
    assert told["NO_PROXY"].split(",")[:2] == ["x.test", "::1"]
    assert {"172.16.0.0/12", "127.0.0.0/8", "localhost"} <= set(told["NO_PROXY"].split(","))


def _asked(argv: list[str], env: Mapping[str, str], proxy: socket.socket) -> bool:
    """Run a program that fails, and return whether it asked the proxy on its way."""
    subprocess.run(argv, env=env, capture_output=True, check=False)  # noqa: S603 - the pinned kubectl
    try:
        proxy.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_kubectl_goes_to_private_addresses_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned kubectl reads the exceptions as we mean them: it never asks the proxy for a node."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    where = ["--server=https://10.255.255.1:1", "--token=none", "--request-timeout=300ms"]
    argv = [kubectl(), *where, "get", "--raw", "/readyz"]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0)
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")

        assert _asked(argv, os.environ, proxy)
        assert not _asked(argv, environment(), proxy)


@pytest.mark.usefixtures("proxied")
def test_nodes_hear_of_no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What runs inside a node has no variable that names a proxy, and no exceptions from one either."""
    wanted, program, seen = (tmp_path / name for name in ("wanted.json", "python", "seen"))
    wanted.write_text('{"path": "/usr/bin:/bin", "nodes": []}')
    program.write_text(f"#!/bin/sh\nenv > {seen}\n")
    program.chmod(0o755)
    monkeypatch.setattr(cluster, "DESIRED", wanted)
    monkeypatch.setattr(guard, "CLUSTER_DIR", tmp_path)
    monkeypatch.setattr(guard, "LOG", tmp_path / "guard.log")
    monkeypatch.setattr(guard, "init_pid", lambda _: os.getpid())
    # The way in, without entering: what follows `--` runs here.
    monkeypatch.setattr(cluster, "run", lambda argv, **how: run(argv[argv.index("--") + 1 :], **how))
    inside = _shown(cluster.inside(NODE, SHOW))
    monkeypatch.setattr(sys, "executable", str(program))
    guard.spawn().wait(10)

    for told in (inside, _shown(seen.read_text())):
        assert "PATH" in told
        assert [name for name in told if name.lower().endswith("_proxy")] == []
    assert inside["KUBECONFIG"] == "/etc/kubernetes/admin.conf"


def test_without_a_proxy_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell without a proxy needs no exceptions."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    assert direct() == {}
    assert "NO_PROXY" not in environment()


def test_preferences_stay_with_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Languages, options of tools and start-up files are the person's; the rest of the shell is the program's too."""
    for name in ("KUBECTL_EXTERNAL_DIFF", "GREP_OPTIONS", "LC_MESSAGES", "BASH_ENV", "TAR_OPTIONS"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("GOPROXY", "https://mirror.example.org")
    told = _shown(run(SHOW, env={"WORD": "w"}))

    assert {"KUBECTL_EXTERNAL_DIFF", "GREP_OPTIONS", "LC_MESSAGES", "BASH_ENV", "TAR_OPTIONS"} & set(told) == set()
    assert (told["LC_ALL"], told["KUBERC"], told["WORD"]) == ("C.UTF-8", "off", "w")
    assert told["GOPROXY"] == "https://mirror.example.org"


def test_kubectl_takes_no_preferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~/.kube/kuberc that makes `kustomize` write a file changes nothing of what we read."""
    (tmp_path / ".kube").mkdir()
    written = tmp_path / "written.yaml"
    (tmp_path / ".kube" / "kuberc").write_text(
        "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\ndefaults:\n"
        f"- command: kustomize\n  options:\n  - name: output\n    default: {written}\n"
    )
    (tmp_path / "kustomization.yaml").write_text("configMapGenerator: [{name: a, literals: [b=c]}]\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    argv = [kubectl(), "kustomize", str(tmp_path)]
    subprocess.run(argv, env={**os.environ}, capture_output=True, check=True)  # noqa: S603 - the pinned kubectl
    # It does that for a person.
    assert written.is_file()
    written.unlink()

    assert "kind: ConfigMap" in run(argv)
    assert not written.exists()


def _bare(path: Path) -> list[str]:
    """Return the calls that start a program without saying its environment."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        called: Any = getattr(node, "func", None)
        if isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "subprocess":
            keywords = {keyword.arg for keyword in node.keywords} if isinstance(node, ast.Call) else set()
            if called.attr in STARTS and "env" not in keywords:
                found.append(f"{path.relative_to(paths.ROOT)}:{node.lineno if isinstance(node, ast.Call) else 0}")
    return found


def test_every_program_gets_it() -> None:
    """Nothing is started with the shell's own environment; a node's init passes on what its guard gave it."""
    passes_on = paths.ROOT / "src/betelgeuse/clusters/local/nodeinit.py"

    assert [call for path in SOURCES if path != passes_on for call in _bare(path)] == []
    assert _bare(passes_on)


def test_no_session_takes_a_proxy() -> None:
    """What asks the platform over HTTP goes there directly; only the package index is asked as the shell says."""
    asking = [path for path in SOURCES if re.search(r"\brequests\.(Session|get|post|put|request)\(", path.read_text())]

    assert len(asking) >= 3
    for path in asking:
        assert path.read_text().count("requests.Session(") == path.read_text().count("trust_env = False"), path
        assert not re.search(r"\brequests\.(get|post|put|request)\(", path.read_text()), path


@pytest.mark.parametrize("module", ["betelgeuse", "betelgeuse.clusters.local.nodeinit", "tasks"])
def test_our_umask_is_our_own(tmp_path: Path, module: str) -> None:
    """A hardened shell's 077 would shut every container's user out of what we write."""
    code = (
        f"import {module}, pathlib, subprocess; pathlib.Path('a').mkdir(); subprocess.run(['mkdir', 'b'], check=True)"
    )
    sources = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    subprocess.run(  # noqa: S603 - our own interpreter and text
        ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-c", code],
        cwd=tmp_path,
        env=sources,
        check=True,
    )

    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o755, 0o755]
