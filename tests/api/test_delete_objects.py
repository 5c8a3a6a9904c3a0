"""DeleteObjects."""

import base64
import hashlib

from conftest import is_error, xml


def post(raw, bucket, body, headers=None):
    if headers is None:
        headers = [("Content-MD5", base64.b64encode(hashlib.md5(body).digest()).decode())]
    return raw.request("POST", "/%s?delete" % bucket, body, headers)


def doc(keys, quiet=False):
    items = "".join("<Object><Key>%s</Key></Object>" % k for k in keys)
    q = "<Quiet>true</Quiet>" if quiet else ""
    return ("<Delete>%s%s</Delete>" % (q, items)).encode()


def test_many(s3, bucket):
    keys = ["k%04d" % i for i in range(1000)]
    for k in keys[::10]:
        s3.put_object(Bucket=bucket, Key=k, Body=b"x")
    r = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys]})
    assert [d["Key"] for d in r["Deleted"]] == keys and "Errors" not in r
    assert "Contents" not in s3.list_objects(Bucket=bucket)


def test_quiet(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    r = s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}], "Quiet": True}
    )
    assert "Deleted" not in r and "Errors" not in r
    assert "Contents" not in s3.list_objects(Bucket=bucket)


def test_results_per_key(s3, raw, bucket):
    for k in ("a", "b", "c", "d"):
        s3.put_object(Bucket=bucket, Key=k, Body=k.encode())
    etag = hashlib.md5(b"b").hexdigest()
    body = (
        "<Delete xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
        "<Object><Key>a</Key><ETag>&quot;junk&quot;</ETag></Object>"
        "<Object><Key>b</Key><ETag>&quot;%s&quot;</ETag></Object>"
        "<Object><Key>c</Key><VersionId>null</VersionId></Object>"
        "<Object><Key>d</Key><VersionId>%s</VersionId></Object>"
        "<Object><Key>e</Key><ETag>x</ETag></Object>"
        "<Object><Key>%s</Key></Object>"
        "<Object><Key>d</Key><Size>1</Size></Object>"
        "</Delete>" % (etag, "v" * 32, "k" * 1025)
    ).encode()
    t = xml(post(raw, bucket, body))
    assert [e.findtext("Key") for e in t.findall("Deleted")] == ["b", "c"]
    assert t.find("Deleted/VersionId").text == "null"
    errors = {e.findtext("Key")[:2]: e.findtext("Code") for e in t.findall("Error")}
    assert errors["a"] == "PreconditionFailed" and errors["kk"] == "KeyTooLongError"
    assert errors["e"] == "NoSuchKey" and errors["d"] in ("NoSuchVersion", "NotImplemented")
    left = [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]]
    assert left == ["a", "d"]


def test_needs_a_digest(s3, raw, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    is_error(post(raw, bucket, doc(["a"]), []), "InvalidRequest", 400)
    wrong = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    r = post(raw, bucket, doc(["a"]), [("Content-MD5", wrong)])
    is_error(r, "BadDigest", 400)
    assert raw.get("/%s/a" % bucket).status == 200
    body = doc(["a"])
    sha = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert post(raw, bucket, body, [("x-amz-checksum-sha256", sha)]).status == 200
    assert raw.get("/%s/a" % bucket).status == 404


def test_bad_documents(raw, bucket):
    for body in (
        b"",
        b"junk",
        b"<Delete/>",
        b"<Delete></Delete>",
        b"<Other><Object><Key>a</Key></Object></Other>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key></Object>",
        b"<!DOCTYPE d [<!ENTITY x 'y'>]><Delete><Object><Key>&x;</Key></Object></Delete>",
        b"<Delete xmlns='http://other/'><Object><Key>a</Key></Object></Delete>",
        "<Delete><Object><Key>a</Key></Object></Delete>".encode("utf-16"),
        doc(["k%d" % i for i in range(1001)]),
        b"<Delete>" + b"<a>" * 10000 + b"</Delete>",
    ):
        is_error(post(raw, bucket, body), "MalformedXML", 400)


def test_too_long_a_document(raw, bucket):
    body = b"<Delete>" + b" " * (9 << 20) + b"</Delete>"
    r = post(raw, bucket, body)
    assert r.status == 400 and r.code in ("MaxMessageLengthExceeded", "MalformedXML")
    raw.close()


def test_odd_keys(s3, bucket):
    keys = ["a/../b", "ä€", "a b", "a&b<c>", "\x01\x02", "a+b", "../x"]
    good = []
    for k in keys:
        s3.put_object(Bucket=bucket, Key=k, Body=b"x")
        if "\x01" not in k:  # XML 1.0 cannot carry it
            good.append(k)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in good]})
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]] == ["\x01\x02"]
