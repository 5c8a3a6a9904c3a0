"""A lost index comes back from the storage (P8), and a backup can be started
from: listings, headers, users, keys and bytes are as before."""

import json
import os
import random
import re
import shutil
import subprocess
import time

from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, Server, binary

ENV = {
    "CREEL_SMALL_FILE_LIMIT": "64KiB",
    "CREEL_VOLUME_SIZE": "2MiB",
    "CREEL_INDEX_TABLE_MAX": "64KiB",
    "CREEL_INDEX_LOG_SEGMENT": "64KiB",
    "CREEL_INDEX_ARCHIVE_INTERVAL": "300ms",
    "CREEL_INDEX_SNAPSHOT_EVERY": "1MiB",
    "CREEL_COMPACT_INTERVAL": "500ms",
}
SIZES = [0, 1, 100, 4096, 4096, 65536, 65537, 150000]
META = [
    ("Content-Type", "text/x-test"),
    ("Cache-Control", "max-age=7"),
    ("x-amz-meta-color", "green"),
    ("x-amz-storage-class", "STANDARD"),
]


def connect(server, keys=(ACCESS_KEY, SECRET)):
    return Client("127.0.0.1", server.port, *keys)


def run(*args, env=()):
    done = subprocess.run(
        [binary(), "admin"] + list(args),
        env=dict(os.environ, **dict(env)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def admin(server, *args):
    root = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
    return json.loads(
        run("--endpoint", server.endpoint, "--json", *args, env=root) or "null"
    )


class Mix:
    """Random changes of all kinds, by root and by users."""

    def __init__(self, server, rng):
        self.server, self.rng = server, rng
        self.keys = {"": (ACCESS_KEY, SECRET)}  # user -> a key of his
        self.extra = []  # further ones, and removed ones
        self.buckets = {}  # name -> user
        self.made = 0
        self.uploads = {}  # path -> upload ID, left open
        self.clients = {}

    def client(self, user):
        if user not in self.clients:
            self.clients[user] = connect(self.server, self.keys[user])
        return self.clients[user]

    def add_user(self):
        self.made += 1
        name = "user%d" % self.made
        admin(self.server, "user", "add", name)
        key = admin(self.server, "key", "add", name)
        self.keys[name] = (key["id"], key["secret"])
        if self.rng.random() < 0.5:
            more = admin(self.server, "key", "add", name)
            self.extra.append((more["id"], more["secret"]))
            if self.rng.random() < 0.5:
                admin(self.server, "key", "remove", more["id"])

    def remove_user(self):
        idle = [u for u in self.keys if u and u not in self.buckets.values()]
        if idle:
            user = self.rng.choice(idle)
            admin(self.server, "user", "remove", user)
            self.clients.pop(user, None)
            self.extra.append(self.keys.pop(user))

    def add_bucket(self):
        self.made += 1
        user = self.rng.choice(sorted(self.keys))
        name = "bucket-%d" % self.made
        assert self.client(user).put("/" + name).status == 200
        self.buckets[name] = user

    def remove_bucket(self):
        name = self.rng.choice(sorted(self.buckets))
        client = self.client(self.buckets[name])
        r = client.get("/%s?list-type=2" % name)
        for key in re.findall(r"<Key>(.*?)</Key>", r.body.decode()):
            assert client.delete("/%s/%s" % (name, key)).status == 204
        assert client.delete("/" + name).status == 204
        del self.buckets[name]
        # a new one of the same name is another one
        if self.rng.random() < 0.5:
            assert client.put("/" + name).status == 200
            self.buckets[name] = [u for u, c in self.clients.items() if c is client][0]
        self.uploads = {
            p: u for p, u in self.uploads.items() if p.split("/")[1] != name
        }

    def path(self, bucket):
        return "/%s/%s/%d" % (bucket, self.rng.choice("abc"), self.rng.randrange(12))

    def upload(self, client, path, rng):
        r = client.request("POST", path + "?uploads=", headers=META)
        assert r.status == 200, r
        upload = r.body.decode().split("<UploadId>")[1].split("<")[0]
        xml, sizes = "", [5 * 1024 * 1024, rng.choice(SIZES[1:])]
        if rng.random() < 0.5:
            sizes = sizes[1:]
        for n, size in enumerate(sizes, 1):
            target = "%s?partNumber=%d&uploadId=%s" % (path, n * 3, upload)
            body = rng.randbytes(size)
            assert client.put(target, body, payload="UNSIGNED-PAYLOAD").status == 200
            if rng.random() < 0.2:  # again: the last one counts
                body = rng.randbytes(size)
            r = client.put(target, body, payload="UNSIGNED-PAYLOAD")
            xml += "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (
                n * 3,
                r["etag"],
            )
        dice = rng.random()
        if dice < 0.2:
            assert client.delete(path + "?uploadId=" + upload).status == 204
        elif dice < 0.4:
            self.uploads[path] = upload
        else:
            xml = "<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % xml
            r = client.request("POST", path + "?uploadId=" + upload, xml.encode())
            assert r.status == 200, r

    def step(self):
        rng, dice = self.rng, self.rng.random()
        if dice < 0.02 or len(self.buckets) < 2:
            return self.add_bucket()
        if dice < 0.03:
            return self.add_user()
        if dice < 0.035:
            return self.remove_user()
        if dice < 0.045:
            return self.remove_bucket()
        bucket = rng.choice(sorted(self.buckets))
        client, path = self.client(self.buckets[bucket]), self.path(bucket)
        if dice < 0.55:
            headers = META if rng.random() < 0.3 else []
            if rng.random() < 0.2:
                headers = headers + [("If-None-Match", "*")]
            r = client.put(
                path,
                rng.randbytes(rng.choice(SIZES)),
                headers,
                payload="UNSIGNED-PAYLOAD",
            )
            assert r.status in (200, 412), r
        elif dice < 0.62:
            r = client.put(path, b"never", [("If-Match", '"0123"')])
            assert r.status in (412, 404), r
        elif dice < 0.70:
            r = client.put(path, headers=[("x-amz-copy-source", self.path(bucket))])
            assert r.status in (200, 404, 400), r  # 400: onto itself
        elif dice < 0.74:
            replace = [("x-amz-metadata-directive", "REPLACE")]
            replace += [("x-amz-copy-source", path), ("x-amz-meta-n", str(self.made))]
            assert client.put(path, headers=replace).status in (200, 404)
        elif dice < 0.80:
            self.upload(client, path, rng)
        elif dice < 0.90:
            assert client.delete(path).status == 204
        else:
            names = "".join(
                "<Object><Key>%s</Key></Object>" % self.path(bucket).split("/", 2)[2]
                for _ in range(4)
            )
            r = client.request(
                "POST",
                "/%s?delete=" % bucket,
                ("<Delete>%s</Delete>" % names).encode(),
                [("x-amz-sdk-checksum-algorithm", "CRC32"), md5_of(names)],
            )
            assert r.status == 200, r


def md5_of(names):
    import base64
    import hashlib

    body = ("<Delete>%s</Delete>" % names).encode()
    return ("Content-MD5", base64.b64encode(hashlib.md5(body).digest()).decode())


VOLATILE = {"date", "x-amz-request-id", "x-amz-id-2", "connection", "keep-alive"}


def cleaned(body):
    return re.sub(rb"<(RequestId|HostId)>.*?</\1>", b"", body)


def all_there_is(server, keys, uploads):
    """Everything that a client can see."""
    seen = {}
    for user, pair in sorted(keys.items()):
        client = connect(server, pair)
        seen[user, "buckets"] = cleaned(client.get("/").body)
        client.close()
    client = connect(server)
    users = admin(server, "user", "list")
    seen["users"] = users
    seen["keys"] = admin(server, "key", "list")
    buckets = admin(server, "bucket", "list")["buckets"]
    seen["figures"] = buckets
    for b in buckets:
        name = b["name"]
        for query in (
            "list-type=2",
            "list-type=2&delimiter=/&fetch-owner=true",
            "prefix=b/",
            "uploads=",
        ):
            r = client.get("/%s?%s" % (name, query))
            assert r.status == 200, r
            seen[name, query] = cleaned(r.body)
        keys_there = re.findall(
            r"<Key>(.*?)</Key>", seen[name, "list-type=2"].decode()
        )
        assert len(keys_there) == b["objects"]
        for key in keys_there:
            r = client.get("/%s/%s" % (name, key))
            assert r.status == 200, (name, key, r)
            headers = sorted(
                (k.lower(), v) for k, v in r.headers if k.lower() not in VOLATILE
            )
            seen[name, key] = (headers, r.body)
    for path, upload in uploads.items():
        r = client.get("%s?uploadId=%s" % (path, upload))
        assert r.status == 200, r
        seen[path, "parts"] = cleaned(r.body)
    client.close()
    return seen


def same(before, after):
    assert before.keys() == after.keys()
    for what in before:
        assert before[what] == after[what], what


def refused(server, pairs):
    for pair in pairs:
        client = connect(server, pair)
        r = client.get("/")
        client.close()
        assert r.status == 403, r


def filled(server, steps, seed):
    server.start()
    mix = Mix(server, random.Random(seed))
    for _ in range(3):
        mix.add_user()
    for _ in range(steps):
        mix.step()
    mix.uploads = {
        p: u
        for p, u in mix.uploads.items()
        if connect(server).get("%s?uploadId=%s" % (p, u)).status == 200
    }
    live = [k["id"] for k in admin(server, "key", "list")["keys"]]
    gone = [pair for pair in mix.extra if pair[0] not in live]
    return mix, gone


def check_whole(server, before, mix, gone):
    same(before, all_there_is(server, mix.keys, mix.uploads))
    refused(server, gone)
    assert admin(server, "verify", "--deep")["bad"] == 0
    # it takes writes, and what it counts adds up
    client = connect(server)
    assert client.put("/fresh-bucket").status == 200
    assert client.put("/fresh-bucket/x", b"x" * 70000).status == 200
    assert client.get("/fresh-bucket/x").body == b"x" * 70000
    for path, upload in mix.uploads.items():
        assert client.delete("%s?uploadId=%s" % (path, upload)).status == 204
    client.close()
    # a rebuilt index knows all its files, but it has to be confirmed
    assert admin(server, "collect")["garbage_rows"] == 0
    report = admin(server, "sweep")
    assert report["unknown"] == 0, report


def rebuilt_after(stop, seed):
    server = Server(env=ENV)
    try:
        mix, gone = filled(server, 500, seed)
        before = all_there_is(server, mix.keys, mix.uploads)
        stop(server)
        shutil.rmtree(server.data + "/index")
        run("rebuild", "index", server.data, env=ENV)
        server.start()
        check_whole(server, before, mix, gone)
        # once more, from the archive of the rebuilt one
        mix.uploads = {}
        before = all_there_is(server, mix.keys, {})
        assert server.stop() == 0
        shutil.rmtree(server.data + "/index")
        shutil.rmtree(server.data + "/findex")
        run("rebuild", "index", server.data, env=ENV)
        server.start()
        same(before, all_there_is(server, mix.keys, {}))
        assert server.stop() == 0
    finally:
        server.cleanup()


def test_rebuild_after_stop():
    """A stop archives all there is."""
    rebuilt_after(lambda server: server.stop(), 21)


def test_rebuild_after_kill():
    """What was archived before the machine went down."""

    def kill(server):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            index = admin(server, "status")["index"]
            if index["archived"] >= index["sequence"]:
                break
            time.sleep(0.05)
        server.kill()

    rebuilt_after(kill, 22)


def test_backup():
    """A copy of the index that was made while it served, put in its place."""
    server = Server(env=ENV)
    copy = server.data + "/../" + os.path.basename(server.data) + "-backup"
    try:
        mix, gone = filled(server, 300, 23)
        before = all_there_is(server, mix.keys, mix.uploads)
        admin(server, "backup", copy)
        assert server.stop() == 0
        shutil.rmtree(server.data + "/index")
        shutil.move(copy, server.data + "/index")
        server.start()
        check_whole(server, before, mix, gone)
        assert server.stop() == 0
    finally:
        server.cleanup()
        shutil.rmtree(copy, ignore_errors=True)
