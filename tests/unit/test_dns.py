"""`invoke dns`: the zone of a made-up tree, what differs from it, and what cannot be printed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import dns, nodecount, paths, servers, settings
from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj
from betelgeuse.servers import Role, Server
from betelgeuse.settings import Settings
from betelgeuse.tree import Tree
from betelgeuse.workflows.dns import show
from tests.unit.fakes import obj

DOMAIN = "example.org"
CHOSEN = Settings(env="own", domain=DOMAIN)
GATEWAY_API = "gateway.networking.k8s.io/v1"
KEY = f"SHA256:{'a' * 43}"
SERVERS = (
    Server("one", "203.0.113.7", KEY),
    Server("two", "203.0.113.10", KEY, role=Role.WORKER),
    Server("three", "203.0.113.9", KEY, role=Role.CONTROL_PLANE),
)


def _set(name: str, **listener: Any) -> Obj:  # noqa: ANN401 - fields of a listener
    spec = {"listeners": [{"name": "it", **listener}]}
    return obj(GATEWAY_API, "ListenerSet", name, "apps", spec=spec)


TREE = [
    obj(
        GATEWAY_API,
        "Gateway",
        "gateway",
        "gateway",
        spec={
            "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80},
                {
                    "name": "https",
                    "protocol": "HTTPS",
                    "port": 443,
                    "tls": {"certificateRefs": [{"name": "default-tls"}]},
                },
            ]
        },
    ),
    _set("llm", protocol="HTTPS", port=443, hostname=f"llm.{DOMAIN}"),
    _set("auth", protocol="HTTPS", port=443, hostname=f"auth.{DOMAIN}"),
    _set("inside", protocol="HTTPS", port=443, hostname="inside.apps.svc.cluster.local"),
    _set("alike", protocol="HTTPS", port=443, hostname=f"not{DOMAIN}"),
    _set("kafka", protocol="TLS", port=9094, hostname=f"kafka.{DOMAIN}"),
    _set("postgres", protocol="TCP", port=5432),
    obj(
        "cert-manager.io/v1",
        "Certificate",
        "postgres",
        "apps",
        spec={"secretName": "postgres-tls", "dnsNames": [f"postgres.{DOMAIN}", "pg-rw.apps.svc"]},
    ),
    obj(GATEWAY_API, "HTTPRoute", "llm-redirect", "apps", spec={"hostnames": [f"llm.{DOMAIN}"]}),
]
NAMES = (f"auth.{DOMAIN}", DOMAIN, f"kafka.{DOMAIN}", f"llm.{DOMAIN}", f"postgres.{DOMAIN}")
ZONE = """\
; example.org: where each host is that the platform serves. `invoke dns` writes this.
; SOA and NS records are not here, because the DNS provider owns them.
$ORIGIN example.org.
$TTL 300
@         IN  A     203.0.113.7
@         IN  A     203.0.113.10
@         IN  AAAA  2001:db8::7
auth      IN  A     203.0.113.7
auth      IN  A     203.0.113.10
auth      IN  AAAA  2001:db8::7
kafka     IN  A     203.0.113.7
kafka     IN  A     203.0.113.10
kafka     IN  AAAA  2001:db8::7
llm       IN  A     203.0.113.7
llm       IN  A     203.0.113.10
llm       IN  AAAA  2001:db8::7
postgres  IN  A     203.0.113.7
postgres  IN  A     203.0.113.10
postgres  IN  AAAA  2001:db8::7
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what deploys have remembered on this machine out of it."""
    monkeypatch.setattr(paths, "STATE", tmp_path)


def test_each_host_is_named_once_and_nothing_else() -> None:
    """Pages, logins, brokers, databases by their port, the bare domain; no name of the cluster's own or of others."""
    assert dns.hosts(Tree(TREE, DOMAIN)) == NAMES


def test_the_zone_is_what_a_provider_imports() -> None:
    """A and AAAA of each host, relative to the domain, without the provider's own records."""
    assert dns.zone(DOMAIN, NAMES, ["203.0.113.10", "2001:db8::7", "203.0.113.7"]) == ZONE


