"""One bare Debian server, from nothing to the platform and back. See `nox -s rehearsal -- --single`.

The tests tell one story and run in this order: look, refuse, deploy, be killed, go on, prove, reboot, lose the power,
take all away.
"""

import json
import ssl
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509

from betelgeuse import paths, servers, ssh, yamls
from betelgeuse.clusters.servers import place, renewal
from betelgeuse.errors import BetelgeuseError
from betelgeuse.shell import run
from tests.rehearsal.machines import ADMIN, ENV, Machine
from tests.rehearsal.story import (
    PROFILE,
    changed,
    comes_back,
    conformance,
    deploy,
    invoke,
    killed_when,
    kubectl,
    on,
    picture,
)

_SERVING: Final = "/var/lib/kubelet/pki/kubelet-server-current.pem"
_FOUND: Final[dict[str, str]] = {}
"""What was on the server before the first deploy, by kind."""


def test_the_server_is_bare(server: Machine) -> None:
    """Its first process is systemd, nothing has failed, and no node's program is there."""
    _FOUND.update(picture(server))

    assert on(server, "systemctl is-system-running").strip() == "running"
    assert "kubelet" not in _FOUND["units"]


def test_another_host_key_is_refused(server: Machine) -> None:
    """Before anything is asked of the machine that shows it: by the doctor and by a deploy."""
    file = servers.file_of(ENV)
    right = file.read_text("utf-8")
    entry = server.entry() | {"hostKey": f"SHA256:{'a' * 43}"}
    file.write_text(yamls.dump([{"servers": [entry]}]), "utf-8")
    try:
        _, told = invoke("doctor", f"--env={ENV}", "--json")
        code, said = invoke("deploy", f"--env={ENV}", f"--profile={PROFILE}")
    finally:
        file.write_text(right, "utf-8")

    (ssh,) = (check for check in json.loads(told)["checks"] if check["name"] == "ssh")
    assert (ssh["status"], server.host_key in ssh["found"]) == ("fail", True)
    assert (code, "shows the host keys" in said, "Traceback" in said) == (3, True, False)


def test_the_doctor_looks_at_the_server(server: Machine) -> None:
    """Every check answers, and nothing fails; what it looks at stays as it was."""
    code, said = invoke("doctor", f"--env={ENV}", "--json")
    checks = {check["name"]: check for check in json.loads(said)["checks"]}

    assert code == 0, said
    assert checks[f"{server.name}: server-leftovers"]["found"] == "none"
    assert not [name for name, check in checks.items() if "could not look" in check["found"]]
    assert picture(server)["files"] == _FOUND["files"]


def test_a_user_with_sudo_is_enough(server: Machine) -> None:
    """From here on nobody comes as root."""
    servers.file_of(ENV).write_text(yamls.dump([{"servers": [server.entry(ADMIN)]}]), "utf-8")

    code, said = invoke("doctor", f"--env={ENV}", "--json")

    (rights,) = (each for each in json.loads(said)["checks"] if each["name"] == f"{server.name}: server-rights")
    assert (code, rights["found"]) == (0, f"{ADMIN}, and root by sudo")


@pytest.mark.parametrize("moment", ["carry kubernetes to", "kubeadm init on", "carry image coredns"])
def test_a_deploy_may_be_killed(server: Machine, agent: Path, moment: str) -> None:
    """While programs are carried, while kubeadm runs, while images are carried: the next one goes on."""
    killed_when(moment, agent / "deploy.log")

    assert on(server, f"cat {place.OWNER}").strip() == ENV


def test_the_platform_is_deployed(server: Machine) -> None:
    """After three deaths; then there is nothing left to do, and the key of the API is its owner's alone."""
    deploy()
    code, said = invoke("plan", f"--env={ENV}", seconds=300)

    assert (code, "no changes" in said) == (0, True), said[-3000:]
    assert paths.kubeconfig_path(ENV).stat().st_mode & 0o777 == 0o600
    assert on(server, "systemctl is-enabled kubelet containerd").split() == ["enabled", "enabled"]


