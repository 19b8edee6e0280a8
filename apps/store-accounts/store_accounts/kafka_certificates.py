"""Kafka's certificates: it reads a renewed one when it is told to, and keeps its connections.

Telling is to set the place of a key file to what it is already. So a server that shows a certificate in the last third
of its life, when cert-manager has renewed it, is told again and again, until it shows the new one.
"""

import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from .model import Keys

_SECONDS: Final = 15.0
_SHARE: Final = 1 / 3
"""The part of a certificate's life that is left when it is renewed, as the Certificates of base/broker/kafka say."""
_FILES: Final = {
    "listener.name.client.ssl.keystore.location": "/tls/server/keystore.p12",
    "listener.name.external.ssl.keystore.location": "/tls/server/keystore.p12",
    "listener.name.internal.ssl.keystore.location": "/tls/internal/keystore.p12",
}
"""As config/server.properties has them."""


def _due(host: str, port: int, context: ssl.SSLContext) -> bool:
    """Whether the certificate that a server shows should have been replaced."""
    with (
        socket.create_connection((host, port), _SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        shown = secured.getpeercert() or {}
    begin, end = (ssl.cert_time_to_seconds(str(shown[name])) for name in ("notBefore", "notAfter"))
    return time.time() > end - (end - begin) * _SHARE


def _own(admin: Keys) -> ssl.SSLContext:
    """Return how the administrator connects."""
    context = ssl.create_default_context(cadata=admin["ca.crt"])
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(admin["tls.key"] + admin["tls.crt"])
        file.flush()
        context.load_cert_chain(file.name)
    return context


def renew(client: AdminClient, admin: Keys) -> Iterator[str]:
    """Tell the servers whose certificates are due to read their files again; yield whom."""
    clients = ssl.create_default_context(cadata=admin["client-ca.crt"])
    known: Any = client.list_topics(timeout=_SECONDS).brokers
    for server in known.values():
        own = _due(server.host, server.port, _own(admin))
        if not own and not _due(server.host, int(admin["client-port"]), clients):
            continue
        entries = [
            ConfigEntry(name, file, incremental_operation=AlterConfigOpType.SET) for name, file in _FILES.items()
        ]
        change = ConfigResource(ResourceType.BROKER, str(server.id), incremental_configs=entries)
        for future in client.incremental_alter_configs([change]).values():
            future.result(_SECONDS)
        yield f"server {server.id} read its certificates again"
