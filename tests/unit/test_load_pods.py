"""`invoke loadtest --workers`: its objects, its token, its waits, its report, and that one run at a time goes on."""

import base64
import http.server
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from betelgeuse import claim, paths, servers, settings
from betelgeuse.builds import components, images, pins
from betelgeuse.clusters.local import cluster as nodes_now
from betelgeuse.clusters.local import target
from betelgeuse.errors import BetelgeuseError, UsageError, WaitTimeoutError
from betelgeuse.kube import ApiError, Key, Obj, UnreachableError
from conformance.workloads.rules import RULES, faults
from loadtests import client_credentials, pod, progress, report
from loadtests.workflows import loadjobs, loadpods
from loadtests.workflows.loadjobs import NAMESPACE, Load
from loadtests.workflows.loadtest import loadtest
from tests.unit.fakes import obj, refused
from tests.unit.pod_cluster import Clock, Cluster
from tests.unit.test_load_report import made

SECRET = "s3cr3t"  # noqa: S105 - no secret
LOAD = Load(
    image="ghcr.io/betelgeuse/locust:0.1.0",
    arguments=["-f", "loadtests/llm.py", "--headless", "--host", "https://llm.example.org", "--profile-name=steady"],
    workers=3,
    seconds=600,
    files=loadjobs.code(paths.ROOT),
    roots="-----BEGIN CERTIFICATE-----\n",
    token_url="https://auth.example.org/token",  # noqa: S106 - an address
    credentials={"client-id": "api-client", "client-secret": SECRET},
)
OBJECTS = loadjobs.objects(LOAD)
REPORT: dict[str, Any] = {
    "broken": [],
    "label": "llm-steady-open",
    "curves": {"x": [[n, n * 1.5] for n in range(9000)]},
}


def one(kind: str, name: str, objects: Sequence[Obj] = OBJECTS) -> Obj:
    """The object of that kind and name."""
    return next(each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))


def spec_of(role: str, objects: Sequence[Obj] = OBJECTS) -> Obj:
    """The pod spec of a role."""
    spec: Obj = one("Job", role, objects)["spec"]["template"]["spec"]
    return spec


# --- what is asked for


@pytest.mark.parametrize("said", ["0", "x", "-1", "1.5", "65", "٣", "1" * 30])
def test_workers_are_a_whole_number(said: str) -> None:
    """Anything else is refused before a tree is rendered or a cluster asked."""
    with pytest.raises(UsageError, match="--workers: expected a whole number from 1 to 64, got"):
        loadtest("local", "llm", "smoke", workers=said)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"load": "0.5"}, "--load: a closed loop has whole users"),
        ({"scenario": "batch"}, "is of kind embeddings"),
        ({"scenario": "/nowhere/mine.json"}, "there is no file /nowhere/mine.json"),
    ],
)
def test_what_locust_would_refuse_is_refused_first(said: dict[str, str], words: str) -> None:
    """And not by a pod, minutes later."""
    with pytest.raises(UsageError, match=words):
        loadtest("local", "llm", "smoke", workers="2", **said)


# --- the image


def test_a_deploy_neither_builds_nor_names_the_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is there for the verb that runs it."""
    monkeypatch.setattr(paths, "GENERATED", tmp_path)
    components.write()

    assert images.named("locust").on_demand
    assert "locust" not in {image.name for image in target.needed_images([])}
    assert "locust" not in components.path(components.LOCAL).read_text("utf-8")
    assert "locust" not in components.path(components.UPSTREAM).read_text("utf-8")


def test_the_image_is_built_once_and_loaded_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the nodes that run, not those that were asked for."""
    row, done = images.named("locust"), list[str]()
    nodes = [SimpleNamespace(name="one"), SimpleNamespace(name="two")]
    has = {"one": {images.reference(row)}, "two": set[str]()}
    monkeypatch.setattr(images, "build", lambda image: done.append(f"build {image.name}"))
    monkeypatch.setattr(nodes_now, "recorded", lambda: nodes)
    monkeypatch.setattr(nodes_now, "images_of", lambda node: has[node.name])
    monkeypatch.setattr(nodes_now, "import_image", lambda node, *_: done.append(f"import {node.name}"))

    assert target.provide(row).startswith("betelgeuse.local/locust:0.1.0-")
    assert done == ["build locust", "import two"]


