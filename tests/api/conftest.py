"""One server for all files of this folder, clients, and a fresh bucket a test."""

import itertools
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))

from lib.s3raw import Client  # noqa: E402
from lib.server import ACCESS_KEY, SECRET, Server, binary  # noqa: E402

_names = itertools.count(1)


@pytest.fixture(scope="session")
def shared():
    """One node, or with CREEL_TEST_CLUSTER a gateway before two of them."""
    if os.environ.get("CREEL_TEST_CLUSTER"):
        sys.path.insert(0, os.path.join(TOP, "tests", "cluster"))
        from kit import Cluster

        args = ("--index-archive-interval", "1s")
        with Cluster(groups={"group1": 2}, gateways=1, gateway_args=args) as c:
            gateway = c.gateways[0]
            gateway.endpoint = "http://127.0.0.1:%d" % gateway.port
            gateway.data = gateway.dir
            yield gateway
        return
    with Server() as s:
        yield s


def make_boto(server, key=ACCESS_KEY, secret=SECRET, **config):
    config.setdefault("retries", {"max_attempts": 0})
    config.setdefault("signature_version", "s3v4")
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(**config),
    )


@pytest.fixture(scope="session")
def s3(shared):
    return make_boto(shared)


@pytest.fixture(scope="session")
def raw(shared):
    c = Client("127.0.0.1", shared.port, ACCESS_KEY, SECRET)
    yield c
    c.close()


@pytest.fixture
def bucket(s3):
    name = "test-%d-%d" % (os.getpid(), next(_names))
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def other(shared):
    """Raw and boto3 clients of a second user, and its key."""
    env = {"PATH": "/usr/bin:/bin", "CREEL_ENDPOINT": shared.endpoint}
    env.update(CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)

    def admin(*args):
        done = subprocess.run(
            [binary(), "admin"] + list(args), env=env, capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    admin("user", "add", "other")
    key = json.loads(admin("key", "add", "other"))
    r = Client("127.0.0.1", shared.port, key["id"], key["secret"])
    r.boto = make_boto(shared, key["id"], key["secret"])
    yield r
    r.close()


class Expect:
    """`with expect("NoSuchKey", 404):` for boto3 calls; .error is the answer."""

    def __init__(self, code, status):
        self.want, self.error = (code, status), None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _):
        assert value is not None, "no error, but %s was expected" % (self.want,)
        if not isinstance(value, ClientError):
            return False
        self.error = value.response
        got = value.response["Error"]["Code"]
        status = value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert (got, status) == self.want, value
        return True


@pytest.fixture(scope="session")
def expect():
    return Expect


NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def xml(response):
    """Body as a tree without namespaces."""
    root = ET.fromstring(response.body)
    for e in root.iter():
        e.tag = e.tag.replace(NS, "")
    return root


def is_error(response, code, status):
    assert (response.status, response.code) == (status, code), response
    return True
