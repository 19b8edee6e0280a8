"""The embedding model turns texts into vectors that mean something."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from betelgeuse.tree import Host
from conformance.parallel import gather
from conformance.probes import openai
from conformance.probes.http import Answer, Request
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

PATH = "/v1/embeddings"
pytestmark = pytest.mark.feature("embeddings")

_RUSH: Final = 8.0
"""Seconds for which several clients ask again as soon as they are answered."""
_CLIENTS: Final = 5
_LONG: Final = "The lazy dog sleeps by the river. " * 30
"""A text of some 250 tokens; a request has four."""
_PATIENCE: Final = 3
"""A request waits at most so many times as long as the others do."""
_NO_WAIT: Final = 1.0
"""Seconds in which nobody complains."""


def _ask(site: Site, host: Host, texts: object) -> Request:
    return openai.json_request(host.name, PATH, {"input": texts}, site.credentials(host))


def _vectors(site: Site, host: Host, texts: list[str]) -> list[list[float]]:
    request = _ask(site, host, texts)
    answer = site.send(request, TIMEOUTS.embedding)
    found = openai.vectors(answer) if answer.status == 200 else []
    require(
        len(found) == len(texts),
        where=f"https://{host}{PATH}",
        want=f"200 with {len(texts)} vectors",
        got=f"{len(found)} vectors, {answer.status} {answer.text[:200]} {answer.error}",
        reproduce=site.curl(request),
    )
    return found


TEXTS = [
    "A cat sits on the mat.",
    "Ich lerne Deutsch.",
    "x",
    "The quick brown fox jumps over the lazy dog. " * 5,
    "日本",
]


def test_vectors_have_one_dimension_and_unit_length(site: Site, embeddings: Host) -> None:
    """Whatever the text, its vector has the same dimension and length 1."""
    found = _vectors(site, embeddings, TEXTS)

    sizes = {len(vector) for vector in found}
    lengths = [openai.norm(vector) for vector in found]
    require(
        len(sizes) == 1 and min(sizes) >= 64 and all(abs(length - 1) < 1e-3 for length in lengths),
        where=f"https://{embeddings}{PATH}",
        want="one dimension of at least 64, and length 1 within 0.001",
        got=f"dimensions {sorted(sizes)}, lengths {[round(length, 4) for length in lengths]}",
        reproduce=site.curl(_ask(site, embeddings, TEXTS)),
    )


def test_batch_equals_single_requests(site: Site, embeddings: Host) -> None:
    """A batch of n texts gives n vectors, each the one its text gets alone."""
    together = _vectors(site, embeddings, TEXTS)

    alone = gather(lambda text: _vectors(site, embeddings, [text])[0], TEXTS)

    nearness = [openai.cosine(one, other) for one, other in zip(together, alone, strict=True)]
    require(
        min(nearness) > 0.999,
        where=f"https://{embeddings}{PATH}, batch of {len(TEXTS)}",
        want="the same vectors as one by one (cosine > 0.999)",
        got=[round(value, 5) for value in nearness],
        reproduce=site.curl(_ask(site, embeddings, TEXTS)),
    )


@dataclass(frozen=True)
class Triple:
    """A sentence, one that means nearly the same, and one that does not."""

    id: str
    anchor: str
    related: str
    unrelated: str


TRIPLES: Sequence[Triple] = (
    Triple("animals", "A cat sleeps on the sofa.", "The kitten is napping on the couch.", "The bank raised its rates."),
    Triple("weather", "It is raining heavily today.", "There is a downpour outside.", "She plays the violin."),
    Triple("code", "How do I sort a list in Python?", "Ordering an array in Python code", "Recipe for tomato soup"),
    Triple(
        "travel",
        "The train to Berlin leaves at noon.",
        "A railway trip to Germany's capital",
        "Photosynthesis in plants",
    ),
    Triple("money", "The company's profit fell.", "Earnings of the firm declined.", "The dog chased the ball."),
)


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.id)
def test_related_is_nearer_than_unrelated(site: Site, embeddings: Host, triple: Triple) -> None:
    """Sentences of like meaning are nearer to each other than to others."""
    texts = [triple.anchor, triple.related, triple.unrelated]

    anchor, related, unrelated = _vectors(site, embeddings, texts)

    near, far = openai.cosine(anchor, related), openai.cosine(anchor, unrelated)
    require(
        near > far + 0.15,
        where=f"https://{embeddings}{PATH}",
        want=f"{triple.related!r} nearer to {triple.anchor!r} than {triple.unrelated!r}, by 0.15",
        got=f"cosine {near:.3f} against {far:.3f}",
        reproduce=site.curl(_ask(site, embeddings, texts)),
    )


def test_order_of_a_large_batch_is_kept(site: Site, embeddings: Host) -> None:
    """A batch of 64 texts comes back whole and in order."""
    texts = [f"Sentence number {number} is about topic {number * 7 % 64}." for number in range(64)]

    found = _vectors(site, embeddings, texts)

    probes = (0, 31, 63)
    alone = [_vectors(site, embeddings, [texts[at]])[0] for at in probes]
    best = [max(range(64), key=lambda at, v=vector: openai.cosine(found[at], v)) for vector in alone]  # type: ignore[misc]
    require(
        best == list(probes),
        where=f"https://{embeddings}{PATH}, batch of 64",
        want=f"the vectors of texts {probes} at their own places",
        got=best,
        reproduce=site.curl(_ask(site, embeddings, texts[:3])),
    )


def test_nobody_is_forgotten(site: Site, embeddings: Host) -> None:
    """While clients keep coming, each request is answered in its turn: none waits until the others have left."""
    request = _ask(site, embeddings, [_LONG] * 4)
    end = time.monotonic() + _RUSH

    def client(_: int) -> list[Answer]:
        answers = []
        while time.monotonic() < end:
            answers.append(site.send(request, TIMEOUTS.embedding))
        return answers

    answers = [answer for some in gather(client, range(_CLIENTS), workers=_CLIENTS) for answer in some]

    # A fast machine may tell them that they ask too often.
    faults = [str(answer) for answer in answers if answer.status not in {200, 429, 503}]
    waits = [answer.seconds for answer in answers if answer.status == 200]
    usual = statistics.median(waits) if waits else 0.0
    faults += [f"waited {wait:.1f} s" for wait in waits if wait > max(_PATIENCE * usual, _NO_WAIT)]
    faults += [] if waits else ["nobody was served"]
    require_none(
        faults,
        where=f"https://{embeddings}{PATH}, {_CLIENTS} clients for {_RUSH:g} s, {len(waits)} requests served",
        want=f"none waits {_PATIENCE} times as long as the usual {usual:.1f} s",
        reproduce=site.curl(request),
    )


BAD: Sequence[tuple[str, bytes]] = (
    ("no-json", b"hello"),
    ("no-input", b"{}"),
    ("null", b'{"input": null}'),
    ("empty-string", b'{"input": ""}'),
    ("empty-list", b'{"input": []}'),
    ("list-with-empty", b'{"input": ["a", ""]}'),
    ("number", b'{"input": 5.5}'),
    ("object", b'{"input": {"a": 1}}'),
    ("nested", b'{"input": [["a"]]}'),
    ("truncated", b'{"input": ["a"'),
    ("not-utf8", b'{"input": "\xff\xfe"}'),
    ("too-many-tokens", b'{"input": "' + b"word " * 5000 + b'"}'),
    ("one-of-many-too-long", b'{"input": ["a", "' + b"word " * 5000 + b'"]}'),
    ("ten-megabytes", b'{"input": "' + b"a" * 10_000_000 + b'"}'),
)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
def test_bad_input_is_refused(site: Site, embeddings: Host, case: tuple[str, bytes]) -> None:
    """An input that has no meaning or no room is the caller's fault: 4xx, never 5xx, and the model goes on."""
    headers = (*site.credentials(embeddings), ("Content-Type", "application/json"))
    request = Request(embeddings.name, PATH, "POST", headers, case[1])

    answer = site.send(request, TIMEOUTS.embedding)

    require(
        400 <= answer.status < 500,
        where=f"https://{embeddings}{PATH}, {case[0]}",
        want="a 4xx",
        got=answer,
        reproduce=site.curl(request),
    )


