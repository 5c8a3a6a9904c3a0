"""Damage from outside, while the server is stopped and while it runs: never
wrong bytes, never a signal's death, and one line that says what to do."""

import contextlib
import glob
import json
import os
import random
import shutil
import subprocess
import tempfile
import time

import pytest

from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, Server, binary

ENV = {
    "CREEL_SMALL_FILE_LIMIT": "64KiB",
    "CREEL_VOLUME_SIZE": "1MiB",
    "CREEL_INDEX_ARCHIVE_INTERVAL": "200ms",
    "CREEL_COMPACT_INTERVAL": "1h",
}
SIZES = [0, 100, 4096, 4096, 20000, 65536, 65537, 200000]


def connect(server):
    return Client("127.0.0.1", server.port, ACCESS_KEY, SECRET)


def admin(server, *args):
    env = dict(os.environ, CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)
    return subprocess.run(
        [binary(), "admin", "--endpoint", server.endpoint] + list(args),
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def rebuild(data, what):
    return subprocess.run(
        [binary(), "admin", "rebuild", what, data],
        env=dict(os.environ, **ENV),
        capture_output=True,
        text=True,
        timeout=60,
    )


def until_archived(server):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        index = json.loads(admin(server, "status", "--json").stdout)["index"]
        if index["archived"] >= index["sequence"]:
            return
        time.sleep(0.05)
    raise AssertionError("the index is not archived: %s" % index)


@pytest.fixture(scope="module")
def original():
    """A data directory as kill -9 left it, and what is in it: {path: bytes}.
    Nothing in it may be waiting to be deleted, or be younger than its
    archive."""
    rng = random.Random(11)
    server = Server(env=ENV)
    try:
        server.start()
        client = connect(server)
        assert client.put("/box").status == 200
        objects = {}
        for i in range(60):
            path = "/box/%d" % i
            objects[path] = rng.randbytes(SIZES[i % len(SIZES)])
            assert client.put(path, objects[path]).status == 200
        client.close()
        until_archived(server)
        server.kill()
        yield server.data, objects
    finally:
        server.cleanup()


@contextlib.contextmanager
def copy_of(original):
    """The data directory's copy, with a server that is not started."""
    top = tempfile.mkdtemp(prefix="creel-damage-")
    server = Server(data=os.path.join(top, "data"), env=ENV)
    try:
        shutil.copytree(original[0], server.data)
        yield server, original[1], random.Random(5)
    finally:
        server.cleanup()
        shutil.rmtree(top)


def volumes(data):
    return sorted(glob.glob(data + "/volumes/*.vol"))


def large(data):
    return sorted(glob.glob(data + "/data/*/*/*"))


def flip(path, count, rng, start=0):
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        for _ in range(count):
            at = rng.randrange(start, size)
            f.seek(at)
            byte = f.read(1)[0] ^ (1 << rng.randrange(8))
            f.seek(at)
            f.write(bytes([byte]))


def read_all(server, objects):
    """Keys that cannot be read: an error, or an answer that breaks off.
    Whatever is given is right; nothing that was stored is unknown."""
    bad = set()
    client = connect(server)
    for path, body in objects.items():
        try:
            r = client.get(path)
        except (OSError, EOFError):
            assert server.process.poll() is None, server.tail()
            client.close()
            bad.add(path)
            continue
        assert r.status in (200, 500, 503), (path, r)
        if r.status == 200:
            assert r.body == body, path
        else:
            bad.add(path)
    client.close()
    return bad


def goes_on(server):
    client = connect(server)
    for size in (5000, 300000):
        body = os.urandom(size)
        assert client.put("/box/new", body).status == 200
        assert client.get("/box/new").body == body
    assert client.delete("/box/new").status == 204
    assert client.get("/box?list-type=2").status == 200
    client.close()


def verify_says(server, bad):
    done = admin(server, "verify", "--deep")
    listed = {"/%s/%s" % (x["bucket"], x["key"]) for x in json.loads(done.stdout)["list"]}
    assert listed == bad
    assert done.returncode == (1 if bad else 0)


def refuses(server, *words):
    with pytest.raises(RuntimeError) as e:
        server.start()
    assert "ended with 1:" in str(e.value), e.value
    line = str(e.value).strip().splitlines()[-1]
    for word in words:
        assert word in line, line


def all_back(server, objects):
    server.start()
    assert read_all(server, objects) == set()
    goes_on(server)
    verify_says(server, set())
    assert server.stop() == 0


def bytes_flipped(data, rng):
    for path in volumes(data) + large(data)[::2]:
        flip(path, 12, rng)


def volumes_cut(data, rng):
    for path in volumes(data)[::2]:
        os.truncate(path, os.path.getsize(path) // 2)


def headers_lost(data, rng):
    for path in volumes(data)[:2]:
        with open(path, "r+b") as f:
            f.write(b"\xff" * 4096)


def files_lost(data, rng):
    os.unlink(volumes(data)[0])
    for path in large(data)[::2]:
        os.unlink(path)


def files_cut(data, rng):
    for path in large(data)[::2]:
        os.truncate(path, os.path.getsize(path) // 2)


@pytest.mark.parametrize(
    "damage", [bytes_flipped, volumes_cut, headers_lost, files_lost, files_cut]
)
def test_data_while_stopped(original, damage):
    with copy_of(original) as (server, objects, rng):
        damage(server.data, rng)
        server.start()
        bad = read_all(server, objects)
        assert bad and len(bad) < len(objects)
        goes_on(server)
        verify_says(server, bad)
        # what is damaged can be deleted, and written anew
        client = connect(server)
        for path in bad:
            assert client.delete(path).status == 204
            assert client.put(path, objects[path]).status == 200
        client.close()
        assert admin(server, "collect").returncode == 0
        assert read_all(server, objects) == set()
        assert server.stop() == 0
        server.start()
        assert read_all(server, objects) == set()
        assert server.stop() == 0


@pytest.mark.parametrize("damage", [bytes_flipped, volumes_cut, files_cut])
def test_data_while_running(original, damage):
    with copy_of(original) as (server, objects, rng):
        server.start()
        damage(server.data, rng)
        bad = read_all(server, objects)
        assert bad and len(bad) < len(objects)
        goes_on(server)
        admin(server, "scrub")
        admin(server, "compact")
        verify_says(server, bad)
        assert server.stop() == 0
        server.start()
        assert read_all(server, objects) == bad
        assert server.stop() == 0


# -- the file index: a view of the volumes --


def test_file_index_lost(original):
    with copy_of(original) as (server, objects, _):
        shutil.rmtree(server.data + "/findex")
        all_back(server, objects)


@pytest.mark.parametrize("size", [5000, 8192, 3 * 4096])
def test_file_index_cut(original, size):
    with copy_of(original) as (server, objects, _):
        server.start()
        assert server.stop() == 0
        os.truncate(server.data + "/findex/data.mdb", size)
        refuses(server, "findex", "creel admin rebuild files")
        assert rebuild(server.data, "files").returncode == 0
        all_back(server, objects)


def test_file_index_damaged(original):
    with copy_of(original) as (server, objects, rng):
        server.start()
        assert server.stop() == 0
        flip(server.data + "/findex/data.mdb", 300, rng, 8192)
        try:
            server.start()
            read_all(server, objects)
            assert server.stop() in (0, 1)
        except RuntimeError:
            assert "rebuild files" in server.tail()
        assert rebuild(server.data, "files").returncode == 0
        all_back(server, objects)


# -- the index --


def rebuilt(server, objects):
    os.rename(server.data + "/index", server.data + "/../index.lost")
    done = rebuild(server.data, "index")
    assert done.returncode == 0, done.stderr
    all_back(server, objects)


def test_index_lost(original):
    """An index is not made anew where there is data: a disk that is not
    mounted must not look like an empty server."""
    with copy_of(original) as (server, objects, _):
        shutil.rmtree(server.data + "/index")
        refuses(server, "index", "mount", "creel admin rebuild index")
        refuses(server, "creel admin rebuild index")
        done = rebuild(server.data, "index")
        assert done.returncode == 0, done.stderr
        all_back(server, objects)


@pytest.mark.parametrize("size", [0, 5000, 8192, 3 * 4096])
def test_index_cut(original, size):
    with copy_of(original) as (server, objects, _):
        server.start()
        assert server.stop() == 0
        os.truncate(server.data + "/index/index.lmdb", size)
        refuses(server, "creel admin rebuild index")
        rebuilt(server, objects)


def test_index_damaged(original):
    with copy_of(original) as (server, objects, rng):
        server.start()
        assert server.stop() == 0
        flip(server.data + "/index/index.lmdb", 500, rng, 8192)
        try:
            server.start()
            read_all(server, objects)
            assert server.stop() in (0, 1)
        except RuntimeError:
            assert "rebuild index" in server.tail()
        rebuilt(server, objects)


def logs(data):
    return glob.glob(data + "/index/log/*.log")


def log_flipped(data, rng):
    """In the first half of what is written: the end could be a torn write."""
    for path in logs(data):
        with open(path, "r+b") as f:
            used = len(f.read().rstrip(b"\0"))
            if used <= 8192:
                continue
            f.seek(rng.randrange(4096, used // 2))
            f.write(b"\xa5\x5a")


def log_lost(data, rng):
    for path in logs(data):
        os.unlink(path)


@pytest.mark.parametrize("damage", [log_flipped, log_lost])
def test_index_log(original, damage):
    with copy_of(original) as (server, objects, rng):
        damage(server.data, rng)
        refuses(server, "log", "creel admin rebuild index")
        rebuilt(server, objects)


@pytest.mark.parametrize(
    "name, what", [("findex/data.mdb", "files"), ("index/index.lmdb", "index")]
)
def test_index_cut_while_running(original, name, what):
    """The process cannot go on; it says why and ends, not by a signal."""
    with copy_of(original) as (server, objects, _):
        server.start()
        assert server.stop() == 0  # all is in the file now, nothing in memory
        server.start()
        os.truncate(os.path.join(server.data, name), 8192)
        client = connect(server)
        with pytest.raises((OSError, EOFError)):
            for path in objects:
                client.get(path)
        client.close()
        assert server.process.wait(10) == 1
        line = server.tail().strip().splitlines()[-1]
        assert name.split("/")[0] in line and "rebuild " + what in line
        refuses(server, "rebuild " + what)
        if what == "index":
            rebuilt(server, objects)
        else:
            assert rebuild(server.data, what).returncode == 0
            all_back(server, objects)
