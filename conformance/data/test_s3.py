"""S3: an account has its own buckets over TLS, inside and outside, by signed requests, and nothing else."""

import base64
import io
import json
import os
import uuid
from collections.abc import Callable

import pytest
from minio.commonconfig import CopySource
from minio.error import S3Error

from betelgeuse.tree import STORE, Host
from conformance import stores
from conformance.probes.http import Request
from conformance.site import Site
from conformance.stores import Client, account, administrator
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("store-s3")

_INSIDE = """
import boto3, socket
from botocore.config import Config
keys = values["keys"]
root = file(keys["ca.crt"])
def connect(service="s3", scheme="https", **changed):
    said = keys | changed
    return boto3.client(
        service, endpoint_url=f"{scheme}://{said['host']}:{said['port']}", region_name="us-east-1", verify=root,
        aws_access_key_id=said["user"], aws_secret_access_key=said["password"],
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=10,
                      retries={"total_max_attempts": 1}),
    )
"""
_WRITE = """
client = connect()
client.put_object(Bucket="research", Key=values["key"], Body=b"inside")
result = client.get_object(Bucket="research", Key=values["key"])["Body"].read().decode()
client.delete_object(Bucket="research", Key=values["key"])
"""
_PLAIN = """
result = [attempt(lambda: len(connect().list_buckets()["Buckets"])),
          attempt(lambda: connect(scheme="http").list_buckets())]
"""
_USERS = """
result = [user["UserName"] for user in connect("iam").list_users()["Users"]]
"""
_PART = 8 << 20
_LARGE = 3 * _PART
"""Bytes of an object in several parts, each larger than any buffer of the gateway."""
_OPEN = "aws --endpoint-url https://s3.DOMAIN s3 ls"


@pytest.fixture
def s3(site: Site) -> Host:
    """Return the public host."""
    return site.host("s3")


def _refusal(call: Callable[[], object]) -> str:
    """Return the code with which a request is refused; empty when it is not."""
    try:
        call()
    except S3Error as error:
        return str(error.code)
    return ""


def _key() -> str:
    return f"conformance/{uuid.uuid4().hex}"


def test_client_inside_writes_and_reads(site: Site, client: Client) -> None:
    """A pod with the store's label writes and reads in its account's bucket, the certificate verified in full."""
    seen = client.run(_INSIDE + _WRITE, keys=account(site, "s3", "research"), key=_key())

    require(seen == "inside", where="seaweedfs.storage", want="the object written", got=seen, reproduce=_OPEN)


def test_client_outside_writes_and_reads_a_large_object(site: Site, s3: Host) -> None:
    """A laptop writes an object in parts through the gateway, under the public name, and reads the same bytes."""
    content, key = os.urandom(_LARGE), _key()
    with stores.s3(site, "research") as outside:
        outside.put_object("research", key, io.BytesIO(content), len(content), part_size=_PART)
        seen = outside.get_object("research", key).read()
        outside.remove_object("research", key)

    require(
        seen == content,
        where=f"https://{s3.name}/research/{key}",
        want=f"the {len(content)} bytes written",
        got=f"{len(seen)} bytes, the same: {seen == content}",
        reproduce=_OPEN,
    )


def test_everything_else_is_refused(site: Site, s3: Host) -> None:
    """Another secret key, another's bucket, buckets of one's own making and open doors are refused."""
    public = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::research/*"}
    with stores.s3(site, "research", "x" * 40) as wrong:
        stranger = _refusal(wrong.list_buckets)
    with stores.s3(site, "research") as own:
        control = _refusal(lambda: list(own.list_objects("research")))
        seen = {
            "reads another's bucket": _refusal(lambda: own.get_object("pipelines", "key")),
            "lists another's bucket": _refusal(lambda: list(own.list_objects("pipelines"))),
            "writes to another's bucket": _refusal(lambda: own.put_object("pipelines", "key", io.BytesIO(), 0)),
            "copies from another's bucket": _refusal(
                lambda: own.copy_object("research", "key", CopySource("pipelines", "key"))
            ),
            "makes a bucket": _refusal(lambda: own.make_bucket("conformance")),
            "removes its bucket": _refusal(lambda: own.remove_bucket("research")),
            "opens its bucket": _refusal(
                lambda: own.set_bucket_policy("research", json.dumps({"Version": "2012-10-17", "Statement": [public]}))
            ),
        }

    where = f"https://{s3.name}, account research"
    require(not control, where=where, want="its own bucket listed", got=control, reproduce=_OPEN)
    require(stranger == "SignatureDoesNotMatch", where=where, want="refused", got=stranger or "done", reproduce=_OPEN)
    require_none(
        [f"{deed}: {code or 'done'}" for deed, code in seen.items() if code != "AccessDenied"],
        where=where,
        want="AccessDenied",
        reproduce=_OPEN,
    )


@pytest.mark.parametrize(
    "path", ["/", "/research", "/research/key", "/pipelines?list-type=2", "/betelgeuse-ready/object"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_who_signs_nothing_is_refused(site: Site, s3: Host, method: str, path: str) -> None:
    """A request without a signature is refused, whatever it asks for."""
    request = Request(s3.name, path, method)

    answer = site.send(request)

    require(
        answer.status in {400, 403, 405},
        where=f"{method} https://{s3.name}{path}",
        want="403",
        got=str(answer),
        reproduce=site.curl(request),
    )


def test_clear_text_is_refused_inside(site: Site, client: Client) -> None:
    """The object store's port speaks TLS alone."""
    control, seen = client.run(_INSIDE + _PLAIN, keys=account(site, "s3", "research"))

    require("value" in control, where="seaweedfs.storage", want="its buckets", got=control, reproduce=_OPEN)
    require("error" in seen, where="seaweedfs.storage", want="refused", got=seen, reproduce=_OPEN)


def test_accounts_are_those_declared(site: Site, client: Client) -> None:
    """The object store's accounts are those declared and the administrator."""
    seen = client.run(_INSIDE + _USERS, keys=administrator(site, "s3"))

    secrets = site.cluster.fresh("v1", "Secret", labels=f"{STORE}=s3")
    wanted = sorted({"admin-admin"} | {base64.b64decode(one["data"]["user"]).decode() for one in secrets})
    require(sorted(seen) == wanted, where="IAM ListUsers", want=str(wanted), got=sorted(seen), reproduce=_OPEN)
