"""The page on which people talk to the language model: a login instead of a token, and the same care of the model."""

import math
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from selenium.webdriver.common.keys import Keys

from betelgeuse.errors import BetelgeuseError
from betelgeuse.tree import Host
from conformance.auth.refusal import sent_to_login
from conformance.parallel import gather
from conformance.probes import browser as chromium
from conformance.probes import openai
from conformance.probes.browser import Chromium
from conformance.probes.http import Answer, Header, Request
from conformance.probes.keycloak import Person
from conformance.recorder import Picture
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none, shorten

pytestmark = [pytest.mark.feature("chat"), pytest.mark.feature("login"), pytest.mark.feature("llm")]

PATH: Final = "/v1/chat/completions"
_SCRIPT: Final = (("Sec-Fetch-Mode", "cors"),)
"""How a page asks: refused in place of being led to the login page."""
_CONVERSATION: Final = (("X-Conversation-Id", "11111111-2222-3333-4444-555555555555"),)
"""With it llama-server writes an answer to its end, whoever has hung up."""
_LONG: Final = 1024
_LARGE: Final = 1 << 20
"""Bytes from which on a server may hold an answer in a file."""
_STAY: Final = 2.0
"""Seconds before a reader hangs up."""
_QUESTION: Final = "What is the capital of France?"
_WORD: Final = "Paris"

LOGIN_FORM: Final = "input[name=password]"
_INPUT: Final = "form textarea, form [contenteditable=true]"
_ANSWER: Final = "[aria-label='Assistant message with actions']"
_ORIGINS: Final = "return performance.getEntriesByType('resource').map(each => new URL(each.name).origin)"
_WORKERS: Final = "return navigator.serviceWorker.getRegistrations().then(found => found.length)"


@pytest.fixture(scope="module")
def chat(site: Site) -> Host:
    """Return the page's host."""
    return site.host("chat")


def _question(
    site: Site, chat: Host, text: str = _QUESTION, extra: tuple[Header, ...] = (), **fields: object
) -> Request:
    """Return what the page would send for a person who has logged in: cookies, and no token."""
    cookies = site.identity.session(chat).header(chat.name)
    payload = {"messages": [{"role": "user", "content": text}], **fields}
    return openai.json_request(chat.name, PATH, payload, (*cookies, *_SCRIPT, *extra))


def test_page_is_served(site: Site, chat: Host) -> None:
    """After the login there is a page, whose policy lets it ask its own host alone."""
    request = site.identity.session(chat).request(f"https://{chat}/")

    answer = site.send(request)

    policy = answer.header("content-security-policy") or ""
    sources = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    foreign = {name: text for name, text in sources.items() if "://" in text or "*" in text}
    require(
        answer.status == 200
        and (answer.header("content-type") or "").startswith("text/html")
        and sources.get("default-src") == "'none'"
        and sources.get("connect-src") == "'self'"
        and "unsafe-inline" not in sources.get("script-src", "unsafe-inline")
        and not foreign,
        where=f"https://{chat}/",
        want="200, HTML, and a policy of 'none' and 'self' without inline scripts",
        got=f"{answer}, {policy or 'no policy'}",
        reproduce=site.curl(request),
    )


def _log(site: Site, chat: Host) -> str:
    """Return what the pods that serve the page have written."""
    found = ""
    for meta in (pod["metadata"] for pod in site.pods(chat)):
        if meta["name"].startswith("chat-"):
            path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
            found += site.cluster.ask("GET", path, accept="*/*").text
    return found


def test_files_are_sent_whole(site: Site, chat: Host) -> None:
    """The page's script, its largest file, comes as long as it is said to be, packed or not, and without a fault."""
    session = site.identity.session(chat)
    page = site.send(session.request(f"https://{chat}/"))
    scripts = re.findall(r'"(/_app/immutable/[^"]+\.js)"', page.text)
    faults = [] if scripts else [f"no script in the page: {page}"]
    for script, packing in ((script, packing) for script in scripts[:1] for packing in ("gzip", "identity")):
        request = session.request(f"https://{chat}{script}", headers=(("Accept-Encoding", packing),))
        answer = site.send(request)
        said = int(answer.header("content-length") or -1)
        if answer.status != 200 or len(answer.body) != said or len(answer.body) < _LARGE:
            faults.append(f"{packing}: {answer}, {len(answer.body)} bytes of {said}")
    faults += [line for line in _log(site, chat).splitlines() if line.startswith("ERROR")]

    require_none(
        faults,
        where=f"https://{chat}{scripts[0] if scripts else '/'}",
        want=f"200, as many bytes as the header says, more than {_LARGE}, and no error in the pod's log",
        reproduce=f"kubectl -n {chat.namespace} logs -l app.kubernetes.io/name=chat",
    )


