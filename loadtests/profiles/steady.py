"""Two minutes at one rate: what users get on an ordinary day."""

from typing import Final

from loadtests.limits import Limit
from loadtests.plan import Profile, Stage

_LIMITS: Final = [
    Limit("requests", least=10),
    Limit("failure ratio", most=0.01),
    Limit("dropped ratio", most=0),
    Limit("goodput ratio", least=0.95),
]

PROFILE: Final = Profile(
    name="steady",
    about="one rate all the time, random arrivals",
    loop="open",
    loads={"llm": 0.2, "embeddings": 1},
    stages=[Stage(share=1, seconds=120)],
    warm_up=10,
    limits={"llm": _LIMITS, "embeddings": _LIMITS},
)
