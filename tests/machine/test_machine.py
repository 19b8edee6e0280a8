"""What users have is Debian with systemd and cgroup v2 alone: everything of `local` holds there. See `nox -s machine`.

The tests tell one story and run in this order: look, form a node, take it away, deploy, prove, reboot, take all away.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from betelgeuse import paths, render
from betelgeuse.builds import golang, images
from betelgeuse.clusters.local import cgroup2, handsoff, target
from betelgeuse.pipeline import run as build
from betelgeuse.programs import table
from betelgeuse.progress import say
from tests.machine.guest import Guest, running

PROFILE = "core"
CONFORMANCE = "conformance/tls conformance/routing conformance/isolation/test_pod_security.py"
"""The part of the suite that is run there: it needs no browser."""
SCOPE = cgroup2.PLACES[0]
_HOUR = 3600.0


def _results() -> list[Path]:
    """Return what a deploy needs of the store, built where it is not; for processors unlike this one."""
    target.settle_bases()
    target.prepare_tree()
    needed = target.needed_images(render.render("local", PROFILE))
    build(target.build_tasks(needed))
    # Each program is found by the Go that it was built with.
    toolchains = {golang.toolchain(program) for program in table.table().values() if program.source.go}
    wheels = {go.parents[2] for go in toolchains if go.is_relative_to(paths.CACHE)}
    return [*(images.archive(image).parent for image in needed), *target.tools(), *sorted(wheels)]


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """Give the machine; afterwards say what took how long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETELGEUSE_PORTABLE", "1")
        results = _results()
    with running(results) as machine:
        yield machine
        for command, seconds in machine.took.items():
            say(f"{seconds:7.1f} s  {command[-100:]}")


@pytest.fixture(scope="module")
def deployed(guest: Guest) -> Guest:
    """Give the machine with the platform on it."""
    guest.invoke(f"deploy --profile={PROFILE}", seconds=6 * _HOUR)
    return guest


def _parts(guest: Guest) -> dict[str, str]:
    """Return what is there of ours, by kind."""
    looks = {
        "cgroups": f"ls -d {SCOPE} {cgroup2.PLACES[1]}",
        "unit": f"systemctl list-units --all --plain --no-legend {cgroup2.UNIT}",
        "links": "ip -o link show | grep -o 'btg[a-z0-9]*'",
        "namespaces": "ip netns list | grep btg-",
        "processes": "grep -ls btg-local /proc/[0-9]*/cgroup",
        "mounts": f"grep {paths.STATE} /proc/mounts",
        "managers": f"ls {' '.join(f'/{manager.file}' for manager in handsoff.MANAGERS)}",
        "profiles": "grep cri-containerd /sys/kernel/security/apparmor/profiles",
        "state": f"ls -A {paths.STATE}/local",
    }
    found = {kind: guest.run(f"{look} 2>/dev/null", check=False).strip() for kind, look in looks.items()}
    return {kind: text for kind, text in found.items() if text}


def test_the_machine_is_ordinary(guest: Guest) -> None:
    """Its first process is systemd, and cgroup v2 all that it has."""
    assert guest.run("cat /proc/1/comm").strip() == "systemd"
    assert guest.run("stat -f -c %T /sys/fs/cgroup").strip() == "cgroup2fs"
    assert _parts(guest) == {}


def test_the_doctor_finds_it_fit(guest: Guest) -> None:
    """Nothing fails but the registries, which it does not reach and does not need."""
    answer = guest.invoke(f"doctor --profile={PROFILE} --json", seconds=600, check=False)
    checks = {check["name"]: check for check in json.loads(answer)["checks"]}
    failed = {name: check["found"] for name, check in checks.items() if check["status"] == "fail"}

    assert {name for name in failed if not name.startswith("registry-")} == set(), failed
    assert checks["cgroups"]["found"] == "cgroup v2; systemd leaves btg-local.scope to the nodes"
    assert checks["network-managers"]["found"].startswith("systemd-networkd")


def test_a_node_forms(guest: Guest) -> None:
    """In a scope of the system, which outlives the session that asked for it; its API server answers."""
    said = guest.python("-m tests.machine.form", seconds=_HOUR)
    say(said)
    scope = guest.run(f"systemctl show -p ActiveState,Delegate,Slice {cgroup2.UNIT}").split()

    assert "node/node-1" in said
    assert sorted(scope) == ["ActiveState=active", "Delegate=yes", "Slice=system.slice"]
    groups = guest.run(f"find {SCOPE} -maxdepth 3 -name kubepods")
    assert groups.strip() == f"{SCOPE}/btg-local-node-1/btg-local-node-1/kubepods"
    guest.run("systemctl daemon-reload")
    assert set(cgroup2.NEEDED) <= set(guest.run(f"cat {SCOPE}/btg-local-node-1/cgroup.subtree_control").split())


def test_what_formed_goes_without_a_trace(guest: Guest) -> None:
    """Processes, cgroups, unit, cables, mounts, and what managers and AppArmor were told."""
    guest.invoke("destroy", seconds=600)

    assert _parts(guest) == {}


def test_the_platform_comes_up(deployed: Guest) -> None:
    """A second deploy finds nothing to change."""
    assert "0 changes" in deployed.invoke("deploy", seconds=_HOUR)


def test_a_named_part_of_the_suite(deployed: Guest) -> None:
    """The promises hold there as they hold here."""
    deployed.python(f"-m pytest -q --env=local {CONFORMANCE}", seconds=3 * _HOUR)


def test_it_comes_back_after_a_reboot(deployed: Guest) -> None:
    """With the same deploy, from the nodes' disks."""
    deployed.reboot()
    deployed.invoke("deploy", seconds=3 * _HOUR)

    assert deployed.invoke("status", seconds=600)


def test_everything_goes(deployed: Guest) -> None:
    """Destroy leaves nothing but the cache."""
    deployed.invoke("destroy", seconds=600)

    assert _parts(deployed) == {}
