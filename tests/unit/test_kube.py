"""The door to the API: paths, answers, failures, and which door may be opened."""

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import urllib3
import yaml

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import (
    ApiError,
    Kube,
    Resource,
    UnknownKindError,
    UnreachableError,
    command,
    connect,
    describe,
)
from betelgeuse.kube.connect import kubeconfigs
from betelgeuse.settings import Settings
from betelgeuse.shell import run
from tests.unit.fakes import obj

GROUPS = {
    "items": [
        {
            "metadata": {"name": "apps"},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": "deployments",
                            "responseKind": {"kind": "Deployment"},
                            "scope": "Namespaced",
                            "verbs": ["list"],
                        },
                        {"resource": "oddities", "verbs": ["create"]},
                    ],
                }
            ],
        }
    ]
}
CORE = {
    "items": [
        {
            "metadata": {},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": "namespaces",
                            "responseKind": {"kind": "Namespace"},
                            "scope": "Cluster",
                            "verbs": ["list"],
                        },
                        {
                            "resource": "secrets",
                            "responseKind": {"kind": "Secret"},
                            "scope": "Namespaced",
                            "verbs": ["list"],
                        },
                        {
                            "resource": "bindings",
                            "responseKind": {"kind": "Binding"},
                            "scope": "Namespaced",
                            "verbs": ["create"],
                        },
                    ],
                }
            ],
        }
    ]
}


@dataclass
class Answer:
    """What a server says."""

    status: int
    data: bytes
    headers: urllib3.HTTPHeaderDict = field(default_factory=urllib3.HTTPHeaderDict)


class Pool:
    """A connection pool that answers from a function."""

    def __init__(self, answer: Callable[[str, str, Any], Answer]) -> None:
        """Remember the function, and every request."""
        self.answer = answer
        self.requests: list[tuple[str, str, Any]] = []

    def request(self, method: str, url: str, *, body: bytes | None, **_: object) -> Answer:
        """Answer discovery by itself, everything else by the function."""
        path = url.removeprefix("https://api")
        if path in {"/apis", "/api"}:
            return Answer(200, json.dumps(GROUPS if path == "/apis" else CORE).encode())
        self.requests.append((method, path, None if body is None else json.loads(body)))
        return self.answer(method, path, body)


def door(answer: Callable[[str, str, Any], Answer]) -> tuple[Kube, Pool]:
    """Return a Kube over a pool of answers."""
    pool = Pool(answer)
    return Kube("local", "https://api", cast("urllib3.PoolManager", pool), {}), pool


def ok(body: Mapping[str, object]) -> Callable[[str, str, Any], Answer]:
    """Return a function that always answers the same."""
    return lambda *_: Answer(200, json.dumps(body).encode())


def failed(status: int, **body: object) -> Callable[[str, str, Any], Answer]:
    """Return a function that always fails the same."""
    return lambda *_: Answer(status, json.dumps(body).encode())


DEPLOYMENT = obj("apps/v1", "Deployment", "llm", "ai")


def test_paths() -> None:
    """The core group, a named group, one object, and names that need quoting."""
    assert Resource("v1", "Namespace", "namespaces", namespaced=False).path("x", "ai") == "/api/v1/namespaces/ai"
    assert Resource("apps/v1", "Deployment", "deployments", namespaced=True).path() == "/apis/apps/v1/deployments"
    role = Resource("r/v1", "Role", "roles", namespaced=True)
    assert role.path("ai", "system:a/b") == "/apis/r/v1/namespaces/ai/roles/system%3Aa%2Fb"
    assert [describe(DEPLOYMENT), describe(obj("v1", "Namespace", "ai")), describe({})] == [
        "Deployment ai/llm",
        "Namespace ai",
        "? ?",
    ]


def test_kinds_are_discovered() -> None:
    """Kinds come from the aggregated discovery; what cannot be listed is told apart; unknown ones are an error."""
    kube, _ = door(ok({}))

    assert kube.resource("apps/v1", "Deployment").plural == "deployments"
    assert [resource.kind for resource in kube.resources()] == ["Deployment", "Namespace", "Secret"]
    with pytest.raises(UnknownKindError, match=r"does not serve Lamp in x\.org/v1: is its CRD in the tree"):
        kube.resource("x.org/v1", "Lamp")


