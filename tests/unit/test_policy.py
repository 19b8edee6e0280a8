"""Who may call whom: policies evaluated, drawn, and what was dropped read back."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.policy import drops, graph, svg
from betelgeuse.policy.parties import API_SERVER, NODE, POD, WORLD, Party, of_pod, of_tree
from betelgeuse.policy.verdicts import Policies, label_keys
from betelgeuse.workflows import policy_graph

Obj = dict[str, Any]
APP = Party("shop", "app", {"app": "web", "tier": "front"}, POD, (("http", 8080, "TCP"), ("dns", 53, "UDP")))
DB = Party("data", "db", {"app": "db"}, POD, (("sql", 5432, "TCP"),))
NODE_PARTY = Party("", "nodes", entities=NODE, address="172.30.0.11")
API = Party("", "kube-apiserver", entities=API_SERVER)


def _obj(kind: str, name: str, namespace: str, spec: Obj) -> Obj:
    version = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "cilium.io/v2"
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


def _namespace(name: str, **labels: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


DENY = _obj("NetworkPolicy", "deny", "data", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def _ingress(*rules: Obj, selector: Obj | None = None) -> Obj:
    return _obj("NetworkPolicy", "open", "data", {"podSelector": selector or {}, "ingress": list(rules)})


def _allowed(objects: list[Obj], caller: Party = APP, callee: Party = DB, port: int = 5432, how: str = "TCP") -> bool:
    return Policies.read(objects).verdict(caller, callee, port, how).allowed


def test_without_policies_everything_is_allowed() -> None:
    """Kubernetes' default."""
    assert _allowed([])


def test_default_deny_shuts_both_ways() -> None:
    """Into the namespace and out of it, and nowhere else."""
    assert not _allowed([DENY])
    assert not _allowed([DENY], DB, APP, 8080)
    assert _allowed([DENY], APP, Party("shop", "other"), 80)


FRONT = {"podSelector": {"matchLabels": {"tier": "front"}}}
SHOP = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
TEAM = {"namespaceSelector": {"matchLabels": {"team": "a"}}}


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({}, True),
        ({"from": [FRONT]}, False),  # of its own namespace
        ({"from": [SHOP]}, True),
        ({"from": [{**SHOP, **FRONT}]}, True),
        ({"from": [TEAM]}, True),
        ({"from": [{**SHOP, "podSelector": {"matchLabels": {"tier": "back"}}}]}, False),
        ({"from": [{"namespaceSelector": {}}]}, True),
        ({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, False),
        ({"ports": [{"port": 5432}]}, True),
        ({"ports": [{"port": "sql"}]}, True),
        ({"ports": [{"port": "SQL"}]}, False),
        ({"ports": [{"port": 5432, "protocol": "UDP"}]}, False),
        ({"ports": [{"port": 5000, "endPort": 6000}]}, True),
        ({"ports": [{"port": 5000, "endPort": 5100}]}, False),
        ({"from": [SHOP], "ports": [{"protocol": "TCP"}]}, True),
    ],
)
def test_rules_of_a_network_policy(rule: Obj, *, allowed: bool) -> None:
    """Peers and ports, one by one; the port is the callee's."""
    assert _allowed([DENY, _ingress(rule), _namespace("shop", team="a")]) is allowed


def test_both_sides_must_let_it() -> None:
    """Egress of the caller and ingress of the callee."""
    shut = _obj("NetworkPolicy", "deny", "shop", {"podSelector": {}, "policyTypes": ["Egress"]})
    out = _obj(
        "NetworkPolicy", "out", "shop", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [TEAM]}]}
    )

    assert not _allowed([shut])
    assert _allowed([shut, out, _namespace("data", team="a")])
    assert not _allowed([shut, out, _namespace("data", team="a"), DENY])


def test_types_are_guessed_as_kubernetes_does() -> None:
    """Without policyTypes: ingress always, egress when there are rules for it."""
    assert not _allowed([_obj("NetworkPolicy", "a", "data", {"podSelector": {}})])
    assert _allowed([_obj("NetworkPolicy", "a", "shop", {"podSelector": {}})])
    assert not _allowed([_obj("NetworkPolicy", "a", "shop", {"podSelector": {}, "egress": []})])


