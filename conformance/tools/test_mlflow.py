"""MLflow: its SDK logs runs and models, inside by a label and outside by a token; people see them behind a login."""

import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Host, Ref, gates
from betelgeuse.tree.workloads import containers, pod_spec
from conformance import canary, postgres, stores
from conformance.inside import Inside, started
from conformance.probes.http import Answer, Header, Request
from conformance.probes.oidc import told
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.stores import Client, account
from conformance.verdict import poll, require, require_none

pytestmark = [pytest.mark.feature("mlflow"), pytest.mark.feature("login"), pytest.mark.feature("tokens")]

SERVER: Final = Ref("Deployment", "ml", "mlflow", "apps/v1")
"""Its image holds the whole of MLflow, the SDK included."""
USES: Final = "betelgeuse.io/uses-mlflow"
INSIDE: Final = "http://mlflow.ml.svc"
WAYS: Final = ("inside", "edge")
_LARGE: Final = 100 << 20
"""Bytes of an artifact that is no trifle."""
_JOURNEY_SECONDS: Final = 600.0
"""For a way with 100 MiB there and back; seconds on a machine that is free, minutes on one that is not."""
_AGAIN: Final = 300.0
"""Seconds for a server that was ended to serve again: its start takes ten seconds of a processor."""
_MARK: Final = f"conformance-{uuid.uuid4().hex[:8]}"
"""What the run calls what it makes."""
_OPEN: Final = "mlflow.set_tracking_uri('https://mlflow.DOMAIN'); export MLFLOW_TRACKING_TOKEN=$(invoke token …)"

_SDK: Final = """
import os, socket
os.environ.update({"HOME": "/tmp", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})
if values["token"]:
    # Public names are in no DNS that this pod asks.
    known = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **named: known(
        values["address"] if host == values["name"] else host, *rest, **named
    )
    os.environ["MLFLOW_TRACKING_TOKEN"] = values["token"]
    os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"] = file(values["root"]) if values["root"] else ""
"""
_JOURNEY: Final = """
import hashlib, pathlib, tempfile, time
from mlflow import MlflowClient
client, mark = MlflowClient(values["uri"]), values["mark"]
experiment = client.create_experiment(mark)
run = client.create_run(experiment, run_name=mark)
key = run.info.run_id
client.log_param(key, "layers", 3)
for step in range(3):
    client.log_metric(key, "loss", 1 / (step + 1), step=step)
client.set_tag(key, "purpose", "conformance")
folder = pathlib.Path(tempfile.mkdtemp())
sent = folder / "weights.bin"
digest = hashlib.sha256()
with sent.open("wb") as stream:
    for _ in range(values["size"] >> 20):
        piece = os.urandom(1 << 20)
        digest.update(piece)
        stream.write(piece)
begun = time.monotonic()
client.log_artifact(key, str(sent), "model")
up = time.monotonic() - begun
sent.unlink()
begun = time.monotonic()
came = pathlib.Path(client.download_artifacts(key, "model/weights.bin", str(folder)))
down = time.monotonic() - begun
again = hashlib.sha256()
with came.open("rb") as stream:
    while piece := stream.read(1 << 20):
        again.update(piece)
came.unlink()
client.set_terminated(key)
client.create_registered_model(mark)
client.create_model_version(mark, f"{run.info.artifact_uri}/model", key)
client.set_registered_model_alias(mark, "champion", "1")
champion = client.get_model_version_by_alias(mark, "champion")
found = client.search_runs([experiment], "params.layers = '3' and metrics.loss < 0.4 and tags.purpose = 'conformance'")
none = client.search_runs([experiment], "metrics.loss > 0.4")
seen = client.get_run(key)
result = {
    "experiment": experiment, "run": key, "status": seen.info.status, "params": seen.data.params,
    "loss": [round(one.value, 3) for one in client.get_metric_history(key, "loss")],
    "artifacts": [[one.path, one.file_size] for one in client.list_artifacts(key, "model")],
    "whole": digest.hexdigest() == again.hexdigest(), "version": [champion.name, champion.version, champion.run_id],
    "found": [one.info.run_id for one in found], "none": len(none), "up": up, "down": down,
}
"""
_AWAY: Final = """
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
client = MlflowClient(values["uri"])
for model in client.search_registered_models(f"name LIKE '{values['mark']}%'"):
    client.delete_registered_model(model.name)
for experiment in client.search_experiments(filter_string=f"name LIKE '{values['mark']}%'"):
    for run in client.search_runs([experiment.experiment_id]):
        get_artifact_repository(run.info.artifact_uri, tracking_uri=values["uri"]).delete_artifacts()
    client.delete_experiment(experiment.experiment_id)
result = None
"""
_BOUNDS: Final = """
import http.client
def ask(method, path, length=None, body=b"", **headers):
    connection = http.client.HTTPConnection("mlflow.ml.svc", 80, timeout=15)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body) if length is None else length))
    connection.endheaders()
    connection.send(body)
    return connection.getresponse().status
artifact = "/api/2.0/mlflow-artifacts/artifacts/conformance/too-large"
result = {
    "own name": ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0"),
    "a foreign Host": ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", Host="evil.example"),
    "an artifact that is too large": ask("PUT", artifact, length=1 << 40),
    "a request that is too large": ask("POST", "/api/2.0/mlflow/runs/create", length=1 << 30),
}
"""
_DOORS: Final = """
import http.client, json
def ask(path):
    connection = http.client.HTTPConnection("mlflow.ml.svc", 80, timeout=15)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()
told = json.loads(ask("/api/3.0/mlflow/server-info")[1])
result = {
    "large files by the store's address": [told["multipart_downloads_enabled"], told["multipart_uploads_enabled"]],
    "an address that is signed": ask(f"/api/2.0/mlflow-artifacts/presigned/{values['path']}")[0],
}
"""
_ALONE: Final = """
import socket
def connect():
    with socket.create_connection(("mlflow.ml.svc.cluster.local", 80), 5):
        return "connected"
result = attempt(connect)
"""


