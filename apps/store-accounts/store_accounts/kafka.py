"""Kafka: users with passwords (SCRAM), the topics they own, and ACLs. The administrator comes by a certificate.

The spec of an account:

    topics:                                  # its own: named after the user, `research` or `research.…`
      research.events: {partitions: 3, retention: 7d}
    read: [pipelines.events, "audit.*"]      # topics of others, or how they begin; "*": all, and every group is seen
    write: [pipelines.events]
    groups: [research]                       # consumer groups that begin like this

A topic's partitions grow and never shrink, and what an account no longer declares stays until the account is deleted.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from .kafka_certificates import renew
from .kafka_spec import Topics, checked, rights_of, topics_of
from .model import Account, Keys, Outcome, StoreError

if TYPE_CHECKING:
    from concurrent.futures import Future

SECONDS: Final = 15.0
"""How long Kafka may take for an answer."""
_ITERATIONS: Final = 8192

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _all(futures: Mapping[_Key, "Future[_Value]"]) -> dict[_Key, _Value]:
    return {key: future.result(SECONDS) for key, future in futures.items()}


def settings(admin: Keys) -> dict[str, Any]:
    """Return what a client of the administrator's is told."""
    return {
        "bootstrap.servers": f"{admin['host']}:{admin['port']}",
        "security.protocol": "ssl",
        "ssl.ca.pem": admin["ca.crt"],
        "ssl.certificate.pem": admin["tls.crt"],
        "ssl.key.pem": admin["tls.key"],
        "socket.connection.setup.timeout.ms": 5000,
        # Faults are told by what fails.
        "log_level": 3,
    }


def _bring_topics(client: AdminClient, wanted: Topics) -> Iterator[str]:
    """Make topics, and give those that are there their partitions and retention; yield what changed."""
    there = client.list_topics(timeout=SECONDS).topics
    sizes = {name: len(there[name].partitions) for name in wanted if name in there}
    new = [
        NewTopic(name, partitions, config={"retention.ms": retention})
        for name, (partitions, retention) in wanted.items()
        if name not in sizes
    ]
    if new:
        _all(client.create_topics(new))
        yield from (f"topic {topic.topic} made" for topic in new)
    grown = [NewPartitions(name, wanted[name][0]) for name, size in sizes.items() if size < wanted[name][0]]
    if grown:
        _all(client.create_partitions(grown))
        yield from (f"topic {topic.topic} has {topic.new_total_count} partitions" for topic in grown)
    if not sizes:
        return
    asked = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in sizes])
    for resource, entries in _all(asked).items():
        retention = wanted[resource.name][1]
        if entries["retention.ms"].value != retention:
            entry = ConfigEntry("retention.ms", retention, incremental_operation=AlterConfigOpType.SET)
            change = ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=[entry])
            _all(client.incremental_alter_configs([change]))
            yield f"topic {resource.name} keeps messages for {retention} ms"


def _lets_in(admin: Keys, account: Account) -> bool:
    """Whether the account's password is the one that Kafka knows: it tells nobody, so it is tried."""
    faults: list[KafkaError] = []
    own: dict[str, Any] = {
        "bootstrap.servers": f"{admin['client-host']}:{admin['client-port']}",
        "security.protocol": "sasl_ssl",
        "ssl.ca.pem": admin["client-ca.crt"],
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": account.user,
        "sasl.password": account.password,
        "error_cb": faults.append,
        # Told as an error already.
        "log_level": 0,
    }
    client = AdminClient(own)
    asked = client.describe_cluster(request_timeout=SECONDS)
    while not asked.done():
        client.poll(0.1)
        if any(fault.code() == KafkaError._AUTHENTICATION for fault in faults):  # noqa: SLF001 - has no other name
            return False
    asked.result()
    return True


def _users(client: AdminClient) -> set[str]:
    # Asked for all users, it gives one future for all.
    known: Any = client.describe_user_scram_credentials()
    return set(known.result(SECONDS))


def _bring_users(client: AdminClient, admin: Keys, accounts: Mapping[str, Account]) -> Iterator[str]:
    """Set the passwords that Kafka does not take; yield what changed."""
    known = _users(client)
    for user, account in accounts.items():
        if user in known and _lets_in(admin, account):
            continue
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        _all(client.alter_user_scram_credentials([UserScramCredentialUpsertion(user, info, account.password.encode())]))
        yield f"user {user}: password set"


def _found_acls(client: AdminClient) -> set[AclBinding]:
    whatever: Any = None
    every = AclBindingFilter(
        ResourceType.ANY,
        whatever,
        ResourcePatternType.ANY,
        whatever,
        whatever,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    return set(client.describe_acls(every).result(SECONDS))


def _user_of(acl: AclBinding) -> str:
    return str(acl.principal).removeprefix("User:")


def _remove_acls(client: AdminClient, acls: set[AclBinding]) -> None:
    if acls:
        filters = [
            AclBindingFilter(
                acl.restype,
                acl.name,
                acl.resource_pattern_type,
                acl.principal,
                acl.host,
                acl.operation,
                acl.permission_type,
            )
            for acl in acls
        ]
        _all(client.delete_acls(filters))


def _bring_acls(client: AdminClient, accounts: Mapping[str, Account], there: set[AclBinding]) -> Iterator[str]:
    """Give every account exactly what it declares; yield what changed."""
    wanted = {acl for account in accounts.values() for acl in rights_of(account)}
    missing = wanted - there
    surplus = {acl for acl in there - wanted if _user_of(acl) in accounts}
    if missing:
        _all(client.create_acls(list(missing)))
    _remove_acls(client, surplus)
    for user in sorted({_user_of(acl) for acl in missing | surplus}):
        more, less = (sum(_user_of(acl) == user for acl in acls) for acls in (missing, surplus))
        yield f"user {user}: {more} rights given, {less} taken"


def reconcile(admin: Keys, accounts: Sequence[Account]) -> Outcome:
    """Add and change what is declared, and name users whom nobody declares.

    A declaration that is wrong is a StoreError, raised when the others are brought about.
    """
    good, faults = checked(accounts)
    client = AdminClient(settings(admin))
    topics = {name: values for account in good.values() for name, values in topics_of(account).items()}
    changes = [*_bring_topics(client, topics), *_bring_users(client, admin, good)]
    there = _found_acls(client)
    changes += [*_bring_acls(client, good, there), *renew(client, admin)]
    if faults:
        raise StoreError("; ".join(faults))
    return Outcome(changes, sorted((_users(client) | {_user_of(acl) for acl in there}) - set(good)))


def delete(admin: Keys, user: str) -> list[str]:
    """Remove a user's rights, password and topics with their messages; return what was removed."""
    client = AdminClient(settings(admin))
    removed = []
    if acls := {acl for acl in _found_acls(client) if _user_of(acl) == user}:
        _remove_acls(client, acls)
        removed.append(f"{len(acls)} rights of {user}")
    if user in _users(client):
        _all(client.alter_user_scram_credentials([UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)]))
        removed.append(f"user {user}")
    topics = sorted(
        name for name in client.list_topics(timeout=SECONDS).topics if name == user or name.startswith(f"{user}.")
    )
    if topics:
        _all(client.delete_topics(topics))
        removed += [f"topic {name}" for name in topics]
    return removed
