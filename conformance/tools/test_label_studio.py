"""Label Studio: the gate's people are its people, their tokens open its API, and what they annotate stays."""

import base64
import io
import json
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

import pytest

from conformance import label_studio, stores
from conformance.label_studio import Caller
from conformance.probes.http import Answer, Header
from conformance.probes.keycloak import Person
from conformance.probes.oidc import told
from conformance.secrecy import MASKER, Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = [pytest.mark.feature("label-studio"), pytest.mark.feature("login")]

_ADMINISTRATORS: Final = "platform-admins"
_PICTURES: Final = '<View><Image name="image" value="$image"/></View>'
_CHOICE: Final = [label_studio.choice("star")]
_DOT: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A picture of one pixel."""
_BUCKET: Final = "labelstudio"
_RESERVED: Final = "URL resolves to a reserved network address"
"""What Label Studio says of an address inside, before it asks anything there."""


@pytest.fixture(scope="module")
def researcher(site: Site) -> Caller:
    """A researcher in a browser."""
    return label_studio.person(site, site.identity.shared_person("researchers"))


@pytest.fixture(scope="module")
def program(site: Site, researcher: Caller) -> Caller:
    """The researcher's program: it has his token, and no cookie."""
    return label_studio.program(site, site.identity.shared_person("researchers"), researcher)


@pytest.fixture
def project(program: Caller) -> Iterator[int]:
    """A project for the time of a check."""
    with label_studio.project(program) as number:
        yield number


@pytest.mark.parametrize("group", [_ADMINISTRATORS, "researchers", "annotators"])
def test_first_visit_makes_an_account(site: Site, group: str) -> None:
    """Whoever comes for the first time has an account of his name and address at once; administrators administer."""
    person = site.identity.person(group)
    caller = label_studio.person(site, person)

    seen = caller.get("/api/current-user/whoami")
    console = caller.ask("GET", "/admin/").status

    wanted = HTTPStatus.OK if group == _ADMINISTRATORS else HTTPStatus.FOUND
    require(
        (seen["username"], seen["email"]) == (person.name, f"{person.name}@example.org") and console == wanted,
        where=f"https://{caller.host}/, for a new member of {group}",
        want=f"an account {person.name}, and {wanted.value} at /admin/",
        got=f"{seen['username']}, {seen['email']}, {console} at /admin/",
        reproduce=f"a browser at https://{caller.host}/",
    )


def test_outsider_gets_no_account(site: Site) -> None:
    """Somebody who is in no group is refused, and Label Studio does not come to know him."""
    host, outsider = site.host("label"), site.identity.person()
    _, trail = site.identity.logged_in(host, outsider)
    admin = label_studio.person(site, site.identity.shared_person(_ADMINISTRATORS))

    known = [each["username"] for each in admin.get("/api/users/")]

    require(
        trail[-1].answer.status == HTTPStatus.FORBIDDEN and outsider.name not in known and known,
        where=f"https://{host}/",
        want="403, and no account",
        got=f"{told(trail)}; {len(known)} accounts, his is there: {outsider.name in known}",
        reproduce=f"a browser at https://{host}/",
    )


def _forged(person: Person) -> tuple[Header, ...]:
    groups = base64.urlsafe_b64encode(json.dumps([_ADMINISTRATORS]).encode()).decode().rstrip("=")
    return (
        ("X-Auth-Request-User", person.name),
        ("X-Auth-Request-Email", f"{person.name}@example.org"),
        ("X-Auth-Request-Groups", groups),
    )


