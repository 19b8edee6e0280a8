"""The cluster checks hold on a good cluster, and each thing broken in it turns exactly its promises red."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import pytest

from betelgeuse.kube import Obj
from conformance import timeouts
from conformance.exemptions import PodExemption, PortExemption
from conformance.site import Site
from tests.conformance_suite.cluster import FakeKube, node
from tests.conformance_suite.conftest import Build
from tests.conformance_suite.runner import run

FAMILIES = ("workloads", "isolation", "tcp", "drift")
Break = Callable[[FakeKube], object]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for what will not come, and leave the machine's other ports out of it."""
    fast = timeouts.Timeouts(reaction=0.02, eviction=0.02, poll=0.01)
    for name in (
        "site",
        "verdict",
        "probes.k8s",
        "workloads.test_ready",
        "isolation.test_disk",
        "tcp.test_exposed_ports",
    ):
        monkeypatch.setattr(f"conformance.{name}.TIMEOUTS", fast)


def _site(build: Build, monkeypatch: pytest.MonkeyPatch, *faults: str) -> Site:
    """Return a model site whose port scan sees the model's ports only."""
    site = build(*faults)
    monkeypatch.setattr("conformance.probes.tcp.ALL_PORTS", (site.http, site.https))
    monkeypatch.setattr("conformance.tcp.test_exposed_ports._WELL_KNOWN", ())
    return site


def _kube(site: Site) -> FakeKube:
    return cast("FakeKube", site.cluster.kube)


def _container(kube: FakeKube) -> Obj:
    found: Obj = kube.find("Pod", "llm-0")["spec"]["containers"][0]
    return found


def _security(key: str, value: object) -> Break:
    return lambda kube: _container(kube)["securityContext"].update({key: value})


def _set(kind: str, name: str, namespace: str, section: str, **values: object) -> Break:
    return lambda kube: kube.find(kind, name, namespace).setdefault(section, {}).update(values)


def _crash(kube: FakeKube) -> None:
    status = kube.find("Pod", "llm-0")["status"]["containerStatuses"][0]
    status.update({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 7})


def _other_pod(kube: FakeKube) -> None:
    kube.find("Pod", "llm-0")["metadata"]["uid"] = "another"


def _mount_token(kube: FakeKube) -> None:
    source = {"serviceAccountToken": {"path": "token"}}
    kube.find("Pod", "llm-0")["spec"]["volumes"] = [{"name": "x", "projected": {"sources": [source]}}]


def _bind_default(kube: FakeKube) -> None:
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "ai"}
    ref = {"kind": "Role", "name": "absent"}
    meta = {"name": "x", "namespace": "ai"}
    kube.live.append(
        {"apiVersion": "v1", "kind": "RoleBinding", "metadata": meta, "roleRef": ref, "subjects": [subject]}
    )


def _remove(kind: str, name: str, namespace: str = "") -> Break:
    return lambda kube: kube.live.remove(kube.find(kind, name, namespace))


def _relabel(level: str) -> Break:
    labels = {"pod-security.kubernetes.io/enforce": level}
    return lambda kube: kube.find("Namespace", "ai")["metadata"].update(labels=labels)


def _more_rights(resource: str) -> Break:
    rule = {"verbs": ["list"], "apiGroups": [""], "resources": [resource]}

    def give(kube: FakeKube) -> None:
        kube.find("ClusterRole", "controller")["rules"].append(rule)

    return give


def _bind_app(kube: FakeKube) -> None:
    """Give an account without rights those of the controller, by a binding that no tree declares."""
    binding = copy.deepcopy(kube.find("ClusterRoleBinding", "controller"))
    binding["metadata"]["name"] = "surplus"
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "app", "namespace": "ai"}]
    kube.live.append(binding)


def _fewer_rights(kube: FakeKube) -> None:
    kube.live.remove(kube.find("ClusterRoleBinding", "controller"))


def _let_in(kube: FakeKube) -> None:
    """Let another namespace's pods call one application: a policy that no tree declares."""
    policy = copy.deepcopy(kube.find("NetworkPolicy", "default-deny", "ai"))
    policy["metadata"]["name"] = "surplus"
    policy["spec"] = {
        "podSelector": {"matchLabels": {"app": "llm"}},
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}]}],
    }
    kube.live.append(policy)


def _leak(kube: FakeKube) -> None:
    kube.log = "starting with password correct-horse-battery-staple"


def _open_policy(kube: FakeKube) -> None:
    policy = copy.deepcopy(kube.find("NetworkPolicy", "default-deny", "ai"))
    policy["metadata"]["name"] = "open"
    policy["spec"]["ingress"] = [{}]
    kube.live.append(policy)


def _node_port(kube: FakeKube) -> None:
    kube.find("Service", "llm")["spec"]["ports"][0]["nodePort"] = 30080


