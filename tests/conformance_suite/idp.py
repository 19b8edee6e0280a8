"""A model of Keycloak: one realm with its login page, token endpoint and Admin API, and the administrator's realm.

Good by default; a fault is a word, as everywhere in the model platform.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from conformance.probes import jwt

DOMAIN: Final = "model.test"
HOME: Final = f"https://auth.{DOMAIN}"
REALM: Final = "betelgeuse"
ISSUER: Final = f"{HOME}/realms/{REALM}"
MASTER: Final = f"{HOME}/realms/master"
ADMIN: Final = ("admin", "administrators-own-password-1")
CALLBACK: Final = f"https://portal.{DOMAIN}/oauth2/callback"
SECRETS: Final = {
    "api-client": "0123456789abcdef0123456789abcdef",
    "embeddings-client": "fedcba9876543210fedcba9876543210",
    "portal": "00112233445566778899aabbccddeeff",
}
AUDIENCES: Final = {"api-client": ("llm", "embeddings"), "embeddings-client": ("embeddings",)}
LIFE: Final = 300.0
_FAILURES: Final = 5
_FLOW: Final = f"/realms/{REALM}/protocol/openid-connect"
Form = Mapping[str, str]


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """Return a realm's signing key; one per process, it takes a while to make."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(name: str) -> dict[str, str]:
    """Return the public half of a realm's key, as its certs page shows it."""
    numbers = key(name).public_key().public_numbers()
    modulus = jwt.b64(numbers.n.to_bytes(256, "big"))
    return {"kty": "RSA", "kid": f"{name}-key", "alg": "RS256", "use": "sig", "n": modulus, "e": "AQAB"}