def test_lists_are_read_to_their_end() -> None:
    """A long list comes in pages; every item knows its kind; selectors are passed on."""
    pages = iter([{"items": [{"metadata": {}}], "metadata": {"continue": "t"}}, {"items": None, "metadata": {}}])
    kube, pool = door(lambda *_: Answer(200, json.dumps(next(pages)).encode()))

    assert kube.list("apps/v1", "Deployment", "ai", labels="a=b", fields="c=d") == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}}
    ]
    assert pool.requests[0][1].endswith("/namespaces/ai/deployments?limit=1000&labelSelector=a%3Db&fieldSelector=c%3Dd")
    assert "continue=t" in pool.requests[1][1]


def test_get_is_none_when_absent() -> None:
    """404 is an answer, other failures and unknown kinds are not."""
    assert door(failed(404, message="no"))[0].get("apps/v1", "Deployment", "llm", "ai") is None
    with pytest.raises(ApiError, match="GET /apis/apps/v1/namespaces/ai/deployments/llm: forbidden"):
        door(failed(403, message="forbidden"))[0].get("apps/v1", "Deployment", "llm", "ai")
    with pytest.raises(UnknownKindError):
        door(failed(404))[0].get("x.org/v1", "Lamp", "l", "n")


def test_apply_is_a_strict_patch() -> None:
    """The manager, strict fields, force and dry run are in the query."""
    kube, pool = door(ok({}))
    kube.server_side_apply(DEPLOYMENT, "betelgeuse")
    kube.server_side_apply(DEPLOYMENT, "betelgeuse", dry_run=True, force=True)
    start = "/apis/apps/v1/namespaces/ai/deployments/llm?fieldManager=betelgeuse&fieldValidation=Strict"

    assert pool.requests == [("PATCH", start, DEPLOYMENT), ("PATCH", f"{start}&force=true&dryRun=All", DEPLOYMENT)]


def test_create_and_delete() -> None:
    """Creating posts to the collection; deleting what is gone is no error; a uid is a precondition."""
    kube, pool = door(ok({}))
    kube.create(DEPLOYMENT, "someone")

    assert kube.delete(DEPLOYMENT, uid="1")
    assert [(method, path) for method, path, _ in pool.requests] == [
        ("POST", "/apis/apps/v1/namespaces/ai/deployments?fieldManager=someone"),
        ("DELETE", "/apis/apps/v1/namespaces/ai/deployments/llm"),
    ]
    assert pool.requests[1][2] == {"propagationPolicy": "Background", "preconditions": {"uid": "1"}}
    assert not door(failed(404, message="no"))[0].delete(DEPLOYMENT)
    with pytest.raises(ApiError):
        door(failed(409, message="uid differs"))[0].delete(DEPLOYMENT)


def test_failures_keep_the_servers_words() -> None:
    """Message, reason and causes of a Status; anything else as text."""
    causes = [{"reason": "x", "field": "y"}]
    kube, _ = door(failed(422, message="two\nlines", reason="Invalid", details={"causes": causes}))
    with pytest.raises(ApiError, match=r"GET /x: two lines \(HTTP 422\)") as caught:
        kube.raw("/x")
    assert (caught.value.status, caught.value.reason, caught.value.causes) == (422, "Invalid", tuple(causes))
    with pytest.raises(ApiError, match=r"GET /x: oops \(HTTP 500\)"):
        door(lambda *_: Answer(500, b"oops"))[0].raw("/x")
    with pytest.raises(ApiError, match=r"GET /x: no explanation \(HTTP 502\)"):
        door(lambda *_: Answer(502, b""))[0].raw("/x")


