"""The ways to Keycloak: a forwarded port, the administrator's session, a token through the gateway."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, cast

import pytest

from betelgeuse import paths
from betelgeuse.certificate import self_signed
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.identity import admin as admins
from betelgeuse.identity import forward, token
from betelgeuse.identity.admin import Admin, Credentials, KeycloakError, reason, settle
from betelgeuse.identity.people import Person
from betelgeuse.kube import Key, command
from betelgeuse.settings import Settings
from betelgeuse.tree import Client
from betelgeuse.workflows import realm
from betelgeuse.workflows import user as verbs

SETTINGS = Settings(env="local", domain="a.test", gateway_addresses=("127.0.0.1",), kube_context="ours")
API = Client("api", Key("", "Secret", "auth", "api"), audiences=("llm",))
PORTAL = Client("portal", Key("", "Secret", "portal", "p"), host="portal.a.test", callback="/c")
TOKEN = "/realms/master/protocol/openid-connect/token"  # noqa: S105 - an address
GIVEN = (200, {"access_token": "canary", "expires_in": 60, "token_type": "Bearer"})
REFUSED = (401, {"error": "invalid_grant", "error_description": "Invalid user credentials"})
Answer = tuple[int, object]


class Server(ThreadingHTTPServer):
    """Gives the answers it was told to, one after the other for each request; the last one again and again."""

    daemon_threads = True
    answers: dict[str, list[Answer]]
    seen: list[tuple[str, str, str]]


class Handler(BaseHTTPRequestHandler):
    """Speaks for the server."""

    protocol_version = "HTTP/1.1"
    keys: ClassVar[dict[str, str]] = {"Location": "http://x/admin/realms/r/users/id-7"}

    def _answer(self) -> None:
        server = cast("Server", self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        server.seen.append((f"{self.command} {self.path}", body, self.headers.get("Authorization", "")))
        queue = server.answers.get(f"{self.command} {self.path}", [(404, {"error": "Could not find resource"})])
        status, content = queue.pop(0) if len(queue) > 1 else queue[0]
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, word in self.keys.items():
            self.send_header(name, word)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's own names

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def serving(answers: dict[str, list[Answer]], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server on a port of the kernel's choice."""
    server = Server(("127.0.0.1", 0), Handler)
    server.answers, server.seen = answers, []
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def administrator(answers: dict[str, list[Answer]]) -> Iterator[tuple[Admin, Server]]:
    """Give a session with a server."""
    with serving({f"POST {TOKEN}": [GIVEN], **answers}) as server:
        admin = Admin(f"http://127.0.0.1:{server.server_address[1]}", "admin")
        try:
            yield admin, server
        finally:
            admin.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the first failure for the last."""
    monkeypatch.setattr(admins, "_RECOVERY_SECONDS", 0.0)
    monkeypatch.setattr(admins, "_PAUSE", 0.01)


def test_a_failure_inside_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart of its database Keycloak fails a few times; only what creates something is not sent again."""
    monkeypatch.setattr(admins, "_RECOVERY_SECONDS", 30.0)
    broken: Answer = (500, {"error": "unknown_error", "error_description": "consult the server log"})
    answers: dict[str, list[Answer]] = {
        f"POST {TOKEN}": [broken, broken, GIVEN],
        "GET /admin/realms/r": [broken, (200, {})],
        "POST /admin/realms/r/users": [broken, (201, "")],
    }
    with administrator(answers) as (admin, server):
        assert admin.login("pw")
        assert admin.get("/r") == {}
        with pytest.raises(KeycloakError, match=r"POST /r/users: consult the server log \(HTTP 500\)"):
            admin.post("/r/users", {})
        assert len(server.seen) == 6


def test_the_four_verbs() -> None:
    """Found, created with its id, set, removed; what is gone is None or no failure."""
    answers: dict[str, list[Answer]] = {
        "GET /admin/realms/r": [(200, {"realm": "r"})],
        "POST /admin/realms/r/users": [(201, "")],
        "PUT /admin/realms/r/users/id-7": [(204, "")],
        "DELETE /admin/realms/r/users/id-7": [(204, "")],
    }
    with administrator(answers) as (admin, server):
        assert admin.login("pw")
        assert admin.get("/r") == {"realm": "r"}
        assert admin.get("/none") is None
        assert admin.post("/r/users", {"username": "x"}) == "id-7"
        admin.put("/r/users/id-7", {"enabled": False})
        admin.delete("/r/users/id-7")
        admin.delete("/r/users/gone")

    assert "grant_type=password&client_id=admin-cli&username=admin&password=pw" in server.seen[0][1]
    assert {authorization for _, _, authorization in server.seen[1:]} == {"Bearer canary"}


