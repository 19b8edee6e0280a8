"""How the doctor compares what a resolver answers with the records that `invoke dns` prints."""

import pytest

from betelgeuse import overlays
from betelgeuse.doctor.model import Check, Context, Finding, Status
from betelgeuse.doctor.names import CHECKS, PUBLIC
from betelgeuse.errors import UsageError
from betelgeuse.profiles import Profile
from betelgeuse.servers import Server
from betelgeuse.settings import Settings
from tests.unit.fakes import obj
from tests.unit.machines import FakeMachine

DOMAIN = "example.org"
NAMES = [f"{word}.{DOMAIN}" for word in ("auth", "chat", "data", "llm", "portal")]
TREE = [obj("gateway.networking.k8s.io/v1", "HTTPRoute", "all", "n", spec={"hostnames": NAMES})]
SERVERS = tuple(Server(f"s{last}", f"203.0.113.{last}", f"SHA256:{'a' * 43}") for last in (7, 8))
BOTH = [server.address for server in SERVERS]
THERE, HERE = CHECKS
MAKER = "../../components/external-dns"


@pytest.fixture(autouse=True)
def _tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every environment five hosts, and components that need no name."""
    monkeypatch.setattr("betelgeuse.render.render", lambda _env, _profile: TREE)
    monkeypatch.setattr(overlays, "components", lambda _: set())


def _look(check: Check, names: dict[str, list[str]], servers: tuple[Server, ...] = SERVERS) -> Finding:
    machine = FakeMachine(addresses=BOTH, names=names)
    return check.look(Context(Settings(env="own", domain=DOMAIN), machine, Profile("core", ()), servers=servers))


def test_all_is_well_where_every_host_leads_to_every_server() -> None:
    """And both checks say of how many hosts."""
    assert _look(THERE, {}) == Finding(Status.OK, "5 names have an address")
    assert _look(HERE, {}) == Finding(Status.OK, "5 names lead to 203.0.113.7, 203.0.113.8")


def test_hosts_without_an_answer_are_named() -> None:
    """The first of many by name; a host that leads elsewhere is the other check's."""
    found = _look(THERE, {**{name: [] for name in NAMES[:4]}, NAMES[4]: ["198.51.100.1"]})

    assert found.text == f"4 of 5 names have no address: {', '.join(NAMES[:3])} and 1 more"


def test_a_host_that_leads_elsewhere_is_told_with_what_was_wanted() -> None:
    """A host without an answer leads nowhere, which the other check tells."""
    found = _look(HERE, {NAMES[0]: ["198.51.100.1", "203.0.113.7"], NAMES[1]: []})

    assert found.text == f"{NAMES[0]}: got 198.51.100.1, 203.0.113.7, wanted 203.0.113.7, 203.0.113.8"


def test_a_host_that_leads_to_one_server_of_two_is_told_and_no_fault() -> None:
    """It works while that server does; a hosts file has one line for a name."""
    found = _look(HERE, {NAMES[3]: BOTH[1:], NAMES[1]: []})

    assert found.status is Status.OK
    assert found.text == f"4 names lead to 203.0.113.7, 203.0.113.8; to a part of them alone: {NAMES[3]}"


@pytest.mark.parametrize(
    ("listed", "status", "fix"),
    [
        (set(), Status.WARN, "invoke dns --env=own prints the records, for your DNS provider to import"),
        ({PUBLIC}, Status.FAIL, "invoke dns --env=own prints the records, for your DNS provider to import"),
        ({PUBLIC, MAKER}, Status.WARN, "components/external-dns makes them once it runs"),
    ],
    ids=["own-authority", "public-authority", "external-dns"],
)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_only_certificates_that_need_names_make_it_a_fault(
    monkeypatch: pytest.MonkeyPatch, check: Check, listed: set[str], status: Status, fix: str
) -> None:
    """Elsewhere a hosts file does; where the cluster makes the records, they come with the first deploy."""
    monkeypatch.setattr(overlays, "components", lambda _: listed)
    found = _look(check, {NAMES[0]: [], NAMES[1]: ["198.51.100.1"]})

    assert (found.status, found.fix.startswith(fix)) == (status, True), found


def test_nothing_is_compared_with_nothing() -> None:
    """Where nobody says at which addresses the gateway is, the check of the environment has told."""
    assert _look(HERE, {}, servers=()).status is Status.SKIP


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_tree_that_cannot_be_rendered_is_no_fault_of_names(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    """On a new machine, other projects' manifests come with the first deploy."""

    def broken(_env: str, _profile: str) -> None:
        message = "overlays/own: no such\nfolder"
        raise UsageError(message)

    monkeypatch.setattr("betelgeuse.render.render", broken)

    assert _look(check, {}) == Finding(
        Status.SKIP, "the tree, which names the hosts, is not to be had: overlays/own: no such folder"
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_no_deploy_waits_for_a_resolver(check: Check) -> None:
    """Records may come after the first deploy, and a resolver that is away costs seconds for each host."""
    assert not check.quick


def test_the_overlays_of_the_tree_name_the_components_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grade hangs on how an overlay spells them."""
    monkeypatch.undo()

    assert PUBLIC in overlays.components("hetzner")
