"""What the drill of restores leaves with each tool, as people and programs do, and finds again as the same people."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from betelgeuse.errors import BetelgeuseError
from conformance import gitea, jupyter, label_studio, mlflow, workflows
from conformance.probes.http import Answer, Request
from conformance.probes.oidc import told
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

_RESEARCHERS: Final = "researchers"
_CONTENT: Final = bytes(range(256)) * 4000
"""A megabyte, as a file of a run or of a person."""


@dataclass(frozen=True)
class Canary:
    """Something of a tool's that must come back."""

    feature: str
    spaces: tuple[str, ...]
    """Namespaces that are lost."""
    stores: tuple[str, ...]
    """Copies that bring it back."""
    write: Callable[[Site, str], Any]
    """(site, a word of the run) -> what `look` must know: people and ids."""
    look: Callable[[Site, Any], object]
    """What is there now, the same in every byte or told apart by a checksum."""

    def read(self, site: Site, state: object) -> object:
        """Return what is there now, in plain words where it cannot be read."""
        try:
            return self.look(site, state)
        except (BetelgeuseError, AssertionError, KeyError, ValueError) as error:
            return f"not readable: {str(error)[-300:]}"


def _found(answer: Answer, asked: str) -> Any:  # noqa: ANN401 - what an API says
    require(answer.status == HTTPStatus.OK, where=asked, want="200", got=answer, reproduce=asked)
    # A file that is stored is answered by nothing.
    return json.loads(answer.body or b"null")


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_keycloak(site: Site, _: str) -> Any:  # noqa: ANN401 - as declared
    return site.identity.person(site.identity.right_group(site.host("portal")))


def _look_keycloak(site: Site, person: Any) -> object:  # noqa: ANN401 - as declared
    host = site.host("portal")
    _, trail = site.identity.logged_in(host, person)
    last = trail[-1]
    require(
        (last.host, last.answer.status) == (host.name, HTTPStatus.OK),
        where=f"https://{host}",
        want=f"the page, for {person.name}",
        got=told(trail),
        reproduce=f"a browser at https://{host}",
    )
    return [person.name, person.name in last.answer.text]


def _write_gitea(site: Site, mark: str) -> Any:  # noqa: ANN401 - as declared
    owner = gitea.member(site, _RESEARCHERS)
    place = f"{owner.name}/{mark}"
    gitea.pushed(site, owner, place, f"ä {mark}\n" * 1000)
    gitea.asked(site, owner.token, "POST", f"/repos/{place}/issues", {"title": f"ä {mark}"})
    return owner, place


def _look_gitea(site: Site, state: Any) -> object:  # noqa: ANN401 - as declared
    owner, place = state
    issues = gitea.asked(site, owner.token, "GET", f"/repos/{place}/issues")
    # A commit's id is the checksum of all that it holds.
    return [gitea.cloned(site, place, owner), [issue["title"] for issue in issues]]


