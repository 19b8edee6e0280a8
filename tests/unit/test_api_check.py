"""The guard before the models: what is no request of the protocol is told by its field, whatever comes."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from api_check import body as bodies
from api_check import tracing
from api_check.__main__ import BODY, application, configured, models
from api_check.app import Application, Host
from api_check.body import DEPTH, VALUES, InvalidError, read
from api_check.check import Checker
from api_check.health import KEEP, Health, pods
from api_check.places import WAITING, WINDOW, Places, active
from api_check.protocol import Api, schemas
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from betelgeuse import paths
from tests.ports import free_port
from tests.unit.http_server import serving

LLM = Api(("/v1/chat/completions", "/v1/completions", "/v1/responses"), "http://llm:8080", 4, 4096)
EMBEDDINGS = Api(("/v1/embeddings",), "http://embeddings:8080", dimensions=384)
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _refused(api: Api, path: str, body: bytes) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        Checker(api).check(path, body)
    return caught.value


def _chat(**fields: object) -> bytes:
    return json.dumps({**HELLO, **fields}).encode()


@pytest.mark.parametrize("path", [*LLM.paths, *EMBEDDINGS.paths])
def test_schemas_are_schemas(path: str) -> None:
    """Each schema is one, and every field that can be refused has words for it."""
    schema = {**schemas(LLM), **schemas(EMBEDDINGS)}[path]

    Draft202012Validator.check_schema(schema)
    assert [name for name, field in schema["properties"].items() if not field.get("description")] == []


GOOD: list[tuple[Api, str, object]] = [
    (LLM, CHAT, HELLO),
    (LLM, CHAT, {**HELLO, "brand_new_field": {"a": [1]}, "temperature": None, "stop": None, "max_tokens": -1}),
    (LLM, CHAT, {**HELLO, "stop": [], "n": 4, "top_k": 2**28, "seed": 2**32 - 1, "logit_bias": {"5": -100}}),
    (LLM, CHAT, {**HELLO, "logit_bias": [[5, False], ["word", 1.5]], "samplers": ["top_k"], "grammar": 'root ::= "a"'}),
    (LLM, CHAT, {**HELLO, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}),
    (LLM, CHAT, {**HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema": {"maxItems": 9}}}}),
    (LLM, CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}),
    (
        LLM,
        CHAT,
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
    ),
    (LLM, "/v1/completions", {"prompt": "a", "logprobs": 5}),
    (LLM, "/v1/completions", {"prompt": [1, 2, 3]}),
    (LLM, "/v1/responses", {"input": "a", "tools": [{"type": "function", "name": "f"}]}),
    (EMBEDDINGS, "/v1/embeddings", {"input": ["a", "b"], "dimensions": 384, "encoding_format": "base64"}),
    (EMBEDDINGS, "/v1/embeddings", {"input": [[1, 2], [3]]}),
    (EMBEDDINGS, "/v1/unknown", "anything"),
]


@pytest.mark.parametrize(("api", "path", "value"), GOOD)
def test_requests_of_the_protocol_pass(api: Api, path: str, value: object) -> None:
    """What clients send is let through, fields that nobody here knows included."""
    Checker(api).check(path, json.dumps(value).encode())


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("repeat_last_n", {"repeat_last_n": 2**31 - 1, "repeat_penalty": 1.1}),
    ("dry_penalty_last_n", {"dry_penalty_last_n": 2**31 - 1}),
    ("dry_sequence_breakers", {"dry_sequence_breakers": []}),
    ("grammar", {"grammar": "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000}),
    ("grammar", {"grammar": 'root ::= "a"{1,100000}'}),
    ("grammar", {"grammar": "x" * 70_000}),
    ("grammar", {"grammar": 'root ::= "a"', "json_schema": {"type": "object"}}),
    ("tools[0].function", {"tools": [{"type": "function"}]}),
    ("tools[0].function.name", {"tools": [{"type": "function", "function": {}}]}),
    ("tools[0].type", {"tools": [{"type": "magic", "function": {"name": "f"}}]}),
    ("json_schema.pattern", {"json_schema": {"pattern": "(" * 1000 + ")" * 1000}}),
    ("json_schema.pattern", {"json_schema": {"pattern": "a" * 5000}}),
    ("response_format.schema.maxItems", {"response_format": {"type": "json_object", "schema": {"maxItems": 10**9}}}),
    ("response_format.type", {"response_format": {"type": "xml"}}),
    ("n", {"n": 5}),
    ("n", {"n": 0}),
    ("top_k", {"top_k": True}),
    ("max_tokens", {"max_tokens": "many"}),
    ("max_tokens", {"max_tokens": 1.5}),
    ("max_tokens", {"max_tokens": 2**40}),
    ("temperature", {"temperature": -1}),
    ("stop", {"stop": ""}),
    ("stop", {"stop": ["a", ""]}),
    ("stop", {"stop": [1]}),
    ("stop", {"stop": ["a"] * 17}),
    ("id_slot", {"id_slot": 4}),
    ("chat_parser", {"chat_parser": "x"}),
    ("messages", {"messages": []}),
    ("messages", {"messages": "hello"}),
    ("messages[0].role", {"messages": [{"role": "robot", "content": "a"}]}),
    ("messages[0].role", {"messages": [{"content": "a"}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": 5}]}),
    ("logit_bias", {"logit_bias": [[1, "much"]]}),
    ("stream", {"stream": "yes"}),
]


@pytest.mark.parametrize(("param", "fields"), WRONG)
def test_wrong_field_is_named(param: str, fields: dict[str, Any]) -> None:
    """The refusal names the field and says what it must be, in a line that does not repeat the request."""
    error = _refused(LLM, CHAT, _chat(**fields))

    assert error.param == param
    assert param in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("dimensions", {"input": "a", "dimensions": 383}),
        ("encoding_format", {"input": "a", "encoding_format": "int8"}),
        ("input", {"input": ""}),
        ("input", {"input": []}),
        ("input", {"input": ["a", ""]}),
        ("input", {"input": [["a"]]}),
        ("input", {"input": None}),
        ("input", {"input": ["a"] * 2049}),
        ("input", {}),
    ],
)
def test_wrong_embedding_is_named(param: str, fields: dict[str, Any]) -> None:
    """Requests for embeddings as well."""
    assert _refused(EMBEDDINGS, "/v1/embeddings", json.dumps(fields).encode()).param == param


BROKEN: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "invalid_json"),
    ("text", b"hello", "invalid_json"),
    ("cut", b'{"messages": [', "invalid_json"),
    ("bytes", b'{"a": "\xff\xfe"}', "invalid_json"),
    ("nan", b'{"temperature": NaN}', "invalid_json"),
    ("infinity", b'{"temperature": -Infinity}', "invalid_json"),
    ("too large a number", b'{"temperature": 1e999}', "invalid_json"),
    ("too long a number", b'{"seed": ' + b"9" * 5000 + b"}", "invalid_json"),
    ("twice", b'{"n": 1, "n": 2}', "duplicate_key"),
    ("twice inside", b'{"a": [{"n": 1, "n": 2}]}', "duplicate_key"),
    ("half a character", b'{"a": {"b": ["\\ud800"]}}', "invalid_character"),
    ("half a character in a key", b'{"\\udfff": 1}', "invalid_character"),
    ("nul", b'{"a": "x\\u0000y"}', "invalid_character"),
    ("deep lists", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_many_values"),
    ("deep objects", b'{"tools":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}", "too_deep"),
    ("deep and never closed", b"[" * 4_000_000, "too_many_values"),
    ("many values", b'{"messages": [' + b"{}," * VALUES + b"{}]}", "too_many_values"),
    ("quotes", b'"' * 4_000_000, "invalid_json"),
    ("backslashes", b'"' + b"\\" * 4_000_000, "invalid_json"),
    ("a list", b"[]", "invalid_type"),
    ("null", b"null", "invalid_type"),
]


@pytest.mark.parametrize(("body", "code"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_what_is_no_request_is_told(body: bytes, code: str) -> None:
    """What is no JSON, or more than anybody needs, is refused with a word for it; nothing ends the reader."""
    assert _refused(LLM, CHAT, body).code == code


@given(value=JSON)
def test_json_is_read_as_it_is(value: object) -> None:
    """Whatever fits is read as Python's own reader reads it; half characters and NUL are refused."""
    text = json.dumps(value)
    if "\\u0000" in text:
        with pytest.raises(InvalidError, match="NUL"):
            read(text.encode())
    else:
        assert read(text.encode()) == json.loads(text)


