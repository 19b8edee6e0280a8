"""A quarter of an hour at one rate: what leaks or expires (tokens live for five minutes) shows."""

from typing import Final

from loadtests.limits import Limit
from loadtests.memory import GROWTH
from loadtests.plan import Profile, Stage

_LIMITS: Final = [
    Limit("requests", least=100),
    Limit("failure ratio", most=0.001),
    Limit("dropped ratio", most=0),
    Limit("goodput ratio", least=0.95),
    Limit(GROWTH, most=1.05),
]

PROFILE: Final = Profile(
    name="soak",
    about="one rate for a long time",
    loop="open",
    loads={"llm": 0.2, "embeddings": 1},
    stages=[Stage(share=1, seconds=900)],
    arrival="constant",
    warm_up=30,
    limits={"llm": _LIMITS, "embeddings": _LIMITS},
)
