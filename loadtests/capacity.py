"""How close the platform comes to the hardware: rates through gateway, TLS and token, and a benchmark's beside each.

python -m loadtests.capacity --env=local --rounds=5 (the verb `invoke capacity` says the rest)

The limit is measured by llama.cpp's own benchmarks in the very pod that serves, on the same cores, a moment before. A
round is one such pair for each measure; what counts is the median of the rounds' ratios.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from betelgeuse import settings
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube.command import exec_in
from loadtests.connection import Connection, Failure, connection
from loadtests.measure import Answer, Batch
from loadtests.tokens import Tokens
from loadtests.words import spelled, text

_NAMESPACE: Final = "ai"
_BENCH: Final = "/usr/local/bin/llama-bench"
_BATCHED: Final = "/usr/local/bin/llama-batched-bench"
_LLM: Final = "/models/llm.gguf"
_EMBEDDINGS: Final = "/models/embeddings.gguf"
_SECONDS: Final = 300.0
_WRITTEN: Final = 128
_READ: Final = 512
_STREAMS: Final = 4
_TEXT: Final = 256
"""Tokens of a text that is embedded; a request has sixteen."""
_TEXTS: Final = 16
_SLACK: Final = 0.05
"""So much may a ratio fall below a stored card's: the spread of the rounds on a shared machine."""

GOALS: Final[Mapping[str, float]] = {"decode": 0.97, "decode, 4 streams": 0.95, "prefill": 0.95, "embeddings": 0.95}


@dataclass
class Pairs:
    """One measure: tokens per second by the benchmark and through the edge, a pair for each round."""

    limit: list[float] = field(default_factory=list)
    edge: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Return edge ÷ limit of each round."""
        return [edge / limit for edge, limit in zip(self.edge, self.limit, strict=True)]

    def shown(self) -> dict[str, float]:
        """Return medians, and the least and largest ratio."""
        ratios = self.ratios
        return {
            "limit": statistics.median(self.limit),
            "edge": statistics.median(self.edge),
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }


def broken(card: Mapping[str, Mapping[str, float]], stored: Mapping[str, Mapping[str, float]] | None) -> list[str]:
    """Return what is worse than the goals, or, with a stored card, than that card by more than its spread."""
    if stored is None:
        return [
            f"{name}: ratio {card[name]['ratio']:.3f}, the goal is {goal}"
            for name, goal in GOALS.items()
            if name in card and card[name]["ratio"] < goal
        ]
    return [
        f"{name}: ratio {card[name]['ratio']:.3f}, the stored card says {kept['ratio']:.3f}"
        for name, kept in stored.items()
        if name in card and card[name]["ratio"] < kept["ratio"] - _SLACK
    ]


def both_writing(answers: Sequence[Answer]) -> float:
    """Return the tokens per second of several streams together, while all of them were being written."""
    begin, end = max(answer.pieces[0] for answer in answers), min(answer.pieces[-1] for answer in answers)
    # A piece may be more or less than a token: the server's count is spread over its pieces.
    each = (sum(begin < at <= end for at in one.pieces) * one.tokens / len(one.pieces) for one in answers)
    return sum(each) / (end - begin)


class Edge:
    """The APIs as a client sees them."""

    def __init__(self, domain: str, token: Callable[[], str]) -> None:
        """`token`: called before each request."""
        self._domain, self._token = domain, token
        self._draw = random.Random(time.time_ns())  # noqa: S311 - texts that no cache has seen
        self._length = 400
        """Words of a prompt of some 512 tokens; learned from the server's counts."""

    def _headers(self) -> dict[str, str]:
        token = self._token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _connection(self, app: str) -> Connection:
        return connection(f"https://{app}.{self._domain}")

    def _chat(self, prompt: str, tokens: int) -> Answer:
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0}
        # No stop of the image's own, and nothing from the prompt cache: as the benchmark.
        body |= {"stream": True, "stream_options": {"include_usage": True}, "stop": ["@@"], "cache_prompt": False}
        client = self._connection("llm")
        now = time.perf_counter()
        answer = Answer(intended=now, asked=now)
        try:
            client.chat(json.dumps(body).encode(), self._headers(), answer, lambda _, __: None)
        finally:
            client.close()
        return answer

    def decode(self) -> float:
        """Return the tokens per second of one stream, after its first token."""
        answer = self._chat(f"{spelled(time.time_ns())}. Count from one to ten thousand, in words.", _WRITTEN)
        if answer.tokens < _WRITTEN:
            message = f"the model ended its answer after {answer.tokens} of {_WRITTEN} tokens"
            raise Failure(message)
        return (answer.tokens - 1) / (answer.pieces[-1] - answer.pieces[0])

    def streams(self) -> float:
        """Return the tokens per second of four streams together."""
        prompts = [f"{number}. Count from one to ten thousand, in words." for number in range(_STREAMS)]
        with ThreadPoolExecutor(_STREAMS) as pool:
            return both_writing(list(pool.map(lambda prompt: self._chat(prompt, _WRITTEN), prompts)))

    def prefill(self) -> float:
        """Return the tokens per second of reading a prompt of some 512 tokens: to the first token, all told."""
        counts = []
        for _ in range(8):
            answer = self._chat(text(self._draw, self._length, spelled(time.time_ns())), 1)
            if _READ * 0.97 <= answer.prompt_tokens <= _READ:
                return answer.prompt_tokens / (answer.pieces[0] - answer.asked)
            # A word is a token, more or less; the template's own tokens are part of the count.
            self._length = max(1, self._length + round(_READ * 0.985) - answer.prompt_tokens)
            counts.append(answer.prompt_tokens)
        message = f"no prompt of {_READ} tokens came about, but of {counts}"
        raise Failure(message)

    def embeddings(self) -> float:
        """Return the tokens per second of a request with sixteen texts."""
        texts = [text(self._draw, round(_TEXT * 0.8), spelled(time.time_ns())) for _ in range(_TEXTS)]
        client = self._connection("embeddings")
        now = time.perf_counter()
        batch = Batch(intended=now, asked=now, texts=_TEXTS)
        try:
            client.embed(json.dumps({"input": texts}).encode(), self._headers(), batch)
        finally:
            client.close()
        return batch.prompt_tokens / (batch.ended - batch.asked)


