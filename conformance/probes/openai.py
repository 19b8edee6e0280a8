"""The OpenAI dialect over our HTTP probe: ask, and read answers, streams and vectors."""

import json
import math
from dataclasses import dataclass
from typing import Any

from conformance.probes.http import Answer, Header, Request

_DATA = b"data:"


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event and the second it arrived in."""

    at: float
    data: str


def json_request(host: str, path: str, payload: object, headers: tuple[Header, ...]) -> Request:
    """Return a POST of JSON."""
    body = json.dumps(payload).encode()
    return Request(host, path, "POST", (*headers, ("Content-Type", "application/json")), body)


def parse(answer: Answer) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the JSON of an answer; an empty object when there is none."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return {}


def error(answer: Answer) -> dict[str, Any]:
    """Return what a refusal says of itself; empty when it says nothing."""
    parsed = parse(answer)
    found = parsed.get("error") if isinstance(parsed, dict) else None
    return found if isinstance(found, dict) else {}


def refusal_fault(answer: Answer, *kinds: str) -> str:
    """Return why a client does not understand a refusal: it is no JSON, without words, or of another type."""
    told = error(answer)
    if not (answer.header("content-type") or "").startswith("application/json"):
        return f"{answer} is no JSON"
    if not told.get("message") or not told.get("type"):
        return f"{answer} has no error.message and error.type"
    return "" if not kinds or told["type"] in kinds else f"{answer} is not {' or '.join(kinds)}"


def content(answer: Answer) -> str:
    """Return the text of a chat completion; empty when there is none."""
    parsed = parse(answer)
    choices = parsed.get("choices") or [{}] if isinstance(parsed, dict) else [{}]
    return str((choices[0].get("message") or {}).get("content") or "")


def events(answer: Answer) -> list[Event]:
    """Cut a stream into its events; an event counts as arrived with the piece that completes it."""
    found: list[Event] = []
    rest = b""
    for at, piece in answer.pieces:
        *whole, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        lines = (line for block in whole for line in block.split(b"\n") if line.startswith(_DATA))
        found += [Event(at, line[len(_DATA) :].strip().decode("utf-8", "replace")) for line in lines]
    return found


def streamed_text(stream: list[Event]) -> str:
    """Join the pieces of a streamed completion."""
    text = ""
    for event in stream:
        if event.data and event.data != "[DONE]":
            choices = json.loads(event.data).get("choices") or [{}]
            text += (choices[0].get("delta") or {}).get("content") or ""
    return text


def vectors(answer: Answer) -> list[list[float]]:
    """Return the vectors of an embeddings answer in the order of the inputs."""
    parsed = parse(answer)
    data = parsed.get("data", []) if isinstance(parsed, dict) else []
    return [entry["embedding"] for entry in sorted(data, key=lambda entry: entry["index"])]


def norm(vector: list[float]) -> float:
    """Return a vector's length."""
    return math.sqrt(sum(value * value for value in vector))


def cosine(one: list[float], other: list[float]) -> float:
    """Return how near two vectors' directions are: 1 same, 0 unrelated."""
    if len(one) != len(other):
        return 0.0  # nothing to compare; that the dimension is constant has a check of its own
    scale = norm(one) * norm(other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / scale if scale else 0.0
