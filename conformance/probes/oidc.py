"""A browser without a screen: cookies by host and path, redirects followed one by one, forms filled in by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from conformance.probes.http import Answer, Header, Request
from conformance.secrecy import MASKER, Secret

_HOPS: Final = 10
"""More redirects than this are a loop."""
_PAGE: Final = (("Accept", "text/html,application/xhtml+xml"),)
_PAGES: Final = frozenset({"redirect_to"})
"""Cookies that name a page: Gitea's."""
_LONGEST: Final = 4096
"""Bytes of a cookie's name and value that browsers keep."""
_FORM: Final = (("Content-Type", "application/x-www-form-urlencoded"),)
_MOVED: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class SetCookie:
    """One Set-Cookie header."""

    name: str
    value: str = field(repr=False)
    attributes: Mapping[str, str]

    @property
    def deletes(self) -> bool:
        """Whether it takes the cookie away."""
        return self.attributes.get("max-age", "").startswith(("0", "-")) or "1970" in self.attributes.get("expires", "")


def cookies_set(answer: Answer) -> list[SetCookie]:
    """Return what an answer does to the cookies."""
    found = []
    for key, text in answer.headers:
        if key.lower() == "set-cookie":
            first, *rest = text.split(";")
            name, _, value = first.strip().partition("=")
            pairs = (part.strip().partition("=")[::2] for part in rest)
            found.append(SetCookie(name, value.strip('"'), {k.lower(): v for k, v in pairs}))
    return found


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a page: where it goes, and what it already holds."""

    action: str
    fields: Mapping[str, str]

    @property
    def asks_password(self) -> bool:
        """Whether it is a login form."""
        return "password" in self.fields


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note forms and their fields."""
        given = {key: value or "" for key, value in attrs}
        if tag == "form":
            self.found.append((given.get("action", ""), {}))
        elif tag in {"input", "button"} and self.found and given.get("name"):
            self.found[-1][1][given["name"]] = given.get("value", "")


def forms(answer: Answer) -> list[Form]:
    """Return the forms of a page."""
    parser = _Forms()
    parser.feed(answer.text)
    return [Form(action, fields) for action, fields in parser.found]


@dataclass(frozen=True, slots=True)
class Hop:
    """One request and its answer, on the way somewhere."""

    url: str
    answer: Answer

    @property
    def host(self) -> str:
        """The host asked."""
        return urlsplit(self.url).hostname or ""

    @property
    def leads_to(self) -> str:
        """Where it redirects to; empty when it does not."""
        target = self.answer.header("location") or ""
        return urljoin(self.url, target) if self.answer.status in _MOVED and target else ""

    def __str__(self) -> str:
        """Tell it without the secrets of the query."""
        return f"{self.answer.status} {self.url.partition('?')[0]}"


Jar = dict[tuple[str, str, str], str]
"""(host, path, name) -> value."""


@dataclass
class Browser:
    """One person's browser; `send` leads to the gateway."""

    send: Callable[[Request], Answer]
    jar: Jar = field(default_factory=dict, repr=False)

    def copy(self) -> "Browser":
        """Return another browser with the same cookies, as a thief of them would have."""
        return Browser(self.send, dict(self.jar))

    def cookies(self, host: str, path: str = "/") -> dict[str, str]:
        """Return the cookies that a request would carry."""
        return {name: value for (at, below, name), value in self.jar.items() if at == host and path.startswith(below)}

    def header(self, host: str, path: str = "/") -> tuple[Header, ...]:
        """Return the Cookie header that a request would carry, as a secret."""
        text = "; ".join(f"{name}={value}" for name, value in self.cookies(host, path).items())
        return (("Cookie", Secret(text, "$COOKIES_OF_A_LOGGED_IN_BROWSER")),) if text else ()

    def _keep(self, host: str, answer: Answer) -> None:
        for cookie in cookies_set(answer):
            place = (host, cookie.attributes.get("path") or "/", cookie.name)
            if cookie.deletes or not cookie.value:
                self.jar.pop(place, None)
            elif len(cookie.name) + len(cookie.value) <= _LONGEST:
                self.jar[place] = cookie.value
                # A moment in seconds is no secret, nor is the page to go on to: both occur in many a text.
                if not cookie.value.isdigit() and cookie.name not in _PAGES:
                    MASKER.learn(cookie.value)

    def request(self, url: str, form: Mapping[str, str] | None = None, headers: tuple[Header, ...] = ()) -> Request:
        """Return the request this browser would send."""
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path or "/"
        own = (*_PAGE, *headers, *self.header(host, path))
        target = f"{path}?{parts.query}" if parts.query else path
        if form is None:
            return Request(host, target, headers=own)
        return Request(host, target, "POST", (*own, *_FORM), urlencode(form).encode())

    def go(self, url: str, form: Mapping[str, str] | None = None, headers: tuple[Header, ...] = ()) -> Hop:
        """Make one request; a redirect is not followed."""
        request = self.request(url, form, headers)
        answer = self.send(request)
        self._keep(request.host, answer)
        return Hop(url, answer)

    def follow(self, hop: Hop, until: Callable[[str], bool] = lambda _: False) -> list[Hop]:
        """Follow redirects from a hop on; stop at a page, before an address that `until` names, or after ten."""
        trail = [hop]
        while (target := trail[-1].leads_to) and not until(target) and len(trail) <= _HOPS:
            trail.append(self.go(target))
        return trail

    def open(self, url: str, until: Callable[[str], bool] = lambda _: False) -> list[Hop]:
        """Open a page as a person does: with every redirect."""
        return self.follow(self.go(url), until)

    def submit_login(self, page: Hop, name: str, password: Secret) -> Hop:
        """Fill in the login form of a page and send it; without such a form, the page itself comes back."""
        form = next((form for form in forms(page.answer) if form.asks_password), None)
        if form is None:
            return page
        filled = {**form.fields, "username": name, "password": password.reveal()}
        return self.go(urljoin(page.url, form.action), filled)

    def login(self, url: str, name: str, password: Secret, until: Callable[[str], bool] = lambda _: False) -> list[Hop]:
        """Open a page, log in where that is asked, and return every hop on the way."""
        trail = self.open(url)
        sent = self.submit_login(trail[-1], name, password)
        return trail if sent is trail[-1] else [*trail, *self.follow(sent, until)]


def query(url: str) -> dict[str, str]:
    """Return the parameters of an address, the first of each name."""
    return {key: values[0] for key, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def told(trail: list[Hop]) -> str:
    """Tell a trail in one line."""
    return ", then ".join(map(str, trail))
