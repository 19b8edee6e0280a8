"""Tokens of a load test: shared, renewed, never in an argument."""

from collections.abc import Callable

import pytest

from loadtests.tokens import KEEP, LAST, Tokens


class Command:
    """A command that counts its calls, and a clock."""

    def __init__(self) -> None:
        """Begin at 0 s with a command that works."""
        self.now, self.calls, self.broken = 0.0, 0, False
        self.aside = list[Callable[[], None]]()
        self.tokens = Tokens("give me", self.ask, lambda: self.now, self.aside.append)

    def ask(self, command: str) -> str:
        """Give the next token."""
        assert command == "give me"
        self.calls += 1
        if self.broken:
            raise RuntimeError(command)
        return f"token-{self.calls}"


def test_a_token_is_asked_for_once_in_a_while() -> None:
    """All users share one; the next is asked for aside, by one of them, while the old one is still good."""
    command = Command()

    assert [command.tokens.get(), command.tokens.get()] == ["token-1", "token-1"]
    command.now = KEEP
    assert [command.tokens.get(), command.tokens.get()] == ["token-1", "token-1"]
    assert len(command.aside) == 1
    command.aside.pop()()
    assert command.tokens.get() == "token-2"


def test_a_failed_renewal_is_tried_again() -> None:
    """Nobody is harmed while the old token lasts; after that the failure is told."""
    command = Command()
    command.tokens.get()
    command.now, command.broken = KEEP, True
    command.tokens.get()
    command.aside.pop()()

    assert command.tokens.get() == "token-1"
    assert len(command.aside) == 1
    command.now = LAST
    with pytest.raises(RuntimeError):
        command.tokens.get()
    command.broken = False
    assert command.tokens.get() == "token-4"


def test_without_a_command_there_is_no_token() -> None:
    """A server without a gate is tested as it is."""
    assert Tokens("").get() == ""


def test_the_command_is_run() -> None:
    """What it prints is the token."""
    assert Tokens("printf 'a.b.c\\n'").get() == "a.b.c"


@pytest.mark.parametrize("command", ["false", "true"])
def test_a_command_that_gives_none_is_named(command: str) -> None:
    """With what it said."""
    with pytest.raises(RuntimeError, match=f"{command}: printed nothing"):
        Tokens(command).get()
