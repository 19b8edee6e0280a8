"""How close the platform comes to the hardware: rates through gateway, TLS and token, and a benchmark's beside each.

python -m loadtests.capacity --env=local --rounds=5 --out=CARD (the verb `invoke capacity` says the rest)

The limit is measured by llama.cpp's own benchmarks in the very pod that serves, on the same cores, a moment before and
a moment after: a machine that gets slower meanwhile favours neither. If the two differ, the machine changed its speed,
and the pair is measured again: the rate through the edge has no say in that. What counts is the median of the pairs'
ratios. With the sweeps' reports, and what the pods say of their node and memory, that is the card (card.py).
"""

import argparse
import json
import math
import random
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from betelgeuse import paths, settings
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube.command import exec_in
from loadtests import card, report
from loadtests.connection import Connection, Failure, connection
from loadtests.measure import Answer, Batch
from loadtests.plan import NAMESPACE
from loadtests.tokens import Tokens
from loadtests.words import spelled, text

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
_STEADY: Final = 0.05
"""The benchmarks before and after differ by at most this share of their mean, or the machine changed its speed."""
_TRIES: Final = 4
"""So many times as many pairs are tried as are wanted."""
_FACTS: Final = ("/proc/cpuinfo", "/proc/meminfo", "/proc/1/status")
"""Of the node, and of the server: the pod's first process."""
_KIB: Final = 1024

CARDS: Final = paths.ROOT / "docs" / "capacity"
"""A card for each kind of node that was measured; docs/capacity.md shows them."""


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


def fields(text: str) -> dict[str, list[str]]:
    """Return the values of each name in lines of `name: value`, as /proc has them."""
    found: dict[str, list[str]] = {}
    for name, _, value in (line.partition(":") for line in text.splitlines()):
        found.setdefault(name.strip(), []).append(value.strip())
    return found


def _kib(value: str) -> int:
    """Return the number of a value in kB (which are KiB)."""
    return int(value.split(maxsplit=1)[0])


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

    def __init__(self, domain: str, token: Callable[[], str]) -> None:
        """`token`: called before each request."""
        self._domain, self._token = domain, token
        self._draw = random.Random(time.time_ns())  # noqa: S311 - texts that no cache has seen
        self._length = 400
        """Words of a prompt of some 512 tokens; learned from the server's counts."""
        self._text = round(_TEXT * 0.9)
        """The same of a text to embed."""

    def _headers(self) -> dict[str, str]:
        token = self._token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _connection(self, app: str) -> Connection:
        return connection(f"https://{app}.{self._domain}")

    def _chat(self, prompt: str, tokens: int, begun: Callable[[Answer], bool] | None = None) -> Answer:
        """Return an answer; once it has `begun`, its end is all that is waited for.

        A client that woke up for each token would take 0.3 ms of the server's cores for it.
        """
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0}
        # No stop of the image's own, and nothing from the prompt cache: as the benchmark.
        body |= {"stream": True, "stream_options": {"include_usage": True}, "stop": ["@@"], "cache_prompt": False}
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
        answer = self._counting(_WRITTEN)
        if answer.tokens < _WRITTEN:
            message = f"the model ended its answer after {answer.tokens} of {_WRITTEN} tokens"
            raise Failure(message)
        return (answer.tokens - 1) / (answer.pieces[-1] - answer.pieces[0])

    def streams(self) -> float:
        """Return the tokens per second of four streams together."""
        prompts = [f"{number}. Count from one to ten thousand, in words." for number in range(_STREAMS)]
        writing: set[int] = set()

        def all_begun(answer: Answer) -> bool:
            if answer.pieces:
                writing.add(id(answer))
            return len(writing) == _STREAMS

        with ThreadPoolExecutor(_STREAMS) as pool:
            return together(list(pool.map(lambda prompt: self._chat(prompt, _WRITTEN, all_begun), prompts)))

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
        texts = [text(self._draw, self._text, spelled(time.time_ns())) for _ in range(_TEXTS)]
        encoded, headers = json.dumps({"input": texts}).encode(), self._headers()
        client = self._connection("embeddings")
        try:
            client.connect()
            now = time.perf_counter()
            batch = Batch(intended=now, asked=now, texts=_TEXTS)
            client.embed(encoded, headers, batch)
        finally:
            client.close()
        self._text += _TEXT - round(batch.prompt_tokens / _TEXTS)
        return batch.prompt_tokens / (batch.ended - batch.asked)


