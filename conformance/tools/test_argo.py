"""Workflows: each group has its rights, steps hand files on by the object store, and nothing of a run is lost."""

import json
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance import stores, workflows
from conformance.inside import Inside
from conformance.kafka import CLIENT
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.stores import Client, account
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, poll, require, require_none
from conformance.workflows import ADMINS, API, AREA, DONE, RESEARCHERS
from conformance.workloads.rules import RULES, faults

pytestmark = pytest.mark.feature("workflows")

_TEMPLATE: Final = Ref("WorkflowTemplate", AREA, "train-digits", "argoproj.io/v1alpha1")
_TOPIC: Final = "workflows.start"
_MARK: Final = "betelgeuse.io/conformance"
_ANNOTATORS: Final = "annotators"


@pytest.fixture(scope="module")
def client(site: Site, inside: Inside) -> Iterator[Client]:
    """Return a pod with the clients of Kafka and PostgreSQL."""
    with stores.client(site, inside, "workflows-client", ("kafka", "postgres")) as pod:
        yield pod


def _image(site: Site) -> str:
    templates = site.tree.find(_TEMPLATE)["spec"]["templates"]
    return next(str(each["container"]["image"]) for each in templates if "container" in each)


def _step(site: Site, name: str, code: str, **more: object) -> Obj:
    container = {"image": _image(site), "command": ["/usr/bin/python3", "-c"], "args": [code]}
    return {"name": name, "container": container, **more}


def _workflow(templates: list[Obj], **spec: object) -> Obj:
    meta = {"generateName": "conformance-", "namespace": AREA, "labels": {_MARK: "true"}}
    entry = str(templates[0]["name"])
    return {"metadata": meta, "spec": {"entrypoint": entry, "templates": templates, **spec}}


@pytest.mark.parametrize(
    "token",
    [None, Secret("Bearer v2:nobody", "nobody"), Secret("Bearer nobody", "nobody"), Secret("Basic bm86Ym9keQ==", "no")],
    ids=["none", "forged", "foreign", "password"],
)
def test_nobody_is_refused(site: Site, token: Secret | None) -> None:
    """Without a session of the server's own, the API tells and takes nothing."""
    workflow = _workflow([_step(site, "main", "pass")])
    asked = [
        ("GET", API, None),
        ("POST", API, {"workflow": workflow}),
        ("GET", f"/api/v1/workflow-templates/{AREA}", None),
        ("GET", "/api/v1/archived-workflows", None),
        ("GET", "/api/v1/userinfo", None),
    ]
    answers = [(method, path, workflows.ask(site, token, path, method, body)) for method, path, body in asked]

    require_none(
        [f"{method} {path}: {answer}" for method, path, answer in answers if answer.status != HTTPStatus.UNAUTHORIZED],
        where=f"https://{site.host('argo')}/api",
        want="401",
        reproduce=f"curl https://{site.host('argo')}{API}",
    )


def test_metrics_are_not_served_outside(site: Site) -> None:
    """The server's numbers are for Prometheus; its host answers that path as any that there is not."""
    answer = workflows.ask(site, None, "/metrics")

    require(
        "grpc_server" not in answer.text,
        where=f"https://{site.host('argo')}/metrics",
        want="no metrics",
        got=answer,
        reproduce=f"curl https://{site.host('argo')}/metrics",
    )


_RIGHTS: Final = {
    # group: status of listing, starting, making a template, deleting
    ADMINS: (200, 200, 200, 200),
    RESEARCHERS: (200, 200, 403, 403),
    _ANNOTATORS: (403, 403, 403, 403),
    "nobody's": (403, 403, 403, 403),
}


