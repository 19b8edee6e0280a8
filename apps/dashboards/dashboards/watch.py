"""The sidecar: it keeps a server's folder as the cluster's ConfigMaps want it, and says how that goes."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from serving.cluster import ClusterError, listed

from .catalogue import LABEL, Catalogue, catalogue
from .folder import bring

CONFIGMAPS: Final = f"/api/v1/configmaps?labelSelector={quote(f'{LABEL}=true', safe='')}"
SECONDS: Final = 15.0
_log: Final = logging.getLogger("dashboards")


class Watch:
    """What was found last, and when."""

    def __init__(
        self,
        folder: Path,
        render: Callable[[Catalogue], Mapping[str, str]],
        ask: Callable[[str], list[dict[str, Any]]] = listed,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`ask` raises ClusterError when it cannot answer."""
        self._folder, self._render, self._ask, self._clock = folder, render, ask, clock
        self._rendered = self._invalid = 0
        self._when = 0.0
        self._mistakes: Mapping[str, tuple[str, ...]] = {}

    @property
    def ready(self) -> bool:
        """Whether the folder has been brought about once."""
        return self._when > 0

    def look(self) -> None:
        """Bring the folder to what the cluster says now; where it does not answer, the folder stays as it is."""
        try:
            found = catalogue(self._ask(CONFIGMAPS))
        except ClusterError as error:
            _log.warning("the folder stays as it is: %s", error)
            return
        for path in bring(self._folder, self._render(found)):
            _log.info("%s changed", path)
        if found.mistakes != self._mistakes:
            # Once, not with every look.
            for where, mistakes in found.mistakes.items():
                for mistake in mistakes:
                    _log.error("ConfigMap %s: %s", where, mistake)
        self._mistakes = found.mistakes
        self._rendered, self._invalid, self._when = len(found.dashboards), len(found.mistakes), self._clock()

    def metrics(self) -> str:
        """Return what Prometheus reads."""
        said = (
            ("dashboards_rendered", "Dashboards that are served.", str(self._rendered)),
            ("dashboards_invalid", "ConfigMaps that describe no dashboard; the log says why.", str(self._invalid)),
            ("dashboards_last_success_timestamp_seconds", "When the cluster was last asked.", f"{self._when:.3f}"),
        )
        return "".join(f"# HELP {name} {what}\n# TYPE {name} gauge\n{name} {value}\n" for name, what, value in said)


def handler(watch: Watch) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests: metrics, and whether there is something to show."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "dashboards"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            """Answer the two paths there are."""
            if self.path == "/metrics":
                self._say(200, watch.metrics())
            elif self.path == "/ready":
                self._say(200 if watch.ready else 503, "ready\n" if watch.ready else "not yet\n")
            else:
                self._say(404, "no such path\n")

        def _say(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet: probes and scrapes are no news."""

    return Handler


def run(folder: Path, render: Callable[[Catalogue], Mapping[str, str]], port: int) -> None:
    """Look again and again until told to stop."""
    watch = Watch(folder, render)
    server = ThreadingHTTPServer(("", port), handler(watch))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        watch.look()
        time.sleep(SECONDS)
