"""A promise broken by hand on the living cluster: exactly the checks that are about it go red, and a deploy mends it.

The suite's own tests (tests/conformance_suite) break stand-ins; this breaks the real thing, one at a time.
"""

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from betelgeuse.shell import run
from betelgeuse.tree import Ref, ref
from conformance import telemetry
from conformance.drills.pods import strike
from conformance.drills.verbs import invoke
from conformance.site import Site
from conformance.verdict import demand, poll, require, require_none

_ARRIVES: Final = 600.0
"""Seconds until what was broken is broken where the checks look, and until it is whole there again: the kubelet brings
a new configuration within a minute and a half, and Prometheus' reloader looks every three; on a busy machine later."""
_SUITE_SECONDS: Final = 1200.0
_UNKNOWN: Final = "no_such_metric_at_all"
_VALKEY: Final = Ref("Pod", "db", "valkey-0", "v1")


@dataclass(frozen=True)
class Mutation:
    """What is broken, where it shows, and which checks must say so."""

    of: Ref
    """What is broken; where the tree has it not, there is nothing to break."""
    broken: Callable[[Site, Ref], object]
    suites: tuple[str, ...]
    red: tuple[str, ...]
    """Patterns of checks: each must be hit, and nothing else may be."""
    arrived: Callable[[Site], bool] = field(default=lambda _: True)
    """Whether the change is where checks look."""
    mend: Callable[[Site], object] = field(default=lambda _: None)
    """What a deploy does not see."""


def _live(site: Site, place: Ref) -> Obj:
    found = site.cluster.kube.get(place.api_version, place.kind, place.name, place.namespace)
    return demand(found, where=str(place), want="it runs", got="nothing", reproduce=f"kubectl get {place.kind} -A")


def _deleted(site: Site, place: Ref) -> None:
    site.cluster.kube.delete(_live(site, place))


def _patched(change: Callable[[Obj], Mapping[str, Any]]) -> Callable[[Site, Ref], object]:
    """Return what merges a change, made from the object as it is, into it."""

    def patch(site: Site, place: Ref) -> None:
        site.cluster.merge(place, change(_live(site, place)))

    return patch


def _misspelt(obj: Obj) -> Mapping[str, Any]:
    """Return the rules with a metric in the first one that does not exist."""
    groups = obj["spec"]["groups"]
    groups[0]["rules"][0]["expr"] = f"{_UNKNOWN} > 0"
    return {"spec": {"groups": groups}}


def _asks_for_nothing(obj: Obj) -> Mapping[str, Any]:
    """Return a dashboard whose last panel asks for a metric that does not exist."""
    lines = obj["data"]["dashboard.yaml"].splitlines(keepends=True)
    last = max(at for at, line in enumerate(lines) if "query: " in line)
    indent, _, _ = lines[last].partition("query: ")
    lines[last] = f"{indent}query: {_UNKNOWN}\n"
    return {"data": {"dashboard.yaml": "".join(lines)}}


def _everybody_in_clear(_: Obj) -> Mapping[str, Any]:
    return {"spec": {"postgresql": {"pg_hba": ["host all all all scram-sha-256"]}}}


def _open_to_nobody(site: Site, secret: Ref) -> None:
    """Let Valkey take callers without a name; by the administrator's password, which goes in by stdin."""
    password = demand(
        site.cluster.secret(secret, "password"),
        where=str(secret),
        want="the administrator's password",
        got="none",
        reproduce="kubectl -n db get secret valkey-admin",
    )
    cli = "valkey-cli -h localhost --tls --cacert /tls/ca.crt --user admin --no-auth-warning"
    # Its own last guard refuses everybody from outside while somebody needs no password.
    unguarded = f"{cli} CONFIG SET protected-mode no"
    script = (
        f'read -r REDISCLI_AUTH; export REDISCLI_AUTH; {unguarded}; {cli} ACL SETUSER default on nopass "~*" "+@all"'
    )
    site.execute(_VALKEY.namespace, _VALKEY.name, ["sh", "-c", script], stdin=f"{password.reveal()}\n")


def _loaded(site: Site) -> bool:
    return any(_UNKNOWN in rule.expression for group in telemetry.groups(site) for rule in group.rules)


def _shown(site: Site) -> bool:
    return _UNKNOWN in json.dumps(telemetry.data(site, telemetry.DASHBOARDS, "/api/v1/dashboards"))


def _unmonitored(site: Site) -> bool:
    # Its address is probed, too.
    return not any("podMonitor/ai/embeddings/" in target.pool for target in telemetry.targets(site))


