"""Buckets: create, head, delete, list, location, names."""

import pytest

from conftest import is_error, xml


def test_create_head_delete(s3, expect):
    s3.create_bucket(Bucket="bkt-life")
    r = s3.head_bucket(Bucket="bkt-life")
    assert r["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
    assert "bkt-life" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    r = s3.delete_bucket(Bucket="bkt-life")
    assert r["ResponseMetadata"]["HTTPStatusCode"] == 204
    with expect("404", 404):
        s3.head_bucket(Bucket="bkt-life")
    with expect("NoSuchBucket", 404):
        s3.delete_bucket(Bucket="bkt-life")
    with expect("NoSuchBucket", 404) as x:
        s3.list_objects(Bucket="bkt-life")
    assert x.error["Error"]["BucketName"] == "bkt-life"


def test_create_again_keeps_the_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.create_bucket(Bucket=bucket)  # us-east-1 allows its owner to
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_not_empty(s3, bucket, expect):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with expect("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "UPPER",
        "under_score",
        "-begin",
        "end-",
        ".begin",
        "end.",
        "a..b",
        "192.168.5.4",
        "xn--abc",
        "abc-s3alias",
        "abc--x-s3",
        "abc--ol-s3",
        "sthree-abc",
        "minio",
        "a b",
        "%C3%A4bc",
    ],
)
def test_bad_names(raw, name):
    path = "/" + name.replace(" ", "%20")
    if name == "minio":  # the reserved path is not S3
        assert raw.put(path).status in (400, 404)
        return
    is_error(raw.put(path), "InvalidBucketName", 400)
    is_error(raw.get(path), "InvalidBucketName", 400)


@pytest.mark.parametrize("name", ["abc", "a" * 63, "a.b-c", "0ab", "a.1.b"])
def test_good_names(raw, name):
    r = raw.put("/" + name)
    assert r.status == 200 and r["location"] == "/" + name
    assert raw.delete("/" + name).status == 204


def test_dots_are_no_bucket(raw):
    for path in ("/..", "/.", "//key", "//"):
        r = raw.request("GET", path)
        assert r.status == 400, r