@given(depth=st.integers(1, 2 * DEPTH), word=st.text('[]{}\\"a,', max_size=200))
def test_depth_is_counted_outside_texts(depth: int, word: str) -> None:
    """Brackets inside texts are no depth; those outside are counted exactly."""
    body = b"[" * depth + json.dumps(word).encode() + b"]" * depth
    if depth <= DEPTH:
        assert isinstance(read(body), list)
    else:
        with pytest.raises(InvalidError, match="deep inside"):
            read(body)


@given(body=st.binary(max_size=300))
def test_no_body_ends_the_check(body: bytes) -> None:
    """Any bytes are passed or refused."""
    with pytest.raises(InvalidError):
        Checker(LLM).check(CHAT, body)


@given(fields=st.dictionaries(st.sampled_from(sorted(schemas(LLM)[CHAT]["properties"])), JSON, max_size=6))
def test_no_field_ends_the_check(fields: dict[str, Any]) -> None:
    """Known fields with any value are passed or refused."""
    checker = Checker(LLM)
    with suppress(InvalidError):
        checker.check(CHAT, _chat(**fields))
        # What is let through is what was sent.
        assert Draft202012Validator(schemas(LLM)[CHAT]).is_valid({**HELLO, **fields})


def test_large_bodies_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one large body is read another one waits, and small ones do not."""
    monkeypatch.setattr(bodies, "LARGE", 100)
    large = Thread(target=read, args=(json.dumps("x" * 200).encode(),), daemon=True)
    with bodies._one_at_a_time:
        large.start()
        assert read(b"[1]") == [1]
        large.join(0.05)
        assert large.is_alive()
    large.join(5)
    assert not large.is_alive()


def answered(
    app: Application, path: str, body: bytes = b"", method: str = "", host: str = "llm.example.org"
) -> tuple[str, dict[str, str], bytes]:
    """Return the application's answer to one request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method or ("POST" if body else "GET"),
        "HTTP_HOST": host,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    seen: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None, /) -> Callable[[bytes], object]:
        seen.extend([status, headers])
        return lambda _: None

    parts: Any = validator(app)(environ, start)
    found = b"".join(parts)
    parts.close()
    return seen[0], dict(seen[1]), found


