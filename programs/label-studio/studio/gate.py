"""Who calls Label Studio: people by the login gate, which names them in headers, and programs by tokens of people's.

The gateway takes these headers from whoever sends them himself, and writes them after a login; nobody but the gateway
reaches the pod. A request is one or the other, and what belongs to the other is taken from it: a person's request has
no token, a program's no cookie.
"""

import base64
import binascii
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from time import time
from typing import Any, Final

from django.contrib.auth import get_user_model, login
from django.db import transaction
from django.db.models.signals import pre_save
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

Answer = Callable[[HttpRequest], HttpResponse]

NAME: Final = "HTTP_X_AUTH_REQUEST_USER"
EMAIL: Final = "HTTP_X_AUTH_REQUEST_EMAIL"
GROUPS: Final = "HTTP_X_AUTH_REQUEST_GROUPS"
ADMINISTRATORS: Final = "platform-admins"
ORGANIZATION: Final = "Betelgeuse"
TOKEN_DAYS: Final = int(os.environ.get("TOKEN_DAYS", "30"))
"""So long after a person's last visit the tokens are good: who may not come in any more keeps none for ever."""
_SEEN: Final = timedelta(hours=1)
"""How exactly it is known when somebody was here last."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN: Final = f"https://{os.environ.get('PUBLIC_NAME', '')}"
_NOBODY: Final = "{}@nobody.invalid"
_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"
_log: Final = logging.getLogger(__name__)
_making: Final = threading.Lock()
"""The first page of a person asks for several things at once; there is one process."""


def groups(text: str) -> frozenset[str]:
    """Return the groups of a header: a JSON list in base64, as Envoy writes a claim that is a list."""
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return frozenset()
    return frozenset(each for each in found if isinstance(each, str)) if isinstance(found, list) else frozenset()


def mark(name: str) -> str:
    """Return what ties an account to a person of the realm.

    It stands where others have their password, for that alone can neither be seen nor be set by Label Studio's API:
    everybody there may change everybody's user name. What begins with `!` is no password to Django.
    """
    return "!" + hashlib.sha256(name.encode()).hexdigest()


def refusal(status: HTTPStatus, detail: str) -> HttpResponse:
    """Return an answer as Label Studio's API gives it."""
    return JsonResponse({"status_code": status.value, "detail": detail}, status=status.value)


class Credentials:
    """First of all: takes from a request what its kind has not."""

    def __init__(self, following: Answer) -> None:
        """`following` answers what is let through."""
        self._following = following

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let pass, or refuse what another site's page sends in a person's name."""
        if request.META.get(NAME):
            for header in ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY"):
                request.META.pop(header, None)
            origin = request.META.get("HTTP_ORIGIN", _OWN)
            if request.method not in _SAFE and origin != _OWN:
                return refusal(HTTPStatus.FORBIDDEN, "this was sent by a page of another site")
        else:
            for header in ("HTTP_COOKIE", EMAIL, GROUPS):
                request.META.pop(header, None)
        return self._following(request)


class SignIn:
    """Behind Django's own: the session is that of the person whom the gate names, and of nobody else."""

    def __init__(self, following: Answer) -> None:
        """`following` answers what is let through."""
        self._following = following

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Sign the person in where the session is not his."""
        name = request.META.get(NAME, "")
        if name:
            staff = ADMINISTRATORS in groups(request.META.get(GROUPS, ""))
            email = request.META.get(EMAIL, "").strip().lower() or _NOBODY.format(mark(name)[1:17])
            user = request.user
            if not (user.is_authenticated and _is_up_to_date(user, name, email, staff=staff)):
                user = person(name, email, staff=staff)
            if not user.is_active:
                return refusal(HTTPStatus.FORBIDDEN, "an administrator of Label Studio has put this account to rest")
            if request.user.pk != user.pk:
                login(request, user, backend=_BACKEND)
                # Without it Label Studio takes the session for one that is too old.
                request.session["last_login"] = time()
        return self._following(request)


class Tokens:
    """Behind Label Studio's own: no token is good for somebody who has not been here for long."""

    def __init__(self, following: Answer) -> None:
        """`following` answers what is let through."""
        self._following = following

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let pass, or refuse."""
        user = _bearer(request)
        if user is not None and not (user.last_login and timezone.now() - user.last_login < timedelta(days=TOKEN_DAYS)):
            return refusal(HTTPStatus.UNAUTHORIZED, f"sign in at {_OWN}: your last visit is {TOKEN_DAYS} days ago")
        return self._following(request)


def _bearer(request: HttpRequest) -> Any:  # noqa: ANN401 - Label Studio's user
    """Return whose token a request carries, of either kind; None where it carries none that is known."""
    if getattr(request, "is_jwt", False):
        return request.user
    scheme, _, key = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "token":
        return None
    from rest_framework.authtoken.models import Token  # noqa: PLC0415 - Django's applications come first

    found = Token.objects.select_related("user").filter(key=key.strip()).first()
    return found.user if found else None


def _is_up_to_date(user: Any, name: str, email: str, *, staff: bool) -> bool:  # noqa: ANN401 - as above
    """Whether an account is the person's, as the gate tells of him now, and knows that he was here."""
    return (
        (user.password, user.email, user.is_staff, user.is_superuser) == (mark(name), email, staff, staff)
        and user.last_login is not None
        and timezone.now() - user.last_login < _SEEN
    )


def person(name: str, email: str, *, staff: bool) -> Any:  # noqa: ANN401 - as above
    """Return the account of a person, made at his first visit, with the address and the role that he has now."""
    users = get_user_model()
    with _making, transaction.atomic():
        user = users.objects.filter(password=mark(name)).first()
        other = users.objects.filter(email__iexact=email).first()
        if user is None and other is not None and not other.password.startswith("!"):
            # Somebody entered the person here before he came. No password opens it: there is no way to sign in by one.
            user = other
            user.username = name
        elif other is not None and other != user:
            # The address has gone to another person; its former one gets his own again when he comes.
            other.email = _NOBODY.format(other.password[1:17])
            other.save(update_fields=["email"])
        if user is None:
            user = users(username=name)
        user.email, user.is_staff, user.is_superuser, user.password = email, staff, staff, mark(name)
        user.last_login = timezone.now()
        user.save()
        _join(user)
    return user


def _join(user: Any) -> None:  # noqa: ANN401 - as above
    """Put an account into the one organization; it belongs to an administrator, as soon as one has been here."""
    from organizations.models import Organization  # noqa: PLC0415 - Django's applications come first

    found = Organization.objects.order_by("pk").first()
    if found is None:
        found = Organization.create_organization(created_by=user, title=ORGANIZATION)
    found.add_user(user)
    if user.is_staff and not (found.created_by and found.created_by.is_staff):
        found.created_by = user
        found.save(update_fields=["created_by"])
    if user.active_organization_id is None:
        user.active_organization = found
        user.save(update_fields=["active_organization"])


def _through_us(sender: Any, instance: Any, **_: object) -> None:  # noqa: ANN401, ARG001 - a signal's
    """Have files of a connected bucket fetched by Label Studio: a browser does not reach the address of the store."""
    instance.presign = False


def keep_files_behind_the_gate() -> None:
    """Lead files of every connected bucket through Label Studio."""
    from io_storages.s3.models import S3ImportStorage  # noqa: PLC0415 - Django's applications come first

    pre_save.connect(_through_us, sender=S3ImportStorage, weak=False)