def test_location(s3, raw, expect):
    s3.create_bucket(
        Bucket="bkt-eu", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    assert s3.get_bucket_location(Bucket="bkt-eu")["LocationConstraint"] == "eu-west-1"
    s3.create_bucket(Bucket="bkt-us")
    assert s3.get_bucket_location(Bucket="bkt-us")["LocationConstraint"] is None
    is_error(raw.put("/bkt-x", b"<not xml"), "MalformedXML", 400)
    is_error(raw.put("/bkt-x", b"<Other/>"), "MalformedXML", 400)
    long = b"<CreateBucketConfiguration><LocationConstraint>" + b"x" * 70
    long += b"</LocationConstraint></CreateBucketConfiguration>"
    assert raw.put("/bkt-x", long).status == 400
    is_error(raw.get("/bkt-x"), "NoSuchBucket", 404)


def test_create_refuses_what_is_not_there(raw):
    for header in (
        ("x-amz-acl", "public-read"),
        ("x-amz-bucket-object-lock-enabled", "true"),
        ("x-amz-object-ownership", "ObjectWriter"),
        ("x-amz-grant-read", "id=abc"),
    ):
        is_error(raw.put("/bkt-refused", headers=[header]), "NotImplemented", 501)
    is_error(raw.get("/bkt-refused"), "NoSuchBucket", 404)
    for header in (
        ("x-amz-acl", "private"),
        ("x-amz-bucket-object-lock-enabled", "false"),
        ("x-amz-object-ownership", "BucketOwnerEnforced"),
    ):
        assert raw.put("/bkt-fine", headers=[header]).status == 200
    is_error(
        raw.put("/bkt-junk", headers=[("x-amz-acl", "junk")]), "InvalidArgument", 400
    )


def test_list_paging(other):
    for i in range(5):
        assert other.put("/page-%d" % i).status == 200
    seen, token = [], ""
    for _ in range(10):
        r = other.get("/?max-buckets=2" + token)
        assert r.status == 200
        tree = xml(r)
        seen += [e.text for e in tree.iter("Name")]
        assert len(list(tree.iter("Bucket"))) <= 2
        token = tree.findtext("ContinuationToken")
        if token is None:
            break
        token = "&continuation-token=" + token
    assert seen == ["page-%d" % i for i in range(5)]
    tree = xml(other.get("/?prefix=page-3"))
    assert [e.text for e in tree.iter("Name")] == ["page-3"]
    assert tree.findtext("Prefix") == "page-3"
    assert xml(other.get("/?bucket-region=nowhere-1")).find(".//Name") is None
    for bad in ("0", "-1", "10001", "x", ""):
        is_error(other.get("/?max-buckets=" + bad), "InvalidArgument", 400)
    is_error(other.get("/?continuation-token=junk"), "InvalidArgument", 400)


def test_buckets_are_private(s3, bucket, other, expect):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    b = other.boto
    denied = [
        lambda: b.list_objects(Bucket=bucket),
        lambda: b.list_objects_v2(Bucket=bucket),
        lambda: b.get_object(Bucket=bucket, Key="k"),
        lambda: b.get_object(Bucket=bucket, Key="absent"),
        lambda: b.put_object(Bucket=bucket, Key="k", Body=b"y"),
        lambda: b.delete_object(Bucket=bucket, Key="k"),
        lambda: b.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}),
        lambda: b.delete_bucket(Bucket=bucket),
        lambda: b.get_bucket_location(Bucket=bucket),
        lambda: b.create_multipart_upload(Bucket=bucket, Key="k"),
        lambda: b.list_multipart_uploads(Bucket=bucket),
        lambda: b.get_object_acl(Bucket=bucket, Key="k"),
        lambda: b.get_object_attributes(
            Bucket=bucket, Key="k", ObjectAttributes=["ETag"]
        ),
        lambda: b.get_bucket_versioning(Bucket=bucket),
    ]
    for call in denied:
        with expect("AccessDenied", 403):
            call()
    with expect("BucketAlreadyExists", 409):
        b.create_bucket(Bucket=bucket)
    with expect("403", 403):
        b.head_bucket(Bucket=bucket)
    assert other.put("/others-own").status == 200
    with expect("AccessDenied", 403):
        b.copy_object(
            Bucket="others-own", Key="stolen", CopySource={"Bucket": bucket, "Key": "k"}
        )
    assert b.list_objects(Bucket="others-own").get("Contents") is None
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_anonymous_gets_nothing(raw, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for method, target in (
        ("GET", "/"),
        ("GET", "/" + bucket),
        ("GET", "/%s?versions" % bucket),
        ("GET", "/%s?uploads" % bucket),
        ("GET", "/%s/k" % bucket),
        ("GET", "/%s/k?attributes" % bucket),
        ("PUT", "/%s/k" % bucket),
        ("DELETE", "/%s/k" % bucket),
        ("POST", "/%s?delete" % bucket),
        ("GET", "/no-such-bucket"),
        ("PUT", "/new-bucket"),
    ):
        is_error(raw.request(method, target, auth="none"), "AccessDenied", 403)
    assert raw.request("HEAD", "/%s/k" % bucket, auth="none").status == 403


def test_expected_bucket_owner(s3, raw, bucket):
    owner = s3.list_buckets()["Owner"]["ID"]
    name = "x-amz-expected-bucket-owner"
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    path = "/%s/k" % bucket
    assert raw.get(path, [(name, owner)]).status == 200
    for value in ("123456789012", "", owner[:-1]):
        is_error(raw.get(path, [(name, value)]), "AccessDenied", 403)
        is_error(raw.put(path, b"y", [(name, value)]), "AccessDenied", 403)
        is_error(raw.delete(path, [(name, value)]), "AccessDenied", 403)
    assert raw.get(path).body == b"x"


def test_virtual_host_style(raw, bucket, shared):
    host = ("Host", "%s.localhost:%d" % (bucket, shared.port))
    assert raw.put("/dir/key", b"hello", [host]).status == 200
    assert raw.get("/%s/dir/key" % bucket).body == b"hello"
    assert raw.get("/dir/key", [host]).body == b"hello"
    assert raw.put("/-/key", b"minus", [host]).status == 200
    assert raw.get("/%s/-/key" % bucket).body == b"minus"
    assert b"<Key>dir/key</Key>" in raw.get("/", [host]).body
    assert raw.head("/", [host]).status == 200
