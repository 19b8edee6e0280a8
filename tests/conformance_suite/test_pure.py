"""The parts that only think: tree, exemptions, features, comparison, pod rules."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj
from betelgeuse.settings import Settings
from betelgeuse.tree import Ref, Tree
from conformance import exemptions, features, restarts
from conformance.drift.compare import differences, quantity
from conformance.probes import canary, prometheus
from conformance.verdict import PromiseBrokenError, poll, require, require_none, shorten
from conformance.workloads.rules import mounts_token, restart_fault
from tests.conformance_suite.cluster import tree_objects
from tests.conformance_suite.idp import DOMAIN


@pytest.fixture
def tree() -> Tree:
    """Return the model platform's tree."""
    return Tree(tree_objects(443, 80), DOMAIN)


def test_kubectl_names_custom_kinds_with_their_group() -> None:
    """Kubectl names custom kinds with their group."""
    assert Ref("Pod", "a", "b", "v1").kubectl("get") == "kubectl -n a get pod b"
    assert (
        Ref("Certificate", "a", "b", "cert-manager.io/v1").kubectl("get")
        == "kubectl -n a get certificate.cert-manager.io b"
    )
    assert Ref("Namespace", "", "b", "v1").kubectl("get") == "kubectl get namespace b"


def test_features_follow_the_tree(tree: Tree) -> None:
    """Features follow the tree."""
    settings = Settings("x", DOMAIN)
    public = [
        *tree.objects,
        {"kind": "ClusterIssuer", "spec": {"acme": {"server": "https://acme-v02.api.letsencrypt.org/d"}}},
    ]

    assert features.present(tree, settings)["forced-renewal"]
    assert not features.present(Tree(public, DOMAIN), settings)["forced-renewal"]
    assert features.present(Tree(public, DOMAIN), settings, ("forced-renewal",))["forced-renewal"]
    assert not features.present(Tree([], DOMAIN), settings)["llm"]


def test_the_real_exemptions_are_sound() -> None:
    """The real exemptions are sound."""
    listed = exemptions.load()

    assert listed.level("kube-system") == "privileged"
    assert listed.level("ai") == "restricted"
    assert all(
        len(entry.reason) > 10 for section in (listed.namespaces, listed.pods, listed.ports) for entry in section
    )
    assert not {entry.port for entry in listed.ports} & {80, 443}


def test_ports_of_nodes_are_for_listed_pods() -> None:
    """By the pod's name and the port's number, and for nobody else."""
    listed = exemptions.parse("node_ports: [{pods: watch/reader-*, ports: [10250], reason: reads what it measures}]")

    assert listed.may_reach("watch/reader-0", 10250)
    assert not listed.may_reach("watch/reader-0", 22)
    assert not listed.may_reach("elsewhere/reader-0", 10250)
    assert not listed.may_reach("watch/a stranger", 10250)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ports: [{port: 1, reason: ''}]", "needs a reason"),
        ("ports: [{port: 1}]", "exactly the keys port, reason"),
        ("ports: [{port: 1, reason: x, extra: y}]", "exactly the keys"),
        ("prots: []", "unknown section prots"),
        ("pods: [x]", "exactly the keys"),
    ],
)
def test_exemptions_without_form_are_refused(text: str, words: str) -> None:
    """Exemptions without form are refused."""
    with pytest.raises(UsageError, match=words):
        exemptions.parse(text)


@pytest.mark.parametrize(
    ("want", "got", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, 0),
        ({"a": 1}, {"a": 2}, 1),
        ({"a": 1}, {}, 1),
        ({"a": {}}, {}, 0),
        ({"a": None, "b": [], "c": ""}, {}, 0),
        ({"cpu": "1"}, {"cpu": "1000m"}, 0),
        ({"cpu": 2}, {"cpu": "2"}, 0),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, 0),
        ({"memory": "1Gi"}, {"memory": "1G"}, 1),
        ({"l": [{"name": "a", "v": 1}]}, {"l": [{"name": "b"}, {"name": "a", "v": 1}]}, 0),
        ({"l": [{"name": "a", "v": 1}]}, {"l": [{"name": "b", "v": 1}]}, 1),
        ({"l": ["a", "b"]}, {"l": ["a"]}, 1),
        ({"l": ["a"]}, {"l": "a"}, 1),
        ({"a": {"b": {"c": 1}}}, {"a": 5}, 1),
        ({"on": True}, {"on": "True"}, 1),
    ],
)
def test_only_what_is_declared_is_compared(want: Obj, got: Obj, found: int) -> None:
    """Only what is declared is compared."""
    assert len(list(differences(want, got))) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_everything_equals_itself(value: object) -> None:
    """Everything equals itself."""
    assert list(differences(value, value)) == []


@given(st.text(max_size=6) | st.integers() | st.floats())
def test_quantity_never_raises(value: object) -> None:
    """Quantity never raises."""
    quantity(value)


