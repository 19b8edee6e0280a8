"""Notebooks: a server for each person of the right groups, with the platform's models and stores, and nobody else's."""

import json
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from betelgeuse import paths
from conformance.jupyter import NAMESPACE, CellError, Workplace, sign_on, working
from conformance.probes.http import Request
from conformance.probes.oidc import told
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none
from conformance.workloads.rules import RULES, faults, mounts_token

pytestmark = pytest.mark.feature("notebooks")

_EXAMPLES = sorted(path.stem for path in (paths.ROOT / "apps" / "workbench" / "examples").glob("*.ipynb"))
_TOKEN_SECONDS = 300
"""The longest life of a token of the realm."""
_RUN = """
import subprocess, sys
program = '''
import nbclient, nbformat
notebook = nbformat.read("{name}.ipynb", as_version=4)
nbclient.NotebookClient(notebook, timeout={seconds}).execute()
print("cells:", sum(cell.cell_type == "code" and cell.execution_count is not None for cell in notebook.cells))
'''
done = subprocess.run([sys.executable, "-c", program], cwd="/home/researcher/examples", capture_output=True, text=True)
print(done.stdout if done.returncode == 0 else "FAILED " + done.stderr.strip()[-400:])
"""
_CONNECT = """
import socket
for host, port in {places!r}:
    try:
        socket.create_connection((host, port), 4).close()
        print(host, port, "open")
    except OSError as error:
        print(host, port, type(error).__name__)
"""
_CLAIMS = """
import base64, json, workbench
body = workbench.token().split(".")[1]
print(json.dumps(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))))
"""


@pytest.fixture(scope="module")
def workplace(site: Site) -> Iterator[Workplace]:
    """Return a researcher with a server that runs."""
    with working(site, "researchers") as found:
        yield found


@pytest.fixture(scope="module")
def colleague(site: Site) -> Iterator[Workplace]:
    """Return another researcher with a server that runs."""
    with working(site, "researchers") as found:
        yield found


def test_person_runs_a_cell(workplace: Workplace) -> None:
    """Who signs on as a researcher gets a server by the hub's page, and a kernel that computes."""
    printed = workplace.run("print(6 * 7)")

    require(
        printed.strip() == "42",
        where=workplace.url(workplace.own("lab")),
        want="42 printed by a cell",
        got=printed,
        reproduce=f"a browser at {workplace.url('/')}",
    )


def test_server_is_confined(workplace: Workplace) -> None:
    """The pod keeps every rule, has no token for the cluster, and of its own root nothing can be changed."""
    (pod,) = workplace.pods()
    broken = [fault for rule in RULES for fault in faults(pod, rule)]
    broken += ["mounts a token for the Kubernetes API"] if mounts_token(pod) else []
    tried = workplace.run(
        "import os, pathlib\n"
        "for path in ('/opt/x', '/etc/x', '/usr/share/x', '/home/researcher/x', '/tmp/x'):\n"
        "    try:\n"
        "        pathlib.Path(path).touch(); print(path, 'written')\n"
        "    except OSError as error:\n"
        "        print(path, error.strerror)\n"
        "print('user', os.getuid())"
    )
    lines = dict(line.split(maxsplit=1) for line in tried.strip().splitlines())
    writable = {path for path, said in lines.items() if said == "written"}
    broken += [f"{path} can be written" for path in writable - {"/home/researcher/x", "/tmp/x"}]  # noqa: S108 - its own
    broken += [f"{path} cannot be written" for path in {"/home/researcher/x", "/tmp/x"} - writable]  # noqa: S108

    require_none(
        [*broken, *(["runs as root"] if lines.get("user") == "0" else [])],
        where=f"pod {NAMESPACE}/{pod['metadata']['name']}",
        want="a pod that keeps the rules, and a root that is read-only",
        reproduce=f"kubectl -n {NAMESPACE} get pod {pod['metadata']['name']} -o yaml",
    )


@pytest.mark.parametrize("groups", [("annotators",), ()], ids=["annotator", "outsider"])
def test_others_are_refused(site: Site, groups: tuple[str, ...]) -> None:
    """Who is in no group that may have a server is told so after signing on, and gets none."""
    stranger = sign_on(site, *groups)
    started = stranger.browser.open(stranger.url("/hub/spawn"))
    made = stranger.pods()

    require(
        stranger.trail[-1].answer.status == HTTPStatus.FORBIDDEN
        and started[-1].answer.status == HTTPStatus.FORBIDDEN
        and not made,
        where=stranger.url("/hub/spawn"),
        want="403 at the end of the sign-on, and no pod",
        got=f"{told(stranger.trail)}; then {told(started)}; {len(made)} pods",
        reproduce=f"a browser at {stranger.url('/')}, as a member of {', '.join(groups) or 'no group'}",
    )


def test_nobody_is_let_in_without_signing_on(site: Site) -> None:
    """Without a session the APIs of hub and servers are refused, a page leads to the realm, metrics are not there."""
    host = site.host("jupyter")
    api = site.send(Request(host.name, "/hub/api/users"))
    server = site.send(Request(host.name, "/user/nobody/api/contents"))
    page = site.identity.browser().open(f"https://{host}/")
    metrics = site.send(Request(host.name, "/hub/metrics"))

    require(
        api.status == HTTPStatus.FORBIDDEN
        and server.status not in {0, HTTPStatus.OK}
        and page[-1].host == site.identity.host.name
        and b"jupyterhub_running_servers" not in metrics.body,
        where=f"https://{host}",
        want="403 from the API, no answer of a server, the realm's page, no metrics",
        got=f"API {api.status}, server {server.status}, page {told(page)}, metrics {metrics.status}",
        reproduce=f"curl -i https://{host}/hub/api/users",
    )


