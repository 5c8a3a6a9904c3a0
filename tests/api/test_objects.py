"""Put, get, head, delete; keys, metadata, ranges, part numbers, overrides."""

import base64
import hashlib
import os
import time

import pytest

from conftest import is_error


def b64(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "size", [0, 1, 4095, 65536, 262143, 262144, 262145, 1048576, 1048577, 5_000_000]
)
def test_sizes(s3, bucket, size):
    data = os.urandom(size)
    r = s3.put_object(Bucket=bucket, Key="k", Body=data)
    assert r["ETag"] == '"%s"' % hashlib.md5(data).hexdigest()
    r = s3.get_object(Bucket=bucket, Key="k")
    assert r["ContentLength"] == size and r["Body"].read() == data
    assert r["ContentType"] == "binary/octet-stream"
    assert r["AcceptRanges"] == "bytes"
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == size


def test_overwrite_and_delete(s3, bucket, expect):
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    s3.put_object(Bucket=bucket, Key="k", Body=b"two!")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two!"
    for _ in range(2):  # deleting is idempotent
        r = s3.delete_object(Bucket=bucket, Key="k")
        assert r["ResponseMetadata"]["HTTPStatusCode"] == 204
    with expect("NoSuchKey", 404) as x:
        s3.get_object(Bucket=bucket, Key="k")
    assert x.error["Error"]["Key"] == "k"
    with expect("404", 404):
        s3.head_object(Bucket=bucket, Key="k")
    with expect("NoSuchBucket", 404):
        s3.put_object(Bucket="no-such-bucket", Key="k", Body=b"")


@pytest.mark.parametrize(
    "key",
    [
        ".",
        "..",
        "a/../b",
        "../x",
        "/lead",
        "//",
        "a//b",
        "dir/",
        "back\\slash",
        "sp ace",
        "plus+plus",
        "per%cent",
        "a%2Fb",
        "quest?ion",
        "ha#sh",
        "am&p;<x>\"'",
        "\x01\x02\x1f\x7f",
        "new\nline\r",
        "ä€😀",
        "-/x",
        "k" * 1024,
        "ü" * 512,
        "*",
        "~tilde",
        "a=b,c;d:e@f",
        "[]{}|^`",
    ],
)
def test_keys(s3, raw, bucket, key):
    data = key.encode()
    from urllib.parse import quote

    path = "/%s/%s" % (bucket, quote(key, safe="/~"))
    assert raw.put(path, data).status == 200
    assert raw.get(path).body == data
    assert raw.head(path).status == 200
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [o["Key"] for o in listed] == [key]
    assert raw.delete(path).status == 204
    assert raw.head(path).status == 404


def test_bad_keys(raw, bucket):
    is_error(raw.put("/%s/%s" % (bucket, "k" * 1025), b"x"), "KeyTooLongError", 400)
    is_error(raw.get("/%s/%s" % (bucket, "k" * 1025)), "KeyTooLongError", 400)
    for bad in ("%00", "a%00b", "%ff", "%c3%28", "%zz", "%4", "%"):
        r = raw.request("PUT", "/%s/%s" % (bucket, bad), b"x")
        assert r.status == 400, (bad, r)
    assert b"<Contents>" not in raw.get("/" + bucket).body


def test_metadata(s3, bucket):
    s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"x",
        Metadata={"One": "1", "empty": "", "two-words": "a b"},
        ContentType="text/x-test; charset=utf-8",
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="ä"'.encode().decode("latin-1"),
        ContentEncoding="gzip",
        ContentLanguage="de, en",
        Expires="Thu, 01 Dec 2044 16:00:00 GMT",
        WebsiteRedirectLocation="/other",
        StorageClass="STANDARD_IA",
    )
    for r in (
        s3.get_object(Bucket=bucket, Key="k"),
        s3.head_object(Bucket=bucket, Key="k"),
    ):
        assert r["Metadata"] == {"one": "1", "empty": "", "two-words": "a b"}
        assert r["ContentType"] == "text/x-test; charset=utf-8"
        assert r["CacheControl"] == "max-age=60"
        assert r["ContentEncoding"] == "gzip"
        assert r["ContentLanguage"] == "de, en"
        assert r["WebsiteRedirectLocation"] == "/other"
        assert r["StorageClass"] == "STANDARD_IA"
        assert r["Expires"].year == 2044
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    r = s3.head_object(Bucket=bucket, Key="k")
    assert r["Metadata"] == {} and "StorageClass" not in r
    assert "CacheControl" not in r


def test_metadata_not_ascii(raw, bucket):
    path = "/%s/k" % bucket
    r = raw.put(path, b"x", [("x-amz-meta-a", "=?UTF-8?B?Z3LDvG4=?=")])
    assert r.status == 200
    assert raw.get(path)["x-amz-meta-a"] == "=?UTF-8?B?Z3LDvG4=?="


