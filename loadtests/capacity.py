"""How close the platform comes to the hardware: rates through gateway, TLS and token, and a benchmark's beside each.

The limit is measured by llama.cpp's own benchmarks in the very pod that serves, on the same cores, a moment before and
a moment after: a machine that gets slower meanwhile favours neither. If the two differ, the machine changed its speed,
and the pair is measured again: the rate through the edge has no say in that. What counts is the median of the pairs'
ratios. With the sweeps' reports, and what the pods say of their node and memory, that is the card (card.py).
"""

import json
import math
import random
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from loadtests.connection import Connection, Failure
from loadtests.measure import Answer, Batch
from loadtests.words import spelled, text

WRITTEN: Final = 128
"""Tokens of an answer."""
READ: Final = 512
"""Tokens of a prompt."""
STREAMS: Final = 4
TEXT: Final = 256
"""Tokens of a text that is embedded; a request has sixteen."""
TEXTS: Final = 16
_STEADY: Final = 0.05
"""The benchmarks before and after differ by at most this share of their mean, or the machine changed its speed."""
_TRIES: Final = 4
"""So many times as many pairs are tried as are wanted."""


@dataclass
class Pairs:
    """One measure: tokens per second by the benchmark and through the edge."""

    limit: list[float] = field(default_factory=list)
    edge: list[float] = field(default_factory=list)
    unsteady: int = 0
    """Pairs that do not count, since the machine changed its speed."""

    @property
    def tried(self) -> int:
        """Return how many pairs there were, those that do not count among them."""
        return len(self.edge) + self.unsteady

    @property
    def ratios(self) -> list[float]:
        """Return edge ÷ limit of each pair."""
        return [edge / limit for edge, limit in zip(self.edge, self.limit, strict=True)]

    def shown(self) -> dict[str, float]:
        """Return medians, the standard error of the ratio's, the least and largest ratio, and how many pairs count.

        A median's error is 1.25 times a mean's (normal spread); of one pair nothing is known about it.
        """
        ratios = self.ratios
        spread = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
        return {
            "limit": statistics.median(self.limit),
            "edge": statistics.median(self.edge),
            "ratio": statistics.median(ratios),
            "error": math.sqrt(math.pi / 2 / len(ratios)) * spread,
            "least": min(ratios),
            "most": max(ratios),
            "pairs": len(ratios),
            "unsteady": self.unsteady,
        }


def _written(pieces: Sequence[float], at: float) -> float:
    """Return how many pieces were written by a moment: those of a message evenly since the one before."""
    came = bisect_right(pieces, at)
    if came in {0, len(pieces)}:
        return came
    last, following = pieces[came - 1], pieces[came]
    return came + (bisect_right(pieces, following) - came) * (at - last) / (following - last)


def together(answers: Sequence[Answer]) -> float:
    """Return the tokens per second of several streams, from the moment all were being written to the last one's end.

    Rather too low: where one ends before the others, its share of the rest is missing.
    """
    begin, end = max(answer.pieces[0] for answer in answers), max(answer.pieces[-1] for answer in answers)
    # A piece may be more or less than a token: the server's count is spread over its pieces.
    each = ((1 - _written(one.pieces, begin) / len(one.pieces)) * one.tokens for one in answers)
    return sum(each) / (end - begin)


