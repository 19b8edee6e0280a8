"""The language model answers: sensibly, in the form clients expect, and to several at once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from betelgeuse.tree import Host
from conformance.ai.test_protocol import restarts
from conformance.parallel import gather
from conformance.probes import openai
from conformance.probes.http import Answer, Request
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

PATH = "/v1/chat/completions"
_IN_A_ROW = 80
"""Of a hundred, three were lost when a model server closed its connections and the gateway used them again."""
_ROOM = 120
"""Tokens: room for the model to go on by itself, if it did."""
_NO_STOPS: Sequence[str | list[str]] = (["###"], "@@@", [])
_TOO_WIDE = (2**28, 2**31 - 1)
"""Of so many tokens, far more than any model knows, a client may ask to choose one."""
pytestmark = pytest.mark.feature("llm")


def _ask(site: Site, host: Host, question: str, **options: object) -> Request:
    payload = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 32, "seed": 1}
    return openai.json_request(host.name, PATH, {**payload, **options}, site.credentials(host))


def _counting(site: Site, host: Host, tokens: int) -> Request:
    """Return a request for a stream that the model does not end by itself."""
    goes_on = {"max_tokens": tokens, "ignore_eos": True}
    return _ask(site, host, "Count from one to ten thousand, in words.", stream=True, **goes_on)


def _completed(site: Site, host: Host, request: Request) -> Answer:
    answer = site.send(request, TIMEOUTS.completion)
    require(
        answer.status == 200 and not answer.error,
        where=f"https://{host}{PATH}",
        want="200",
        got=answer,
        reproduce=site.curl(request),
    )
    return answer


@dataclass(frozen=True)
class Case:
    """A question that even a model of 270 million parameters answers, and the words of which one must appear."""

    id: str
    question: str
    words: tuple[str, ...]


CASES: Sequence[Case] = (
    Case("capital", "What is the capital of France? Answer with one word.", ("paris",)),
    Case("sum", "What is 2 + 2? Answer with the number only.", ("4", "four")),
    Case("opposite", "What is the opposite of hot? Answer with one word.", ("cold", "cool")),
)


def test_answers_are_sensible(site: Site, llm: Host) -> None:
    """The model knows simple things: at least two of three easy questions are answered rightly."""
    requests = [_ask(site, llm, case.question) for case in CASES]

    answers = gather(lambda request: site.send(request, TIMEOUTS.completion), requests)

    texts = [openai.content(answer) for answer in answers]
    right = [any(word in text.lower() for word in case.words) for case, text in zip(CASES, texts, strict=True)]
    require(
        sum(right) >= 2,
        where=f"https://{llm}{PATH}",
        want="two of: " + "; ".join(f"{case.question} -> {'/'.join(case.words)}" for case in CASES),
        got=texts if any(texts) else answers[0],
        reproduce=site.curl(requests[right.index(False)] if False in right else requests[0]),
    )


def test_usage_is_counted(site: Site, llm: Host) -> None:
    """Every completion says how many tokens it read and wrote, and the limit is kept."""
    request = _ask(site, llm, "Count from one to twenty.", max_tokens=5)

    usage = openai.parse(_completed(site, llm, request)).get("usage", {})

    read, written, total = (usage.get(key, 0) for key in ("prompt_tokens", "completion_tokens", "total_tokens"))
    require(
        read > 0 and 1 <= written <= 5 and total == read + written,
        where=f"https://{llm}{PATH}, max_tokens 5",
        want="prompt_tokens > 0, 1 to 5 completion_tokens, total_tokens their sum",
        got=usage,
        reproduce=site.curl(request),
    )


def test_same_question_same_answer(site: Site, llm: Host) -> None:
    """At temperature 0 the same question gets the same answer."""
    request = _ask(site, llm, "Name a primary colour.", max_tokens=8)

    texts = {openai.content(_completed(site, llm, request)) for _ in range(2)}

    require(
        len(texts) == 1 and "" not in texts,
        where=f"https://{llm}{PATH}",
        want="one and the same text twice",
        got=sorted(texts),
        reproduce=site.curl(request),
    )


def test_tokens_are_streamed(site: Site, llm: Host) -> None:
    """A streamed answer comes piece by piece as it is made, and ends with [DONE]."""
    request = _counting(site, llm, 64)

    answer = _completed(site, llm, request)

    stream = openai.events(answer)
    moments = {round(event.at, 3) for event in stream}
    kind = answer.header("content-type") or ""
    require(
        kind.startswith("text/event-stream") and len(stream) >= 4 and stream[-1].data == "[DONE]",
        where=f"https://{llm}{PATH}, stream",
        want="text/event-stream with several events and [DONE] at the end",
        got=f"{kind}, {len(stream)} events, last {stream[-1].data[:80] if stream else 'none'!r}",
        reproduce=site.curl(request),
    )
    require(
        len(moments) >= 3 and openai.streamed_text(stream).strip(),
        where=f"https://{llm}{PATH}, stream",
        want="events at three different moments at least, with text",
        got=f"{len(stream)} events at {len(moments)} moments: {openai.streamed_text(stream)!r}",
        reproduce=site.curl(request),
    )


def test_two_callers_are_served_together(site: Site, llm: Host) -> None:
    """Two callers share the model at the same time: the second need not wait for the first to end."""
    questions = ("Tell me about rivers.", "Tell me about mountains.")
    requests = [_ask(site, llm, question, stream=True, max_tokens=48) for question in questions]
    begin = time.monotonic()

    def watched(request: Request) -> tuple[float, float, int]:
        start = time.monotonic() - begin
        answer = site.send(request, TIMEOUTS.completion)
        stream = [event for event in openai.events(answer) if event.data != "[DONE]"]
        return (start + stream[0].at, start + stream[-1].at, len(stream)) if stream else (0.0, 0.0, 0)

    spans = gather(watched, requests)

    (first, first_end, events), (second, second_end, others) = spans
    require(
        min(events, others) >= 4 and max(first, second) < min(first_end, second_end),
        where=f"https://{llm}{PATH}, two streams at once",
        want="both streams running at the same time",
        got=f"one from {first:.2f} to {first_end:.2f} s ({events} events), "
        f"the other from {second:.2f} to {second_end:.2f} s ({others} events)",
        reproduce=f"{site.curl(requests[0])} & {site.curl(requests[1])} ; wait",
    )


def test_one_stream_follows_another(site: Site, llm: Host) -> None:
    """A client whose connection stays open asks again as soon as an answer has ended: none of its requests is lost."""
    request = _ask(site, llm, "Say a word about the sky.", stream=True, max_tokens=4)

    answers = [site.sweep([request], TIMEOUTS.completion)[0] for _ in range(_IN_A_ROW)]

    require_none(
        [f"request {at}: {answer}" for at, answer in enumerate(answers) if answer.status != 200],
        where=f"https://{llm}{PATH}, {_IN_A_ROW} streams one after the other",
        want="200 for each",
        reproduce=f"for i in $(seq {_IN_A_ROW}); do {site.curl(request)}; done",
    )


def test_stop_word_is_no_other_end(site: Site, llm: Host) -> None:
    """With a stop word that does not occur the answer ends where it ends without: the model's own end always holds."""
    question = "What is the capital of France? Answer with one word."
    plain = _ask(site, llm, question, max_tokens=_ROOM)
    requests = [plain, *[_ask(site, llm, question, max_tokens=_ROOM, stop=word) for word in _NO_STOPS]]

    answers = gather(lambda request: _completed(site, llm, request), requests)

    usual, *others = [openai.content(answer) for answer in answers]
    require_none(
        [f"stop {word!r}: {text!r}" for word, text in zip(_NO_STOPS, others, strict=True) if text != usual],
        where=f"https://{llm}{PATH}, stop words that do not occur",
        want=f"{usual!r}, as without",
        reproduce=site.curl(requests[1]),
    )


