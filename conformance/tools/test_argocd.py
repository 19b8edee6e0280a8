"""Argo CD: groups have their rights, a commit reaches the cluster, a hand's change is healed, a commit is undone."""

import base64
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import pytest

from betelgeuse.tree import Ref
from conformance import argocd
from conformance.argocd import HOST, LIST, Caller, Delivery
from conformance.codeflow import page_tokens
from conformance.probes.http import Header, Request
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("argocd")

_NOBODY: Final = "0123456789ABCDEF"
"""A key that nobody has."""
_ROLLED: Final = "/api/v1/applications/{}/rollback"
_PAGE: Final = (("Accept", "text/html"),)

MAY: Final[Mapping[str, Mapping[str, str]]] = {
    "platform-admins": {"applications/get": "yes", "applications/create": "yes", "projects/update": "yes"},
    "researchers": {"applications/get": "yes", "applications/create": "no", "projects/update": "no"},
    "annotators": {"applications/get": "no", "applications/create": "no", "projects/update": "no"},
    "": {"applications/get": "no", "applications/create": "no", "projects/update": "no"},
}
"""Group -> what its members are told that they may; the empty name is somebody in none."""


def test_page_is_there(site: Site) -> None:
    """Whoever opens the address in a browser gets a page: never the server's error about pages that were not built."""
    host = site.host(HOST)
    answers = {path: site.send(Request(host.name, path, headers=_PAGE)) for path in ("/", "/applications", "/login")}
    require_none(
        [f"{path}: {a}" for path, a in answers.items() if a.status != HTTPStatus.OK or "Argo CD" not in a.text],
        where=f"https://{host}/",
        want="200 and a page that says Argo CD",
        reproduce=f"curl -H 'Accept: text/html' https://{host}/",
    )


def test_nobody_is_refused(site: Site) -> None:
    """Without a login, and with tokens that are not for it, Argo CD answers 401 and tells nothing."""
    host = site.host(HOST)
    others = [each for each in site.tree.hosts if each.gate.client]
    foreign = page_tokens(site.identity, others[0])["id_token"] if others else ""
    unsigned = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"none"}', b"{}", b""))
    tokens = {"no token": "", "an unsigned token": unsigned, "a token of another client": foreign}
    faults = []
    for what, token in tokens.items():
        headers: tuple[Header, ...] = (("Authorization", Secret(f"Bearer {token}", what)),) if token else ()
        caller = Caller(site, headers)
        for method, path in (("GET", LIST), ("POST", LIST), ("GET", "/api/v1/projects"), ("GET", "/api/v1/clusters")):
            answer = caller.ask(method, path, {} if method == "POST" else None)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                faults.append(f"{method} {path} with {what}: {answer}")
    require_none(faults, where=f"https://{host}/api/", want="401", reproduce=f"curl https://{host}{LIST}")


def test_no_password_opens_it(site: Site) -> None:
    """There is no account of Argo CD's own: its `admin` cannot log in, whatever the password."""
    host = site.host(HOST)
    answer = Caller(site).ask("POST", "/api/v1/session", {"username": "admin", "password": "admin"})
    require(
        answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN},
        where=f"https://{host}/api/v1/session",
        want="401 or 403",
        got=answer,
        reproduce=f"argocd login {host} --username admin",
    )


@pytest.mark.parametrize("group", MAY, ids=lambda group: group or "outsider")
def test_groups_have_their_rights(site: Site, group: str) -> None:
    """Administrators change everything, researchers look, and whoever is in neither group may nothing."""
    host, caller = site.host(HOST), argocd.caller(site, group)
    said = caller.told("GET", "/api/v1/session/userinfo")
    faults = [] if said.get("loggedIn") else [f"not logged in: {said}"]
    for right, wanted in MAY[group].items():
        got = caller.told("GET", f"/api/v1/account/can-i/{right}/default/*").get("value")
        faults += [] if got == wanted else [f"{right}: {got}, want {wanted}"]
    if MAY[group]["applications/create"] == "no":
        # Not what it says that they may: what it does.
        body = argocd.application("conformance-refused", "default", "http://nowhere.invalid/x.git")
        answer = caller.ask("POST", f"{LIST}?validate=false", body)
        faults += [] if answer.status == HTTPStatus.FORBIDDEN else [f"creates an application: {answer}"]
    if MAY[group]["applications/get"] == "no":
        listed = caller.told("GET", LIST).get("items") or []
        faults += [f"sees {len(listed)} applications"] if listed else []
    require_none(
        faults,
        where=f"https://{host}/, as somebody of {group or 'no group'}",
        want="the rights of base/gitops/argocd/settings/configmap-rbac.yaml",
        reproduce=f"a browser at https://{host}/auth/login",
    )


def test_token_of_its_client_is_taken(site: Site) -> None:
    """The identity token of a login opens the API as a bearer too: programs need no browser."""
    host, browser = site.host(HOST), argocd.signed_in(site, "researchers")
    cookies = browser.cookies(host.name)
    token = cookies.get("argocd.token", "")
    answer = Caller(site, (("Authorization", Secret(f"Bearer {token}", "$ID_TOKEN")),)).ask("GET", LIST)
    require(
        token.count(".") == 2 and answer.status == HTTPStatus.OK,
        where=f"https://{host}{LIST}",
        want="200 for a bearer token of Argo CD's client",
        got=f"{answer}, cookies {sorted(cookies)}",
        reproduce=f"argocd --server {host} --grpc-web --auth-token … app list",
    )


