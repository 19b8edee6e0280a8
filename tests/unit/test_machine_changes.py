"""What a cluster asks of the machine around it: a subtree of cgroups, links nobody manages, a profile of AppArmor."""

import subprocess
import threading
from pathlib import Path

import pytest

from betelgeuse.clusters.local import apparmor, cgroup2, cgroups, handsoff, namespaces
from betelgeuse.clusters.local.handsoff import Manager
from betelgeuse.clusters.local.layout import CGROUP_ROOT, Node
from betelgeuse.errors import BetelgeuseError, RefusedError
from tests.unit.machines import MOUNTS

NODE = Node(1, "172.30.0.11", 24, "172.30.0.1")
V2 = f"cgroup2 {CGROUP_ROOT} cgroup2 rw,nosuid,nsdelegate 0 0"


def group(folder: Path, controllers: str = "cpuset cpu io memory hugetlb pids", on: str = "") -> Path:
    """A folder with the files of a cgroup."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text(f"{controllers}\n")
    (folder / "cgroup.subtree_control").write_text(on)
    return folder


@pytest.fixture
def _no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup2, "SYSTEMD", tmp_path / "absent")


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        (MOUNTS, False),
        (f"{MOUNTS}\ncgroup2 {CGROUP_ROOT}/unified cgroup2 rw 0 0", False),
        (V2, True),
        (f"tmpfs {CGROUP_ROOT} tmpfs rw 0 0\n{V2}", True),
        ("", False),
    ],
    ids=["v1", "hybrid", "v2", "v2 over an initramfs's tmpfs", "nothing"],
)
def test_which_cgroups_a_machine_has(mounts: str, *, found: bool) -> None:
    """Cgroup v2 alone is mounted at the root of all; beside v1 it is below."""
    assert cgroup2.alone(mounts) is found


def test_controllers_reach_the_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that is not handed on already, one at a time: the kernel refuses a list for one of it."""
    folder, written = group(tmp_path / "one", on="memory"), list[str]()
    monkeypatch.setattr(Path, "write_text", lambda _, text: written.append(text))

    cgroup2.enable(folder)

    assert written == ["+cpuset", "+cpu", "+io", "+hugetlb", "+pids"]


@pytest.mark.parametrize(("kept", "refused"), [("+cpu", True), ("+hugetlb", False)])
def test_a_controller_that_is_kept(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    """A needed one ends it, with its name; one that only some kernels have does not."""
    folder = group(tmp_path / "one")

    def write(_: Path, text: str) -> None:
        if text == kept:
            raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "write_text", write)
    if not refused:
        cgroup2.enable(folder)
        return
    with pytest.raises(RefusedError, match=r"controller cpu cannot be given on at .*: Device or resource busy"):
        cgroup2.enable(folder)


def test_a_controller_that_is_missing(tmp_path: Path) -> None:
    """Without accounting of memory no kubelet starts."""
    with pytest.raises(RefusedError, match="no cgroup controller memory, pids; see `invoke doctor`"):
        cgroup2.enable(group(tmp_path / "one", "cpuset cpu io"))


def test_a_guard_is_started_in_a_scope_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: while anything of it lives, a further guard moves there itself."""
    base = tmp_path / "btg-local.scope"
    monkeypatch.setattr(cgroup2, "SYSTEMD", tmp_path)
    monkeypatch.setattr(cgroup2, "PLACES", (base, tmp_path / "plain"))
    first = cgroup2.launcher()
    base.mkdir()
    (base / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    ended = cgroup2.launcher()
    (base / "cgroup.events").write_text("populated 1\nfrozen 0\n")

    assert first == ended
    assert first[:2] == ["systemd-run", "--scope"]
    assert {"--unit=btg-local.scope", "--slice=system.slice", "--property=Delegate=yes"} < set(first)
    assert first[-1] == "--"
    assert cgroup2.launcher() == []


@pytest.mark.usefixtures("_no_systemd")
def test_without_systemd_the_subtree_is_a_folder(tmp_path: Path) -> None:
    """Of the root, which hands its controllers on; a guard needs no wrapper to get there."""
    group(tmp_path)
    base = group(tmp_path / "btg-local")
    cgroup2.settle(base)

    assert cgroup2.launcher() == []
    assert (base / "guard" / "cgroup.procs").read_text() == "0"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"
    assert (base / "cpu.weight").read_text() == "800"


def test_a_node_sees_its_cgroup_as_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its init is in it when it leaves the machine's namespace, and below it before controllers are handed on."""
    home = cgroup2.home(NODE, tmp_path)
    told = list[tuple[str, bool, str]]()

    def unshare(flags: int) -> None:
        assert flags == namespaces.CLONE_NEWCGROUP
        told.append(((home / "cgroup.procs").read_text(), (home / "init").exists(), _on(home)))

    monkeypatch.setattr(namespaces, "unshare", unshare)
    cgroup2.create(NODE, tmp_path)
    group(home)
    cgroup2.join(NODE, tmp_path)

    assert told == [("0", False, "")]
    assert (home / "init" / "cgroup.procs").read_text() == "0"
    assert (home / NODE.scope).is_dir()
    assert _on(home) == "+pids"