def test_metadata_limit(raw, bucket):
    path = "/%s/k" % bucket
    assert raw.put(path, b"x", [("x-amz-meta-ab", "v" * 2046)]).status == 200
    r = raw.put(path, b"y", [("x-amz-meta-ab", "v" * 2047)])
    is_error(r, "MetadataTooLarge", 400)
    many = [("x-amz-meta-%04d" % i, "v" * 60) for i in range(33)]
    is_error(raw.put(path, b"y", many), "MetadataTooLarge", 400)
    r = raw.put(path, b"y", [("Cache-Control", "c" * 9000)])
    is_error(r, "MetadataTooLarge", 400)
    assert raw.get(path).body == b"x"


def test_bad_storage_class(raw, bucket):
    r = raw.put("/%s/k" % bucket, b"x", [("x-amz-storage-class", "FLOPPY")])
    is_error(r, "InvalidStorageClass", 400)
    assert raw.head("/%s/k" % bucket).status == 404


def test_content_encoding_loses_aws_chunked(raw, bucket):
    path = "/%s/k" % bucket
    for sent, kept in (
        ("aws-chunked", None),
        ("gzip,aws-chunked", "gzip"),
        ("AWS-Chunked, gzip", "gzip"),
        ("br, aws-chunked ,gzip", "br, gzip"),
        ("a,b , c", "a,b , c"),
    ):
        assert raw.put(path, b"x", [("Content-Encoding", sent)]).status == 200
        assert raw.get(path)["content-encoding"] == kept


DATA = bytes(range(256)) * 40


@pytest.mark.parametrize(
    "header,status,first,last",
    [
        ("bytes=0-0", 206, 0, 0),
        ("bytes=0-99", 206, 0, 99),
        ("bytes=100-", 206, 100, 10239),
        ("bytes=-10", 206, 10230, 10239),
        ("bytes=-99999", 206, 0, 10239),
        ("bytes=10239-99999", 206, 10239, 10239),
        ("bytes=5000-6000", 206, 5000, 6000),
        ("bytes=0-1,5-6", 200, 0, 10239),
        ("bytes=5-4", 200, 0, 10239),
        ("bytes=x-y", 200, 0, 10239),
        ("lines=0-1", 200, 0, 10239),
        ("bytes=10240-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
    ],
)
def test_ranges(raw, bucket, header, status, first, last):
    path = "/%s/k" % bucket
    assert raw.put(path, DATA).status == 200
    r, h = raw.get(path, [("Range", header)]), raw.head(path, [("Range", header)])
    assert r.status == status and h.status == status
    if status == 416:
        assert r.code == "InvalidRange"
        assert r["content-range"] == "bytes */10240"
        assert b"<ActualObjectSize>10240<" in r.body
        return
    assert r.body == DATA[first : last + 1]
    assert h["content-length"] == str(last - first + 1)
    want = "bytes %d-%d/10240" % (first, last) if status == 206 else None
    assert r["content-range"] == want and h["content-range"] == want


def test_range_of_nothing(raw, bucket):
    path = "/%s/k" % bucket
    assert raw.put(path, b"").status == 200
    for header in ("bytes=0-", "bytes=-5", "bytes=0-0"):
        is_error(raw.get(path, [("Range", header)]), "InvalidRange", 416)


def test_ranges_of_a_large_object(s3, bucket):
    data = os.urandom(3_000_000)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    for first, last in ((0, 2_999_999), (262_143, 262_144), (65_535, 1_900_001)):
        r = s3.get_object(Bucket=bucket, Key="k", Range="bytes=%d-%d" % (first, last))
        assert r["Body"].read() == data[first : last + 1]


def test_if_range(raw, bucket):
    path = "/%s/k" % bucket
    r = raw.put(path, DATA)
    etag, part = r["etag"], ("Range", "bytes=0-3")
    assert raw.get(path, [part, ("If-Range", etag)]).status == 206
    assert raw.get(path, [part, ("If-Range", '"other"')]).status == 200
    date = raw.head(path)["last-modified"]
    assert raw.get(path, [part, ("If-Range", date)]).status == 206
    old = "Thu, 01 Jan 1970 00:00:00 GMT"
    assert raw.get(path, [part, ("If-Range", old)]).status == 200


def test_part_number_of_a_plain_object(raw, bucket):
    path = "/%s/k" % bucket
    raw.put(path, DATA)
    r = raw.get(path + "?partNumber=1")
    assert r.status == 206 and r.body == DATA
    assert r["x-amz-mp-parts-count"] is None
    is_error(raw.get(path + "?partNumber=2"), "InvalidPartNumber", 416)
    for bad in ("0", "-1", "10001", "x", ""):
        is_error(raw.get(path + "?partNumber=" + bad), "InvalidArgument", 400)
    r = raw.get(path + "?partNumber=1", [("Range", "bytes=0-1")])
    is_error(r, "InvalidRequest", 400)


def test_response_overrides(s3, raw, bucket):
    s3.put_object(
        Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain", CacheControl="a"
    )
    r = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseContentType="foo/bar",
        ResponseContentLanguage="esperanto",
        ResponseCacheControl="no-cache",
        ResponseContentDisposition="bla",
        ResponseContentEncoding="aaa",
        ResponseExpires="Thu, 01 Dec 2044 16:00:00 GMT",
    )
    h = r["ResponseMetadata"]["HTTPHeaders"]
    assert h["content-type"] == "foo/bar" and h["content-language"] == "esperanto"
    assert h["cache-control"] == "no-cache" and h["content-encoding"] == "aaa"
    assert h["content-disposition"] == "bla" and "2044" in h["expires"]
    # no header can be smuggled in
    evil = "?response-content-type=a%0d%0aX-Evil:%201&response-expires=%0a%0aboo"
    r = raw.get("/%s/k%s" % (bucket, evil))
    assert r.status == 200 and r["x-evil"] is None and r.body == b"x"
    r = raw.head("/%s/k?response-content-type=foo/bar" % bucket)
    assert r["content-type"] == "foo/bar"


