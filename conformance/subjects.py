"""What a check can be parametrised by: the argument's name in a test, and the tree's answer to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from betelgeuse.policy.access import accounts
from betelgeuse.tree import gates, ref
from betelgeuse.tree.dashboards import dashboards
from conformance import snippets, stores, telemetry
from conformance.probes import hello
from conformance.site import Site
from conformance.workloads.rules import RULES

MODELS: Final = ("embeddings", "llm")
"""Hosts of models: what compares requests with their protocol stands behind the gate."""

SUBJECTS: Final[Mapping[str, Callable[[Site], Sequence[object]]]] = {
    "tls_name": lambda site: site.tree.tls_names,
    "host": lambda site: site.tree.hosts,
    "app_route": lambda site: site.tree.routes,
    # A host without a class counts as guarded: nobody said that it may be open.
    "guarded_host": lambda site: [
        door for host in site.tree.hosts for door in host.doors if door.gate.kind != gates.PUBLIC
    ],
    "token_host": lambda site: site.tree.behind(gates.TOKEN),
    "model_host": lambda site: [host for host in site.tree.behind(gates.TOKEN) if host.label in MODELS],
    "login_host": lambda site: site.tree.behind(gates.LOGIN),
    "gateway": lambda site: site.tree.gateways,
    "gateway_address": lambda site: site.settings.gateway_addresses or ("published",),
    "listener_port": lambda site: site.tree.ports,
    "tcp_host": lambda site: site.tree.tcp_hosts,
    "certificate": lambda site: site.tree.certificates,
    "namespace": lambda site: site.tree.namespaces,
    "workload": lambda site: site.tree.workloads,
    "account": lambda site: accounts(site.tree.objects, site.tree.namespaces),
    "declared": lambda site: site.tree.declared,
    "monitor": lambda site: sorted(ref(obj) for obj in site.tree.kind(*telemetry.MONITORS)),
    "rules": lambda site: sorted(ref(obj) for obj in site.tree.kind("PrometheusRule")),
    "store_page": lambda site: [store for store in stores.ALL if site.features[f"store-{store}"]],
    "notebook_page": lambda site: [
        store
        for store in stores.ALL
        if site.features[f"store-{store}"] and snippets.has(snippets.store_page(store), snippets.NOTEBOOK)
    ],
    "dashboard": lambda site: sorted(ref(obj) for obj in dashboards(site.tree.objects)),
    "weak_suites": lambda _: tuple(hello.WEAK),
    "old_version": lambda _: tuple(hello.VERSIONS),
    "pod_rule": lambda _: tuple(RULES),
}
