"""Stages of a closed-loop load, and the clock they run by."""

from dataclasses import dataclass
from typing import ClassVar

from locust import LoadTestShape


@dataclass(frozen=True)
class Stage:
    """So many users for so many seconds."""

    users: int
    seconds: float


class StagesShape(LoadTestShape):
    """Run the stages one after the other, then end."""

    abstract = True
    stages: ClassVar[list[Stage]]

    def tick(self) -> tuple[int, float] | None:
        """Return (users, users started per second) for this moment, None at the end."""
        end = 0.0
        for stage in self.stages:
            end += stage.seconds
            if self.get_run_time() < end:
                return stage.users, float(stage.users)
        return None