def test_delivery(site: Site) -> None:
    """A repository's manifest is applied; a hand's change is healed, a commit arrives, and is taken back by a rollback.

    Researchers may look at it and not touch it, outsiders do not see it; with the application its objects go.
    """
    with argocd.delivered(site) as delivery:
        delivery.commit("one")
        delivery.admin.told("POST", LIST, argocd.application(delivery.name, delivery.name, delivery.repository))
        delivery.becomes("one", "as committed")
        delivery.until(lambda: delivery.synced, lambda seen: seen == ("Synced", "Healthy"), "Synced and Healthy")
        _strangers(site, delivery)

        meta = {"name": "greeting", "namespace": delivery.name}
        by_hand = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"say": "by hand"}}
        site.cluster.kube.server_side_apply(by_hand, "kubectl-edit", force=True)
        delivery.becomes("one", "after a hand changed it")

        delivery.commit("two")
        delivery.state("?refresh=normal")
        delivery.becomes("two", "after the next commit")
        delivery.until(lambda: delivery.synced, lambda seen: seen == ("Synced", "Healthy"), "Synced and Healthy")
        _roll_back(delivery)

        delivery.admin.told("DELETE", f"{LIST}/{delivery.name}?cascade=true")
        delivery.until(lambda: delivery.word, lambda seen: not seen, "no object left, after the application went")


def _strangers(site: Site, delivery: Delivery) -> None:
    """Those who may not: look, or touch."""
    place = f"{LIST}/{delivery.name}"
    tried = {
        "researchers look": (argocd.caller(site, "researchers").ask("GET", place), HTTPStatus.OK),
        "researchers sync": (argocd.caller(site, "researchers").ask("POST", f"{place}/sync", {}), HTTPStatus.FORBIDDEN),
        "researchers delete": (argocd.caller(site, "researchers").ask("DELETE", place), HTTPStatus.FORBIDDEN),
        "an outsider looks": (argocd.caller(site, "").ask("GET", place), HTTPStatus.FORBIDDEN),
        "nobody looks": (Caller(site).ask("GET", place), HTTPStatus.UNAUTHORIZED),
    }
    require_none(
        [
            f"{what}: {answer}, want {wanted.value}"
            for what, (answer, wanted) in tried.items()
            if answer.status != wanted
        ],
        where=f"https://{site.host(HOST)}{place}",
        want="each group's rights",
        reproduce=f"a browser at https://{site.host(HOST)}/auth/login",
    )


def _roll_back(delivery: Delivery) -> None:
    """Go back to the first state that was brought about; for that, it stops to follow the branch."""
    app = delivery.state()
    app["spec"]["syncPolicy"] = {}
    delivery.admin.told("PUT", f"{LIST}/{delivery.name}/spec", app["spec"])
    # Whatever it was about to do once more; from now on it begins nothing by itself.
    delivery.until(lambda: delivery.state().get("operation"), lambda seen: not seen, "no operation under way")
    first = min(delivery.state()["status"]["history"], key=lambda entry: int(entry.get("id", 0)))
    delivery.admin.told("POST", _ROLLED.format(delivery.name), {"id": first.get("id", 0), "prune": True})
    delivery.becomes("one", "after the rollback")


def test_namespaces_that_did_not_let_it_in_are_safe(site: Site) -> None:
    """What an application says of another area is refused by the API server: Argo CD has no rights there."""
    with argocd.delivered(site) as delivery:
        delivery.commit("one")
        body = argocd.application(delivery.name, "portal", delivery.repository)
        body["spec"]["syncPolicy"] = {}
        delivery.admin.told("POST", LIST, body)
        delivery.admin.told("POST", f"{LIST}/{delivery.name}/sync", {})
        delivery.until(
            lambda: (delivery.state().get("status") or {}).get("operationState") or {},
            lambda seen: seen.get("phase") in {"Failed", "Error"} and "forbidden" in json.dumps(seen),
            "a sync that the API server forbade",
        )
        there = site.cluster.get(Ref("ConfigMap", "portal", "greeting", "v1"))
        require(
            there is None,
            where="ConfigMap portal/greeting",
            want="none",
            got="it is there",
            reproduce="kubectl -n portal get configmap greeting",
        )


def test_unsigned_commit_is_refused(site: Site) -> None:
    """Where a project asks for a key's signature, as the platform's own does, a commit without one changes nothing."""
    with argocd.delivered(site) as delivery:
        delivery.commit("unsigned")
        project = argocd.signed_project(delivery.name, delivery.repository, _NOBODY)
        site.cluster.kube.server_side_apply(project, "betelgeuse-conformance", force=True)
        body = argocd.application(delivery.name, delivery.name, delivery.repository, delivery.name)
        delivery.admin.told("POST", f"{LIST}?validate=false", body)
        delivery.until(
            lambda: json.dumps((delivery.state("?refresh=normal").get("status") or {}).get("conditions")),
            lambda seen: "sign" in seen,
            "a word on the missing signature",
        )
        require(
            not delivery.word,
            where=f"ConfigMap {delivery.name}/greeting",
            want="none: its commit is not signed",
            got=repr(delivery.word),
            reproduce=f"kubectl -n {delivery.name} get configmap greeting",
        )
