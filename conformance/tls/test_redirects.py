"""Plain HTTP leads to HTTPS, and HTTPS tells browsers to stay."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from betelgeuse.tree import Host, TlsName
from conformance.probes.http import Request
from conformance.site import Site
from conformance.verdict import require

_YEAR = 31_536_000


@dataclass(frozen=True)
class Case:
    """A path as sent, and the path that Location must end with."""

    id: str
    path: str


CASES: Sequence[Case] = (
    Case("root", "/"),
    Case("path-and-query", "/v1/models?a=b&c=%2F"),
    # A path with two slashes must not become a Location that leads to another host.
    Case("double-slash", "//evil.example/x"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_http_redirects_to_https(site: Site, host: Host, case: Case) -> None:
    """Plain HTTP is answered 308 with exactly the same address under https."""
    request = Request(host.name, case.path, tls=False)

    answer = site.send(request)

    # The gateway may merge slashes (//x is /x to it), but the host of the Location is ours to the letter.
    wanted = {f"https://{host.name}{case.path}", f"https://{host.name}{re.sub('/+', '/', case.path)}"}
    require(
        answer.status == 308 and answer.header("location") in wanted,
        where=f"http://{host}{case.path}",
        want=f"308 to https://{host}{case.path}",
        got=f"{answer.status} to {answer.header('location')} {answer.error}",
        reproduce=site.curl(request),
    )


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_redirect_keeps_the_method(site: Site, host: Host, method: str) -> None:
    """A request of any method gets the redirect that keeps method and body (308), never the application."""
    request = Request(host.name, "/v1/x", method=method, tls=False)

    answer = site.send(request)

    require(
        answer.status == 308,
        where=f"{method} http://{host}/v1/x",
        want="308",
        got=answer,
        reproduce=site.curl(request),
    )


def test_https_sends_hsts(site: Site, tls_name: TlsName) -> None:
    """Every https answer, even a refusal, tells browsers to use https for a year."""
    request = Request(tls_name.name, "/")

    answer = site.send(request)

    policy = answer.header("strict-transport-security") or ""
    age = re.search(r"max-age=(\d+)", policy)
    require(
        age and int(age[1]) >= _YEAR and "includesubdomains" in policy.lower(),
        where=f"https://{tls_name}/ (status {answer.status})",
        want=f"Strict-Transport-Security: max-age={_YEAR}; includeSubDomains",
        got=policy or f"no such header {answer.error}",
        reproduce=site.curl(request),
    )