@pytest.mark.parametrize("group", sorted(_RIGHTS))
def test_groups_have_their_rights(site: Site, group: str) -> None:
    """Administrators do everything, researchers start and read, annotators and whoever is in no group do nothing."""
    token = workflows.token(site, *([group] if group in {ADMINS, RESEARCHERS, _ANNOTATORS} else []))
    template = {
        "metadata": {"name": f"conformance-{uuid.uuid4().hex[:8]}", "namespace": AREA},
        "spec": {"entrypoint": "main", "templates": [_step(site, "main", "pass")]},
    }
    templates = f"/api/v1/workflow-templates/{AREA}"
    # One that never starts a pod.
    workflow = _workflow([{"name": "main", "suspend": {}}])
    # What is to be deleted: an administrator's.
    other = workflows.submit(site, workflows.token(site, ADMINS), workflow)["metadata"]["name"]
    started = workflows.ask(site, token, API, "POST", {"workflow": workflow})
    got = (
        workflows.ask(site, token, API).status,
        started.status,
        workflows.ask(site, token, templates, "POST", {"template": template}).status,
        workflows.ask(site, token, f"{API}/{other}", "DELETE").status,
    )
    workflows.remove(site, other)
    if started.status == HTTPStatus.OK:
        workflows.remove(site, workflows.answered(started)["metadata"]["name"])
    workflows.ask(site, workflows.token(site, ADMINS), f"{templates}/{template['metadata']['name']}", "DELETE")  # type: ignore[index]

    require(
        got == _RIGHTS[group],
        where=f"https://{site.host('argo')}/api as a member of {group}",
        want=f"{_RIGHTS[group]} to listing, starting, making a template, deleting",
        got=got,
        reproduce="argo list; argo submit; argo template create; argo delete",
    )


def _handing_on(site: Site, word: str) -> Obj:
    """Return a workflow whose second step gets a file of the first."""
    main = {
        "name": "main",
        "dag": {
            "tasks": [
                {"name": "write", "template": "write"},
                {
                    "name": "read",
                    "template": "read",
                    "depends": "write",
                    "arguments": {
                        "artifacts": [{"name": "note", "from": "{{tasks.write.outputs.artifacts.note}}"}],
                    },
                },
            ]
        },
    }
    path = "/tmp/note"  # noqa: S108 - in a step's own container
    write = f"open({path!r}, 'w').write({word!r}); print('written', {word!r})"
    read = f"print('read', open({path!r}).read())"
    artifact = {"name": "note", "path": path}
    return _workflow(
        [
            main,
            _step(site, "write", write, outputs={"artifacts": [artifact]}),
            _step(site, "read", read, inputs={"artifacts": [artifact]}),
        ]
    )


_ROW: Final = """
import psycopg
keys = values["keys"]
where = f"host={keys['host']} port={keys['port']} dbname={keys['database']} user={keys['user']} sslmode=verify-full"
with psycopg.connect(where, password=keys["password"], sslrootcert=file(keys["ca.crt"])) as connection:
    result = connection.execute(
        "select name, phase from argo_archived_workflows where uid = %s", [values["uid"]]
    ).fetchall()
"""