def test_an_old_token_is_renewed_once() -> None:
    """A token lives a minute: the request is sent again with a new one; a second refusal is an error."""
    unauthorized: Answer = (401, {"error": "HTTP 401 Unauthorized"})
    with administrator({"GET /admin/realms/r": [unauthorized, (200, {})]}) as (admin, server):
        admin.login("pw")
        assert admin.get("/r") == {}
        assert [line for line, _, _ in server.seen].count(f"POST {TOKEN}") == 2
    with administrator({"GET /admin/realms/r": [unauthorized]}) as (admin, _):
        admin.login("pw")
        with pytest.raises(KeycloakError, match=r"Keycloak refuses GET /r: HTTP 401 Unauthorized \(HTTP 401\)"):
            admin.get("/r")


def test_failures_are_one_line() -> None:
    """Keycloak's words where it has some; a missing place is an error for who wants to write there."""
    answers: dict[str, list[Answer]] = {
        "POST /admin/realms/r/users": [(409, {"errorMessage": "User exists with same username"})],
        "GET /admin/realms/r": [(500, "<html>\nproxy")],
    }
    with administrator(answers) as (admin, _):
        with pytest.raises(KeycloakError, match=r"POST /r/users: User exists with same username \(HTTP 409\)$"):
            admin.post("/r/users", {})
        with pytest.raises(KeycloakError, match=r"GET /r: no explanation \(HTTP 500\)$"):
            admin.get("/r")
        with pytest.raises(KeycloakError, match=r"PUT /r/none: Could not find resource \(HTTP 404\)$"):
            admin.put("/r/none", {})
    assert reason(400, b"[]") == "no explanation (HTTP 400)"


def test_nobody_there_is_said() -> None:
    """A closed port is one line with what to do."""
    admin = Admin("http://127.0.0.1:9", "admin")

    with pytest.raises(KeycloakError, match=r"Keycloak does not answer: .*refused.*; `invoke status` says") as caught:
        admin.login("pw")
    assert "\n" not in str(caught.value)
    admin.close()


def test_another_refusal_of_the_login_is_told() -> None:
    """Only a wrong password may be tried again with another."""
    with (
        administrator({f"POST {TOKEN}": [(503, {"error": "temporarily_unavailable"})]}) as (admin, _),
        pytest.raises(KeycloakError, match=r"gives its administrator no token: temporarily_unavailable \(HTTP 503\)"),
    ):
        admin.login("pw")


KNOWN = Credentials("admin", "new", ("old",))
USERS = "GET /admin/realms/master/users?exact=true&username=admin"
RESET = "PUT /admin/realms/master/users/u-1/reset-password"


def test_every_refused_field_is_told() -> None:
    """Keycloak says one problem in a way of its own, several as a list."""
    one = {"field": "email", "errorMessage": "error-invalid-email", "params": ["email"]}
    two = {"errors": [one, {"field": "lastName", "errorMessage": "error-person-name-invalid-character"}]}
    for content, fields in ((one, ["email"]), (two, ["email", "lastName"]), ([], []), ({"errors": 3}, [])):
        with administrator({"POST /admin/realms/r/users": [(400, content)]}) as (admin, _):
            with pytest.raises(KeycloakError, match=r"POST /r/users: .* \(HTTP 400\)") as caught:
                admin.post("/r/users", {})
            assert [problem.field for problem in caught.value.problems] == fields


ACCOUNT = {"id": "u-9", "username": "ann", "email": "old@a.test", "enabled": True}
LOOK_UP = "GET /admin/realms/betelgeuse/users?exact=true&username=ann"
PUT_ACCOUNT = "PUT /admin/realms/betelgeuse/users/u-9"


