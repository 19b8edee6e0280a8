"""Three bare Debian servers, from nothing to the platform, through what may happen to them, and back.

Told in this order by `nox -s rehearsal`: look, refuse, be killed, go on, listen to the wire, prove, break, take all
away.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from betelgeuse import paths
from betelgeuse.clusters.servers import mesh, place
from betelgeuse.progress import say
from betelgeuse.shell import run
from tests.rehearsal import talk
from tests.rehearsal.capture import ENCRYPTED, between, cable, captured, inside, packets
from tests.rehearsal.machines import ENV, Machine, declare
from tests.rehearsal.story import (
    PROFILE,
    answers,
    changed,
    comes_back,
    conformance,
    deploy,
    invoke,
    killed_when,
    kubectl,
    on,
    picture,
    started,
    until,
)

_WORD: Final = "betelgeuse-canary-6f1d0c"
_API_SECONDS: Final = 60.0
_WORKLOADS_SECONDS: Final = 90.0
_HEAL_SECONDS: Final = 180.0
_GONE_SECONDS: Final = 180.0
"""SSH gives a silent server a minute."""
_CUT_SECONDS: Final = 20.0
_MEMBERS: Final = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt"
    " --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key member list -w json"
)
_STARTED: Final = "cut -d ' ' -f 22 /proc/1/stat"
"""When the server's first program began, in ticks of its machine."""
_FOUND: Final[dict[str, dict[str, str]]] = {}
"""What was on each server before the first deploy, by kind."""


def _nodes() -> dict[str, dict[str, Any]]:
    found = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    return {node["metadata"]["name"]: node for node in found}


def _ready(obj: dict[str, Any]) -> bool:
    """Tell whether a node, or a pod, says that it is."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in obj["status"].get("conditions", []))


def _not_ready(three: Sequence[Machine], at: Machine | None = None) -> str:
    """Return which servers are no Ready nodes, as a control plane sees it."""
    found = json.loads(kubectl("get", "nodes", "--output=json", at=at))["items"]
    ready = {node["metadata"]["name"] for node in found if _ready(node)}
    away = [machine.name for machine in three if machine.name not in ready]
    return f"{', '.join(away)} not Ready" if away else ""


def _pods() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl("get", "pods", "--all-namespaces", "--output=json"))["items"]
    return found


def _movable(pod: dict[str, Any]) -> bool:
    """Tell whether a pod may run on another server: a Deployment's, without a volume that is on this one."""
    owned = any(owner["kind"] == "ReplicaSet" for owner in pod["metadata"].get("ownerReferences", []))
    return owned and not any("persistentVolumeClaim" in volume for volume in pod["spec"].get("volumes", []))


def _owner(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['ownerReferences'][0]['name']}"


def _with_volumes() -> set[str]:
    """Return the servers that hold a volume of the platform's."""
    return {
        pod["spec"]["nodeName"]
        for pod in _pods()
        if any("persistentVolumeClaim" in volume for volume in pod["spec"].get("volumes", []))
    }


def _leader(three: Sequence[Machine]) -> Machine:
    """Return the server whose controllers lead."""
    lease = json.loads(kubectl("-n", "kube-system", "get", "lease", "kube-controller-manager", "--output=json"))
    (leading,) = (each for each in three if lease["spec"]["holderIdentity"].startswith(f"{each.name}_"))
    return leading


def test_the_servers_are_bare(three: Sequence[Machine]) -> None:
    """Their first process is systemd, nothing has failed, and no node's program is there."""
    for machine in three:
        _FOUND[machine.name] = picture(machine)

        assert on(machine, "systemctl is-system-running").strip() == "running"
        assert "kubelet" not in _FOUND[machine.name]["units"]


def test_one_wrong_host_key_is_refused(three: Sequence[Machine]) -> None:
    """Before anything is done on any of the three."""
    declare([three[0].entry(), three[1].entry() | {"hostKey": f"SHA256:{'a' * 43}"}, three[2].entry()])
    try:
        code, said = invoke("deploy", f"--env={ENV}", f"--profile={PROFILE}")
    finally:
        declare(machine.entry() for machine in three)

    assert (code, "server-2" in said, "shows the host keys" in said, "Traceback" in said) == (3, True, True, False)
    assert not any(changed(_FOUND[machine.name], picture(machine)) for machine in three)


def test_the_doctor_looks_at_every_server(three: Sequence[Machine]) -> None:
    """Every check answers, and nothing fails."""
    code, said = invoke("doctor", f"--env={ENV}", "--json")
    checks = {check["name"]: check for check in json.loads(said)["checks"]}

    assert code == 0, said
    assert {f"{machine.name}: server-leftovers" for machine in three} <= checks.keys()
    assert not [name for name, check in checks.items() if "could not look" in check["found"]]