class Model:
    """A model server: what its pods say of their health, and which models it lists."""

    def __init__(self, *health: int) -> None:
        """`health`: the statuses of its pods."""
        self.health = list(health)
        self.asked = 0
        self.now = 0.0
        self.models: list[dict[str, Any]] | Exception = [{"id": "one", "object": "model"}]

    def ask(self) -> list[int]:
        """Answer as told."""
        self.asked += 1
        return self.health

    def listed(self) -> list[dict[str, Any]]:
        """Answer as told."""
        if isinstance(self.models, Exception):
            raise self.models
        return self.models

    def app(self) -> Application:
        """Return the application before this server."""
        health = Health(self.ask, lambda: self.now)
        return Application({"llm": Host(Checker(LLM), health, self.listed, Places(0, lambda: None))})


def _error(body: bytes) -> dict[str, Any]:
    found = json.loads(body)["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return dict(found)


def test_gateway_is_answered() -> None:
    """200 for a request of the protocol; 400 in OpenAI's form for any other; other methods have no body to check."""
    app = Model(200).app()

    assert answered(app, f"/check{CHAT}", _chat())[0] == "200 OK"
    assert answered(app, "/check/v1/models")[0] == "200 OK"
    status, headers, body = answered(app, f"/check{CHAT}", _chat(n=9))
    assert (status, headers["Content-Type"]) == ("400 Bad Request", "application/json")
    assert _error(body) | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": "n",
        "code": "invalid_value",
    }
    assert _error(answered(app, f"/check{CHAT}", b"{")[2])["param"] is None


