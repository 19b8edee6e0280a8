"""From what people say to what is rolled out: annotations, a bucket, a training, a model's version, a commit."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import pytest
from minio import Minio

from betelgeuse.kube import Obj
from conformance import argocd, label_studio, mlflow, stores, workflows
from conformance.label_studio import Caller
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, poll, require, require_none

pytestmark = [
    pytest.mark.feature("label-studio"),
    pytest.mark.feature("store-s3"),
    pytest.mark.feature("workflows"),
    pytest.mark.feature("mlflow"),
    pytest.mark.feature("git"),
    pytest.mark.feature("argocd"),
    pytest.mark.feature("login"),
]

_BUCKET: Final = "workflows"
_TEMPLATE: Final = "train-labels"
_STARS: Final = (
    "Betelgeuse is a red supergiant star that fuses helium in its core",
    "Rigel is a hot blue star that shines by fusion",
    "Sirius is the brightest star and it shines with a white light",
    "The core of a star fuses hydrogen and shines for billions of years",
    "A giant star swells when its core has no hydrogen left for fusion",
    "Antares is a red star whose core will collapse into a supernova",
    "Vega is a white star that shines with the light of fusion",
    "A supernova is the end of a star whose core collapses",
    "Aldebaran is an orange giant star, it fuses helium and shines",
    "Polaris is a yellow supergiant star whose light pulsates",
    "A white dwarf is the core of a star without fusion",
    "Deneb is a distant supergiant star that shines by fusion of hydrogen",
)
_PLANETS: Final = (
    "Mars is a cold planet with two moons in its orbit",
    "Jupiter is a gas planet with rings and many moons",
    "Venus is a planet with clouds of acid and a slow orbit",
    "Earth is a planet with oceans, an atmosphere and one moon",
    "Saturn is a planet with rings of ice and many moons",
    "Neptune is a windy planet in a distant orbit, its moons are cold",
    "Mercury is a small planet without moons in a fast orbit",
    "Uranus is a planet of ice with rings and a tilted orbit",
    "A planet in a close orbit has a hot atmosphere and no moons",
    "A rocky planet has a surface with craters and a thin atmosphere",
    "The atmosphere of a gas planet has clouds and storms",
    "The orbit of a planet takes it around, with its moons and rings",
)
_TEXTS: Final = {**dict.fromkeys(_STARS, "star"), **dict.fromkeys(_PLANETS, "planet")}
"""Text -> what an annotator says of it."""
_ACCURACY: Final = 0.8
"""The least part of unseen texts that the model tells rightly: guessing would be one half."""


@dataclass
class Steps:
    """What took how long."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step to its end."""
        begin = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begin

    def __str__(self) -> str:
        """Return one line for the report."""
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())


