"""Half a minute, one user and then four: does it carry load at all, on any machine."""

from typing import Final

from loadtests.limits import Limit
from loadtests.plan import Profile, Stage

PROFILE: Final = Profile(
    name="smoke",
    about="one user and then four",
    loop="closed",
    loads={"llm": 4, "embeddings": 4},
    stages=[Stage(share=0.25, seconds=10), Stage(share=1, seconds=20)],
    # Wide on purpose: a smoke test tells broken from working, not fast from slow.
    limits={
        "llm": [
            Limit("requests", least=4),
            Limit("failure ratio", most=0),
            Limit("tokens per second", least=2),
            Limit("time to first token p95", most=10),
        ],
        "embeddings": [
            Limit("requests", least=20),
            Limit("failure ratio", most=0),
            Limit("texts per second", least=5),
            Limit("end to end p95", most=5),
        ],
    },
)
