"""A declaration that is wrong is told with its file, field and fix before anything is built."""

from collections.abc import Callable
from pathlib import Path

import pytest

from betelgeuse import hostfiles, paths
from betelgeuse.errors import UsageError

_HOST = """apiVersion: betelgeuse.io/v1alpha1
kind: Host
metadata:
  name: wiki
  annotations: {config.kubernetes.io/local-config: "true"}
spec:
  description: Notes
  service: wiki
"""
GATES = {
    "login": "  gate: login\n  groups: [researchers]\n  timeout: 60s\n",
    "token": "  gate: token\n  timeout: 60s\n  bodyLimit: 4Mi\n  requestsPerSecond: 20\n  parallelRequests: 8\n",
    "login-and-token": "  gate: login-and-token\n  groups: [researchers]\n  timeout: 60s\n  audience: wiki-api\n"
    "  requestsPerSecond: 20\n  parallelRequests: 8\n",
    "native": "  gate: native\n  callback: /login/back\n  reason: it asks Keycloak itself\n  timeout: 0s\n",
    "password": "  gate: password\n  timeout: 60s\n",
    "open": "  gate: open\n  reason: everybody may read it\n",
}
_TCP = (
    _HOST.replace("kind: Host", "kind: TcpHost").replace(
        "  description: Notes\n", "  names: [wiki.DOMAIN, wiki.area.svc]\n"
    )
    + "  port: 5432\n  connect: |\n    SQL: sql {host}\n"
)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write one application's folder and return base/."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folder = tmp_path / "base" / "area" / "wiki"
    folder.mkdir(parents=True)

    def files(text: str, *components: str, name: str = "host.yaml") -> Path:
        listed = "".join(f"  - ../../../components/{component}\n" for component in components)
        (folder / "kustomization.yaml").write_text(f"resources: [{name}]\ncomponents:\n{listed}" if listed else "{}\n")
        if text:
            (folder / name).write_text(text)
        return tmp_path / "base"

    return files


def _problem(base: Path) -> str:
    with pytest.raises(UsageError) as caught:
        hostfiles.check(base)
    return str(caught.value)


@pytest.mark.parametrize("gate", GATES)
def test_every_gate_has_a_form(write: Write, gate: str) -> None:
    """A complete declaration of each gate is accepted."""
    hostfiles.check(write(_HOST + GATES[gate], f"gate-{gate}"))


@pytest.mark.parametrize("gate", GATES)
def test_every_field_is_needed(write: Write, gate: str) -> None:
    """Without any one of its lines the declaration is refused, by the name of the field."""
    for line in GATES[gate].splitlines():
        field = line.strip().partition(":")[0]
        said = _problem(write(_HOST + GATES[gate].replace(f"{line}\n", ""), f"gate-{gate}"))

        assert said.startswith(f"base/area/wiki/host.yaml: spec.{field} ")


def test_every_gate_is_a_component() -> None:
    """The gates that can be declared are the folders that exist."""
    found = {path.name.removeprefix("gate-") for path in (paths.ROOT / "components").glob("gate-*")}

    assert found == set(hostfiles.GATES)


@pytest.mark.parametrize("component", ["tcp-by-port", "tcp-by-sni"])
def test_a_tcp_host_is_declared(write: Write, component: str) -> None:
    """A database's or broker's declaration is accepted with either way of routing."""
    hostfiles.check(write(_TCP, component, name="tcphost.yaml"))


def test_a_tcp_host_says_how_to_connect(write: Write) -> None:
    """The lines are found by the host's name; another has none."""
    base = write(_TCP, "tcp-by-port", name="tcphost.yaml")

    hostfiles.check(base)
    assert hostfiles.connecting("wiki", base) == "SQL: sql {host}\n"
    assert hostfiles.connecting("other", base) == ""
    wrong = _TCP.replace("connect: |\n    SQL: sql {host}", "connect: []")
    assert "spec.connect must be text" in _problem(write(wrong, "tcp-by-port", name="tcphost.yaml"))


