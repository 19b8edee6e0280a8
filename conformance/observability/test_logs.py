"""Logs: what anything writes is in the store within half a minute, whole, and says where it is from."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from betelgeuse.kube import Obj
from conformance import canary, telemetry
from conformance.canary import Pod
from conformance.inside import Inside
from conformance.parallel import gather
from conformance.probes import canary as program
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = [pytest.mark.feature("observability"), pytest.mark.feature("logs")]

Entry = Mapping[str, str]
_LEVELS: Final = ("level", "severity_text", "severity")
"""Fields that may tell how bad it is."""
_AGE: Final = timedelta(hours=12)
"""How old a container's last line may be to be looked for: shorter than the store keeps any."""
_SLACK: Final = 5.0
"""Seconds by which the time that a program writes may be before the moment at which its line was read."""
_SOURCE: Final = ("k8s.namespace.name", "k8s.pod.name", "k8s.container.name")


def _from(pod: Pod) -> str:
    return f'_time:1h "k8s.namespace.name":="{pod.place.namespace}" "k8s.pod.name":="{pod.place.name}"'


def _entries(site: Site, inside: Inside) -> tuple[Pod, list[Entry]]:
    """Return the writer, and what the store has of it: once there is an entry for each of its lines."""

    def look() -> tuple[Pod, list[Entry]]:
        pod = canary.writer(site, inside)
        count = f"{_from(pod)} | stats count() as lines"
        seen, seconds = poll(
            lambda: int((telemetry.logs(site, count) or [{"lines": "0"}])[0]["lines"]),
            lambda seen: seen >= len(program.KINDS),
            TIMEOUTS.logged,
        )
        site.facts["log lines in the store"] = f"{seen} of {len(program.KINDS)}, seen after {seconds:.1f} s"
        return pod, [*telemetry.logs(site, _from(pod))]

    return site.once(("canary's lines", inside.namespace), look)


def _of(entries: list[Entry], kind: str, mark: str) -> list[Entry]:
    """Return the entries that hold a line, whole and with nothing else, whatever its field is called."""
    text = program.texts(mark)[kind]
    return [entry for entry in entries if text in {entry.get("_msg", "").rstrip("\n"), entry.get("message")}]


def _shown(entries: list[Entry]) -> str:
    return "; ".join(f"{len(entry.get('_msg', ''))} characters {entry.get('_msg', '')[:80]!r}" for entry in entries)


@pytest.mark.early
def test_canary_sings(site: Site, inside: Inside) -> None:
    """A pod that writes one line of each kind runs."""
    require(
        canary.writer(site, inside).node,
        where="the run's namespace",
        want="a pod on a node",
        got="none",
        reproduce=f"kubectl -n {inside.namespace} get pods",
    )


@pytest.mark.parametrize("line", program.KINDS)
def test_line_comes_back_whole(site: Site, inside: Inside, line: str) -> None:
    """A line of JSON, plain text, a stack trace of Python or Java, and 1 MiB in one line: each is one entry, whole."""
    pod, entries = _entries(site, inside)

    require(
        len(_of(entries, line, pod.mark)) == 1,
        where=f"the store's entries of {pod.place}",
        want=f"the {line} line once, whole, within {TIMEOUTS.logged:.0f} s",
        got=_shown(entries) or "none",
        reproduce=telemetry.log_query(site, _from(pod)),
    )


def test_entry_says_where_it_is_from(site: Site, inside: Inside) -> None:
    """Every entry names its namespace, pod, container, node and workload."""
    pod, entries = _entries(site, inside)
    wanted = {
        "k8s.namespace.name": pod.place.namespace,
        "k8s.pod.name": pod.place.name,
        "k8s.container.name": canary.NAME,
        "k8s.node.name": pod.node,
        "k8s.workload.name": canary.NAME,
    }

    require_none(
        ["no entry"]
        if not entries
        else [
            f"{key} is {entry.get(key)!r}, not {value!r}"
            for entry in entries
            for key, value in wanted.items()
            if entry.get(key) != value
        ],
        where=f"the store's entries of {pod.place}",
        want=", ".join(wanted),
        reproduce=telemetry.log_query(site, _from(pod)),
    )


def test_json_is_read(site: Site, inside: Inside) -> None:
    """A line of JSON has its level and its trace in fields of their own."""
    pod, entries = _entries(site, inside)
    mine = [entry for entry in entries if entry.get("trace_id") == pod.mark]
    levels = {entry[name].lower() for entry in mine for name in _LEVELS if entry.get(name)}

    require(
        len(mine) == 1 and levels == {"error"},
        where=f"the store's entries of {pod.place}",
        want=f"one with trace_id {pod.mark}, and error as {' or '.join(_LEVELS)}",
        got=f"{len(mine)} with that trace, levels {sorted(levels)}",
        reproduce=telemetry.log_query(site, _from(pod)),
    )