def test_the_zone_does_not_depend_on_the_order_of_what_it_is_told() -> None:
    """So a difference between two of them is a difference of the platform."""
    addresses = ["2001:DB8::7", "203.0.113.7", "203.0.113.10", "203.0.113.7"]

    assert dns.zone(DOMAIN, [*reversed(NAMES), NAMES[0]], addresses) == ZONE


def test_a_name_deep_below_the_domain_is_relative_to_it() -> None:
    """And one that ends like it by chance is no part of it."""
    text = dns.zone("a.test", ["a.b.a.test"], ["203.0.113.7"])

    assert text.splitlines()[-1] == "a.b  IN  A     203.0.113.7"


def test_names_lead_to_the_servers_that_run_a_proxy() -> None:
    """A control plane alone runs none."""
    assert dns.gateways(CHOSEN, SERVERS) == ("203.0.113.7", "203.0.113.10")


def test_what_the_environment_says_of_its_gateway_comes_first() -> None:
    """A load balancer, or IPv6 addresses, of which servers.yaml knows nothing."""
    said = replace(CHOSEN, gateway_addresses=("2001:db8::7",))

    assert dns.gateways(said, SERVERS) == ("2001:db8::7",)


def test_a_server_that_joined_since_the_last_deploy_counts() -> None:
    """What a deploy kept is no word of the environment's."""
    nodecount.remember_addresses(CHOSEN.env, ["203.0.113.7"])
    kept = replace(CHOSEN, gateway_addresses=("203.0.113.7",))

    assert dns.gateways(kept, SERVERS) == ("203.0.113.7", "203.0.113.10")
    assert dns.gateways(kept, ()) == ("203.0.113.7",)


ANSWERS = {
    "none.example.org": [],
    "all.example.org": ["203.0.113.10", "203.0.113.7"],
    "part.example.org": ["203.0.113.10"],
    "old.example.org": ["203.0.113.7", "198.51.100.1"],
    "six.example.org": ["2001:db8:0::7"],
}
WANTED = ("203.0.113.7", "203.0.113.10", "2001:db8::7")


def test_a_host_without_an_answer_is_found() -> None:
    """It alone."""
    assert dns.unanswered(ANSWERS) == ("none.example.org",)


def test_a_host_that_leads_elsewhere_is_found() -> None:
    """Also where another of its addresses is right: half of its clients would be lost."""
    assert dns.elsewhere(ANSWERS, WANTED) == ("old.example.org",)
    assert dns.elsewhere(ANSWERS, WANTED[:2]) == ("old.example.org", "six.example.org")


def test_a_host_that_leads_to_a_part_is_found() -> None:
    """Neither one that leads to all of it, nor one that leads nowhere."""
    assert dns.partly(ANSWERS, WANTED[:2]) == ("part.example.org",)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each environment the made-up tree, and the settings of one that says nothing of addresses."""
    monkeypatch.setattr("betelgeuse.workflows.dns.tree", lambda _env, _profile: TREE)
    monkeypatch.setattr(settings, "load", lambda _: CHOSEN)


@pytest.mark.usefixtures("rendered")
def test_standard_output_is_the_zone_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """So it can be sent to a file that is imported."""
    monkeypatch.setattr(servers, "load", lambda _: SERVERS[:1])
    show("own")

    assert capsys.readouterr().out == dns.zone(DOMAIN, NAMES, ["203.0.113.7"])


@pytest.mark.usefixtures("rendered")
def test_without_an_address_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says where to write one; a zone without records would empty the real one."""
    with pytest.raises(UsageError, match=r"^overlays/own: no address .*servers\.yaml.*GATEWAY_ADDRESSES") as caught:
        show("own")

    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_an_unknown_environment_is_refused() -> None:
    """With what it may have meant, as by every verb."""
    with pytest.raises(UsageError, match=r"unknown environment 'hetzer'; did you mean 'hetzner'\?"):
        show("hetzer")
