"""Public names for clients that resolve names themselves: this machine need not know the platform's."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from conformance.site import Site


@contextmanager
def resolved(site: Site, name: str) -> Iterator[None]:
    """Have a name resolve to the gateway's first address, as public DNS would do it."""
    known = socket.getaddrinfo

    def look(host: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the function that it stands for
        return known(site.addresses[0] if host == name else host, *arguments, **named)

    with mock.patch("socket.getaddrinfo", look):
        yield
