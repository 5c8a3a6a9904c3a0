"""aws s3 and aws s3api of Debian 12."""

import base64
import hashlib
import json
import os

import pytest

from conftest import MIB, digest, sh


class Aws:
    def __init__(self, endpoint, home):
        self.endpoint, self.env = endpoint, endpoint.env(home)

    def __call__(self, *args, **kw):
        command = ["/usr/bin/aws", "--endpoint-url", self.endpoint.url] + list(args)
        return sh(command, self.env, **kw)

    def api(self, *args, **kw):
        text = self("s3api", *args, **kw)
        return json.loads(text) if text.strip() else None


@pytest.fixture
def aws(endpoint, tmp_path):
    return Aws(endpoint, tmp_path)


@pytest.fixture
def bucket(endpoint, aws):
    name = endpoint.bucket_name("aws")
    aws("s3", "mb", "s3://" + name)
    yield name
    aws("s3", "rb", "--force", "s3://" + name, check=False)


def test_cp_recursive_there_and_back(aws, bucket, tree, tmp_path):
    aws("s3", "cp", "--recursive", tree, "s3://%s/a/b" % bucket)
    aws("s3", "cp", "--recursive", "s3://%s/a/b" % bucket, tmp_path / "back")
    assert digest(tmp_path / "back") == digest(tree)


def test_sync_is_idempotent_and_deletes(aws, bucket, tree, tmp_path):
    aws("s3", "sync", tree, "s3://" + bucket)
    assert "upload" not in aws("s3", "sync", tree, "s3://" + bucket)
    there = tmp_path / "there"
    aws("s3", "sync", "s3://" + bucket, there)
    assert digest(there) == digest(tree)
    os.unlink(there / "many/007")
    (there / "new").write_bytes(b"new")
    out = aws("s3", "sync", "--delete", there, "s3://" + bucket)
    assert "delete: s3://%s/many/007" % bucket in out
    aws("s3", "sync", "--delete", "s3://" + bucket, tmp_path / "again")
    assert digest(tmp_path / "again") == digest(there)


def test_ls_mv_rm_rb(aws, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"12345")
    aws("s3", "cp", tmp_path / "f", "s3://%s/dir/f" % bucket)
    assert "PRE dir/" in aws("s3", "ls", "s3://" + bucket)
    assert bucket in aws("s3", "ls")
    aws("s3", "mv", "s3://%s/dir/f" % bucket, "s3://%s/g" % bucket)
    out = aws("s3", "ls", "--recursive", "--summarize", "s3://" + bucket)
    assert "dir/f" not in out and "Total Objects: 1" in out
    assert "Total Size: 5" in out
    code, out = aws("s3", "rb", "s3://" + bucket, check=False)
    assert code != 0 and "BucketNotEmpty" in out
    aws("s3", "rm", "s3://%s/g" % bucket)
    aws("s3", "rb", "s3://" + bucket)
    code, out = aws("s3", "ls", "s3://" + bucket, check=False)
    assert code != 0 and "NoSuchBucket" in out


def test_streams(aws, bucket):
    data = os.urandom(9 * MIB)
    aws("s3", "cp", "-", "s3://%s/stream" % bucket, input=data)
    back = aws.endpoint.server.data + ".stream"
    try:
        sh(["bash", "-c", "aws --endpoint-url %s s3 cp s3://%s/stream - >%s"
            % (aws.endpoint.url, bucket, back)], aws.env)  # fmt: skip
        with open(back, "rb") as f:
            assert f.read() == data
    finally:
        os.unlink(back)


def test_presign(aws, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"presigned")
    aws("s3", "cp", tmp_path / "f", "s3://%s/f + x" % bucket)
    url = aws("s3", "presign", "s3://%s/f + x" % bucket).strip()
    assert sh(["curl", "-sS", "--fail", url], aws.env) == "presigned"
    code, _ = sh(["curl", "-sS", "--fail", url + "0"], aws.env, check=False)
    assert code == 22


def test_metadata_and_ranges(aws, bucket, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 16)
    put = aws.api(
        "put-object", "--bucket", bucket, "--key", "k", "--body", body,
        "--metadata", "one=1,two=zwei", "--content-type", "text/x-test",
        "--cache-control", "no-cache", "--content-md5",
        base64.b64encode(hashlib.md5(body.read_bytes()).digest()).decode(),
    )  # fmt: skip
    assert put["ETag"] == '"%s"' % hashlib.md5(body.read_bytes()).hexdigest()
    head = aws.api("head-object", "--bucket", bucket, "--key", "k")
    assert head["Metadata"] == {"one": "1", "two": "zwei"}
    assert head["ContentType"] == "text/x-test"
    assert head["CacheControl"] == "no-cache"
    assert head["ContentLength"] == 4096
    part = tmp_path / "part"
    got = aws.api(
        "get-object", "--bucket", bucket, "--key", "k", "--range", "bytes=10-19", part
    )
    assert got["ContentRange"] == "bytes 10-19/4096"
    assert part.read_bytes() == body.read_bytes()[10:20]


