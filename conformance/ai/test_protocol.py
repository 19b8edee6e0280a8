"""The models' protocol is checked before the model: what would end a model server harms nobody, what is wrong is named.

What a request may hold is read from the check's own schemas (apps/api-check): a field that is added there is tried.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pytest
from api_check.protocol import Api, schemas
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from betelgeuse.tree import Host
from conformance.parallel import gather
from conformance.probes import openai
from conformance.probes.http import Request
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require_none

CHAT: Final = "/v1/chat/completions"
EMBEDDINGS: Final = "/v1/embeddings"
FUZZ: Final = "BETELGEUSE_FUZZ"
"""In the environment: how many requests of each path are made up; `nox -s fuzz` makes 2000."""
_FEW: Final = 25
_ENOUGH: Final = 5
"""Faults after which no more are told."""
_PATIENCE: Final = TIMEOUTS.answer
"""Seconds for which a model may have no place for one more request."""
_HUGE: Final = 2**31 - 1
_HELLO: Final = {"messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 2}
_KNOWN: Final = Api((CHAT, "/v1/completions", "/v1/responses", EMBEDDINGS), "", 4, 4096, 384)
_BUSY: Final = frozenset({429, 503})
_LENGTHS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")


def _nested(depth: int) -> bytes:
    """Return a chat with a tool that is nested so deep, without building it."""
    return b'{"messages": [], "tools": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


def _chat(**fields: object) -> bytes:
    return json.dumps({**_HELLO, **fields}).encode()


FATAL: Final[Mapping[str, tuple[str, bytes]]] = {
    "repeat-last-n": ("repeat_last_n", _chat(repeat_last_n=_HUGE, repeat_penalty=1.1)),
    "dry-penalty-last-n": ("dry_penalty_last_n", _chat(dry_penalty_last_n=_HUGE, dry_multiplier=0.8)),
    "nested-grammar": ("grammar", _chat(grammar="root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000)),
    "nested-pattern": (
        "json_schema.pattern",
        _chat(json_schema={"type": "string", "pattern": "(" * 4000 + ")" * 4000}),
    ),
    "tools-100000-deep": ("", _nested(100_000)),
    "tools-3000-deep": ("", _nested(3000)),
    "tool-without-function": ("tools[0].function", _chat(tools=[{"type": "function"}])),
    "n-above-the-slots": ("n", _chat(n=1000)),
    "nan": ("", _chat(temperature=float("nan"))),
    "twice": ("max_tokens", b'{"messages": [], "max_tokens": 1, "max_tokens": 2}'),
    "half-a-character": ("messages[0].content", b'{"messages": [{"role": "user", "content": "\\ud800"}]}'),
}
"""Requests that ended, hung or confused a model server: the field at fault, and the body."""


def _posted(site: Site, host: Host, path: str, body: bytes) -> Request:
    headers = (*site.credentials(host), ("Content-Type", "application/json"))
    return Request(host.name, path, "POST", headers, body)


def restarts(site: Site, host: Host) -> dict[str, int]:
    """Return how often each container behind a host was restarted."""
    return {
        f"{pod['metadata']['name']}/{container['name']}": container["restartCount"]
        for pod in site.pods(host)
        for container in pod["status"]["containerStatuses"]
    }


def _restarted(site: Site, host: Host, before: Mapping[str, int]) -> Iterator[str]:
    after = restarts(site, host)
    yield from (f"{name} was restarted" for name, count in after.items() if count != before.get(name, count))


@pytest.mark.feature("llm")
def test_fatal_requests_harm_nobody(site: Site, llm: Host) -> None:
    """Each is refused with 400 that names the field, nothing is restarted, and another client's stream goes on."""
    before = restarts(site, llm)
    words = {"role": "user", "content": "Count from one to ten thousand, in words."}
    goes_on = {"max_tokens": 128, "ignore_eos": True, "stream": True}
    stream = _posted(site, llm, CHAT, json.dumps({"messages": [words], **goes_on}).encode())
    requests = [_posted(site, llm, CHAT, body) for _, body in FATAL.values()]

    other, *answers = gather(lambda request: site.send(request, TIMEOUTS.completion), [stream, *requests], workers=4)

    faults = [
        f"{name}: {answer}"
        for (name, (param, _)), answer in zip(FATAL.items(), answers, strict=True)
        if answer.status != 400 or (openai.error(answer).get("param") or "") != param or openai.refusal_fault(answer)
    ]
    if other.status != 200 or other.error or openai.events(other)[-1].data != "[DONE]":
        faults.append(f"the other's stream: {other.status}, {len(openai.events(other))} events, {other.error}")
    require_none(
        [*faults, *_restarted(site, llm, before)],
        where=f"https://{llm}{CHAT}, {len(FATAL)} requests beside a stream",
        want="400 with error.param for each, the stream to its end, and no restart",
        reproduce=site.curl(requests[0]),
    )


MISFITS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "dimensions": ("dimensions", {"input": "a", "dimensions": 5}),
    "encoding": ("encoding_format", {"input": "a", "encoding_format": "int8"}),
    "object": ("input", {"input": {"a": 1}}),
}


@pytest.mark.feature("embeddings")
@pytest.mark.parametrize("case", sorted(MISFITS))
def test_misfit_is_named(site: Site, embeddings: Host, case: str) -> None:
    """What the model cannot give is refused with 400 that names the field, instead of something else being given."""
    param, payload = MISFITS[case]
    request = _posted(site, embeddings, EMBEDDINGS, json.dumps(payload).encode())

    answer = site.send(request, TIMEOUTS.embedding)

    require_none(
        [] if answer.status == 400 and openai.error(answer).get("param") == param else [str(answer)],
        where=f"https://{embeddings}{EMBEDDINGS}, {case}",
        want=f"400 with error.param {param}",
        reproduce=site.curl(request),
    )


