"""Every environment's tree keeps every promise that can be checked before a cluster exists."""

import sys
from collections.abc import Callable

import pytest

from betelgeuse import settings
from tests.render import exemptions, layout
from tests.render.checks import CHECKS
from tests.render.trees import Tree

ENVIRONMENTS = [*settings.environments(), "local:full"]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_tree(trees: Callable[[str], Tree], env: str, check: str) -> None:
    """What the check's own docstring claims holds for the environment."""
    problems = list(CHECKS[check](trees(env)))

    assert not problems, "\n".join([f"{CHECKS[check].__doc__}", *problems])


@pytest.mark.parametrize("check", layout.CHECKS)
def test_layout(check: str) -> None:
    """What the check's own docstring claims holds for the files."""
    problems = list(layout.CHECKS[check](layout.read()))

    assert not problems, "\n".join([f"{layout.CHECKS[check].__doc__}", *problems])


def test_all_environments_are_there() -> None:
    """One that vanished would leave its checks out silently."""
    assert {"local", "kind", "single-node", "hetzner"} <= set(ENVIRONMENTS)


@pytest.mark.parametrize("table", [name for name in vars(exemptions) if name.isupper() and name[0] != "_"])
def test_exemptions_are_needed(trees: Callable[[str], Tree], monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    """Without an exemption some check fails: what nothing needs any more is removed."""
    entries: dict[object, str] = dict(getattr(exemptions, table))
    for entry, reason in entries.items():
        others = {key: why for key, why in entries.items() if key != entry}
        using = [check for check in CHECKS.values() if hasattr(sys.modules[check.__module__], table)]
        for check in using:
            monkeypatch.setattr(f"{check.__module__}.{table}", others)

        broken = [problem for env in ENVIRONMENTS for check in using for problem in check(trees(env))]

        assert broken, f"{table}: nothing needs {entry} ({reason}) any more"
