"""A model of the gateway's three gates: tokens, logins, passwords, and the rate limit behind the first."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from conformance.probes import jwt
from tests.conformance_suite import idp
from tests.conformance_suite.idp import DOMAIN, ISSUER, Idp, Page, moved
from tests.conformance_suite.wire import Incoming

PASSWORD: Final = "YWRtaW46bW9kZWwtcGFzc3dvcmQ="  # noqa: S105 - admin:model-password, of the model
GROUPS: Final = ("platform-admins", "researchers", "annotators")
QUIET: Final = (("X-Requested-With", "XMLHttpRequest"), ("Accept", "application/json"))
SKEW: Final = 0.05
LIMIT: Final = 50
WINDOW: Final = 0.3
_HOST: Final = f"portal.{DOMAIN}"
_KEY: Final = b"the gateway's own"
_OPTIONS: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"


class RefusedTokenError(Exception):
    """The token opens nothing."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        message = "a claim twice"
        raise ValueError(message)
    return dict(pairs)


@dataclass
class Gate:
    """What stands before the applications."""

    faults: set[str]
    idp: Idp
    asked: dict[str, list[float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    # -- tokens

    def _genuine(self, header: dict[str, Any], text: bytes, signature: bytes, claims: dict[str, Any]) -> None:
        """Raise unless the realm signed it."""
        alg = header.get("alg")
        if "jwt-none" in self.faults and str(alg).lower() == "none":
            return
        material = jwt.Material("", "", idp.jwk(idp.REALM))
        if (
            "jwt-hs" in self.faults
            and alg == "HS256"
            and hmac.new(material.pem(), text, "sha256").digest() == signature
        ):
            return
        if "jwt-jwk" in self.faults and "jwk" in header:
            key = jwt.public_key(header["jwk"])
        elif "jwt-any-issuer" in self.faults and claims.get("iss") == idp.MASTER:
            key = idp.key("master").public_key()
        elif alg == "RS256" and header.get("kid") == f"{idp.REALM}-key":
            key = idp.key(idp.REALM).public_key()
        else:
            raise RefusedTokenError
        if "jwt-unsigned" not in self.faults:
            key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())

    def claims(self, token: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token that opens an API; raise RefusedTokenError for any other."""
        if not token:
            raise RefusedTokenError
        try:
            header_part, claims_part, signature = token.split(".")
            header = json.loads(jwt.unb64(header_part))
            claims = json.loads(jwt.unb64(claims_part), object_pairs_hook=_pairs)
            if not isinstance(claims, dict) or not isinstance(header, dict):
                raise RefusedTokenError
            self._genuine(header, f"{header_part}.{claims_part}".encode(), jwt.unb64(signature), claims)
        except (ValueError, TypeError, RecursionError, InvalidSignature) as error:
            if "jwt-500" in self.faults:
                raise
            raise RefusedTokenError from error
        now, names = time.time(), claims.get("aud")
        meant = audience in (names if isinstance(names, list) else [names]) or "jwt-any-audience" in self.faults
        stranger = "jwt-any-issuer" in self.faults and claims.get("iss") == idp.MASTER
        issued = claims.get("iss") == ISSUER
        over = claims.get("exp", 0) < now - SKEW and "jwt-no-expiry" not in self.faults
        early = claims.get("nbf", 0) > now + SKEW and "jwt-no-nbf" not in self.faults
        if not stranger and (not meant or not issued or over or early):
            raise RefusedTokenError
        return claims

    def _token(self, request: Incoming) -> str:
        given = [value for name, value in request.headers if name.lower() == "authorization"]
        if "jwt-query" in self.faults and "access_token=" in request.target:
            return request.target.partition("access_token=")[2].partition("&")[0]
        if "first-credential" in self.faults:
            given = given[:1]
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        known = scheme == "Bearer" if "bearer-case" in self.faults else scheme.lower() == "bearer"
        return token if known else ""

    def api(self, app: str, request: Incoming) -> Page | None:
        """Return the refusal of a token gate, or None for who may pass."""
        try:
            client = self.claims(self._token(request), app).get("azp", "")
        except RefusedTokenError:
            if "jwt-redirect" in self.faults:
                return moved(f"{ISSUER}/protocol/openid-connect/auth")
            return refused(401, "invalid_token" if self._token(request) else "authentication_required")
        except (ValueError, TypeError, RecursionError, InvalidSignature):
            return Page(500)
        named = next((value for name, value in request.headers if name.lower() == "x-client-id"), client)
        client = named if "limit-by-header" in self.faults else client
        return self._limit("all" if "one-limit" in self.faults else client, request)

    def _limit(self, client: str, request: Incoming) -> Page | None:
        if "no-limit" in self.faults or request.method != "GET":
            return None
        now = time.monotonic()
        with self.lock:
            recent = [at for at in self.asked.get(client, []) if now - at < WINDOW]
            if len(recent) >= LIMIT and "grudge" not in self.faults:
                wait = [] if "no-retry-after" in self.faults else [("Retry-After", "1")]
                self.asked[client] = recent
                return refused(429, "rate_limit", *wait)
            if "grudge" in self.faults and len(self.asked.get(client, [])) >= LIMIT:
                return refused(429, "rate_limit", ("Retry-After", "1"))
            self.asked[client] = [*(self.asked.get(client, []) if "grudge" in self.faults else recent), now]
        return None

    # -- logins

    def portal(self, request: Incoming) -> Page | None:  # noqa: PLR0911 - one line per case
        """Answer for the login gate, or None for who may see the page."""
        parts = urlsplit(request.target)
        cookies = cookies_of(request)
        if parts.path == "/oauth2/logout":
            return self._logout(cookies)
        if parts.path == "/oauth2/callback":
            return self._callback(idp._flat(parts.query), cookies)
        tokens = self._session(cookies)
        fresh = None
        if tokens is None and "R" in cookies:
            fresh = tokens = self.idp.refresh(_opened(cookies["R"]))
        if tokens is None:
            return self._to_login(request)
        try:
            claims = self.claims(tokens["access_token"], "portal")
        except RefusedTokenError:
            return Page(401)
        if not set(claims["groups"]) & set(GROUPS) and "any-group" not in self.faults:
            return self._to_login(request) if "loop" in self.faults else Page(403, b"not for you")
        if not self.idp.alive(claims["sid"]) and "ended-lives" not in self.faults:
            return Page(401, b"this session has ended")
        if fresh is not None:
            return Page(200, headers=self._cookies(fresh))
        return None

    def _mac(self, cookies: dict[str, str]) -> str:
        text = "\n".join(cookies.get(name, "") for name in "EAIR")
        return base64.b64encode(hmac.new(_KEY, text.encode(), "sha256").digest()).decode()

    def _session(self, cookies: dict[str, str]) -> dict[str, Any] | None:
        ends = cookies.get("E", "")
        good = self._mac(cookies) == cookies.get("H") or ("hmac-unchecked" in self.faults and "A" in cookies)
        if not good or not ends.isdigit() or int(ends) < time.time():
            return None
        try:
            return {"access_token": _opened(cookies["A"])}
        except ValueError:
            return None

    def _to_login(self, request: Incoming) -> Page:
        quiet = any(request.header(name).startswith(value) for name, value in QUIET)
        if quiet and "quiet-redirect" not in self.faults:
            return Page(401)
        nonce, verifier = secrets.token_hex(8), secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        state = jwt.b64(json.dumps({"url": f"https://{_HOST}{request.target}", "nonce": nonce}).encode())
        asked = {"client_id": "portal", "response_type": "code", "scope": "openid", "state": state}
        asked |= {"redirect_uri": idp.CALLBACK, "code_challenge": challenge, "code_challenge_method": "S256"}
        if "gate-without-pkce" in self.faults:
            del asked["code_challenge"]
        options = "Path=/oauth2/callback; Secure; HttpOnly; SameSite=Lax"
        cookies = (("Set-Cookie", f"N={nonce}; {options}"), ("Set-Cookie", f"V={verifier}; {options}"))
        return moved(f"{ISSUER}/protocol/openid-connect/auth?{urlencode(asked)}", *cookies)

    def _callback(self, asked: dict[str, str], cookies: dict[str, str]) -> Page:
        blind = "state-unchecked" in self.faults
        if "callback-500" in self.faults and "state" not in asked:
            return Page(500)
        try:
            state = json.loads(jwt.unb64(asked.get("state", "")))
            mine = state["nonce"] == cookies.get("N")
        except (ValueError, TypeError, KeyError):
            state, mine = {"url": f"https://{_HOST}/"}, False
        verifier = cookies.get("V", "")
        known = self.idp.codes.get(asked.get("code", ""))
        if known is None or not (mine or blind):
            return Page(401)
        if blind:
            # Whoever does not look at the state does not tie the code to the browser in another way either.
            known["challenge"] = ""
        tokens = self.idp.exchange({**asked, "code_verifier": verifier})
        return moved(state["url"], *self._cookies(tokens)) if tokens else Page(401)

    def _cookies(self, tokens: dict[str, Any]) -> list[tuple[str, str]]:
        life = 36000 if "long-session" in self.faults else int(tokens["expires_in"])
        values = {"E": str(int(time.time()) + life)}
        for name, token in (("A", "access_token"), ("I", "id_token"), ("R", "refresh_token")):
            values[name] = tokens[token] if "plain-cookies" in self.faults else _closed(tokens[token])
        values["H"] = self._mac(values)
        options = "Path=/" if "loose-cookies" in self.faults else _OPTIONS
        named = {"E": "OauthExpires", "A": "AccessToken", "I": "IdToken", "R": "RefreshToken", "H": "OauthHMAC"}
        return [("Set-Cookie", f"{named[name]}={value}; {options}") for name, value in values.items()]

    def _logout(self, cookies: dict[str, str]) -> Page:
        names = ("OauthExpires", "AccessToken", "IdToken", "RefreshToken", "OauthHMAC")
        gone = [("Set-Cookie", f"{name}=; Path=/; Max-Age=0") for name in names]
        back = {"client_id": "portal", "post_logout_redirect_uri": f"https://{_HOST}/"}
        if "logout-stays" in self.faults:
            return moved(f"https://{_HOST}/", *gone)
        target = f"{ISSUER}/protocol/openid-connect/logout?{urlencode({**back, 'id_token_hint': cookies.get('I', '')})}"
        return moved(target, *([] if "logout-keeps-cookies" in self.faults else gone))


def refused(status: int, kind: str, *headers: tuple[str, str]) -> Page:
    """Return a refusal in the form that clients of an API read."""
    body = json.dumps({"error": {"message": "in words", "type": kind}}).encode()
    return Page(status, body, "application/json", list(headers))


def cookies_of(request: Incoming) -> dict[str, str]:
    """Return a request's cookies; the session's by one letter."""
    letters = {"OauthExpires": "E", "AccessToken": "A", "IdToken": "I", "RefreshToken": "R", "OauthHMAC": "H"}
    pairs = (part.strip().partition("=")[::2] for part in request.header("cookie").split(";"))
    return {letters.get(name, name): value for name, value in pairs if name}


def _closed(token: str) -> str:
    """Return what stands for an encrypted token: not to be read at a glance, and broken by any change."""
    mac = hmac.new(_KEY, token.encode(), "sha256").hexdigest()[:8]
    return jwt.b64(f"{token[::-1]}{mac}".encode())


def _opened(value: str) -> str:
    try:
        text = jwt.unb64(value).decode()
    except ValueError:
        return value
    return text[:-8][::-1]


_SEARCH: Final = """<script>
document.querySelector("input").addEventListener("input", (event) => {
  for (const card of document.querySelectorAll(".card")) card.hidden = !card.textContent.includes(event.target.value);
});
</script>"""


def portal_page(hosts: list[str], faults: set[str]) -> Page:
    """Return what the portal shows."""
    shown = hosts[1:] if "portal-forgets" in faults else hosts
    rows = "".join(
        f"<li class=card><h3><a href='https://{host}/'>{host.partition('.')[0]}</a></h3>{host}</li>" for host in shown
    )
    out = "" if "no-sign-out" in faults else "<a id=logout href=/oauth2/logout>Sign out</a>"
    return Page(200, f"<title>Portal</title><input type=search><ul>{rows}</ul>{out}{_SEARCH}".encode())