# --- the objects


@pytest.mark.parametrize("role", ["master", "worker"])
@pytest.mark.parametrize("rule", RULES)
def test_pods_keep_the_rules(role: str, rule: str) -> None:
    """Those of every other pod."""
    assert faults({"metadata": {"namespace": NAMESPACE, "name": role}, "spec": spec_of(role)}, rule) == []


@pytest.mark.parametrize("role", ["master", "worker"])
def test_pods_need_nothing_of_the_api_server(role: str) -> None:
    """No token, no variables of Services, no second try, an end in time."""
    spec, job = spec_of(role), one("Job", role)["spec"]

    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert (job["backoffLimit"], job["activeDeadlineSeconds"], spec["restartPolicy"]) == (0, 600, "Never")


def test_as_many_workers_as_asked_for_on_all_nodes() -> None:
    """The master waits for each of them."""
    job = one("Job", "worker")["spec"]
    spread = job["template"]["spec"]["topologySpreadConstraints"][0]

    assert (job["parallelism"], job["completions"]) == (3, 3)
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert "--expect-workers=3" in spec_of("master")["containers"][0]["args"]


def test_only_workers_hold_the_key_and_only_as_a_file() -> None:
    """Neither arguments nor variables have it, nor any object but the Secret."""
    encoded = base64.b64encode(SECRET.encode()).decode()
    holders = [each["kind"] for each in OBJECTS if SECRET in str(each) or encoded in str(each)]
    volumes = {role: {volume["name"] for volume in spec_of(role)["volumes"]} for role in ("master", "worker")}

    assert holders == ["Secret"]
    assert ["credentials" in volumes[role] for role in ("master", "worker")] == [False, True]


def test_an_open_api_needs_no_key() -> None:
    """Where no token is asked for, no Secret is made."""
    objects = loadjobs.objects(Load("i:1", LOAD.arguments, 1, 60, {"a.py": ""}))

    assert "Secret" not in {each["kind"] for each in objects}
    assert spec_of("worker", objects)["containers"][0]["env"] == []


