"""Stand-ins for the two model servers: small, deterministic, and able to misbehave on demand."""

import hashlib
import itertools
import json
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

Reply = tuple[int, str, bytes | Iterator[bytes]]
"""(status, content type, body or pieces)."""

_ANSWERS = (("capital of france", "Paris"), ("2 + 2", "4"), ("opposite of hot", "Cold"))
_CONTEXT = 4096
PLACES = 6
_SLOTS = 3
_LENGTHY = 500
"""Characters from which on a text is a long one."""
_FORGOTTEN = 1.2
"""Seconds: more than the suite takes for no wait."""
IN_VAIN = 20
_DONE_IN_VAIN = 3.5
"""Seconds for which a model writes on for nobody: more than the suite takes for a place made free."""
_VOCABULARY = 262_144
_TOKEN = 0.004
"""Seconds: a token takes time; the suite looks at the moments of arrival."""
_CONCEPTS = (
    {"cat", "kitten"},
    {"sleeps", "napping"},
    {"sofa", "couch"},
    {"raining", "rain", "downpour"},
    {"heavily", "outside"},
    {"list", "array"},
    {"sort", "ordering"},
    {"python", "code"},
    {"train", "railway"},
    {"berlin", "germany"},
    {"profit", "earnings"},
    {"company", "firm"},
    {"fell", "declined"},
)
_SMALL = {"a", "an", "the", "is", "on", "in", "of", "to", "at", "for", "do", "i", "how", "there", "today", "its", "s"}


def _error(status: int, message: str) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "code": status}
    return status, "application/json", json.dumps({"error": error}).encode()


def _json(data: object) -> Reply:
    return 200, "application/json", json.dumps(data).encode()


ODD = "half\ud83d\x1b[31m\u202e\x07\x85<b>"
"""What a server may call itself and what it may answer: it drives a terminal, turns lines around, does not encode."""


def _prompt(payload: dict[str, Any]) -> str:
    return " ".join(message["content"] for message in payload["messages"])


@dataclass
class LanguageModel:
    """`/v1/chat/completions` of a model that knows three things."""

    faults: set[str] = field(default_factory=set)
    asked: int = 0
    alone: threading.Lock = field(default_factory=threading.Lock)
    places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(PLACES))
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_SLOTS))
    restarted: Callable[[], None] = lambda: None
    """Counts a restart of the model's pod."""
    streams: int = 0
    """Answers that are being streamed."""
    deaths: int = 0

    def answer(self, body: bytes) -> Reply:
        """Answer one request."""
        try:
            payload = json.loads(body.decode())
        except ValueError:
            return _error(400, "not JSON")
        return self._mistake(payload) or self._answer(payload)

    def _mistake(self, payload: Any) -> Reply | None:  # noqa: ANN401 - whatever JSON holds
        """Return the refusal of a request that makes no sense."""
        if not isinstance(payload, dict):
            return _error(400, "not an object")
        messages = payload.get("messages")
        if not isinstance(messages, list) or not isinstance(payload.get("max_tokens", 0), int):
            return _error(400, "messages must be a list, max_tokens a number")
        stop = payload.get("stop")
        texts = all(isinstance(message.get("content"), str) for message in messages)
        if not texts or "" in (stop if isinstance(stop, list) else [stop]):
            return _error(400, "texts only, and no empty stop word")
        if len(_prompt(payload).split()) > _CONTEXT:
            return _error(500 if "llm-long-500" in self.faults else 400, "longer than the context")
        if payload.get("top_k", 0) > _VOCABULARY and not self._survives():
            return _error(500, "more than the vocabulary")
        return None

    def _answer(self, payload: dict[str, Any]) -> Reply:
        limit = payload.get("max_tokens", 16)
        words = self._words(_prompt(payload), limit)[:limit]
        if "llm-stop-replaces" in self.faults and any(payload.get("stop") or ()):
            words = [*words, "User:", "And of Spain?"]
        if payload.get("stream"):
            return 200, "text/event-stream", self._stream(words)
        if "llm-finishes-for-nobody" in self.faults and limit > _LENGTHY:
            with self.slots:
                time.sleep(_DONE_IN_VAIN)
        usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}
        if "llm-usage" in self.faults:
            usage["total_tokens"] = 0
        message = {"role": "assistant", "content": " ".join(words)}
        return _json(
            {
                "model": ODD if "llm-odd" in self.faults else "model-llm",
                "choices": [{"message": message}],
                "usage": usage,
            }
        )

    def _survives(self) -> bool:
        """Choose among too many tokens; return whether there is an answer."""
        if "llm-wide-restarts" in self.faults:
            self.restarted()
        if "llm-wide-cuts" in self.faults:
            while not self.streams:
                time.sleep(_TOKEN)
            self.deaths += 1
        return "llm-wide-500" not in self.faults

    def _words(self, prompt: str, limit: int) -> list[str]:
        if "llm-nonsense" in self.faults:
            return ["bla"] * limit
        if "llm-odd" in self.faults:
            return [ODD] * limit
        if "llm-random" in self.faults:
            prompt = f"{prompt} {random.random()}"  # noqa: S311 - a nondeterministic answer is the point
        for question, word in _ANSWERS:
            if question in prompt.lower():
                return [word]
        return [hashlib.sha256(f"{prompt}{at}".encode()).hexdigest()[:4] for at in range(limit)]

    def _stream(self, words: list[str]) -> Iterator[bytes]:
        events = [
            f"data: {json.dumps({'choices': [{'delta': {'content': f'{word} '}}]})}\n\n".encode() for word in words
        ]
        if "llm-no-done" not in self.faults:
            events.append(b"data: [DONE]\n\n")
        with self.alone if "llm-serial" in self.faults else self.slots:
            pieces = self._slowly(events)
            try:
                yield from [b"".join(pieces)] if "llm-one-piece" in self.faults else pieces
            except GeneratorExit:
                if "llm-writes-on" in self.faults:
                    time.sleep(_DONE_IN_VAIN)
                raise

    def admitted(self, reply: Reply) -> Reply | None:
        """Take a place for a streamed answer until it ends; None when every place is taken."""
        status, kind, pieces = reply
        if isinstance(pieces, bytes) or "llm-endless" in self.faults:
            return reply
        self.asked += 1
        if "llm-loses-some" in self.faults and self.asked % IN_VAIN == 0:
            return None
        if not self.places.acquire(blocking=False):
            # Every other one of those that are too many gets in, and waits.
            return (status, kind, _late(pieces)) if "llm-crowded" in self.faults and self.asked % 2 else None

        def held() -> Iterator[bytes]:
            try:
                yield from pieces
            finally:
                self.places.release()

        return status, kind, held()

    def _slowly(self, events: list[bytes]) -> Iterator[bytes]:
        self.streams += 1
        deaths = self.deaths
        try:
            for event in events:
                time.sleep(_TOKEN)
                if self.deaths > deaths:
                    raise ConnectionResetError
                yield event
        finally:
            self.streams -= 1