@pytest.mark.parametrize(
    ("health", "loading"), [((503,), True), ((503, 503), True), ((503, 200), False), ((), False), ((500,), False)]
)
def test_loading_is_told(health: tuple[int, ...], *, loading: bool) -> None:
    """Only where every pod that answers loads the model the caller is told so; that none is there, others say."""
    status, _, body = answered(Model(*health).app(), f"/check{CHAT}", _chat())

    assert status.startswith("425") == loading
    assert not loading or _error(body)["type"] == "loading"


def test_health_is_asked_for_once_in_a_while() -> None:
    """What was seen holds for KEEP seconds."""
    model = Model(503)
    health = Health(model.ask, lambda: model.now)

    assert health.loading()
    model.health = [200]
    assert health.loading()
    model.now = KEEP
    assert not health.loading()
    assert model.asked == 2


def test_one_model_is_shown() -> None:
    """GET /v1/models/NAME: the model, or 404 that names it; HEAD the same without a body; 503 while nobody knows."""
    model = Model(200)
    app = model.app()

    status, headers, body = answered(app, "/v1/models/one")
    assert (status, json.loads(body)["id"]) == ("200 OK", "one")
    assert answered(app, "/v1/models/one", method="HEAD")[1:] == (headers, b"")
    status, _, body = answered(app, "/v1/models/two\u00e9")
    assert status == "404 Not Found"
    assert _error(body)["code"] == "model_not_found"
    for path, host in (("/elsewhere", "llm.example.org"), ("/v1/models/one", "portal.example.org")):
        status, _, body = answered(app, path, host=host)
        assert (status, _error(body)["code"]) == ("404 Not Found", "not_found")
    assert answered(app, "/v1/models/one", method="DELETE")[0] == "404 Not Found"
    model.models = OSError("gone")
    assert _error(answered(app, "/v1/models/one")[2])["type"] == "unavailable"
    assert answered(app, "/healthz", host="")[0] == "200 OK"


