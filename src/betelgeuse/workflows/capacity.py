"""How close an environment's models come to the hardware: loadtests/capacity.py, told where everything is."""

import sys
from typing import Final

from betelgeuse import paths, settings, shell
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.progress import out, say, step
from betelgeuse.workflows.loadtest import newest, surroundings

_ROUND_SECONDS: Final = 300.0
"""Seconds for a round: four benchmarks, and the same through the edge."""


def capacity(env: str, rounds: str, against: str = "") -> int:
    """Measure so many rounds and print the card; 0 when it is close enough, else 1.

    `against`: a card of before, compared with instead of the goals. A run that wrote no card is a BetelgeuseError with
    its last words.
    """
    chosen = settings.load(env)
    if not rounds.isdecimal() or not int(rounds):
        message = f"--rounds: expected a whole number from 1, got {rounds!r}"
        raise UsageError(message)
    card, log = paths.REPORTS / f"capacity-{env}.json", paths.REPORTS / f"capacity-{env}.log"
    way = surroundings(chosen, f"llm.{chosen.domain}")
    log.unlink(missing_ok=True)
    card.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "loadtests.capacity", f"--env={env}", f"--rounds={rounds}", f"--out={card}"]
    argv += [f"--against={against}"] if against else []
    broken = False
    try:
        with step(f"capacity of {env}, {rounds} rounds", lambda: newest(log, lambda line: line.startswith("round "))):
            shell.run(argv, cwd=paths.ROOT, env=way, timeout=int(rounds) * _ROUND_SECONDS, log=log)
    except BetelgeuseError:
        # A broken goal ends it with an exit code too: then there is a card.
        broken = True
        if not card.is_file():
            raise
    lines = log.read_text("utf-8", errors="replace").splitlines()
    out("\n".join(line for line in lines if line.startswith(("|", "FAILED"))))
    say(f"card: {paths.shown(card)}")
    return int(broken)
