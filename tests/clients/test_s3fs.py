"""s3fs of Debian 12: the bucket as a folder."""

import os
import shutil
import subprocess
import time

from conftest import MIB, digest, sh

def mount(endpoint, bucket, where, env, password):
    command = ["/usr/bin/s3fs", bucket, str(where), "-o", "passwd_file=" + password]
    command += ["-o", "url=" + endpoint.url, "-o", "use_path_request_style"]
    command += ["-o", "multipart_size=5", "-o", "sigv4"]
    sh(command, env)
    end = time.monotonic() + 20
    while not os.path.ismount(where):
        assert time.monotonic() < end, "s3fs did not mount"
        time.sleep(0.05)


def unmount(where):
    subprocess.run(["fusermount", "-u", "-z", str(where)], check=False)


if not os.environ.get("CREEL_NO_FUSE"):

    def test_tree_through_a_mount(endpoint, tree, tmp_path):
        assert os.access("/dev/fuse", os.R_OK | os.W_OK), (
            "/dev/fuse cannot be used here; CREEL_NO_FUSE=1 leaves s3fs out"
        )
        env = endpoint.env(tmp_path)
        bucket = endpoint.bucket_name("s3fs")
        sh(["/usr/bin/aws", "--endpoint-url", endpoint.url, "s3", "mb",
            "s3://" + bucket], env)  # fmt: skip
        password = str(tmp_path / "passwd")
        with open(os.open(password, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("%s:%s\n" % (endpoint.key, endpoint.secret))
        where = tmp_path / "mnt"
        where.mkdir()
        mount(endpoint, bucket, where, env, password)
        try:
            shutil.copytree(tree, where / "t")
            os.rename(where / "t" / "block", where / "t" / "renamed")
            with open(where / "t" / "multipart", "r+b") as f:
                f.seek(6 * MIB)
                f.write(b"changed in the middle")
        finally:
            unmount(where)
        want = digest(tree)
        want["renamed"] = want.pop("block")
        del want["multipart"]
        again = tmp_path / "mnt2"
        again.mkdir()
        mount(endpoint, bucket, again, env, password)
        try:
            got = digest(again / "t")
            data = (again / "t" / "multipart").read_bytes()
        finally:
            unmount(again)
        del got["multipart"]
        assert got == want
        old = (tree / "multipart").read_bytes()
        new = b"changed in the middle"
        assert data == old[: 6 * MIB] + new + old[6 * MIB + len(new) :]
