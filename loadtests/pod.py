"""A run's master as a pod: Locust, and behind its last word the report, as lines that survive a container's log.

Nothing is to be fetched from the pod itself, which ends with the run: the log stays readable until the pod is deleted.
"""

import hashlib
import json
import re
import signal
import subprocess
import sys
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

REPORTS: Final = Path("/tmp/reports")  # noqa: S108 - a volume of the pod's own
_WIDTH: Final = 8000
"""Container runtimes cut lines at 16 KiB."""
_LINE: Final = re.compile(r"^REPORT (\d+)/(\d+) (\S+)$", re.MULTILINE)


class CutError(ValueError):
    """A log does not hold a whole report; the message says what is missing."""


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield a report as numbered lines: its digest, then its parts."""
    packed = zlib.compress(json.dumps(found, separators=(",", ":"), allow_nan=False).encode(), 9)
    text = b64encode(packed).decode()
    parts = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    for number, part in enumerate([hashlib.sha256(packed).hexdigest(), *parts]):
        yield f"REPORT {number}/{len(parts)} {part}"


def read(log: str) -> dict[str, Any] | None:
    """Return the report that a log ends with, None where there is none; CutError where it is not whole."""
    parts = {int(number): (int(total), part) for number, total, part in _LINE.findall(log)}
    if not parts:
        return None
    total = max(total for total, _ in parts.values())
    missing = [number for number in range(total + 1) if number not in parts]
    if missing:
        message = f"the report in the master's log is cut: {len(missing)} of {total + 1} lines are missing"
        raise CutError(message)
    try:
        packed = b64decode("".join(parts[number][1] for number in range(1, total + 1)), validate=True)
    except ValueError:
        packed = b""
    if hashlib.sha256(packed).hexdigest() != parts[0][1]:
        message = "the report in the master's log is damaged: it does not have the digest it was sent with"
        raise CutError(message)
    found: dict[str, Any] = json.loads(zlib.decompress(packed))
    return found


def without_report(log: str) -> str:
    """Return what a log holds for people."""
    return _LINE.sub("", log).rstrip("\n") + "\n"


def main(arguments: Sequence[str]) -> int:
    """Run Locust with these arguments, print the reports it wrote, and end with its exit code."""
    with subprocess.Popen([sys.executable, "-m", "locust", *arguments, f"--reports={REPORTS}"]) as process:  # noqa: S603 - our own

        def end(number: int, _: FrameType | None) -> None:
            # The first process of a container gets a pod's end as a signal, and nobody else does.
            with suppress(ProcessLookupError):
                process.send_signal(number)

        signal.signal(signal.SIGTERM, end)
        code = process.wait()
    for path in REPORTS.glob("loadtest-*.json"):
        for line in lines(json.loads(path.read_text("utf-8"))):
            sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
