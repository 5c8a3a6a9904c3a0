"""rclone of Debian 12: sync both ways, check, and what it can do on a mount-less
remote."""

import os

import pytest

from conftest import MIB, digest, sh


class Rclone:
    def __init__(self, endpoint, home):
        self.env = endpoint.env(
            home,
            RCLONE_CONFIG=os.path.join(str(home), "conf"),
            RCLONE_CONFIG_C_TYPE="s3",
            RCLONE_CONFIG_C_PROVIDER="Other",
            RCLONE_CONFIG_C_ENV_AUTH="true",
            RCLONE_CONFIG_C_ENDPOINT=endpoint.url,
            RCLONE_CONFIG_C_REGION="us-east-1",
        )
        open(os.path.join(str(home), "conf"), "w").close()
        # rclone's own client cannot take the AWS SDK's variable.
        self.env.pop("AWS_CA_BUNDLE", None)
        self.ca = ["--ca-cert", endpoint.ca] if endpoint.tls else []

    def __call__(self, *args, **kw):
        command = ["/usr/bin/rclone", "--retries", "1", "--low-level-retries", "1"]
        return sh(command + self.ca + list(args), self.env, **kw)


@pytest.fixture
def rclone(endpoint, tmp_path):
    return Rclone(endpoint, tmp_path)


@pytest.fixture
def bucket(endpoint, rclone):
    name = endpoint.bucket_name("rclone")
    rclone("mkdir", "c:" + name)
    yield name
    rclone("purge", "c:" + name, check=False)


def test_sync_both_ways_and_check(rclone, bucket, tree, tmp_path):
    rclone("sync", tree, "c:%s/t" % bucket)
    rclone("check", tree, "c:%s/t" % bucket)
    rclone("check", "--download", tree, "c:%s/t" % bucket)
    rclone("sync", "c:%s/t" % bucket, tmp_path / "back")
    assert digest(tmp_path / "back") == digest(tree)
    os.unlink(tmp_path / "back" / "block")
    rclone("sync", tmp_path / "back", "c:%s/t" % bucket)
    code, out = rclone("check", tree, "c:%s/t" % bucket, check=False)
    assert code != 0 and "block" in out


def test_modification_times_survive(rclone, bucket, tmp_path):
    src = tmp_path / "src"
    src.mkdir()
    (src / "f").write_bytes(b"time")
    os.utime(src / "f", (1000000000, 1000000000))
    rclone("copy", src, "c:" + bucket)
    rclone("copy", "c:" + bucket, tmp_path / "back")
    assert os.stat(tmp_path / "back" / "f").st_mtime == 1000000000
    os.utime(src / "f", (1100000000, 1100000000))
    rclone("copy", src, "c:" + bucket)  # a copy onto itself with new metadata
    assert "2004-11-09" in rclone("lsl", "c:" + bucket)


def test_server_side_copy_and_move(rclone, bucket, tmp_path):
    data = os.urandom(6 * MIB)
    (tmp_path / "f").write_bytes(data)
    rclone("copyto", tmp_path / "f", "c:%s/a/f" % bucket)
    rclone("copyto", "c:%s/a/f" % bucket, "c:%s/b/f" % bucket)
    rclone("moveto", "c:%s/a/f" % bucket, "c:%s/c/f" % bucket)
    assert sorted(rclone("lsf", "-R", "--files-only", "c:" + bucket).split()) == [
        "b/f",
        "c/f",
    ]
    rclone("copyto", "c:%s/c/f" % bucket, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


def test_multipart_and_rcat(rclone, bucket, tree, tmp_path):
    rclone("copyto", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M",
           tree / "multipart", "c:%s/m" % bucket)  # fmt: skip
    rclone("copyto", "c:%s/m" % bucket, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == (tree / "multipart").read_bytes()
    rclone("rcat", "c:%s/r" % bucket, input=b"r" * 300000)
    assert rclone("cat", "c:%s/r" % bucket) == "r" * 300000
    url = rclone("link", "--expire", "1h", "c:%s/r" % bucket).split()[-1]
    assert sh(["curl", "-sS", "--fail", url], rclone.env) == "r" * 300000