class Limit:
    """llama.cpp's benchmarks, run in the pods that serve."""

    def __init__(self, chosen: settings.Settings) -> None:
        """Threads are as many as the servers use: their limit of processors."""
        self._settings = chosen
        self._threads = {"llm": chosen.llm_cpu, "embeddings": chosen.embeddings_cpu}

    def _bench(self, app: str, model: str, *flags: str) -> float:
        argv = [_BENCH, "-m", model, "-t", self._threads[app], "-r", "1", "-o", "json", *flags]
        said = exec_in(self._settings, _NAMESPACE, f"deployment/{app}", argv, timeout=_SECONDS)
        return float(json.loads(said)[0]["avg_ts"])

    def decode(self) -> float:
        """Return tg128."""
        return self._bench("llm", _LLM, "-p", "0", "-n", str(_WRITTEN))

    def prefill(self) -> float:
        """Return pp512."""
        return self._bench("llm", _LLM, "-p", str(_READ), "-n", "0")

    def streams(self) -> float:
        """Return what llama-batched-bench writes for four sequences together."""
        sizes = ["-npp", "128", "-ntg", str(_WRITTEN), "-npl", str(_STREAMS), "-c", "2048", "--output-format", "jsonl"]
        argv = [_BATCHED, "-m", _LLM, "-t", self._threads["llm"], *sizes]
        said = exec_in(self._settings, _NAMESPACE, "deployment/llm", argv, timeout=_SECONDS)
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return float(rows[-1]["speed_tg"])

    def embeddings(self) -> float:
        """Return how fast the embedding model reads a text of 256 tokens in a process of its own."""
        return self._bench("embeddings", _EMBEDDINGS, "-p", str(_TEXT), "-n", "0", "-embd", "1")


def measure(edge: Edge, limit: Limit, rounds: int, told: Callable[[str], None]) -> dict[str, Pairs]:
    """Return the pairs of so many rounds; in every other round the edge comes first."""
    steps: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "decode": (limit.decode, edge.decode),
        "decode, 4 streams": (limit.streams, edge.streams),
        "prefill": (limit.prefill, edge.prefill),
        "embeddings": (limit.embeddings, edge.embeddings),
    }
    found = {name: Pairs() for name in steps}
    for number in range(rounds):
        for name, (bench, through) in steps.items():
            pair = found[name]
            order = [(pair.limit, bench), (pair.edge, through)]
            for values, work in order if number % 2 == 0 else reversed(order):
                values.append(work())
            told(f"round {number + 1} of {rounds}, {name}: {pair.edge[-1]:.1f} of {pair.limit[-1]:.1f} tokens/s")
    return found


def table(card: Mapping[str, Mapping[str, float]]) -> str:
    """Return a card as a Markdown table."""
    lines = ["| measure | benchmark, tokens/s | through the edge | ratio | rounds |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row['limit']:.1f} | {row['edge']:.1f} | {row['ratio']:.3f}"
        f" | {row['least']:.3f} to {row['most']:.3f} |"
        for name, row in card.items()
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show and judge; 1 when something is worse than it should be, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.capacity", description=__doc__)
    parser.add_argument("--env", default=settings.LOCAL)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--against", help="a card of before: compare with it instead of the goals")
    parser.add_argument("--out", required=True, help="where the card is written")
    said = parser.parse_args(argv)
    try:
        stored: dict[str, Any] | None = json.loads(Path(said.against).read_text("utf-8")) if said.against else None
        chosen = settings.load(said.env)
        edge, limit = Edge(chosen.domain, Tokens().get), Limit(chosen)
        found = measure(edge, limit, said.rounds, lambda words: print(words, file=sys.stderr, flush=True))  # noqa: T201
    except (BetelgeuseError, Failure, OSError, ValueError, RuntimeError) as error:
        print(f"capacity: {error}", file=sys.stderr)  # noqa: T201 - for people
        return 2
    card = {name: pairs.shown() for name, pairs in found.items()}
    Path(said.out).write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    faults = broken(card, stored)
    print(table(card), *(f"FAILED  {fault}" for fault in faults), sep="\n")  # noqa: T201 - for people
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