def test_person_cannot_use_anothers_server(workplace: Workplace, colleague: Workplace) -> None:
    """A colleague's server is no more to a person than a refusal: its pages, its files, its kernels."""
    page = workplace.browser.open(workplace.url(colleague.own("lab")))
    seen = {
        path: workplace.ask(colleague.own(path), method, {} if method == "POST" else None).status
        for path, method in (("api/contents", "GET"), ("api/kernels", "POST"), ("files/examples/sql.ipynb", "GET"))
    }
    own = workplace.ask(workplace.own("api/contents")).status
    refused = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.FOUND}

    require(
        page[-1].answer.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
        and set(seen.values()) <= refused
        and own == HTTPStatus.OK,
        where=workplace.url(colleague.own()),
        want="403 for a colleague's server, 200 for one's own",
        got=f"page {told(page)}; {seen}; own {own}",
        reproduce=f"a browser at {workplace.url(colleague.own('lab'))}, as another person",
    )


def test_server_reaches_no_other_server(workplace: Workplace, colleague: Workplace) -> None:
    """The network between two people's pods is shut; to the hub, the control, it is open."""
    (pod,) = colleague.pods()
    (own,) = workplace.pods()
    places = [
        (pod["status"]["podIP"], 8888),
        ("jupyterhub.ml.svc.cluster.local", 8081),
        ("jupyterhub-proxy.ml.svc.cluster.local", 8001),
        ("llm.ai.svc.cluster.local", 80),
        ("kubernetes.default.svc.cluster.local", 443),
    ]
    printed = workplace.run(_CONNECT.format(places=places))
    reached = [line.split()[0] for line in printed.splitlines() if line.endswith("open")]

    require(
        reached == ["jupyterhub.ml.svc.cluster.local"],
        where=f"pod {NAMESPACE}/{own['metadata']['name']}",
        want="the hub reached; not a colleague's server, the proxy's table, a model without its gate, the API server",
        got=printed,
        reproduce=f"kubectl -n {NAMESPACE} describe networkpolicy notebook",
    )


def test_models_learn_who_asks(workplace: Workplace) -> None:
    """The token that a notebook shows the models is the person's own, for these APIs, and good for minutes."""
    claims = json.loads(workplace.run(_CLAIMS))
    left = claims["exp"] - time.time()

    require(
        claims.get("preferred_username") == workplace.person.name
        and {"llm", "embeddings"} <= set(claims["aud"])
        and 0 < left <= _TOKEN_SECONDS,
        where="workbench.token() in a cell",
        want=f"{workplace.person.name}'s, for llm and embeddings, good for at most {_TOKEN_SECONDS} s",
        got={key: claims.get(key) for key in ("preferred_username", "aud", "azp")} | {"seconds left": round(left)},
        reproduce="import workbench; workbench.token()",
    )


@pytest.mark.parametrize("example", _EXAMPLES)
def test_example_runs_to_its_end(workplace: Workplace, example: str) -> None:
    """Every example of a new home runs to its end, as it is, without a credential in it."""
    source = Path(paths.ROOT, "apps", "workbench", "examples", f"{example}.ipynb")
    cells = [cell for cell in json.loads(source.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    try:
        printed = workplace.run(_RUN.format(name=example, seconds=int(TIMEOUTS.notebook)))
    except CellError as error:
        printed = str(error)

    require(
        printed.strip() == f"cells: {len(cells)}",
        where=f"examples/{example}.ipynb in {workplace.own()}",
        want=f"all {len(cells)} cells run",
        got=printed,
        reproduce=f"open examples/{example}.ipynb, Run All Cells",
    )


def test_home_outlives_its_server(workplace: Workplace) -> None:
    """What somebody saved is there after the server was stopped and started again."""
    workplace.run("import pathlib; pathlib.Path('/home/researcher/kept.txt').write_text('kept')")
    (before,) = workplace.pods()
    workplace.stop()
    workplace.start()
    (after,) = workplace.pods()
    printed = workplace.run("print(open('/home/researcher/kept.txt').read())")

    require(
        printed.strip() == "kept" and before["metadata"]["uid"] != after["metadata"]["uid"],
        where=workplace.own(),
        want="the file of before, in another pod",
        got=printed,
        reproduce=f"kubectl -n {NAMESPACE} get pvc",
    )


def test_idle_servers_are_stopped(site: Site) -> None:
    """The program that stops idle servers runs beside the hub, and waits for hours, not for minutes or days."""
    admin = sign_on(site, "platform-admins")
    answer = admin.ask("/hub/api/services/idle-culler")
    service = json.loads(answer.body) if answer.status == HTTPStatus.OK else {}
    options = dict(word[2:].split("=", 1) for word in service.get("command", ()) if word.startswith("--"))
    hours = int(options.get("timeout", 0)) / 3600

    require(
        1 <= hours <= 24 and service.get("pid"),
        where=admin.url("/hub/api/services/idle-culler"),
        want="a program that runs and stops servers after 1 to 24 idle hours",
        got=service or answer,
        reproduce="kubectl -n ml exec deployment/jupyterhub -- ps ax",
    )