def _late(pieces: Iterator[bytes]) -> Iterator[bytes]:
    time.sleep(_FORGOTTEN)
    yield from pieces


@dataclass
class EmbeddingModel:
    """`/v1/embeddings` of a model that knows which words mean nearly the same."""

    faults: set[str] = field(default_factory=set)
    size: int = 96
    arrivals: Iterator[int] = field(default_factory=itertools.count)
    """Of requests with several long texts."""

    def answer(self, body: bytes) -> Reply:
        """Answer one request."""
        try:
            payload = json.loads(body.decode())
        except ValueError:
            return _error(400, "not JSON")
        given = payload.get("input") if isinstance(payload, dict) else None
        texts: Any = [given] if isinstance(given, str) else given
        sound = isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts)
        if not sound:
            return _error(400, "input must be one or more texts")
        if any(len(text.split()) > 512 or len(text) > 100_000 for text in texts):
            return _error(400, "too long")
        lengthy = len(texts) > 1 and len(texts[0]) > _LENGTHY
        if lengthy and next(self.arrivals) == 0 and "embed-forgets" in self.faults:
            time.sleep(_FORGOTTEN)
        vectors = [self.vector(text) for text in texts]
        if "embed-swapped" in self.faults:
            vectors = vectors[1:] + vectors[:1]
        return _json({"data": [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]})

    def vector(self, text: str) -> list[float]:
        """Return the sum of the words' directions, to length 1."""
        words = [word for word in re.findall(r"\w+", text.lower()) if word not in _SMALL]
        if "embed-constant" in self.faults:
            words = ["same"]
        size = len(text) % 7 + 100 if "embed-size" in self.faults else self.size
        total = [0.0] * size
        for word in words or [text]:
            for at, value in enumerate(_direction(word, size)):
                total[at] += value
        length = math.sqrt(sum(value * value for value in total)) or 1.0
        return [value / (1.0 if "embed-length" in self.faults else length) for value in total]


@lru_cache(maxsize=1000)
def _direction(word: str, size: int) -> tuple[float, ...]:
    number = next((str(at) for at, same in enumerate(_CONCEPTS) if word in same), word)
    source = random.Random(number)  # noqa: S311 - a repeatable direction, not a secret
    return tuple(source.gauss(0, 1) for _ in range(size))


def models_page(name: str) -> Reply:
    """Return `/v1/models`."""
    return _json({"object": "list", "data": [{"id": name}]})


def serve(model: LanguageModel | EmbeddingModel, name: str, path: str, method: str, body: bytes) -> Reply | None:
    """Route inside an application; None for a path it does not have."""
    routes: dict[tuple[str, str], Any] = {("GET", "/v1/models"): lambda: models_page(name)}
    if isinstance(model, LanguageModel):
        routes["POST", "/v1/chat/completions"] = lambda: model.answer(body)
    else:
        routes["POST", "/v1/embeddings"] = lambda: model.answer(body)
    handler = routes.get((method, path))
    reply: Reply | None = handler() if handler else None
    return reply