def _sick_node(kube: FakeKube) -> None:
    kube.find("Node", "node-1")["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})


@dataclass(frozen=True)
class Case:
    """What is broken, and the promises that must notice (with the pod rule, where it is one)."""

    id: str
    breaks: Break
    promises: frozenset[str]


def _case(name: str, breaks: Break, *promises: str) -> Case:
    return Case(name, breaks, frozenset(promises))


_RULE = "workloads/test_pod_rules.py::test_pods_obey"
_DRIFT = "drift/test_tree_matches_cluster.py::test_object_is_as_declared"
_REACHED = "isolation/test_reachability.py::test_stranger_reaches_no_pod"
_RESTARTED = "workloads/test_ready.py::test_nothing_was_restarted"
_READY = "workloads/test_ready.py::test_workload_is_ready"
_PROXIES = "isolation/test_reachability.py::test_proxies_are_reached_from_every_node"
_MATRIX = "isolation/test_matrix.py::test_traffic_is_what_the_policies_say"
_FOREIGN = "isolation/test_matrix.py::test_strangers_traffic_is_what_the_policies_say"
_CONTROL = "isolation/test_matrix.py::test_somebody_reaches_somebody"
_NODES = "isolation/test_matrix.py::test_no_pod_reaches_what_is_the_nodes_own"
_RIGHTS = "isolation/test_rights.py::test_account_has_the_declared_rights"
_LEVEL = (
    "isolation/test_pod_security.py::test_namespace_has_its_level",
    "isolation/test_pod_security.py::test_breakout_is_refused",
)
_AT_REST = (
    "isolation/test_secrets_at_rest.py::test_secret_is_ciphertext_in_etcd",
    "isolation/test_secrets_at_rest.py::test_every_secret_is_ciphertext_in_etcd",
)

CASES: Sequence[Case] = (
    _case("root", _security("runAsNonRoot", value=False), f"{_RULE}[nonroot]"),
    _case("privileged", _security("privileged", value=True), f"{_RULE}[privileged]"),
    _case("escalation", _security("allowPrivilegeEscalation", value=True), f"{_RULE}[escalation]"),
    _case("capabilities", _security("capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}), f"{_RULE}[capabilities]"),
    _case("no-drop", _security("capabilities", {}), f"{_RULE}[capabilities]"),
    _case("no-seccomp", _security("seccompProfile", None), f"{_RULE}[seccomp]"),
    _case("writable", _security("readOnlyRootFilesystem", value=False), f"{_RULE}[read-only]"),
    _case(
        "host-network",
        lambda kube: kube.find("Pod", "llm-0")["spec"].update(hostNetwork=True),
        f"{_RULE}[host-network]",
    ),
    _case(
        "no-limits", lambda kube: _container(kube)["resources"].pop("limits"), f"{_RULE}[limits]", f"{_RULE}[storage]"
    ),
    _case(
        "no-requests",
        lambda kube: _container(kube)["resources"].pop("requests"),
        f"{_RULE}[requests]",
        f"{_RULE}[storage]",
    ),
    _case("latest", lambda kube: _container(kube).update(image="registry:5000/app:latest"), f"{_RULE}[image]"),
    _case("no-tag", lambda kube: _container(kube).update(image="registry:5000/app"), f"{_RULE}[image]"),
    _case("impatient", lambda kube: _container(kube).update(livenessProbe={}), f"{_RULE}[liveness]"),
    _case(
        "alive-is-ready",
        lambda kube: _container(kube).update(
            readinessProbe={"tcpSocket": {"port": 8080}},
            livenessProbe={"tcpSocket": {"port": 8080}, "timeoutSeconds": 5},
        ),
        f"{_RULE}[liveness]",
    ),
    _case(
        "no-bound-of-disk",
        lambda kube: _container(kube)["resources"].update(limits={"cpu": "1", "memory": "1Gi"}),
        f"{_RULE}[storage]",
    ),
    _case(
        "endless-empty-dir",
        lambda kube: kube.find("Pod", "llm-0")["spec"].update(volumes=[{"name": "tmp", "emptyDir": {}}]),
        f"{_RULE}[storage]",
    ),
    _case("token", _mount_token, "workloads/test_pod_rules.py::test_tokens_are_mounted_only_where_used"),
    _case("default-account", _bind_default, "workloads/test_pod_rules.py::test_default_account_has_no_rights"),
    _case("crash-loop", _crash, "workloads/test_ready.py::test_no_pod_restarts_in_a_loop", _RESTARTED),
    _case("restarted", lambda kube: kube.restart("llm-0", "ai"), _RESTARTED),
    _case("pod-gone", _other_pod, _RESTARTED),
    _case(
        "pod-not-ready",
        _set("Pod", "llm-0", "", "status", conditions=[]),
        "workloads/test_ready.py::test_every_pod_is_ready",
    ),
    _case("not-ready", _set("Deployment", "llm", "ai", "status", readyReplicas=0), _READY),
    _case("scaled-to-zero", _set("Deployment", "llm", "ai", "spec", replicas=0), _READY, _DRIFT),
    _case("old-version", _set("Deployment", "llm", "ai", "status", updatedReplicas=0), _READY),
    _case("psa-lowered", _relabel("baseline"), *_LEVEL, _DRIFT),
    _case("psa-off", _relabel("privileged"), *_LEVEL, _DRIFT),
    _case(
        "no-default-deny",
        _remove("NetworkPolicy", "default-deny", "ai"),
        "isolation/test_networkpolicies.py::test_namespace_denies_by_default",
        _REACHED,
        _MATRIX,
        _FOREIGN,
        _DRIFT,
    ),
    _case(
        "open-policy",
        _open_policy,
        "isolation/test_networkpolicies.py::test_no_policy_opens_to_the_world",
        _REACHED,
        _MATRIX,
        _FOREIGN,
    ),
    _case("one-more-caller", _let_in, _MATRIX),
    _case("one-policy-gone", _remove("NetworkPolicy", "proxy", "gateway"), _PROXIES, _MATRIX, _FOREIGN, _DRIFT),
    _case("guard-gone", _remove("CiliumClusterwideNetworkPolicy", "guard"), _FOREIGN, _NODES, _DRIFT),
    _case("rights-added", _more_rights("pods"), _RIGHTS),
    _case("rights-taken", _fewer_rights, _RIGHTS, _DRIFT),
    _case("another-bound", _bind_app, _RIGHTS, "isolation/test_rights.py::test_only_listed_accounts_have_powers"),
    _case("etcd-in-the-clear", lambda kube: setattr(kube, "sealed", False), *_AT_REST),
    _case("secret-in-a-log", _leak, "isolation/test_secrets_at_rest.py::test_secret_is_nowhere_in_the_clear"),
    _case(
        "no-metrics",
        lambda kube: setattr(kube, "metrics", ""),
        "isolation/test_guard.py::test_metrics_are_there_for_those_who_may",
    ),
    _case(
        "cut-off",
        lambda kube: setattr(kube, "cut_off", True),
        _PROXIES,
        _MATRIX,
        _FOREIGN,
        _CONTROL,
    ),
    _case(
        "disk-without-bounds",
        lambda kube: setattr(kube, "bounded", False),
        "isolation/test_disk.py::test_full_disk_is_the_writers_own",
    ),
    _case("sick-node", _sick_node, "isolation/test_nodes.py::test_nodes_are_ready"),
    _case(
        "extra-node", lambda kube: kube.live.append(node("stranger")), "isolation/test_nodes.py::test_nodes_are_ready"
    ),
    _case("node-port", _node_port, "tcp/test_exposed_ports.py::test_no_service_opens_node_ports"),
    _case(
        "other-address",
        _set("Gateway", "gateway", "gateway", "status", addresses=[{"value": "10.0.0.1"}]),
        "tcp/test_exposed_ports.py::test_gateway_is_programmed",
    ),
    _case("route-gone", _remove("HTTPRoute", "llm", "ai"), _DRIFT),
    _case("edited-host", _set("HTTPRoute", "llm", "ai", "spec", hostnames=["evil.test"]), _DRIFT),
)


def _broken(site: Site) -> set[str]:
    found = set()
    for outcome in run(site, *FAMILIES):
        if outcome.fault:
            rule = outcome.subject.partition("-")[2]
            found.add(f"{outcome.promise}[{rule}]" if outcome.promise == _RULE else outcome.promise)
    return found


def test_good_cluster_keeps_every_promise(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good cluster keeps every promise."""
    assert _broken(_site(build, monkeypatch)) == set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_break_turns_exactly_its_promises_red(build: Build, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Break turns exactly its promises red."""
    site = _site(build, monkeypatch)

    case.breaks(_kube(site))

    assert _broken(site) == case.promises


def test_undeclared_port_is_seen(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undeclared port is seen."""
    site, stranger = _site(build, monkeypatch), build()
    monkeypatch.setattr("conformance.probes.tcp.ALL_PORTS", (site.http, site.https, stranger.https))

    assert _broken(site) == {"tcp/test_exposed_ports.py::test_other_ports_are_closed"}

    site.exemptions = replace(site.exemptions, ports=(PortExemption(stranger.https, "a reason"),))
    assert _broken(site) == set()


def test_exempted_rule_may_be_broken_and_must_be_needed(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exempted rule may be broken and must be needed."""
    site = _site(build, monkeypatch)
    site.exemptions = replace(site.exemptions, pods=(PodExemption("ai/llm-*", ("nonroot",), "a reason"),))

    assert _broken(site) == {"workloads/test_pod_rules.py::test_no_exemption_is_stale"}

    site = _site(build, monkeypatch)
    site.exemptions = replace(site.exemptions, pods=(PodExemption("ai/llm-*", ("nonroot",), "a reason"),))
    _security("runAsNonRoot", value=False)(_kube(site))
    assert _broken(site) == set()
