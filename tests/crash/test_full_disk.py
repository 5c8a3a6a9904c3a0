"""A full disk: PUT is 507, GET, LIST and DELETE go on, deleting makes room.

The data folder is a small tmpfs in a mount namespace of its own, so ENOSPC is
the kernel's.
"""

import hashlib
import os
import random
import shutil
import subprocess
import tempfile
import time

from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, Server

SIZE = 160 * 1024 * 1024


def small_disk(folder):
    mount = 'mount -t tmpfs -o size=%d none "$0" && exec "$@"' % SIZE
    how = ["unshare", "-rm"]
    if os.geteuid() == 0:  # in a chroot root may have no user namespace
        how = ["unshare", "-m"]
        if subprocess.run(how + ["true"], stderr=subprocess.DEVNULL).returncode:
            # nor its mounts made private, where its root is no mount point
            how += ["--propagation", "unchanged"]
    return how + ["sh", "-c", mount, folder]


def fill(client, prefix, size, rng):
    """Puts until the answer is 507 a few times. Returns {path: md5}."""
    kept, refused = {}, 0
    for i in range(20000):
        body = rng.randbytes(size)
        path = "/full/%s%d" % (prefix, i)
        r = client.put(path, body, payload="UNSIGNED-PAYLOAD")
        if r.status == 200:
            kept[path] = hashlib.md5(body).hexdigest()
            continue
        assert r.status == 507, r
        assert r.code == "InsufficientStorage", r
        refused += 1
        if refused == 3:
            return kept
    raise AssertionError("the disk never got full")


def read_all(client, kept):
    for path, md5 in kept.items():
        r = client.get(path)
        assert r.status == 200 and hashlib.md5(r.body).hexdigest() == md5, (path, r)


def run(reserved):
    folder = tempfile.mkdtemp(prefix="creel-full-")
    server = Server(
        data=folder,
        prefix=small_disk(folder),
        env={
            "CREEL_VOLUME_SIZE": "8MiB",
            "CREEL_RESERVED_SPACE": reserved,
            "CREEL_COMPACT_INTERVAL": "1s",
        },
    )
    rng = random.Random(1)
    try:
        server.start()
        client = Client("127.0.0.1", server.port, ACCESS_KEY, SECRET)
        assert client.put("/full").status == 200
        kept = fill(client, "big", 4 * 1024 * 1024, rng)
        kept.update(fill(client, "small", 20000, rng))
        assert len(kept) > 10
        # an old object survives a refused overwrite
        victim = next(iter(kept))
        r = client.put(victim, rng.randbytes(6 * 1024 * 1024))
        assert r.status == 507, r
        read_all(client, kept)
        r = client.get("/full?list-type=2&max-keys=1000")
        assert r.status == 200 and r.body.count(b"<Key>") == min(len(kept), 1000)
        assert client.get("/-/health/live").status == 200

        # deleting works on the full disk, and makes room
        bigs = [p for p in kept if "/big" in p]
        for path in bigs[: len(bigs) // 2]:
            assert client.delete(path).status == 204
            del kept[path]
        end = time.monotonic() + 60
        while True:
            body = rng.randbytes(4 * 1024 * 1024)
            r = client.put("/full/again", body)
            if r.status == 200 or time.monotonic() > end:
                break
            assert r.status == 507, r
            time.sleep(0.3)
        assert r.status == 200, "no room after deleting: %r" % r
        kept["/full/again"] = hashlib.md5(body).hexdigest()
        read_all(client, kept)
        client.close()
        assert server.stop() == 0
    finally:
        server.cleanup()
        subprocess.run(["umount", folder], stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


def test_reserve_reached():
    run("24MiB")


def test_really_full():
    run("0")
