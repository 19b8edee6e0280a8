"""Serve the portal on port 8080 until told to stop."""

import logging
import signal
import sys
from types import FrameType

from waitress import serve

from .app import Portal
from .cluster import Discovery


def _end(_: int, __: FrameType | None) -> None:
    """End the loop; as the first process of its container it would not die of the signal by itself."""
    sys.exit(0)


def main() -> None:
    """Run waitress with limits that fit a page of text: requests have no bodies, headers carry a session's cookies."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _end)
    serve(
        Portal(Discovery().services),
        host="0.0.0.0",  # noqa: S104 - a pod has one address, and the network policy says who may ask
        port=8080,
        threads=4,
        # No Server header.
        ident="",
        max_request_header_size=65536,
        max_request_body_size=16384,
        channel_timeout=60,
        clear_untrusted_proxy_headers=True,
    )


if __name__ == "__main__":
    main()