@contextmanager
def keycloak(answers: dict[str, list[Answer]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Stand in for the cluster and its Keycloak, as `invoke user` meets them."""
    groups = [{"id": "g-1", "name": "researchers"}]
    with administrator({"GET /admin/realms/betelgeuse/groups": [(200, groups)], **answers}) as (admin, server):

        @contextmanager
        def session(*_: object) -> Iterator[tuple[Admin, Credentials]]:
            yield admin, KNOWN

        monkeypatch.setattr(verbs, "opened", lambda _: (SETTINGS, None, []))
        monkeypatch.setattr(realm, "provider", lambda _: {})
        monkeypatch.setattr(realm, "session", session)
        yield server


def test_an_accounts_details_are_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said of an account that exists is set and told; its password stays."""
    found: Answer = (200, [ACCOUNT])
    answers: dict[str, list[Answer]] = {LOOK_UP: [found], PUT_ACCOUNT: [(204, "")]}
    answers[PUT_ACCOUNT.replace("PUT", "GET")] = [(200, ACCOUNT)]
    with keycloak(answers, monkeypatch) as server:
        verbs.user("local", Person("ann", "new@a.test"), [])
        bodies = {line: body for line, body, _ in server.seen}
    captured = capsys.readouterr()

    assert json.loads(bodies[PUT_ACCOUNT]) == {**ACCOUNT, "email": "new@a.test", "emailVerified": True}
    assert "account ann found; set email; added to no group" in captured.err
    assert captured.out == ""


def test_a_first_login_asks_for_what_was_not_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The password alone where everything was; a name that Keycloak refuses is wrong input."""
    made: Answer = (201, "")
    answers: dict[str, list[Answer]] = {
        LOOK_UP: [(200, [])],
        "POST /admin/realms/betelgeuse/users": [made, made, (400, {"field": "username", "errorMessage": "error-x"})],
        "PUT /admin/realms/betelgeuse/users/id-7/reset-password": [(204, "")],
    }
    with keycloak(answers, monkeypatch):
        verbs.user("local", Person("ann", "a@a.test", "Ann", "Example"), [])
        whole = capsys.readouterr()
        verbs.user("local", Person("ann", "a@a.test"), [])
        part = capsys.readouterr()
        with pytest.raises(UsageError, match=r"--name must be 3 to 255 .* got 'ann': .*error-x"):
            verbs.user("local", Person("ann"), [])

    assert "the first login will ask" not in whole.err
    assert "the first login will ask for what --first-name, --last-name would have said" in part.err
    assert [len(each.out.strip()) for each in (whole, part)] == [20, 20]


def test_the_present_password_changes_nothing() -> None:
    """The ordinary case: one request."""
    with administrator({}) as (admin, server):
        assert settle(admin, KNOWN, dry_run=False) == []
        assert len(server.seen) == 1


def test_an_interrupted_rotation_is_finished() -> None:
    """The new password is refused, the one before it works: Keycloak gets the new one, and it must work then."""
    user: Answer = (200, [{"id": "u-1", "username": "admin"}])
    answers: dict[str, list[Answer]] = {f"POST {TOKEN}": [REFUSED, GIVEN, GIVEN], USERS: [user], RESET: [(204, "")]}
    with administrator(answers) as (admin, server):
        assert settle(admin, KNOWN, dry_run=False) == ["administrator admin: password set to the cluster's"]
        assert {line: body for line, body, _ in server.seen}[RESET] == json.dumps(
            {"type": "password", "value": "new", "temporary": False}
        )


def test_a_dry_run_leaves_the_password() -> None:
    """It only tells."""
    with administrator({f"POST {TOKEN}": [REFUSED, GIVEN]}) as (admin, server):
        assert len(settle(admin, KNOWN, dry_run=True)) == 1
        assert all(line == f"POST {TOKEN}" for line, _, _ in server.seen)


def test_a_stranger_password_is_an_error() -> None:
    """Nothing works: somebody changed it in Keycloak; the line says where to read on, and shows no password."""
    with administrator({f"POST {TOKEN}": [REFUSED]}) as (admin, _):
        with pytest.raises(KeycloakError, match=r"somebody changed it there: docs/how-to/identity\.md") as caught:
            settle(admin, KNOWN, dry_run=False)
        assert "old" not in str(caught.value)
    assert (paths.ROOT / "docs" / "how-to" / "identity.md").is_file()
    assert "new" not in repr(KNOWN)


def test_a_rescue_administrator_helps_once() -> None:
    """Made by hand inside the cluster, it sets the ordinary one's password back and is removed."""
    answers: dict[str, list[Answer]] = {
        f"POST {TOKEN}": [REFUSED, REFUSED, GIVEN, GIVEN],
        USERS: [(200, [{"id": "u-1", "username": "admin"}])],
        RESET: [(204, "")],
        "GET /admin/realms/master/users?exact=true&username=rescue": [(200, [{"id": "u-2", "username": "rescue"}])],
        "DELETE /admin/realms/master/users/u-2": [(204, "")],
    }
    with administrator(answers) as (admin, server):
        assert settle(admin, KNOWN, dry_run=False) == ["administrator admin: password set to the cluster's"]
        assert server.seen[-1][0] == "DELETE /admin/realms/master/users/u-2"
        assert "username=rescue&password=new" in server.seen[2][1]


def test_a_password_that_does_not_take_is_an_error() -> None:
    """And so is an administrator that is not there."""
    answers: dict[str, list[Answer]] = {
        f"POST {TOKEN}": [REFUSED, GIVEN, REFUSED],
        USERS: [(200, [{"id": "u-1", "username": "admin"}])],
        RESET: [(204, "")],
    }
    with administrator(answers) as (admin, _), pytest.raises(KeycloakError, match="took the administrator's new"):
        settle(admin, KNOWN, dry_run=False)
    answers = {f"POST {TOKEN}": [REFUSED, GIVEN], USERS: [(200, [])]}
    with (
        administrator(answers) as (admin, _),
        pytest.raises(KeycloakError, match="no user 'admin' in the realm master"),
    ):
        settle(admin, KNOWN, dry_run=False)


def program(folder: Path, text: str) -> list[str]:
    """Return the command of a program in kubectl's place."""
    path = folder / "kubectl"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return [str(path)]


SPEAKING = """
import sys, time
print("Forwarding from 127.0.0.1:45678 -> 8080", flush=True)
time.sleep(60)
"""


def test_a_port_is_given_when_it_listens(tmp_path: Path) -> None:
    """The port is the one that was announced, and the program is gone afterwards, whatever happened meanwhile."""
    argv = program(tmp_path, SPEAKING + f"# {tmp_path}")

    with forward.held(argv, "pod a/b", dict(os.environ)) as port:
        running = _running(argv[0])
    with pytest.raises(ZeroDivisionError), forward.held(argv, "pod a/b", dict(os.environ)):
        raise ZeroDivisionError

    assert (port, len(running), _running(argv[0])) == (45678, 1, [])


def _running(word: str) -> list[int]:
    """Return the processes whose command names a word, this one aside."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        if word in command and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def test_a_refusal_is_told_with_its_reason(tmp_path: Path) -> None:
    """The program's last words are the reason."""
    argv = program(tmp_path, "import sys; sys.exit('error: unable to forward port because pod is not running')")

    with (
        pytest.raises(
            BetelgeuseError, match=r"no way to pod a/b through the API server: error: unable to forward port"
        ),
        forward.held(argv, "pod a/b", dict(os.environ)),
    ):
        pass


def test_silence_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that says nothing and does not want to end is ended, with its own bound of time."""
    # As stubborn as it is, three seconds change nothing.
    monkeypatch.setattr(forward, "_PATIENCE", 0.3)
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    argv = program(tmp_path, text)
    begin = time.monotonic()

    with (
        pytest.raises(BetelgeuseError, match="nothing happened for 1 s"),
        forward.held(argv, "pod a/b", dict(os.environ), seconds=1.0),
    ):
        pass

    assert _running(argv[0]) == []
    assert time.monotonic() - begin < 10


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux'")
def test_a_killed_parent_takes_the_port_along(tmp_path: Path) -> None:
    """Killed with -9 nothing of ours runs on."""
    argv = program(tmp_path, SPEAKING)
    script = (
        "import os, sys; from betelgeuse.identity import forward\n"
        "with forward.held([sys.argv[1]], 'x', dict(os.environ)): print('up', flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", script, argv[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        assert len(_running(argv[0])) == 2
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while _running(argv[0]) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert _running(argv[0]) == []


def test_the_command_reaches_one_pod_of_one_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our kubeconfig and context, a port of the kernel's choice on the loopback address, no preferences."""
    text = "import os, sys\nprint('Forwarding from 127.0.0.1:1 -> 2', flush=True)\n"
    text += f"open({str(tmp_path / 'argv')!r}, 'w').write(' '.join([*sys.argv[1:], os.environ['KUBERC']]))\n"
    text += "import time; time.sleep(60)"
    argv = program(tmp_path, text)
    monkeypatch.setattr(command, "kubectl", lambda: argv[0])
    monkeypatch.setattr(command, "kubeconfigs", lambda _: (Path("/k"),))
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)

    with forward.to_pod(SETTINGS, "auth", "keycloak-1", 8080):
        deadline = time.monotonic() + 5
        while not (tmp_path / "argv").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    assert (tmp_path / "argv").read_text() == (
        "--kubeconfig /k --context ours --namespace auth port-forward --address 127.0.0.1 pod/keycloak-1 :8080 off"
    )


def test_only_machine_clients_get_tokens() -> None:
    """A typing error is met with a suggestion; a client for people with those for programs."""
    assert token.machine([API, PORTAL], "api") == API
    with pytest.raises(UsageError, match=r"no client 'apii'; did you mean 'api'\? \(programs use: api\)"):
        token.machine([API, PORTAL], "apii")
    with pytest.raises(UsageError, match="client 'portal' is for people who log in; programs use api"):
        token.machine([API, PORTAL], "portal")
    with pytest.raises(UsageError, match="programs use: none"):
        token.machine([], "api")


PLACE = "POST /realms/betelgeuse/protocol/openid-connect/token"


@contextmanager
def gateway(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *answers: Answer, name: str = "auth.a.test"
) -> Iterator[tuple[Path, Server]]:
    """Serve the realm's token address over TLS; give the roots and the server."""
    certificate, key = self_signed(name, [])
    (folder / "ca.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    with serving({PLACE: list(answers)}, context) as server:
        monkeypatch.setattr(token, "_HTTPS", server.server_address[1])
        yield folder / "ca.pem", server


def test_a_token_comes_through_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the gateway's address and the host's own name, with the client's key in no address and no argument."""
    with gateway(tmp_path, monkeypatch, GIVEN) as (roots, server):
        assert token.fetch(SETTINGS, API, "key", roots) == "canary"

    assert server.seen == [(PLACE, "grant_type=client_credentials", "Basic YXBpOmtleQ==")]


def test_no_token_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, or answered by something else, or not trusted, or nobody there: each says what to do."""
    refused = (401, {"error": "unauthorized_client", "error_description": "Invalid client or client credentials"})
    with gateway(tmp_path, monkeypatch, refused, (200, "<html>")) as (roots, _):
        with pytest.raises(
            BetelgeuseError, match=r"client api no token: Invalid client .*; `invoke deploy --env=local`"
        ):
            token.fetch(SETTINGS, API, "key", roots)
        with pytest.raises(BetelgeuseError, match=r"https://auth\.a\.test at 127\.0\.0\.1 answered without a token"):
            token.fetch(SETTINGS, API, "key", roots)
        with pytest.raises(BetelgeuseError, match=r"is not who we trust: .*; `invoke ca --env=local`"):
            token.fetch(SETTINGS, API, "key", None)
    monkeypatch.setattr(token, "_HTTPS", 9)
    with pytest.raises(BetelgeuseError, match=r"does not answer: .*refused; `invoke status --env=local`"):
        token.fetch(SETTINGS, API, "key", None)
    with pytest.raises(BetelgeuseError, match=r"^https://auth\.127\.0\.0\.1\.invalid does not answer"):
        token.fetch(Settings(env="x", domain="127.0.0.1.invalid"), API, "key", None)


def test_another_hosts_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted root is not enough: the name must be the host's."""
    with (
        gateway(tmp_path, monkeypatch, GIVEN, name="llm.a.test") as (roots, server),
        pytest.raises(BetelgeuseError, match="is not who we trust"),
    ):
        token.fetch(SETTINGS, API, "key", roots)
    assert server.seen == []
