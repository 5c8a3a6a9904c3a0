"""What no client should send: the protocol's error, or the end of the connection,
and the node serves the next one as before, in bounded memory."""

import os
import re
import socket
import struct
import time

import fdfs
import pytest
from conftest import Node
from kit import wait_for
from test_commands import named, remote, slave_body

ALL = (11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 34, 36, 38)
ENDS = "closed"


def raw(at, data, timeout=10, shut=True):
    """Status of the answer to these bytes, or ENDS."""
    with socket.create_connection(at, timeout) as s:
        s.sendall(data)
        if shut:
            s.shutdown(socket.SHUT_WR)
        try:
            head = fdfs.receive(s, 10)
        except (ConnectionError, OSError):
            return ENDS
        length, command, status = struct.unpack(">qBB", head)
        assert command == 100 and (status == 0 or length == 0)
        return status


def header(length, command, status=0):
    return struct.pack(">qBB", length, command, status)


def rss(node):
    with open("/proc/%d/status" % node.storages[0].process.pid) as f:
        return int(re.search(r"RssAnon:\s+(\d+) kB", f.read()).group(1)) * 1024


@pytest.fixture(autouse=True)
def still_serves(node):
    yield
    c = node.client()
    name = c.upload(b"still here")
    assert c.download(name) == b"still here"
    c.delete(name)
    assert node.storages[0].is_up


@pytest.mark.parametrize("command", ALL)
@pytest.mark.parametrize("length", (-1, -(1 << 63), 0, 1, 9, (1 << 63) - 1, 1 << 40))
def test_lengths(node, command, length):
    """With no body at all behind it: malformed, or a peer that has died."""
    want = (fdfs.EINVAL, ENDS) + ((fdfs.EIO,) if length > 1 << 39 else ())
    assert raw(node.at, header(length, command)) in want


@pytest.mark.parametrize("command", [c for c in range(256) if c not in ALL + (82, 111, 200, 201)])
def test_unknown_commands(node, command):
    assert raw(node.at, header(0, command)) == fdfs.EINVAL


@pytest.mark.parametrize("command", ALL)
def test_random_bodies(node, command):
    for size in (1, 15, 16, 38, 60, 159, 300):
        body = os.urandom(size)
        got = raw(node.at, header(size, command) + body)
        assert got in (fdfs.EINVAL, fdfs.ENOENT, 95, ENDS), (size, body.hex())


NAMES = (
    b"M00/00/00/../../../../etc/passwd",
    b"M00/00/00/..",
    b"M00/00/00/.",
    b"M00/../00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
    b"M00/0a/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
    b"M00/00/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.t/t",
    b"M00/00/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.t\0t",
    b"/etc/passwd",
    b"M00/00/00/",
    b"M00/00/00/" + b"a" * 117,
    b"M00/00/00/" + b"a" * 200,
    b"m00/00/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
    b"",
)


@pytest.mark.parametrize("name", NAMES)
def test_names(node, name):
    """No name leads anywhere."""
    g = fdfs.group16("group1")
    for command, body in (
        (12, g + name),
        (14, bytes(16) + g + name),
        (15, g + name),
        (22, g + name),
        (13, struct.pack(">qq", len(name), 3) + b"O" + g + name + b"a\2b"),
        (24, named(name, 1) + b"x"),
        (34, named(name, 0, 1) + b"x"),
        (36, named(name, 1)),
        (38, name),
        (21, slave_body("group1/" + name.decode("latin1"), "_s", "jpg", b"x")),
    ):
        got = raw(node.at, header(len(body), command) + body)
        # one that is no file's, but well-formed: it is not there
        assert got in (fdfs.EINVAL, fdfs.ENOENT), (command, got)


def upload_head(size, path=0xFF, ext=b"txt"):
    return struct.pack(">Bq", path, size) + ext.ljust(6, b"\0")


@pytest.mark.parametrize(
    "head",
    (
        upload_head(5) + b"four",
        upload_head(3) + b"four",
        upload_head(-1) + b"four",
        upload_head(1 << 62) + b"four",
        upload_head(4, path=1) + b"four",
        upload_head(4, path=0x80) + b"four",
        upload_head(4, ext=b"a/b") + b"four",
        upload_head(4, ext=b"a b") + b"four",
        upload_head(4, ext=b"\xff\xfe") + b"four",
        upload_head(4)[:14],
    ),
)
@pytest.mark.parametrize("command", (11, 23))
def test_uploads(node, command, head):
    assert raw(node.at, header(len(head), command) + head) == fdfs.EINVAL