@pytest.fixture
def made() -> Iterator[ExitStack]:
    """What is to be removed in the end, last things first; all of it, whatever fails before."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def store(site: Site) -> Iterator[Minio]:
    """A client of the object store, with the account of workflows."""
    with stores.s3(site, _BUCKET) as client:
        yield client


def _told(site: Site, path: str) -> Any:  # noqa: ANN401 - what the API says
    """Return what MLflow says of something that is there."""
    answer = mlflow.ask(site, "GET", f"mlflow/{path}")
    require(
        answer.status == HTTPStatus.OK,
        where=f"MLflow, GET /api/2.0/mlflow/{path}",
        want="200",
        got=answer,
        reproduce=f"a browser at https://{site.host('mlflow')}/",
    )
    return json.loads(answer.text)


def _forget_model(site: Site, model: str) -> None:
    """Remove a registered model with its versions, and the experiment of its runs with their files."""
    mlflow.ask(site, "DELETE", "mlflow/registered-models/delete", {"name": model})
    found = mlflow.ask(site, "GET", f"mlflow/experiments/get-by-name?experiment_name={model}")
    if found.status == HTTPStatus.OK:
        number = json.loads(found.text)["experiment"]["experiment_id"]
        mlflow.ask(site, "DELETE", f"mlflow-artifacts/artifacts/{number}")
        mlflow.ask(site, "POST", "mlflow/experiments/delete", {"experiment_id": number})
    left = mlflow.ask(site, "GET", f"mlflow/registered-models/get?name={model}")
    require(
        left.status == HTTPStatus.NOT_FOUND,
        where=f"MLflow, the registered model {model}",
        want="404, after it was removed",
        got=left,
        reproduce=f"a browser at https://{site.host('mlflow')}/#/models",
    )


def _keys(store: Minio, prefix: str) -> list[str]:
    """Return the keys below a prefix."""
    found = store.list_objects(_BUCKET, f"{prefix}/", recursive=True)
    return [each.object_name for each in found if each.object_name]


def _sweep(store: Minio, prefix: str) -> None:
    """Remove what lies below a prefix."""
    for key in _keys(store, prefix):
        store.remove_object(_BUCKET, key)


def _connect(site: Site, program: Caller, project: int, prefix: str) -> None:
    """Have a project write each of its annotations to the bucket of workflows."""
    keys = stores.account(site, "s3", _BUCKET)
    own = {"aws_access_key_id": keys["user"], "aws_secret_access_key": keys["password"]}
    asked = {"project": project, "title": "conformance", "bucket": _BUCKET, "prefix": prefix}
    program.post("/api/storages/export/s3", {**asked, **own})


def _annotate(site: Site, program: Caller, project: int) -> None:
    """Bring the texts into a project and say of each what it speaks of."""
    program.post(f"/api/projects/{project}/import", [{"text": text} for text in _TEXTS])
    tasks, _ = poll(
        lambda: label_studio.tasks(program, project), lambda found: len(found) == len(_TEXTS), TIMEOUTS.reaction
    )
    require(
        len(tasks) == len(_TEXTS),
        where=f"https://{program.host}/api/projects/{project}/import",
        want=f"{len(_TEXTS)} tasks, one for each text",
        got=f"{len(tasks)} tasks",
        reproduce=f"a browser at https://{site.host('label')}/projects/{project}/data",
    )
    for task in tasks:
        kind = _TEXTS[task["data"]["text"]]
        program.post(f"/api/tasks/{task['id']}/annotations/", {"result": [label_studio.choice(kind)]})


def _written(store: Minio, prefix: str) -> None:
    """Wait until every annotation is a file of the bucket, and look into one."""
    keys, seconds = poll(
        lambda: _keys(store, prefix), lambda found: len(found) >= len(_TEXTS), TIMEOUTS.annotations_written
    )
    require(
        len(keys) == len(_TEXTS),
        where=f"s3://{_BUCKET}/{prefix}",
        want=f"a file for each of {len(_TEXTS)} annotations, within {TIMEOUTS.annotations_written:.0f} s",
        got=f"{len(keys)} files after {seconds:.0f} s",
        reproduce=f"aws s3 ls s3://{_BUCKET}/{prefix}/",
    )
    with store.get_object(_BUCKET, keys[0]) as stream:
        said = json.loads(stream.read())
    chosen = [each["value"]["choices"] for each in said["result"]]
    require(
        chosen == [[_TEXTS.get(said["task"]["data"]["text"])]],
        where=f"s3://{_BUCKET}/{keys[0]}",
        want="an annotation with its task, as Label Studio writes it",
        got=said,
        reproduce=f"aws s3 cp s3://{_BUCKET}/{keys[0]} -",
    )


def _start(site: Site, labels: str, model: str) -> Obj:
    """Start the template as a researcher."""
    values = {"labels": labels, "model": model}
    arguments = {"parameters": [{"name": name, "value": value} for name, value in values.items()]}
    meta = {"generateName": "conformance-", "namespace": workflows.AREA}
    workflow = {"metadata": meta, "spec": {"workflowTemplateRef": {"name": _TEMPLATE}, "arguments": arguments}}
    return workflows.submit(site, workflows.token(site, workflows.RESEARCHERS), workflow)


def _forget_run(site: Site, store: Minio, workflow: Obj) -> None:
    """Remove a workflow, and its logs and artifacts from the bucket."""
    meta = workflow["metadata"]
    workflows.remove(site, meta["name"])
    # As the artifact repository's keyFormat has it.
    _sweep(store, f"{meta['creationTimestamp'][:7]}/{meta['name']}")


def _version(workflow: Obj) -> str:
    """Return the version that a workflow has registered."""
    given = workflow["status"].get("outputs") or workflows.node(workflow, "register").get("outputs") or {}
    found = next((str(each["value"]) for each in given.get("parameters", []) if each["name"] == "version"), None)
    return demand(
        found,
        where=f"workflow {workflow['metadata']['name']}",
        want="an output parameter `version`",
        got=given,
        reproduce=f"argo get {workflow['metadata']['name']}",
    )


def _registered(site: Site, model: str, version: str, labels: str) -> float:
    """See a version and its run as MLflow tells them; return the run's accuracy."""
    told = _told(site, f"model-versions/get?name={model}&version={version}")["model_version"]
    run = _told(site, f"runs/get?run_id={told['run_id']}")["run"]
    files = _told(site, f"artifacts/list?run_id={told['run_id']}&path=model").get("files") or []
    metrics = {each["key"]: float(each["value"]) for each in run["data"].get("metrics") or []}
    params = {each["key"]: each["value"] for each in run["data"].get("params") or []}
    texts = int(params.get("known", "0")) + int(params.get("held-back", "0"))
    expected = {
        f"version {version} is ready ({told.get('status')})": told.get("status") == "READY",
        f"the run is finished ({run['info']['status']})": run["info"]["status"] == "FINISHED",
        f"it says with what it was trained ({params})": params.get("labels") == labels and texts == len(_TEXTS),
        f"the model is its artifact ({files})": [each["path"] for each in files] == ["model/model.joblib"],
        f"it tells unseen texts ({metrics})": metrics.get("accuracy", 0.0) >= _ACCURACY,
    }
    require_none(
        [f"not true: {claim}" for claim, holds in expected.items() if not holds],
        where=f"MLflow, version {version} of {model}",
        want=f"a finished run with an accuracy of {_ACCURACY} at least, its parameters and its model",
        reproduce=f"a browser at https://{site.host('mlflow')}/#/models/{model}",
    )
    return metrics["accuracy"]