@pytest.mark.parametrize(
    ("operator", "values", "allowed"),
    [("In", ["web"], True), ("NotIn", ["web"], False), ("Exists", [], True), ("DoesNotExist", [], False)],
)
def test_expressions(operator: str, values: list[str], *, allowed: bool) -> None:
    """All four operators."""
    term = {"key": "app", "operator": operator, **({"values": values} if values else {})}
    peer = {**SHOP, "podSelector": {"matchExpressions": [term]}}

    assert _allowed([DENY, _ingress({"from": [peer]})]) is allowed


def _cilium(spec: Obj, namespace: str = "data") -> Obj:
    kind = "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy"
    return _obj(kind, "c", namespace, {"endpointSelector": {}, **spec})


def _ports(*ports: str) -> list[Obj]:
    return [{"ports": [{"port": port, "protocol": "TCP"} for port in ports]}]


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({"fromEndpoints": [{}]}, False),  # of its own namespace
        ({"fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}}]}, True),
        ({"fromEndpoints": [{"matchLabels": {"io.kubernetes.pod.namespace": "shop", "any:app": "web"}}]}, True),
        ({"fromEndpoints": [{"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.team": "a"}}]}, True),
        ({"fromEntities": ["cluster"]}, True),
        ({"fromEntities": ["world"]}, False),
        ({"fromEntities": ["all"], "toPorts": _ports("5432")}, True),
        ({"fromEntities": ["all"], "toPorts": _ports("sql")}, True),
        ({"fromEntities": ["all"], "toPorts": _ports("1")}, False),
        ({"fromCIDR": ["0.0.0.0/0"]}, False),
        ({"toPorts": _ports("5432")}, True),
    ],
)
def test_rules_of_cilium(rule: Obj, *, allowed: bool) -> None:
    """Endpoints, entities, blocks and ports."""
    assert _allowed([_cilium({"ingress": [rule]}), _namespace("shop", team="a")]) is allowed


def test_outsiders() -> None:
    """Nodes, the API server and the world are no pods: only entities and blocks name them."""
    world = Party("", "world", entities=WORLD, address="203.0.113.9")
    out = _cilium({"egress": [{"toEntities": ["kube-apiserver"], "toPorts": _ports("6443")}]})
    block = _cilium({"egress": [{"toCIDRSet": [{"cidr": "203.0.113.0/24", "except": ["203.0.113.8/31"]}]}]})

    assert _allowed([out], DB, API, 6443)
    assert not _allowed([out], DB, API, 10250)
    assert not _allowed([out], DB, NODE_PARTY, 6443)
    assert not _allowed([block], DB, world, 443)
    assert _allowed([block], DB, Party("", "w", entities=WORLD, address="203.0.113.10"), 443)
    assert not _allowed([_ingress({"from": [{"namespaceSelector": {}}]}), DENY], world)
    assert _allowed([_ingress({}), DENY], world)


def test_what_is_forbidden_stays_forbidden() -> None:
    """A deny wins over every permission, and shuts nothing else when it says so."""
    guard = _cilium(
        {
            "enableDefaultDeny": {"egress": False, "ingress": False},
            "egressDeny": [{"toEntities": ["host"], "toPorts": _ports("22")}, {"toCIDR": ["169.254.0.0/16"]}],
        },
        "",
    )
    everything = _cilium({"egress": [{"toEntities": ["all"]}]})

    assert not _allowed([guard, everything], DB, NODE_PARTY, 22)
    assert _allowed([guard, everything], DB, NODE_PARTY, 6443)
    assert _allowed([guard], DB, APP, 8080)
    assert not _allowed([guard], DB, Party("", "m", entities=WORLD, address="169.254.169.254"), 80)


def test_verdicts_say_why() -> None:
    """One reason per direction, with the policy's name."""
    verdict = Policies.read([DENY, _ingress({"from": [SHOP]})]).verdict(APP, DB, 5432)

    assert verdict.why == ("egress: no policy for shop/app", "ingress: NetworkPolicy data/open")
    assert "no rule of NetworkPolicy data/deny" in Policies.read([DENY]).verdict(APP, DB, 1).why[1]


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (_cilium({"egress": [{"toFQDNs": [{"matchName": "x.test"}]}]}), "toFQDNs"),
        (_cilium({"ingress": [{"toPorts": [{"ports": [{"port": "1"}], "rules": {"http": []}}]}]}), "rules"),
        (_cilium({"ingress": [], "nodeSelector": {}}), "nodeSelector"),
        (_ingress({"from": [{"serviceSelector": {}}]}), "serviceSelector"),
        (_ingress({"too": []}), "too"),
    ],
)
def test_what_is_not_understood_is_an_error(policy: Obj, word: str) -> None:
    """A rule passed over would look like one that holds."""
    with pytest.raises(UsageError, match=word):
        Policies.read([policy])