def test_copy_object_replaces_metadata(aws, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"copy me")
    aws.api("put-object", "--bucket", bucket, "--key", "a b", "--body", tmp_path / "f",
            "--metadata", "x=1")  # fmt: skip
    aws.api("copy-object", "--bucket", bucket, "--key", "c", "--copy-source",
            bucket + "/a b")  # fmt: skip
    assert aws.api("head-object", "--bucket", bucket, "--key", "c")["Metadata"] == {
        "x": "1"
    }
    aws.api("copy-object", "--bucket", bucket, "--key", "c", "--copy-source",
            bucket + "/a b", "--metadata-directive", "REPLACE",
            "--metadata", "y=2")  # fmt: skip
    assert aws.api("head-object", "--bucket", bucket, "--key", "c")["Metadata"] == {
        "y": "2"
    }


def test_listing_pages_and_prefixes(aws, bucket, tree):
    aws("s3", "sync", tree, "s3://" + bucket)
    every = aws.api(
        "list-objects-v2", "--bucket", bucket, "--page-size", "7", "--query",
        "Contents[].Key",
    )  # fmt: skip
    assert sorted(every, key=lambda k: k.encode()) == every
    assert set(every) == set(digest(tree))
    top = aws.api("list-objects-v2", "--bucket", bucket, "--delimiter", "/")
    assert [p["Prefix"] for p in top["CommonPrefixes"]] == [
        "deep/",
        "many/",
        "uml\u00e4ut/",
    ]
    v1 = aws.api(
        "list-objects", "--bucket", bucket, "--page-size", "9", "--query",
        "Contents[].Key",
    )  # fmt: skip
    assert v1 == every


def test_multipart_by_hand(aws, bucket, tmp_path):
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"]
    up = aws.api("create-multipart-upload", "--bucket", bucket, "--key", "m")
    done = []
    for n, data in enumerate(parts, 1):
        (tmp_path / "p").write_bytes(data)
        r = aws.api("upload-part", "--bucket", bucket, "--key", "m", "--upload-id",
                    up["UploadId"], "--part-number", str(n), "--body",
                    tmp_path / "p")  # fmt: skip
        done.append({"PartNumber": n, "ETag": r["ETag"]})
    listed = aws.api("list-parts", "--bucket", bucket, "--key", "m", "--upload-id",
                     up["UploadId"])  # fmt: skip
    assert [p["Size"] for p in listed["Parts"]] == [len(p) for p in parts]
    r = aws.api("complete-multipart-upload", "--bucket", bucket, "--key", "m",
                "--upload-id", up["UploadId"], "--multipart-upload",
                json.dumps({"Parts": done}))  # fmt: skip
    whole = hashlib.md5(b"".join(hashlib.md5(p).digest() for p in parts)).hexdigest()
    assert r["ETag"] == '"%s-3"' % whole
    aws.api("get-object", "--bucket", bucket, "--key", "m", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"".join(parts)
    up = aws.api("create-multipart-upload", "--bucket", bucket, "--key", "gone")
    pending = aws.api("list-multipart-uploads", "--bucket", bucket)["Uploads"]
    assert [u["Key"] for u in pending] == ["gone"]
    aws.api("abort-multipart-upload", "--bucket", bucket, "--key", "gone",
            "--upload-id", up["UploadId"])  # fmt: skip
    assert not (aws.api("list-multipart-uploads", "--bucket", bucket) or {}).get(
        "Uploads"
    )


def test_delete_objects(aws, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"f")
    for key in ("a", "b", "c&d"):
        aws("s3", "cp", tmp_path / "f", "s3://%s/%s" % (bucket, key))
    out = aws.api("delete-objects", "--bucket", bucket, "--delete", json.dumps(
        {"Objects": [{"Key": k} for k in ("a", "c&d", "never there")]}))  # fmt: skip
    assert sorted(d["Key"] for d in out["Deleted"]) == ["a", "c&d", "never there"]
    left = aws.api("list-objects-v2", "--bucket", bucket)["Contents"]
    assert [o["Key"] for o in left] == ["b"]


def test_errors_have_their_codes(aws, bucket):
    code, out = aws("s3api", "head-object", "--bucket", bucket, "--key", "no",
                    check=False)  # fmt: skip
    assert code != 0 and "404" in out
    code, out = aws("s3api", "get-object", "--bucket", bucket, "--key", "no",
                    "/dev/null", check=False)  # fmt: skip
    assert code != 0 and "NoSuchKey" in out
    code, out = aws("s3", "mb", "s3://UPPER_case", check=False)
    assert code != 0
    env = dict(aws.env, AWS_SECRET_ACCESS_KEY="wrong-wrong-wrong")
    code, out = sh(["/usr/bin/aws", "--endpoint-url", aws.endpoint.url, "s3", "ls"],
                   env, check=False)  # fmt: skip
    assert code != 0 and "SignatureDoesNotMatch" in out


def test_bucket_questions(aws, bucket):
    """Features that are not used are told truthfully."""
    assert aws.api("get-bucket-location", "--bucket", bucket)[
        "LocationConstraint"
    ] in (None, "us-east-1")
    assert not aws.api("get-bucket-versioning", "--bucket", bucket)
    acl = aws.api("get-bucket-acl", "--bucket", bucket)
    assert acl["Grants"][0]["Permission"] == "FULL_CONTROL"
    code, out = aws("s3api", "get-bucket-policy", "--bucket", bucket, check=False)
    assert code != 0 and "NoSuchBucketPolicy" in out
    code, out = aws("s3api", "put-bucket-versioning", "--bucket", bucket,
                    "--versioning-configuration", "Status=Enabled",
                    check=False)  # fmt: skip
    assert code != 0 and "NotImplemented" in out