def test_annotations_become_a_model_that_is_rolled_out(site: Site, store: Minio, made: ExitStack) -> None:
    """What a researcher says of texts is written to S3, trains a model that MLflow registers, and Git rolls out."""
    name, steps = f"conformance-{uuid.uuid4().hex[:8]}", Steps()
    labels = f"conformance/{name}"
    # Somebody has one token at a time: this one is nobody else's.
    person = site.identity.person(workflows.RESEARCHERS)
    program = label_studio.program(site, person, label_studio.person(site, person))

    made.callback(_sweep, store, labels)
    # What is in the bucket stays there when the project goes; a token is good for some minutes only.
    with label_studio.project(program) as project:
        with steps.step("annotations"):
            _connect(site, program, project, labels)
            _annotate(site, program, project)
        with steps.step("files in S3"):
            _written(store, labels)
    with steps.step("training"):
        made.callback(_forget_model, site, name)
        started = _start(site, labels, name)
        made.callback(_forget_run, site, store, started)
        ended = workflows.finished(site, started["metadata"]["name"], within=TIMEOUTS.training)
    with steps.step("version in MLflow"):
        version = _version(ended)
        accuracy = _registered(site, name, version, labels)
    with steps.step("roll-out"):
        word = f"{name}:{version}"
        delivery = made.enter_context(argocd.delivered(site))
        delivery.commit(word)
        delivery.admin.told("POST", argocd.LIST, argocd.application(delivery.name, delivery.name, delivery.repository))
        delivery.becomes(word, "as committed")
        delivery.until(lambda: delivery.synced, lambda seen: seen == ("Synced", "Healthy"), "Synced and Healthy")

    site.facts["from annotation to roll-out"] = f"accuracy {accuracy:.2f}; {steps}"
