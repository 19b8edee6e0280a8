"""A deploy, a plan and a status on a cluster in a dictionary: the order of things, and what is said."""

import time
from collections.abc import Iterator

import pytest

from betelgeuse import inventory
from betelgeuse.errors import BetelgeuseError, WaitTimeoutError
from betelgeuse.kube import Key, Obj, key_of
from betelgeuse.secrets import ANNOTATION
from betelgeuse.settings import Settings
from betelgeuse.waves import ANNOTATION as WAVE
from betelgeuse.workflows.apply_tree import apply_tree
from betelgeuse.workflows.destroy import remove
from betelgeuse.workflows.plan import plan
from betelgeuse.workflows.status import report, status, table
from tests.unit.fakes import FakeKube, obj, refused

SETTINGS = Settings(env="local", domain="a.b", kube_context="x")
NAMESPACE = obj("v1", "Namespace", "ai")
CONFIG = obj("v1", "ConfigMap", "c", "ai", data={"a": "1"})
ESTABLISHED = [{"type": kind, "status": "True"} for kind in ("NamesAccepted", "Established")]
READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
SECRET = obj("v1", "Secret", "s", "ai", annotations={ANNOTATION: "a: hex:4"})
COPY = obj("v1", "Secret", "copied", "ai", annotations={ANNOTATION: "a: copy:db/made/word"})


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Let every sleep pass at once."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    yield now
    assert now[0] < 1000


class Controlled(FakeKube):
    """A cluster with controllers: what is applied gets its status at once."""

    def server_side_apply(self, entry: Obj, manager: str, *, dry_run: bool = False, force: bool = False) -> Obj:
        """Apply, and let the controllers do their work; what is called broken is refused."""
        if entry["metadata"]["name"] == "broken":
            raise refused(422, "no")
        statuses = {
            "Namespace": {"phase": "Active"},
            "Deployment": READY,
            "CustomResourceDefinition": {
                "conditions": [{"type": kind, "status": "True"} for kind in ("NamesAccepted", "Established")]
            },
        }
        status = statuses.get(entry["kind"])
        return super().server_side_apply(
            entry | ({"status": status} if status else {}), manager, dry_run=dry_run, force=force
        )


def applied(fake: FakeKube) -> list[str]:
    """Return what was written of the tree, in order."""
    skipped = {inventory.NAME, inventory.NAMESPACE}
    return [f"{verb.split()[0]} {key.kind}" for verb, key in fake.log if key.name not in skipped]


def workload(name: str = "llm") -> Obj:
    """Return a Deployment."""
    return obj("apps/v1", "Deployment", name, "ai", spec={"template": {"metadata": {"labels": {"app": name}}}})


def test_the_second_deploy_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is proven to be in place: no write at all, not even of the inventory."""
    fake = Controlled()
    tree = [CONFIG, SECRET, NAMESPACE, workload()]
    first = apply_tree(SETTINGS, fake.kube, tree)
    order = applied(fake)
    fake.log.clear()
    second = apply_tree(SETTINGS, fake.kube, tree)

    assert order[:2] == ["apply Namespace", "apply Secret"]
    assert sorted(order[2:4]) == ["apply ConfigMap", "apply Secret"]
    assert order[4:] == ["apply Deployment"]
    assert str(first) == "4 created, 0 changed, 0 unchanged, 0 deleted, secrets generated in 1"
    assert (fake.log, second.changes, str(second)) == ([], 0, "0 created, 0 changed, 4 unchanged, 0 deleted")
    assert "local: 0 created" in capsys.readouterr().err


def test_what_left_the_tree_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Deleted, kept, forgotten: each is a line, and the kept one stays ours."""
    fake = Controlled()
    gone = obj("v1", "ConfigMap", "gone", "ai")
    apply_tree(SETTINGS, fake.kube, [CONFIG, SECRET, NAMESPACE, gone])
    fake.objects.pop(key_of(gone))

    result = apply_tree(SETTINGS, fake.kube, [NAMESPACE])

    assert result.changes == 1
    shown = capsys.readouterr().err
    assert "ConfigMap ai/c: deleted, it left the tree" in shown
    assert "Secret ai/s: kept although it left the tree: its values cannot be made again" in shown
    assert "ConfigMap ai/gone: left the tree, but is gone already" in shown
    assert set(inventory.load(fake.kube).versions) == {key_of(NAMESPACE), key_of(SECRET)}


HELD = "is being deleted since 2026-01-01T00:00:00Z; finalizer x.org/guard holds it: its controller lets it go"


