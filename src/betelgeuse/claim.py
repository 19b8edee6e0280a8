"""One run at a time in a cluster: a namespace of its own, made and removed by the run, kept by a Lease meanwhile.

A run that was killed cannot renew its Lease: the next one waits until it has seen no renewal for the Lease's time and
removes what is left. It compares what it sees with what it saw, never two machines' clocks.
"""

import getpass
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from betelgeuse import deletion
from betelgeuse.errors import BetelgeuseError, LockedError, RefusedError, WaitTimeoutError
from betelgeuse.kube import ApiError, Kube, Obj, UnreachableError
from betelgeuse.progress import Ticker, say

LEASE: Final = "coordination.k8s.io/v1"
_MANAGER: Final = "betelgeuse-claim"
LIFE: Final = 20.0
"""Seconds without a renewal after which a run counts as dead."""
RENEW: Final = 4.0
_POLL: Final = 1.0
_GONE_SECONDS: Final = 120.0
"""For a namespace to go: pods get their time to end, and a node may be slow to say so."""
_CONFLICT: Final = 409
_TAKEN: Final = frozenset({404, _CONFLICT, 422})
"""Answers to a renewal when the Lease is gone, or is that of another run (its UID cannot be ours)."""


def holder() -> str:
    """Return who we are, for people on other machines."""
    user = str(os.getuid())
    # An account without a name is an account too.
    with suppress(KeyError, OSError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()} (pid {os.getpid()})"


def now() -> str:
    """Return the time as a Lease wants it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def said(lease: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return (who, time of the last renewal) of a Lease that may not be there yet."""
    spec = (lease or {}).get("spec") or {}
    return str(spec.get("holderIdentity") or "somebody"), str(spec.get("renewTime") or "")


@dataclass
class Claim:
    """What a run holds."""

    kube: Kube
    namespace: Obj
    lease: Obj
    renewed: float

    def keep(self) -> None:
        """Renew the claim when that is due; BetelgeuseError when it is no longer ours."""
        if time.monotonic() - self.renewed < RENEW:
            return
        name = self.namespace["metadata"]["name"]
        path = f"/apis/{LEASE}/namespaces/{name}/leases/{name}"
        body = {"metadata": {"uid": self.lease["metadata"]["uid"]}, "spec": {"renewTime": now()}}
        try:
            self.kube.request("PATCH", path, body=body, content_type="application/merge-patch+json")
        except UnreachableError:
            # The next look tries again.
            return
        except ApiError as error:
            if error.status in _TAKEN:
                message = f"namespace {name} is no longer this run's: it was deleted, or another run took it"
                raise BetelgeuseError(message) from None
            return
        self.renewed = time.monotonic()

    def release(self) -> None:
        """Remove the namespace with all that is in it, unless it is another run's by now; a failure is only told."""
        name, uid = self.namespace["metadata"]["name"], self.namespace["metadata"]["uid"]
        try:
            self.kube.delete(self.namespace, uid=uid)
            with Ticker(_GONE_SECONDS, f"removing namespace {name}") as ticker:
                while (left := self.kube.get("v1", "Namespace", name)) and left["metadata"]["uid"] == uid:
                    if ticker.elapsed > _GONE_SECONDS:
                        say(f"namespace {name} is not gone after {_GONE_SECONDS:.0f} s: it {deletion.reason(left)}")
                        return
                    ticker.update(f"it {deletion.reason(left)}")
                    time.sleep(_POLL)
        except BetelgeuseError as error:
            if not (isinstance(error, ApiError) and error.status == _CONFLICT):
                say(f"namespace {name} is left behind ({error}); the next run removes it")


class _Former:
    """Watches a run that holds the namespace, to tell whether it lives."""

    def __init__(self) -> None:
        self._seen: tuple[str, str] | None = None
        self._since = 0.0

    def look(self, kube: Kube, left: Obj, env: str) -> str:
        """Return what we wait for; remove what a dead run left; LockedError where it lives."""
        name, uid = left["metadata"]["name"], left["metadata"]["uid"]
        if left["metadata"].get("deletionTimestamp"):
            self._seen = None
            return f"it {deletion.reason(left)}"
        who, stamp = said(kube.get(LEASE, "Lease", name, name))
        if self._seen not in {None, (uid, stamp)}:
            message = f"a run of {who} is going on in {env} (namespace {name}); wait for its end, or end it there"
            raise LockedError(message)
        if self._seen is None:
            self._seen, self._since = (uid, stamp), time.monotonic()
        quiet = time.monotonic() - self._since
        if quiet < LIFE:
            return f"{who} holds it, without a sign of life for {quiet:.0f} s"
        say(f"{who} is gone: what its run left in namespace {name} is removed")
        try:
            kube.delete(left, uid=uid)
        except ApiError as error:
            # Somebody else removed it and made it anew: the next look finds out who.
            if error.status != _CONFLICT:
                raise
        return "it is being removed"


def _acquire(kube: Kube, namespace: Obj, label: str, env: str) -> Obj:
    """Create the namespace once no other run has it; creating is what only one can do."""
    name, former = namespace["metadata"]["name"], _Former()
    with Ticker(_GONE_SECONDS, f"waiting for namespace {name}") as ticker:
        while True:
            try:
                return kube.create(namespace, _MANAGER)
            except ApiError as error:
                if error.status != _CONFLICT:
                    raise
            left = kube.get("v1", "Namespace", name)
            if left is None:
                continue
            if label not in (left["metadata"].get("labels") or {}):
                message = f"namespace {name} of {env} is not ours (it has no label {label}); remove or rename it first"
                raise RefusedError(message)
            reason = former.look(kube, left, env)
            if ticker.elapsed > _GONE_SECONDS:
                message = f"namespace {name} is not free after {_GONE_SECONDS:.0f} s: {reason}"
                raise WaitTimeoutError(message)
            ticker.update(reason)
            time.sleep(_POLL)


@contextmanager
def claimed(kube: Kube, namespace: Obj, label: str, env: str) -> Iterator[Claim]:
    """Hold a namespace, made now and removed at the end; `label` marks those that may be removed.

    Raises LockedError naming the holder while another run has it.
    """
    made = {**namespace, **_acquire(kube, namespace, label, env)}
    claim = Claim(kube, made, {}, time.monotonic())
    try:
        name = made["metadata"]["name"]
        times = {"acquireTime": now(), "renewTime": now(), "leaseDurationSeconds": round(LIFE)}
        meta, spec = {"name": name, "namespace": name}, {"holderIdentity": holder(), **times}
        lease = {"apiVersion": LEASE, "kind": "Lease", "metadata": meta, "spec": spec}
        claim.lease = kube.create(lease, _MANAGER)
        yield claim
    finally:
        claim.release()
