# ruff: noqa: INP001 - a module of an image: the folder is on the path there
"""Signs people in at the realm, and keeps their tokens fresh while their session there lives."""

import base64
import json
import time
from typing import Any, Final

from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import HTTPClientError

FRESH: Final = 200.0
"""Seconds an access token must be good for yet; the realm makes them for 300."""


def seconds_left(token: str, now: float) -> float:
    """Return how long a token is good for, as it says itself: it comes from the realm directly."""
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return float(claims["exp"]) - now


class RealmLogin(GenericOAuthenticator):
    """Upstream's, which asks for a new access token only once the old one is refused somewhere."""

    async def token_to_user(self, token_info: dict[str, Any]) -> Any:  # noqa: ANN401 - as upstream's
        """Return who somebody is by the ID token; refuse tokens that end soon, which makes upstream refresh them."""
        if seconds_left(token_info["access_token"], time.time()) < FRESH:
            raise HTTPClientError(401, "the access token ends soon")
        return await super().token_to_user(token_info)

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:  # noqa: ANN401 - as upstream's
        """Return somebody's state anew, or False: the session has ended, or no group of theirs is let in any more."""
        model = await super().refresh_user(user, handler, **kwargs)
        if isinstance(model, dict) and not await self.check_allowed(model["name"], model):
            return False
        return model
