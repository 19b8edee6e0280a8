"""No guarded application answers a caller who does not show its credential, in any way of asking."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import pytest

from conformance.parallel import gather
from conformance.probes.http import Answer, Header, Request
from conformance.secrecy import Secret
from conformance.site import Site, random_label
from conformance.tree import Host
from conformance.verdict import require, require_none

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO")
PATHS: Final = ("/", "/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/health", "/metrics")
_REFUSED: Final = frozenset({400, 401, 403, 404, 405, 501})
"""404 and 405 come from the gateway for what no route takes: the application has not seen it either."""

Disguise = Callable[[Site, Host], tuple[Header, ...]]


def _basic(site: Site, host: Host) -> tuple[Header, ...]:
    del site, host
    return (("Authorization", "Basic YWRtaW46YWRtaW4="),)


def _other_hosts_key(site: Site, host: Host) -> tuple[Header, ...]:
    other = next(other for other in site.tree.hosts if other.keys and other.name != host.name)
    return site.credentials(other)


def _headers(*pairs: tuple[str, str]) -> Disguise:
    return lambda _site, _host: pairs


def _key_but_longer(site: Site, host: Host) -> tuple[Header, ...]:
    return _bent(site, host, lambda key: f"{key}0")


def _key_but_shorter(site: Site, host: Host) -> tuple[Header, ...]:
    return _bent(site, host, lambda key: key[:-1])


def _key_last_character(site: Site, host: Host) -> tuple[Header, ...]:
    return _bent(site, host, lambda key: key[:-1] + ("1" if key.endswith("0") else "0"))


def _bent(site: Site, host: Host, bend: Callable[[str], str]) -> tuple[Header, ...]:
    """Return the host's own credential, bent."""
    ((header, value),) = site.credentials(host)
    assert isinstance(value, Secret)
    return ((header, Secret(bend(value.reveal()), f"{value.shell}(bent)")),)


ANONYMOUS: Final[Mapping[str, Disguise]] = {
    "empty-bearer": _headers(("Authorization", "Bearer ")),
    "bearer-null": _headers(("Authorization", "Bearer null")),
    "wrong-bearer": _headers(("Authorization", "Bearer 0123456789abcdef0123456789abcdef")),
    "basic": _basic,
    "health-checker": _headers(("User-Agent", "GoogleHC/1.0")),
    "kube-probe": _headers(("User-Agent", "kube-probe/1.37")),
    "identity-headers": _headers(
        ("X-Auth-Request-User", "admin"),
        ("X-Forwarded-User", "admin"),
        ("X-WEBAUTH-USER", "admin"),
        ("Remote-User", "admin"),
    ),
    "inside-address": _headers(
        ("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")
    ),
    "rewritten-path": _headers(("X-Original-URL", "/healthz"), ("X-Rewrite-URL", "/healthz")),
    "method-override": _headers(("X-HTTP-Method-Override", "OPTIONS")),
    "websocket": _headers(
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x" * 22 + "=="),
    ),
    "cors-preflight": _headers(("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")),
}
KEYED: Final[Mapping[str, Disguise]] = {
    "key-longer": _key_but_longer,
    "key-shorter": _key_but_shorter,
    "key-last-character": _key_last_character,
}


def _every_way(host: Host) -> Iterator[Request]:
    for path in sorted({*PATHS, f"/{random_label()}", *(match.path for match in host.matches)}):
        for method in METHODS:
            yield Request(host.name, path, method)


def _routed_ways(host: Host) -> Iterator[Request]:
    """Yield what a route takes, and the root: enough where only the credential differs."""
    yield Request(host.name, "/")
    for match in host.matches:
        yield Request(host.name, match.path, match.method or "GET")


def _is_routed(site: Site, host: Host) -> bool:
    """Whether the gateway leads to the host at all: where it does not, that is for the routing checks to say."""
    door = Request(host.name, host.door.path, host.door.method or "GET", site.credentials(host))
    return site.once(("routed", host.name), lambda: site.send(door).status != 404)


def _fault(site: Site, host: Host, request: Request, answer: Answer) -> str:
    """Return what is wrong with an answer to somebody unknown: routed requests are 401, others refused in any way."""
    path = request.path.partition("?")[0]
    routed = any(
        (match.path == path or (not match.exact and path.startswith(match.path)))
        and match.method in {"", request.method}
        for match in host.matches
    )
    # A gateway that upgrades no connection may say so (403) before it asks who calls.
    upgrades = any(name.lower() == "upgrade" for name, _ in request.headers)
    strict = routed and not upgrades and request.method not in {"TRACE", "FOO"} and _is_routed(site, host)
    # Where a route takes no upgrades at all, that is refused before anyone asks who is there.
    upgrade = any(name == "Upgrade" for name, _ in request.headers)
    allowed = ({401, 403} if upgrade else {401}) if strict else _REFUSED
    return "" if answer.status in allowed else f"{request.method} {request.path}: {answer}"