def test_appender_numbers(node):
    c = node.client()
    name = c.upload(b"content", appender=True)
    n = remote(name)
    for command, body in (
        (24, struct.pack(">qq", len(n) + 1, 1) + n + b"x"),
        (24, struct.pack(">qq", -1, 1) + n + b"x"),
        (24, struct.pack(">qq", len(n), 2) + n + b"x"),
        (24, struct.pack(">qq", len(n), -1) + n),
        (34, named(n, -1, 1) + b"x"),
        (34, named(n, (1 << 63) - 1, 1) + b"x"),
        (34, named(n, 8, 1) + b"x"),
        (36, named(n, -1)),
    ):
        assert raw(node.at, header(len(body), command) + body) == fdfs.EINVAL, (command, body)
    assert c.download(name) == b"content"


def test_metadata(node):
    c = node.client()
    name = c.upload(b"x")
    g = fdfs.split(name)
    n = len(remote(name))
    for flag, meta in (
        (b"X", b"a\2b"),
        (b"O", b"no value"),
        (b"O", b"\2b"),
        (b"O", b"a" * 65 + b"\2b"),
        (b"O", b"a\2" + b"b" * 257),
        (b"O", b"a\2b\2c"),
        (b"O", b"a\2b\1"),
    ):
        body = struct.pack(">qq", n, len(meta)) + flag + g + meta
        assert raw(node.at, header(len(body), 13) + body) == fdfs.EINVAL, meta
    big = struct.pack(">qq", n, 1 << 20) + b"O" + g + bytes(1 << 20)
    assert raw(node.at, header(len(big), 13) + big) in (fdfs.EINVAL, ENDS)
    assert fdfs.status(node.at, 15, g) == fdfs.ENOENT


def files_of(node):
    time.sleep(1.3)  # announced once more
    return node.nodes()[1]["paths"][0]["files"]


def test_half_a_request(node):
    """The peer goes away in the middle: nothing is left of it."""
    data = os.urandom(5000)
    whole = header(15 + len(data), 11) + upload_head(len(data)) + data
    files = files_of(node)
    for part in (1, 9, 10, 11, 24, 25, 2000, len(whole) - 1):
        with socket.create_connection(node.at, 10) as s:
            s.sendall(whole[:part])
        with socket.create_connection(node.at, 10) as s:
            s.sendall(whole[:part])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert files_of(node) == files


def test_memory_is_bounded(node):
    """A hundred peers that announce much and send little."""
    before = rss(node)
    peers = []
    for i in range(100):
        s = socket.create_connection(node.at, 10)
        if i % 2:
            s.sendall(header(15 + (1 << 40), 11) + upload_head(1 << 40) + bytes(1000))
        else:
            s.sendall(header(250000, 13) + struct.pack(">qq", 44, 249923) + b"O" + bytes(100))
        peers.append(s)
    time.sleep(0.5)
    grown = rss(node) - before
    for s in peers:
        s.close()
    assert grown < 100 * (1 << 20), grown


def test_quit_and_heartbeat(node):
    with socket.create_connection(node.at, 10) as s:
        for _ in range(3):
            assert fdfs.request(s, 111) == b""
        s.sendall(header(0, 82))
        assert s.recv(1) == b""


def test_connection_stays_open(node):
    """Errors but 22 leave the connection as it is, as in FastDFS."""
    name = node.client().upload(b"x")
    gone = name[:-8] + "0000.txt"
    with socket.create_connection(node.at, 10) as s:
        for _ in range(3):
            with pytest.raises(fdfs.FdfsError) as e:
                fdfs.request(s, 14, bytes(16) + fdfs.split(gone))
            assert e.value.status == fdfs.ENOENT
        assert fdfs.request(s, 14, bytes(16) + fdfs.split(name)) == b"x"
        with pytest.raises(fdfs.FdfsError) as e:
            fdfs.request(s, 14, struct.pack(">qq", 1, 0) + fdfs.split(name))
        assert e.value.status == fdfs.EINVAL
        assert s.recv(1) == b""


@pytest.mark.parametrize("hosts", ("", "10.0.0.0/8"))
def test_allow_hosts(hosts):
    """Others get 13 for every command, and are closed; a cluster's own processes
    need not be listed, and SIGHUP takes a new list."""
    n = Node()
    words = n.storages[0].words
    at = words.index("--allow-hosts")
    conf = os.path.join(n.dir, "storage.conf")
    with open(conf, "w") as f:
        f.write("allow_hosts = %s\n" % hosts)
    words[at : at + 2] = ["--config", conf]
    with n:
        c = n.client()
        for command in ALL:
            body = upload_head(1) + b"x" if command in (11, 23) else struct.pack(">q", 44) + bytes(92)
            assert raw(n.at, header(len(body), command) + body) == fdfs.EACCES, command
        with pytest.raises(fdfs.FdfsError) as e:
            c.upload(b"x")
        assert e.value.status == fdfs.EACCES
        assert n.nodes()[1]["state"] == "ACTIVE"
        assert "127.0.0.1: not in allow_hosts" in n.storages[0].tail(20000)
        with open(conf, "w") as f:
            f.write("allow_hosts = 127.0.0.0/8\n")
        n.storages[0].hup()
        wait_for("the new list", lambda: c.upload(b"x"), 5)
