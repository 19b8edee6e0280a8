"""Tokens of a load test: shared, renewed, never in an argument."""

import pytest

from loadtests.tokens import KEEP, Tokens


def test_a_token_is_asked_for_once_in_a_while() -> None:
    """All users share one until it is old."""
    now, asked = [0.0], []

    def ask(command: str) -> str:
        asked.append(command)
        return f"token-{len(asked)}"

    tokens = Tokens("give me", ask, lambda: now[0])

    assert [tokens.get(), tokens.get()] == ["token-1", "token-1"]
    now[0] = KEEP
    assert tokens.get() == "token-2"
    assert asked == ["give me", "give me"]


def test_without_a_command_there_is_no_token() -> None:
    """A server without a gate is tested as it is."""
    assert Tokens("").get() == ""


def test_the_command_is_run() -> None:
    """What it prints is the token."""
    assert Tokens("printf 'a.b.c\\n'").get() == "a.b.c"


@pytest.mark.parametrize("command", ["false", "true"])
def test_a_command_that_gives_none_is_named(command: str) -> None:
    """With what it said."""
    with pytest.raises(RuntimeError, match=f"{command}: printed no token"):
        Tokens(command).get()