def test_nobody_says_who_he_is(site: Site) -> None:
    """The headers that tell who is there count only from the gateway: at both hosts, with and without a session."""
    admin, annotator = site.identity.shared_person(_ADMINISTRATORS), site.identity.person("annotators")
    caller, forged = label_studio.person(site, annotator), _forged(admin)
    program = Caller(site, site.host("label-api").name, ())

    mine = json.loads(caller.ask("GET", "/api/current-user/whoami", headers=forged).body)["username"]
    console = caller.ask("GET", "/admin/", headers=forged).status
    elsewhere = program.ask("GET", "/api/current-user/whoami", headers=forged).status
    carried = Caller(site, program.host, caller.credentials).ask("GET", "/api/current-user/whoami").status

    faults = [
        "" if mine == annotator.name else f"the session became {mine}'s",
        "" if console == HTTPStatus.FOUND else f"{console} at /admin/",
        "" if elsewhere == HTTPStatus.UNAUTHORIZED else f"{elsewhere} at {program.host} with the headers alone",
        "" if carried == HTTPStatus.UNAUTHORIZED else f"{carried} at {program.host} with a session's cookies",
    ]
    require_none(
        [fault for fault in faults if fault],
        where=f"https://{caller.host}/ and https://{program.host}/",
        want="the person of the session, no administration, and 401 for programs",
        reproduce=f"curl -H 'X-Auth-Request-User: {admin.name}' https://{program.host}/api/current-user/whoami",
    )


def test_page_of_another_site_changes_nothing(researcher: Caller) -> None:
    """A page of another host, which comes with the same person's cookies, makes nothing in his name."""
    evil = (("Origin", "https://evil.example"),)

    answer = researcher.ask("POST", "/api/projects/", {"title": "evil"}, headers=evil)

    require(
        answer.status == HTTPStatus.FORBIDDEN,
        where=f"POST https://{researcher.host}/api/projects/ from https://evil.example",
        want=str(HTTPStatus.FORBIDDEN.value),
        got=answer,
        reproduce=f"a form of another site's that posts to https://{researcher.host}/api/projects/",
    )


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/user/login/", "/"),
        ("/user/signup/", "/"),
        ("/admin/login/", "/"),
        ("/logout", "/oauth2/logout"),
        ("/logout/", "/oauth2/logout"),
    ],
)
def test_there_is_one_login(researcher: Caller, path: str, target: str) -> None:
    """Label Studio's own pages to sign in and up are not there, and signing out of it is signing out of the gate."""
    answer = researcher.ask("GET", path)

    place = (answer.header("location") or "").removeprefix(f"https://{researcher.host}")
    require(
        (answer.status, place.removeprefix(":443")) == (HTTPStatus.FOUND, target),
        where=f"https://{researcher.host}{path}",
        want=f"302 to {target}",
        got=f"{answer.status} to {place}",
        reproduce=f"a browser at https://{researcher.host}{path}",
    )


