"""Run by test_boto3.py under one version of boto3: everyday use with the
library's own defaults. usage: boto3_scenario.py URL BUCKET TREE VERSION"""

import io
import os
import socket
import ssl
import sys
import urllib.request

import boto3
import botocore
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

URL, BUCKET, TREE, VERSION = sys.argv[1:]
MIB = 1024 * 1024
assert boto3.__version__.startswith(VERSION), boto3.__version__
assert botocore.__version__

s3 = boto3.client("s3", endpoint_url=URL, config=Config(retries={"max_attempts": 0}))


def fails(code, fn, **kw):
    try:
        fn(**kw)
    except s3.exceptions.ClientError as e:
        found = e.response["Error"]["Code"]
        assert found == code, (found, code)
        return
    raise AssertionError("%s did not fail with %s" % (kw, code))


def names(folder):
    for where, _, files in os.walk(folder):
        for f in files:
            path = os.path.join(where, f)
            yield os.path.relpath(path, folder), path


s3.create_bucket(Bucket=BUCKET)
assert BUCKET in [b["Name"] for b in s3.list_buckets()["Buckets"]]

# Each file by upload_file (multipart from 8 MiB) and back.
for key, path in names(TREE):
    s3.upload_file(path, BUCKET, key)
for key, path in names(TREE):
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, key, back)
    with open(path, "rb") as f:
        assert f.read() == back.getvalue(), key
listed = []
for page in s3.get_paginator("list_objects_v2").paginate(
    Bucket=BUCKET, PaginationConfig={"PageSize": 10}
):
    listed += [o["Key"] for o in page["Contents"]]
assert sorted(listed) == sorted(k for k, _ in names(TREE))

# Bodies of every kind; a file-like body makes botocore send Expect.
for body in (b"", b"bytes", io.BytesIO(b"file-like"), io.BytesIO(os.urandom(3 * MIB))):
    want = body if isinstance(body, bytes) else body.getvalue()
    s3.put_object(Bucket=BUCKET, Key="body", Body=body, Metadata={"a": "b"})
    got = s3.get_object(Bucket=BUCKET, Key="body")
    assert got["Body"].read() == want
    named = got["Metadata"]
    if os.environ.get("HEADER_NAMES_RECASED"):  # by a proxy on the way
        named = {k.lower(): v for k, v in named.items()}
    assert named == {"a": "b"}, got

for algorithm in ("CRC32", "SHA1", "SHA256"):
    r = s3.put_object(
        Bucket=BUCKET, Key="sum", Body=b"summed", ChecksumAlgorithm=algorithm
    )
    head = s3.head_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
    assert head["Checksum" + algorithm] == r["Checksum" + algorithm]

# Conditions, ranges, copy, delete.
etag = s3.head_object(Bucket=BUCKET, Key="sum")["ETag"]
fails("304", s3.head_object, Bucket=BUCKET, Key="sum", IfNoneMatch=etag)
fails("PreconditionFailed", s3.get_object, Bucket=BUCKET, Key="sum", IfMatch='"x"')
if VERSION == "1.37":
    fails(
        "PreconditionFailed",
        s3.put_object,
        Bucket=BUCKET,
        Key="sum",
        Body=b"",
        IfNoneMatch="*",
    )
r = s3.get_object(Bucket=BUCKET, Key="sum", Range="bytes=-3")
assert r["Body"].read() == b"med" and r["ContentRange"] == "bytes 3-5/6"
s3.copy({"Bucket": BUCKET, "Key": "multipart"}, BUCKET, "copied",
        Config=TransferConfig(multipart_threshold=8 * MIB))  # fmt: skip
a = s3.get_object(Bucket=BUCKET, Key="copied")["Body"].read()
assert a == open(os.path.join(TREE, "multipart"), "rb").read()
fails("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="not there")

# Presigned both ways; V2 is boto3's default on custom endpoints.
context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
for version in (None, "s3v4"):
    c = boto3.client("s3", endpoint_url=URL, config=Config(signature_version=version))
    url = c.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "pre +signed"})
    request = urllib.request.Request(url, data=b"by url", method="PUT")
    request.add_header("Content-Type", "")
    kw = {"context": context} if URL.startswith("https") else {}
    urllib.request.urlopen(request, **kw).read()
    url = c.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "pre +signed"})
    assert urllib.request.urlopen(url, **kw).read() == b"by url"

# Virtual-host style by the Host header: BUCKET.localhost.
if not URL.startswith("https"):
    port = URL.rsplit(":", 1)[1]
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *a, **kw: resolve(
        "127.0.0.1" if host.endswith("localhost") else host, *a, **kw
    )
    v = boto3.client(
        "s3",
        endpoint_url="http://localhost:" + port,
        config=Config(s3={"addressing_style": "virtual"}),
    )
    assert v.get_object(Bucket=BUCKET, Key="sum")["Body"].read() == b"summed"

bucket = boto3.resource("s3", endpoint_url=URL).Bucket(BUCKET)
bucket.objects.all().delete()
bucket.delete()
fails("404", s3.head_bucket, Bucket=BUCKET)
print("all good")