@pytest.mark.parametrize("moment", ["to one mesh", "kubeadm join on server-2", "kubeadm join on server-3"])
def test_a_deploy_may_be_killed(three: Sequence[Machine], agent: Path, moment: str) -> None:
    """While servers meet, and while the second and the third control plane join: the next one goes on."""
    killed_when(moment, agent / "deploy.log")

    assert [on(machine, f"cat {place.OWNER}").strip() for machine in three] == [ENV] * 3


def test_a_server_may_lose_its_power_under_a_deploy(three: Sequence[Machine], agent: Path) -> None:
    """The deploy ends with the server's name; with the server back, the next one goes on."""
    log = agent / "deploy.log"
    process = started("carry image", log)
    three[2].cut_power()
    code = process.wait(_GONE_SECONDS)
    three[2].boot()

    said = log.read_text("utf-8")
    assert (code, "server-3" in said.splitlines()[-1], "Traceback" in said) == (1, True, False), said[-3000:]


def test_the_platform_is_deployed(three: Sequence[Machine]) -> None:
    """Three nodes at their addresses on the mesh; then there is nothing left to do."""
    deploy()
    code, said = invoke("plan", f"--env={ENV}", seconds=300)

    assert (code, "no changes" in said) == (0, True), said[-3000:]
    nodes = _nodes()
    assert {name: _ready(node) for name, node in nodes.items()} == dict.fromkeys((each.name for each in three), True)
    found = {
        (name, each["type"], each["address"]) for name, node in nodes.items() for each in node["status"]["addresses"]
    }
    wanted = {(machine.name, "ExternalIP", machine.address) for machine in three}
    wanted |= {(machine.name, "InternalIP", f"10.98.0.{machine.index}") for machine in three}
    assert wanted <= found


def test_a_second_deploy_changes_nothing(three: Sequence[Machine]) -> None:
    """No program is carried again and none started anew."""
    asked = f"systemctl show -P ActiveEnterTimestampMonotonic kubelet containerd {mesh.UNIT}"
    before = [on(machine, asked) for machine in three]
    said = deploy()

    assert "; 0 changes" in said, said[-3000:]
    assert "carry" not in said
    assert [on(machine, asked) for machine in three] == before


def test_only_what_is_declared_is_let_in(three: Sequence[Machine]) -> None:
    """By a server to another: what the whole world gets; by an administrator: SSH and the API beside it."""
    script = "import socket, sys\nfor port in map(int, sys.argv[2:]):\n  c = socket.socket(); c.settimeout(1)\n"
    script += "  if not c.connect_ex((sys.argv[1], port)): print(port)"
    target = three[0]
    listening = on(target, "ss -Hltn | awk '{print $4}' | sed 's/.*://' | sort -un").split()
    asked = [target.address, *listening, "80", "443"]
    ours = run([sys.executable, "-c", script, *asked], timeout=120).split()
    enter = ["nsenter", f"--net={three[1].netns}"]
    theirs = run([*enter, sys.executable, "-c", script, *asked], timeout=120).split()

    assert {"22", "2379", "2380", "6443", "10250"} <= set(listening)
    assert sorted(map(int, set(ours))) == [22, 80, 443, 6443]
    assert sorted(map(int, set(theirs))) == [80, 443]


def test_keys_of_the_mesh_are_their_servers_own(three: Sequence[Machine]) -> None:
    """Only root reads them there, and none of them is on this machine or on another server."""
    keys = [on(machine, f"sed -n 's/^PrivateKey = //p' {mesh.KEY}").strip() for machine in three]

    assert all(len(key) == 44 for key in keys)
    assert len(set(keys)) == 3
    assert [on(machine, f"stat -c '%a %U' {mesh.KEY}").strip() for machine in three] == ["600 root"] * 3
    for folder in (paths.state_dir(ENV), *(machine.disk / "etc" for machine in three)):
        for key in keys:
            done = subprocess.run(["grep", "-rlF", "--", key, str(folder)], capture_output=True, text=True, check=False)  # noqa: S603
            assert set(done.stdout.split()) <= {str(machine.disk / mesh.KEY.lstrip("/")) for machine in three}
            assert done.stdout.count("\n") <= 1


