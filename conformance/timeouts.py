"""Every bound of the suite in one place. A bound is the longest wait for something that normally takes far less."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, each with what it bounds."""

    connect: float = 5.0
    """TCP and TLS handshake with the gateway; a LAN takes milliseconds, a busy two-core machine sometimes a second."""

    answer: float = 20.0
    """A whole answer that needs no model: routing, refusals, lists."""

    silence: float = 0.4
    """How long a connection must stay quiet before we believe that no second answer follows (smuggling)."""

    completion: float = 90.0
    """One short completion on a CPU that others use too."""

    embedding: float = 30.0
    """One batch of embeddings on a CPU."""

    login: float = 30.0
    """One step of a login, or one call of Keycloak's: a password takes it a while on purpose, a busy machine longer."""

    session_end: float = 60.0
    """A session that has ended opening nothing any more, for whoever copied its cookies; it should take seconds."""

    skew: float = 75.0
    """An expired token being refused: the minute by which clocks may differ, and a little."""

    browser: float = 30.0
    """A page being there in a real browser: its start, and the login's redirects, on a busy two-core machine."""

    scan_port: float = 1.0
    """A port that says neither yes nor no within this is filtered, hence not open to us."""

    scan_all: float = 20.0
    """A full port scan that would take longer than this is cut down to the well-known ports, and the report says so."""

    scan_inside: float = 60.0
    """The same scan from a pod, which has less of the machine."""

    matrix: float = 150.0
    """All pods of the isolation matrix having started, tried everybody and ended; a busy node starts pods late."""

    freed: float = 2.0
    """The place of a client that hung up being free: the model server looks for its clients once a second."""

    renewal: float = 90.0
    """From asking cert-manager for a renewal to the new certificate being served: ACME order, challenge, SDS push."""

    reaction: float = 10.0
    """An API object of ours having its effect: a policy being enforced, a status being written."""

    prober: float = 60.0
    """The probe pods becoming ready: their image is on every node already, but a busy node starts pods late."""

    eviction: float = 180.0
    """A pod that fills its folder being evicted: the kubelet looks at sizes that are up to a minute old."""

    telemetry: float = 60.0
    """One question to the stores of metrics, logs and traces: an hour of logs is some MiB."""

    scrape: float = 75.0
    """A target that has just come being known, scraped and judged: two rounds of 30 s, and a little."""

    logged: float = 30.0
    """A line being in the store from when it was written: read, joined, sent in batches, made visible."""

    traced: float = 30.0
    """A span being in the store from when its request ended."""

    label_studio_answer: float = 60.0
    """One answer of Label Studio's: an import or a sync is answered when all is in."""

    label_studio_start: float = 600.0
    """Label Studio answering again after its pod was killed: its start takes half a minute of a core, twice."""
    server: float = 600.0
    """Somebody's notebook server being ready or gone: pod, volume, a Python of many packages, on a busy machine."""

    notebook: float = 240.0
    """A whole example notebook, a kernel's start and large imports included."""

    snippet: float = 600.0
    """A block of a page on the machine or in a pod: the first `invoke backup` of a machine builds its tool."""
    workflow: float = 300.0
    """A workflow of a few steps being over: each is a pod with three containers, and a busy node starts pods late."""

    annotations_written: float = 60.0
    """Label Studio having written some dozens of annotations to a bucket; it does so as each is made."""

    training: float = 600.0
    """A workflow that trains a small model and registers it: two pods whose imports take a busy machine a minute."""

    poll: float = 0.25
    """Between two looks at something we wait for."""

    api: float = 20.0
    """One call of the Kubernetes API."""


TIMEOUTS: Final = Timeouts()
