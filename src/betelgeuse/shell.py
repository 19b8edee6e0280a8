"""Run another program: its output captured or logged, its failure told in one line."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.surroundings import environment

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_TAIL_LINES: Final = 3
_TAIL_CHARACTERS: Final = 600
_COMMAND_CHARACTERS: Final = 120
_TAIL_BYTES: Final = 64 * 1024
_RUNNING: Final[set[subprocess.Popen[bytes]]] = set()
"""Programs some thread waits for at this moment."""


def tail(text: str) -> str:
    """Return the last lines that say something, joined: what a person would look at first."""
    lines = [line.strip() for line in _ANSI.sub("", text).splitlines() if line.strip()]
    joined = " | ".join(lines[-_TAIL_LINES:])
    return joined if len(joined) <= _TAIL_CHARACTERS else "…" + joined[-_TAIL_CHARACTERS:]


def _command(argv: Sequence[str]) -> str:
    shown = shlex.join(argv)
    return shown if len(shown) <= _COMMAND_CHARACTERS else shown[:_COMMAND_CHARACTERS] + "…"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the program and everything it started: it leads a process group of its own."""
    for signum, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break


def stop_all() -> None:
    """End every program that a thread waits for: those calls of `run` then raise."""
    for process in tuple(_RUNNING):
        _end(process)


def _start(  # noqa: PLR0913, PLR0917 - the parts of a process
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str],
    stdin: int | IO[bytes],
    out: int | IO[bytes],
    err: int,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - argv comes from our own code, and there is no shell
            argv, cwd=cwd, env=env, process_group=0, stdin=stdin, stdout=out, stderr=err
        )
    except FileNotFoundError:
        if cwd is not None and not cwd.is_dir():
            message = f"cannot run {argv[0]}: folder {cwd} does not exist"
        else:
            message = f"cannot run {argv[0]}: the program is not installed; `invoke doctor` names the package"
        raise BetelgeuseError(message) from None
    except OSError as error:
        message = f"cannot run {argv[0]}: {error.strerror}"
        raise BetelgeuseError(message) from None


def _read_from(stream: IO[bytes], start: int) -> str:
    stream.flush()
    stream.seek(max(start, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
    return stream.read().decode(errors="replace")


def run(  # noqa: PLR0913 - each is one property of a process, all but the first optional and by keyword
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str | Path | None = None,  # noqa: A002 - the name subprocess gives it
    timeout: float | None = None,
    log: Path | None = None,
    internet: bool = True,
) -> str:
    """Run a program and return its output; raise BetelgeuseError with its last words when it fails.

    `input` is what the program reads: a text, or a file. `env` adds to our environment; without `internet` it names no
    proxy. With `log`, output and errors go to the end of
    that file as they come (the last 64 KiB are returned). Interrupted or late, the program and its children are stopped
    before this returns.
    """
    if isinstance(input, Path):
        with input.open("rb") as stream:
            return _run(argv, cwd, environment(env, internet=internet), stream, None, timeout, log)
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    data = None if input is None else input.encode()
    return _run(argv, cwd, environment(env, internet=internet), stdin, data, timeout, log)


def _run(  # noqa: PLR0913, PLR0917 - the parts of a process
    argv: Sequence[str],
    cwd: Path | None,
    surroundings: Mapping[str, str],
    stdin: int | IO[bytes],
    data: bytes | None,
    timeout: float | None,
    log: Path | None,
) -> str:
    if log is None:
        process = _start(argv, cwd, surroundings, stdin, subprocess.PIPE, subprocess.PIPE)
        out, err = _communicate(process, data, timeout, argv)
        output, words = out.decode(errors="replace"), err.decode(errors="replace")
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a+b") as stream:
            start = stream.seek(0, os.SEEK_END)
            process = _start(argv, cwd, surroundings, stdin, stream, subprocess.STDOUT)
            _communicate(process, data, timeout, argv)
            output = _read_from(stream, start)
        words = output
    if process.returncode != 0:
        reason = tail(words) or tail(output) or "it said nothing"
        where = f" (full log: {log})" if log is not None else ""
        message = f"`{_command(argv)}` failed with exit code {process.returncode}: {reason}{where}"
        raise BetelgeuseError(message)
    return output


def _communicate(
    process: subprocess.Popen[bytes], data: bytes | None, timeout: float | None, argv: Sequence[str]
) -> tuple[bytes, bytes]:
    _RUNNING.add(process)
    try:
        out, err = process.communicate(data, timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        message = f"`{_command(argv)}` did not end within {timeout:g} s and was stopped"
        raise BetelgeuseError(message) from None
    except BaseException:
        _end(process)
        raise
    finally:
        _RUNNING.discard(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                # A program that ended before it read its input.
                with suppress(BrokenPipeError):
                    stream.close()
    return out or b"", err or b""
