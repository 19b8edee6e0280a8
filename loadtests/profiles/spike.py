"""Little load, ten times as much for half a minute, little again: what is lost, and is it over when the spike is."""

from typing import Final

from loadtests.limits import Limit
from loadtests.plan import Profile, Stage

# Refusals (429) are a fair answer to a spike: they are failures, and a part may be.
_LIMITS: Final = [Limit("requests", least=10), Limit("failure ratio", most=0.5), Limit("dropped ratio", most=0.1)]

PROFILE: Final = Profile(
    name="spike",
    about="a tenth of the rate, all of it for half a minute, a tenth again",
    loop="open",
    loads={"llm": 1, "embeddings": 10},
    stages=[Stage(share=0.1, seconds=45), Stage(share=1, seconds=30), Stage(share=0.1, seconds=75)],
    limits={"llm": _LIMITS, "embeddings": _LIMITS},
)
