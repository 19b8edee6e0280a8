"""Whether the gateway really serves every host of the tree.

A proxy that is told of several new hosts within a second can lose one's certificate on the way: it then resets each
connection to that host, while its certificate, listener and route all say that they are ready, until it is started
anew (known upstream: https://github.com/envoyproxy/gateway/issues/9519). A watch beside each proxy does that
(apps/certificate-watch). Here we ask, as a client would, until every host is served.
"""

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from betelgeuse.errors import WaitTimeoutError
from betelgeuse.kube import Obj
from betelgeuse.progress import Ticker, say
from betelgeuse.tree.listeners import ANY_HOST, listeners

_PORT: Final = 443
_HANDSHAKE_SECONDS: Final = 5.0
_SERVED_SECONDS: Final = 120.0
"""Twice the time in which the watch beside a proxy finds a lost certificate and starts the proxy anew."""
STEADY_SECONDS: Final = 20.0
"""A proxy waits 15 s for a certificate before it goes on without it: what it serves after that, it keeps."""
_PAUSE: Final = 0.5
_THREADS: Final = 8
_SHOWN: Final = 2

Probe = Callable[[str, str], str]
"""(address, host) -> why no TLS connection comes about; empty when one does."""


def handshake(address: str, host: str) -> str:
    """Open a TLS connection as a client of that host; whose certificate it is, is for conformance to judge."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, _PORT), timeout=_HANDSHAKE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return ""
    except OSError as error:
        return str(error) or type(error).__name__


def _answers(address: str) -> bool:
    """Whether the address is within reach; a refusal is an answer: the gateway opens its port with its first host."""
    try:
        socket.create_connection((address, _PORT), timeout=_HANDSHAKE_SECONDS).close()
    except OSError as error:
        return isinstance(error, ConnectionError)
    return True


def _unserved(addresses: Sequence[str], hosts: Sequence[str], probe: Probe) -> list[tuple[str, str]]:
    """Return (address, what is not served there and why)."""
    pairs = [(address, host) for address in addresses for host in hosts]
    with ThreadPoolExecutor(_THREADS) as pool:
        reasons = pool.map(lambda pair: probe(*pair), pairs)
        return [
            (address, f"{host} at {address}: {why}") for (address, host), why in zip(pairs, reasons, strict=True) if why
        ]


def _told(left: Sequence[tuple[str, str]]) -> str:
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return "; ".join(text for _, text in left[:_SHOWN]) + more


def settle(objects: Sequence[Obj], addresses: Sequence[str], probe: Probe = handshake, *, steady: float = 0.0) -> None:
    """Wait until each host is served at each address that is within reach.

    With `steady`, hosts must stay served for so many seconds: say so after a change of listeners or certificates.
    Raises WaitTimeoutError with host, address and reason.
    """
    served = sorted({each.hostname for each in listeners(objects) if each.protocol == "HTTPS"} - {ANY_HOST})
    near = [address for address in addresses if _answers(address)]
    for address in addresses:
        if address not in near:
            say(f"{address}:{_PORT} does not answer from here: what the gateway serves there is not checked")
    with Ticker(_SERVED_SECONDS) as ticker:
        since = time.monotonic()
        while near:
            if left := _unserved(near, served, probe):
                since = time.monotonic()
                reason = f"the gateway does not serve {_told(left)}"
                if ticker.elapsed > _SERVED_SECONDS:
                    message = (
                        f"{reason}, after {_SERVED_SECONDS:.0f} s; see what its proxies log: "
                        "kubectl -n gateway logs daemonset/gateway --all-containers"
                    )
                    raise WaitTimeoutError(message)
                ticker.update(reason)
            elif time.monotonic() - since >= steady:
                return
            time.sleep(_PAUSE)
