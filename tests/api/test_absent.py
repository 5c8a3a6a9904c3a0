"""What is not there tells the truth; setting it is refused."""

import pytest

from conftest import is_error, xml


@pytest.mark.parametrize(
    "query,code",
    [
        ("policy", "NoSuchBucketPolicy"),
        ("policyStatus", "NoSuchBucketPolicy"),
        ("cors", "NoSuchCORSConfiguration"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("tagging", "NoSuchTagSet"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("ownershipControls", "OwnershipControlsNotFoundError"),
        ("inventory&id=x", "NoSuchConfiguration"),
        ("analytics&id=x", "NoSuchConfiguration"),
        ("metrics&id=x", "NoSuchConfiguration"),
        ("intelligent-tiering&id=x", "NoSuchConfiguration"),
    ],
)
def test_not_found(raw, bucket, query, code):
    is_error(raw.get("/%s?%s" % (bucket, query)), code, 404)


@pytest.mark.parametrize(
    "query,root",
    [
        ("versioning", "VersioningConfiguration"),
        ("logging", "BucketLoggingStatus"),
        ("notification", "NotificationConfiguration"),
        ("accelerate", "AccelerateConfiguration"),
        ("requestPayment", "RequestPaymentConfiguration"),
        ("inventory", "ListInventoryConfigurationsResult"),
        ("metrics", "ListMetricsConfigurationsResult"),
    ],
)
def test_empty(raw, bucket, query, root):
    r = raw.get("/%s?%s" % (bucket, query))
    assert r.status == 200 and xml(r).tag == root


@pytest.mark.parametrize(
    "query",
    "versioning policy cors lifecycle tagging website encryption replication "
    "object-lock publicAccessBlock ownershipControls notification logging accelerate "
    "requestPayment inventory&id=x analytics&id=x metrics&id=x "
    "intelligent-tiering&id=x".split(),
)
def test_settings_of_a_bucket_are_refused(raw, bucket, query):
    is_error(raw.put("/%s?%s" % (bucket, query), b"<x/>"), "NotImplemented", 501)
    assert raw.delete("/%s?%s" % (bucket, query)).status in (204, 405)
    assert raw.head("/" + bucket).status == 200  # not taken for DeleteBucket


@pytest.mark.parametrize(
    "method,query",
    [
        ("PUT", "tagging"),
        ("PUT", "retention"),
        ("PUT", "legal-hold"),
        ("PUT", "renameObject"),
        ("POST", "select&select-type=2"),
        ("POST", "restore"),
        ("GET", "torrent"),
    ],
)
def test_settings_of_an_object_are_refused(raw, bucket, method, query):
    path = "/%s/k" % bucket
    raw.put(path, b"data")
    is_error(raw.request(method, path + "?" + query, b""), "NotImplemented", 501)
    assert raw.get(path).body == b"data"


def test_unknown_subresources_do_no_harm(raw, bucket):
    path = "/%s/k" % bucket
    raw.put(path, b"data")
    for query in ("retention", "legal-hold", "acl", "attributes", "torrent"):
        raw.delete(path + "?" + query)
        assert raw.get(path).body == b"data"


def test_acl(s3, raw, bucket):
    raw.put("/%s/k" % bucket, b"x")
    for r in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        (grant,) = r["Grants"]
        assert grant["Permission"] == "FULL_CONTROL"
        assert grant["Grantee"]["Type"] == "CanonicalUser"
        assert grant["Grantee"]["ID"] == r["Owner"]["ID"]
    is_error(raw.get("/%s/absent?acl" % bucket), "NoSuchKey", 404)
    for path in ("/%s?acl" % bucket, "/%s/k?acl" % bucket):
        assert raw.put(path, b"", [("x-amz-acl", "private")]).status == 200
        r = raw.put(path, b"", [("x-amz-acl", "public-read")])
        is_error(r, "NotImplemented", 501)
        is_error(raw.put(path, b"<AccessControlPolicy/>"), "NotImplemented", 501)
    assert raw.get("/%s/k" % bucket).body == b"x"


def test_object_tags_and_locks(raw, bucket):
    path = "/%s/k" % bucket
    raw.put(path, b"x")
    r = raw.get(path + "?tagging")
    assert r.status == 200 and xml(r).find("TagSet") is not None
    assert raw.delete(path + "?tagging").status == 204
    assert raw.get(path).body == b"x"
    is_error(raw.get(path + "?retention"), "InvalidRequest", 400)
    is_error(raw.get(path + "?legal-hold"), "InvalidRequest", 400)
    is_error(raw.get("/%s/absent?tagging" % bucket), "NoSuchKey", 404)


@pytest.mark.parametrize(
    "header",
    [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-grant-read", "id=x"),
        ("x-amz-acl", "public-read"),
        ("x-amz-acl", "authenticated-read"),
        ("x-amz-write-offset-bytes", "0"),
    ],
)
def test_headers_are_refused_never_ignored(raw, bucket, header):
    path = "/%s/k" % bucket
    raw.put(path, b"old")
    r = raw.put(path, b"new", [header])
    is_error(r, "NotImplemented", 501)
    assert header[0].lower() in xml(r).findtext("Message").lower()
    r = raw.put(path + "2", b"", [header, ("x-amz-copy-source", path)])
    is_error(r, "NotImplemented", 501)
    r = raw.request("POST", path + "?uploads", b"", [header])
    is_error(r, "NotImplemented", 501)
    # in a presigned URL too
    url = raw.presign("PUT", path, params=[header])
    is_error(raw.request("PUT", url, b"new", auth="none"), "NotImplemented", 501)
    assert raw.get(path).body == b"old"


def test_headers_that_change_nothing(raw, bucket):
    path = "/%s/k" % bucket
    for acl in ("private", "bucket-owner-full-control", "bucket-owner-read"):
        assert raw.put(path, b"x", [("x-amz-acl", acl)]).status == 200
    is_error(raw.put(path, b"x", [("x-amz-acl", "junk")]), "InvalidArgument", 400)
    sse = ("x-amz-server-side-encryption-customer-algorithm", "AES256")
    is_error(raw.get(path, [sse]), "InvalidRequest", 400)


def test_form_upload(raw, bucket):
    r = raw.request("POST", "/" + bucket, b"x", [("Content-Type", "multipart/form-data")])
    is_error(r, "NotImplemented", 501)


def test_attributes(s3, raw, bucket, expect):
    path = "/%s/k?attributes" % bucket
    raw.put("/%s/k" % bucket, b"hello")
    name = "x-amz-object-attributes"
    r = raw.get(path, [(name, "ETag,ObjectSize, StorageClass,Checksum,ObjectParts")])
    t = xml(r)
    assert t.findtext("ETag") == "5d41402abc4b2a76b9719d911017c592"
    assert t.findtext("ObjectSize") == "5" and t.findtext("StorageClass") == "STANDARD"
    assert t.findtext("Checksum/ChecksumCRC64NVME") and t.find("ObjectParts") is None
    assert r["last-modified"]
    t = xml(raw.get(path, [(name, "ETag")]))
    assert [e.tag for e in t] == ["ETag"]
    is_error(raw.get(path), "InvalidArgument", 400)
    is_error(raw.get(path, [(name, "Junk")]), "InvalidArgument", 400)
    is_error(raw.get(path, [(name, "ETag"), ("x-amz-max-parts", "x")]), "InvalidArgument", 400)
    r = raw.get("/%s/absent?attributes" % bucket, [(name, "ETag")])
    is_error(r, "NoSuchKey", 404)
