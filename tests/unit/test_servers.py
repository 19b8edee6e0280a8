"""The servers of an environment: read from their file, refused with a pointed message."""

from dataclasses import fields
from pathlib import Path

import pytest

from betelgeuse import paths, servers
from betelgeuse.errors import UsageError
from betelgeuse.servers import Role, Server, load, parse

KEY = f"SHA256:{'a' * 43}"
ONE = f"name: one, address: 192.0.2.1, hostKey: '{KEY}'"
FULL = f"""\
servers:
  - name: one
    address: 192.0.2.1
    hostKey: {KEY}
  - {{name: two, address: 192.0.2.2, hostKey: '{KEY}', user: admin, port: 2222, role: worker, labels: {{zone: fsn1}}}}
"""

BAD = [
    ("", "e: expected one document with a list `servers`"),
    ("servers: one", "e: expected one document with a list `servers`"),
    ("servers: []\n---\nservers: []", "e: expected one document with a list `servers`"),
    ("servers: [", "e:2: not valid YAML"),
    ("servers: []\nserver: []", "e: unknown key 'server'; did you mean 'servers'?"),
    ("servers: []", "e: no server runs the control plane: give one the role both"),
    (f"servers: [{{{ONE}, role: control-plane}}]", "e: no server runs the platform's pods"),
    (f"servers: [{{{ONE}, role: worker}}]", "e: no server runs the control plane"),
    ("servers: [one]", "e: server 1: expected name, address and hostKey"),
    ("servers: [{name: one}]", "e: server 1: address, hostKey is missing"),
    (f"servers: [{{{ONE}, adress: 1.2.3.4}}]", "e: server 1: unknown key 'adress'; did you mean 'address'?"),
    (f"servers: [{{{ONE}, role: controlplane}}]", "e: server 1: role must be one of control-plane, worker, both; did"),
    (f"servers: [{{{ONE}, port: 0}}]", "e: server 1: port must be a whole number from 1 to 65535, got '0'"),
    (f"servers: [{{{ONE}, port: true}}]", "e: server 1: port must be a whole number"),
    (f"servers: [{{{ONE}, user: 'a b'}}]", "e: server 1: user must be the name of a user, got 'a b'"),
    (f"servers: [{{{ONE}, user: -oProxyCommand=x}}]", "e: server 1: user must be the name of a user"),
    (f"servers: [{{{ONE}, labels: [a]}}]", "e: server 1: labels must be a mapping of label names to texts"),
    (f"servers: [{{{ONE}, labels: {{a: 1}}}}]", "e: server 1: labels must be a mapping"),
    (f"servers: [{{{ONE}, labels: {{'-a': b}}}}]", "e: server 1: labels must be a mapping"),
    (f"servers: [{{{ONE.replace('192.0.2.1', 'host.example')}}}]", "e: server 1: address must be an IPv4 address"),
    (f"servers: [{{{ONE.replace('one', 'One')}}}]", "e: server 1: name must be lower-case letters"),
    (
        "servers: [{name: one, address: 192.0.2.1, hostKey: 'MD5:00:11'}]",
        "e: server 1: hostKey must be the fingerprint",
    ),
    (f"servers: [{{{ONE}}}, {{{ONE}}}]", "e: two servers have the name one"),
    (f"servers: [{{{ONE}}}, {{{ONE.replace('one', 'two')}}}]", "e: two servers have the address 192.0.2.1"),
]


def test_every_key_is_read() -> None:
    """What is not said has a default; each key has a field and the other way round."""
    one, two = parse("e", FULL)

    assert one == Server("one", "192.0.2.1", KEY, "root", 22, Role.BOTH, {})
    assert two == Server("two", "192.0.2.2", KEY, "admin", 2222, Role.WORKER, {"zone": "fsn1"})
    assert (one.controls, one.works, two.controls, two.works) == (True, True, False, True)
    assert {servers._FIELDS.get(key, key) for key in servers._KEYS} == {each.name for each in fields(Server)}


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message for _, message in BAD])
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    """File, server, key, and what it must be."""
    with pytest.raises(UsageError) as refusal:
        parse("e", text)

    assert str(refusal.value).startswith(message)


def test_an_environment_without_the_file_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cluster is somebody else's; one with the file is read, and one that is no text refused."""
    monkeypatch.setattr(paths, "OVERLAYS", tmp_path)
    file = tmp_path / "own" / servers.FILE
    file.parent.mkdir()

    assert load("own") == ()
    file.write_text(FULL, "utf-8")
    assert [server.name for server in load("own")] == ["one", "two"]
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read: not UTF-8 text"):
        load("own")
