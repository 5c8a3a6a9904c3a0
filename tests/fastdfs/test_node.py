"""A storage node as a process: kill -9, several disks, a replaced one, starting
with what it must not start with."""

import os
import shutil
import socket
import struct
import subprocess
import time

import fdfs
import pytest
from conftest import Node
from kit import FULL, Load, wait_for
from lib.server import binary
from test_commands import everywhere
from test_gateways import Gate, refused


def test_kill_9_under_load():
    """What was acknowledged is there, what was deleted is not; three times."""
    with Node() as n:
        loads = [Load(n, seed) for seed in range(4)]
        for one in loads:
            one.start()
        for _ in range(3):
            time.sleep(1.5)
            n.storages[0].kill()
            n.storages[0].start()
            n.wait_active()
        time.sleep(0.5)
        for one in loads:
            one.halt.set()
        for one in loads:
            one.finish()
            one.read_errors = []  # the only node was away
            one.check(n.client())
            assert one.writes > 20


def test_kill_9_of_appends():
    """Each acknowledged append is there, once."""
    with Node() as n:
        c = n.client()
        name = c.upload(b"", appender=True)
        want = b""
        for round_ in range(3):
            for i in range(40):
                c.append(name, b"%d.%d;" % (round_, i))
                want += b"%d.%d;" % (round_, i)
            n.storages[0].kill()
            n.storages[0].start()
            n.wait_active()
            assert c.download(name) == want
        everywhere(n, name, want)


def test_two_disks():
    """Store paths have numbers; a disk that is blank is refused, until it is said
    that it was replaced."""
    n = Node()
    s = n.storages[0]
    second = os.path.join(n.dir, "second")
    s.words.insert(2, second)
    with n:
        c = n.client()
        names = {}
        for path in (0, 1):
            for i in range(5):
                head = bytes([path]) + (3).to_bytes(8, "big") + b"bin\0\0\0"
                body = fdfs.ask(n.at, 11, head + b"%d%02d" % (path, i))
                name = "group1/" + body[16:].decode()
                assert name.startswith("group1/M0%d/" % path)
                names[name] = b"%d%02d" % (path, i)
        assert fdfs.status(n.at, 11, b"\2" + (1).to_bytes(8, "big") + b"bin\0\0\0x") == fdfs.EINVAL
        s.stop()
        shutil.rmtree(second)
        os.mkdir(second)
        command = [binary()] + s.words
        done = subprocess.run(command, env=n.environ(), stderr=subprocess.PIPE, timeout=20)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done.stderr
        assert second.encode() in done.stderr
        s.start(args=["--replace-blank"])
        n.wait_active()
        for name, data in names.items():
            if "/M00/" in name:
                assert c.download(name) == data
            else:  # of one copy, gone with its disk
                assert fdfs.status(n.at, 14, bytes(16) + fdfs.split(name)) == fdfs.ENOENT
        s.stop()
        s.start()
        n.wait_active()


@pytest.mark.parametrize(
    "words, said",
    (
        (["--server-id", "0"], b"server_id"),
        (["--group", "a-b"], b"group"),
        (["--trackers", "no-port"], b"no-port"),
        (["--storage-address", "nonsense"], b"storage_address"),
        (["--inner-address", "no.such.host.invalid"], b"no.such.host.invalid"),
        (["--allow-hosts", "10.0.0.0/99"], b"allow_hosts"),
        (["--http-check-token"], b"http_token_secret"),
        (["--config", "/nowhere"], b"/nowhere"),
    ),
)
def test_wrong_settings(node, tmp_path, words, said):
    """One line that names the setting; nothing is listened on."""
    command = [binary(), "storage", str(tmp_path / "data"), "--group", "group1"]
    command += ["--server-id", "7", "--storage-address", "127.0.0.1:1"]
    command += ["--trackers", node.tracker_list] + words
    done = subprocess.run(command, env=node.environ(), stderr=subprocess.PIPE, timeout=20)
    assert done.returncode in (1, 2) and done.stderr.count(b"\n") == 1, done.stderr
    assert said in done.stderr


def test_no_secret(node, tmp_path):
    command = [binary(), "storage", str(tmp_path), "--group", "group1", "--server-id", "7"]
    command += ["--storage-address", "127.0.0.1:1", "--trackers", node.tracker_list]
    env = {k: v for k, v in node.environ().items() if k != "CREEL_CLUSTER_SECRET"}
    for secret in (None, "short"):
        if secret:
            env["CREEL_CLUSTER_SECRET"] = secret
        done = subprocess.run(command, env=env, stderr=subprocess.PIPE, timeout=20)
        assert done.returncode == 1 and b"secret" in done.stderr.lower(), done.stderr


def test_stops_in_time():
    with Node() as n:
        s = n.storages[0]
        begin = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - begin < 5
        s.start()
        n.wait_active()
        # with an upload that hangs: after stop_timeout (8 s)
        with socket.create_connection(n.at) as hang:
            hang.sendall(struct.pack(">qBB", 15 + 100, 11, 0) + b"\xff" + struct.pack(">q", 100) + bytes(6) + b"x")
            time.sleep(0.2)
            begin = time.monotonic()
            assert s.stop() == 0
            assert time.monotonic() - begin < 12
        s.start()
        wait_for("it", lambda: n.client().upload(b"x"), 10)


if FULL:

    def test_streams_that_nobody_continues():
        """They make room for others after a minute, once there are many."""
        with Node() as n, Gate(n) as g:
            many = 160  # STREAMS_MANY of storage/server/ops.h
            old = [g.begin() for _ in range(many - 2)]
            time.sleep(61)
            young = g.begin()
            g.data(young, 0, b"x")
            g.data(old[0], 0, b"x")
            other = g.begin()
            g.data(old[2], 0, b"x")
            no = g.begin()
            g.data(no, 0, b"x")
            g.data(old[2], 1, b"y")
            g.data(other, 0, b"x")
            refused("NOT_FOUND", g.data, old[1], 0, b"y")
            g.data(young, 1, b"y")
            g.data(old[0], 1, b"y")