def _write_mlflow(site: Site, mark: str) -> Any:  # noqa: ANN401 - as declared
    def ask(path: str, **body: object) -> Any:  # noqa: ANN401 - what the API says
        return _found(mlflow.ask(site, "POST", f"mlflow/{path}", body, TIMEOUTS.login), f"POST {path}")

    experiment = ask("experiments/create", name=mark)["experiment_id"]
    run = ask("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]["run_id"]
    ask("runs/log-parameter", run_id=run, key="ä", value=mark)
    ask("runs/log-metric", run_id=run, key="loss", value=0.1, timestamp=1, step=3)
    file = f"mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/model/weights.bin"
    door = mlflow.door(site)
    put = Request(door.name, f"/api/2.0/{file}", "PUT", site.credentials(door), _CONTENT)
    _found(site.send(put, TIMEOUTS.login), f"PUT {file}")
    return run, file


def _look_mlflow(site: Site, state: Any) -> object:  # noqa: ANN401 - as declared
    run, file = state
    found = mlflow.ask(site, "GET", f"mlflow/runs/get?run_id={run}", timeout=TIMEOUTS.login)
    data = _found(found, "GET runs/get")["run"]["data"]
    return [data["params"], data["metrics"], _sum(mlflow.ask(site, "GET", file, timeout=TIMEOUTS.login).body)]


def _write_label_studio(site: Site, mark: str) -> Any:  # noqa: ANN401 - as declared
    person = site.identity.person(_RESEARCHERS)
    caller = label_studio.person(site, person)
    project = caller.post("/api/projects/", {"title": mark, "label_config": label_studio.TEXTS})["id"]
    caller.post(f"/api/projects/{project}/import", [{"text": f"ä {mark}"}])
    (task,) = label_studio.tasks(caller, project)
    caller.post(f"/api/tasks/{task['id']}/annotations/", {"result": [label_studio.choice("star")]})
    return person, project


def _look_label_studio(site: Site, state: Any) -> object:  # noqa: ANN401 - as declared
    person, project = state
    caller = label_studio.person(site, person)
    found = label_studio.tasks(caller, project)
    return [[task["data"], [each["result"] for each in task["annotations"]]] for task in found]


def _n8n(site: Site, person: Any) -> Callable[..., Any]:  # noqa: ANN401 - as declared
    host = site.host("n8n")
    browser, _ = site.identity.logged_in(host, person)

    def ask(method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - what the API says
        answer = site.send(Request.of_api(host.name, f"/rest/{path}", method, browser.header(host.name), body))
        return _found(answer, f"{method} https://{host}/rest/{path}")["data"]

    return ask


def _write_n8n(site: Site, mark: str) -> Any:  # noqa: ANN401 - as declared
    person = site.identity.person(_RESEARCHERS)
    ask = _n8n(site, person)
    kind = {"type": "n8n-nodes-base.manualTrigger", "typeVersion": 1}
    node = {"id": "begin", "name": f"ä {mark}", "position": [0, 0], "parameters": {}, **kind}
    settings = {"executionOrder": "v1"}
    drawn = ask("POST", "workflows", {"name": mark, "nodes": [node], "connections": {}, "settings": settings})
    # What it keeps sealed: its name is told again, its value to no page.
    sealed = {"name": f"X-{mark}", "value": mark}
    credential = ask("POST", "credentials", {"name": mark, "type": "httpHeaderAuth", "data": sealed})
    return person, drawn["id"], credential["id"]


def _look_n8n(site: Site, state: Any) -> object:  # noqa: ANN401 - as declared
    person, drawn, credential = state
    ask = _n8n(site, person)
    workflow = ask("GET", f"workflows/{drawn}")
    return [
        workflow["name"],
        workflow["nodes"],
        ask("GET", f"credentials/{credential}?includeData=true")["data"]["name"],
    ]


_FILE: Final = "import hashlib, os, pathlib\npath = pathlib.Path.home() / 'ä b' / 'canary.bin'\n"


def _in_home(workplace: jupyter.Workplace, code: str) -> str:
    """Run a cell in a person's server, which is stopped behind it."""
    workplace.start()
    try:
        return workplace.run(_FILE + code).strip()
    finally:
        workplace.stop()


def _write_home(site: Site, _: str) -> Any:  # noqa: ANN401 - as declared
    workplace = jupyter.sign_on(site, _RESEARCHERS)
    _in_home(workplace, "path.parent.mkdir()\npath.write_bytes(bytes(range(256)) * 4000)\npath.chmod(0o640)")
    return workplace.person


def _look_home(site: Site, person: Any) -> object:  # noqa: ANN401 - as declared
    code = "print(oct(path.stat().st_mode), hashlib.sha256(path.read_bytes()).hexdigest())"
    return [_in_home(jupyter.sign_on(site, person=person), code)]


def _write_argo(site: Site, mark: str) -> Any:  # noqa: ANN401 - as declared
    templates = next(obj for obj in site.tree.kind("WorkflowTemplate"))["spec"]["templates"]
    image = next(str(each["container"]["image"]) for each in templates if "container" in each)
    container = {"image": image, "command": ["/usr/bin/python3", "-c"], "args": [f"print('ä {mark}')"]}
    spec = {"entrypoint": "main", "templates": [{"name": "main", "container": container}]}
    meta = {"generateName": "conformance-", "namespace": workflows.AREA}
    token = workflows.token(site, _RESEARCHERS)
    name = workflows.submit(site, token, {"metadata": meta, "spec": spec})["metadata"]["name"]
    workflows.finished(site, name)
    seen, _ = poll(lambda: workflows.look(site, name), workflows.is_archived, TIMEOUTS.workflow)
    # Its record and its log outlive it.
    workflows.remove(site, name)
    return seen["metadata"]["uid"], workflows.node(seen, "main")["id"]


def _look_argo(site: Site, state: Any) -> object:  # noqa: ANN401 - as declared
    uid, node = state
    token = workflows.login(site, _RESEARCHERS)
    path = f"/api/v1/archived-workflows/{uid}?namespace={workflows.AREA}"
    kept = _found(workflows.ask(site, token, path), path)
    log = workflows.ask(site, token, f"/artifacts-by-uid/{uid}/{node}/main-logs")
    return [kept["metadata"]["name"], workflows.phase(kept), log.text]


CANARIES: Final = (
    Canary("portal", ("auth",), ("keycloak",), _write_keycloak, _look_keycloak),
    Canary("git", ("gitops",), ("postgres", "gitea"), _write_gitea, _look_gitea),
    Canary("mlflow", ("ml",), ("postgres", "s3"), _write_mlflow, _look_mlflow),
    Canary("label-studio", ("ml",), ("postgres", "s3"), _write_label_studio, _look_label_studio),
    Canary("n8n", ("automation",), ("postgres", "keys"), _write_n8n, _look_n8n),
    Canary("notebooks", ("ml", "notebooks"), ("postgres", "homes"), _write_home, _look_home),
    Canary("workflows", ("argo",), ("postgres", "s3"), _write_argo, _look_argo),
)