def test_restarts_are_judged_by_their_age() -> None:
    """Restarts are judged by their age."""
    now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    status = {"name": "c", "restartCount": 3, "lastState": {"terminated": {"finishedAt": "2026-01-01T11:58:00Z"}}}

    assert "restarted 3 times" in restart_fault(status, now)
    assert restart_fault({**status, "restartCount": 2}, now) == ""
    assert restart_fault(status, now.replace(hour=13)) == ""
    assert restart_fault({"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}, now)


def test_tokens_are_found_in_both_forms() -> None:
    """Tokens are found in both forms."""
    assert mounts_token({"spec": {"volumes": [{"name": "kube-api-access-x1"}]}})
    assert not mounts_token({"spec": {"volumes": [{"name": "data", "emptyDir": {}}]}})


def test_failure_has_its_four_parts() -> None:
    """Failure has its four parts."""
    with pytest.raises(PromiseBrokenError) as caught:
        require(0, where="here", want="one", got={"none": 1}, reproduce="look")

    assert str(caught.value) == "here\n  want: one\n  got:  {'none': 1}\n  next: look"
    require(1, where="", want="", got="", reproduce="")
    require_none([], where="", want="", reproduce="")
    with pytest.raises(PromiseBrokenError, match="a; b"):
        require_none(["a", "b"], where="", want="", reproduce="")
    assert shorten("x" * 700) == "x" * 600 + "… (700 characters)"


def test_poll_ends_with_success_or_in_time() -> None:
    """Poll ends with success or in time."""
    looks = iter(range(10))

    assert poll(lambda: next(looks), lambda seen: seen >= 1, 5)[0] == 1
    assert poll(lambda: 0, lambda seen: seen > 0, 0)[0] == 0


def _counted(uid: str, count: int, kind: str = "StatefulSet", **meta: object) -> Obj:
    metadata = {"namespace": "db", "name": "db-0", "uid": uid, "ownerReferences": [{"kind": kind}], **meta}
    return {"metadata": metadata, "status": {"containerStatuses": [{"name": "server", "restartCount": count}]}}


@pytest.mark.parametrize(
    ("after", "killed", "words"),
    [
        ([_counted("a", 1)], set(), []),
        ([_counted("a", 2)], set(), ["db/db-0 container server was restarted: 1 times before, 2 now"]),
        ([_counted("a", 2)], {"a"}, []),
        ([_counted("b", 0)], set(), ["db/db-0 container server is gone"]),
        ([_counted("b", 0)], {"a"}, []),
        ([_counted("b", 1)], {"a"}, ["db/db-0 container server is new and was restarted 1 times"]),
        ([_counted("a", 1), _counted("c", 3, "Job")], set(), []),
        ([_counted("a", 1), _counted("c", 3, deletionTimestamp="now")], set(), []),
    ],
)
def test_restarts_are_counted_by_pod(after: list[Obj], killed: set[str], words: list[str]) -> None:
    """Restarts are counted by pod: one that a check ended on purpose may go or start anew, and what replaces it not."""
    before = restarts.containers([_counted("a", 1)])

    assert restarts.faults(before, restarts.containers(after), killed) == words


def test_metrics_of_an_expression_are_found_wherever_they_stand() -> None:
    """Metrics of an expression are found wherever they stand."""
    tree = {
        "type": "binaryExpr",
        "lhs": {"type": "call", "args": [{"type": "matrixSelector", "name": "a_total", "matchers": []}]},
        "rhs": {"type": "aggregation", "expr": {"type": "vectorSelector", "name": "b"}},
        "matching": {"labels": ["c"]},
    }

    assert prometheus.names(tree) == {"a_total", "b"}
    assert prometheus.names({"type": "vectorSelector", "name": "", "matchers": []}) == frozenset()


def test_samples_of_every_kind_of_answer_are_read() -> None:
    """Samples of every kind of answer are read."""
    vector = {"data": {"resultType": "vector", "result": [{"metric": {"job": "a"}, "value": [1, "NaN"]}]}}
    scalar = {"data": {"resultType": "scalar", "result": [1, "2"]}}

    assert [sample.value for sample in prometheus.samples(scalar)] == [2.0]
    assert not prometheus.has_data(prometheus.samples(vector))
    assert not prometheus.has_data(())
    assert prometheus.has_data(prometheus.samples(scalar))


def test_pool_of_a_monitor_is_no_other_ones_beginning() -> None:
    """Pool of a monitor is no other one's beginning."""
    monitor = {"kind": "PodMonitor", "metadata": {"namespace": "ai", "name": "llm"}}
    pools = ("podMonitor/ai/llm/0", "podMonitor/ai/llm-2/0", "serviceMonitor/ai/llm/0")
    answer = {"data": {"activeTargets": [{"scrapePool": pool} for pool in pools]}}

    found = [target for target in prometheus.targets(answer) if target.pool.startswith(prometheus.pool(monitor))]

    assert [target.pool for target in found] == ["podMonitor/ai/llm/0/"]


def test_canary_writes_each_line_once() -> None:
    """Canary writes each line once."""
    texts = canary.texts("a" * 32)

    written = canary.written("a" * 32)

    assert set(texts) == set(canary.KINDS)
    assert len(texts["long"].encode()) == canary.LINE
    assert all(written.count(text) == 1 for kind, text in texts.items() if kind != "json")
    assert json.loads(written.partition("\n")[0])["message"] == texts["json"]
