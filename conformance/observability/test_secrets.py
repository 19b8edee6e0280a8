"""What the run's people and programs, and the platform itself, keep secret is not in the log store."""

import re
from typing import Final

import pytest

from conformance import generated, telemetry
from conformance.secrecy import MASKER
from conformance.site import Site
from conformance.verdict import require, require_none

pytestmark = [pytest.mark.feature("observability"), pytest.mark.feature("logs")]

_SINCE: Final = "10m"
"""A whole run takes less; what it sent is in there."""
_LONG: Final = 12
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{8,}")


def _core(secret: str) -> str:
    """Return the longest piece of a secret that is one word in whatever text."""
    return max(_WORD.findall(secret), key=len, default="")


@pytest.mark.last
def test_no_secret_is_in_the_store(site: Site) -> None:
    """No password, token, cookie or key shows in what was logged while this suite ran, wherever it was logged."""
    secrets = generated.secrets(site) | dict.fromkeys(MASKER.known(), "a credential of this run")
    secrets = {value: name for value, name in secrets.items() if len(value) >= _LONG and _core(value)}
    text = telemetry.log_lines(site, f"_time:{_SINCE}").decode("utf-8", "replace")
    # The store's answer is JSON: what stands in quotes there is escaped, words are not.
    words = set(_WORD.findall(text))
    suspects = {value: name for value, name in secrets.items() if _core(value) in words}
    lines = [line for line in text.splitlines() if any(_core(value) in line for value in suspects)]
    site.facts["log entries searched for secrets"] = f"{text.count(chr(10))}, for {len(secrets)} values"

    require(
        words and secrets,
        where=f"what was logged within {_SINCE}",
        want="entries, and secrets to look for",
        got=f"{len(words)} words, {len(secrets)} secrets",
        reproduce=telemetry.log_query(site, f"_time:{_SINCE}"),
    )
    require_none(
        sorted(
            {f"{name} in {line[:200]}" for value, name in suspects.items() for line in lines if _core(value) in line}
        ),
        where=f"what was logged within {_SINCE}",
        want=f"none of {len(secrets)} secrets",
        reproduce=telemetry.log_query(site, f"_time:{_SINCE}"),
    )