def test_what_is_held_stays_ours_until_it_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    """Left the tree, deleted, held by a finalizer: named by every plan and deploy, and never orphaned."""
    fake = Controlled()
    apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE])
    fake.objects[key_of(CONFIG)]["metadata"]["finalizers"] = ["x.org/guard"]
    first = apply_tree(SETTINGS, fake.kube, [NAMESPACE])
    fake.log.clear()
    second = apply_tree(SETTINGS, fake.kube, [NAMESPACE])
    told = capsys.readouterr().err
    planned = plan(SETTINGS, fake.kube, [NAMESPACE])

    assert (first.changes, list(first.pruned.going), second.changes, fake.log) == (0, [key_of(CONFIG)], 0, [])
    assert str(first).endswith("0 deleted, 1 not gone yet")
    assert told.count(f"ConfigMap ai/c: left the tree, but is not gone yet: it {HELD}") == 2
    assert '--type=merge -p \'{"metadata":{"finalizers":null}}\'`' in told
    assert "`kubectl patch configmap c --namespace=ai " in told
    assert planned == 2
    assert f"- ConfigMap ai/c (left the tree, not gone yet: {HELD}" in capsys.readouterr().out
    assert key_of(CONFIG) in inventory.load(fake.kube).versions

    fake.objects.pop(key_of(CONFIG))
    apply_tree(SETTINGS, fake.kube, [NAMESPACE])
    assert key_of(CONFIG) not in inventory.load(fake.kube).versions
    assert plan(SETTINGS, fake.kube, [NAMESPACE]) == 0


def test_a_destroy_remembers_what_is_held() -> None:
    """The inventory stays as long as anything of ours does."""
    fake = Controlled()
    apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE])
    fake.objects[key_of(CONFIG)]["metadata"]["finalizers"] = ["x.org/guard"]

    assert list(remove(SETTINGS, fake.kube).going) == [key_of(CONFIG)]
    assert key_of(CONFIG) in inventory.load(fake.kube).versions
    fake.objects.pop(key_of(CONFIG))
    remove(SETTINGS, fake.kube)
    assert fake.objects == {}