def test_program_annotates_with_a_token(program: Caller, project: int) -> None:
    """With a token its owner made, a program makes a project, imports tasks, annotates one and exports them all."""
    program.post(f"/api/projects/{project}/import", [{"text": "Betelgeuse"}, {"text": "Mars"}])
    tasks = label_studio.tasks(program, project)
    first = next(task["id"] for task in tasks if task["data"]["text"] == "Betelgeuse")
    program.post(f"/api/tasks/{first}/annotations/", {"result": _CHOICE})

    exported = program.get(f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")

    found = {task["data"]["text"]: [each["result"] for each in task["annotations"]] for task in exported}
    chosen = [each["value"]["choices"] for result in found.get("Betelgeuse", []) for each in result]
    require(
        set(found) == {"Betelgeuse", "Mars"} and chosen == [["star"]] and found["Mars"] == [],
        where=f"https://{program.host}/api/projects/{project}/export",
        want="both tasks, one of them annotated",
        got=found,
        reproduce="label_studio_sdk.LabelStudio(base_url='https://label-api.DOMAIN', api_key=TOKEN)",
    )


@pytest.mark.parametrize("credential", ["none", "bent", "legacy"])
def test_program_needs_a_token(site: Site, researcher: Caller, program: Caller, credential: str) -> None:
    """Without a token, with a bent one, and with one of the old kind, which never expires, the API is shut."""
    headers: tuple[Header, ...] = ()
    if credential == "bent":
        headers = (("Authorization", "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.aaaa"),)
    if credential == "legacy":
        key = researcher.get("/api/current-user/token")["token"]
        MASKER.learn(key)
        headers = (("Authorization", Secret(f"Token {key}", "Token $KEY")),)

    answer = Caller(site, program.host, headers).ask("GET", "/api/projects/")

    require(
        answer.status == HTTPStatus.UNAUTHORIZED,
        where=f"https://{program.host}/api/projects/, credential: {credential}",
        want=str(HTTPStatus.UNAUTHORIZED.value),
        got=answer,
        reproduce=f"curl https://{program.host}/api/projects/",
    )


def test_uploaded_file_lies_in_s3(site: Site, researcher: Caller, program: Caller, project: int) -> None:
    """A file that a person uploads lies in the object store, and comes back through Label Studio byte for byte."""
    edge, name = uuid.uuid4().hex, f"dot-{uuid.uuid4().hex[:8]}.png"
    head = (
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
    )
    form = head.encode() + _DOT + f"\r\n--{edge}--\r\n".encode()
    kind = (("Content-Type", f"multipart/form-data; boundary={edge}"), ("Origin", f"https://{researcher.host}"))
    program.ask("PATCH", f"/api/projects/{project}/", {"label_config": _PICTURES})
    label_studio.said(
        researcher.ask("POST", f"/api/projects/{project}/import", headers=kind, raw=form),
        researcher.host,
        f"POST /api/projects/{project}/import",
    )

    place = str(label_studio.tasks(program, project)[0]["data"]["image"]).removeprefix(f"https://{researcher.host}")
    shown, fetched = researcher.ask("GET", place), program.ask("GET", place)
    with stores.s3(site, _BUCKET) as store:
        kept = [item.object_name for item in store.list_objects(_BUCKET, "upload/", recursive=True)]

    require(
        any(key and key.endswith(name) for key in kept) and shown.body == _DOT and fetched.body == _DOT,
        where=f"bucket {_BUCKET}, and {place}",
        want=f"{name} there, and its {len(_DOT)} bytes at both hosts",
        got=f"{len(kept)} objects; {shown.status}: {len(shown.body)} bytes; {fetched.status}: {len(fetched.body)}",
        reproduce=f"a browser at https://{researcher.host}/projects/{project}/data",
    )


def test_bucket_becomes_tasks(site: Site, program: Caller, project: int) -> None:
    """A bucket that a person connects becomes tasks, and its files come through Label Studio with the token."""
    keys, prefix = stores.account(site, "s3", _BUCKET), f"conformance/{uuid.uuid4().hex[:8]}"
    program.ask("PATCH", f"/api/projects/{project}/", {"label_config": _PICTURES})
    names = [f"{prefix}/{number}.png" for number in range(2)]
    with stores.s3(site, _BUCKET) as store:
        for name in names:
            store.put_object(_BUCKET, name, io.BytesIO(_DOT), len(_DOT), content_type="image/png")
        try:
            asked = {"project": project, "title": "conformance", "bucket": _BUCKET, "prefix": prefix}
            own = {"aws_access_key_id": keys["user"], "aws_secret_access_key": keys["password"]}
            made = program.post("/api/storages/s3/", {**asked, **own, "use_blob_urls": True})
            program.post(f"/api/storages/s3/{made['id']}/sync", {})
            tasks, _ = poll(
                lambda: label_studio.tasks(program, project), lambda found: len(found) == len(names), TIMEOUTS.reaction
            )
            uri = base64.urlsafe_b64encode(f"s3://{_BUCKET}/{names[0]}".encode()).decode()
            file = program.ask("GET", f"/tasks/{tasks[0]['id']}/resolve/?fileuri={uri}") if tasks else Answer()
        finally:
            for name in names:
                store.remove_object(_BUCKET, name)

    require(
        len(tasks) == len(names) and file.body == _DOT,
        where=f"project {project}, storage s3://{_BUCKET}/{prefix}",
        want=f"{len(names)} tasks, and a picture of {len(_DOT)} bytes",
        got=f"{len(tasks)} tasks; {file.status} with {len(file.body)} bytes",
        reproduce="docs/how-to/labelling.md",
    )


def test_address_inside_is_no_bucket(program: Caller, project: int) -> None:
    """Nobody has Label Studio call an address inside the cluster by calling it a bucket's or a file's."""
    inside = "http://keycloak.auth.svc.cluster.local/"
    storage = {"project": project, "bucket": "b-b-b", "s3_endpoint": inside, "aws_access_key_id": "a"}
    form = (("Content-Type", "application/x-www-form-urlencoded"),)

    answers = {
        "storage": program.ask("POST", "/api/storages/s3/", storage),
        "import": program.ask(
            "POST", f"/api/projects/{project}/import", headers=form, raw=urlencode({"url": inside}).encode()
        ),
        "webhook": program.ask("POST", "/api/webhooks/", {"url": inside, "project": project}),
    }

    # Of an import it says so among what is wrong with the form.
    wanted = {"storage": HTTPStatus.FORBIDDEN, "import": HTTPStatus.BAD_REQUEST, "webhook": HTTPStatus.FORBIDDEN}
    require_none(
        [
            f"{name}: {answer}"
            for name, answer in answers.items()
            if answer.status != wanted[name] or _RESERVED not in answer.text
        ],
        where=f"https://{program.host}/api/, an address {inside}",
        want=f"a refusal: {_RESERVED}",
        reproduce="docs/how-to/labelling.md",
    )


def test_disabled_person_is_out(site: Site) -> None:
    """Somebody whose account in the realm is disabled sees nothing of Label Studio any more, within a minute."""
    person = site.identity.person("annotators")
    caller = label_studio.person(site, person)
    before = caller.ask("GET", "/api/current-user/whoami").status

    site.identity.keycloak.disable(person)

    after, seconds = poll(
        lambda: caller.ask("GET", "/api/current-user/whoami").status,
        lambda status: status != HTTPStatus.OK,
        TIMEOUTS.session_end,
    )
    require(
        before == HTTPStatus.OK and after in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.FOUND},
        where=f"https://{caller.host}/api/current-user/whoami",
        want=f"200, and a refusal within {TIMEOUTS.session_end:.0f} s",
        got=f"{before}, then {after} after {seconds:.0f} s",
        reproduce=f"a browser at https://{caller.host}/, with the person disabled in the realm",
    )


