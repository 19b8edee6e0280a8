"""What is measured of each request; knows neither Locust nor HTTP. All times are seconds of one clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

START_DELAY: Final = "start delay"
# Tokens of text, no secrets.
FIRST_TOKEN: Final = "time to first token"  # noqa: S105
GAPS: Final = "inter-token latency"
PER_TOKEN: Final = "time per output token"  # noqa: S105
NORMALIZED: Final = "normalized latency"
END_TO_END: Final = "end to end"


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
        """Return the seconds between pieces that came apart: what a reader sees as smooth or halting."""
        return [late - early for early, late in zip(self.pieces, self.pieces[1:], strict=False) if late > early]


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
