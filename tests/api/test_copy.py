"""CopyObject: directives, conditions, sources that are not right."""

import hashlib
import os

import pytest

from conftest import is_error, xml

OLD, FUTURE = "Sat, 29 Oct 1994 19:43:31 GMT", "Sat, 29 Oct 2044 19:43:31 GMT"


def copy(raw, source, target, *headers):
    return raw.put(target, b"", [("x-amz-copy-source", source)] + list(headers))


@pytest.mark.parametrize("size", [0, 11, 70000, 3_000_000])
def test_copy(s3, bucket, size):
    data = os.urandom(size)
    s3.put_object(
        Bucket=bucket,
        Key="a",
        Body=data,
        Metadata={"m": "1"},
        ContentType="text/a",
        CacheControl="c",
        StorageClass="STANDARD_IA",
    )
    r = s3.copy_object(Bucket=bucket, Key="b", CopySource="%s/a" % bucket)
    assert r["CopyObjectResult"]["ETag"] == '"%s"' % hashlib.md5(data).hexdigest()
    assert r["CopyObjectResult"]["LastModified"]
    s3.delete_object(Bucket=bucket, Key="a")
    r = s3.get_object(Bucket=bucket, Key="b")
    assert r["Body"].read() == data and r["Metadata"] == {"m": "1"}
    assert r["ContentType"] == "text/a" and r["CacheControl"] == "c"
    assert "StorageClass" not in r  # never copied
    s3.delete_object(Bucket=bucket, Key="b")


def test_replace(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"m": "1"})
    s3.copy_object(
        Bucket=bucket,
        Key="b",
        CopySource={"Bucket": bucket, "Key": "a"},
        MetadataDirective="REPLACE",
        Metadata={"n": "2"},
        ContentType="text/b",
        StorageClass="GLACIER_IR",
    )
    r = s3.head_object(Bucket=bucket, Key="b")
    assert r["Metadata"] == {"n": "2"} and r["ContentType"] == "text/b"
    assert r["StorageClass"] == "GLACIER_IR"


def test_itself(s3, raw, bucket, expect):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"m": "1"})
    source = {"Bucket": bucket, "Key": "a"}
    with expect("InvalidRequest", 400):
        s3.copy_object(Bucket=bucket, Key="a", CopySource=source)
    s3.copy_object(
        Bucket=bucket,
        Key="a",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"m": "2"},
    )
    r = s3.get_object(Bucket=bucket, Key="a")
    assert r["Metadata"] == {"m": "2"} and r["Body"].read() == b"x"
    s3.copy_object(
        Bucket=bucket, Key="a", CopySource=source, StorageClass="REDUCED_REDUNDANCY"
    )
    r = s3.get_object(Bucket=bucket, Key="a")
    assert r["Metadata"] == {"m": "2"} and r["StorageClass"] == "REDUCED_REDUNDANCY"


@pytest.mark.parametrize("key", ["a b+c", "ä/€", "a%2Fb", "?versionId", "../x", "//"])
def test_odd_sources(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"odd")
    s3.copy_object(
        Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key}
    )
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"odd"


def test_bad_sources(raw, bucket, other):
    raw.put("/%s/a" % bucket, b"x")
    target = "/%s/target" % bucket
    for bad in ("", "/", bucket, "/" + bucket, bucket + "/", "//a", bucket + "/%00"):
        is_error(copy(raw, bad, target), "InvalidArgument", 400)
    for bad in (bucket + "/%ff", bucket + "/%zz", bucket + "/a?versionId="):
        is_error(copy(raw, bad, target), "InvalidArgument", 400)
    for bad in ("../a", "..%2f..%2fetc/passwd", "%2e%2e%2fa", "A_B/c"):
        assert copy(raw, bad, target).status in (400, 404)
    is_error(copy(raw, "no-such-bucket/a", target), "NoSuchBucket", 404)
    is_error(copy(raw, bucket + "/absent", target), "NoSuchKey", 404)
    is_error(copy(raw, bucket + "/%252e%252e", target), "NoSuchKey", 404)
    is_error(copy(raw, bucket + "/" + "k" * 1025, target), "KeyTooLongError", 400)
    r = copy(raw, bucket + "/a?versionId=" + "v" * 32, target)
    is_error(r, "NoSuchVersion", 404)
    is_error(copy(raw, bucket + "/a?versionId=x", target), "InvalidArgument", 400)
    assert copy(raw, bucket + "/a?versionId=null", target).status == 200
    assert raw.get(target).body == b"x"
    r = copy(raw, bucket + "/a", target, ("x-amz-metadata-directive", "junk"))
    is_error(r, "InvalidArgument", 400)