def _pod(site: Site, inside: Inside, name: str, labels: dict[str, str]) -> Obj:
    """Return a pod with the SDK and room for an artifact."""
    image = str(next(iter(containers(pod_spec(site.tree.find(SERVER)))))["image"])
    command = ["/usr/bin/python3", "-c", "import signal; signal.pause()"]
    pod = canary.pod(inside.namespace, name, image, command, labels)
    (container,) = pod["spec"]["containers"]
    container["resources"] = {
        "requests": {"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
        "limits": {"cpu": "1", "memory": "640Mi", "ephemeral-storage": "512Mi"},
    }
    container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - a folder of its own
    pod["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {"sizeLimit": "384Mi"}}]
    return pod


@contextmanager
def _running(site: Site, pod: Obj) -> Iterator[Client]:
    started(site, pod)
    try:
        yield Client(site, pod)
    finally:
        site.cluster.kube.delete(pod)


@pytest.fixture(scope="module")
def user(site: Site, inside: Inside) -> Iterator[Client]:
    """Return a pod with the SDK and the label that opens the way to MLflow; what the run made goes at its end."""
    with _running(site, _pod(site, inside, "mlflow-user", {USES: "true"})) as pod:
        yield pod
        pod.run(_SDK + _AWAY, timeout=_JOURNEY_SECONDS, uri=INSIDE, token="", mark=_MARK)


@pytest.fixture(scope="module")
def outsider(site: Site, inside: Inside) -> Iterator[Client]:
    """Return a pod with the SDK and without the label: it has the gateway, as the world has."""
    with _running(site, _pod(site, inside, "mlflow-outsider", {})) as pod:
        yield pod


@pytest.fixture
def mlflow(site: Site) -> Host:
    """Return the host as people meet it."""
    return site.host("mlflow")


@pytest.fixture
def api(site: Site) -> Host:
    """Return the host as programs meet it, which show a token."""
    return next(door for door in site.tree.behind(gates.TOKEN) if door.label == "mlflow")


def _journey(site: Site, client: Client, way: str) -> dict[str, Any]:
    """Return what the SDK saw on its way through a run, a large artifact and a model, made once for each way."""

    def go() -> dict[str, Any]:
        name = site.host("mlflow").name
        said = {"uri": INSIDE, "token": ""}
        if way == "edge":
            api = next(door for door in site.tree.behind(gates.TOKEN) if door.name == name)
            said = {"uri": f"https://{name}", "token": site.identity.token(api.gate.audiences[0]).reveal()}
        seen: dict[str, Any] = client.run(
            _SDK + _JOURNEY,
            timeout=_JOURNEY_SECONDS,
            mark=f"{_MARK}-{way}",
            name=name,
            address=site.addresses[0],
            root=site.ca.read_text("utf-8") if site.ca else "",
            size=_LARGE,
            **said,
        )
        site.facts[f"MLflow, {_LARGE >> 20} MiB {way}"] = f"{seen['up']:.1f} s up, {seen['down']:.1f} s down"
        return seen

    return site.once(("mlflow journey", way), go)


@pytest.mark.parametrize("way", WAYS)
def test_sdk_logs_a_run_and_a_model(site: Site, user: Client, outsider: Client, way: str) -> None:
    """Upstream's SDK makes a run with numbers and a large artifact, a model with an alias, and finds them again.

    Inside by a label, and through the gateway by a token.
    """
    seen = _journey(site, user if way == "inside" else outsider, way)

    wanted = {
        "status": "FINISHED",
        "params": {"layers": "3"},
        "loss": [1.0, 0.5, 0.333],
        "artifacts": [["model/weights.bin", _LARGE]],
        "whole": True,
        "found": [seen["run"]],
        "none": 0,
    }
    got = {name: seen[name] for name in wanted}
    require(got == wanted, where=f"MLflow, {way}", want=repr(wanted), got=got, reproduce=_OPEN)
    version = seen["version"]
    require(
        [str(one) for one in version[1:]] == ["1", seen["run"]],
        where=f"MLflow's registry, {way}",
        want=f"version 1 of run {seen['run']} by its alias",
        got=version,
        reproduce=_OPEN,
    )


def test_who_has_no_label_is_not_let_in(user: Client, outsider: Client) -> None:
    """A pod without the label does not reach MLflow past the gateway; one with it does."""
    control, seen = user.run(_ALONE), outsider.run(_ALONE)

    require("value" in control, where=INSIDE, want="connected, with the label", got=control, reproduce=_OPEN)
    require("error" in seen, where=INSIDE, want="no connection, without it", got=seen, reproduce=_OPEN)


def test_artifact_is_in_the_object_store(site: Site, user: Client) -> None:
    """What was logged lies in the bucket of MLflow's account, byte for byte as long."""
    seen = _journey(site, user, "inside")
    with stores.s3(site, "mlflow") as store:
        prefix = f"{seen['experiment']}/{seen['run']}/"
        found = {one.object_name: one.size for one in store.list_objects("mlflow", prefix, recursive=True)}

    wanted = {f"{prefix}artifacts/model/weights.bin": _LARGE}
    require(
        found == wanted,
        where="bucket mlflow",
        want=repr(wanted),
        got=found,
        reproduce=f"aws s3 ls s3://mlflow/{prefix}",
    )


def test_run_is_in_the_database(site: Site, user: Client) -> None:
    """The run and its experiment are rows of MLflow's own database."""
    seen = _journey(site, user, "inside")
    query = "select status, experiment_id from runs where run_uuid = %s"
    with postgres.outside(site, account(site, "postgres", "mlflow")) as connection:
        rows = connection.execute(query, [seen["run"]]).fetchall()

    wanted = [("FINISHED", int(seen["experiment"]))]
    require(rows == wanted, where="database mlflow", want=repr(wanted), got=rows, reproduce=query)


def test_clients_are_not_sent_to_the_store(site: Site, user: Client) -> None:
    """The server tells nobody to fetch or send a file at the object store, which clients do not reach."""
    run = _journey(site, user, "inside")
    seen = user.run(_DOORS, path=f"{run['experiment']}/{run['run']}/artifacts/model/weights.bin")

    wanted = {
        "large files by the store's address": [False, False],
        "an address that is signed": HTTPStatus.NOT_IMPLEMENTED,
    }
    require(seen == wanted, where=INSIDE, want=repr(wanted), got=seen, reproduce=f"{INSIDE}/api/3.0/mlflow/server-info")


def test_bodies_and_names_are_bounded(site: Site, user: Client) -> None:
    """The server refuses names that are not its own, and bodies that it could not hold."""
    seen = user.run(_BOUNDS)

    wanted = {
        "own name": HTTPStatus.OK,
        "a foreign Host": HTTPStatus.FORBIDDEN,
        "an artifact that is too large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "a request that is too large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    }
    require(seen == wanted, where=INSIDE, want=repr(wanted), got=seen, reproduce=site.host("mlflow").name)


def _search(host: Host, headers: tuple[Header, ...], method: str = "POST") -> Request:
    """Return the request by which the page lists experiments."""
    path = "/ajax-api/2.0/mlflow/experiments/search"
    own = (*headers, ("Content-Type", "application/json"))
    return Request(host.name, path, method, own, json.dumps({"max_results": 1000}).encode())


def _names(answer: Answer) -> list[str]:
    if answer.status != HTTPStatus.OK:
        return []
    return [each["name"] for each in json.load(io.BytesIO(answer.body)).get("experiments", [])]


@pytest.mark.parametrize("group", ["platform-admins", "researchers", "annotators"])
def test_groups_see_what_was_logged(site: Site, mlflow: Host, user: Client, group: str) -> None:
    """Behind the login members of the groups that may see the page and what programs logged; others see neither."""
    _journey(site, user, "inside")
    browser, trail = site.identity.logged_in(mlflow, site.identity.shared_person(group))
    page = trail[-1].answer
    allowed = group in mlflow.gate.groups
    shown = page.status == HTTPStatus.OK and "<title>MLflow</title>" in page.text
    require(
        shown if allowed else page.status == HTTPStatus.FORBIDDEN,
        where=f"https://{mlflow}/, a member of {group}",
        want="the page" if allowed else "403",
        got=told(trail),
        reproduce=f"a browser at https://{mlflow}/",
    )
    cookies = browser.header(mlflow.name)
    origin = ("Origin", f"https://{mlflow}")

    listed = site.send(_search(mlflow, (*cookies, origin)))
    foreign = site.send(_search(mlflow, (*cookies, ("Origin", "https://evil.example"))))

    require(
        (f"{_MARK}-inside" in _names(listed)) == allowed,
        where=f"https://{mlflow}, the list of experiments, a member of {group}",
        want="the one that was logged" if allowed else "a refusal",
        got=listed,
        reproduce=site.curl(_search(mlflow, cookies)),
    )
    require(
        foreign.status == HTTPStatus.FORBIDDEN,
        where=f"https://{mlflow}, with the cookies of a member of {group}, by a page of another host",
        want="403",
        got=foreign,
        reproduce=site.curl(_search(mlflow, cookies)),
    )


def test_a_wrong_token_is_not_helped_by_a_session(site: Site, mlflow: Host, api: Host) -> None:
    """Without the right token nothing opens; a session opens the page, and helps no wrong token."""
    cookies = site.identity.session(mlflow).header(mlflow.name)
    other = site.identity.machine()
    wrong = {
        "no token": "",
        "a made-up token": "Bearer 0123456789abcdef",
        "another's token": f"Bearer {site.identity.granted(other.name, other.secret)}",
    }
    faults = []
    for name, text in wrong.items():
        headers = (("Authorization", Secret(text, "$WRONG")),) if text else ()
        for held, extra in (("", ()), (" and a session", cookies)):
            answer = site.send(_search(api, (*headers, *extra, ("Accept", "application/json"))))
            wanted = HTTPStatus.OK if held and not text else HTTPStatus.UNAUTHORIZED
            if answer.status != wanted:
                faults.append(f"{name}{held}: {answer}, not {wanted}")

    right = site.credentials(api)
    control = site.send(_search(api, right))
    faults += [] if control.status == HTTPStatus.OK else [f"the right token: {control}"]
    health = site.send(Request(api.name, "/health", headers=right))
    faults += [] if health.status == HTTPStatus.NOT_FOUND else [f"/health with a token: {health}"]
    require_none(
        faults, where=f"https://{api}", want="401 but for the right token", reproduce=site.curl(_search(api, ()))
    )


def test_run_outlives_its_server(site: Site, user: Client, api: Host) -> None:
    """A server that is killed comes back by itself, and with it the run that was logged."""
    seen = _journey(site, user, "inside")
    (pod,) = site.pods(api)
    site.kill(pod)
    path = f"/api/2.0/mlflow/runs/get?run_id={seen['run']}"

    def ask() -> Answer:
        return site.send(Request(api.name, path, headers=site.credentials(api)))

    another, until = site.replaced(api, [pod], _AGAIN)
    answer, seconds = poll(ask, lambda answer: answer.status == HTTPStatus.OK, _AGAIN)

    site.facts["MLflow, its pod killed"] = f"answers again after {until + seconds:.0f} s"
    require(
        another and answer.status == HTTPStatus.OK and seen["run"] in answer.text,
        where=f"https://{api}{path}",
        want=f"the run from another pod, within {_AGAIN:.0f} s",
        got=f"{answer} after {until + seconds:.0f} s",
        reproduce=f"kubectl -n {SERVER.namespace} delete pod {pod['metadata']['name']}",
    )
