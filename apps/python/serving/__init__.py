"""What our own services share around their work: a server with bounds, and an end when they are told."""

import logging
import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def _end(_: int, __: FrameType | None) -> None:
    sys.exit(0)


def begin(level: int = logging.WARNING) -> None:
    """Log to standard error from `level` on, and end on SIGTERM: the first process of a container ignores it."""
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _end)


def serve(application: Application, threads: int, body: int = 16384) -> None:
    """Run waitress on port 8080: headers may carry tokens or cookies, a body has at most so many bytes.

    What is answered is counted, and told on a port of its own.
    """
    from waitress import serve as run  # noqa: PLC0415 - in the image; what uses this module is tested without it

    from serving.metrics import counted, tell  # noqa: PLC0415 - a program that serves nothing needs no library for it

    # A request that waits for a moment is everyday life, and no warning.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)

    tell()
    run(
        counted(application),
        host="0.0.0.0",  # noqa: S104 - a pod has one address, and the network policy says who may ask
        port=8080,
        threads=threads,
        # No Server header.
        ident="",
        max_request_header_size=65536,
        max_request_body_size=body,
        # In memory: the root is read-only.
        inbuf_overflow=body + 1,
        channel_timeout=60,
        clear_untrusted_proxy_headers=True,
    )