_OBJECTS: Final = st.one_of(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
    st.sampled_from(
        [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": -5}}, "required": ["a"]},
            {"type": "array", "items": {"type": "string", "pattern": "^[a-f]{2,4}$"}, "maxItems": 3},
            {"type": "string", "pattern": "(?<=a)b"},
            {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/missing"}]},
            {"type": "unknown"},
        ]
    ),
)
"""Objects, JSON schemas that become a grammar and some that do not among them."""
_ANYTHING: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "\\", "(" * 40, "a" * 2000, "\U0001f600"]),
    st.lists(st.integers(-1, 9) | st.text(max_size=5), max_size=5),
    _OBJECTS,
)


def values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return values near a schema: mostly of its form, at its edges, just beyond them, and of another form."""
    fitting: list[st.SearchStrategy[Any]] = [values(each) for each in schema.get("anyOf", ())]
    beyond: list[st.SearchStrategy[Any]] = [_ANYTHING]
    low, high = schema.get("minimum"), schema.get("maximum")
    types = schema.get("type", ())
    names = {types} if isinstance(types, str) else set(types)
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        edges = {low, min(low + 1, high), (low + high) // 2, max(high - 1, low), high}
        fitting.append(st.sampled_from(sorted(edges)))
        beyond.append(st.sampled_from([low - 1, high + 1, (low + high) / 2]))
    if "enum" in schema or "const" in schema:
        fitting.append(st.sampled_from(list(schema.get("enum", [schema.get("const")]))))
    if "string" in names:
        fitting.append(st.text(min_size=schema.get("minLength", 0), max_size=20))
    if "boolean" in names:
        fitting.append(st.booleans())
    if "items" in schema:
        fitting.append(st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=3))
    elif "object" in names:
        fitting.append(_fields(schema) if "properties" in schema else _OBJECTS)
    # Three in four of whatever fits.
    near = st.one_of(fitting) if fitting else _ANYTHING
    return st.one_of(near, near, near, st.one_of(beyond))


def _fields(schema: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    parts = {name: values(each) for name, each in schema["properties"].items()}
    needed = {name: parts[name] for name in schema.get("required", ())}
    # What is always refused is tried by name elsewhere.
    others = sorted(name for name in set(parts) - set(needed) if "not" not in schema["properties"][name])

    @st.composite
    def made(draw: st.DrawFn) -> dict[str, Any]:
        chosen = draw(st.lists(st.sampled_from(others), max_size=3, unique=True)) if others else []
        return {name: draw(parts[name]) for name in [*needed, *chosen]}

    return made()


_GOOD: Final = {"messages": _HELLO["messages"], "prompt": "a", "input": "a"}


def requests(path: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return bodies near a path's schema; three in four ask something that could be answered, shortly."""
    schema = schemas(_KNOWN)[path]
    needed = {name: _GOOD[name] for name in schema["required"]}

    def shortened(body: dict[str, Any], sound: int) -> dict[str, Any]:
        found = {**body, **needed} if sound else dict(body)
        if path != EMBEDDINGS:
            found["max_tokens"] = found.get("max_tokens", 2)
            for name in set(_LENGTHS) & set(found):
                if isinstance(found[name], (int, float)) and not -1 < found[name] <= 2:
                    # An answer of a thousand tokens would show no more.
                    found[name] = 2
        return found

    return st.builds(shortened, _fields(schema), st.integers(0, 3))


def _tried(site: Site, host: Host, path: str, count: int) -> tuple[Counter[int], list[str]]:
    """Make up so many requests; return how many had which status, and the first of those that were answered wrongly."""
    seen: Counter[int] = Counter()
    faults: list[str] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(body=requests(path))
    def tried(body: dict[str, Any]) -> None:
        if len(faults) >= _ENOUGH:
            return
        request = _posted(site, host, path, json.dumps(body).encode())
        # Again, until there is a place for it.
        answer, _ = poll(
            lambda: site.send(request, TIMEOUTS.completion),
            lambda answer: answer.status not in _BUSY,
            _PATIENCE,
        )
        seen[answer.status] += 1
        wrong = answer.status not in {200, 400} or (answer.status == 400 and openai.refusal_fault(answer))
        if wrong:
            faults.append(f"{path} {json.dumps(body)[:1000]}: {answer}")

    tried()
    return seen, faults


def _fuzz(site: Site, host: Host, paths: Sequence[str]) -> None:
    before, count = restarts(site, host), int(os.environ.get(FUZZ) or _FEW)
    faults: list[str] = []
    for path in paths:
        seen, found = _tried(site, host, path, count)
        faults += found
        site.facts[f"made up for {path}"] = f"{seen.total()} requests: {seen[200]} answered, {seen[400]} refused"
    require_none(
        [*faults, *_restarted(site, host, before)],
        where=f"https://{host}, {count} requests made up for each of {', '.join(paths)}",
        want="200, or 400 in JSON, and no restart",
        reproduce="nox -s fuzz",
    )


@pytest.mark.feature("llm")
def test_made_up_texts_harm_nobody(site: Site, llm: Host) -> None:
    """Requests at the edges of the protocol and beyond are answered, or refused in words: no 5xx, no restart."""
    _fuzz(site, llm, sorted({match.path for match in llm.matches if match.path in schemas(_KNOWN)}))


@pytest.mark.feature("embeddings")
def test_made_up_inputs_harm_nobody(site: Site, embeddings: Host) -> None:
    """The same for texts to embed."""
    _fuzz(site, embeddings, [EMBEDDINGS])
