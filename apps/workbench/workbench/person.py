"""Who works here, and the token that says so to the models."""

import base64
import json
import os
import time
import urllib.request
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

_SPARE: Final = 30.0
"""Seconds before its end in which a token is not used any more."""
_TIMEOUT: Final = 20.0


class SignInError(RuntimeError):
    """The session at the platform has ended."""


@dataclass(frozen=True)
class Token:
    """An access token, and when it ends."""

    text: str
    ends: float

    @classmethod
    def read(cls, text: str) -> "Token":
        """Return a token with what it says of its own end; who checks it is whom it is shown to."""
        body = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return cls(text, float(claims["exp"]))

    def good(self, now: float) -> bool:
        """Whether it can be used."""
        return now < self.ends - _SPARE


_kept: list[Token] = []


def name() -> str:
    """Return the user name."""
    return os.environ["JUPYTERHUB_USER"]


def _ask() -> Token:
    """Ask the hub, which refreshes what it keeps while the person's session lives."""
    request = urllib.request.Request(  # noqa: S310 - the hub's own address, set by the hub
        f"{os.environ['JUPYTERHUB_API_URL']}/users/{quote(name())}",
        headers={"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
        state = json.load(answer).get("auth_state") or {}
    if "access_token" not in state:
        message = "the hub keeps no token of yours: sign out and in again (File, Hub Control Panel)"
        raise SignInError(message)
    return Token.read(state["access_token"])


def token() -> str:
    """Return an access token that the models accept, for at least half a minute."""
    if not _kept or not _kept[0].good(time.time()):
        _kept[:] = [_ask()]
    if not _kept[0].good(time.time()):
        message = "your session has ended: open the Hub Control Panel (menu File) and sign in again"
        raise SignInError(message)
    return _kept[0].text