def test_source_conditions(raw, bucket):
    source, target = "/%s/a" % bucket, "/%s/b" % bucket
    etag = raw.put(source, b"x")["etag"]
    p = "x-amz-copy-source-if-"
    for name, value, status in (
        ("match", etag, 200),
        ("match", '"x"', 412),
        ("none-match", '"x"', 200),
        ("none-match", etag, 412),
        ("modified-since", OLD, 200),
        ("modified-since", FUTURE, 412),
        ("unmodified-since", FUTURE, 200),
        ("unmodified-since", OLD, 412),
    ):
        r = copy(raw, source, target, (p + name, value))
        assert r.status == status, (name, value, r)
        if status == 412:
            assert r.code == "PreconditionFailed"
    both = [(p + "match", etag), (p + "unmodified-since", OLD)]
    assert copy(raw, source, target, *both).status == 200
    both = [(p + "none-match", etag), (p + "modified-since", OLD)]
    assert copy(raw, source, target, *both).status == 412


def test_target_conditions(raw, bucket):
    source, target = "/%s/a" % bucket, "/%s/b" % bucket
    raw.put(source, b"x")
    star = ("If-None-Match", "*")
    assert copy(raw, source, target, star).status == 200
    is_error(copy(raw, source, target, star), "PreconditionFailed", 412)
    is_error(copy(raw, source, target, ("If-Match", '"x"')), "PreconditionFailed", 412)
    etag = raw.head(target)["etag"]
    assert copy(raw, source, target, ("If-Match", etag)).status == 200


def test_owners(s3, raw, bucket):
    owner = s3.list_buckets()["Owner"]["ID"]
    raw.put("/%s/a" % bucket, b"x")
    name = "x-amz-source-expected-bucket-owner"
    source, target = "/%s/a" % bucket, "/%s/b" % bucket
    is_error(copy(raw, source, target, (name, "123")), "AccessDenied", 403)
    assert copy(raw, source, target, (name, owner)).status == 200


def test_other_checksum(raw, bucket):
    source, target = "/%s/a" % bucket, "/%s/b" % bucket
    data = os.urandom(600_000)
    raw.put(source, data)
    import base64

    r = copy(raw, source, target, ("x-amz-checksum-algorithm", "SHA256"))
    want = base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert xml(r).findtext("ChecksumSHA256") == want
    assert xml(r).findtext("ChecksumType") == "FULL_OBJECT"
    r = raw.head(target, [("x-amz-checksum-mode", "ENABLED")])
    assert r["x-amz-checksum-sha256"] == want
    r = copy(raw, source, target, ("x-amz-checksum-algorithm", "CRC16"))
    is_error(r, "InvalidRequest", 400)


def test_presigned_needs_a_signed_source(raw, bucket):
    """A presigned PUT must not copy what an unsigned header names."""
    raw.put("/%s/a" % bucket, b"secret")
    url = raw.presign("PUT", "/%s/b" % bucket)
    r = raw.request(
        "PUT", url, b"", [("x-amz-copy-source", "/%s/a" % bucket)], auth="none"
    )
    is_error(r, "AccessDenied", 403)
    assert raw.head("/%s/b" % bucket).status == 404


def test_a_range_is_for_parts(raw, bucket):
    raw.put("/%s/a" % bucket, b"0123456789")
    for value in ("bytes=0-1", "junk", ""):
        r = copy(
            raw,
            "/%s/a" % bucket,
            "/%s/b" % bucket,
            ("x-amz-copy-source-range", value),
        )
        is_error(r, "InvalidArgument", 400)
        assert xml(r).findtext("ArgumentName") == "x-amz-copy-source-range"
    assert raw.head("/%s/b" % bucket).status == 404
