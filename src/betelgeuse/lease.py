"""One writer at a time in a cluster, from whatever machine: a Lease beside the inventory, renewed while it works.

The lock of this machine (`lock`) says nothing to another. As everywhere, a holder that was killed is known by what is
seen of it, never by comparing two machines' clocks: a Lease that nobody renews for its time is free.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from betelgeuse import inventory
from betelgeuse.claim import LEASE, LIFE, RENEW, holder, now, said
from betelgeuse.errors import BetelgeuseError, LockedError
from betelgeuse.kube import ApiError, Kube, Obj
from betelgeuse.progress import Ticker, say

_MANAGER: Final = "betelgeuse-claim"
_PROCESS: Final = "betelgeuse.io/process"
_POLL: Final = 0.5
_CONFLICT: Final = 409
_LOST: Final = frozenset({404, _CONFLICT})


def _process() -> str:
    """Return which process we are, for others on this machine: boot, PID namespace, PID."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()} {os.getpid()}"


def _dead(lease: Obj) -> bool:
    """Whether the holder was a process of this machine that is gone: no reason to wait for its Lease to run out."""
    told = str((lease["metadata"].get("annotations") or {}).get(_PROCESS, ""))
    place, _, pid = told.rpartition(" ")
    return place == _process().rpartition(" ")[0] and not Path(f"/proc/{pid}").exists()


def _lease(known: Obj | None = None) -> Obj:
    meta: Obj = {"name": inventory.LEASE_NAME, "namespace": inventory.NAMESPACE}
    meta["annotations"] = {_PROCESS: _process()}
    if known is not None:
        # The API server then refuses to write over what somebody else wrote meanwhile.
        meta["resourceVersion"] = known["metadata"]["resourceVersion"]
    spec = {"holderIdentity": holder(), "acquireTime": now(), "renewTime": now(), "leaseDurationSeconds": round(LIFE)}
    return {"apiVersion": LEASE, "kind": "Lease", "metadata": meta, "spec": spec}


class Held:
    """A Lease that is ours."""

    def __init__(self, kube: Kube, lease: Obj) -> None:
        """Renew it from now on."""
        self.kube = kube
        self.lease = lease
        self.lost = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def _write(self, spec: Obj) -> None:
        fresh = {**self.lease, "spec": {**self.lease["spec"], **spec}}
        self.lease = self.kube.replace(fresh, _MANAGER)

    def _keep(self) -> None:
        while not self._done.wait(RENEW):
            try:
                self._write({"renewTime": now()})
            except ApiError as error:
                if error.status in _LOST:
                    self.lost = "another deploy took this cluster over while this one did not answer"
                    return
            except BetelgeuseError:
                # Nobody answers at the moment; the next round tries again.
                continue

    def check(self) -> None:
        """Raise LockedError when the Lease is no longer ours."""
        if self.lost:
            message = f"{self.lost}: run this again"
            raise LockedError(message)

    def release(self) -> None:
        """Leave the Lease to whoever comes next."""
        self._done.set()
        self._thread.join()
        if not self.lost:
            # What cannot be given back runs out by itself.
            with suppress(BetelgeuseError):
                self._write({"holderIdentity": ""})


def _acquire(kube: Kube, env: str) -> Obj:
    """Take the Lease once nobody has it; LockedError as soon as its holder is seen to live."""
    seen: tuple[str, str] | None = None
    since = 0.0
    with Ticker(LIFE, "waiting for the cluster's lease") as ticker:
        while True:
            known = kube.get(LEASE, "Lease", inventory.LEASE_NAME, inventory.NAMESPACE)
            who, stamp = said(known)
            free = known is None or not known["spec"].get("holderIdentity") or _dead(known)
            if seen is not None and seen == (who, stamp) and time.monotonic() - since > LIFE:
                say(f"{who} is gone: its deploy is taken over")
                free = True
            if free:
                try:
                    return kube.create(_lease(), _MANAGER) if known is None else kube.replace(_lease(known), _MANAGER)
                except ApiError as error:
                    if error.status not in _LOST:
                        raise
                    # Somebody was quicker: the next look finds out who.
                    seen = None
                    continue
            if seen is not None and seen != (who, stamp):
                message = f"{who} deploys to {env} at this moment; wait for the end of that, then run this again"
                raise LockedError(message)
            if seen is None:
                seen, since = (who, stamp), time.monotonic()
            ticker.update(f"{who} holds it, without a sign of life for {time.monotonic() - since:.0f} s")
            time.sleep(_POLL)


@contextmanager
def held(kube: Kube, env: str) -> Iterator[Held]:
    """Be the only one who changes an environment's cluster; raise LockedError naming whoever does."""
    inventory.home(kube)
    lease = Held(kube, _acquire(kube, env))
    try:
        yield lease
    finally:
        lease.release()