def test_steps_hand_files_on_and_nothing_is_lost(site: Site, client: Client) -> None:
    """A second step reads the first's file from the object store; log, file and run are there when all else is gone."""
    word = f"word-{uuid.uuid4().hex}"
    name = workflows.submit(site, workflows.token(site, RESEARCHERS), _handing_on(site, word))["metadata"]["name"]
    workflows.finished(site, name)
    # The controller writes the record beside its work, and says when it has.
    seen, _ = poll(lambda: workflows.look(site, name), workflows.is_archived, TIMEOUTS.workflow)
    uid, said = seen["metadata"]["uid"], workflows.log(site, name)
    workflows.remove(site, name)
    gone, _ = poll(
        lambda: [
            pod["metadata"]["name"]
            for pod in site.cluster.fresh("v1", "Pod", AREA, f"workflows.argoproj.io/workflow={name}")
        ],
        lambda pods: not pods,
        TIMEOUTS.workflow,
    )
    read, write = workflows.node(seen, "read")["id"], workflows.node(seen, "write")["id"]
    token = workflows.token(site, RESEARCHERS)
    kept = workflows.ask(site, token, f"/artifacts-by-uid/{uid}/{read}/main-logs").text
    found = workflows.ask(site, token, f"/artifacts-by-uid/{uid}/{write}/note")
    listed = workflows.answered(
        workflows.ask(site, token, f"/api/v1/archived-workflows?{urlencode({'namespace': AREA})}")
    )
    archived = [each["metadata"]["uid"] for each in listed.get("items") or ()]
    rows = client.run(_ROW, keys=account(site, "postgres", "argo"), uid=uid)
    outside = workflows.ask(site, workflows.token(site, _ANNOTATORS), f"/artifacts-by-uid/{uid}/{read}/main-logs")

    expected = {
        f"the log of the run says `read {word}`": f"read {word}" in said and f"written {word}" in said,
        "its pods are gone with it": not gone,
        "the log is in the object store": f"read {word}" in kept,
        # As upstream packs it: a tar.gz.
        "the file is in the object store": found.status == HTTPStatus.OK and found.body[:2] == b"\x1f\x8b",
        "the API lists the run in the archive": uid in archived,
        "the archive is a row of PostgreSQL": rows == [[name, "Succeeded"]],
        "annotators do not see the log": word not in outside.text and outside.status != HTTPStatus.OK,
    }
    require_none(
        [f"not true: {claim}" for claim, holds in expected.items() if not holds],
        where=f"workflow {name}, {uid}",
        want="its log, file and record, after the workflow and its pods are gone",
        reproduce=f"argo archive get {uid}",
    )


def test_log_is_read_while_it_runs_and_it_can_be_stopped(site: Site) -> None:
    """What a step says is told while it runs; an administrator stops it; its pod keeps the rules of every pod."""
    word = f"word-{uuid.uuid4().hex}"
    code = f"import signal; print({word!r}, flush=True); signal.sigwait([signal.SIGUSR1])"
    workflow = _workflow([_step(site, "main", code)], activeDeadlineSeconds=600)
    name = workflows.submit(site, workflows.token(site, RESEARCHERS), workflow)["metadata"]["name"]
    said, _ = poll(lambda: workflows.log(site, name), lambda text: word in text, TIMEOUTS.workflow)
    during = workflows.phase(workflows.look(site, name))
    pods = site.cluster.fresh("v1", "Pod", AREA, f"workflows.argoproj.io/workflow={name}")
    wrong = [fault for pod in pods for rule in RULES for fault in faults(pod, rule)]
    accounts = [str(pod["spec"].get("serviceAccountName")) for pod in pods]
    refused = workflows.ask(site, workflows.token(site, RESEARCHERS), f"{API}/{name}/stop", "PUT", {})
    stopped = workflows.ask(site, workflows.token(site, ADMINS), f"{API}/{name}/stop", "PUT", {})
    workflows.finished(site, name, "Failed")
    workflows.remove(site, name)

    expected = {
        f"its log said {word}": word in said,
        f"it ran then (it was {during})": during == "Running",
        f"one pod of the account workflow ran ({accounts})": accounts == ["workflow"],
        f"a researcher may not stop it ({refused.status})": refused.status == HTTPStatus.FORBIDDEN,
        f"an administrator may ({stopped.status})": stopped.status == HTTPStatus.OK,
    }
    require_none(
        [*(f"not true: {claim}" for claim, holds in expected.items() if not holds), *wrong],
        where=f"workflow {name}",
        want="a log while it runs, a pod by the rules, and an end when an administrator says so",
        reproduce=f"argo logs {name} --follow; argo stop {name}",
    )