def _laid_out(objects: Sequence[Obj], folder: Path) -> None:
    """Write what the pods see below /load, as the kubelet does."""
    volume = next(each for each in spec_of("worker", objects)["volumes"] if each["name"] == "code")
    for source in volume["projected"]["sources"]:
        data = one("ConfigMap", source["configMap"]["name"], objects)["data"]
        assert {item["key"] for item in source["configMap"]["items"]} == data.keys()
        for item in source["configMap"]["items"]:
            assert re.fullmatch(r"[-._a-zA-Z0-9]+", item["key"])
            (folder / item["path"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / item["path"]).write_text(data[item["key"]], "utf-8")


def test_pods_run_what_the_checkout_has(tmp_path: Path) -> None:
    """The packages are importable, profiles are found, the version is known, one's own scenario is there."""
    mine = tmp_path / "mine.json"
    mine.write_text((paths.ROOT / "loadtests/scenarios/chat.json").read_text("utf-8"), "utf-8")
    _laid_out(loadjobs.objects(Load("i:1", LOAD.arguments, 1, 60, loadjobs.code(paths.ROOT, str(mine)))), tmp_path)
    say = "from loadtests import plan, report; o = plan.order('llm', 'steady', scenario_name='own/mine.json');"
    say += "print(len(plan.PROFILES), o.scenario.name, report._versions()['betelgeuse'], plan.__file__)"
    # -E: the checkout is not to be found by PYTHONPATH.
    told = subprocess.run([sys.executable, "-E", "-c", say], cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S603 - our own

    assert told.stdout.split()[:2] == ["6", "mine"]
    assert told.stdout.split()[3] == str(tmp_path / "loadtests/plan.py")


def test_code_of_any_size_travels(tmp_path: Path) -> None:
    """The API server takes a MiB for each ConfigMap; a/b.py is not a.b.py."""
    files = {f"a/{number}.py": "x" * 200_000 for number in range(9)} | {"a/b.py": "1", "a.b.py": "2"}
    objects = loadjobs.objects(Load("i:1", LOAD.arguments, 1, 60, files))
    configs = [each for each in objects if each["kind"] == "ConfigMap"]
    _laid_out(objects, tmp_path)

    assert max(len(json.dumps(each)) for each in configs) < 1 << 20
    assert {path: (tmp_path / path).read_text("utf-8") for path in files} == files


def test_nobody_is_reached_but_who_must_be() -> None:
    """The master calls nobody; workers call names, the gateway's proxies and the master."""
    policies = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "NetworkPolicy"}
    ports = [[port["port"] for port in rule["ports"]] for rule in policies["worker"]["egress"]]

    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert "egress" not in policies["master"]
    assert "ingress" not in policies["worker"]
    assert ports == [[53, 53], [10443], [5557]]


# --- the token


@pytest.fixture
def keycloak(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A token endpoint: `answers` is what it says, `asked` what it was asked."""
    seen = SimpleNamespace(status=200, answer='{"access_token": "t1"}', asked=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.asked.append((self.path, self.headers["Authorization"], self.headers["Content-Type"], body))
            self.send_response(seen.status)
            self.send_header("Content-Length", str(len(seen.answer)))
            self.end_headers()
            self.wfile.write(seen.answer.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for name in ("BETELGEUSE_CA", "BETELGEUSE_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        seen.url = f"http://127.0.0.1:{server.server_port}/realms/betelgeuse/token"
        yield seen
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The client's id and key, as the Secret's volume has them."""
    for name, text in LOAD.credentials.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_a_pod_gets_a_token_by_its_key(
    keycloak: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As RFC 6749 has it: the key in the header, the grant in the body; nothing but the token is printed."""
    monkeypatch.setenv("BETELGEUSE_TOKEN_URL", keycloak.url)
    monkeypatch.setenv("BETELGEUSE_CLIENT", str(folder))
    basic = base64.b64encode(f"api-client:{SECRET}".encode()).decode()

    assert client_credentials.main() == 0
    assert capsys.readouterr() == ("t1\n", "")
    form = "application/x-www-form-urlencoded"
    assert keycloak.asked == [("/realms/betelgeuse/token", f"Basic {basic}", form, "grant_type=client_credentials")]


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, '{"error": "unauthorized_client"}', "gives client api-client no token: HTTP 401: .*unauthorized_client"),
        (200, "{}", "answered client api-client without a token"),
        (200, "<html>", "answered client api-client without a token"),
    ],
)
def test_no_token_is_one_line_without_the_key(
    keycloak: SimpleNamespace, folder: Path, status: int, answer: str, words: str
) -> None:
    """It says who gave none, and why."""
    keycloak.status, keycloak.answer = status, answer

    with pytest.raises(RuntimeError, match=words) as caught:
        client_credentials.fetch(keycloak.url, folder)
    assert SECRET not in str(caught.value)


def test_a_missing_key_or_server_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never a traceback: the line becomes the report's reason."""
    monkeypatch.setenv("BETELGEUSE_CLIENT", str(folder))
    for url, words in (("http://127.0.0.1:9", "Connection refused"), ("", "expected http")):
        monkeypatch.setenv("BETELGEUSE_TOKEN_URL", url)
        assert client_credentials.main() == 1
        assert words in capsys.readouterr().err
    with pytest.raises(RuntimeError, match=r"BETELGEUSE_CLIENT: cannot read .*client-id"):
        client_credentials.fetch("http://127.0.0.1:9", folder / "none")


# --- the report


def _log_of(found: Mapping[str, Any]) -> list[str]:
    return ["     0 s  3 users", *pod.lines(dict(found)), "late words"]


def test_a_report_survives_a_log() -> None:
    """Numbered lines, none longer than runtimes take, other words between them."""
    log = _log_of(REPORT)

    assert len(log) > 4
    assert max(map(len, log)) < 16_000
    assert pod.read("\n".join(log)) == REPORT
    assert pod.without_report("\n".join(log)).split("\n") == [
        "     0 s  3 users",
        *[""] * (len(log) - 2),
        "late words",
        "",
    ]
    assert pod.read("no report\n") is None


@pytest.mark.parametrize(("cut", "words"), [(slice(3, None), "2 of"), (slice(0, -3), "of .* lines are missing")])
def test_a_log_that_was_cut_is_no_report(cut: slice, words: str) -> None:
    """Rotated at its begin, or not written to its end."""
    with pytest.raises(pod.CutError, match=words):
        pod.read("\n".join(_log_of(REPORT)[cut]))


def test_a_damaged_report_is_none() -> None:
    """The digest tells."""
    log = "\n".join(_log_of(REPORT))
    for damaged in (re.sub(r"(REPORT 1/\d+ )....", r"\1AAAA", log), re.sub(r"(REPORT 1/\d+ )....", r"\1A", log)):
        with pytest.raises(pod.CutError, match="damaged"):
            pod.read(damaged)


def test_the_master_prints_the_report_behind_locust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And ends with its exit code."""
    (tmp_path / "locust.py").write_text(
        "import sys, pathlib\n"
        "folder = pathlib.Path(sys.argv[-1].partition('=')[2]); folder.mkdir()\n"
        "(folder / 'loadtest-llm-steady-open.json').write_text('{\"broken\": [\"x\"]}')\n"
        "print('asked:', *sys.argv[1:-1]); sys.exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(pod, "REPORTS", tmp_path / "reports")
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert pod.main(["-f", "x.py"]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)

    said = capfd.readouterr().out
    assert said.startswith("asked: -f x.py\nREPORT 0/1 ")
    assert pod.read(said) == {"broken": ["x"]}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes when somebody sleeps."""
    fake = Clock()
    monkeypatch.setattr(claim, "time", fake)
    monkeypatch.setattr(loadpods, "time", fake)
    return fake


# --- waits


def a_pod(name: str, role: str = "worker", state: Mapping[str, Any] | None = None, **status: object) -> Obj:
    """A pod whose container is in a state."""
    containers = [{"name": "locust", "state": state}] if state is not None else []
    labels = {"app.kubernetes.io/component": role}
    return obj("v1", "Pod", name, NAMESPACE, labels=labels, status={"containerStatuses": containers, **status})


RUNNING: Mapping[str, Any] = {"running": {}}
UNSCHEDULABLE = [
    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}
]


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    """A container's state at its end."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("pods", "warning", "words"),
    [
        ([a_pod("w", state=RUNNING), a_pod("m", state=ended(0))], "", ""),
        ([], "", "0 of 2 pods run (the Job's controller has not made all of them yet)"),
        ([], "FailedCreate: quota", "0 of 2 pods run (FailedCreate: quota)"),
        (
            [a_pod("w", phase="Pending", conditions=UNSCHEDULABLE), a_pod("m", state=RUNNING)],
            "",
            "1 of 2 pods run (pod w: Unschedulable: 0/1 nodes: Insufficient cpu)",
        ),
        (
            [a_pod("w", state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})],
            "",
            "0 of 2 pods run (pod w: ErrImagePull: not found)",
        ),
        (
            [a_pod("w", state={"waiting": {"reason": "ContainerCreating"}})],
            "FailedMount: no code-0",
            "0 of 2 pods run (pod w: ContainerCreating; FailedMount: no code-0)",
        ),
    ],
)
def test_a_wait_says_why(pods: list[Obj], warning: str, words: str) -> None:
    """Quotas, the scheduler, the registry, the kubelet: each in its own words."""
    assert loadpods.missing(pods, 2, warning) == words


def test_a_crash_is_told_with_its_last_line() -> None:
    """Also when the kubelet, not the container, failed."""
    fell = a_pod("w", state=ended(137, "one\nKilled\n\n", "OOMKilled"))

    assert loadpods.crash(fell) == "pod w ended with exit code 137 (OOMKilled): Killed"
    assert loadpods.crash(a_pod("w", phase="Failed", reason="Evicted", message="disk")) == "pod w failed: Evicted: disk"
    assert not loadpods.crash(a_pod("w", state=ended(0)))
    assert not loadpods.crash(a_pod("w", state=RUNNING, phase="Running"))


def follow(cluster: Cluster, tmp_path: Path) -> loadpods.Follower:
    """A follower of a run with one worker."""
    return loadpods.Follower(cluster.kube, Load("i:1", [], 1, 600, {}), tmp_path / "log")


def test_a_run_is_followed_to_its_end(clock: Clock, tmp_path: Path) -> None:
    """What is missing, then what it is at; an API server that is away for a moment does not end it."""
    del clock
    cluster = Cluster(a_pod("m", "master", RUNNING), a_pod("w", state={"waiting": {"reason": "ContainerCreating"}}))
    cluster.put(obj("v1", "Event", "e", NAMESPACE, type="Warning", reason="FailedMount", message="no code-0"))
    follower = follow(cluster, tmp_path)
    assert follower.look() is None
    assert follower.words == "1 of 2 pods run (pod w: ContainerCreating; FailedMount: no code-0)"

    cluster.put(a_pod("w", state=RUNNING))
    assert (follower.look(), follower.words) == (None, "the workers connect to the master")
    cluster.logs["m"] = f"llm-steady\n{progress.line('json', 10, 5, 'users')}\nwords\n"
    assert (follower.look(), follower.words) == (None, "10 s  5 users")
    cluster.refuse = [UnreachableError("away"), refused(500, "etcd")]
    assert (follower.look(), follower.words) == (None, "away")
    assert follower.look() is None
    cluster.put(a_pod("m", "master", ended(1)))
    assert follower.look() is not None
    cluster.refuse = [refused(403, "no")]
    with pytest.raises(ApiError):
        follower.look()


def test_a_lost_worker_ends_the_run(clock: Clock, tmp_path: Path) -> None:
    """Its figures are no longer those of the load that was asked for."""
    del clock
    cluster = Cluster(a_pod("m", "master", RUNNING), a_pod("w", state=ended(1, "ImportError: x")))

    with pytest.raises(BetelgeuseError, match=r"a worker is lost.*exit code 1 \(Error\): ImportError: x"):
        follow(cluster, tmp_path).look()


def test_waits_end(clock: Clock, tmp_path: Path) -> None:
    """With the reason: pods that never start, a run that never ends, a master that Kubernetes stopped."""
    cluster = Cluster(a_pod("m", "master", RUNNING), a_pod("w", phase="Pending", conditions=UNSCHEDULABLE))
    follower = follow(cluster, tmp_path)
    follower.begin = clock.now
    assert follower.look() is None
    clock.now += 301
    with pytest.raises(WaitTimeoutError, match=r"not all pods .* after 300 s: 1 of 2 pods run .*Insufficient cpu"):
        follower.look()
    clock.now += 600
    with pytest.raises(WaitTimeoutError, match=r"the run did not end within 780 s: 1 of 2 pods run"):
        follower.look()


@pytest.mark.parametrize(
    ("condition", "error", "words"),
    [
        ({"reason": "DeadlineExceeded"}, WaitTimeoutError, "did not end within 600 s and was stopped"),
        ({"reason": "BackoffLimitExceeded", "message": "m"}, BetelgeuseError, "gone.*BackoffLimitExceeded: m"),
        (None, BetelgeuseError, "its pod was deleted"),
    ],
)
def test_a_master_that_is_gone_is_explained(
    clock: Clock, tmp_path: Path, condition: dict[str, str] | None, error: type[Exception], words: str
) -> None:
    """By its Job."""
    del clock
    cluster = Cluster(a_pod("m", "master", RUNNING), a_pod("w", state=RUNNING))
    follower = follow(cluster, tmp_path)
    follower.look()
    cluster.delete(a_pod("m", "master"))
    conditions = [{"type": "Failed", "status": "True", **condition}] if condition else []
    cluster.put(obj("batch/v1", "Job", "master", NAMESPACE, status={"conditions": conditions}))

    with pytest.raises(error, match=words):
        follower.look()


def test_the_report_is_fetched_from_the_log(clock: Clock, tmp_path: Path) -> None:
    """Once it is whole: a node may be a moment behind."""
    cluster, log = Cluster(), _log_of(REPORT)
    cluster.logs["m"] = "\n".join(log[:-3])
    clock.events = [lambda: None, lambda: cluster.logs.update(m="\n".join(log))]

    assert loadpods.deliver(cluster.kube, a_pod("m", "master", ended(1)), tmp_path / "log") == REPORT
    assert "REPORT" not in (tmp_path / "log").read_text("utf-8")


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("\n".join(_log_of(REPORT)[:-3]), 0, "the report in the master's log is cut: .* lines are missing; see"),
        ("Gave up waiting for workers to connect\n", 1, "ended with exit code 1 .*: Gave up waiting"),
        ("last words\n", 0, "the master wrote no report: last words; see"),
        (None, 0, "the master wrote no report: it said nothing; see"),
    ],
)
def test_no_report_is_one_line(clock: Clock, tmp_path: Path, log: str | None, code: int, words: str) -> None:
    """That says what there is instead."""
    del clock
    cluster = Cluster()
    cluster.logs |= {"m": log} if log is not None else {}

    with pytest.raises(BetelgeuseError, match=words):
        loadpods.deliver(cluster.kube, a_pod("m", "master", ended(code, log or "")), tmp_path / "log")


# --- all of it


@pytest.mark.parametrize(("broken", "code"), [([], 0), (["p95: at most 1, got 2"], 1)])
def test_a_run_ends_as_one_on_this_machine(  # noqa: PLR0913, PLR0917 - fixtures and a table's columns
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: list[str],
    code: int,
) -> None:
    """The same files, summary and exit code; and nothing is left in the cluster."""
    cluster, applied = Cluster(), list[Key]()
    found = report.finite(made()) | {"broken": broken}
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    monkeypatch.setattr(loadpods, "reached", lambda *_: (cluster.kube, [], "", None))
    monkeypatch.setattr(loadpods, "_image", lambda _: "i:1")
    monkeypatch.setattr("loadtests.page.page", lambda _: "<html>")

    def start() -> None:
        applied.extend(key for _, key in cluster.log)
        cluster.put(a_pod("m", "master", RUNNING))
        cluster.put(a_pod("w", state=RUNNING))

    def end() -> None:
        cluster.logs["m"] = "\n".join(["llm-smoke", *pod.lines(found), ""])
        cluster.put(a_pod("m", "master", ended(code)))

    clock.events = [start, lambda: None, end]
    assert loadtest("local", "llm", "smoke", workers="1", seconds="30") == code

    assert {key.kind for key in applied} >= {"Job", "NetworkPolicy", "ConfigMap", "Service", "ServiceAccount"}
    assert cluster.objects == {}
    assert capsys.readouterr().out == f"{report.summary(found)}\n"
    assert json.loads((tmp_path / "loadtest-llm-smoke-closed.json").read_text("utf-8")) == found
    assert (tmp_path / "loadtest-llm-smoke-closed.html").is_file()


@pytest.mark.parametrize(
    ("env", "listed", "by"),
    [("local", [], "target"), ("kind", [], "kind"), ("hetzner", ["one"], "hosts"), ("hetzner", [], "pins")],
)
def test_each_kind_of_cluster_gets_the_image_its_way(
    monkeypatch: pytest.MonkeyPatch, env: str, listed: list[str], by: str
) -> None:
    """Loaded into nodes of ours, carried to servers, pulled from one's own registry by clusters of others."""
    monkeypatch.setattr(servers, "load", lambda _: listed)
    for name in ("target", "kind", "hosts"):
        monkeypatch.setattr(getattr(loadpods, name), "provide", lambda *said, name=name: f"{name} {said[-1].name}")
    monkeypatch.setattr(pins, "provided", lambda _, image: f"pins {image.name}")

    assert loadpods._image(settings.load(env)) == f"{by} locust"


def test_the_declared_clients_key_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its Secret in the cluster; one that holds none yet is told."""
    place = Key("", "Secret", "auth", "api-client")
    declared = SimpleNamespace(id="api-client", secret=place)
    monkeypatch.setattr(loadpods, "clients", lambda *_: [])
    monkeypatch.setattr(loadpods, "machine", lambda *_: declared)
    data = {"client-secret": base64.b64encode(SECRET.encode()).decode()}
    cluster = Cluster(obj("v1", "Secret", "api-client", "auth", data=data))
    chosen = settings.load("local")

    assert loadpods._credentials(cluster.kube, [], chosen, "api-client") == LOAD.credentials
    cluster.objects.clear()
    with pytest.raises(BetelgeuseError, match="holds no key yet"):
        loadpods._credentials(cluster.kube, [], chosen, "api-client")