@pytest.fixture
def server() -> Iterator[str]:
    """Return the address of a model server that is loading, and lists one model."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metrics = b"# TYPE x\nllamacpp:requests_processing 4\nllamacpp:requests_deferred 3\n"
            body = metrics if self.path == "/metrics" else b'{"data": [{"id": "one"}]}'
            self.send_response(503 if self.path == "/health" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the class names it
            """Say nothing."""

    with serving(Handler) as address:
        yield address


def test_pods_are_asked(server: str) -> None:
    """Each address behind the name is asked for its health; who is not there has none."""
    assert pods(server)() == [503]
    assert pods(f"http://127.0.0.1:{free_port()}")() == []
    assert pods("http://nobody.invalid:80")() == []
    assert models(server)() == [{"id": "one"}]
    assert active(server)() == 7
    assert active(f"http://127.0.0.1:{free_port()}")() is None
    with pytest.raises(OSError, match="refused"):
        models(f"http://127.0.0.1:{free_port()}")()


def test_configuration_is_the_tree_s(server: str) -> None:
    """The file of the tree is a configuration; what is none ends the start with the reason."""
    text = (paths.ROOT / "base/ai/api-check/config/apis.json").read_text("utf-8")

    assert set(configured(text)) == {"chat", "llm", "embeddings"}
    changed = json.loads(text)
    changed["llm"]["server"] = server
    assert answered(application(json.dumps(changed)), f"/check{CHAT}", _chat())[0].startswith("425")
    for wrong, error in (({"x": 1}, TypeError), ({"server": "llm"}, ValueError), ({"sessions": "x"}, ValueError)):
        with pytest.raises(error):
            application(json.dumps({"llm": {**changed["llm"], **wrong}}))


class Server:
    """A model server with eight places, and what time it is."""

    def __init__(self) -> None:
        """Nothing runs, nobody has asked."""
        self.now = 0.0
        self.running: list[str] = []
        self.places = Places(8, lambda: len(self.running), lambda: self.now)

    def ask(self, client: str) -> str:
        """Return who said what: the check no, the gateway no, or the server yes."""
        if not self.places.admits(client):
            return "wait"
        if len(self.running) == 8:
            return "full"
        self.running.append(client)
        return "served"


def test_one_client_may_have_all_places() -> None:
    """While nobody else asks, nothing is kept free."""
    server = Server()

    assert [server.ask("one") for _ in range(9)] == ["served"] * 8 + ["full"]


def test_who_had_least_gets_the_last_place() -> None:
    """A client that holds everything gives way as one of its streams ends, until the other has had as much."""
    server = Server()
    for _ in range(8):
        server.ask("one")
    assert server.ask("other") == "full"
    for _ in range(8):
        server.running.remove("one")
        assert server.ask("one") == "wait"
        assert server.ask("other") == "served"
    server.running.remove("other")
    assert server.ask("one") == "served"


def test_shares_are_forgotten() -> None:
    """Who has not asked for a while wants no place; what was got long ago does not count."""
    server = Server()
    for _ in range(8):
        server.ask("one")
    server.ask("other")
    server.running.pop()
    assert server.ask("one") == "wait"
    server.now += WAITING
    assert server.ask("one") == "served"
    server.now += WINDOW
    server.running.pop()
    assert server.ask("other") == "served"
    server.running.pop()
    assert server.ask("one") == "served"


def test_places_are_shared_at_any_time() -> None:
    """With free places, or where nobody can tell how many there are, no client waits for another."""
    places = Places(8, lambda: None)

    assert all(places.admits(client) for client in ("one", "other", "one", "one", "one"))
    server = Server()
    assert [server.ask(client) for client in ("one", "other", "one", "one")] == ["served"] * 4


def test_client_that_must_wait_is_told() -> None:
    """429, which the gateway gives its own words and Retry-After."""
    places = Places(8, lambda: 7)
    assert [places.admits(client) for client in ("", "", "other")] == [True] * 3
    app = Application({"llm": Host(Checker(LLM), Health(lambda: [200]), list, places)})

    status, _, body = answered(app, f"/check{CHAT}", _chat())
    assert status == "429 Too Many Requests"
    assert _error(body)["type"] == "rate_limit"


def test_body_is_the_gateway_s() -> None:
    """The gateway holds as much of a body as the check reads."""
    for name in ("llm", "embeddings"):
        assert f"maxRequestBytes: {BODY}\n" in Path(paths.ROOT / f"base/ai/{name}/securitypolicy.yaml").read_text()


def test_of_a_request_only_what_it_was_for_goes_into_a_trace() -> None:
    """No query, no token, no body; and the trace goes on where the gateway began it."""
    asked = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/check/v1/completions",
        "QUERY_STRING": "key=secret",
        "HTTP_HOST": "llm.example.org:443",
        "HTTP_AUTHORIZATION": "Bearer secret",
        "HTTP_X_CLIENT_ID": "secret",
        "HTTP_TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }

    assert tracing.attributes(asked) == {
        "http.request.method": "POST",
        "server.address": "llm.example.org",
        "url.path": "/check/v1/completions",
    }
    assert tracing.parent(asked) == {"traceparent": asked["HTTP_TRACEPARENT"]}


def test_without_a_collector_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not even loaded."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    made = Application({})

    assert tracing.traced(made) is made
