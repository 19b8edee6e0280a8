"""The environment file: read as kustomize reads it, refused with a pointed message."""

import dataclasses
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse import paths, sizes, yamls
from betelgeuse.errors import UsageError
from betelgeuse.kube.command import kubectl
from betelgeuse.settings import KEYS, Settings, _pairs, environments, load, parse, suggest
from betelgeuse.shell import run

FULL = """\
# comment
DOMAIN=betelgeuse.test

  NODES=3
GATEWAY_ADDRESSES=172.30.0.11, 172.30.0.12 fd00::1
ACME_SERVER=https://acme.example.org/dir
ACME_EMAIL=admin@example.org
KUBE_CONTEXT=kind-x
NODE_SUBNET=10.9.8.0/24
ADMIN_CIDRS=198.51.100.0/24, 203.0.113.7/32
"""

BAD = [
    ("DOMIAN=x.y", "e:1: unknown key DOMIAN; did you mean 'DOMAIN'?"),
    ("domain=x.y", "e:1: unknown key domain; did you mean 'DOMAIN'?"),
    ("QQQQ=1", "e:1: unknown key QQQQ"),
    ("DOMAIN", "e:1: expected KEY=VALUE (the line is not shown)"),
    ("DOMAIN =x.y", "e:1: 'DOMAIN ' is not a key; write KEY=VALUE without spaces around '='"),
    ("=x", "e:1: '' is not a key"),
    ("DOMAIN=x.y ", "e:1: DOMAIN must be a bare value"),
    ("DOMAIN= x.y", "e:1: DOMAIN must be a bare value"),
    ('DOMAIN="x.y"', "e:1: DOMAIN must be a bare value"),
    ("DOMAIN='x.y'", "e:1: DOMAIN must be a bare value"),
    ("DOMAIN=x.y # mine", "e:1: DOMAIN must be a bare value"),
    ("DOMAIN=x.y\nDOMAIN=x.z", "e:2: DOMAIN was already set in line 1"),
    ("DOMAIN=x\x00.y", "e:1: DOMAIN holds a control character"),
    ("\x1cDOMAIN=x.y", "e:1: '\\x1cDOMAIN' is not a key"),
    ("", "e: DOMAIN is missing"),
    ("DOMAIN=", "e:1: DOMAIN must be a lower-case DNS name"),
    ("DOMAIN=Example.org", "e:1: DOMAIN must be a lower-case DNS name"),
    ("DOMAIN=localhost", "e:1: DOMAIN must be a lower-case DNS name"),
    ("DOMAIN=-a.b", "e:1: DOMAIN must be a lower-case DNS name"),
    (f"DOMAIN={'a.' * 101}b", "e:1: DOMAIN must be a lower-case DNS name"),
    ("NODES=0", "e:1: NODES must be a whole number from 1 to 9, got '0'"),
    ("NODES=10", "e:1: NODES must be a whole number from 1 to 9, got '10'"),
    ("NODES=\u0661", "e:1: NODES must be a whole number"),
    ("NODES=3.5", "e:1: NODES must be a whole number"),
    (f"NODES={'9' * 5000}", "e:1: NODES must be a whole number"),
    ("GATEWAY_ADDRESSES=1.2.3", "e:1: GATEWAY_ADDRESSES must be IP addresses"),
    ("ACME_SERVER=http://x", "e:1: ACME_SERVER must be an https:// address"),
    ("ACME_SERVER=https://[", "e:1: ACME_SERVER must be an https:// address"),
    ("ACME_EMAIL=nobody", "e:1: ACME_EMAIL must be a mail address"),
    ("KUBE_CONTEXT=", "e:1: KUBE_CONTEXT must be the name of a kubeconfig context"),
    ("NODE_SUBNET=172.30.0.1/24", "e:1: NODE_SUBNET must be a private IPv4 network"),
    ("NODE_SUBNET=8.8.8.0/24", "e:1: NODE_SUBNET must be a private IPv4 network"),
    ("NODE_SUBNET=10.0.0.0/8", "e:1: NODE_SUBNET must be a private IPv4 network"),
    ("ADMIN_CIDRS=198.51.100.7/24", "e:1: ADMIN_CIDRS must be IPv4 networks"),
    ("ADMIN_CIDRS=everywhere", "e:1: ADMIN_CIDRS must be IPv4 networks"),
]

