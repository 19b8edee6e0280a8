"""What every verb of the command line does around its work: signals, streams, arguments, and errors in one line."""

import functools
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.printable import printable

_STDERR: Final = 2
_LONGEST: Final = 1000
"""Characters of an argument: nothing that we take is longer."""


def check(name: str, value: object) -> None:
    """Refuse what no argument may be; what is not said is None."""
    if not isinstance(value, str):
        return
    option = f"--{name.rstrip('_').replace('_', '-')}"
    if not value.strip():
        message = f"{option} is empty; say a value, or leave it out"
    elif len(value) > _LONGEST:
        message = f"{option} is longer than {_LONGEST:,} characters"
    elif not value.isprintable():
        message = f"{option} holds a control character, or is not UTF-8: {value[:60]!a}"
    else:
        return
    raise UsageError(message)


def listed(name: str, text: str | None) -> list[str]:
    """Return the words between the commas of an argument, none where it is not said."""
    words = [] if text is None else text.split(",")
    for word in words:
        check(name, word)
    return words


def _prepare() -> None:
    """Meet the shell's signals and streams."""
    # A closed terminal or a polite kill ends like Ctrl-C: what we started is stopped too. What our caller ignores
    # (nohup) stays ignored.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, signal.default_int_handler)
    # With a closed stream (`>&-`) the next file we open would be standard output to every program we start.
    inheritable = True
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, inheritable)
    os.close(descriptor)


def verb(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - invoke's own decorator is untyped
    """Make a task of a function: expected errors become one line and their exit code, an interrupt 130."""

    @functools.wraps(function)
    def run(context: Context, **kwargs: Any) -> None:  # noqa: ANN401 - as the task's own
        _prepare()
        try:
            for name, value in kwargs.items():
                check(name, value)
            function(context, **kwargs)
        except BetelgeuseError as error:
            raise Exit(printable(str(error)), error.exit_code) from None
        except OSError as error:
            # A full disk, a checkout that is read-only: not ours to foresee at each place that writes.
            where = f"{error.filename}: " if error.filename else ""
            message = f"{where}{error.strerror or error}"
            raise Exit(printable(message), 1) from None
        except KeyboardInterrupt:
            message = "interrupted: run the same command again to go on"
            raise Exit(message, 130) from None

    return task(run)