def test_person_asks_without_a_token(site: Site, chat: Host) -> None:
    """Who has logged in gets a streamed answer, piece by piece as it is made."""
    # At a temperature an answer may be of a few words, which come at once.
    request = _question(site, chat, "Count from one to twenty.", stream=True, max_tokens=64, temperature=0)

    answer = site.send(request, TIMEOUTS.completion)

    stream = openai.events(answer)
    moments = {round(event.at, 3) for event in stream}
    kind = answer.header("content-type") or ""
    require(
        answer.status == 200
        and kind.startswith("text/event-stream")
        and bool(stream)
        and stream[-1].data == "[DONE]"
        and len(moments) >= 3
        and bool(openai.streamed_text(stream).strip()),
        where=f"https://{chat}{PATH}, stream",
        want="text/event-stream with text at three moments at least, and [DONE]",
        got=f"{answer}, {len(stream)} events at {len(moments)} moments",
        reproduce=site.curl(request),
    )


@pytest.mark.parametrize("credential", ["nothing", "token"])
def test_nobody_asks_without_a_login(site: Site, chat: Host, llm: Host, credential: str) -> None:
    """Without a session the model is not asked, with a program's token for the API neither; the control is answered."""
    known = _question(site, chat, "Say yes.", max_tokens=2)
    headers = tuple(header for header in known.headers if header[0] != "Cookie")
    headers += site.credentials(llm) if credential == "token" else ()
    request = Request(chat.name, PATH, "POST", headers, known.body)

    answer, control = site.send(request, TIMEOUTS.completion), site.send(known, TIMEOUTS.completion)

    require(
        answer.status in {401, 403} or sent_to_login(chat, request, answer),
        where=f"https://{chat}{PATH}, {credential} shown",
        want="401 or 403",
        got=answer,
        reproduce=site.curl(request),
    )
    require(
        control.status == 200,
        where=f"https://{chat}{PATH}, with a session",
        want="200",
        got=control,
        reproduce=site.curl(known),
    )


