"""The decisions behind an apply, without a cluster: what is left to do, whose a field is, what is worth a retry."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.kube import ApiError, Obj, UnknownKindError, UnreachableError, api_group, digest

MANAGER: Final = "betelgeuse"
SECRETS_MANAGER: Final = "betelgeuse-secrets"

_CONFLICT: Final = re.compile(r'conflicts? with "([^"]*)"')
_GONE: Final = 404
_CONFLICTED: Final = 409
_BUSY: Final = frozenset({429, 502, 503, 504})


def prepared(obj: Obj) -> Obj:
    """Return what we really ask for: generators leave behind what only the server may say."""
    if "status" not in obj and "creationTimestamp" not in obj["metadata"]:
        return obj
    meta = {key: value for key, value in obj["metadata"].items() if key != "creationTimestamp"}
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": meta}


def owned_fields(live: Mapping[str, Any], manager: str = MANAGER) -> Any:  # noqa: ANN401 - the API's own free form
    """Return which fields a manager applied, or None when it applied none."""
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry.get("fieldsV1")
    return None


def record(desired: Obj, live: Mapping[str, Any]) -> str:
    """Return the proof of an apply: what was asked for, what we owned after it, and of which very object."""
    return f"{digest(desired)}:{digest(owned_fields(live))}:{live['metadata'].get('uid', '')}"


def applied_by_us(live: Mapping[str, Any]) -> bool:
    """Whether our manager set any field of an object."""
    return any(entry.get("manager") == MANAGER for entry in live["metadata"].get("managedFields") or ())


def ours(live: Mapping[str, Any], recorded: str) -> bool:
    """Whether an object of our inventory is still the one we made, and not somebody else's of the same name.

    The API server keeps no trace of a manager that set no field (a bare ServiceAccount): there the uid decides, and
    after an apply that was killed before it could note the uid, that nobody else claims the object.
    """
    if applied_by_us(live):
        return True
    meta = live["metadata"]
    return recorded.rpartition(":")[2] == meta.get("uid") if recorded else not meta.get("managedFields")


def covers(desired: object, live: object) -> bool:
    """Whether everything desired is there already; what the server added (defaults) does not matter."""
    if desired is None:
        return live is None
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(covers(value, live.get(key)) for key, value in desired.items())
    if isinstance(desired, list):
        return isinstance(live, list) and len(live) == len(desired) and all(map(covers, desired, live))
    return type(desired) is type(live) and desired == live


def settled(desired: Obj, live: Mapping[str, Any] | None, recorded: str) -> bool:
    """Whether applying would provably change nothing, so that the request can be spared.

    Three facts together: we ask for what we asked last time, we still own exactly the fields we owned after it (who
    changes a field takes it from us), and every value is in place.
    """
    return live is not None and bool(recorded) and recorded == record(desired, live) and covers(desired, live)


_VOLATILE: Final = ("managedFields", "resourceVersion", "generation")


def _essence(obj: Mapping[str, Any]) -> Obj:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _VOLATILE}
    return {key: value for key, value in obj.items() if key not in {"status", "metadata"}} | {"metadata": meta}


def same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an apply changed nothing: a controller may have written the status meanwhile."""
    version = "resourceVersion"
    return before["metadata"].get(version) == after["metadata"].get(version) or alike(before, after)


def alike(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two versions of an object say the same; a dry run's answer keeps the old resourceVersion."""
    return _essence(before) == _essence(after)


@dataclass(frozen=True)
class Conflict:
    """A field we set that someone else owns."""

    field: str
    manager: str


def conflicts_of(error: ApiError) -> list[Conflict]:
    """Return the field conflicts of a refused apply; empty when it was refused for another reason."""
    if error.status != _CONFLICTED:
        return []
    found = []
    for cause in error.causes:
        match = _CONFLICT.search(cause.get("message", ""))
        if cause.get("reason") == "FieldManagerConflict" and match:
            found.append(Conflict(cause.get("field", "?"), match[1]))
    return found


@dataclass(frozen=True)
class Transient:
    """A reason to try again, and for how many seconds altogether."""

    reason: str
    seconds: float


_WEBHOOK: Final = re.compile(
    r'fail\w* (?:to call|calling) webhook "?([^" ]+?)"?:|conversion webhook for ([^ ,]+).* failed'
)
_CAUSE: Final = re.compile(r'Post "[^"]+": (.+?)(?: \(HTTP \d+\))?$')
_NEVER: Final = re.compile(r"denied the request|does not support dry run")


def _transient_answer(error: ApiError, obj: Mapping[str, Any]) -> Transient | None:
    text = str(error)
    webhook = _WEBHOOK.search(text)
    name = (webhook[1] or webhook[2]) if webhook else ""
    cause = f" ({match[1]})" if (match := _CAUSE.search(text)) else ""
    table = (
        (name and not _NEVER.search(text), f"webhook {name} not answering yet{cause}", 180),
        ("is being terminated" in text, "its namespace is still being deleted", 180),
        (error.status in _BUSY, "the API server is busy", 60),
        (error.status == _GONE and "find the requested resource" in text, f"{obj.get('kind')} not served yet", 60),
        (error.status == _CONFLICTED and not error.causes, "the object changed at the same moment", 30),
    )
    return next((Transient(reason, seconds) for holds, reason, seconds in table if holds), None)


def transient(error: Exception, custom: Iterable[tuple[str, str]], obj: Mapping[str, Any]) -> Transient | None:
    """Return why a failed apply is worth repeating, or None: nothing is ever retried without a name."""
    if isinstance(error, UnreachableError):
        return Transient("the API server does not answer", 60)
    if isinstance(error, UnknownKindError):
        known = (api_group(obj), str(obj.get("kind"))) in custom
        return Transient(f"the CRD of {obj.get('kind')} is not served yet", 60) if known else None
    return _transient_answer(error, obj) if isinstance(error, ApiError) else None
