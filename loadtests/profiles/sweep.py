"""At most twenty minutes: the largest load that holds the SLO, and the knee of throughput over load (see sweep.py)."""

from typing import Final

from loadtests.limits import Limit
from loadtests.plan import Profile, Stage

_LIMITS: Final = [Limit("largest load within the SLO", least=1), Limit("steps", least=3)]

PROFILE: Final = Profile(
    name="sweep",
    about="one user, then more, as far as it leads",
    loop="closed",
    loads={"llm": 64, "embeddings": 64},
    stages=[Stage(share=1 / 64, seconds=1200)],
    warm_up=5,
    sweeps=True,
    limits={"llm": _LIMITS, "embeddings": _LIMITS},
)
