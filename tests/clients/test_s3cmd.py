"""s3cmd of Debian 12 (signature V4, and V2 once)."""

import os

import pytest

from conftest import digest, sh


class S3cmd:
    def __init__(self, endpoint, home):
        self.endpoint, self.env = endpoint, endpoint.env(home)
        self.config = os.path.join(str(home), "s3cfg")
        with open(self.config, "w") as f:
            f.write(
                "[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\n"
                "host_bucket = %s\nuse_https = %s\nca_certs_file = %s\n"
                "check_ssl_certificate = True\nmultipart_chunk_size_mb = 5\n"
                "signurl_use_https = %s\n"
                % (
                    endpoint.key,
                    endpoint.secret,
                    endpoint.address,
                    endpoint.address,
                    endpoint.tls,
                    endpoint.ca if endpoint.tls else "",
                    endpoint.tls,
                )
            )

    def __call__(self, *args, **kw):
        command = ["/usr/bin/s3cmd", "-c", self.config, "--no-progress"]
        return sh(command + list(args), self.env, **kw)


@pytest.fixture
def s3cmd(endpoint, tmp_path):
    return S3cmd(endpoint, tmp_path)


@pytest.fixture
def bucket(endpoint, s3cmd):
    name = endpoint.bucket_name("s3cmd")
    s3cmd("mb", "s3://" + name)
    yield name
    s3cmd("rb", "--force", "--recursive", "s3://" + name, check=False)


def test_sync_there_and_back(s3cmd, bucket, tree, tmp_path):
    s3cmd("sync", str(tree) + "/", "s3://%s/t/" % bucket)
    again = s3cmd("sync", str(tree) + "/", "s3://%s/t/" % bucket)
    assert "upload:" not in again
    os.mkdir(tmp_path / "back")
    s3cmd("sync", "s3://%s/t/" % bucket, str(tmp_path / "back") + "/")
    assert digest(tmp_path / "back") == digest(tree)


def test_put_get_info_cp_mv_del(s3cmd, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"s3cmd" * 100)
    s3cmd("put", "--add-header", "x-amz-meta-a:b", tmp_path / "f", "s3://%s/x y" % bucket)
    info = s3cmd("info", "s3://%s/x y" % bucket)
    assert "File size: 500" in info and "x-amz-meta-a: b" in info
    s3cmd("cp", "s3://%s/x y" % bucket, "s3://%s/copy" % bucket)
    s3cmd("mv", "s3://%s/copy" % bucket, "s3://%s/moved" % bucket)
    s3cmd("get", "s3://%s/moved" % bucket, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"s3cmd" * 100
    assert "2 objects" in s3cmd("du", "s3://" + bucket)
    s3cmd("del", "s3://%s/moved" % bucket)
    assert "moved" not in s3cmd("ls", "s3://" + bucket)


def test_signature_v2(s3cmd, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"v2")
    s3cmd("--signature-v2", "put", tmp_path / "f", "s3://%s/v2 key" % bucket)
    s3cmd("--signature-v2", "get", "s3://%s/v2 key" % bucket, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"v2"


def test_signurl(s3cmd, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"signed url")
    s3cmd("put", tmp_path / "f", "s3://%s/f" % bucket)
    url = s3cmd("signurl", "s3://%s/f" % bucket, "+60").strip()
    assert sh(["curl", "-sS", "--fail", url], s3cmd.env) == "signed url"
