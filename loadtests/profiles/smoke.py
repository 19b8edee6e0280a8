"""Half a minute, one user and then four: does it carry load at all, on any machine."""

from typing import ClassVar, Final

from loadtests.measure import Limit
from loadtests.shape import Stage, StagesShape


class Smoke(StagesShape):
    """Closed loop: a user asks again when the answer is there."""

    stages: ClassVar = [Stage(users=1, seconds=10), Stage(users=4, seconds=20)]


# Wide on purpose: a smoke test tells broken from working, not fast from slow.
LIMITS: Final = {
    "llm": [
        Limit("requests", least=4),
        Limit("failure ratio", most=0),
        Limit("per second", least=2),
        Limit("time to first token p95", most=10),
    ],
    "embeddings": [
        Limit("requests", least=20),
        Limit("failure ratio", most=0),
        Limit("per second", least=5),
        Limit("end to end p95", most=5),
    ],
}
