"""A thin, thread-safe door to the Kubernetes API: plain dictionaries in and out, every failure one line.

The official client reads the kubeconfig and holds the TLS connections; its generated models are not used, because the
tree is plain data and half of it is custom resources.
"""

import base64
import json
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube.expiry import ended, remedy
from betelgeuse.kube.objects import Obj
from betelgeuse.kube.resources import Resource, resources
from betelgeuse.settings import MADE

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_REQUEST_SECONDS: Final = 60.0
"""Longest a single answer may take: admission webhooks are allowed 30 s of it."""
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_WARNING: Final = re.compile(r'^\d+ \S+ "(.*)"$')
_PAGE: Final = 1000
_UNAUTHORIZED: Final = 401
_PART: Final = re.compile(r"""[^\s\[\]{}'",:]+""")
_NONE: Final = 2
"""Characters of what is no secret yet."""
_SHORT: Final = 6
_NOT_FOUND: Final = 404
_ERROR: Final = 400


class UnreachableError(BetelgeuseError):
    """Nobody answered as the API server."""


class ApiError(BetelgeuseError):
    """The API server answered with a failure; `reason` and `causes` are its own words."""

    def __init__(self, message: str, status: int, reason: str = "", causes: tuple[Mapping[str, str], ...] = ()) -> None:
        """Keep the parts that decide what to do next."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = causes


class UnknownKindError(ApiError):
    """The server does not serve this kind (yet): its CRD is missing or not established."""


def selecting(labels: Mapping[str, str]) -> str:
    """Return labels as a list request takes them: `app=llm,tier=api`."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _without_values(error: ApiError, obj: Mapping[str, Any]) -> ApiError:
    """Return the refusal of a Secret without its values, whatever the server or a webhook repeats of them."""
    if obj.get("kind") != "Secret":
        return error
    sections = [section for name in ("data", "stringData") if isinstance(section := obj.get(name), dict)]
    held = [str(value) for section in sections for value in section.values()]
    for value in tuple(held):
        with suppress(ValueError):
            held.append(base64.b64decode(value).decode())
    parts = {part for value in held for part in (value, *_PART.findall(value)) if len(part) > _NONE}
    found = sorted(parts, key=len, reverse=True)

    def hidden(text: str) -> str:
        for part in found:
            # A short one only where it stands alone: `7` is in every message.
            text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)" if len(part) < _SHORT else re.escape(part), "***", text)
        return text

    causes = tuple({name: hidden(str(text)) for name, text in cause.items()} for cause in error.causes)
    return type(error)(hidden(str(error)), error.status, error.reason, causes)


def _api_error(method: str, path: str, status: int, body: bytes) -> ApiError:
    try:
        answer = json.loads(body)
        message, reason = str(answer["message"]), str(answer.get("reason", ""))
        causes = tuple((answer.get("details") or {}).get("causes") or ())
    except (ValueError, KeyError, TypeError, AttributeError):
        message, reason, causes = body.decode(errors="replace").strip() or "no explanation", "", ()
    text = " ".join(message.split())
    return ApiError(f"{method} {path}: {text} (HTTP {status})", status, reason, causes)