WRONG = [
    ("a misspelt field", "groups:", "grups:", "unknown field 'grups'; did you mean 'groups'?"),
    ("a field of another gate", "timeout:", "bodyLimit: 4Mi\n  timeout:", "unknown field 'bodyLimit'"),
    ("a gate that is none", "gate: login", "gate: lgin", "got 'lgin'; did you mean 'login'?"),
    ("a group that is none", "[researchers]", "[reserchers]", "spec.groups must be a list of groups of the realm"),
    ("no groups", "[researchers]", "[]", "spec.groups must be a list"),
    ("a group that is no list", "[researchers]", "researchers", "spec.groups must be a list"),
    ("a number for a duration", "60s", "60", "spec.timeout must be a duration such as 60s"),
    ("a blank description", "Notes", '" "', "spec.description must be text"),
    ("a name with a dot", "name: wiki", "name: wi.ki", "metadata.name must be a DNS label"),
    ("another kind", "kind: Host", "kind: Hst", "must hold one Host of betelgeuse.io/v1alpha1"),
    ("two documents", "spec:\n", "spec: {}\n---\nspec:\n", "must hold one Host"),
    ("an unknown part", "spec:\n", "status: {}\nspec:\n", "unknown field 'status'"),
    ("a label of its own", "  annotations:", "  labels: {a: b}\n  annotations:", "metadata: unknown field 'labels'"),
    ("no mark", '"true"', '"false"', "metadata.annotations needs config.kubernetes.io/local-config"),
    ("spec is text", None, _HOST.partition("spec:")[0] + "spec: none\n", "must have the maps metadata and spec"),
]


@pytest.mark.parametrize(("old", "new", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_declaration_is_told(write: Write, old: str | None, new: str, said: str) -> None:
    """One line: file, field, what it must be."""
    right = _HOST + GATES["login"]
    text = new if old is None else right.replace(old, new, 1)
    problem = _problem(write(text, "gate-login"))

    assert text != right
    assert problem.startswith("base/area/wiki/host.yaml")
    assert said in problem
    assert "\n" not in problem


@pytest.mark.parametrize("port", ["0", "65536", "true", '"5432"'])
def test_a_port_is_a_number(write: Write, port: str) -> None:
    """What is no TCP port is refused."""
    assert "spec.port must be a TCP port" in _problem(
        write(_TCP.replace("5432", port), "tcp-by-sni", name="tcphost.yaml")
    )


@pytest.mark.parametrize(
    "names",
    [
        "[]",
        "wiki.DOMAIN",
        "[wiki.area.svc]",
        "[WIKI.DOMAIN]",
        "[wiki.DOMAIN, 7]",
        "[wiki.DOMAIN, wiki]",
        "[a.b.DOMAIN]",
    ],
)
def test_the_first_name_is_public(write: Write, names: str) -> None:
    """A server's names are the public one below the domain, then those of Services inside."""
    text = _TCP.replace("[wiki.DOMAIN, wiki.area.svc]", names)

    assert "spec.names must be a list of DNS names" in _problem(write(text, "tcp-by-sni", name="tcphost.yaml"))


@pytest.mark.parametrize("listed", [(), ("gate-token",), ("gate-login", "gate-token")])
def test_the_component_is_that_of_the_gate(write: Write, listed: tuple[str, ...]) -> None:
    """A declaration whose component is missing, another's or not alone is refused."""
    problem = _problem(write(_HOST + GATES["login"], *listed))

    assert problem.startswith(
        "base/area/wiki/kustomization.yaml: `components` must list ../../../components/gate-login"
    )


@pytest.mark.parametrize(("component", "file"), [("gate-open", "host.yaml"), ("tcp-by-sni", "tcphost.yaml")])
def test_a_component_without_its_declaration_is_told(write: Write, component: str, file: str) -> None:
    """The file that is missing is named."""
    assert _problem(write("", component)) == (
        f"base/area/wiki/kustomization.yaml: lists {component}, which reads {file}: it is missing"
    )


def test_a_declaration_without_a_kustomization_is_told(write: Write) -> None:
    """Nothing would read it."""
    base = write(_HOST + GATES["login"])
    (base / "area" / "wiki" / "kustomization.yaml").unlink()

    assert _problem(base).startswith("base/area/wiki/kustomization.yaml is missing")


def test_a_file_that_is_no_text_is_told(write: Write) -> None:
    """Bytes that are not UTF-8 end in one line."""
    base = write(_HOST + GATES["login"], "gate-login")
    (base / "area" / "wiki" / "host.yaml").write_bytes(b"\xff\xfe")

    assert "base/area/wiki/host.yaml: cannot be read" in _problem(base)


def test_the_tree_is_right() -> None:
    """What base/ declares is accepted."""
    hostfiles.check()