def test_overlong_prompt_is_refused(site: Site, llm: Host) -> None:
    """A prompt longer than the context is refused with a 4xx that says so, and the model goes on."""
    request = _ask(site, llm, "word " * 40_000)

    answer = site.send(request, TIMEOUTS.completion)

    require(
        answer.status in {400, 413, 422},
        where=f"https://{llm}{PATH}, a prompt of 40 000 words",
        want="400, 413 or 422",
        got=answer,
        reproduce=site.curl(request),
    )
    _completed(site, llm, _ask(site, llm, "Say yes.", max_tokens=2))


BAD: Sequence[tuple[str, bytes]] = (
    ("no-json", b"hello"),
    ("empty", b""),
    ("no-messages", b"{}"),
    ("messages-no-list", b'{"messages": "hello"}'),
    ("truncated", b'{"messages": [{"role": "user", "content": "a"'),
    ("not-utf8", b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}'),
    ("image", b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}'),
    ("empty-stop", b'{"messages": [{"role": "user", "content": "a"}], "stop": ""}'),
    ("empty-stop-in-a-list", b'{"messages": [{"role": "user", "content": "a"}], "stop": [""]}'),
    ("negative-limit", b'{"messages": [{"role": "user", "content": "a"}], "max_tokens": "many"}'),
)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
def test_bad_request_is_refused(site: Site, llm: Host, case: tuple[str, bytes]) -> None:
    """A malformed request is the caller's fault: 4xx, never 5xx, and the model goes on."""
    headers = (*site.credentials(llm), ("Content-Type", "application/json"))
    request = Request(llm.name, PATH, "POST", headers, case[1])

    answer = site.send(request, TIMEOUTS.completion)

    require(
        400 <= answer.status < 500,
        where=f"https://{llm}{PATH}, {case[0]}",
        want="a 4xx",
        got=answer,
        reproduce=site.curl(request),
    )