class Edge:
    """The APIs as a client sees them."""

    def __init__(self, domain: str, token: Callable[[], str], roots: str = "", address: str = "") -> None:
        """`token`: called before each request; `roots`: a file to trust; `address`: the gateway's, empty for names."""
        self._domain, self._token, self._roots, self._address = domain, token, roots, address
        self._draw = random.Random(time.time_ns())  # noqa: S311 - texts that no cache has seen
        self._length = 400
        """Words of a prompt of some 512 tokens; learned from the server's counts."""
        self._text = round(TEXT * 0.9)
        """The same of a text to embed."""

    def _headers(self) -> dict[str, str]:
        token = self._token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _connection(self, app: str) -> Connection:
        return Connection(f"https://{app}.{self._domain}", self._roots, self._address)

    def _chat(self, prompt: str, tokens: int, begun: Callable[[Answer], bool] | None = None) -> Answer:
        """Return an answer; once it has `begun`, its end is all that is waited for.

        A client that woke up for each token would take 0.3 ms of the server's cores for it.
        """
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0}
        # Never the model's own end, and nothing from the prompt cache: as the benchmark.
        body |= {"stream": True, "stream_options": {"include_usage": True}, "cache_prompt": False}
        body |= {"ignore_eos": True}
        encoded, headers, client = json.dumps(body).encode(), self._headers(), self._connection("llm")
        try:
            # Clients keep their connections: the handshake is no part of reading a prompt.
            client.connect()
            now = time.perf_counter()
            answer = Answer(intended=now, asked=now)
            client.chat(encoded, headers, answer, asleep=begun and partial(begun, answer))
        finally:
            client.close()
        return answer

    def _counting(self, tokens: int) -> Answer:
        prompt = f"{spelled(time.time_ns())}. Count from one to ten thousand, in words."
        return self._chat(prompt, tokens, lambda answer: bool(answer.pieces))

    def depth(self) -> int:
        """Return how many tokens stand before an answer of `decode`, those of the chat template among them."""
        return self._counting(1).prompt_tokens

    def decode(self) -> float:
        """Return the tokens per second of one stream, after its first token."""
        answer = self._counting(WRITTEN)
        if answer.tokens < WRITTEN:
            message = f"the model ended its answer after {answer.tokens} of {WRITTEN} tokens"
            raise Failure(message)
        return (answer.tokens - 1) / (answer.pieces[-1] - answer.pieces[0])

    def streams(self) -> float:
        """Return the tokens per second of four streams together."""
        prompts = [f"{number}. Count from one to ten thousand, in words." for number in range(STREAMS)]
        writing: set[int] = set()

        def all_begun(answer: Answer) -> bool:
            if answer.pieces:
                writing.add(id(answer))
            return len(writing) == STREAMS

        with ThreadPoolExecutor(STREAMS) as pool:
            return together(list(pool.map(lambda prompt: self._chat(prompt, WRITTEN, all_begun), prompts)))

    def prefill(self) -> float:
        """Return the tokens per second of reading a prompt of some 512 tokens: to the first token, all told."""
        counts = []
        for _ in range(8):
            answer = self._chat(text(self._draw, self._length, spelled(time.time_ns())), 1)
            if READ * 0.97 <= answer.prompt_tokens <= READ:
                return answer.prompt_tokens / (answer.pieces[0] - answer.asked)
            # A word is a token, more or less; the template's own tokens are part of the count.
            self._length = max(1, self._length + round(READ * 0.985) - answer.prompt_tokens)
            counts.append(answer.prompt_tokens)
        message = f"no prompt of {READ} tokens came about, but of {counts}"
        raise Failure(message)

    def embeddings(self) -> float:
        """Return the tokens per second of a request with sixteen texts."""
        texts = [text(self._draw, self._text, spelled(time.time_ns())) for _ in range(TEXTS)]
        encoded, headers = json.dumps({"input": texts}).encode(), self._headers()
        client = self._connection("embeddings")
        try:
            client.connect()
            now = time.perf_counter()
            batch = Batch(intended=now, asked=now, texts=TEXTS)
            client.embed(encoded, headers, batch)
        finally:
            client.close()
        self._text += TEXT - round(batch.prompt_tokens / TEXTS)
        return batch.prompt_tokens / (batch.ended - batch.asked)


@dataclass(frozen=True)
class Sides:
    """How a measure is taken; what is measured returns tokens per second."""

    bench: Callable[[], float]
    warm: Callable[[], float]
    """What the edge does before it is measured, as much as the benchmark does by itself: the first request after
    another process had the cores is slower by a twentieth."""
    through: Callable[[], float]


def compare(name: str, sides: Sides, wanted: int, told: Callable[[str], None]) -> Pairs:
    """Return so many pairs of a measure, the limit of each being the mean of a benchmark before and one after.

    Neighbours share a benchmark. A machine that held its speed for less than half as many pairs is a Failure.
    """
    pairs = Pairs()
    after = sides.bench()
    while len(pairs.edge) < wanted and pairs.tried < _TRIES * wanted:
        before = after
        sides.warm()
        rate = sides.through()
        after = sides.bench()
        limit = statistics.mean((before, after))
        where = f"round {len(pairs.edge) + 1} of {wanted}, {name}"
        if abs(after - before) > _STEADY * limit:
            pairs.unsteady += 1
            told(f"{where}: once more, the benchmark had {before:.1f} tokens/s before and {after:.1f} after")
            continue
        pairs.edge.append(rate)
        pairs.limit.append(limit)
        told(f"{where}: {rate:.1f} of {limit:.1f} tokens/s")
    if 2 * len(pairs.edge) < wanted:
        message = (
            f"the machine changed its speed by more than {_STEADY:.0%} during {pairs.unsteady} of "
            f"{pairs.tried} pairs; measure when its neighbours are quiet"
        )
        raise Failure(message)
    return pairs