def test_a_word_between_pods_is_on_no_wire(three: Sequence[Machine], tmp_path: Path) -> None:
    """It is inside the mesh, where the same look finds it; on the cables there is the mesh's own traffic alone."""
    talk.begin(three[1], three[2], _WORD)
    before, _ = talk.heard()
    taps = [*map(cable, three), inside(three[1])]
    with captured(taps, "ip or ip6", tmp_path) as files:
        until("the word is said twenty times", 60, lambda: "" if talk.heard()[0] >= before + 20 else "not yet")
    *wires, within = (file.read_bytes() for file in files)

    assert within.count(_WORD.encode()) >= 20
    assert [wire.count(_WORD.encode()) for wire in wires] == [0, 0, 0]
    assert all(len(packets(file, f"({between()}) and udp port {mesh.PORT}")) >= 20 for file in files[1:3])


def test_it_keeps_its_promises(three: Sequence[Machine], tmp_path: Path) -> None:
    """The conformance suite is green; meanwhile, no packet goes between two servers but WireGuard's and SSH's."""
    talk.end()
    with captured(list(map(cable, three)), f"({between()}) and not {ENCRYPTED}", tmp_path) as files:
        conformance("rehearsal-three")
    strange = [line for file in files for line in packets(file)]

    assert strange == []


def test_keys_are_made_anew(three: Sequence[Machine]) -> None:
    """Every server gets another, and a connection between two pods outlasts it."""
    talk.begin(three[1], three[2], _WORD)
    asked = f"wg show {mesh.LINK} public-key"
    before, (_, lost) = [on(machine, asked) for machine in three], talk.heard()
    code, said = invoke("rotate-mesh", f"--env={ENV}", seconds=300)
    assert code == 0, said[-3000:]
    talk.goes_on(60, "the pods talk with new keys")

    assert not set(before) & {on(machine, asked) for machine in three}
    assert talk.heard()[1] == lost


def test_a_link_is_cut(three: Sequence[Machine]) -> None:
    """Two servers do not hear each other for a while: the API answers, and their pods talk on when they do."""
    _, lost = talk.heard()
    chain = "add table inet cut; add chain inet cut in { type filter hook input priority -300; }"
    drop = f"add rule inet cut in ip saddr {three[2].address} udp dport {mesh.PORT} drop"
    inside_of = ["nsenter", f"--net={three[1].netns}", "nft"]
    run([*inside_of, f"{chain}; {drop}"])
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < _CUT_SECONDS:
            kubectl("get", "--raw", "/readyz", seconds=10)
            time.sleep(1)
    finally:
        run([*inside_of, "delete table inet cut"])
    talk.goes_on(_HEAL_SECONDS, "pods talk again over a link that was cut")
    until("all nodes are Ready after a cut link", _HEAL_SECONDS, lambda: _not_ready(three))

    assert talk.heard()[1] == lost
    talk.end()


def test_a_worker_loses_its_power(three: Sequence[Machine]) -> None:
    """What it ran and may run elsewhere is back within 90 s; with the power back, it is a node again."""
    held, leading, pods = _with_volumes(), _leader(three), _pods()

    def of(machine: Machine) -> set[str]:
        return {_owner(pod) for pod in pods if pod["spec"].get("nodeName") == machine.name and _movable(pod)}

    lost = max((each for each in three if each.name not in held and each != leading), key=lambda each: len(of(each)))
    moved = of(lost)
    say(f"{lost.name} runs {len(moved)} workloads that may run elsewhere")
    assert moved
    lost.cut_power()

    def missing() -> str:
        there = {
            _owner(pod) for pod in _pods() if _movable(pod) and pod["spec"].get("nodeName") != lost.name and _ready(pod)
        }
        return ", ".join(sorted(moved - there))

    try:
        until("what a lost server ran is back on others", _WORKLOADS_SECONDS, missing)
    finally:
        lost.boot()
    until("a server that lost its power is a Ready node", _HEAL_SECONDS, lambda: _not_ready(three))


def test_the_leading_control_plane_loses_its_power(three: Sequence[Machine]) -> None:
    """Another writes within 60 s, and every verb finds it."""
    lost = _leader(three)
    others = [machine for machine in three if machine != lost]
    lost.cut_power()

    def silent() -> str:
        for machine in others:
            kubectl("-n", "default", "create", "configmap", "drill", at=machine, seconds=10)
            kubectl("-n", "default", "delete", "configmap", "drill", at=machine, seconds=10)
        return ""

    try:
        until("the API of the others writes", _API_SECONDS, silent)
        until(
            "another leads", _API_SECONDS, lambda: "" if _leads_at(others) != lost.name else f"{lost.name} still does"
        )
        code, said = invoke("plan", f"--env={ENV}", seconds=300)
        assert code in {0, 2}, said[-3000:]
        until("the others' nodes stay Ready", _API_SECONDS, lambda: _not_ready(others, others[0]))
    finally:
        lost.boot()
    until("a control plane that lost its power is a Ready node", _HEAL_SECONDS, lambda: _not_ready(three))