def test_nul_does_no_harm(site: Site, embeddings: Host) -> None:
    """A text with a NUL character is refused or embedded, and the model goes on."""
    request = _ask(site, embeddings, "before\u0000after")

    answer = site.send(request, TIMEOUTS.embedding)

    require(
        answer.status == 200 or 400 <= answer.status < 500,
        where=f"https://{embeddings}{PATH}, NUL",
        want="200 or a 4xx",
        got=answer,
        reproduce=site.curl(request),
    )


def test_server_lives_after_bad_input(site: Site, embeddings: Host) -> None:
    """After all the bad input the model still answers."""
    answer: Answer = site.send(_ask(site, embeddings, ["still there"]), TIMEOUTS.embedding)

    require(
        len(openai.vectors(answer)) == 1,
        where=f"https://{embeddings}{PATH}",
        want="one vector",
        got=answer,
        reproduce=site.curl(_ask(site, embeddings, ["still there"])),
    )


def test_models_are_listed(site: Site, embeddings: Host) -> None:
    """/v1/models names the embedding model."""
    request = Request(embeddings.name, "/v1/models", headers=site.credentials(embeddings))

    answer = site.send(request)

    require(
        answer.status == 200 and [entry for entry in openai.parse(answer).get("data", []) if entry.get("id")],
        where=f"https://{embeddings}/v1/models",
        want="200 with at least one model",
        got=answer,
        reproduce=site.curl(request),
    )