def test_ended_session_asks_nothing(site: Site, chat: Host) -> None:
    """Cookies that were copied before their person signed out ask the model nothing after it, within a minute."""
    person = site.identity.person(site.identity.right_group(chat))
    window, _ = site.identity.logged_in(chat, person)
    payload = {"messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 2}
    request = openai.json_request(chat.name, PATH, payload, (*window.copy().header(chat.name), *_SCRIPT))
    before = site.send(request, TIMEOUTS.completion)
    site.identity.keycloak.end_sessions(person)

    after, seconds = poll(
        lambda: site.send(request, TIMEOUTS.completion), lambda answer: answer.status != 200, TIMEOUTS.session_end
    )

    require(
        before.status == 200 and after.status in {401, 403},
        where=f"https://{chat}{PATH}, the session ended {seconds:.0f} s ago",
        want=f"200 before, 401 or 403 within {TIMEOUTS.session_end:.0f} s",
        got=f"{before} before; {after} after {seconds:.0f} s",
        reproduce=site.curl(request),
    )


@pytest.mark.parametrize(
    ("param", "fields"),
    [("n", {"n": 99}), ("repeat_last_n", {"repeat_last_n": 2**30}), ("messages", {"messages": "hello"})],
)
def test_bad_question_is_refused(site: Site, chat: Host, param: str, fields: dict[str, Any]) -> None:
    """What the check refuses of a program it refuses of a page: 400, with the field."""
    request = _question(site, chat, **fields)

    answer = site.send(request, TIMEOUTS.completion)

    require(
        answer.status == 400 and openai.error(answer).get("param") == param,
        where=f"https://{chat}{PATH}, {param}",
        want=f"400 that names {param}",
        got=f"{answer} {openai.error(answer)}",
        reproduce=site.curl(request),
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/completions"), ("POST", "/v1/stream"), ("POST", "/tools"), ("POST", "/props"), ("GET", "/slots")],
)
def test_nothing_else_is_reached(site: Site, chat: Host, method: str, path: str) -> None:
    """Of the model server's pages only those that the page needs are there."""
    headers = (*site.identity.session(chat).header(chat.name), *_SCRIPT, ("Content-Type", "application/json"))
    request = Request(chat.name, path, method, headers, b"{}" if method == "POST" else b"")

    answer = site.send(request)

    require(
        answer.status == 404,
        where=f"https://{chat}{path}, {method}",
        want="404",
        got=answer,
        reproduce=site.curl(request),
    )


def _places(site: Site, chat: Host) -> int:
    """Return how many people's requests at a time the tree lets through to the model; 0: any number."""
    for policy in site.tree.kind("BackendTrafficPolicy"):
        names = {(policy["metadata"]["namespace"], ref["name"]) for ref in policy["spec"].get("targetRefs", ())}
        if (chat.namespace, "chat") in names and "circuitBreaker" in policy["spec"]:
            return int(policy["spec"]["circuitBreaker"]["maxParallelRequests"])
    return 0


def _first(answer: Answer) -> float:
    """Return the seconds until the first piece of text; infinite where none came."""
    return next((event.at for event in openai.events(answer) if event.data), math.inf)


def test_who_hangs_up_makes_room(site: Site, chat: Host) -> None:
    """When every place is taken by readers who hang up, with their conversation's id, the next one is served soon."""
    short = _question(site, chat, "Say a word about the sky.", stream=True, max_tokens=4)
    usual = _first(site.send(short, TIMEOUTS.completion))
    places = _places(site, chat)
    leaving = [
        _question(site, chat, f"Count from {at} to ten thousand.", _CONVERSATION, stream=True, max_tokens=_LONG)
        for at in range(places)
    ]
    longest = usual * 2 + TIMEOUTS.freed

    read = gather(lambda request: site.leave(request, _STAY), leaving, workers=len(leaving) or 1)
    answer = site.send(short, TIMEOUTS.completion)

    first = _first(answer)
    require(
        bool(places) and usual < math.inf and any(read) and first <= longest,
        where=f"https://{chat}{PATH}, after {places} readers hung up ({sum(read)} bytes of answers read)",
        want=f"the first token within {TIMEOUTS.freed:.0f} s and twice the {usual:.2f} s it takes alone",
        got=f"{first:.2f} s" if first < math.inf else answer,
        reproduce=f"timeout 2 {site.curl(leaving[0] if leaving else short)} ; {site.curl(short)}",
    )


def test_too_many_are_told(site: Site, chat: Host) -> None:
    """People beyond the places are told at once, in words that the page shows."""
    places = _places(site, chat)
    requests = [_question(site, chat, f"Tell me about {at}.", stream=True, max_tokens=24) for at in range(4 * places)]

    answers = gather(lambda request: site.send(request, TIMEOUTS.completion), requests, workers=len(requests) or 1)

    refused = [answer for answer in answers if answer.status == 503]
    faults = [str(answer) for answer in answers if answer.status not in {200, 503}]
    faults += [fault for each in refused if (fault := openai.refusal_fault(each, "overloaded"))]
    faults += [] if any(answer.status == 200 for answer in answers) else ["nobody was served"]
    faults += [] if refused else ["nobody was refused"]
    require_none(
        faults,
        where=f"https://{chat}{PATH}, {len(requests)} people at once",
        want=f"200 for {places} and more, 503 `overloaded` for the rest",
        reproduce=site.curl(requests[0]) if requests else "invoke render | grep -B20 maxParallelRequests",
    )


@dataclass
class Talk:
    """What a person saw who asked a question; what was not reached is empty."""

    fault: str = ""
    page: str = ""
    answer: str = ""
    origins: set[str] = field(default_factory=set)
    """Whom the page asked."""
    workers: int = -1
    led_to: str = ""
    """Where a new conversation led after the session had ended."""


def _talk(window: Chromium, chat: Host, person: Person, talk: Talk, site: Site) -> None:
    window.open(f"https://{chat}/")
    window.log_in(person.name, person.password)
    if not window.wait(lambda: window.find(_INPUT) is not None):
        talk.fault = f"no field for a question at {window.url}: {shorten(window.text, 300)}"
        return
    talk.page = window.driver.title
    if (entry := window.find(_INPUT)) is None:
        return
    entry.send_keys(_QUESTION, Keys.ENTER)
    window.wait(lambda: _WORD in _answered(window))
    talk.answer = _answered(window)
    site.pictures.append(Picture("chat", "A question to the language model, and its answer", window.picture()))
    talk.origins = set(window.driver.execute_script(_ORIGINS))
    talk.workers = int(window.driver.execute_script(_WORKERS))
    site.identity.keycloak.end_sessions(person)
    # A browser drops these when an access token's life is over; only then does the gate look for another one.
    for name in (str(cookie["name"]) for cookie in window.driver.get_cookies()):
        if "refresh" not in name.lower():
            window.driver.delete_cookie(name)
    conversation = window.driver.current_url
    window.wait(lambda: _led_away(window, chat, conversation))
    talk.led_to = window.url


def _led_away(window: Chromium, chat: Host, conversation: str) -> bool:
    """Go from the conversation to a new one, or back; tell whether that led to another host."""
    home = f"https://{chat}/"
    if window.driver.current_url.startswith(home):
        step = conversation if window.driver.current_url == f"{home}#/" else f"{home}#/"
        window.driver.execute_script("location.href = arguments[0]", step)
    return not window.driver.current_url.startswith(home)


def _answered(window: Chromium) -> str:
    found = window.find(_ANSWER)
    return found.text if found is not None else ""


def _talked(site: Site) -> Talk:
    """Return what a fresh person saw in a real browser, once per run."""

    def go() -> Talk:
        chat, talk, begun = site.host("chat"), Talk(), time.monotonic()
        person = site.identity.person(site.identity.right_group(chat))
        endpoint = site.endpoint()
        rules = {f"*.{site.tree.domain}:443": f"{endpoint.address}:{endpoint.https}"}
        try:
            with chromium.running(rules, site.ca) as window:
                _talk(window, chat, person, talk, site)
        except BetelgeuseError as error:
            talk.fault = str(error)
        site.facts["a talk with the model in Chromium"] = f"{time.monotonic() - begun:.0f} s from its start on"
        return talk

    return site.once("talk", go)


def test_person_talks_to_the_model(site: Site, chat: Host) -> None:
    """In a real browser a person logs in, asks a question, and reads the answer."""
    talk = _talked(site)

    require(
        not talk.fault and _WORD in talk.answer,
        where=f"https://{chat}/ in Chromium, {_QUESTION!r}",
        want=f"an answer with {_WORD!r}",
        got=talk.fault or shorten(talk.answer, 300) or "no answer",
        reproduce=f"a browser at https://{chat}/",
    )


def test_page_asks_nobody_else(site: Site, chat: Host) -> None:
    """Whatever the page is made of and asks for comes from its own host, and nothing of it works without a session."""
    talk = _talked(site)

    require(
        talk.origins == {f"https://{chat}"} and talk.workers == 0,
        where=f"https://{chat}/ in Chromium",
        want=f"requests to https://{chat} alone, and no service worker",
        got=talk.fault or f"{', '.join(sorted(talk.origins)) or 'no request'}; {talk.workers} service workers",
        reproduce=f"a browser at https://{chat}/",
    )


def test_ended_session_leads_to_the_login(site: Site, chat: Host) -> None:
    """Whose session and token have ended while the page was open is led to the login by the next step."""
    talk = _talked(site)

    require(
        not talk.fault and talk.led_to.startswith(chat.gate.issuer),
        where=f"https://{chat}/ in Chromium, a new conversation after the session's end",
        want=f"the login page of {chat.gate.issuer}",
        got=talk.fault or talk.led_to or "nothing happened",
        reproduce=f"a browser at https://{chat}/: end its session in Keycloak, begin a new conversation",
    )