def _sweep(site: Site, host: Host, requests: Iterable[Request]) -> None:
    asked = list(requests)

    answers = gather(site.send, asked)

    pairs = zip(asked, answers, strict=True)
    faults = [(request, fault) for request, answer in pairs if (fault := _fault(site, host, request, answer))]
    require_none(
        [fault for _, fault in faults],
        where=f"{host}: {len(faults)} of {len(asked)} ways of asking",
        want="401 for every routed path and method, a refusal for the others",
        reproduce=site.curl(faults[0][0]) if faults else "",
    )


def _dressed(host: Host, headers: tuple[Header, ...]) -> Iterator[Request]:
    return (replace(request, headers=headers) for request in _routed_ways(host))


def test_every_path_and_method_is_refused(site: Site, guarded_host: Host) -> None:
    """Without a credential every path and every method of a guarded host is refused."""
    _sweep(site, guarded_host, _every_way(guarded_host))


@pytest.mark.parametrize("disguise", sorted(ANONYMOUS))
def test_anonymous_is_refused(site: Site, guarded_host: Host, disguise: str) -> None:
    """Without a credential a guarded host refuses, however the caller dresses."""
    _sweep(site, guarded_host, _dressed(guarded_host, ANONYMOUS[disguise](site, guarded_host)))


@pytest.mark.feature("api-keys")
@pytest.mark.parametrize("disguise", sorted(KEYED))
def test_near_miss_is_refused(site: Site, keyed_host: Host, disguise: str) -> None:
    """A key that is almost right opens nothing."""
    _sweep(site, keyed_host, _dressed(keyed_host, KEYED[disguise](site, keyed_host)))


@pytest.mark.feature("two-guarded-hosts")
def test_key_of_another_host_is_refused(site: Site, keyed_host: Host) -> None:
    """One application's key does not open another."""
    _sweep(site, keyed_host, _dressed(keyed_host, _other_hosts_key(site, keyed_host)))


@pytest.mark.feature("api-keys")
def test_key_in_the_query_is_refused(site: Site, keyed_host: Host) -> None:
    """A key in the address, where logs would keep it, opens nothing."""
    # Not the real key: it must not appear in an access log because of us. A gate that reads the query would answer
    # "wrong key" or "right key"; which parameter names it reads is what the policy must not list.
    wrong = "0123456789abcdef0123456789abcdef"
    query = f"?api_key={wrong}&key={wrong}&access_token={wrong}&token={wrong}"
    _sweep(site, keyed_host, (replace(request, path=request.path + query) for request in _routed_ways(keyed_host)))

    for policy in site.tree.kind("SecurityPolicy"):
        place, name = policy["metadata"]["namespace"], policy["metadata"]["name"]
        sources = policy["spec"].get("apiKeyAuth", {}).get("extractFrom", [])
        readers = [source for source in sources if source.get("params") or source.get("cookies")]
        require(
            not readers,
            where=f"SecurityPolicy {place}/{name}",
            want="keys read from headers only",
            got=readers,
            reproduce=f"kubectl -n {place} get securitypolicy {name} -o yaml",
        )


@pytest.mark.feature("api-keys")
def test_right_key_is_admitted(site: Site, keyed_host: Host) -> None:
    """The right key opens its host: the refusals above are about the key."""
    door = keyed_host.door
    request = Request(keyed_host.name, door.path, door.method or "GET", site.credentials(keyed_host))

    answer = site.send(request)

    require(
        # Other faults of the application (404, 503) are for the routing checks: here it is about the key.
        request.secret and answer.status not in {0, 401, 403},
        where=f"{request.method} https://{keyed_host}{door.path}",
        want="to be let in with the key from the Secret",
        got=answer if request.secret else "no key in the Secret",
        reproduce=site.curl(request),
    )


@pytest.mark.feature("api-keys")
def test_origin_is_not_echoed(site: Site, keyed_host: Host) -> None:
    """A foreign web page is not told that it may read the answers (CORS)."""
    headers = (*site.credentials(keyed_host), ("Origin", "https://evil.example"))
    request = Request(keyed_host.name, keyed_host.door.path, headers=headers)

    answer = site.send(request)

    allowed = answer.header("access-control-allow-origin") or ""
    require(
        "evil.example" not in allowed and answer.header("access-control-allow-credentials") != "true",
        where=f"https://{keyed_host}{request.path}",
        want="no Access-Control-Allow-Origin for a stranger",
        got=f"{allowed}, credentials {answer.header('access-control-allow-credentials')}",
        reproduce=site.curl(request),
    )


def test_every_host_is_guarded_or_listed(site: Site, host: Host) -> None:
    """A host without a gate of its own is listed, with its reason, in exemptions.yaml."""
    require(
        host.keys or site.exemptions.public(host.label),
        where=str(host),
        want="a SecurityPolicy for its routes, or an entry under public_hosts in conformance/exemptions.yaml",
        got="neither",
        reproduce=f"kubectl -n {host.namespace} get securitypolicies",
    )
