"""What an account of Kafka's declares, read and checked. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from .model import SPEC, Account, StoreError

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A user. Super users have names of another form: no account can be declared as one."""
_TOPIC: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")
_RETENTION: Final = re.compile(r"([1-9]\d{0,4})([smhd])")
_UNITS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FOREVER: Final = "forever"
_MOST_PARTITIONS: Final = 64
_OWNER: Final = (
    AclOperation.READ,
    AclOperation.WRITE,
    AclOperation.DESCRIBE,
    AclOperation.DESCRIBE_CONFIGS,
)
_READER: Final = (AclOperation.READ, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
_WRITER: Final = (AclOperation.WRITE, AclOperation.DESCRIBE)
_MEMBER: Final = (AclOperation.READ, AclOperation.DESCRIBE, AclOperation.DELETE)
_EVERY: Final = "*"

Topics = Mapping[str, tuple[int, str]]
"""Topic -> its partitions, and its retention in milliseconds."""


def _milliseconds(text: object) -> str | None:
    if text == _FOREVER:
        return "-1"
    found = _RETENTION.fullmatch(str(text))
    return str(int(found[1]) * _UNITS[found[2]]) if found else None


def _partitions(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if isinstance(value, int) and whole and 1 <= value <= _MOST_PARTITIONS else None


def topics_of(account: Account) -> Topics:
    """Return the topics that an account declares; StoreError for what is none."""
    where = f"{account.declared}: {SPEC}"
    listed = account.spec.get("topics", {})
    if not isinstance(listed, dict):
        message = f"{where}: topics must be a map of names to {{partitions, retention}}"
        raise StoreError(message)
    found = {}
    for name, wanted in ((str(key), value) for key, value in listed.items()):
        if not _TOPIC.fullmatch(name) or not (name == account.user or name.startswith(f"{account.user}.")):
            message = f"{where}: topic {name!r} must be {account.user} or begin with {account.user}."
            raise StoreError(message)
        values = wanted if isinstance(wanted, dict) else {}
        partitions, retention = _partitions(values.get("partitions")), _milliseconds(values.get("retention"))
        if set(values) != {"partitions", "retention"} or partitions is None or retention is None:
            message = (
                f"{where}: topic {name} needs partitions (1 to {_MOST_PARTITIONS}) "
                f"and retention (such as 7d, or {_FOREVER}), nothing else"
            )
            raise StoreError(message)
        found[name] = (partitions, retention)
    return found


def _acl(user: str, kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    """Return a right to what has a name, to all whose names begin like `name*`, or to all: `*`."""
    prefix = name.endswith(_EVERY) and name != _EVERY
    pattern = ResourcePatternType.PREFIXED if prefix else ResourcePatternType.LITERAL
    shown = name.removesuffix(_EVERY) if prefix else name
    return AclBinding(kind, shown, pattern, f"User:{user}", _EVERY, operation, AclPermissionType.ALLOW)


def rights_of(account: Account) -> Iterator[AclBinding]:
    """Yield what an account may do."""
    user, read = account.user, account.names("read")
    rights: list[tuple[str, tuple[AclOperation, ...]]] = [(name, _OWNER) for name in topics_of(account)]
    rights += [(name, _READER) for name in read]
    rights += [(name, _WRITER) for name in account.names("write")]
    for name, operations in rights:
        yield from (_acl(user, ResourceType.TOPIC, name, operation) for operation in operations)
    for name in account.names("groups"):
        yield from (_acl(user, ResourceType.GROUP, f"{name}{_EVERY}", operation) for operation in _MEMBER)
    if _EVERY in read:
        yield _acl(user, ResourceType.GROUP, _EVERY, AclOperation.DESCRIBE)


def checked(accounts: Sequence[Account]) -> tuple[dict[str, Account], list[str]]:
    """Return the accounts that can be made, by user, and what is wrong with the others."""
    good, faults = {}, []
    for account in accounts:
        try:
            if not _NAME.fullmatch(account.user):
                message = f"{account.declared}: user must be lower-case letters, digits and dashes"
                raise StoreError(message)  # noqa: TRY301 - told as every other fault of a declaration
            list(rights_of(account))
        except StoreError as error:
            faults.append(str(error))
        else:
            good[account.user] = account
    return good, faults