def test_last_modified_agrees(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    head = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    get = s3.get_object(Bucket=bucket, Key="k")["LastModified"]
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]["LastModified"]
    assert head == get == listed
    assert abs(head.timestamp() - time.time()) < 60


def test_version_null(s3, raw, bucket):
    path = "/%s/k" % bucket
    raw.put(path, b"x")
    assert raw.get(path + "?versionId=null").body == b"x"
    is_error(raw.get(path + "?versionId=junk"), "InvalidArgument", 400)
    is_error(raw.get(path + "?versionId=" + "a" * 32), "NoSuchVersion", 404)
    is_error(raw.delete(path + "?versionId=" + "a" * 32), "NoSuchVersion", 404)
    r = raw.delete(path + "?versionId=null")
    assert r.status == 204 and r["x-amz-version-id"] == "null"
    assert raw.head(path).status == 404


def test_length_is_required(raw, bucket):
    path = "/%s/k" % bucket
    headers = []
    raw.sign_v4("PUT", path, headers, payload="UNSIGNED-PAYLOAD")
    r = raw.raw(raw.encode("PUT", path, headers))
    is_error(r, "MissingContentLength", 411)
    raw.close()


def test_chunked_without_a_length(raw, bucket):
    path = "/%s/k" % bucket
    for more in ([], [("x-amz-decoded-content-length", "1")]):
        headers = [("Transfer-Encoding", "chunked")] + more
        raw.sign_v4("PUT", path, headers, payload="UNSIGNED-PAYLOAD")
        r = raw.raw(raw.encode("PUT", path, headers, b"1\r\nx\r\n0\r\n\r\n"))
        assert r.status == 200 and raw.get(path).body == b"x"
    headers = [("Transfer-Encoding", "chunked"), ("x-amz-decoded-content-length", "2")]
    raw.sign_v4("PUT", path, headers, payload="UNSIGNED-PAYLOAD")
    r = raw.raw(raw.encode("PUT", path, headers, b"1\r\ny\r\n0\r\n\r\n"))
    assert r.status == 400 and raw.get(path).body == b"x"


def test_too_large(raw, bucket):
    path = "/%s/k" % bucket
    headers = [("Content-Length", str(6 << 40))]
    raw.sign_v4("PUT", path, headers, payload="UNSIGNED-PAYLOAD")
    r = raw.raw(raw.encode("PUT", path, headers))
    is_error(r, "EntityTooLarge", 400)
    raw.close()


def test_failed_put_keeps_the_old_object(raw, bucket):
    path = "/%s/k" % bucket
    for size in (100, 2_000_000):
        raw.put(path, b"old")
        data = os.urandom(size)
        bad = [("Content-MD5", b64(hashlib.md5(b"other").digest()))]
        is_error(raw.put(path, data, bad), "BadDigest", 400)
        r = raw.put(path, data, payload=hashlib.sha256(b"other").hexdigest())
        is_error(r, "XAmzContentSHA256Mismatch", 400)
        assert raw.get(path).body == b"old"
        # the client breaks off in the middle
        c = raw.connect()
        headers = [("Content-Length", str(size))]
        raw.sign_v4("PUT", path, headers, payload="UNSIGNED-PAYLOAD")
        c.send(raw.encode("PUT", path, headers, data[: size // 2]))
        c.close()
        assert raw.get(path).body == b"old"


def test_methods_that_are_not_there(raw, bucket):
    is_error(raw.request("PATCH", "/%s/k" % bucket), "MethodNotAllowed", 405)
    is_error(raw.request("POST", "/%s/k" % bucket), "MethodNotAllowed", 405)
    is_error(raw.put("/"), "MethodNotAllowed", 405)


def test_request_ids(raw, bucket):
    r = raw.get("/%s/absent" % bucket)
    assert r["server"] == "Creel" and len(r["x-amz-request-id"]) >= 16
    assert r["x-amz-id-2"]
    assert ("<RequestId>%s</RequestId>" % r["x-amz-request-id"]).encode() in r.body
    assert r["content-type"] == "application/xml"
    assert raw.get("/%s/absent" % bucket)["x-amz-request-id"] != r["x-amz-request-id"]


def test_error_resource_is_escaped(raw, bucket):
    r = raw.get("/%s/%%3Cscript%%3E" % bucket)
    assert r.status == 404 and b"<script>" not in r.body
