"""How a server is reached: which host key counts, and what the OpenSSH client is told."""

import base64
import os
from pathlib import Path

import pytest

from betelgeuse import paths, ssh
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.servers import Server
from betelgeuse.shell import run

ED25519 = base64.b64encode(b"\0\0\0\x0bssh-ed25519 of a test").decode()
RSA = base64.b64encode(b"\0\0\0\x07ssh-rsa of a test").decode()
SCAN = f"# 192.0.2.1:22 SSH-2.0-OpenSSH\n192.0.2.1 ssh-rsa {RSA}\n192.0.2.1 ssh-ed25519 {ED25519}\nnonsense\n"
ONE = Server("one", "192.0.2.1", ssh.fingerprint(ED25519))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a state folder, and a folder of programs before all others."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    """Make a program that is found before the machine's."""
    file = folder / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    file.chmod(0o755)


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    """Asked of the real one; what is no base64 has none."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")])
    said = run(["ssh-keygen", "-lf", str(tmp_path / "key")])

    assert ssh.fingerprint((tmp_path / "key.pub").read_text().split()[1]) == said.split()[1]
    assert not ssh.fingerprint("no base64!")


def test_only_the_declared_key_is_trusted(state: Path) -> None:
    """Of the keys that the server shows, the file has the one with the fingerprint, under the server's name."""
    program(state, "ssh-keyscan", f"cat <<'EOF'\n{SCAN}EOF")
    program(state, "ssh", 'echo "$@" >> "$0.log"')
    connection = ssh.Connection(ONE, "own")

    connection.open()

    folder = state / "state" / "own" / "ssh"
    assert (folder / "one.known_hosts").read_text() == f"one ssh-ed25519 {ED25519}\n"
    assert (state / "bin" / "ssh.log").read_text() == f"-F {folder}/one.config one sh -ec true\n"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_another_machine_is_refused(state: Path) -> None:
    """With the keys it shows, and what to compare; nothing is sent to it."""
    program(state, "ssh-keyscan", f"echo '192.0.2.1 ssh-rsa {RSA}'")
    program(state, "ssh", "exit 99")

    with pytest.raises(RefusedError) as refusal:
        ssh.Connection(ONE, "own").open()

    message = str(refusal.value)
    assert message.startswith(f"one (192.0.2.1:22) shows the host keys {ssh.fingerprint(RSA)} (ssh-rsa), servers.yaml")
    assert ONE.host_key in message
    assert not (state / "state" / "own").exists()


def test_a_silent_server_is_told(state: Path) -> None:
    """Also where the client itself is missing, by another line."""
    program(state, "ssh-keyscan", "exit 0")
    with pytest.raises(BetelgeuseError, match=r"^one \(192\.0\.2\.1:22\): no SSH server answers$"):
        ssh.Connection(ONE, "own").open()


def test_a_failure_names_the_server_and_the_command(state: Path) -> None:
    """Not the client's options; a user that is not root becomes root by sudo."""
    program(state, "ssh-keyscan", f"cat <<'EOF'\n{SCAN}EOF")
    program(state, "ssh", 'case "$*" in *true) ;; *) echo "$4" >&2; exit 3 ;; esac')
    connection = ssh.Connection(Server("one", "192.0.2.1", ONE.host_key, user="admin"), "own")
    connection.open()

    with pytest.raises(BetelgeuseError) as failure:
        connection.run("ls /nowhere")

    said = "sudo --non-interactive -- sh -ec 'ls /nowhere'"
    assert str(failure.value) == f"one: `ls /nowhere` failed with exit code 3: {said}"


def test_the_real_client_takes_our_options_first(state: Path) -> None:
    """`ssh -G` says what would count: nothing of a person's configuration, nobody to be asked, nothing forwarded."""
    connection = ssh.Connection(Server("one", "192.0.2.1", ONE.host_key, "admin", 2222), "own")
    connection._configure()
    config = state / "state" / "own" / "ssh" / "one.config"
    said = run(["ssh", "-G", "-F", str(config), "one"])
    lines = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)

    assert (lines["hostname"], lines["port"], lines["user"]) == ("192.0.2.1", "2222", "admin")
    assert (lines["stricthostkeychecking"], lines["batchmode"], lines["forwardagent"]) == ("true", "yes", "no")
    assert lines["userknownhostsfile"] == f"{config.parent}/one.known_hosts"
    assert lines["controlpath"] == f"{config.parent}/one.sock"


def test_a_path_too_long_for_a_socket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenSSH would fail with less of a reason."""
    monkeypatch.setattr(paths, "STATE", tmp_path / ("x" * 100))

    with pytest.raises(UsageError, match="set BETELGEUSE_STATE to a shorter one"):
        ssh.Connection(ONE, "own")._configure()
