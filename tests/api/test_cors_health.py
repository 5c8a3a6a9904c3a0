"""CORS by the setting, health, presigned URLs, error documents."""

import datetime

import boto3
from botocore.config import Config

from conftest import is_error, make_boto, xml
from lib.server import ACCESS_KEY, SECRET

ORIGIN = ("Origin", "https://app.example")


def test_preflight(raw, bucket):
    path = "/%s/k" % bucket
    headers = [
        ORIGIN,
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "authorization,x-amz-date"),
    ]
    r = raw.request("OPTIONS", path, b"", headers, auth="none")
    assert r.status == 200 and r["access-control-allow-origin"] == "*"
    assert "PUT" in r["access-control-allow-methods"]
    assert r["access-control-allow-headers"] == "authorization,x-amz-date"
    assert r["access-control-allow-credentials"] is None
    r = raw.request("OPTIONS", path, auth="none")
    is_error(r, "BadRequest", 400)
    r = raw.request("OPTIONS", path, b"", [ORIGIN], auth="none")
    is_error(r, "BadRequest", 400)


def test_cors_on_every_answer(raw, bucket):
    path = "/%s/k" % bucket
    raw.put(path, b"x")
    for r in (
        raw.get(path, [ORIGIN]),
        raw.get(path + "absent", [ORIGIN]),
        raw.get(path, [ORIGIN, ("If-None-Match", "*")]),
        raw.get(path, [ORIGIN], auth="none"),
        raw.request("PATCH", path, b"", [ORIGIN]),
    ):
        assert r["access-control-allow-origin"] == "*", r
        assert "ETag" in r["access-control-expose-headers"]
        assert r["access-control-allow-credentials"] is None
    assert raw.get(path)["access-control-allow-origin"] is None


def test_health(raw):
    for path in (
        "/-/health/live",
        "/-/health/ready",
        "/minio/health/live",
        "/minio/health/ready",
        "/minio/health/cluster",
        "/minio/health/cluster/read",
    ):
        assert raw.request("GET", path, auth="none").status == 200
        assert raw.request("HEAD", path, auth="none").status == 200
    assert raw.request("GET", "/-/nothing", auth="none").status == 404
    assert raw.request("GET", "/minio/nothing", auth="none").status == 404


def test_presigned(shared, raw, s3, bucket):
    for version in ("s3v4", "s3"):
        client = make_boto(shared, signature_version=version)
        url = client.generate_presigned_url(
            "put_object", Params={"Bucket": bucket, "Key": "a b"}, ExpiresIn=60
        )
        target = url.split("127.0.0.1:%d" % shared.port, 1)[1]
        r = raw.request("PUT", target, b"presigned", auth="none")
        assert r.status == 200, r
        url = client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": bucket,
                "Key": "a b",
                "ResponseContentDisposition": "attachment",
            },
            ExpiresIn=60,
        )
        target = url.split("127.0.0.1:%d" % shared.port, 1)[1]
        r = raw.request("GET", target, auth="none")
        assert r.body == b"presigned" and r["content-disposition"] == "attachment"
        bad = target.replace("a%20b", "other").replace("a+b", "other")
        is_error(raw.request("GET", bad, auth="none"), "SignatureDoesNotMatch", 403)
        assert raw.request("DELETE", target, auth="none").status == 403
        raw.delete("/%s/a%%20b" % bucket)


def test_signature_v2_of_a_bucket(shared, raw, bucket):
    """botocore signs "/bucket/" for a request line of "/bucket", since AWS wants
    it so; others sign what they send."""
    for target, signed in (
        ("/%s", "/%s"),
        ("/%s", "/%s/"),
        ("/%s/", "/%s/"),
        ("/%s?location", "/%s?location"),
        ("/%s?location", "/%s/?location"),
    ):
        r = raw.get(target % bucket, auth="v2", resource=signed % bucket)
        assert r.status == 200, (target, signed, r)
    for target, signed in (
        ("/%s/", "/%s"),
        ("/%s", "/%s//"),
        ("/%s/k", "/%s/k/"),
        ("/%s", "/%s/?location"),
    ):
        r = raw.get(target % bucket, auth="v2", resource=signed % bucket)
        is_error(r, "SignatureDoesNotMatch", 403)
    client = make_boto(shared, signature_version="s3")
    client.head_bucket(Bucket=bucket)
    url = client.generate_presigned_url("head_bucket", Params={"Bucket": bucket})
    target = url.split("127.0.0.1:%d" % shared.port, 1)[1]
    assert raw.request("HEAD", target, auth="none").status == 200


def test_virtual_host_presigned(shared, raw, bucket):
    client = boto3.client(
        "s3",
        endpoint_url="http://localhost:%d" % shared.port,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}),
    )
    url = client.generate_presigned_url(
        "put_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60
    )
    host, target = url.split("//", 1)[1].split("/", 1)
    assert host.startswith(bucket)
    r = raw.request("PUT", "/" + target, b"v", [("Host", host)], auth="none")
    assert r.status == 200, r
    assert raw.get("/%s/k" % bucket).body == b"v"


def test_error_documents_help(raw, bucket):
    r = raw.get("/%s/k" % bucket, tamper=lambda m, t, h, b: (m, t + "x", h, b))
    is_error(r, "SignatureDoesNotMatch", 403)
    t = xml(r)
    assert t.findtext("AWSAccessKeyId") == ACCESS_KEY
    assert t.findtext("StringToSign").startswith("AWS4-HMAC-SHA256\n")
    assert t.findtext("CanonicalRequest").startswith("GET\n/%s/kx\n" % bucket)
    old = datetime.datetime.utcnow() - datetime.timedelta(hours=1)
    r = raw.get("/%s/k" % bucket, now=old)
    is_error(r, "RequestTimeTooSkewed", 403)
    t = xml(r)
    assert t.findtext("ServerTime") and t.findtext("RequestTime")
    assert t.findtext("MaxAllowedSkewMilliseconds") == "900000"
    assert SECRET.encode() not in r.body


def test_any_region(shared, bucket, raw):
    client = make_boto(shared)
    for region in ("eu-central-1", "garage", "us-west-2"):
        c = boto3.client(
            "s3",
            endpoint_url=shared.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET,
            region_name=region,
        )
        c.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_admin_is_not_open(raw):
    for path in ("/-/admin/v1/status", "/-/metrics"):
        assert raw.request("GET", path, auth="none").status in (401, 403)