def test_telling_labels() -> None:
    """What policies look at, and nothing else."""
    assert label_keys([_ingress({"from": [{**SHOP, **FRONT}]}, selector={"matchLabels": {"app": "db"}})]) == {
        "kubernetes.io/metadata.name",
        "tier",
        "app",
    }


def _deployment(name: str, namespace: str, port: int, *, host: bool = False) -> Obj:
    container = {"name": "c", "ports": [{"containerPort": port, "name": "http"}]}
    spec = {"containers": [container], **({"hostNetwork": True} if host else {})}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"template": template}}


TREE = [
    _deployment("web", "shop", 8080),
    _deployment("db", "data", 5432),
    _deployment("agent", "kube-system", 1, host=True),
    DENY,
    _ingress({"from": [SHOP], "ports": [{"port": "http"}]}),
    {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "g", "namespace": "shop"},
        "spec": {"listeners": [{"name": str(port), "protocol": "HTTPS", "port": port} for port in (443, 8443)]},
    },
    {
        "kind": "CronJob",
        "metadata": {"name": "job", "namespace": "shop"},
        "spec": {"jobTemplate": {"spec": {"template": {"metadata": {}, "spec": {"containers": []}}}}},
    },
]


def test_parties_of_a_tree() -> None:
    """Workloads with a network of their own, the gateway's proxies on their inner ports, DNS, and the outsiders."""
    parties = {str(party): party for party in of_tree(TREE)}

    assert set(parties) == {
        *("data/db", "shop/web", "shop/g", "shop/job", "kube-system/coredns"),
        *("kube-apiserver", "nodes", "world"),
    }
    assert [port for _, port, _ in parties["shop/g"].ports] == [10443, 8443, 19001]


@pytest.mark.parametrize(
    ("proxies", "stats"), [([], 9113), ([{"metrics": {"port": 19113}}], 19113), ([{"metrics": {}}], 9113)]
)
def test_proxies_of_nginx(proxies: list[dict[str, Any]], stats: int) -> None:
    """They listen on the Gateway's ports themselves, and carry the labels that it gives them."""
    given = {"gatewayClassName": "nginx", "infrastructure": {"labels": {"component": "proxy"}}}
    gateway = next(obj for obj in TREE if obj["kind"] == "Gateway")
    tree = [obj for obj in TREE if obj is not gateway] + [{**gateway, "spec": gateway["spec"] | given}]
    tree += [_obj("NginxProxy", "g", "shop", spec) for spec in proxies]
    parties = {str(party): party for party in of_tree(tree)}

    assert [port for _, port, _ in parties["shop/g"].ports] == [443, 8443, stats]
    assert parties["shop/g"].labels == {"app.kubernetes.io/name": "g-nginx", "component": "proxy"}


def test_parties_that_operators_start() -> None:
    """PostgreSQL's pods; and the proxies listen on the ports of a Gateway's ListenerSets too."""
    listener = {"name": "tcp", "port": 5432, "protocol": "TCP"}
    spec = {"parentRef": {"name": "g", "namespace": "shop"}, "listeners": [listener]}
    added = [
        _obj("ListenerSet", "sql", "data", spec),
        {**_obj("Cluster", "pg", "data", {"instances": 1}), "apiVersion": "postgresql.cnpg.io/v1"},
    ]
    parties = {str(party): party for party in of_tree([*TREE, *added])}

    assert [port for _, port, _ in parties["shop/g"].ports] == [10443, 5432, 8443, 19001]
    assert parties["data/pg-1"].labels == {"cnpg.io/cluster": "pg"}
    assert {port for _, port, _ in parties["data/pg-1"].ports} == {5432, 8000, 9187}


