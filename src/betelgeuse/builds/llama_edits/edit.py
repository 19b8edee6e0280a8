"""A change to a file of upstream's source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """A change to upstream's source: `old` must occur exactly once, so that a new version cannot lose it silently."""

    file: str
    old: str
    new: str