def _on(folder: Path) -> str:
    return (folder / "cgroup.subtree_control").read_text()


def test_both_kinds_of_cgroups_are_looked_through() -> None:
    """A machine may have been booted with the other kind when its cluster was left behind."""
    assert {CGROUP_ROOT / "memory", CGROUP_ROOT / "unified", *cgroup2.PLACES} < set(cgroups.places())


def test_a_subtree_that_is_a_folder_goes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is left in it; that nothing is there is fine."""
    scope, plain = tmp_path / "btg-local.scope", tmp_path / "btg-local"
    monkeypatch.setattr(cgroup2, "PLACES", (scope, plain))
    cgroups.close()
    (plain / "guard").mkdir(parents=True)
    cgroups.close()

    assert list(tmp_path.iterdir()) == []


def test_a_scope_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing it is systemd's to do: where that does not happen, the unit to look at is named."""
    scope = tmp_path / "btg-local.scope"
    scope.mkdir()
    monkeypatch.setattr(cgroup2, "PLACES", (scope, tmp_path / "btg-local"))
    monkeypatch.setattr(cgroups, "_SCOPE_SECONDS", 0.0)
    with pytest.raises(BetelgeuseError, match=r"systemd does not end btg-local\.scope"):
        cgroups.close()


def test_what_runs_in_a_cgroup_is_killed(tmp_path: Path) -> None:
    """However deep it is; a frozen one is thawed, as it would not die."""
    deep = tmp_path / "btg" / "kubepods" / "pod"
    deep.mkdir(parents=True)
    (deep / "cgroup.freeze").write_text("1")
    with subprocess.Popen(["sleep", "600"]) as process:
        (deep / "cgroup.procs").write_text(f"{process.pid}\n")
        # The kernel would empty the list itself.
        ended = threading.Thread(target=lambda: (process.wait(), (deep / "cgroup.procs").write_text("")))
        ended.start()
        cgroups._kill("btg", [tmp_path / "btg"])
        ended.join()

    assert process.returncode == -9
    assert (deep / "cgroup.freeze").read_text() == "0"


def _manager(folder: Path) -> Manager:
    """A manager that notes in a file that it was told to read again."""
    return Manager("net", "run/net", "run/net/conf.d/own", "leave it", ("sh", "-c", f"echo again >> {folder}/told"))


def test_managers_of_networks_leave_the_cables_alone(tmp_path: Path) -> None:
    """Told once, and told back; one that does not run is not bothered."""
    manager = _manager(tmp_path)
    handsoff.claim(tmp_path, [manager])
    assert not (tmp_path / "run").exists()

    (tmp_path / "run/net").mkdir(parents=True)
    for _ in range(2):
        handsoff.claim(tmp_path, [manager])
    assert (tmp_path / manager.file).read_text() == "leave it"
    assert (tmp_path / "told").read_text() == "again\n"

    for _ in range(2):
        handsoff.release(tmp_path, [manager])
    assert not (tmp_path / manager.file).exists()
    assert (tmp_path / "told").read_text() == "again\nagain\n"


@pytest.mark.parametrize("manager", handsoff.MANAGERS, ids=lambda manager: manager.name)
def test_a_reboot_forgets_what_managers_were_told(manager: Manager) -> None:
    """The bridge is gone then, too."""
    assert manager.file.startswith("run/")
    assert "btg*" in manager.text


@pytest.mark.parametrize(("before", "removed"), [("", True), ("cri-containerd.apparmor.d (enforce)\n", False)])
def test_the_profile_of_containers_goes_with_them(before: str, tmp_path: Path, *, removed: bool) -> None:
    """Unless another containerd of the machine uses it."""
    root, file = tmp_path / "apparmor", tmp_path / "state" / "apparmor"
    root.mkdir()
    (root / "profiles").write_text(f"/usr/bin/man (enforce)\n{before}")
    apparmor.remember(file, root)
    (root / "profiles").write_text("/usr/bin/man (enforce)\ncri-containerd.apparmor.d (enforce)\n")
    apparmor.remember(file, root)
    apparmor.restore(file, root)

    assert (root / ".remove").exists() is removed


def test_a_kernel_without_apparmor(tmp_path: Path) -> None:
    """Has nothing to remember."""
    apparmor.remember(tmp_path / "file", tmp_path)
    apparmor.restore(tmp_path / "file", tmp_path)

    assert list(tmp_path.iterdir()) == []