def _last_line(site: Site, pod: Obj, container: str) -> datetime | None:
    """Return when a container wrote its last line, as its node keeps it; None when it never wrote any."""
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
    asked = {"container": container, "tailLines": 1, "timestamps": "true"}
    stamp = site.cluster.ask("GET", path, query=asked, accept="*/*").text.partition(" ")[0]
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


def _stored(site: Site) -> dict[tuple[str, ...], datetime]:
    """Return when the newest entry of each container was written."""
    hours = int(_AGE.total_seconds() // 3600) + 1
    by = ", ".join(f'"{name}"' for name in _SOURCE)
    found = telemetry.logs(site, f"_time:{hours}h | stats by ({by}) max(_time) as newest")
    return {tuple(entry.get(name, "") for name in _SOURCE): datetime.fromisoformat(entry["newest"]) for entry in found}


def _lines(site: Site) -> dict[tuple[str, ...], datetime | None]:
    """Return when each container of the platform wrote its last line, as the nodes know it, once per run."""

    def look() -> dict[tuple[str, ...], datetime | None]:
        pods = [pod for namespace in site.tree.namespaces for pod in site.cluster.fresh("v1", "Pod", namespace)]
        running = [
            (pod, str(status["name"]))
            for pod in pods
            for field in ("containerStatuses", "initContainerStatuses")
            for status in pod["status"].get(field) or ()
            if "running" in status.get("state", {})
        ]
        stamps = gather(lambda one: _last_line(site, *one), running)
        return {
            (pod["metadata"]["namespace"], pod["metadata"]["name"], name): stamp
            for (pod, name), stamp in zip(running, stamps, strict=True)
        }

    return site.once(("last lines",), look)


def _behind(site: Site, namespace: str) -> list[str]:
    """Return the containers of a namespace whose last line is not in the store."""
    oldest, stored = datetime.now(UTC) - _AGE, _stored(site)
    found = []
    for source, written in sorted(_lines(site).items()):
        listed = site.exemptions.may_be_unlogged("/".join(source))
        if source[0] != namespace or listed or written is None or written < oldest:
            continue
        newest = stored.get(source)
        if newest is None:
            found.append(f"{'/'.join(source)}: no entry")
        elif newest < written - timedelta(seconds=_SLACK):
            found.append(
                f"{'/'.join(source)}: the newest entry is of {newest:%H:%M:%S}, the last line {written:%H:%M:%S}"
            )
    return found


def test_everything_written_is_in_the_store(site: Site, namespace: str) -> None:
    """Whatever a container of the namespace wrote last is in the store within half a minute."""
    _lines(site)

    seen, _ = poll(
        lambda: _behind(site, namespace),
        lambda seen: not seen,
        telemetry.patience(site, "last lines", TIMEOUTS.logged),
    )

    require_none(
        seen,
        where=f"namespace {namespace}",
        want="the last line of each container in the store",
        reproduce=telemetry.log_query(site, f'_time:1h "k8s.namespace.name":="{namespace}"'),
    )


def test_who_is_not_in_the_store_is_listed(site: Site) -> None:
    """Every container has a line in the store, or is listed with the reason why it may have none."""
    known, stored = _lines(site), _stored(site)
    quiet = datetime.now(UTC) - _AGE
    missing = {
        "/".join(source)
        for source, written in known.items()
        if source not in stored and (written is None or written > quiet)
    }
    site.facts["containers whose logs were looked for"] = f"{len(known)}, {len(missing)} of them without any"

    require_none(
        # A listed one may write, too: most of them write about trouble alone.
        [f"{name} has no line" for name in sorted(missing) if not site.exemptions.may_be_unlogged(name)],
        where="the platform's containers",
        want="a line of each, or an entry in conformance/exemptions.yaml, unlogged",
        reproduce=telemetry.log_query(site, "_time:12h"),
    )


@pytest.mark.feature("events")
def test_events_are_in_the_store(site: Site, inside: Inside) -> None:
    """What Kubernetes tells about an object (a pod is assigned to a node) is a line in the store."""
    pod = canary.writer(site, inside)
    wanted = f'_time:1h "k8s.workload.name":="events" "{pod.place.namespace}"'

    seen, seconds = poll(lambda: telemetry.logs(site, wanted), bool, TIMEOUTS.logged)

    require(
        seen,
        where=f"the store's entries of workload events, about namespace {pod.place.namespace}",
        want=f"one within {TIMEOUTS.logged:.0f} s",
        got=f"none after {seconds:.0f} s",
        reproduce=telemetry.log_query(site, wanted),
    )