def test_what_is_being_deleted_is_named_and_made_anew(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the tree, but on its way out: plan and deploy name the finalizer; once it is gone, it is made anew."""
    monkeypatch.setattr("betelgeuse.apply._GOING_SECONDS", -1.0)
    fake = Controlled()
    apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE])
    fake.objects[key_of(CONFIG)]["metadata"]["finalizers"] = ["x.org/guard"]
    fake.delete(CONFIG)
    capsys.readouterr()

    assert plan(SETTINGS, fake.kube, [CONFIG, NAMESPACE]) == 2
    assert f"! ConfigMap ai/c {HELD}" in capsys.readouterr().out
    with pytest.raises(WaitTimeoutError, match=f"ConfigMap ai/c {HELD}.*then run this again, and it is made anew"):
        apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE])
    fake.objects.pop(key_of(CONFIG))
    assert apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE]).applied.outcomes[key_of(CONFIG)] == "created"


def test_remove_takes_everything_but_data(capsys: pytest.CaptureFixture[str]) -> None:
    """What holds data stays ours until it is asked for; then nothing is left, the inventory included."""
    fake = Controlled()
    own_home = obj("v1", "Namespace", inventory.NAMESPACE)
    apply_tree(SETTINGS, fake.kube, [CONFIG, SECRET, NAMESPACE, workload(), own_home])

    first = remove(SETTINGS, fake.kube)
    known = set(inventory.load(fake.kube).versions)
    second = remove(SETTINGS, fake.kube, data=True)

    assert {key.kind for key in first.deleted} == {"ConfigMap", "Deployment"}
    assert known == {key_of(SECRET), key_of(NAMESPACE), key_of(own_home)}
    assert "Secret ai/s: kept although it left the tree: its values" in capsys.readouterr().err
    assert (set(second.deleted), fake.objects) == ({key_of(SECRET), key_of(NAMESPACE)}, {})
    assert remove(SETTINGS, fake.kube).deleted == {}


def test_a_failure_keeps_what_was_done() -> None:
    """After a refusal the inventory lists everything, with proof for what was applied."""
    fake = Controlled()
    broken = obj("v1", "ConfigMap", "broken", "ai", annotations={WAVE: "15"})

    with pytest.raises(BetelgeuseError, match="ConfigMap ai/broken was refused: no"):
        apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE, broken])

    found = inventory.load(fake.kube)
    assert set(found.versions) == {key_of(CONFIG), key_of(NAMESPACE), key_of(broken)}
    assert found.records[key_of(CONFIG)]
    assert not found.records[key_of(broken)]


def webhook_tree() -> list[Obj]:
    """Return a webhook, its pods, its kind, and an object of that kind."""
    crd = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "lamps.x.org")
    crd["spec"] = {"group": "x.org", "names": {"kind": "Lamp"}}
    service = obj("v1", "Service", "hook", "ai", spec={"selector": {"app": "hook"}})
    entry = {"clientConfig": {"service": {"namespace": "ai", "name": "hook"}}, "rules": [{"apiGroups": ["x.org"]}]}
    hook = obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "w", webhooks=[entry])
    return [obj("x.org/v1", "Lamp", "l", "ai"), crd, hook, service, workload("hook"), NAMESPACE]


def establish(kube: FakeKube) -> None:
    """Do what the API server does with CRDs."""
    for entry in kube.objects.values():
        if entry["kind"] == "CustomResourceDefinition":
            entry["status"] = {"conditions": ESTABLISHED}


def test_custom_resources_wait_for_their_webhook() -> None:
    """Everything else is applied; the guarded object follows when the pods behind its webhook are ready."""
    fake = FakeKube()

    def late(kube: FakeKube) -> None:
        establish(kube)
        if len(kube.later) < 2:
            kube.objects[Key("apps", "Deployment", "ai", "hook")]["status"] = READY

    fake.later = [*[establish] * 18, *[late] * 20]
    apply_tree(SETTINGS, fake.kube, webhook_tree(), wait=False)

    assert applied(fake)[-1] == "apply Lamp"
    assert applied(fake).count("apply Lamp") == 1


def test_a_webhook_that_never_comes_is_named() -> None:
    """When its pods do not become ready, the error says which and why."""
    fake = FakeKube()
    fake.later = [*[establish] * 100]

    with pytest.raises(WaitTimeoutError, match="webhooks did not answer after 10 s: ai/hook 0/1 ready"):
        apply_tree(SETTINGS, fake.kube, webhook_tree(), timeout=10)


def test_an_explicit_wave_is_a_barrier() -> None:
    """What comes after an explicit wave waits for it, and it waits for what comes before."""
    fake = FakeKube(obj("v1", "Namespace", "ai", status={"phase": "Active"}))
    first = obj("batch/v1", "Job", "migrate", "ai", annotations={WAVE: "5"})

    with pytest.raises(WaitTimeoutError, match="not ready after 5 s: ai/migrate not complete"):
        apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE, first], timeout=5)

    assert "apply ConfigMap" not in applied(fake)


def test_copies_follow_their_source() -> None:
    """A Secret that copies from one made later is completed while we wait, and then applied itself."""
    fake = Controlled()
    source = obj("v1", "Secret", "made", "db", data={"word": "eA=="})
    fake.later = [lambda _: None] * 8 + [lambda kube: kube.put(source)]

    result = apply_tree(SETTINGS, fake.kube, [NAMESPACE, COPY], timeout=60)

    assert fake.objects[key_of(COPY)]["data"] == {"a": "eA=="}
    assert result.generated == {key_of(COPY): ["a"]}
    assert key_of(COPY) in result.applied.outcomes


def test_warnings_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What the API server warned about is a line with the object."""
    fake = Controlled()
    fake.warnings = {"would violate": {"/apis/apps/v1/namespaces/ai/deployments/llm", "/b"}}
    apply_tree(SETTINGS, fake.kube, [NAMESPACE])

    assert "warning for namespaces/ai/deployments/llm and 1 more: would violate" in capsys.readouterr().err


def test_plan_of_nothing_is_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """After a deploy, plan exits 0 and prints nothing."""
    fake = Controlled(NAMESPACE)
    apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE])
    capsys.readouterr()

    assert plan(SETTINGS, fake.kube, [CONFIG, NAMESPACE]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "local: no changes" in captured.err


def test_plan_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """New, changed, generated, deleted and kept: all are named, and the exit code is 2."""
    fake = Controlled(NAMESPACE)
    old, claim = obj("v1", "ConfigMap", "old", "ai"), obj("v1", "PersistentVolumeClaim", "p", "ai")
    apply_tree(SETTINGS, fake.kube, [CONFIG, NAMESPACE, old, claim, obj("v1", "Secret", "s", "ai")])
    capsys.readouterr()
    changed = obj("v1", "ConfigMap", "c", "ai", data={"a": "2"})
    custom = webhook_tree()[:2]
    elsewhere = obj("v1", "ConfigMap", "e", "nowhere")

    assert plan(SETTINGS, fake.kube, [changed, NAMESPACE, SECRET, elsewhere, *custom]) == 2
    captured = capsys.readouterr()
    assert "+  a: '2'" in captured.out
    assert "# will be generated: a" in captured.out
    assert "+ ConfigMap nowhere/e (new; its namespace does not exist yet)" in captured.out
    assert "+ Lamp ai/l (new; its kind is not served yet)" in captured.out
    assert "- ConfigMap ai/old (left the tree, will be deleted)" in captured.out
    assert "= PersistentVolumeClaim ai/p (left the tree, will be kept: it holds data)" in captured.out
    assert "1 objects stay for their data: `invoke deploy --prune-data` deletes it with its data\n" in captured.err


def test_from_a_bigger_profile_to_a_smaller_one(capsys: pytest.CaptureFixture[str]) -> None:
    """What left goes, data stays, is named with both ways on, and stays ours until one of them is taken."""
    home, claim = obj("v1", "Namespace", "portal"), obj("v1", "PersistentVolumeClaim", "p", "portal")
    big = [CONFIG, NAMESPACE, home, claim, obj("v1", "ConfigMap", "x", "portal")]
    fake = Controlled()
    apply_tree(SETTINGS, fake.kube, big, profile="data")
    assert inventory.load(fake.kube).profile == "data"
    small = [CONFIG, NAMESPACE]
    capsys.readouterr()

    assert plan(SETTINGS, fake.kube, small) == 2
    captured = capsys.readouterr()
    assert "- ConfigMap portal/x (left the tree, will be deleted)" in captured.out
    assert "= PersistentVolumeClaim portal/p (left the tree, will be kept: it holds data)" in captured.out
    assert "= Namespace portal (left the tree, will be kept: it still holds PersistentV" in captured.out
    ways = (
        "2 objects stay for their data: `invoke deploy --prune-data` deletes it with its data, "
        "`invoke deploy --profile=core` takes it back"
    )
    assert ways in captured.err

    result = apply_tree(SETTINGS, fake.kube, small)
    assert ways in capsys.readouterr().err
    assert set(result.pruned.deleted) == {Key("", "ConfigMap", "portal", "x")}
    assert {key_of(home), key_of(claim)} < set(inventory.load(fake.kube).versions)
    assert inventory.load(fake.kube).profile == ""
    assert plan(SETTINGS, fake.kube, small) == 0
    assert plan(SETTINGS, fake.kube, small, data=False) == 2
    assert "- PersistentVolumeClaim portal/p (left the tree, will be deleted)" in capsys.readouterr().out

    assert apply_tree(SETTINGS, fake.kube, big).pruned.kept == {}
    apply_tree(SETTINGS, fake.kube, small)
    assert set(apply_tree(SETTINGS, fake.kube, small, data=False).pruned.deleted) == {key_of(home), key_of(claim)}
    assert set(inventory.load(fake.kube).versions) == {key_of(CONFIG), key_of(NAMESPACE)}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (refused(422, "spec.x: bad"), "! ConfigMap ai/c was refused: spec.x: bad"),
        (refused(503, "shutting down"), "? ConfigMap ai/c: cannot be compared: the API server is busy"),
        (
            refused(400, 'failed calling webhook "w": it does not support dry run'),
            "? ConfigMap ai/c: cannot be compared: its webhook does not support dry runs",
        ),
        (
            refused(
                409, "c", [{"reason": "FieldManagerConflict", "message": 'conflict with "kubelet"', "field": ".data"}]
            ),
            "! ConfigMap ai/c: .data belongs to 'kubelet'",
        ),
    ],
    ids=["refused", "busy", "no-dry-run", "conflict"],
)
def test_plan_tells_what_it_cannot_compare(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal, a conflict and a silent webhook are lines of the plan, not its end."""
    fake = Controlled(NAMESPACE, CONFIG)
    fake.deny = [error]

    assert plan(SETTINGS, fake.kube, [obj("v1", "ConfigMap", "c", "ai", data={"a": "2"})]) == 2
    assert line in capsys.readouterr().out


def test_status_lists_what_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    """Nodes, areas and reasons, for people and as data; the exit code says whether all is well."""
    nodes = [
        obj("v1", "Node", "n1", status={"conditions": [{"type": "Ready", "status": "True"}]}),
        obj("v1", "Node", "n2", status={"conditions": [{"type": "Ready", "status": "False", "message": "no CNI"}]}),
        obj("v1", "Node", "n3", spec={"unschedulable": True}, status={}),
    ]
    fake = FakeKube(*nodes, obj("v1", "Namespace", "ai", status={"phase": "Active"}))
    found = report(fake.kube, [NAMESPACE, CONFIG])

    assert table(SETTINGS, found).splitlines() == [
        "local: 1/3 nodes ready",
        "  node n2: not Ready (no CNI)",
        "  node n3: is cordoned",
        "  (cluster)     1/1    ok",
        "  ai            0/1    NOT READY",
        "               ConfigMap c: is missing",
    ]
    assert status(SETTINGS, fake.kube, [NAMESPACE, CONFIG]) == 1
    healthy = FakeKube(nodes[0], obj("v1", "Namespace", "ai", status={"phase": "Active"}))
    assert status(SETTINGS, healthy.kube, [NAMESPACE], as_json=True) == 0
    assert '"ready": true' in capsys.readouterr().out
    assert report(FakeKube().kube, [])["ready"] is False
    assert Key("", "Node", "", "n1") in healthy.objects
