"""Faults made on purpose, all at once: each has its alert, which fires, is told to Alertmanager, and ends with it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from betelgeuse.kube import Obj
from betelgeuse.settings import LOCAL
from betelgeuse.tree import Ref
from conformance import canary, telemetry
from conformance.drills import small_volume, verbs
from conformance.drills.pods import scale
from conformance.drills.small_volume import SmallVolume
from conformance.inside import Inside
from conformance.probes import mimic, openai
from conformance.site import Site
from conformance.verdict import poll, require, require_none

pytestmark = pytest.mark.feature("observability")

_EVENTS: Final = Ref("StatefulSet", "observability", "events", "apps/v1")
_FIRES: Final = 20 * 60.0
"""Seconds until the slowest of these alerts: it waits for 15 minutes, and certificates are looked at once a minute."""
_ENDS: Final = 10 * 60.0
"""Seconds until the last of them is over: some look back over five minutes."""
_FULL: Final = "KubeletVolumeFull"
_TOLD: Final = 60.0
"""Seconds until a person who looks sees a full volume, without any alert."""
_PACE: Final = 5.0
_WRITERS: Final = 12
"""Callers of the language model at once: more than it has places, fewer than the gateway lets wait."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and the alert that says so."""

    name: str
    alert: str
    labels: dict[str, str]
    make: Callable[[Site, Inside], object]
    """A context manager: the fault is there while it is held."""


def _apply(site: Site, obj: Obj) -> None:
    site.cluster.kube.server_side_apply(obj, "betelgeuse-conformance", force=True)


@contextmanager
def _target_gone(site: Site, _inside: Inside) -> Iterator[None]:
    scale(site, _EVENTS, 0)
    try:
        yield
    finally:
        scale(site, _EVENTS, 1)


@contextmanager
def _crash_loop(site: Site, inside: Inside) -> Iterator[None]:
    command = ["/usr/bin/python3", "-c", "raise SystemExit('on purpose')"]
    pod = canary.pod(inside.namespace, "crashes", mimic.image(site.tree), command, {})
    pod["spec"]["restartPolicy"] = "Always"
    _apply(site, pod)
    try:
        yield
    finally:
        site.cluster.kube.delete(pod)


@contextmanager
def _short_lived(site: Site, inside: Inside) -> Iterator[None]:
    """Have a certificate that lives for a day: it expires soon from its beginning."""
    meta = {"name": "short-lived", "namespace": inside.namespace}
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": meta, "spec": {"selfSigned": {}}}
    asked = {
        "secretName": "short-lived",
        "duration": "24h",
        "dnsNames": ["short-lived.test"],
        "privateKey": {"algorithm": "ECDSA", "rotationPolicy": "Always"},
        "issuerRef": {"name": "short-lived", "kind": "Issuer"},
    }
    certificate = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": meta, "spec": asked}
    _apply(site, issuer)
    _apply(site, certificate)
    try:
        yield
    finally:
        site.cluster.kube.delete(certificate)
        site.cluster.kube.delete(issuer)


@contextmanager
def _crowd(site: Site, _inside: Inside) -> Iterator[None]:
    """Have more callers at the language model than it has places, all the time."""
    host, over = site.host("llm"), threading.Event()
    # The way to Keycloak lives as long as the thread that opens it: this one.
    site.credentials(host)

    def ask() -> None:
        payload = {"messages": [{"role": "user", "content": "Count to one thousand."}], "max_tokens": 200}
        while not over.is_set():
            asked = openai.json_request(host.name, "/v1/chat/completions", payload, site.credentials(host))
            site.send(asked, 120.0)
            over.wait(0.2)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(_WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def faults(inside: Inside, small: SmallVolume | None) -> tuple[Fault, ...]:
    """Return what is done, and what must be heard of it; a small volume is had on the embedded cluster alone."""
    pod = {"namespace": inside.namespace, "pod": "crashes"}
    claim = {"namespace": inside.namespace, "persistentvolumeclaim": small_volume.NAME}
    volumes = [Fault("a volume is full", _FULL, claim, lambda *_: small.filled())] if small else []
    return (
        *volumes,
        Fault("a target is gone", "EventsDown", {}, _target_gone),
        Fault("a pod crashes again and again", "KubernetesWorkloadsCrashLooping", pod, _crash_loop),
        Fault("a certificate expires soon", "CertificateExpiresSoon", {"name": "short-lived"}, _short_lived),
        Fault("the language model is full", "LlmSaturated", {}, _crowd),
    )


def _heard(site: Site, fault: Fault) -> bool:
    """Whether an alert fires and Alertmanager knows of it."""
    return all(
        any(alert.get("alertname") == fault.alert and fault.labels.items() <= alert.items() for alert in known)
        for known in (telemetry.firing(site), telemetry.notified(site))
    )


def _times(site: Site, wanted: tuple[Fault, ...], *, heard: bool, patience: float) -> dict[str, float]:
    """Return after how many seconds each alert fired (or was over); whoever did not is not named."""
    begin, found = time.monotonic(), dict[str, float]()

    def look() -> dict[str, float]:
        time.sleep(_PACE)
        for fault in wanted:
            if fault.name not in found and _heard(site, fault) == heard:
                found[fault.name] = time.monotonic() - begin
        return found

    poll(look, lambda found: len(found) == len(wanted), patience)
    return found


def _named(site: Site, inside: Inside) -> float:
    """Return after how many seconds `invoke status` names the full volume: the fullest, or one that is nearly full."""
    place = f"{inside.namespace}/{small_volume.NAME} "
    said, seconds = poll(lambda: verbs.said(site, "status"), lambda said: place in said, _TOLD)
    want, ask = f"{place}named within {_TOLD:.0f} s", "invoke status"
    require(place in said, where=ask, want=want, got=said, reproduce=ask)
    return seconds


def test_faults_are_told_and_forgotten(site: Site, inside: Inside) -> None:
    """A target gone, a crash loop, a certificate near its end, a full model or volume: each alerts while it lasts."""
    with ExitStack() as around:
        local = site.settings.env == LOCAL
        wanted = faults(inside, around.enter_context(small_volume.mounted(site, inside)) if local else None)
        with ExitStack() as stack:
            for fault in wanted:
                stack.enter_context(fault.make(site, inside))  # type: ignore[arg-type] # as said there
                if fault.alert == _FULL:
                    # Before the others: a platform with something missing has status fail.
                    site.facts["full volume in invoke status"] = f"after {_named(site, inside):.0f} s"
            fired = _times(site, wanted, heard=True, patience=_FIRES)
        over = _times(site, tuple(fault for fault in wanted if fault.name in fired), heard=False, patience=_ENDS)

    for fault in wanted:
        told = f"fired after {fired.get(fault.name, -1):.0f} s, over {over.get(fault.name, -1):.0f} s after its cause"
        site.facts[f"alert {fault.alert}"] = told
    require_none(
        [
            *(f"{fault.name}: {fault.alert} did not fire" for fault in wanted if fault.name not in fired),
            *(f"{name}: did not end" for name in fired if name not in over),
        ],
        where="alerts",
        want=f"each fires within {_FIRES:.0f} s, and ends within {_ENDS:.0f} s",
        reproduce=f"a browser at https://{site.host(telemetry.METRICS)}/alerts",
    )