@pytest.mark.parametrize("section", ["data", "stringData"])
@pytest.mark.parametrize("value", ["Y2FuYXJ5LXdvcmQ=", "canary-word", 735191, "735", "two words", ["canary-word"]])
def test_a_secret_is_refused_without_its_values(section: str, value: object) -> None:
    """Whatever the server or a webhook repeats, in the text of the value or in what it encodes."""
    said = {"Y2FuYXJ5LXdvcmQ=": "canary-word", "['canary-word']": "canary-word"}.get(str(value), str(value))
    causes = [{"reason": "FieldValueInvalid", "field": f"{section}.a", "message": f"got {value}"}]
    words = f'.{section}.a: expected string, got &value{{Value:{value}}}: webhook "x" denied "{said}"'
    kube, _ = door(failed(422, message=words, reason="Invalid", details={"causes": causes}))
    secret = obj("v1", "Secret", "s", "ai") | {section: {"a": value}}
    for send in (kube.server_side_apply, kube.create):
        with pytest.raises(ApiError, match=rf"secrets.*: \.{section}\.a: expected string") as caught:
            send({**secret, "kind": "Secret"}, "betelgeuse")
        shown = f"{caught.value} {caught.value.causes}"
        assert str(value) not in shown
        assert said not in shown
        assert caught.value.status == 422
    with pytest.raises(ApiError, match="canary"):
        door(failed(422, message="canary"))[0].create(DEPLOYMENT, "betelgeuse")


def test_silence_is_told() -> None:
    """A server that does not answer is named with its address and what to do."""

    def silent(*_: object) -> Answer:
        message = "Connection aborted.: [Errno 111] Connection refused"
        raise urllib3.exceptions.ProtocolError(message)

    with pytest.raises(UnreachableError, match=r"'local' at https://api does not answer: .*refused; `invoke doctor"):
        door(silent)[0].raw("/readyz")


def test_warnings_are_kept_with_their_requests() -> None:
    """The same warning about two objects is one warning."""
    headers = urllib3.HTTPHeaderDict([("Warning", r'299 - "would violate \"restricted\""'), ("Warning", "odd")])
    kube, _ = door(lambda *_: Answer(200, b"{}", headers))
    kube.raw("/a")
    kube.raw("/b")

    assert kube.warnings == {'would violate "restricted"': {"/a", "/b"}, "odd": {"/a", "/b"}}


