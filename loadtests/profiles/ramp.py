"""Three minutes from a tenth of the rate to all of it: where the timeline bends."""

from typing import Final

from loadtests.limits import Limit
from loadtests.plan import Profile, Stage

_LIMITS: Final = [Limit("requests", least=10), Limit("failure ratio", most=0.01), Limit("dropped ratio", most=0.05)]

PROFILE: Final = Profile(
    name="ramp",
    about="the rate grows in ten steps",
    loop="open",
    loads={"llm": 0.5, "embeddings": 4},
    stages=[Stage(share=step / 10, seconds=18) for step in range(1, 11)],
    limits={"llm": _LIMITS, "embeddings": _LIMITS},
)
