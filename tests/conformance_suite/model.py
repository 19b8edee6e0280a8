"""A model of the platform's edge in this process: good by default, and breakable fault by fault.

A fault is a word; the table in test_sensitivity.py says which promises each must turn red, and that it turns no other.
"""

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from conformance.inside import ADDRESS, FORWARDED, IDENTITY
from conformance.probes.inside import saw
from tests.conformance_suite import checks, gate
from tests.conformance_suite.gate import Gate, cookies_of, portal_page
from tests.conformance_suite.idp import DOMAIN, Idp, Page
from tests.conformance_suite.models import EmbeddingModel, LanguageModel, Reply, serve
from tests.conformance_suite.pki import Authority
from tests.conformance_suite.wire import Incoming, Reader, RefusedRequestError

APPS = ("embeddings", "llm")
HOSTS = ("auth", *APPS, "portal", "vault")
ROUTES = {
    "llm": {("POST", "/v1/chat/completions"), ("GET", "/v1/models")},
    "embeddings": {("POST", "/v1/embeddings"), ("GET", "/v1/models")},
}
HSTS = "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"


@dataclass
class Edge:
    """Two listening sockets that behave as the gateway should."""

    folder: Path
    faults: set[str] = field(default_factory=set)
    authority: Authority = field(default_factory=Authority)

    def __post_init__(self) -> None:
        """Make the certificates and listen."""
        self.llm = LanguageModel(self.faults)
        self.embeddings = EmbeddingModel(self.faults)
        self.stored: dict[str, bytes] = {}
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.default = self.context("default", DOMAIN)
        for host in HOSTS:
            self.issue(host)
        self.idp = Idp(self.faults)
        self.gate = Gate(self.faults, self.idp)
        self.sockets: list[socket.socket] = []
        self.https = self._listen(self._tls)
        self.http = self._listen(self._plain)
        self.back = self._listen(self._inside)
        """Where a port-forward leads: to Keycloak, and to the models' metrics."""

    def issue(self, app: str) -> None:
        """Make a certificate for an application and serve it."""
        self.contexts[app] = self.context(app, f"{app}.{DOMAIN}")

    def renew(self, app: str) -> None:
        """Do what cert-manager and the gateway do when a renewal is asked for."""
        if "renewal-outage" in self.faults:
            self.faults.add("no-app")
            threading.Timer(0.15, self.faults.discard, ("no-app",)).start()
        if "renewal-without-redirect" in self.faults:
            self.faults.add("redirect-301")
            threading.Timer(0.15, self.faults.discard, ("redirect-301",)).start()
        if "renewal-never" not in self.faults:
            self.issue(app)

    def context(self, label: str, name: str) -> ssl.SSLContext:
        """Return the TLS side of one listener, with the fault that concerns it."""
        names: tuple[str, ...] = (name,)
        days, authority = (-1, 90), self.authority
        if label == "llm":
            days = (-90, -1) if "expired" in self.faults else days
            authority = Authority("Stranger") if "self-signed" in self.faults else authority
            names = ("other.model.test",) if "wrong-name" in self.faults else names
        if "wildcard" in self.faults:
            names = (DOMAIN, f"*.{DOMAIN}")
        certificate, key = authority.issue(*names, days=days)
        self.stored[label] = certificate
        path = self.folder / f"{label}.pem"
        path.write_bytes(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        # Versions are the first context's business: OpenSSL keeps them when the name chooses another.
        if "tls1.0" in self.faults:
            context.set_ciphers("ECDHE+AESGCM:ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # old on purpose
                context.minimum_version = ssl.TLSVersion.TLSv1
        if "weak-ciphers" in self.faults and label == "llm":
            context.set_ciphers("ECDHE+AESGCM:AES128-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0")
        if "no-tls1.3" in self.faults:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        label = (name or "").partition(".")[0]
        known = label in HOSTS and name == f"{label}.{DOMAIN}"
        if "app-certificate-for-all" in self.faults and not known:
            known, label = True, "llm"
        if known:
            connection.context = self.contexts[label]
        # Where the application code finds it again: Python's TLS objects do not tell the name.
        self.names[threading.get_ident()] = name or ""

    names: dict[int, str] = field(default_factory=dict)

    def _listen(self, serve_one: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.sockets.append(listener)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=self._guarded, args=(serve_one, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    @staticmethod
    def _guarded(serve_one: Callable[[socket.socket], None], connection: socket.socket) -> None:
        # A client that hangs up, or is refused in its handshake, is everyday life here.
        with connection, suppress(OSError, ValueError):
            connection.settimeout(20)
            serve_one(connection)

    def close(self) -> None:
        """Stop listening."""
        for listener in self.sockets:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _tls(self, connection: socket.socket) -> None:
        self.names[threading.get_ident()] = ""
        with self.default.wrap_socket(connection, server_side=True) as secured:
            self._talk(secured, self.names[threading.get_ident()])

    def _plain(self, connection: socket.socket) -> None:
        self._talk(connection, None)

    def _inside(self, connection: socket.socket) -> None:
        reader = Reader(connection, set())
        while True:
            request = reader.next()
            if request.target != "/metrics":
                _show(connection, self._keycloak(request, inside=True))
            elif "no-metrics" in self.faults:
                _show(connection, Page(404, b"not found"))
            else:
                _show(connection, Page(200, b"# TYPE llamacpp:tokens_predicted_total counter"))

    @contextmanager
    def forward(self, namespace: str, pod: str, port: int) -> Iterator[str]:
        """Stand where kubectl's port-forward stands."""
        assert (namespace, pod) == ("auth", "keycloak-0") or namespace == "ai"
        assert port == 8080
        yield f"http://127.0.0.1:{self.back}"

    def _keycloak(self, request: Incoming, *, inside: bool) -> Page:
        headers = {name.lower(): value for name, value in request.headers}
        if not inside:
            headers["x-forwarded-for"] = self._whence(request)
        cookies = cookies_of(request)
        return self.idp.answer(request.method, request.target, headers, cookies, request.body, inside=inside)

    def _whence(self, request: Incoming) -> str:
        """Return what the gateway tells of where a request comes from."""
        said = request.header("x-forwarded-for")
        return f"{said}, 127.0.0.1" if said and "forged-address" in self.faults else "127.0.0.1"

    def _talk(self, connection: socket.socket, sni: str | None) -> None:
        reader = Reader(connection, self.faults)
        while True:
            try:
                request = reader.next()
            except RefusedRequestError as refusal:
                _write(connection, (refusal.status, "text/plain", b"refused"), "")
                return
            if sni is None:
                self._redirect(connection, request)
            else:
                hsts = "" if "no-hsts" in self.faults else HSTS
                answer = self._answer(request, sni)
                if isinstance(answer, Page):
                    _show(connection, answer, hsts, head=request.method == "HEAD")
                else:
                    _write(connection, answer, hsts, head=request.method == "HEAD")
            if request.header("connection").lower() != "keep-alive" and "smuggling" not in self.faults:
                return

    def _echo(self, connection: socket.socket, request: Incoming) -> None:
        """Answer as the prober behind the gateway would, with the headers that the gateway lets through."""
        shown = f"{saw(FORWARDED)}: {self._whence(request)}\r\n"
        for name, value in request.headers:
            if name in {FORWARDED, *ADDRESS} and (name == FORWARDED or "addresses-pass" not in self.faults):
                continue
            dashed = "_" not in name
            identity = name.lower().replace("_", "-") in {known.lower() for known in IDENTITY}
            spoofed = "identity-headers" in self.faults or (not dashed and "underscores-pass" in self.faults)
            if not identity or spoofed:
                shown += f"{saw(name)}: {value}\r\n"
        _write(connection, (200, "text/plain", b"echo"), shown)

    def _redirect(self, connection: socket.socket, request: Incoming) -> None:
        if request.header("host").startswith("echo."):
            self._echo(connection, request)
            return
        status = 301 if "redirect-301" in self.faults else 308
        path = request.target.partition("?")[0] if "redirect-loses-query" in self.faults else request.target
        host = "" if "open-redirect" in self.faults and path.startswith("//") else f"https://{request.header('host')}"
        _write(connection, (status, "text/plain", b""), f"Location: {host}{path}\r\n")

    def _answer(self, request: Incoming, sni: str) -> Reply | Page:
        host, target = request.header("host"), request.target
        if target.startswith("http"):
            host, _, target = target.partition("://")[2].partition("/")
            target = f"/{target}"
        path = target.partition("?")[0]
        app = host.partition(".")[0]
        known = app in HOSTS and host == f"{app}.{DOMAIN}"
        if "default-app" in self.faults and not known:
            known, app = True, "llm"
        # One listener per name: what arrives under another name has no route there.
        if not known or (sni != host and not self.faults & {"cross-host", "default-app"}):
            return 404, "text/plain", b"no such host"
        if "route-removed" in self.faults and app == "llm":
            return 404, "text/plain", b"no such host"
        if "normalises-after-gate" in self.faults and path != "/v1/models" and path.endswith("/v1/models"):
            return self._application(app, "/v1/models", request)
        if app not in APPS:
            return self._page(app, path, request)
        if {"keycloak-down", "tokens-need-keycloak"} <= self.faults:
            return Page(401, b"who are you?")
        refusal = None if self._open(app, request) else self.gate.api(app, request)
        return refusal or self._application(app, path, request)

    def _open(self, app: str, request: Incoming) -> bool:
        """Whether nobody asks: a fault has taken the gate away."""
        if "no-auth" in self.faults:
            return True
        if "health-checker-passes" in self.faults and request.header("user-agent").startswith("GoogleHC"):
            return True
        return "post-unguarded" in self.faults and request.method == "POST" and app == "llm"

    def _page(self, app: str, path: str, request: Incoming) -> Page:  # noqa: PLR0911 - one line per case
        """Answer for the hosts that people open in a browser."""
        if "no-app" in self.faults:
            return Page(503, b"no healthy upstream")
        if "keycloak-down" in self.faults and (app == "auth" or "sessions-need-keycloak" in self.faults):
            return _unavailable(ugly="ugly-page" in self.faults)
        if app == "auth":
            outside = not path.startswith(("/realms/betelgeuse", "/admin/realms/betelgeuse"))
            if outside and not ("master-at-edge" in self.faults and path.startswith("/realms/master")):
                return Page(404, b"not found")
            return self._keycloak(request, inside=False)
        if app == "vault":
            return self._vault(path, request)
        if path not in {"/", "/style.css", "/metrics", "/oauth2/callback", "/oauth2/logout"}:
            return Page(404, b"not found")
        if "websocket-open" in self.faults and request.header("upgrade"):
            return Page(101)
        refusal = None if "no-oidc" in self.faults else self.gate.portal(request)
        if refusal is not None and refusal.status != 200:
            return refusal
        if path == "/metrics":
            return Page(404, b"no such page")
        shown = portal_page([f"{host}.{DOMAIN}" for host in HOSTS], self.faults)
        return Page(200, shown.body, headers=refusal.headers if refusal else [])

    def _vault(self, path: str, request: Incoming) -> Page:
        """Answer for the page behind a password."""
        if path != "/":
            return Page(404, b"not found")
        known = request.header("authorization") == f"Basic {gate.PASSWORD}" or "any-password" in self.faults
        asks = [("WWW-Authenticate", 'Basic realm="vault"')]
        return Page(200, b"secrets") if known else Page(401, headers=asks)

    def _application(self, app: str, path: str, request: Incoming) -> Reply | Page:
        if "metrics-public" in self.faults and path == "/metrics":
            return 200, "text/plain", b"# TYPE secret counter"
        if "unknown-path-200" in self.faults and path.startswith("/nobody-"):
            return 200, "text/html", b"<html>the same page for every path</html>"
        method = "GET" if request.method == "HEAD" and "head-404" not in self.faults else request.method
        known = (method, path) in ROUTES[app]
        down = "no-app" in self.faults or ("app-down" in self.faults and app == "llm")
        if known and down and len(request.body) <= checks.BODY:
            return gate.refused(503, "unavailable")
        refusal = checks.refusal(app, method, path, request.body, known=known, faults=self.faults)
        return refusal or self._model(app, path, method, request.body)

    def _model(self, app: str, path: str, method: str, body: bytes) -> Reply | Page:
        model = self.llm if app == "llm" else self.embeddings
        serving = checks.mistaken if "unchecked" in self.faults else serve
        reply = serving(model, f"model-{app}", path, method, body) or (404, "text/plain", b"not found")
        admitted = self.llm.admitted(reply) if app == "llm" else reply
        wait = [] if "llm-overload-silent" in self.faults else [("Retry-After", "2")]
        kind = "unavailable" if "one-word" in self.faults else "overloaded"
        return admitted or gate.refused(503, kind, *wait)


def _unavailable(*, ugly: bool) -> Page:
    """Return what strangers see while Keycloak is away."""
    if ugly:
        return Page(503, b"java.net.ConnectException at org.example, upstream 10.0.0.1")
    words = b"<title>Sign-in is not available</title><p>Please try again in a minute."
    return Page(503, words, headers=[("Retry-After", "30")])


def _show(connection: socket.socket, page: Page, headers: str = "", *, head: bool = False) -> None:
    text = "".join(f"{name}: {value}\r\n" for name, value in page.headers)
    _write(connection, (page.status, page.kind, page.body), headers + text, head=head)


def _write(connection: socket.socket, reply: Reply, headers: str, *, head: bool = False) -> None:
    status, kind, body = reply
    text = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{headers}"
    if isinstance(body, bytes):
        connection.sendall(f"{text}Content-Length: {len(body)}\r\n\r\n".encode() + (b"" if head else body))
        return
    connection.sendall(f"{text}Transfer-Encoding: chunked\r\n\r\n".encode())
    for piece in body:
        connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    connection.sendall(b"0\r\n\r\n")