def test_too_wide_a_choice_harms_nobody(site: Site, llm: Host) -> None:
    """Who lets the model choose among more tokens than there are gets 200 or 400, and another's stream goes on."""
    stream = _counting(site, llm, 128)
    wide = [_ask(site, llm, "Say yes.", max_tokens=2, temperature=1, top_k=number) for number in _TOO_WIDE]
    before = restarts(site, llm)

    other, *answers = gather(lambda request: site.send(request, TIMEOUTS.completion), [stream, *wide])

    faults = [
        f"top_k {number}: {answer}"
        for number, answer in zip(_TOO_WIDE, answers, strict=True)
        if answer.status not in {200, 400}
    ]
    if other.status != 200 or other.error:
        faults.append(f"the other's stream: {other}, {len(openai.events(other))} events, {other.error or 'no error'}")
    elif other.seconds < max(answer.seconds for answer in answers):
        faults.append(f"the other's stream was over after {other.seconds:.1f} s, and shows nothing")
    after = restarts(site, llm)
    faults += [f"{name} was restarted" for name, count in after.items() if count != before.get(name, count)]
    require_none(
        faults,
        where=f"https://{llm}{PATH}, top_k of {' and '.join(map(str, _TOO_WIDE))} beside a stream",
        want="200 or 400 for both, the stream to its end, and no restart",
        reproduce=f"{site.curl(stream)} & {site.curl(wide[0])} ; wait",
    )


def test_models_are_listed(site: Site, llm: Host) -> None:
    """/v1/models names the model, and a completion says that it came from it."""
    request = Request(llm.name, "/v1/models", headers=site.credentials(llm))

    answer = site.send(request)

    names = [entry.get("id") for entry in openai.parse(answer).get("data", [])]
    used = openai.parse(_completed(site, llm, _ask(site, llm, "Say yes.", max_tokens=2))).get("model")
    require(
        answer.status == 200 and used in names,
        where=f"https://{llm}/v1/models",
        want=f"the name of the model that answers ({used})",
        got=f"{answer.status}, {names}",
        reproduce=site.curl(request),
    )
