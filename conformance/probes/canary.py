"""A program that writes log lines of every kind, and what they are: the pod runs this file, the checks import it."""

import json
import signal
import sys
from typing import Final

LINE: Final = 2**20
"""Bytes of the longest line, without its end."""
KINDS: Final = ("json", "plain", "python", "java", "long")


def texts(mark: str) -> dict[str, str]:
    """Return what is written, by kind; the JSON line's is its message. The mark is the id of a trace, too."""
    numbers = " ".join(f"{number:07d}" for number in range(LINE // 8 + 1))
    return {
        "json": f'{mark} json: äöü, "quoted", back\\slash',
        "plain": f'{mark} plain: äöü, "quoted", back\\slash',
        "python": (
            f"ERROR:canary:{mark} python\n"
            "Traceback (most recent call last):\n"
            '  File "/app/canary.py", line 1, in <module>\n'
            f"    canary({mark!r})\n"
            "ValueError: out of breath"
        ),
        "java": (
            f"2026-11-29 08:00:00,000 ERROR [canary] (main) {mark} java\n"
            f"java.lang.IllegalStateException: {mark}\n"
            "\tat org.example.Canary.sing(Canary.java:12)\n"
            "\tat org.example.Canary.main(Canary.java:3)\n"
            "Caused by: java.io.IOException: out of breath\n"
            "\t... 2 more"
        ),
        "long": f"{mark} long: {numbers}"[:LINE],
    }


def written(mark: str) -> str:
    """Return what goes to standard output."""
    known = texts(mark)
    told = {"level": "error", "message": known["json"], "trace_id": mark}
    lines = [json.dumps(told), *(known[kind] for kind in KINDS if kind != "json")]
    return "".join(f"{line}\n" for line in lines)


def main(mark: str) -> None:
    """Write every kind once, and stay."""
    sys.stdout.write(written(mark))
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
