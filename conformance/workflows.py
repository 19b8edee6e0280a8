"""Argo Workflows as its people see it: a session of its server's, and the API that the command `argo` asks."""

import json
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from betelgeuse.kube import Obj
from conformance.probes.http import Answer, Request
from conformance.probes.oidc import told
from conformance.secrecy import MASKER, Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

AREA: Final = "argo"
API: Final = f"/api/v1/workflows/{AREA}"
DONE: Final = frozenset({"Succeeded", "Failed", "Error"})
"""Phases in which a workflow does nothing more."""
_TAIL: Final = 300
"""Letters of a log that a verdict tells."""
ADMINS, RESEARCHERS = "platform-admins", "researchers"


def login(site: Site, *groups: str) -> Secret:
    """Log somebody in as a browser does, and return the token that the command `argo` would be given."""
    host, person = site.host("argo"), site.identity.shared_person(*groups)
    browser = site.identity.browser()
    trail = browser.login(f"https://{host}/oauth2/redirect?redirect=/", person.name, person.password)
    text = browser.cookies(host.name).get("authorization", "")
    require(
        text.startswith("Bearer v2:"),
        where=f"login at https://{host}",
        want="a session of the workflows' server",
        got=told(trail),
        reproduce=f"a browser at https://{host}/",
    )
    MASKER.learn(text)
    return Secret(text, "$ARGO_TOKEN")


def token(site: Site, *groups: str) -> Secret:
    """Return the token of the run's member of these groups, logged in once."""
    return site.once(("argo token", groups), lambda: login(site, *groups))


def ask(site: Site, token: Secret | None, path: str, method: str = "GET", body: object = None) -> Answer:
    """Ask the server; without a token as nobody."""
    headers = (("Authorization", token),) if token else ()
    return site.send(Request.of_api(site.host("argo").name, path, method, headers, body))


def answered(answer: Answer) -> Any:  # noqa: ANN401 - whatever the API says
    """Return what an answer says; an empty map where it is a refusal."""
    return json.loads(answer.text) if answer.status == HTTPStatus.OK else {}


def given(site: Site, path: str) -> Any:  # noqa: ANN401 - whatever the API says
    """Return what the API says to a researcher; an empty map where it refuses."""
    return answered(ask(site, token(site, RESEARCHERS), path))


def submit(site: Site, token: Secret, workflow: Obj) -> Obj:
    """Start a workflow, and return it as the server took it."""
    answer = ask(site, token, API, "POST", {"workflow": workflow})
    require(
        answer.status == HTTPStatus.OK,
        where=f"https://{site.host('argo')}{API}",
        want="a workflow taken",
        got=answer,
        reproduce="argo submit mine.yaml",
    )
    made: Obj = answered(answer)
    return made


def remove(site: Site, name: str) -> None:
    """Remove a workflow; its record in the archive stays."""
    ask(site, token(site, ADMINS), f"{API}/{name}", "DELETE")


def look(site: Site, name: str) -> Obj:
    """Return a workflow as it is now; an empty map where there is none."""
    found: Obj = given(site, f"{API}/{name}")
    return found


def phase(workflow: Obj) -> str:
    """Return the phase of a workflow; empty before its first."""
    return str(workflow.get("status", {}).get("phase", ""))


def finished(site: Site, name: str, want: str = "Succeeded", within: float = TIMEOUTS.workflow) -> Obj:
    """Wait until a workflow is over, for some seconds at most; return it as it ended."""
    seen, seconds = poll(lambda: look(site, name), lambda found: phase(found) in DONE, within)
    nodes = seen.get("status", {}).get("nodes", {}).values()
    said = [f"{node.get('displayName')} {node.get('phase')} {node.get('message', '')}" for node in nodes]
    if phase(seen) != want:
        said.append(f"its log ends: {log(site, name)[-_TAIL:]}")
    require(
        phase(seen) == want,
        where=f"workflow {name}",
        want=f"{want} within {within:.0f} s",
        got=f"{phase(seen) or 'nothing'} after {seconds:.0f} s: {'; '.join(said)}",
        reproduce=f"argo get {name}",
    )
    return seen


def is_archived(workflow: Obj) -> bool:
    """Whether the controller has written a workflow's record."""
    return bool(workflow["metadata"]["labels"].get("workflows.argoproj.io/workflow-archiving-status") == "Archived")


def node(workflow: Obj, template: str) -> Obj:
    """Return what a workflow tells of the pod of a template."""
    nodes = workflow["status"]["nodes"].values()
    return next(node for node in nodes if node.get("templateName") == template and node["type"] == "Pod")


def log(site: Site, name: str) -> str:
    """Return what the containers of a workflow have said, as the API tells it."""
    query = urlencode({"logOptions.container": "main"})
    answer = ask(site, token(site, RESEARCHERS), f"{API}/{name}/log?{query}")
    lines = (json.loads(line) for line in answer.text.splitlines() if line.startswith("{"))
    return "\n".join(str(line.get("result", {}).get("content", "")) for line in lines)