@dataclass
class Kube:
    """One cluster."""

    env: str
    host: str
    pool: "PoolManager"
    headers: Mapping[str, str]
    certificate: str = ""
    """File of the client certificate, where we show one."""
    warnings: dict[str, set[str]] = field(default_factory=dict)
    """What the API server warned about so far (a pod that breaks a Pod Security level), and for which requests."""
    _kinds: dict[tuple[str, str], Resource] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def request(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout: float = _REQUEST_SECONDS,
    ) -> bytes:
        """Send one request and return the answer's body; raise ApiError or UnreachableError."""
        import urllib3  # noqa: PLC0415 - a warm command that needs no cluster should not pay for it

        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = {**self.headers, "Accept": accept, "Content-Type": content_type, **(headers or {})}
        try:
            answer: BaseHTTPResponse = self.pool.request(
                method, url, body=data, headers=sent, timeout=timeout, retries=urllib3.Retry(total=0, redirect=0)
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        for warning in answer.headers.getlist("Warning"):
            quoted = _WARNING.search(warning)
            text = quoted[1].replace('\\"', '"') if quoted else warning
            with self._lock:
                self.warnings.setdefault(text, set()).add(path)
        if answer.status == _UNAUTHORIZED and (day := ended(self.certificate)):
            message = f"{self.env!r} knows us no longer: our certificate ended on {day}; {remedy(self.env)}"
            raise ApiError(message, answer.status, "Unauthorized")
        if answer.status >= _ERROR:
            raise _api_error(method, path, answer.status, answer.data)
        return answer.data

    def _unreachable(self, error: Exception) -> UnreachableError:
        cause: object = getattr(error, "reason", None) or error
        text = " ".join(str(cause).split()).rpartition(": ")[2]
        if "certificate has expired" in text:
            return UnreachableError(
                f"the certificate of the API server of {self.env!r} at {self.host} has expired; {remedy(self.env)}"
            )
        # Where the machines are not ours, a deploy starts none.
        starts = f", `invoke deploy --env={self.env}` starts it" if self.env in MADE else ""
        return UnreachableError(
            f"the API server of {self.env!r} at {self.host} does not answer: {text}; "
            f"`invoke doctor --env={self.env}` looks why{starts}"
        )

    def raw(self, path: str, query: Mapping[str, object] | None = None, timeout: float = _REQUEST_SECONDS) -> str:
        """Return what a path answers as text: /readyz, a pod's log, metrics."""
        return self.request("GET", path, query=query, accept="*/*", timeout=timeout).decode(errors="replace")

    def refresh(self) -> None:
        """Ask again which kinds are served."""
        found: dict[tuple[str, str], Resource] = {}
        for root in ("/apis", "/api"):
            found |= resources(json.loads(self.request("GET", root, accept=_DISCOVERY)))
        with self._lock:
            self._kinds = found

    def resource(self, api_version: str, kind: str) -> Resource:
        """Return where a kind is served; raise UnknownKindError when it is not."""
        if (api_version, kind) not in self._kinds:
            self.refresh()
        try:
            return self._kinds[api_version, kind]
        except KeyError:
            message = f"the API server does not serve {kind} in {api_version}: is its CRD in the tree?"
            raise UnknownKindError(message, _NOT_FOUND, "UnknownKind") from None

    def resources(self) -> Sequence[Resource]:
        """Return every kind the server can list."""
        self.refresh()
        return [resource for resource in self._kinds.values() if resource.listable]

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> list[Obj]:
        """Return every object of a kind (in one namespace, matching selectors)."""
        path = self.resource(api_version, kind).path(namespace)
        query: dict[str, object] = {"limit": _PAGE}
        query |= {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        items: list[Obj] = []
        while True:
            answer = json.loads(self.request("GET", path, query=query))
            # Items of a list carry no type of their own.
            items += ({**item, "apiVersion": api_version, "kind": kind} for item in answer.get("items") or [])
            if not (answer.get("metadata") or {}).get("continue"):
                return items
            query["continue"] = answer["metadata"]["continue"]

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Obj | None:
        """Return one object, or None when it (or its namespace) is not there."""
        try:
            answer: Obj = json.loads(self.request("GET", self.resource(api_version, kind).path(namespace, name)))
        except ApiError as error:
            if error.status == _NOT_FOUND and not isinstance(error, UnknownKindError):
                return None
            raise
        return answer

    def _path(self, obj: Mapping[str, Any], *, named: bool = True) -> str:
        meta = obj["metadata"]
        resource = self.resource(obj["apiVersion"], obj["kind"])
        return resource.path(meta.get("namespace"), meta["name"] if named else None)

    def server_side_apply(self, obj: Obj, manager: str, *, dry_run: bool = False, force: bool = False) -> Obj:
        """Apply what `manager` wants of an object; unknown fields are errors, as with kubectl apply."""
        query: dict[str, object] = {"fieldManager": manager, "fieldValidation": "Strict"}
        query |= {"force": "true"} if force else {}
        query |= {"dryRun": "All"} if dry_run else {}
        # The media type says YAML; JSON is YAML, and cheaper to write.
        kind = "application/apply-patch+yaml"
        return self._send("PATCH", self._path(obj), obj, query, kind)

    def _send(self, method: str, path: str, obj: Obj, query: Mapping[str, object], kind: str) -> Obj:
        try:
            answer: Obj = json.loads(self.request(method, path, query=query, body=obj, content_type=kind))
        except ApiError as error:
            raise _without_values(error, obj) from None
        return answer

    def json_patch(self, obj: Obj, operations: Sequence[Obj], manager: str, *, dry_run: bool = False) -> Obj:
        """Change an object by JSON Patch (RFC 6902)."""
        query: dict[str, object] = {"fieldManager": manager}
        query |= {"dryRun": "All"} if dry_run else {}
        kind = "application/json-patch+json"
        try:
            answer: Obj = json.loads(
                self.request("PATCH", self._path(obj), query=query, body=operations, content_type=kind)
            )
        except ApiError as error:
            raise _without_values(error, obj) from None
        return answer

    def create(self, obj: Obj, manager: str) -> Obj:
        """Create an object that must not exist yet."""
        return self._send("POST", self._path(obj, named=False), obj, {"fieldManager": manager}, "application/json")

    def replace(self, obj: Obj, manager: str) -> Obj:
        """Write an object as a whole; with its resourceVersion, only over that very version (else HTTP 409)."""
        answer: Obj = json.loads(self.request("PUT", self._path(obj), query={"fieldManager": manager}, body=obj))
        return answer

    def delete(self, obj: Obj, *, uid: str = "", propagation: str = "Background") -> bool:
        """Delete an object; False when it was gone already. With `uid`, only that very object."""
        options: Obj = {"propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self.request("DELETE", self._path(obj), body=options)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True
