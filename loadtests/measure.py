"""What is measured of each request; knows neither Locust nor HTTP. All times are seconds of one clock."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

START_DELAY: Final = "start delay"
# Tokens of text, no secrets.
FIRST_TOKEN: Final = "time to first token"  # noqa: S105
GAPS: Final = "inter-token latency"
PER_TOKEN: Final = "time per output token"  # noqa: S105
NORMALIZED: Final = "normalized latency"
END_TO_END: Final = "end to end"

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


@dataclass
class Answer:
    """One streamed answer."""

    intended: float
    """When the load model wanted the request to begin: latencies count from here, so that a wait for a free user is
    part of them (no coordinated omission). In a closed loop it is when the request began."""
    asked: float
    """When the request really began."""
    pieces: list[float] = field(default_factory=list)
    """When each piece of text came."""
    ended: float = 0.0
    tokens: int = 0
    """As the server counts them (`usage`): a piece may hold several tokens, or half of one."""
    prompt_tokens: int = 0

    @property
    def durations(self) -> dict[str, float]:
        """Return what limits can be set on for each answer; an answer of one token has no time per output token."""
        first, whole = self.pieces[0] - self.intended, self.ended - self.intended
        found = {
            START_DELAY: self.asked - self.intended,
            FIRST_TOKEN: first,
            END_TO_END: whole,
            NORMALIZED: whole / self.tokens,
        }
        if self.tokens > 1:
            found[PER_TOKEN] = (whole - first) / (self.tokens - 1)
        return found

    @property
    def gaps(self) -> list[float]:
        """Return the seconds between pieces: what a reader sees as smooth or halting."""
        return [late - early for early, late in zip(self.pieces, self.pieces[1:], strict=False)]


@dataclass
class Batch:
    """One request for embeddings."""

    intended: float
    """As for an answer."""
    asked: float
    ended: float = 0.0
    texts: int = 0
    prompt_tokens: int = 0

    @property
    def durations(self) -> dict[str, float]:
        """Return what limits can be set on for each batch."""
        return {START_DELAY: self.asked - self.intended, END_TO_END: self.ended - self.intended}


@dataclass(frozen=True)
class Slo:
    """What a request must hold to count as good, and how many must."""

    limits: Mapping[str, float]
    """Most seconds, by name of the duration."""
    share: float
    """Of the requests, dropped starts and failures among them."""

    def holds(self, durations: Mapping[str, float]) -> bool:
        """Whether a request is within every limit; a duration it cannot have (one token) breaks none."""
        return all(durations.get(name, 0.0) <= most for name, most in self.limits.items())


class Events:
    """Cuts a stream of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) into JSON.

    Only what model servers send: `data:` of one line each; comments, other fields and empty lines are passed over.
    """

    def __init__(self) -> None:
        """Begin at the start of a stream."""
        self._rest = b""
        self.done = False
        """Whether `[DONE]` came: a stream that ends without was cut."""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that end in these bytes; an unreadable one is a ValueError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self.done or not line.startswith(_DATA):
                continue
            body = line[len(_DATA) :].strip()
            if body == _DONE:
                self.done = True
            else:
                event = json.loads(body)
                if not isinstance(event, dict):
                    message = f"an event that is no object: {event!r}"
                    raise ValueError(message)
                yield event


def text_of(event: dict[str, Any]) -> str:
    """Return the text that an event adds to the answer, empty for the role, the end, the usage and what is unknown."""
    try:
        text = event["choices"][0]["delta"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""