def test_parties_of_prometheus() -> None:
    """Its operator names the pods, and the object names their port and further labels."""
    api, pod_labels = {"apiVersion": "monitoring.coreos.com/v1"}, {"labels": {"betelgeuse.io/metrics": "http"}}
    added = [
        {**_obj("Prometheus", "platform", "watch", {"portName": "http", "podMetadata": pod_labels}), **api},
        {**_obj("Alertmanager", "platform", "watch", {}), **api},
        {**_obj("Prometheus", "other", "watch", {}), "apiVersion": "example.org/v1"},
    ]
    parties = {str(party): party for party in of_tree([*TREE, *added])}

    assert [name for name in parties if name.startswith("watch/")] == [
        "watch/alertmanager-platform-0",
        "watch/prometheus-platform-0",
    ]
    assert parties["watch/prometheus-platform-0"].number("http") == 9090
    assert parties["watch/alertmanager-platform-0"].number("web") == 9093
    assert parties["watch/prometheus-platform-0"].labels == {
        "app.kubernetes.io/name": "prometheus",
        "app.kubernetes.io/instance": "platform",
        "app.kubernetes.io/managed-by": "prometheus-operator",
        "prometheus": "platform",
        "betelgeuse.io/metrics": "http",
    }


def test_a_label_that_names_a_port_opens_that_port() -> None:
    """In whatever namespace, by its name, to one kind of caller; and nothing is shut by it."""
    caller = Party("watch", "prometheus", {"app": "prometheus"})
    watched = Party("shop", "web", {"metrics": "http"}, ports=(("http", 8080, "TCP"), ("admin", 9000, "TCP")))
    peer = {"matchLabels": {"io.kubernetes.pod.namespace": "watch", "app": "prometheus"}}
    to_port = [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    label = {"matchLabels": {"metrics": "http"}}
    opened = {
        "endpointSelector": label,
        "enableDefaultDeny": {"ingress": False, "egress": False},
        "ingress": [{"fromEndpoints": [peer], "toPorts": to_port}],
    }
    asks = {"endpointSelector": peer, "egress": [{"toEndpoints": [label], "toPorts": to_port}]}
    shut = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    open_alone = Policies.read([_obj("CiliumClusterwideNetworkPolicy", "metrics", "", opened)])
    policies = Policies.read([
        _obj("NetworkPolicy", "shut", "shop", shut),
        _obj("CiliumClusterwideNetworkPolicy", "metrics", "", opened),
        _obj("CiliumClusterwideNetworkPolicy", "asks", "", asks),
    ])  # fmt: skip

    assert policies.verdict(caller, watched, 8080).allowed
    assert not policies.verdict(caller, watched, 9000).allowed
    assert not policies.verdict(Party("elsewhere", "prometheus", {"app": "prometheus"}), watched, 8080).allowed
    assert open_alone.verdict(Party("elsewhere", "anybody"), watched, 9000).allowed


def test_pod_on_the_nodes_network_is_the_node() -> None:
    """Its address is the node's, and no policy selects it."""
    meta = {"name": "p", "namespace": "n"}

    assert of_pod({"metadata": meta, "spec": {"containers": [], "hostNetwork": True}}).entities == NODE
    assert of_pod({"metadata": meta, "spec": {"containers": []}, "status": {"podIP": "10.0.0.1"}}).address == "10.0.0.1"


def test_graph_has_what_is_allowed() -> None:
    """Callers, ports and the policies behind them; what is denied is not there."""
    found = graph.edges(TREE)

    assert {edge.caller for edge in found if edge.callee == "data/db"} == {"shop/web", "shop/g", "shop/job"}
    assert not [edge for edge in found if edge.caller == "data/db"]
    assert not [edge for edge in found if edge.caller == "nodes"]
    assert "NetworkPolicy data/open" in graph.as_table(found)
    assert "no policy shuts it" in graph.as_table(found)


LINE = {
    "flow": {
        "time": "2026-01-01T00:00:01Z",
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2"},
        "l4": {"TCP": {"source_port": 1, "destination_port": 5432}},
        "source": {"namespace": "shop", "pod_name": "web-1", "workloads": [{"name": "web"}]},
        "destination": {"namespace": "data", "pod_name": "db-0"},
        "drop_reason_desc": "POLICY_DENIED",
        "traffic_direction": "EGRESS",
        "egress_denied_by": [{"name": "guard"}],
    }
}


def test_drops_are_counted() -> None:
    """Alike ones together, the latest time kept, broken lines passed over."""
    later = {"flow": {**LINE["flow"], "time": "2026-01-01T00:00:09Z"}}
    packet = {"flow": {key: value for key, value in LINE["flow"].items() if key != "egress_denied_by"}}
    lines = [*map(json.dumps, (LINE, packet, later, packet)), '{"flow": {"tim', "[]", "{}"]

    (drop,) = drops.read(lines)

    assert drop == drops.Drop(
        "shop/web", "data/db-0", "5432", "egress: policy denied (guard)", 2, "2026-01-01T00:00:09Z"
    )
    assert "shop/web" in drops.as_table([drop])


def test_ipv6_where_it_is_off_is_one_line() -> None:
    """Every interface that comes up sends some."""
    flows = [{"IP": {"source": f"fe80::{at}"}, "drop_reason_desc": "UNSUPPORTED_L3_PROTOCOL"} for at in range(3)]

    (drop,) = drops.read([json.dumps({"flow": flow}) for flow in flows])

    assert (drop.callee, drop.count) == ("IPv6 neighbours", 3)


@pytest.mark.parametrize(
    "end",
    [
        {"namespace": "conformance-0a1b", "pod_name": "probe-node-1"},
        {"namespace": "ai", "pod_name": "x", "labels": ["k8s:betelgeuse.io/conformance-mimic=0a1b"]},
    ],
)
def test_the_suites_own_drops_are_one_line(end: Obj) -> None:
    """It tries on purpose what is denied; that says nothing about anybody else."""
    lines = [json.dumps({"flow": {**LINE["flow"], side: end}}) for side in ("source", "destination")]

    (drop,) = drops.read(lines)

    assert (drop.caller, drop.count) == (drops.SUITE, 2)


@pytest.mark.parametrize(
    ("end", "address", "shown"),
    [
        ({"labels": ["reserved:world"]}, "203.0.113.9", "world (203.0.113.9)"),
        ({"labels": ["reserved:host", "reserved:kube-apiserver"]}, "172.30.0.11", "kube-apiserver"),
        ({"labels": ["reserved:remote-node"]}, "172.30.0.12", "nodes"),
        ({}, "10.0.0.9", "10.0.0.9"),
        ({}, "", "unknown"),
    ],
)
def test_ends_of_drops_are_named(end: Obj, address: str, shown: str) -> None:
    """As the graph names them."""
    flow = {"destination": end, "IP": {"destination": address}, "l4": {"UDP": {"destination_port": 53}}}

    (drop,) = drops.read([json.dumps({"flow": flow})])

    assert (drop.callee, drop.door) == (shown, "53/UDP")


def test_picture_is_deterministic_and_well_formed() -> None:
    """The same bytes each time; every permission and every drop has its curve, words are escaped."""
    edges = graph.edges(TREE)
    dropped = drops.read([json.dumps(LINE)])
    picture = svg.draw("a <b> & c", edges, dropped)

    root = ET.fromstring(picture)  # noqa: S314 - made a line above
    curves = root.findall("{http://www.w3.org/2000/svg}path")
    assert picture == svg.draw("a <b> & c", edges, dropped)
    assert len(curves) == len(edges) + len(dropped)
    assert root.attrib["aria-label"] == "a <b> & c"
    assert svg.draw("empty", []).startswith("<svg")


def test_command_writes_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table goes to standard output, the picture to reports/; with --live what every agent wrote, if it did."""
    agents = [{"metadata": {"name": name}} for name in ("a", "b")]

    def tail(_settings: object, _namespace: str, pod: str, *_argv: object, **_more: object) -> str:
        return json.dumps(LINE) if pod == "a" else ""

    monkeypatch.setattr("betelgeuse.paths.REPORTS", tmp_path)
    monkeypatch.setattr("betelgeuse.render.render", lambda *_: TREE)
    monkeypatch.setattr(policy_graph, "connect", lambda _: SimpleNamespace(list=lambda *_, **__: agents))
    monkeypatch.setattr(policy_graph, "exec_in", tail)

    assert policy_graph.show("local", live=True) == 0

    assert "shop/web to data/db-0" in (tmp_path / "policy-local.svg").read_text("utf-8")


def test_command_tells_what_keeps_it_from_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that does not answer is an error, not a network without drops."""

    def refuse(*_: object, **__: object) -> str:
        message = "the server is away"
        raise BetelgeuseError(message)

    agents = [{"metadata": {"name": "a"}}]
    monkeypatch.setattr("betelgeuse.render.render", lambda *_: TREE)
    monkeypatch.setattr(policy_graph, "connect", lambda _: SimpleNamespace(list=lambda *_, **__: agents))
    monkeypatch.setattr(policy_graph, "exec_in", refuse)

    with pytest.raises(BetelgeuseError, match="away"):
        policy_graph.show("local", live=True)