@dataclass
class Page:
    """An answer of the model's web parts."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/html"
    headers: list[tuple[str, str]] = field(default_factory=list)


def told(data: object, status: int = 200) -> Page:
    """Return an answer in JSON."""
    return Page(status, json.dumps(data).encode(), "application/json")


def moved(url: str, *headers: tuple[str, str]) -> Page:
    """Return a redirect."""
    return Page(302, headers=[("Location", url), *headers])


@dataclass
class User:
    """Somebody with an account."""

    name: str
    password: str
    groups: list[str]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    sessions: set[str] = field(default_factory=set)
    failures: int = 0


@dataclass
class Idp:
    """Keycloak."""

    faults: set[str]
    users: dict[str, User] = field(default_factory=dict)
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    browsers: dict[str, tuple[User, str]] = field(default_factory=dict)
    events: list[dict[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    hurry: float = 20.0
    """How much faster a short life goes by here: nobody waits for a model."""

    # -- tokens

    def sign(self, claims: dict[str, Any], realm: str = REALM, life: float = LIFE) -> str:
        """Return a token."""
        now = time.time()
        issuer = MASTER if realm == "master" else ISSUER
        whole = {"iss": issuer, "iat": now, "exp": now + life, "jti": secrets.token_hex(4), **claims}
        return jwt.encode({"alg": "RS256", "typ": "JWT", "kid": f"{realm}-key"}, whole, jwt.rs256(key(realm)))

    def tokens(self, user: User, session: str, client: str) -> dict[str, Any]:
        """Return what a login is worth."""
        told = [name for name in user.groups if "/" not in name or "every-group" in self.faults]
        claims = {"sub": user.id, "azp": client, "sid": session, "groups": told}
        return {
            "access_token": self.sign({**claims, "aud": client, "preferred_username": user.name}),
            "id_token": self.sign({**claims, "aud": client, "typ": "ID"}),
            "refresh_token": jwt.encode({"alg": "HS512"}, {"sid": session, "sub": user.id, "c": client}, _seal),
            "expires_in": int(LIFE),
        }

    def refresh(self, token: str) -> dict[str, Any] | None:
        """Return new tokens for a refresh token of a living session."""
        try:
            head, _, mac = token.rpartition(".")
            if jwt.b64(_seal(head.encode())) != mac:
                return None
            claims = jwt.decode(token)[1]
        except ValueError:
            return None
        user = next((user for user in self.users.values() if user.id == claims["sub"]), None)
        alive = user and (claims["sid"] in user.sessions or "refresh-lives" in self.faults)
        return self.tokens(user, claims["sid"], claims["c"]) if user and alive else None

    def alive(self, session: str) -> bool:
        """Whether a session has not ended."""
        return any(session in user.sessions for user in self.users.values())

    def exchange(self, form: Form) -> dict[str, Any] | None:
        """Return the tokens for a code; a code is good once."""
        known = self.codes.get(form.get("code", ""))
        if known is None or (known["used"] and "code-reuse" not in self.faults):
            return None
        known["used"] = True
        verifier = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        proved = verifier.rstrip(b"=").decode() == known["challenge"] or not known["challenge"]
        if not proved and "verifier-unchecked" not in self.faults:
            return None
        return self.tokens(known["user"], known["session"], known["client"])

    def grant(self, form: Form, realm: str, *, inside: bool) -> Page:  # noqa: PLR0911 - one line per case
        """Answer the token endpoint."""
        kind, client = form.get("grant_type"), form.get("client_id", "")
        if realm == "master":
            good = inside and (form.get("username"), form.get("password")) == ADMIN
            return told({"access_token": self.sign({"azp": "admin-cli"}, "master")}) if good else _error(401)
        if kind == "password":
            user = self.users.get(form.get("username", ""))
            if "password-grant" in self.faults and user and user.password == form.get("password"):
                return told(self.tokens(user, "s", client))
            return _error(400)
        known = self.clients.get(client, {})
        expected = known.get("secret") or SECRETS.get(client)
        if expected is None or form.get("client_secret") != expected:
            return _error(401)
        if kind == "authorization_code":
            tokens = self.exchange(form)
            return told(tokens) if tokens else _error(400)
        audiences = AUDIENCES.get(client) or [
            scope.removeprefix("audience-") for scope in known.get("defaultClientScopes", []) if "audience-" in scope
        ]
        if kind != "client_credentials" or client == "portal":
            return _error(400)
        life = float(known.get("attributes", {}).get("access.token.lifespan", LIFE))
        life = life / self.hurry if life < LIFE else life
        extra = {m["config"]["claim.name"]: int(m["config"]["claim.value"]) for m in known.get("protocolMappers", [])}
        return told({"access_token": self.sign({"azp": client, "aud": list(audiences), **extra}, life=life)})

    # -- pages

    def login_page(self, asked: Form, cookies: Form, words: str = "") -> Page:
        """Answer the authorization endpoint."""
        exact = asked.get("redirect_uri") == CALLBACK
        near = "redirect-prefix" in self.faults and asked.get("redirect_uri", "").startswith(f"https://portal.{DOMAIN}")
        if asked.get("client_id") != "portal" or not (exact or near):
            return Page(400, b"Invalid parameter")
        challenged = asked.get("code_challenge_method") == "S256" and len(asked.get("code_challenge", "")) == 43
        proper = challenged or "pkce-optional" in self.faults
        if asked.get("response_type") != "code" or asked.get("scope") != "openid" or not proper:
            return moved(f"{CALLBACK}?{urlencode({'error': 'invalid_request', 'state': asked.get('state', '')})}")
        if cookies.get("KEYCLOAK_IDENTITY", "") in self.browsers:
            return self._with_code(asked, *self.browsers[cookies["KEYCLOAK_IDENTITY"]])
        action = f"{ISSUER}/login-actions/authenticate?{urlencode(asked)}"
        fields = "<input name=username><input name=password type=password><button type=submit>In</button>"
        text = f"<title>Login</title><p>{words}</p><form method=post action='{escape(action)}'>{fields}</form>"
        frames = [] if "framed-login" in self.faults else [("Content-Security-Policy", "frame-ancestors 'self'")]
        return Page(200, text.encode(), headers=[*frames, ("Set-Cookie", "AUTH_SESSION=x1y2z3; Path=/; Secure")])

    def _with_code(self, asked: Form, user: User, session: str) -> Page:
        code = secrets.token_urlsafe(16)
        known = {"user": user, "session": session, "client": asked["client_id"], "used": False}
        self.codes[code] = {**known, "challenge": asked.get("code_challenge", "")}
        return moved(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    def authenticate(self, asked: Form, form: Form) -> Page:
        """Answer the login form."""
        user = self.users.get(form.get("username", ""))
        locked = user is not None and user.failures >= _FAILURES and "no-brute-force" not in self.faults
        if user is None or locked or user.password != form.get("password"):
            if user is not None:
                user.failures += 1
            words = "Invalid username or password."
            words = "No such user." if user is None and "tells-users" in self.faults else words
            return self.login_page(asked, {}, words)
        session, cookie = secrets.token_hex(8), secrets.token_urlsafe(16)
        user.sessions.add(session)
        self.browsers[cookie] = (user, session)
        page = self._with_code(asked, user, session)
        page.headers.append(("Set-Cookie", f"KEYCLOAK_IDENTITY={cookie}; Path=/; Secure; HttpOnly"))
        return page

    def logout(self, asked: Form, cookies: Form) -> Page:
        """End a session."""
        user, session = self.browsers.pop(cookies.get("KEYCLOAK_IDENTITY", ""), (None, ""))
        if user is not None and "logout-keeps-session" not in self.faults:
            user.sessions.discard(session)
        gone = ("Set-Cookie", "KEYCLOAK_IDENTITY=; Path=/; Max-Age=0")
        return moved(asked.get("post_logout_redirect_uri", HOME), gone)

    # -- who asks what

    def answer(  # noqa: C901, PLR0911, PLR0913 - one line per page, of the parts of a request
        self, method: str, target: str, headers: Mapping[str, str], cookies: Form, body: bytes, *, inside: bool
    ) -> Page:
        """Answer one request."""
        with self.lock:
            parts = urlsplit(target)
            path, asked, form = parts.path, _flat(parts.query), _flat(body.decode("latin-1"))
            if path.startswith("/realms/master") and not (inside or "master-at-edge" in self.faults):
                return Page(404, b"not found")
            if path == f"/realms/{REALM}/.well-known/openid-configuration":
                return self.discovery(headers)
            if path == "/realms/master":
                return told({"realm": "master"})
            if path == f"{_FLOW}/certs":
                return told({"keys": [jwk(REALM)]})
            if path == f"{_FLOW}/auth":
                return self.login_page(asked, cookies)
            if path == f"/realms/{REALM}/login-actions/authenticate" and method == "POST":
                return self.authenticate(asked, form)
            if path == f"{_FLOW}/logout":
                return self.logout(asked, cookies)
            if path.endswith("/protocol/openid-connect/token"):
                page = self.grant(form, path.split("/")[2], inside=inside)
                if page.status >= 400:
                    address = headers.get("x-forwarded-for", "").partition(",")[0]
                    self.events.insert(0, {"clientId": form.get("client_id", ""), "ipAddress": address})
                return page
            if path.startswith(f"/admin/realms/{REALM}") or path == "/admin/serverinfo":
                return self.admin(method, target, headers, body)
            if path == f"/realms/{REALM}/account/":
                return Page(200, b"<title>Account</title>")
            return Page(401 if path.startswith(f"/realms/{REALM}/") else 404, b"not found")

    def discovery(self, headers: Mapping[str, str]) -> Page:
        """Answer the discovery page."""
        home = HOME
        if "issuer-follows-host" in self.faults and "x-forwarded-host" in headers:
            home = f"https://{headers['x-forwarded-host']}"
        issuer = f"{home}/realms/{REALM}"
        return told({"issuer": issuer, "token_endpoint": f"{issuer}/protocol/openid-connect/token"})

    def admin(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Page:  # noqa: C901, PLR0911
        """Answer the Admin API: the administrator may everything, others nothing."""
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token.count(".") != 2:
            return Page(401, b"who are you?")
        if jwt.decode(token)[1].get("iss") != MASTER and "admin-for-all" not in self.faults:
            return Page(403, b"no")
        path = urlsplit(target).path.removeprefix(f"/admin/realms/{REALM}")
        data = json.loads(body) if body else {}
        name, _, rest = path.strip("/").partition("/")
        if method == "POST" and path == "/users":
            word = data["credentials"][0]["value"]
            user = User(data["username"], word, [group.lstrip("/") for group in data["groups"]])
            self.users[user.name] = user
            return Page(201, headers=[("Location", f"{HOME}/x/{user.id}")])
        if method == "POST" and path == "/clients":
            self.clients[data["clientId"]] = {**data, "id": data["clientId"]}
            return Page(201, headers=[("Location", f"{HOME}/x/{data['clientId']}")])
        if name == "groups" and method == "GET":
            return told([{"id": "crowd", "name": "crowd"}] if "exact" in target else [])
        if name in {"partialImport", "groups"}:
            return Page(204)
        if name == "users" and rest:
            return self._user(method, *rest.split("/"))
        if name == "events":
            asked = _flat(urlsplit(target).query)
            return told([event for event in self.events if event["clientId"] == asked["client"]])
        if name == "attack-detection":
            user = self._by_id(path.rpartition("/")[2])
            return told({"disabled": user.failures >= _FAILURES and "no-brute-force" not in self.faults})
        if name == "clients" and rest and method == "DELETE":
            self.clients.pop(rest, None)
            return Page(204)
        return told([] if name else {"realm": REALM, "failureFactor": _FAILURES})

    def _by_id(self, wanted: str) -> User:
        return next(user for user in self.users.values() if user.id == wanted)

    def _user(self, method: str, wanted: str, what: str = "") -> Page:
        user = self._by_id(wanted)
        if what == "sessions":
            return told([{"id": session} for session in user.sessions])
        if what == "logout":
            user.sessions.clear()
        elif method == "PUT":
            user.sessions.clear()  # of a disabled user none is good
        elif method == "DELETE":
            del self.users[user.name]
        return Page(204)


def _seal(text: bytes) -> bytes:
    return hmac.new(b"the realm's own", text, "sha512").digest()


def _error(status: int) -> Page:
    return told({"error": "unauthorized_client"}, status)


def _flat(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
