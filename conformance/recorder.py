"""Results as data: what each check claimed, found and took. The reports are written from these alone."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One check's outcome; `where` to `reproduce` are filled when a promise is broken."""

    id: str
    promise: str
    family: str
    claim: str
    subject: str
    outcome: str
    seconds: float
    reason: str = ""
    where: str = ""
    want: str = ""
    got: str = ""
    reproduce: str = ""
    detail: str = ""
    probes: int = 0
    """Requests to the gateway that it took."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a browser showed."""

    name: str
    caption: str
    png: bytes = field(repr=False)


@dataclass
class Run:
    """One run of the suite."""

    env: str
    domain: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    complete: bool = False
    """Whether every declared check was meant to run: no path, -k or -m narrowed it."""
    gaps: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    features: dict[str, bool] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    """What was looked at, in numbers."""
    pictures: list[Picture] = field(default_factory=list)

    def probes(self) -> dict[str, int]:
        """Return how many requests to the gateway each family took."""
        found: dict[str, int] = {}
        for result in self.results:
            found[result.family] = found.get(result.family, 0) + result.probes
        return found

    def count(self, outcome: str) -> int:
        """Return how many checks ended this way."""
        return sum(result.outcome == outcome for result in self.results)

    @property
    def verdict(self) -> str:
        """Tell in one word: conformant, broken, incomplete (checks missing) or partial (asked for a part)."""
        if self.count(FAILED):
            return "broken"
        if self.gaps:
            return "incomplete"
        return "conformant" if self.complete else "partial"

    def promises(self) -> dict[str, list[Result]]:
        """Return the results by promise, in the order of running."""
        found: dict[str, list[Result]] = {}
        for result in self.results:
            found.setdefault(result.promise, []).append(result)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "env": self.env,
            "domain": self.domain,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "verdict": self.verdict,
            "complete": self.complete,
            "gaps": self.gaps,
            "probes": self.probes(),
            "pictures": [picture.name for picture in self.pictures],
            "counts": {outcome: self.count(outcome) for outcome in (PASSED, FAILED, SKIPPED)},
            "promises": [
                {
                    "promise": promise,
                    "claim": results[0].claim,
                    "outcome": worst(results),
                    "checks": len(results),
                    "seconds": round(sum(result.seconds for result in results), 3),
                }
                for promise, results in self.promises().items()
            ],
            "features": self.features,
            "versions": self.versions,
            "facts": self.facts,
            "results": [asdict(result) for result in self.results],
        }


def worst(results: list[Result]) -> str:
    """Return the outcome of a promise: failed if one check failed, skipped if all were skipped."""
    outcomes = {result.outcome for result in results}
    if FAILED in outcomes:
        return FAILED
    return PASSED if PASSED in outcomes else SKIPPED