def _leads_at(others: Sequence[Machine]) -> str:
    lease = kubectl(
        "-n",
        "kube-system",
        "get",
        "lease",
        "kube-controller-manager",
        "--output=jsonpath={.spec.holderIdentity}",
        at=others[0],
    )
    return lease.partition("_")[0]


def test_a_server_that_asks_for_it_is_rebooted(three: Sequence[Machine], tmp_path: Path) -> None:
    """No other; its pods go elsewhere before, and the platform is whole when the verb ends."""
    asking = three[1]
    on(asking, "touch /run/reboot-required")
    begun = [on(machine, _STARTED) for machine in three]

    process = started(f"{asking.name} reboots", tmp_path / "log", "nodes", f"--env={ENV}", "--reboot=due")
    asking.ended(120)
    asking.boot()

    assert process.wait(1200) == 0, (tmp_path / "log").read_text("utf-8")[-3000:]
    assert [on(machine, _STARTED) == then for machine, then in zip(three, begun, strict=True)] == [True, False, True]
    assert _not_ready(three) == ""
    assert not answers(three[0])
    code, said = invoke("nodes", f"--env={ENV}", "--reboot=due")
    assert (code, "no server asks for a reboot" in said) == (0, True), said[-3000:]


def test_all_lose_their_power_at_once(three: Sequence[Machine]) -> None:
    """In the middle of what they do."""
    for machine in three:
        machine.cut_power()
    for machine in three:
        machine.boot()

    comes_back(three[0])
    assert not answers(three[2])


def test_a_wiped_server_joins_again(three: Sequence[Machine]) -> None:
    """Under its name: refused with its new host key until that is declared, then a node and a control plane again."""
    wiped = next(machine for machine in three if machine.name not in _with_volumes())
    wiped.remove()
    wiped.boot()
    code, said = invoke("deploy", f"--env={ENV}", f"--profile={PROFILE}")
    assert (code, "shows the host keys" in said) == (3, True), said[-3000:]
    declare(machine.entry() for machine in three)

    deploy()

    assert _not_ready(three) == ""
    assert _members(next(machine for machine in three if machine != wiped)) == sorted(each.name for each in three)


def _members(etcd: Machine) -> list[str]:
    """Return the names of etcd's members, as one of them tells."""
    asked = f"crictl -r unix://{place.SOCKET} ps -q --name etcd"
    container = on(etcd, f"{place.BIN}/{asked}").split()[0]
    told = on(etcd, f"{place.BIN}/crictl -r unix://{place.SOCKET} exec {container} {_MEMBERS}")
    return sorted(member["name"] for member in json.loads(told)["members"])


def test_a_server_is_taken_out_and_comes_again(three: Sequence[Machine]) -> None:
    """It is as it was, and the others know nothing of it any more; on the list again, it joins as a new one."""
    leaving = next(machine for machine in three if machine.name not in _with_volumes())
    staying = [machine for machine in three if machine != leaving]
    code, said = invoke("nodes", f"--env={ENV}", f"--remove={leaving.name}", seconds=600)
    assert code == 0, said[-3000:]

    assert changed(_FOUND[leaving.name], picture(leaving)) == {}
    assert set(_nodes()) == {machine.name for machine in staying}
    for machine in staying:
        assert _members(machine) == sorted(each.name for each in staying)
        assert len(on(machine, f"wg show {mesh.LINK} peers").split()) == 1

    declare(machine.entry() for machine in staying)
    code, said = invoke("deploy", f"--env={ENV}", f"--profile={PROFILE}", "--nodes=2", seconds=600)
    assert code == 0, said[-3000:]
    code, said = invoke("nodes", f"--env={ENV}")
    assert (code, said.count(" 1 of 1 ")) == (0, 2), said[-3000:]

    declare(machine.entry() for machine in three)
    deploy()
    assert _not_ready(three) == ""


@pytest.mark.usefixtures("three")
def test_it_still_keeps_its_promises() -> None:
    """After all that."""
    conformance("rehearsal-three-after")


def test_nothing_is_left(three: Sequence[Machine]) -> None:
    """Each server is as it was, and their environment forgotten; a second time there is nothing to remove."""
    for _ in range(2):
        code, said = invoke("destroy", f"--env={ENV}", "--yes", seconds=600)
        assert code == 0, said[-3000:]

    assert [changed(_FOUND[machine.name], picture(machine)) for machine in three] == [{}, {}, {}]
    assert not paths.state_dir(ENV).exists()
