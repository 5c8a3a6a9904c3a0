"""Data directories of earlier releases (tests/data): this one reads them, goes on
writing to them, and rebuilds their indexes."""

import glob
import hashlib
import json
import os
import shutil
import subprocess

import pytest

from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, TOP, Server, binary

RELEASES = sorted(glob.glob(os.path.join(TOP, "tests", "data", "release-*.tar.xz")))
SMALL = {"CREEL_VOLUME_SIZE": "4MiB", "CREEL_INDEX_LOG_SEGMENT": "64KiB"}


def test_there_are_releases():
    assert RELEASES


@pytest.fixture(params=RELEASES, ids=os.path.basename)
def release(request, tmp_path):
    subprocess.run(["tar", "-C", tmp_path, "-xJf", request.param], check=True)
    with open(tmp_path / "contents.json") as f:
        return str(tmp_path / "data"), json.load(f)


def creel(*args, endpoint="", status=0):
    env = dict(os.environ, CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)
    done = subprocess.run(
        [binary()] + list(args),
        env=dict(env, CREEL_ENDPOINT=endpoint, **SMALL),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    text = done.stdout.decode()
    assert done.returncode == status, text
    return text


def client(server, pair=(ACCESS_KEY, SECRET)):
    return Client("127.0.0.1", server.port, *pair)


def check(server, contents):
    c = client(server)
    for o in contents["objects"]:
        r = c.get(o["target"])
        assert r.status == 200, (o["target"], r)
        assert hashlib.sha256(r.body).hexdigest() == o["sha256"], o["target"]
        for name, value in o["headers"].items():
            assert r[name] == value, (o["target"], name)
    for target in contents["absent"]:
        assert c.get(target).code == "NoSuchKey"
    first = [o for o in contents["objects"] if o["target"].startswith("/first/")]
    r = c.get("/first?list-type=2")
    assert r.body.count(b"<Key>") == len(first)
    assert r.body.count(b"<Contents>") == len(first)
    c.close()
    alice = client(server, contents["alice"])
    assert b"<Name>alices</Name>" in alice.get("/").body
    assert alice.get("/first/small").code == "AccessDenied"
    alice.close()
    found = json.loads(creel("admin", "verify", "--deep", endpoint=server.endpoint))
    assert found["bad"] == 0 and found["objects"] >= len(contents["objects"])


def write(server, contents):
    """The open uploads can be completed; everything else works as well."""
    c = client(server)
    for u in contents["uploads"]:
        assert c.request("POST", u["target"], u["complete"].encode()).status == 200
        body = c.get(u["target"].split("?")[0]).body
        assert hashlib.sha256(body).hexdigest() == u["sha256"]
        assert c.delete(u["target"].split("?")[0]).status == 204
    assert c.put("/first/new", b"new").status == 200
    assert c.delete("/first/new").status == 204
    c.close()


def test_reads_back(release):
    data, contents = release
    server = Server(data=data, env=SMALL)
    try:
        server.start()
        check(server, contents)
        write(server, contents)
        assert server.stop() == 0
        server.start()
        check(server, contents)
    finally:
        server.cleanup()


def test_rebuilds(release):
    data, contents = release
    shutil.rmtree(os.path.join(data, "index"))
    creel("admin", "rebuild", "files", data)
    creel("admin", "rebuild", "index", data)
    server = Server(data=data, env=SMALL)
    try:
        server.start()
        check(server, contents)
        write(server, contents)
    finally:
        server.cleanup()