def test_annotation_survives_the_pod(site: Site, program: Caller, project: int) -> None:
    """Its pod killed, Label Studio comes back by itself, and the token, the task and its annotation are there."""
    program.post(f"/api/projects/{project}/import", [{"text": "Rigel"}])
    task = label_studio.tasks(program, project)[0]["id"]
    program.post(f"/api/tasks/{task}/annotations/", {"result": _CHOICE})
    pods = site.pods(site.host("label"))
    for pod in pods:
        site.kill(pod)

    def look() -> Answer:
        return program.ask("GET", f"/api/tasks/{task}/annotations/")

    another, until = site.replaced(site.host("label"), pods, TIMEOUTS.label_studio_start)
    answer, seconds = poll(look, lambda answer: answer.status == HTTPStatus.OK, TIMEOUTS.label_studio_start)

    kept = [each["value"]["choices"] for one in json.loads(answer.body or b"[]") for each in one["result"]]
    site.facts["Label Studio, its pod killed"] = f"answers again after {until + seconds:.0f} s"
    require(
        pods and another and answer.status == HTTPStatus.OK and kept == [["star"]],
        where=f"https://{program.host}/api/tasks/{task}/annotations/",
        want=f"the annotation, within {TIMEOUTS.label_studio_start:.0f} s",
        got=f"{answer} after {until + seconds:.0f} s",
        reproduce="kubectl -n ml delete pod -l app.kubernetes.io/name=label-studio",
    )
