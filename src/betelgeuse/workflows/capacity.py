"""How close an environment's models come to the hardware: loadtests/capacity.py, told where everything is."""

import itertools
import sys
from pathlib import Path
from typing import Final

from betelgeuse import paths, settings, shell
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.progress import out, say, step
from betelgeuse.workflows.loadtest import fresh_log, newest, number, surroundings, sweep
from loadtests.plan import TARGETS

_ROUND_SECONDS: Final = 900.0
"""Seconds at most for a round: a pair of each of four measures, tried four times."""
_SWEEP: Final = "1200"


def capacity(env: str, rounds: str, against: str = "", sweep_seconds: str = "", *, keep: bool = False) -> int:
    """Measure a card and print it; 0 when it is good enough, else 1.

    `against`: a card of before, compared with instead of the one kept for such a node. `sweep_seconds`: the longest
    that each of the two sweeps may take, 0 for none. `keep`: keep the card. A run that wrote no card is a
    BetelgeuseError with its last words.
    """
    chosen = settings.load(env)
    if not rounds.isdecimal() or not int(rounds):
        message = f"--rounds: expected a whole number from 1, got {rounds!r}"
        raise UsageError(message)
    seconds = number("--sweep-seconds", sweep_seconds or _SWEEP)
    if against and not Path(against).is_file():
        # Now, and not after two sweeps.
        message = f"--against: there is no card {against}"
        raise UsageError(message)
    card = paths.REPORTS / f"capacity-{env}.json"
    sweeps = [sweep(env, target, seconds) for target in TARGETS] if seconds else []
    way = surroundings(chosen, f"llm.{chosen.domain}")
    log = fresh_log(f"capacity-{env}")
    card.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "loadtests.capacity", f"--env={env}", f"--rounds={rounds}", f"--out={card}"]
    argv += [f"--sweep={path}" for path in sweeps]
    # It runs in another folder than its user.
    argv += [f"--against={Path(against).absolute()}"] if against else []
    argv += ["--keep"] if keep else []
    broken = False
    try:
        with step(f"capacity of {env}, {rounds} rounds", lambda: newest(log, lambda line: line.startswith("round "))):
            shell.run(argv, cwd=paths.ROOT, env=way, timeout=int(rounds) * _ROUND_SECONDS, log=log)
    except BetelgeuseError:
        # A broken goal ends it with an exit code too: then there is a card.
        broken = True
        if not card.is_file():
            raise
    shown = itertools.dropwhile(lambda line: line.startswith("round "), log.read_text("utf-8").splitlines())
    out("\n".join(shown))
    say(f"card: {paths.shown(card)}, {paths.shown(card.with_suffix('.html'))}")
    return int(broken)
