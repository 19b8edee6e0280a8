"""S3: users, keys and policies by the IAM protocol, which the object store (SeaweedFS) speaks on its S3 port."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from .model import SPEC, Account, Keys, Outcome, StoreError

_ADMIN: Final = re.compile(r"admin-.*")
"""The administrator, whom the server makes of its environment."""
_KEY: Final = re.compile(r"[A-Za-z0-9]{4,128}")
"""What the server takes as an access key."""
_FORBIDDEN: Final = (
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutObjectAcl",
)
"""What would take a bucket away from its declaration, or open it to those who sign nothing."""
_WRONG: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})


class Server:
    """One object store, asked by whoever has keys."""

    def __init__(self, admin: Keys, trust: str) -> None:
        """`trust` is the file with the CA."""
        self._admin, self._trust = admin, trust
        self.s3: Any = self.client("s3", admin["user"], admin["password"])
        self.iam: Any = self.client("iam", admin["user"], admin["password"])

    def client(self, service: str, user: str, password: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        """Return a client of one protocol with one key."""
        return boto3.client(
            service,
            endpoint_url=f"https://{self._admin['host']}:{self._admin['port']}",
            region_name="us-east-1",
            aws_access_key_id=user,
            aws_secret_access_key=password,
            verify=self._trust,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=10,
                read_timeout=20,
                retries={"total_max_attempts": 2},
                # To Amazon, an access key has 16 characters at least.
                parameter_validation=False,
            ),
        )

    def opens(self, account: Account) -> bool:
        """Whether an account's key is the one that the server knows."""
        try:
            self.client("s3", account.user, account.password).list_buckets()
        except ClientError as error:
            if error.response["Error"]["Code"] in _WRONG:
                return False
            raise
        return True

    def make_key(self, account: Account) -> None:
        """Give a user the key of its declaration, which this server takes besides making keys of its own."""

        def add(params: dict[str, Any], **_: object) -> None:
            params["body"].update(AccessKeyId=account.user, SecretAccessKey=account.password)

        event = "before-call.iam.CreateAccessKey"
        self.iam.meta.events.register(event, add)
        try:
            self.iam.create_access_key(UserName=account.user)
        finally:
            self.iam.meta.events.unregister(event, add)

    def keys(self, user: str) -> list[str]:
        """Return the names of a user's keys."""
        return [key["AccessKeyId"] for key in self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]

    def policies(self, user: str) -> dict[str, str]:
        """Return the policies of a user, their resource names by name."""
        found = self.iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]
        return {policy["PolicyName"]: policy["PolicyArn"] for policy in found}


@contextmanager
def connected(admin: Keys) -> Iterator[Server]:
    """Yield the object store; boto3 takes a CA as a file only."""
    with NamedTemporaryFile("w", suffix=".crt", delete=False) as trust:
        trust.write(admin["ca.crt"])
    try:
        yield Server(admin, trust.name)
    finally:
        os.unlink(trust.name)  # noqa: PTH108 - a name of tempfile's


def _policy(buckets: Sequence[str]) -> dict[str, Any]:
    """Return the policy of who has these buckets, in the form in which the server gives it back."""
    own = [name for bucket in buckets for name in (f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*")]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": own},
            {"Effect": "Deny", "Action": list(_FORBIDDEN), "Resource": "arn:aws:s3:::*"},
        ],
    }


def _made(there: bool) -> str:  # noqa: FBT001 - a word for a fact
    return "set" if there else "made"


def _policy_is_set(server: Server, user: str, wanted: Mapping[str, Any]) -> str:
    """Bring about the one policy of a user; return what was done, or nothing."""
    attached = server.policies(user)
    known = {policy["PolicyName"]: policy["Arn"] for policy in server.iam.list_policies()["Policies"]}
    if user in known:
        found = server.iam.get_policy_version(PolicyArn=known[user], VersionId="v1")["PolicyVersion"]["Document"]
        if found == wanted and set(attached) == {user}:
            return ""
    for arn in attached.values():
        server.iam.detach_user_policy(UserName=user, PolicyArn=arn)
    if user in known:
        server.iam.delete_policy(PolicyArn=known[user])
    made = server.iam.create_policy(PolicyName=user, PolicyDocument=json.dumps(wanted))["Policy"]
    server.iam.attach_user_policy(UserName=user, PolicyArn=made["Arn"])
    return f"policy of {user} {_made(user in known)}"


def _account(server: Server, account: Account, users: Sequence[str]) -> Iterator[str]:
    """Bring about one account; yield what was done."""
    user = account.user
    if not _KEY.fullmatch(user):
        message = f"{account.declared}: user must be 4 to 128 letters and digits: it is the access key"
        raise StoreError(message)
    buckets = account.names("buckets")
    if not buckets:
        message = f"{account.declared}: {SPEC}: buckets is missing; it must be a list of names"
        raise StoreError(message)
    there = {bucket["Name"] for bucket in server.s3.list_buckets()["Buckets"]}
    for bucket in sorted(set(buckets) - there):
        server.s3.create_bucket(Bucket=bucket)
        yield f"bucket {bucket} made"
    if user not in users:
        server.iam.create_user(UserName=user)
        yield f"user {user} made"
    if change := _policy_is_set(server, user, _policy(buckets)):
        yield change
    keys = server.keys(user)
    good = user in keys and server.opens(account)
    # Besides a former key of this name, those that a user made itself: no declaration has them.
    for key in keys:
        if key != user or not good:
            server.iam.delete_access_key(UserName=user, AccessKeyId=key)
            if key != user:
                yield f"key {key} of {user} removed"
    if not good:
        server.make_key(account)
        yield f"key of {user} {_made(user in keys)}"


def reconcile(admin: Keys, accounts: Sequence[Account]) -> Outcome:
    """Make buckets, users and keys; each user has the buckets of its declaration and no other."""
    outcome = Outcome()
    with connected(admin) as server:
        users = [user["UserName"] for user in server.iam.list_users()["Users"]]
        for account in accounts:
            outcome.changes.extend(_account(server, account, users))
        declared = {account.user for account in accounts}
        outcome.undeclared = sorted(user for user in users if user not in declared and not _ADMIN.fullmatch(user))
    return outcome


def delete(admin: Keys, user: str) -> list[str]:
    """Remove a user with keys and policy; its buckets stay, for whoever declares them next."""
    with connected(admin) as server:
        users = [found["UserName"] for found in server.iam.list_users()["Users"]]
        if user not in users or _ADMIN.fullmatch(user):
            return []
        for key in server.keys(user):
            server.iam.delete_access_key(UserName=user, AccessKeyId=key)
        for arn in server.policies(user).values():
            server.iam.detach_user_policy(UserName=user, PolicyArn=arn)
            server.iam.delete_policy(PolicyArn=arn)
        server.iam.delete_user(UserName=user)
    return [f"user {user}"]
