"""Errors a user is meant to read: one line each, with the exit code the command ends with."""

from typing import ClassVar


class BetelgeuseError(Exception):
    """Something failed in a way we can name; the message is the one line shown (what, where, what to do)."""

    exit_code: ClassVar[int] = 1


class UsageError(BetelgeuseError):
    """The input is wrong: an argument, an environment file, a manifest."""

    exit_code = 2


class RefusedError(BetelgeuseError):
    """We understand the request and decline it for safety, e.g. a context no environment lists."""

    exit_code = 3


class LockedError(BetelgeuseError):
    """Another command works on the same environment."""

    exit_code = 4


class WaitTimeoutError(BetelgeuseError):
    """Something did not become ready in time; the message says why not yet."""

    exit_code = 5


class ConflictError(BetelgeuseError):
    """A controller owns a field our tree sets: forcing it would start a fight between the two."""

    exit_code = 6


class BuildError(BetelgeuseError):
    """A binary, an image or a bundle could not be produced."""

    exit_code = 7