class Limit:
    """llama.cpp's benchmarks, run in the pods that serve."""

    def __init__(self, chosen: settings.Settings) -> None:
        """Measure the models of an environment."""
        self._settings = chosen
        self._served: dict[str, tuple[str, str]] = {}
        """Threads of each server, and how its weights are loaded."""
        self._models: dict[str, str] = {}

    def _exec(self, app: str, *argv: str) -> str:
        return exec_in(self._settings, NAMESPACE, f"deployment/{app}", argv, timeout=_SECONDS)

    def _as_served(self, app: str) -> list[str]:
        """Return the flags for as many threads as the server has, and for weights in the same kind of memory."""
        if app not in self._served:
            threads, loading = self._exec(app, "printenv", "LLAMA_ARG_THREADS", "LLAMA_ARG_LOAD_MODE").split()
            self._served[app] = threads, loading
        threads, loading = self._served[app]
        return ["-t", threads, "-lm", loading]

    def _bench(self, app: str, model: str, *flags: str, times: int = 1) -> float:
        """Return the tokens per second of so many turns together: its own average is one of their rates."""
        argv = [_BENCH, "-m", model, *self._as_served(app), "-r", str(times), "-o", "json", *flags]
        found = json.loads(self._exec(app, *argv))[0]
        self._models[app] = found["model_type"]
        return float((found["n_prompt"] + found["n_gen"]) * 1e9 / found["avg_ns"])

    def facts(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Return the node, and of each model that was measured its name, threads and memory at most."""
        node: dict[str, Any] = {}
        models = {}
        for app, model in self._models.items():
            found = fields(self._exec(app, "cat", *_FACTS))
            # The first is the llm's: models may be on nodes of several kinds.
            node = node or {
                "processors": len(found["processor"]),
                "processor": found["model name"][0],
                "memory GiB": _kib(found["MemTotal"][0]) / _KIB**2,
            }
            models[app] = {
                "model": model,
                "threads": int(self._served[app][0]),
                "memory MiB": _kib(found["VmHWM"][0]) / _KIB,
            }
        return node, models

    def decode(self, depth: int) -> float:
        """Return tg128 after as many tokens as a request has: attention to 130 of them costs a fourteenth."""
        return self._bench("llm", _LLM, "-p", "0", "-n", str(_WRITTEN), "-d", str(depth))

    def prefill(self) -> float:
        """Return pp512."""
        return self._bench("llm", _LLM, "-p", str(_READ), "-n", "0")

    def streams(self) -> float:
        """Return what llama-batched-bench writes for four sequences together."""
        sizes = ["-npp", "128", "-ntg", str(_WRITTEN), "-npl", str(_STREAMS), "-c", "2048", "--output-format", "jsonl"]
        said = self._exec("llm", _BATCHED, "-m", _LLM, *self._as_served("llm"), *sizes)
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return float(rows[-1]["speed_tg"])

    def embeddings(self) -> float:
        """Return how fast the embedding model reads as many texts of 256 tokens in a process of its own."""
        return self._bench("embeddings", _EMBEDDINGS, "-p", str(_TEXT), "-n", "0", "-embd", "1", times=_TEXTS)


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


def measure(edge: Edge, limit: Limit, wanted: int, told: Callable[[str], None]) -> tuple[dict[str, Pairs], list[str]]:
    """Return so many pairs of each measure, and why there are none of the others; Failure if there are none at all."""
    steps = {
        # llama-bench reads the tokens before the answer and writes one, and begins.
        "decode": Sides(partial(limit.decode, edge.depth()), edge.depth, edge.decode),
        "decode, 4 streams": Sides(limit.streams, edge.streams, edge.streams),
        "prefill": Sides(limit.prefill, edge.prefill, edge.prefill),
        "embeddings": Sides(limit.embeddings, edge.embeddings, edge.embeddings),
    }
    found, missing = {}, []
    for name, sides in steps.items():
        try:
            found[name] = compare(name, sides, wanted, told)
        except Failure as error:
            # An hour's other measures are not lost by it.
            missing.append(f"{name}: not measured: {error}")
    if not found:
        raise Failure("; ".join(missing))
    return found, missing


def _said(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.capacity", description=__doc__)
    add = parser.add_argument
    add("--env", default=settings.LOCAL)
    add("--rounds", type=int, required=True)
    add("--sweep", action="append", default=[], help="the report (JSON) of a sweep, to be part of the card")
    add("--against", help="a card of before: compare with it, not with the one that is kept for such a node")
    add("--keep", action="store_true", help="keep the card for later runs, and write docs/capacity.md")
    add("--out", required=True, help="where the card is written, and a page beside it")
    return parser.parse_args(argv)


def _json(path: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found


def _write(path: Path, measured: card.Card) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show and judge; 1 when something is worse than it should be, 2 when it could not be measured."""
    said = _said(argv)
    try:
        # What may be unreadable first: nothing that was measured is lost by it.
        against = _json(said.against) if said.against else None
        sweeps = [_json(path) for path in said.sweep]
        kept = {path.stem: _json(path) for path in CARDS.glob("*.json")}
        chosen = settings.load(said.env)
        edge, limit = Edge(chosen.domain, Tokens().get), Limit(chosen)
        found, missing = measure(edge, limit, said.rounds, partial(print, file=sys.stderr, flush=True))
        node, models = limit.facts()
    except (BetelgeuseError, Failure, OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"capacity: {error}", file=sys.stderr)  # noqa: T201 - for people
        return 2
    # A model says itself what it is called.
    measured = report.finite(
        {
            "made": time.strftime("%Y-%m-%d", time.gmtime()),
            "environment": said.env,
            "node": node,
            "models": models,
            "pairs": {name: pairs.shown() for name, pairs in found.items()},
            "targets": {result["target"]: card.carried(result) for result in sweeps},
        }
    )
    name = card.kind(measured)
    faults = missing + card.broken(measured, against or kept.get(name))
    out = Path(said.out)
    _write(out, measured)
    out.with_suffix(".html").write_text(card.page(measured, faults), "utf-8")
    print(card.title(measured), card.text(measured), *(f"FAILED  {fault}" for fault in faults), sep="\n")  # noqa: T201 - for people
    if said.keep and missing:
        print("not kept: later runs would have nothing to compare these measures with")  # noqa: T201 - for people
    elif said.keep:
        _write(CARDS / f"{name}.json", measured)
        CARDS.with_suffix(".md").write_text(card.document({**kept, name: measured}.values()), "utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
