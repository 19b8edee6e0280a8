"""What the API server writes down of a request, by the policy that the embedded cluster gives it."""

import base64
import json
import time
from pathlib import Path
from typing import Any

from betelgeuse.kube import Kube

VALUE = "what-nobody-may-read-in-a-log"
SECONDS = 20.0


def records(controlplane: Path, name: str) -> list[dict[str, Any]]:
    """Return what has been written down of objects with that name."""
    lines = (controlplane.parent / "apiserver.log").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{") and '"audit.k8s.io/v1"' in line]
    return [record for record in found if record.get("objectRef", {}).get("name") == name]


def told(controlplane: Path, name: str) -> list[dict[str, Any]]:
    """Return them once there are any."""
    deadline = time.monotonic() + SECONDS
    while not (found := records(controlplane, name)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_secrets_are_told_of_without_what_is_in_them(kube: Kube, controlplane: Path) -> None:
    """Who made it, and how that ended; neither the value nor its encoding is anywhere in the log."""
    meta = {"name": "audited", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"password": VALUE}}
    kube.server_side_apply(secret, "test")
    kube.delete(secret)

    (record, *_) = told(controlplane, "audited")
    log = (controlplane.parent / "apiserver.log").read_text()
    assert record["user"]["username"] == "admin"
    assert record["level"] == "Metadata"
    assert record["responseStatus"]["code"] in {200, 201}
    assert VALUE not in log
    assert base64.b64encode(VALUE.encode()).decode() not in log


def test_signs_of_life_are_not_told(kube: Kube, controlplane: Path) -> None:
    """A lease is written every few seconds by everything that runs."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "beat", "namespace": "default"},
    }
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after-the-beat", "namespace": "default"}}
    kube.server_side_apply(lease, "test")
    kube.server_side_apply(plain, "test")

    # In the order in which they came: when the second is told, the first would be.
    assert told(controlplane, "after-the-beat")
    assert not records(controlplane, "beat")
    kube.delete(lease)
    kube.delete(plain)
