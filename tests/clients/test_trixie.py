"""Today's clients (Debian 13: aws 2.23 with its CRC64NVME default, s3cmd, mc) in
a chroot that `./check --full` makes."""

import json
import os
import shutil
import tempfile

import pytest

from conftest import digest, fill, sh

CACHE = os.environ.get("CREEL_CACHE_DIR") or os.path.expanduser("~/.cache/creel")
ROOT = os.path.join(CACHE, "trixie")

if os.environ.get("CREEL_FULL"):

    class Chroot:
        def __init__(self, endpoint):
            assert os.path.exists(ROOT + "/.done"), "run ./check --full: it makes " + ROOT
            self.endpoint = endpoint
            self.folder = tempfile.mkdtemp(dir=ROOT + "/tmp")
            self.inside = self.folder[len(ROOT) :]
            self.env = endpoint.env(self.inside)
            if endpoint.tls:
                shutil.copy(endpoint.ca, self.folder + "/ca.crt")
                for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
                    self.env[name] = self.inside + "/ca.crt"
            fill(self.folder + "/tree")

        def __call__(self, *command, **kw):
            return sh(["/usr/sbin/chroot", ROOT] + list(command), self.env, **kw)

        def same(self, name):
            return digest(self.folder + "/" + name) == digest(self.folder + "/tree")

    @pytest.fixture
    def chroot(endpoint):
        c = Chroot(endpoint)
        yield c
        shutil.rmtree(c.folder)

    def test_aws(endpoint, chroot):
        aws = ["aws", "--endpoint-url", endpoint.url]
        bucket, here = endpoint.bucket_name("new-aws"), chroot.inside
        assert "aws-cli/2.2" in chroot("aws", "--version")
        chroot(*aws, "s3", "mb", "s3://" + bucket)
        chroot(*aws, "s3", "cp", "--recursive", here + "/tree", "s3://%s/t" % bucket)
        chroot(*aws, "s3", "sync", "s3://%s/t" % bucket, here + "/back")
        assert chroot.same("back")
        for key in ("block", "multipart"):
            head = json.loads(
                chroot(*aws, "s3api", "head-object", "--bucket", bucket, "--key",
                       "t/" + key, "--checksum-mode", "ENABLED")
            )  # fmt: skip
            assert head["ChecksumCRC64NVME"] and head["ChecksumType"] == "FULL_OBJECT"
        code, text = chroot(*aws, "s3api", "put-object", "--bucket", bucket, "--key",
                            "t/block", "--if-none-match", "*", check=False)  # fmt: skip
        assert code != 0 and "PreconditionFailed" in text
        chroot(*aws, "s3", "rb", "--force", "s3://" + bucket)

    def test_s3cmd(endpoint, chroot):
        with open(chroot.folder + "/s3cfg", "w") as f:
            f.write(
                "[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\n"
                "host_bucket = %s\nuse_https = %s\nca_certs_file = %s\n"
                % (
                    endpoint.key,
                    endpoint.secret,
                    endpoint.address,
                    endpoint.address,
                    endpoint.tls,
                    chroot.inside + "/ca.crt" if endpoint.tls else "",
                )
            )
        bucket, here = endpoint.bucket_name("new-s3cmd"), chroot.inside
        s3cmd = ["s3cmd", "-c", here + "/s3cfg", "--no-progress"]
        chroot(*s3cmd, "mb", "s3://" + bucket)
        chroot(*s3cmd, "sync", here + "/tree/", "s3://%s/t/" % bucket)
        os.mkdir(chroot.folder + "/back")
        chroot(*s3cmd, "sync", "s3://%s/t/" % bucket, here + "/back/")
        assert chroot.same("back")
        chroot(*s3cmd, "rb", "--force", "--recursive", "s3://" + bucket)

    def test_mc(endpoint, chroot):
        bucket, here = endpoint.bucket_name("new-mc"), chroot.inside
        mc = ["minio-client", "--quiet", "--config-dir", here + "/mc"]
        if endpoint.tls:
            os.makedirs(chroot.folder + "/mc/certs/CAs")
            shutil.copy(endpoint.ca, chroot.folder + "/mc/certs/CAs/ca.crt")
        chroot(*mc, "alias", "set", "c", endpoint.url, endpoint.key, endpoint.secret)
        chroot(*mc, "mb", "c/" + bucket)
        chroot(*mc, "mirror", here + "/tree", "c/%s/t" % bucket)
        chroot(*mc, "mirror", "c/%s/t" % bucket, here + "/back")
        assert chroot.same("back")
        text = chroot(*mc, "--json", "stat", "c/%s/t/block" % bucket)
        assert json.loads(text.split("\n")[0])["size"] == 65536
        chroot(*mc, "rb", "--force", "c/" + bucket)