_MONITORING: Final = "monitoring.coreos.com/v1"
_WATCHED: Final = ("conformance/observability",)
MUTATIONS: Final = {
    "a monitor is deleted": Mutation(
        Ref("PodMonitor", "ai", "embeddings", _MONITORING),
        _deleted,
        _WATCHED,
        ("*test_every_target_is_up[[]*ai/embeddings]", "*embeddings*"),
        arrived=_unmonitored,
    ),
    "no line reaches the log store": Mutation(
        Ref("NetworkPolicy", "observability", "logs-server", "networking.k8s.io/v1"),
        _deleted,
        _WATCHED,
        ("*test_logs.py::*", "*test_traces.py::test_log_names_the_trace*"),
    ),
    "a panel asks for nothing": Mutation(
        Ref("ConfigMap", "ai", "embeddings-dashboard", "v1"),
        _patched(_asks_for_nothing),
        _WATCHED,
        ("*test_dashboard_is_offered[[]*embeddings-dashboard]",),
        arrived=_shown,
    ),
    "a metric in a rule is misspelt": Mutation(
        Ref("PrometheusRule", "ai", "embeddings", _MONITORING),
        _patched(_misspelt),
        _WATCHED,
        ("*test_rules_speak_of_metrics_that_exist[[]*ai/embeddings]",),
        arrived=_loaded,
    ),
    "nobody is let in to a store": Mutation(
        Ref("NetworkPolicy", "db", "valkey", "networking.k8s.io/v1"),
        _deleted,
        ("conformance/data",),
        ("*test_valkey.py::test_client_inside_writes_and_reads", "*test_valkey.py::*"),
    ),
    "a store takes passwords in clear text": Mutation(
        Ref("Cluster", "db", "pg", "postgresql.cnpg.io/v1"),
        _patched(_everybody_in_clear),
        ("conformance/data",),
        ("*test_postgres.py::test_everything_else_is_refused_*",),
    ),
    "a store takes callers without a name": Mutation(
        Ref("Secret", "db", "valkey-admin", "v1"),
        _open_to_nobody,
        ("conformance/data",),
        ("*test_valkey.py::test_everything_else_is_refused",),
        mend=lambda site: strike(site, _VALKEY),
    ),
    "a gate is taken away": Mutation(
        Ref("SecurityPolicy", "ml", "mlflow", "gateway.envoyproxy.io/v1alpha1"),
        _deleted,
        ("conformance/auth/test_anonymous_is_refused.py", "conformance/tools/test_mlflow.py"),
        ("*test_every_path_and_method_is_refused[[]mlflow.*", "*mlflow*"),
    ),
}


def _red(site: Site, suites: tuple[str, ...]) -> list[str]:
    """Run suites, or single checks, in a process of their own and return the checks that failed."""
    name = "mutation"
    report = paths.REPORTS / f"{name}-{site.settings.env}.xml"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", *suites, f"--env={site.settings.env}", f"--report={name}", "-q"]
    try:
        run(argv, cwd=paths.ROOT, timeout=_SUITE_SECONDS, log=paths.REPORTS / f"{name}.log")
    except BetelgeuseError as error:
        # That some are red is what is asked for; whether any ran, the report says.
        site.facts["last lines"] = str(error)[-200:]
    ran = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 - ours
    require(bool(ran), where=" ".join(suites), want="checks that run", got="none", reproduce=" ".join(argv))
    return [
        f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        for case in ran
        if case.find("failure") is not None or case.find("error") is not None
    ]


@pytest.mark.parametrize("what", MUTATIONS)
def test_exactly_its_checks_go_red(site: Site, what: str) -> None:
    """A promise broken by hand turns the checks red that are about it, no others; a deploy makes all green again."""
    mutation = MUTATIONS[what]
    if all(ref(obj) != mutation.of for obj in site.tree.objects):
        pytest.skip(f"{mutation.of} is absent here")
    try:
        mutation.broken(site, mutation.of)
        arrived, _ = poll(lambda: mutation.arrived(site), bool, _ARRIVES)
        require(arrived, where=what, want="the change where checks look", got="not there", reproduce="kubectl get -A")
        red = _red(site, mutation.suites)
    finally:
        mutation.mend(site)
        invoke(site, "deploy")
    # Else the next mutation finds this one's red.
    left, seconds = poll(lambda: _red(site, tuple(red)) if red else [], lambda found: not found, _ARRIVES)
    site.facts[f"green after {what}"] = f"{seconds:.0f} s after a deploy"
    site.facts[f"red when {what}"] = f"{len(red)}: {', '.join(sorted(red))[:600]}"
    require_none(
        [
            *(f"{pattern} stayed green" for pattern in mutation.red if not _hit(red, (pattern,))),
            *(f"{check} went red too" for check in red if not _hit([check], mutation.red)),
            *(f"{check} stays red" for check in left),
        ],
        where=what,
        want=f"red: {', '.join(mutation.red)}",
        reproduce=f"pytest {' '.join(mutation.suites)}",
    )


def _hit(checks: list[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(check, pattern) for check in checks for pattern in patterns)