_BEYOND: Final[dict[str, tuple[Obj, Obj]]] = {
    # what goes into the workflow's spec, and into its container
    "another-account": ({"serviceAccountName": "workflow-controller"}, {}),
    "a-mounted-secret": (
        {"volumes": [{"name": "stolen", "secret": {"secretName": "argo-postgres"}}]},
        {"volumeMounts": [{"name": "stolen", "mountPath": "/stolen"}]},
    ),
    "a-variable-from-a-secret": (
        {},
        {"env": [{"name": "STOLEN", "valueFrom": {"secretKeyRef": {"name": "argo-postgres", "key": "password"}}}]},
    ),
    "variables-from-a-secret": ({}, {"envFrom": [{"secretRef": {"name": "argo-oidc"}}]}),
    "another-name": ({"podMetadata": {"labels": {"app.kubernetes.io/name": "argo-server"}}}, {}),
    "root": ({}, {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}}),
    "the-nodes-files": (
        {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
        {"volumeMounts": [{"name": "node", "mountPath": "/node"}]},
    ),
}


@pytest.mark.parametrize("case", sorted(_BEYOND))
def test_workflow_stays_in_its_bounds(site: Site, case: str) -> None:
    """A workflow that asks for another's rights, Secrets or for the node starts no pod, and says why."""
    spec, container = _BEYOND[case]
    step = _step(site, "main", "pass")
    step["container"] |= container
    name = workflows.submit(site, workflows.token(site, RESEARCHERS), _workflow([step], **spec))["metadata"]["name"]
    seen, _ = poll(lambda: workflows.look(site, name), lambda found: workflows.phase(found) in DONE, TIMEOUTS.workflow)
    pods = site.cluster.fresh("v1", "Pod", AREA, f"workflows.argoproj.io/workflow={name}")
    message = str(seen.get("status", {}).get("message", ""))
    workflows.remove(site, name)

    require(
        workflows.phase(seen) == "Error" and "forbidden" in message and not pods,
        where=f"a workflow with {case}",
        want="an Error that says it is forbidden, and no pod",
        got=f"{workflows.phase(seen)}: {message}, {len(pods)} pods",
        reproduce="argo submit",
    )


def test_a_message_starts_a_training(site: Site, client: Client) -> None:
    """A message of Kafka's starts the template that trains a model; one that asks for nothing is passed over."""
    wrong = ["no JSON", json.dumps({"template": "no-such-template"})]
    right = json.dumps({"template": _TEMPLATE.name, "parameters": {"trees": 12, "depth": "8"}})
    keys = account(site, "kafka", "workflows")
    before = {each["metadata"]["name"] for each in _started(site)}
    client.run(CLIENT + f"\nresult = send({_TOPIC!r}, values['words'])", keys=keys, words=[*wrong, right], timeout=60.0)
    found, _ = poll(
        lambda: [each for each in _started(site) if each["metadata"]["name"] not in before],
        bool,
        TIMEOUTS.workflow,
    )
    one = demand(
        found[0] if len(found) == 1 else None,
        where=f"topic {_TOPIC}",
        want="one workflow for the one message that asks for one",
        got=[each["metadata"]["name"] for each in found],
        reproduce="kubectl -n argo logs deployment/workflow-trigger",
    )
    name = one["metadata"]["name"]
    seen = workflows.finished(site, name)
    outputs = workflows.node(seen, "judge").get("outputs", {}).get("parameters", [])
    accuracy = float(next((each["value"] for each in outputs if each["name"] == "accuracy"), "0"))
    trained = workflows.node(seen, "train")["id"]
    model = workflows.ask(
        site, workflows.token(site, RESEARCHERS), f"/artifacts-by-uid/{seen['metadata']['uid']}/{trained}/model"
    )
    workflows.remove(site, name)
    site.facts["model trained by a workflow"] = f"accuracy {accuracy}, {len(model.body)} bytes"

    require(
        accuracy > 0.8 and model.status == HTTPStatus.OK and len(model.body) > 10_000,
        where=f"workflow {name}, started by a message",
        want="a model that tells more than 80 % of unseen digits, as an artifact",
        got=f"accuracy {accuracy}, artifact {model.status} of {len(model.body)} bytes",
        reproduce=f"argo logs {name}",
    )


def _started(site: Site) -> list[Obj]:
    query = urlencode({"listOptions.labelSelector": "betelgeuse.io/started-by=message"})
    return list(workflows.given(site, f"{API}?{query}").get("items") or ())