def test_a_second_deploy_changes_nothing(server: Machine) -> None:
    """No program is carried again and none started anew."""
    asked = "systemctl show -P ActiveEnterTimestampMonotonic kubelet containerd"
    before = on(server, asked)
    said = deploy()

    assert "; 0 changes" in said, said[-3000:]
    assert "carry" not in said
    assert on(server, asked) == before


def test_kubelets_certificate_is_the_clusters(server: Machine) -> None:
    """Who asks the kubelet can check whom it asks."""
    serving = x509.load_pem_x509_certificate(on(server, f"sed '/KEY/,$d' {_SERVING}").encode())
    authority = x509.load_pem_x509_certificate(on(server, "cat /etc/kubernetes/pki/ca.crt").encode())

    serving.verify_directly_issued_by(authority)
    names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {server.name, server.address}


def test_only_what_is_declared_is_let_in(server: Machine) -> None:
    """The node's own programs listen, and nobody outside reaches them; SSH and the API are the administrators'."""
    listening = on(server, "ss -Hltn | awk '{print $4}' | sed 's/.*://' | sort -un").split()
    script = "import socket, sys\nfor port in map(int, sys.argv[2:]):\n  c = socket.socket(); c.settimeout(1)\n"
    script += "  if not c.connect_ex((sys.argv[1], port)): print(port)"
    seen = run([sys.executable, "-c", script, server.address, *listening, "80", "443"], timeout=120).split()

    assert {"22", "2379", "6443", "10250"} <= set(listening)
    assert sorted(map(int, set(seen))) == [22, 80, 443, 6443]
    # From another network nothing of it answers: the rules name ours.
    assert "ip saddr 172.31.7.1 " in on(server, "nft list table inet betelgeuse")


def test_certificates_are_renewed(server: Machine) -> None:
    """As in their last season; the control plane serves with them, and the administrator's kubeconfig follows."""
    (connection,) = ssh.connect(ENV, servers.load(ENV))
    asked = "cat /etc/kubernetes/pki/apiserver.crt"
    before = on(server, asked)

    assert not renewal.renew(connection)
    assert renewal.renew(connection, timedelta(days=400))

    deploy()
    assert on(server, asked) != before
    served = ssl.get_server_certificate((server.address, 6443))
    assert served.strip() == on(server, asked).strip()


def test_etcd_begins_again_from_a_copy(server: Machine) -> None:
    """What was made since the copy is gone, what was there then is back, and a deploy finds its tree."""
    kubectl("create", "configmap", "before", "--namespace=default")
    code, said = invoke("backup", f"--env={ENV}", "--store=etcd", seconds=300)
    assert code == 0, said[-3000:]
    kubectl("delete", "configmap", "before", "--namespace=default")
    kubectl("create", "configmap", "after", "--namespace=default")

    code, said = invoke("restore", f"--env={ENV}", "--store=etcd", seconds=600)

    assert code == 0, said[-3000:]
    found = kubectl("get", "configmaps", "--namespace=default", "--output=name").split()
    assert ("configmap/before" in found, "configmap/after" in found) == (True, False)
    assert "before" not in on(server, "ls /var/lib/etcd").split()
    assert "; 0 changes" in deploy()
    kubectl("delete", "configmap", "before", "--namespace=default")


def test_it_survives_a_reboot(server: Machine) -> None:
    """A proper one, by systemd."""
    # The connection may end before its answer.
    with suppress(BetelgeuseError):
        on(server, "systemctl reboot")
    server.ended(120)
    server.boot()

    comes_back(server)


def test_it_survives_a_power_cut(server: Machine) -> None:
    """Everything ends at once, in the middle of what it does."""
    server.cut_power()
    server.boot()

    comes_back(server)


@pytest.mark.usefixtures("server")
def test_it_keeps_its_promises() -> None:
    """The conformance suite is green, after a deploy: the ACME server of rehearsals has forgotten its accounts."""
    deploy()
    conformance("rehearsal")


def test_nothing_is_left(server: Machine) -> None:
    """The server is as it was, and its environment forgotten; a second time there is nothing to remove."""
    for _ in range(2):
        code, said = invoke("destroy", f"--env={ENV}", "--yes", seconds=600)
        assert code == 0, said[-3000:]

    assert changed(_FOUND, picture(server)) == {}
    assert not paths.state_dir(ENV).exists()
