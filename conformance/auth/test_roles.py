"""Who may go where: every host, for everybody who could ask."""

from betelgeuse.tree import Host, gates
from conformance.auth.refusal import fault
from conformance.probes.http import Request
from conformance.probes.oidc import told
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.verdict import require

_LOOP = 6
"""More redirects than a login takes."""


def test_anonymous_stays_outside(site: Site, guarded_host: Host) -> None:
    """Nobody in particular is refused at the door of every guarded host."""
    door = guarded_host.door
    request = Request(guarded_host.name, door.path, door.method or "GET")

    answer = site.send(request)

    require(
        not fault(site, guarded_host, request, answer),
        where=f"https://{guarded_host}{door.path}",
        want=f"the refusal of a {guarded_host.gate} gate",
        got=answer,
        reproduce=site.curl(request),
    )


def test_right_caller_comes_in(site: Site, guarded_host: Host) -> None:
    """Whoever has the right credential is let in: the refusals elsewhere are about the credential."""
    door = guarded_host.door
    request = Request(guarded_host.name, door.path, door.method or "GET", site.credentials(guarded_host))

    answer = site.send(request)

    require(
        # Other faults of the application (404, 503) are for the routing checks: here it is about who calls.
        request.secret and answer.status not in {0, 302, 401, 403},
        where=f"{request.method} https://{guarded_host}{door.path}",
        want="to be let in",
        got=answer if request.secret else "there is no credential for this host",
        reproduce=site.curl(request),
    )


def test_outsider_is_told_so(site: Site, login_host: Host) -> None:
    """Somebody with an account but in none of the groups gets 403 behind the login: no page, and no loop."""
    person = site.identity.shared_person()

    _, trail = site.identity.logged_in(login_host, person)

    last = trail[-1]
    require(
        last.host == login_host.name and last.answer.status == 403 and len(trail) <= _LOOP,
        where=f"https://{login_host}, a person without a group",
        want=f"403 by {login_host} after at most {_LOOP} steps",
        got=told(trail),
        reproduce=f"a browser at https://{login_host}{login_host.door.path}, as a user without groups",
    )


def test_every_group_that_may_comes_in(site: Site, login_host: Host) -> None:
    """Members of every group that the policy names are let in; a group it does not name does not help."""
    groups = {group for host in site.tree.behind(gates.LOGIN) for group in host.gate.groups}
    for group in sorted(groups):
        person = site.identity.shared_person(group)

        _, trail = site.identity.logged_in(login_host, person)

        wanted = 200 if group in login_host.gate.groups else 403
        require(
            trail[-1].host == login_host.name and trail[-1].answer.status == wanted,
            where=f"https://{login_host}, a member of {group}",
            want=str(wanted),
            got=told(trail),
            reproduce=f"a browser at https://{login_host}{login_host.door.path}, as a member of {group}",
        )


def test_token_for_another_api_is_refused(site: Site, token_host: Host) -> None:
    """A genuine token of a program that may call another API only is refused: 401 or 403."""
    identity = site.identity
    others = [host.gate.audiences[0] for host in site.tree.behind(gates.TOKEN) if host.name != token_host.name]
    # A declared program for the other API alone, where there is one: else one that is made for this question.
    for audience in others or ["nobody"]:
        client = identity.client_for(audience, without=token_host.gate.audiences[0])
        if client is None:
            machine = identity.machine(*others)
            text = identity.granted(machine.name, machine.secret)
        else:
            text = identity.granted(client.id, identity.client_secret(client))
        headers = (("Authorization", Secret(f"Bearer {text}", "Bearer $TOKEN_FOR_ANOTHER_API")),)
        for match in token_host.matches:
            request = Request(token_host.name, match.path, match.method or "GET", headers)

            answer = site.send(request)

            require(
                answer.status in {401, 403},
                where=f"{request.method} https://{token_host}{match.path}, a token for {audience}",
                want="401 or 403",
                got=answer,
                reproduce=site.curl(request),
            )


def test_session_of_a_page_opens_no_other_host(site: Site, login_host: Host) -> None:
    """The cookies of a session at one host open no other host: each has a session, or a token, of its own."""
    cookies = site.credentials(login_host)
    for other in site.tree.hosts:
        if other.name == login_host.name or other.gate.kind == gates.PUBLIC:
            continue
        request = Request(other.name, other.door.path, other.door.method or "GET", cookies)

        answer = site.send(request)

        require(
            not fault(site, other, request, answer),
            where=f"https://{other}{other.door.path}, with the cookies of {login_host}",
            want=f"the refusal of a {other.gate} gate",
            got=answer,
            reproduce=site.curl(request),
        )
