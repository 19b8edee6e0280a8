"""No guarded application answers a caller who does not show its credential, in any way of asking."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import pytest

from betelgeuse.tree import Host, gates
from conformance.auth.refusal import routed_ways, sweep
from conformance.probes.http import Header, Request
from conformance.site import Site, random_label
from conformance.verdict import require

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO")
PATHS: Final = (
    "/",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/health",
    "/metrics",
    "/api/status",
    "/static/app.js",
    "/favicon.ico",
)
_WEBSOCKET: Final = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "x" * 22 + "=="),
)
DISGUISES: Final[Mapping[str, tuple[Header, ...]]] = {
    "empty-bearer": (("Authorization", "Bearer "),),
    "bearer-null": (("Authorization", "Bearer null"),),
    "wrong-bearer": (("Authorization", "Bearer 0123456789abcdef0123456789abcdef"),),
    "basic": (("Authorization", "Basic YWRtaW46YWRtaW4="),),
    "basic-empty": (("Authorization", "Basic Og=="),),
    "api-key": (("X-Api-Key", "0123456789abcdef0123456789abcdef"),),
    "health-checker": (("User-Agent", "GoogleHC/1.0"),),
    "kube-probe": (("User-Agent", "kube-probe/1.37"),),
    "load-balancer": (("User-Agent", "ELB-HealthChecker/2.0"),),
    "identity-headers": (
        ("X-Auth-Request-User", "admin"),
        ("X-Forwarded-User", "admin"),
        ("X-Forwarded-Groups", "platform-admins"),
        ("X-WEBAUTH-USER", "admin"),
        ("Remote-User", "admin"),
        ("X-Client-Id", "api-client"),
    ),
    "underscored-identity": (("X_Auth_Request_User", "admin"), ("REMOTE_USER", "admin"), ("x_client_id", "api-client")),
    "inside-address": (("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")),
    "inside-host": (("X-Forwarded-Host", "localhost"), ("X-Forwarded-Port", "80"), ("X-Forwarded-Prefix", "/health")),
    "rewritten-path": (("X-Original-URL", "/healthz"), ("X-Rewrite-URL", "/healthz")),
    "method-override": (("X-HTTP-Method-Override", "OPTIONS"), ("X-Method-Override", "OPTIONS")),
    "oauth-headers": (("X-Envoy-Internal", "true"), ("X-Envoy-Original-Path", "/healthz")),
    "websocket": _WEBSOCKET,
    "cors-preflight": (("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")),
    "cookies-of-nobody": (("Cookie", "AccessToken=a; IdToken=b; OauthHMAC=c; OauthExpires=9999999999; session=admin"),),
}
DRESSED_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST")
"""A disguise may work for one method only: `health-checker` did for GET in a proxy near you."""


def _every_way(host: Host) -> Iterator[Request]:
    for path in sorted({*PATHS, f"/{random_label()}", *(match.path for match in host.matches)}):
        for method in METHODS:
            yield Request(host.name, path, method)


def _dressed(host: Host, headers: tuple[Header, ...]) -> Iterator[Request]:
    for request in routed_ways(host):
        yield replace(request, headers=headers)
    for method in DRESSED_METHODS:
        yield Request(host.name, host.door.path, method, headers)


def test_every_path_and_method_is_refused(site: Site, guarded_host: Host) -> None:
    """Without a credential every path and every method of a guarded host is refused."""
    sweep(site, guarded_host, _every_way(guarded_host))


@pytest.mark.parametrize("disguise", sorted(DISGUISES))
def test_anonymous_is_refused(site: Site, guarded_host: Host, disguise: str) -> None:
    """Without a credential a guarded host refuses, however the caller dresses."""
    sweep(site, guarded_host, _dressed(guarded_host, DISGUISES[disguise]))


def test_upgrade_is_refused(site: Site, guarded_host: Host) -> None:
    """Without a credential no connection is upgraded to a WebSocket, on no path."""
    paths = sorted({"/", "/ws", "/socket.io/", "/api/kernels", *(match.path for match in guarded_host.matches)})
    requests = [Request(guarded_host.name, path, headers=_WEBSOCKET) for path in paths]

    answers = site.sweep(requests)

    opened = [request for request, answer in zip(requests, answers, strict=True) if answer.status in {0, 101, 200}]
    require(
        not opened,
        where=str(guarded_host),
        want="a refusal before any 101",
        got=[f"{request.path}: {answer}" for request, answer in zip(requests, answers, strict=True)],
        reproduce=site.curl(opened[0] if opened else requests[0]),
    )


@pytest.mark.feature("tokens")
def test_origin_is_not_echoed(site: Site, token_host: Host) -> None:
    """A foreign web page is not told that it may read the answers (CORS)."""
    headers = (*site.credentials(token_host), ("Origin", "https://evil.example"))
    request = Request(token_host.name, token_host.door.path, headers=headers)

    answer = site.send(request)

    allowed = answer.header("access-control-allow-origin") or ""
    require(
        # Without an origin that may read, the word about credentials gives nobody anything.
        not allowed or ("evil.example" not in allowed and answer.header("access-control-allow-credentials") != "true"),
        where=f"https://{token_host}{request.path}",
        want="no Access-Control-Allow-Origin for a stranger",
        got=f"{allowed}, credentials {answer.header('access-control-allow-credentials')}",
        reproduce=site.curl(request),
    )


@pytest.mark.feature("password")
def test_wrong_password_is_refused(site: Site) -> None:
    """At a password gate a wrong name, a wrong password and a right one that is bent open nothing."""
    words = ("YWRtaW46", "YWRtaW46YWRtaW4=", "OmFkbWlu", "cm9vdDpyb290", "//79", "YWRtaW4=")
    for host in site.tree.behind(gates.PASSWORD):
        sweep(site, host, (Request(host.name, "/", headers=(("Authorization", f"Basic {word}"),)) for word in words))
        request = Request(host.name, host.door.path, headers=site.credentials(host))

        answer = site.send(request)

        require(
            request.secret and answer.status not in {0, 401, 403},
            where=f"https://{host}{host.door.path}",
            want="to be let in with the password from the Secret",
            got=answer,
            reproduce=site.curl(request),
        )