CONTEXT = "betelgeuse-local"
SETTINGS = Settings(env="local", domain="a.b", kube_context=CONTEXT)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what writes a kubeconfig, with parts changed; environments come from an empty tree."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.setattr(paths, "OVERLAYS", tmp_path / "overlays")
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:3128")

    def write(**changes: object) -> Path:
        document = {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **changes}}],
            "users": [{"name": "u", "user": {"token": "t0ken"}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": "c", "user": "u"}}],
            "current-context": "prod",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(document))
        return tmp_path / "config"

    return write


Config = Callable[..., Path]


def test_the_environments_context_is_used(config: Config) -> None:
    """Whatever the current context is, ours is opened, with its credentials, and without a proxy to this machine."""
    config()
    kube = connect(SETTINGS)

    assert (kube.host, dict(kube.headers)) == ("https://127.0.0.1:6443", {"authorization": "Bearer t0ken"})
    assert getattr(kube.pool, "proxy", None) is None
    config(server="https://kubernetes.example.org")
    assert getattr(connect(SETTINGS).pool, "proxy", None) is not None


def test_our_own_kubeconfig_comes_first(config: Config) -> None:
    """What a deploy left is used before the user's file; without either, the next step is named."""
    theirs = config()
    assert kubeconfigs(SETTINGS) == (theirs,)
    ours = paths.kubeconfig_path("local")
    ours.parent.mkdir(parents=True)
    ours.write_text(theirs.read_text())
    assert kubeconfigs(SETTINGS) == (ours,)
    ours.unlink()
    theirs.unlink()
    with pytest.raises(
        BetelgeuseError, match=r"no cluster for environment 'local': .*run `invoke deploy --env=local` first"
    ):
        connect(SETTINGS)


@pytest.mark.parametrize(
    ("env", "context", "made"),
    [
        ("single-node", "betelgeuse-single-node", "make it with kubeadm first"),
        ("hetzner", "betelgeuse-hetzner", "make it with kubeadm first"),
    ],
)
def test_a_cluster_that_no_deploy_makes(
    env: str, context: str, made: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever types deploy is not told to type it: what is to be made first is named, and what is looked for."""
    monkeypatch.setenv("KUBECONFIG", str(config().with_name("absent")))
    with pytest.raises(BetelgeuseError) as told:
        connect(Settings(env, "example.test", kube_context=context))

    assert made in str(told.value)
    assert f"its context {context!r}" in str(told.value)
    assert "invoke deploy" not in str(told.value)


def test_strangers_are_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A context no environment lists is refused, by argument and by variable; one of another environment is not."""
    config()
    with pytest.raises(RefusedError, match=f"context 'prod' is not one of ours .*{CONTEXT}"):
        connect(SETTINGS, context="prod")
    monkeypatch.setenv("KUBE_CONTEXT", "prod")
    with pytest.raises(RefusedError, match="context 'prod' is not one of ours"):
        connect(SETTINGS)
    (paths.OVERLAYS / "other").mkdir(parents=True)
    (paths.OVERLAYS / "other" / "environment.env").write_text("DOMAIN=a.b\nKUBE_CONTEXT=prod\n")
    with pytest.raises(RefusedError, match="no context 'prod'"):
        connect(SETTINGS)


def test_unusable_kubeconfigs_are_one_line(config: Config) -> None:
    """No context, no verification, no YAML, no credentials: one line each."""
    config(**{"insecure-skip-tls-verify": True})
    with pytest.raises(RefusedError, match=f"context '{CONTEXT}' skips TLS verification"):
        connect(SETTINGS)
    path = config(**{"certificate-authority": "/no/such/ca.crt"})
    with pytest.raises(UsageError, match=f"context '{CONTEXT}' cannot be used: File does not exist"):
        connect(SETTINGS)
    path.write_text("contexts: 3\n")
    with pytest.raises(RefusedError, match=f"no context '{CONTEXT}' .there are: none."):
        connect(SETTINGS)
    path.write_text("a: b: c")
    with pytest.raises(UsageError, match="is not a readable kubeconfig: mapping values"):
        connect(SETTINGS)


def test_several_kubeconfigs_are_merged(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kubectl reads them: a file may be empty or absent, the first entry of a name counts, a refusal names all."""
    theirs, other, empty = config(), tmp_path / "other", tmp_path / "empty"
    document = yaml.safe_load(theirs.read_text())
    document["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}
    document["contexts"][0]["name"] = "another"
    other.write_text(yaml.safe_dump(document))
    empty.write_text("# nothing\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    def told(*files: object) -> str:
        monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
        argv = [*command.in_namespace(SETTINGS, "x"), "config", "view", "--raw", "--minify", "--output=json"]
        server: str = json.loads(run(argv))["clusters"][0]["cluster"]["server"]
        assert connect(SETTINGS).host == server
        return server

    assert told(empty, tmp_path / "absent", theirs, other) == "https://127.0.0.1:6443"
    document["clusters"][0]["name"] = "d"
    other.write_text(yaml.safe_dump(document))
    assert told(other, theirs) == "https://127.0.0.1:6443"
    theirs.write_text(theirs.read_text().replace(CONTEXT, "x"))
    with pytest.raises(RefusedError, match=rf"{other}, {theirs}: no context '{CONTEXT}' .there are: another, x."):
        connect(SETTINGS)


def test_only_our_own_machines_are_started(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no cluster is, a deploy is no help unless it makes the machines."""
    config().unlink()
    with pytest.raises(BetelgeuseError, match=r"'hetzner': no kubeconfig is at .*config; make it .*'there'$"):
        connect(Settings("hetzner", "a.b", kube_context="there"))
    monkeypatch.setenv("KUBECONFIG", str(config(server=f"https://127.0.0.1:{_free_port()}")))
    elsewhere = connect(Settings("hetzner", "a.b", kube_context=CONTEXT))
    with pytest.raises(UnreachableError, match=r"`invoke doctor --env=hetzner` looks why$"):
        elsewhere.raw("/readyz")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_exec_names_cluster_pod_and_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment's own kubeconfig and context; the program's words come after `--`, so none is an option."""
    ran: list[str] = []

    def run(argv: list[str], **_: object) -> str:
        ran.extend(argv)
        return "out"

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "kubeconfigs", lambda _: (tmp_path / "kubeconfig",))
    settings = Settings("x", "a.test", kube_context="betelgeuse-x")

    assert command.exec_in(settings, "ns", "pod", ["cat", "-v"], container="c") == "out"

    assert ran[1:] == [
        *("--kubeconfig", str(tmp_path / "kubeconfig"), "--context", "betelgeuse-x", "--namespace", "ns"),
        *("exec", "pod", "--container", "c", "--", "cat", "-v"),
    ]
