"""Beside an Envoy proxy: starts it anew when a listener waits for a certificate that never comes.

Envoy can miss a secret it asked its control plane for (https://github.com/envoyproxy/envoy/issues/47309). After 15 s it
opens the listener without it, resets every connection to that host from then on, and says that it is ready. Its admin
interface, which only this pod can reach, lists such secrets as warming. Told to quit, it is started again by the
kubelet and asks for everything anew.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from serving import begin

PERIOD: Final = 2.0
PATIENCE: Final = 20.0
"""Seconds a secret may be on its way: Envoy itself gives up after 15."""
LONGEST: Final = 640.0
_ADMIN: Final = ("127.0.0.1", 19000)
_SECONDS: Final = 5.0
_OK: Final = 200
_LOG: Final = logging.getLogger("certificate_watch")


class AdminError(Exception):
    """The proxy's admin interface does not answer as expected; it may be starting."""


def admin(method: str, path: str) -> bytes:
    """Ask the proxy beside us."""
    connection = HTTPConnection(*_ADMIN, timeout=_SECONDS)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as error:
        raise AdminError(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if response.status != _OK:
        message = f"{path}: {response.status}"
        raise AdminError(message)
    return body


def warming(dump: Mapping[str, Any]) -> set[str]:
    """Return the names of the secrets that a dump of warming secrets shows as asked for and not had."""
    return {str(entry.get("name")) for entry in dump.get("configs") or ()}


class Watch:
    """Since when each secret is missing, and how long is too long: twice as long after each start that did not help."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._since: dict[str, float] = {}
        self._well_since: float | None = None
        self.patience = PATIENCE

    def starved(self, missing: set[str], now: float) -> set[str]:
        """Return what is missing for too long, given what is missing now."""
        self._since = {name: self._since.get(name, now) for name in missing}
        if missing:
            self._well_since = None
        elif self._well_since is None:
            self._well_since = now
        elif now - self._well_since >= self.patience:
            self.patience = PATIENCE
        return {name for name, since in self._since.items() if now - since >= self.patience}

    def restarted(self) -> None:
        """Note that the proxy begins anew."""
        self._since, self._well_since = {}, None
        self.patience = min(self.patience * 2, LONGEST)


def look(watch: Watch, ask: Callable[[str, str], bytes], now: float) -> set[str]:
    """Look once; return the secrets for which the proxy was told to quit, empty when it was left alone."""
    missing = warming(json.loads(ask("GET", "/config_dump?resource=dynamic_warming_secrets")))
    starved = watch.starved(missing, now)
    if starved:
        ask("POST", "/quitquitquit")
        watch.restarted()
    return starved


def main() -> None:
    """Watch until told to stop."""
    begin(logging.INFO)
    watch = Watch()
    while True:
        time.sleep(PERIOD)
        try:
            starved = look(watch, admin, time.monotonic())
        except (AdminError, ValueError) as error:
            _LOG.info("the proxy's admin interface does not answer: %s", error)
            continue
        if starved:
            _LOG.warning("started the proxy anew: it waits for %s in vain", ", ".join(sorted(starved)))


if __name__ == "__main__":
    main()
