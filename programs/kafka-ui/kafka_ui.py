# ruff: noqa: INP001 - a module of an image: the folder is on the path there
"""Serves kaskade to browsers: a process for each open page, and no more pages than there is memory for.

/ shows topics and consumer groups, /topics/NAME the messages of a topic.

Environment: PUBLIC_URL (https://…, what browsers call), PAGES (how many may be open). The account of Kafka's that it
shows things with lies in /account, as files host, port, user, password and ca.crt. HOME must be writable.
"""

import asyncio
import logging
import os
import sys
from copy import copy
from pathlib import Path
from typing import Final

import aiohttp_jinja2
import jinja2
from aiohttp import web
from kafka_lag import Lag
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest
from textual_serve.server import Server

PORT: Final = 8080
ACCOUNT: Final = Path("/account")
LONGEST: Final = 3600.0
"""Seconds a page is served: the gate asks who is there only when a page is opened."""
TOPIC: Final = "[A-Za-z0-9._-]{1,249}"
TEMPLATE: Final = "app_index.html"
FONT: Final = """    <link
      rel="stylesheet"
      href="https://fonts.googleapis.com/css?family=Roboto%20Mono"
    />
"""
"""In upstream's page. The font is among its own files too; nothing is fetched from elsewhere."""
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
FULL: Final = "As many pages are open as there may be. Close one, and load this page again.\n"

PAGES_OPEN: Final = Gauge("kafka_ui_pages_open", "Pages that are open.")
PAGES_LIMIT: Final = Gauge("kafka_ui_pages_limit", "Pages that may be open.")


def page(text: str) -> str:
    """Return upstream's page without what it fetches from elsewhere; ValueError when that is not there any more."""
    if text.count(FONT) != 1:
        message = "the page of textual-serve has another link to its font than this program knows"
        raise ValueError(message)
    return text.replace(FONT, "")


def client_file(account: Path) -> str:
    """Return kaskade's configuration: the account, and not its name or password on a command line."""
    host, port, user, password = ((account / key).read_text("utf-8") for key in ("host", "port", "user", "password"))
    lines = {
        "bootstrap.servers": f"{host}:{port}",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(account / "ca.crt"),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
    }
    return "[kafka]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


class Limited(Server):
    """A server that opens no more pages than it may, and only for its own pages."""

    def __init__(self, public_url: str, pages: int, client: Path) -> None:
        """`pages` may be open at a time; `client` is kaskade's configuration."""
        self._kaskade = f"{sys.executable} -m kaskade.main"
        self._client, self._pages, self._open = client, pages, 0
        command = f"{self._kaskade} admin --config-file {client} --refresh-interval 10"
        super().__init__(command, host="0.0.0.0", port=PORT, title="Kafka", public_url=public_url)  # noqa: S104 - a pod

    def initialize_logging(self) -> None:
        """Log lines, not drawings for a terminal."""
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing: upstream draws a banner."""

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        text = page((self.templates_path / TEMPLATE).read_text("utf-8"))
        aiohttp_jinja2.setup(app, loader=jinja2.DictLoader({TEMPLATE: text}), autoescape=True)
        app.on_response_prepare.append(_with_headers)
        app.router.add_get("/healthz", _healthy)
        app.router.add_get("/metrics", self.handle_metrics)
        app.router.add_get(f"/topics/{{topic:{TOPIC}}}", self.handle_index)
        app.router.add_get(f"/topics/{{topic:{TOPIC}}}/ws", self.handle_websocket)
        return app

    def _refuse_when_full(self) -> None:
        if self._open >= self._pages:
            raise web.HTTPServiceUnavailable(text=FULL, headers={"Retry-After": "60"})

    async def handle_metrics(self, _: web.Request) -> web.Response:
        """Tell Prometheus how many pages are open, and how far consumers are behind."""
        PAGES_OPEN.set(self._open)
        PAGES_LIMIT.set(self._pages)
        body = await asyncio.to_thread(generate_latest)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def handle_index(self, request: web.Request) -> web.Response:
        """Serve a page, unless its terminal would find no place."""
        self._refuse_when_full()
        socket = f"wss:{self.public_url.removeprefix('https:')}{request.path.rstrip('/')}/ws"
        known = {
            "font_size": 16,
            "app_websocket_url": socket,
            "config": {"static": {"url": "/static/"}},
            "application": {"name": self.title},
        }
        return aiohttp_jinja2.render_template(TEMPLATE, request, known)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run kaskade for one page: the topics, or the messages of one."""
        # A page of another host of this domain comes with the same cookies.
        if request.headers.get("Origin") != self.public_url:
            raise web.HTTPForbidden(text="only from this host's own pages\n")
        self._refuse_when_full()
        served = copy(self)
        if topic := request.match_info.get("topic"):
            # What a topic's name may hold is nothing to a shell.
            shown = f"--topic {topic} --earliest --key string --value string"
            served.command = f"{self._kaskade} consumer --config-file {self._client} {shown}"
        self._open += 1
        try:
            async with asyncio.timeout(LONGEST):
                return await Server.handle_websocket(served, request)
        finally:
            self._open -= 1


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def main() -> None:
    """Serve until told to stop."""
    file = Path.home() / "client.ini"
    file.touch(0o600)
    file.write_text(client_file(ACCOUNT), "utf-8")
    REGISTRY.register(Lag(ACCOUNT))
    asyncio.set_event_loop(asyncio.new_event_loop())
    Limited(os.environ["PUBLIC_URL"], int(os.environ["PAGES"]), file).serve()


if __name__ == "__main__":
    main()