LLM = ("../../base/ai/llm/sizes",)
SIZES = {"LLM_CPU": LLM[0], "LLM_MEMORY": LLM[0], "DB_DISK": "../../base/db/sizes"}
"""Apps whose sizes an environment may set, and those that this one's overlay lists."""

BAD_SIZES = [
    ("LLM_CPU=two\nLLM_MEMORY=2Gi", LLM, "e:2: LLM_CPU must be a CPU quantity, e.g. 2 or 500m, got 'two'"),
    ("LLM_CPU=2\nLLM_MEMORY=1 GB", LLM, "e:3: LLM_MEMORY must be a quantity, e.g. 2Gi, got '1 GB'"),
    ("LLLM_CPU=2", LLM, "e:2: unknown key LLLM_CPU; did you mean 'LLM_CPU'?"),
    (
        "LLM_CPU=2",
        LLM,
        "e: LLM_MEMORY is missing; ../../base/ai/llm/sizes, a component of overlays/x/kust",
    ),
    ("DB_DISK=1Gi", (), "e:2: DB_DISK has no effect until overlays/x/kustomization.yaml lists ../../base/db/sizes"),
]


def test_every_key_is_read() -> None:
    """A file with every key gives Settings with every value converted."""
    found = parse("x", "e", FULL)

    assert found == Settings(
        env="x",
        domain="betelgeuse.test",
        nodes=3,
        gateway_addresses=("172.30.0.11", "172.30.0.12", "fd00::1"),
        acme_server="https://acme.example.org/dir",
        acme_email="admin@example.org",
        kube_context="kind-x",
        node_subnet=IPv4Network("10.9.8.0/24"),
        admin_cidrs=(IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.7/32")),
    )
    assert found.node_addresses == ("10.9.8.11", "10.9.8.12", "10.9.8.13")
    assert found.bridge_address == "10.9.8.1"


def test_sizes_are_checked_and_stay_in_the_file() -> None:
    """Kustomize spreads them; no step in Python needs one."""
    text = "DOMAIN=a.b\nLLM_CPU=500m\nLLM_MEMORY=1.5Gi\n"

    assert parse("x", "e", text, SIZES, LLM) == parse("x", "e", "DOMAIN=a.b\n", SIZES)


@pytest.mark.parametrize(("lines", "listed", "message"), BAD_SIZES)
def test_wrong_sizes_are_refused(lines: str, listed: tuple[str, ...], message: str) -> None:
    """A size that nothing reads, one that is missing, one that is none."""
    with pytest.raises(UsageError) as refusal:
        parse("x", "e", f"DOMAIN=a.b\n{lines}", SIZES, listed)

    assert str(refusal.value).startswith(message)


def test_the_tree_says_which_sizes_there_are() -> None:
    """An app brings its keys in its own folder; overlays that differ list it."""
    llm, embeddings = "../../base/ai/llm/sizes", "../../base/ai/embeddings/sizes"
    known = sizes.keys()

    assert (known["LLM_CPU"], known["LLM_MEMORY"], known["EMBEDDINGS_CPU"]) == (llm, llm, embeddings)
    assert sizes.listed("hetzner") == {llm, embeddings}
    assert sizes.listed("local") == sizes.listed("no-such") == set()


def test_keys_and_fields_are_the_same() -> None:
    """Each key has a field of Settings and the other way round."""
    assert {key.lower() for key in KEYS} | {"env"} == {field.name for field in dataclasses.fields(Settings)}


def test_defaults() -> None:
    """Only DOMAIN is needed; the context is named after the environment; optional values may be empty."""
    found = parse("local", "e", "DOMAIN=a.b\r\nACME_SERVER=\r\nACME_EMAIL=\r\nGATEWAY_ADDRESSES=\r\n")

    assert (found.nodes, found.kube_context, found.gateway_addresses) == (1, "betelgeuse-local", ())


@pytest.mark.parametrize(("content", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_bad_input_is_named_with_its_line(content: str, message: str) -> None:
    """Every mistake gives one line: file, line number, what was expected."""
    with pytest.raises(UsageError) as caught:
        parse("x", "e", content)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_kustomize_reads_the_same(tmp_path: Path) -> None:
    """What Python takes for a key and a value is what kustomize's generator puts into the ConfigMap."""
    content = FULL.replace("ACME_EMAIL=", "\t ACME_EMAIL=") + "ACME_SERVER=https://a=b/c?d#e\r\n"
    content = content.replace("ACME_SERVER=https://acme.example.org/dir\n", "")
    (tmp_path / "environment.env").write_text(content)
    (tmp_path / "kustomization.yaml").write_text("configMapGenerator:\n  - {name: x, envs: [environment.env]}\n")

    [found] = yamls.parse(run([kubectl(), "kustomize", str(tmp_path)]), "x")

    assert found["data"] == {key: value for _, key, value in _pairs("e", content)}
    assert parse("x", "e", content).acme_server == "https://a=b/c?d#e"


@given(st.text())
def test_any_text_is_settings_or_one_line(content: str) -> None:
    """No text whatsoever makes the parser fail in another way."""
    try:
        parse("x", "e", content)
    except UsageError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right


@given(st.lists(st.tuples(st.sampled_from([*KEYS, "DOMAN"]), st.text(max_size=20)), max_size=6))
def test_any_values_are_settings_or_one_line(pairs: list[tuple[str, str]]) -> None:
    """The same for lines that look right."""
    try:
        found = parse("x", "e", "\n".join(f"{key}={value}" for key, value in pairs))
    except UsageError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right
    else:
        assert found.domain in {value for _, value in pairs}


@pytest.fixture
def overlays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a tree with the environments local and hetzner, and a folder that is none."""
    for name in ("local", "hetzner"):
        (tmp_path / "overlays" / name).mkdir(parents=True)
        (tmp_path / "overlays" / name / "environment.env").write_text("\ufeffDOMAIN=a.b\nNODES=2\n", "utf-8")
    (tmp_path / "overlays" / "drafts").mkdir()
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "OVERLAYS", tmp_path / "overlays")
    monkeypatch.delenv("NODES", raising=False)
    return tmp_path / "overlays"


@pytest.mark.usefixtures("overlays")
def test_environments_are_the_overlays() -> None:
    """An environment is a folder with an environment.env; a byte order mark does no harm."""
    assert environments() == ["hetzner", "local"]
    assert load("local").domain == "a.b"


@pytest.mark.usefixtures("overlays")
def test_nodes_can_be_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins over the variable, the variable over the file; both are checked."""
    monkeypatch.setenv("NODES", "3")

    assert (load("local").nodes, load("local", nodes=5).nodes) == (3, 5)
    with pytest.raises(UsageError, match="--nodes must be a whole number from 1 to 9, got 'x'"):
        load("local", nodes="x")
    monkeypatch.setenv("NODES", "")
    assert load("local").nodes == 2


@pytest.mark.usefixtures("overlays")
def test_unknown_environment_is_suggested() -> None:
    """A typo in the environment's name names the right one."""
    with pytest.raises(
        UsageError, match=r"unknown environment 'lcoal'; did you mean 'local'\? \(overlays/ has: hetzner"
    ):
        load("lcoal")


def test_unreadable_file_is_one_line(overlays: Path) -> None:
    """A file that is no text, or no file, is named."""
    (overlays / "local" / "environment.env").write_bytes(b"DOMAIN=\xff")
    with pytest.raises(UsageError, match=r"overlays/local/environment\.env: not UTF-8 text \(byte 7\)"):
        load("local")
    (overlays / "local" / "environment.env").unlink()
    (overlays / "local" / "environment.env").mkdir()
    with pytest.raises(UsageError, match=r"overlays/local/environment\.env: cannot be read: Is a directory"):
        load("local")


def test_suggestion_needs_something_near() -> None:
    """Nothing near, no suggestion."""
    assert suggest("zzz", ["DOMAIN"]) == ""
