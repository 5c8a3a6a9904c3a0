"""Every storage command, on a group of one and on a group of three, where each
node is asked after each change."""

import binascii
import os
import socket
import struct
import subprocess
import threading
import time

import fdfs
import pytest
import rpc
from kit import wait_for
from lib.server import binary

SIZES = (0, 1, 4096, 65536, 65537, 300000, 2 << 20)
UPLOAD, DELETE, SET_META, DOWNLOAD, GET_META = 11, 12, 13, 14, 15
LINK, SLAVE, INFO, APPENDER, APPEND = 20, 21, 22, 23, 24
MODIFY, TRUNCATE, REGENERATE = 34, 36, 38


def remote(file_id):
    return file_id.split("/", 1)[1].encode()


def slave_body(master, prefix, ext, data):
    name = remote(master)
    head = struct.pack(">qq", len(name), len(data))
    return head + prefix.encode().ljust(16, b"\0") + ext.encode().ljust(6, b"\0") + name + data


def named(name, *numbers):
    return struct.pack(">%dq" % (1 + len(numbers)), len(name), *numbers) + name


def slave(at, master, prefix, ext, data):
    body = fdfs.ask(at, SLAVE, slave_body(master, prefix, ext, data))
    return fdfs.text(body[:16]) + "/" + body[16:].decode()


def modify(at, file_id, offset, data):
    fdfs.ask(at, MODIFY, named(remote(file_id), offset, len(data)) + data)


def regenerate(at, file_id):
    body = fdfs.ask(at, REGENERATE, remote(file_id))
    return fdfs.text(body[:16]) + "/" + body[16:].decode()


def everywhere(cluster, file_id, data):
    """All nodes give these bytes, and the right information."""
    c = cluster.client()
    for s in cluster.storages:
        assert c.download(file_id, at=s.address) == data, s.name
        size, _, crc, ip = c.info(file_id, at=s.address)
        assert (size, crc, ip) == (len(data), binascii.crc32(data), "127.0.0.1")


def nowhere(cluster, file_id):
    for s in cluster.storages:
        for command in (DOWNLOAD, INFO, GET_META):
            body = fdfs.split(file_id)
            if command == DOWNLOAD:
                body = bytes(16) + body
            wait_for(
                "%s gone from %s" % (file_id, s.name),
                lambda: fdfs.status(s.address, command, body) == fdfs.ENOENT,
                5,
            )


@pytest.mark.parametrize("size", SIZES)
def test_normal_file(cluster, size):
    c = cluster.client()
    data = os.urandom(size)
    for s in cluster.storages:
        name = c.upload(data, ext="jpg", at=s.address)
        assert name.startswith("group1/M00/") and name.endswith(".jpg") and len(name) == 51
        everywhere(cluster, name, data)
        if size > 10:
            assert c.download(name, offset=3, size=5) == data[3:8]
            assert c.download(name, offset=size - 2, size=100) == data[-2:]
        assert fdfs.status(s.address, DOWNLOAD, struct.pack(">qq", size + (size == 0), 0) + fdfs.split(name)) == 22
        for command, body in (
            (APPEND, named(remote(name), 1) + b"x"),
            (MODIFY, named(remote(name), 0, 1) + b"x"),
            (TRUNCATE, named(remote(name), 0)),
            (REGENERATE, remote(name)),
        ):
            assert fdfs.status(s.address, command, body) == fdfs.EINVAL
        everywhere(cluster, name, data)
        c.delete(name, at=cluster.storages[-1].address)
        nowhere(cluster, name)
        assert fdfs.status(s.address, DELETE, fdfs.split(name)) == fdfs.ENOENT


def upload_request(data, ext=b"bin", path=0):
    body = struct.pack(">Bq", path, len(data)) + ext.ljust(6, b"\0") + data
    return struct.pack(">qBB", len(body), UPLOAD, 0) + body


def file_answer(sock):
    length, command, status = struct.unpack(">qBB", fdfs.receive(sock, 10))
    assert (command, status) == (100, 0)
    body = fdfs.receive(sock, length)
    return fdfs.text(body[:16]) + "/" + body[16:].decode()


def test_uploads_in_a_row(cluster):
    """One connection that uploads and uploads is served by the node's loop where it
    is alone in its group: whole, in pieces, several at once, with others between."""
    c = cluster.client()
    at = cluster.storages[0].address
    files = {}
    with socket.create_connection(at, 30) as s:
        for i in range(12):
            data = os.urandom(1000 * i)
            raw = upload_request(data)
            if i % 3 == 2:  # as some clients do
                s.sendall(raw[:25])
                time.sleep(0.02)
                s.sendall(raw[25:])
            else:
                s.sendall(raw)
            files[file_answer(s)] = data
        many = [os.urandom(300) for _ in range(8)]
        s.sendall(b"".join(upload_request(data) for data in many))
        for data in many:
            files[file_answer(s)] = data
        name = next(iter(files))
        fdfs.request(s, INFO, fdfs.split(name))
        for data in many:
            s.sendall(upload_request(data, ext=b""))
            files[file_answer(s)] = data
        large = os.urandom(100000)  # more than the loop takes
        s.sendall(upload_request(large))
        files[file_answer(s)] = large
        for data in many[:3]:
            s.sendall(upload_request(data))
            files[file_answer(s)] = data
        # Refused, and closed.
        s.sendall(upload_request(b"x", path=9))
        assert fdfs.receive(s, 10) == struct.pack(">qBB", 0, 100, fdfs.EINVAL)
        assert s.recv(1) == b""
    assert len(files) == 32
    for name, data in files.items():
        assert c.download(name, at=at) == data
    last = cluster.storages[-1].address
    for name, data in list(files.items())[::5]:
        assert c.download(name, at=last) == data


def test_uploads_of_many_at_once(node):
    """Every answer names the file of its own connection."""
    c = node.client()
    failed = []

    def run(seed):
        try:
            with socket.create_connection(node.at, 60) as s:
                for i in range(60):
                    data = struct.pack(">II", seed, i) * (1 + (seed * 7 + i) % 400)
                    s.sendall(upload_request(data))
                    assert c.download(file_answer(s), at=node.at) == data
        except Exception as e:  # told by the test's own thread
            failed.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed[0]


@pytest.mark.parametrize("size", SIZES)
def test_appender(cluster, size):
    """Changes through any node are there for readers of every node (F2)."""
    c = cluster.client()
    nodes = [s.address for s in cluster.storages] * 3
    data = os.urandom(size)
    name = c.upload(data, ext="log", appender=True, at=nodes[0])
    assert len(name) == 51
    everywhere(cluster, name, data)
    c.append(name, b"small", at=nodes[1])
    data += b"small"
    everywhere(cluster, name, data)
    big = os.urandom(200000)
    c.append(name, big, at=nodes[2])
    data += big
    everywhere(cluster, name, data)
    modify(nodes[0], name, 3, b"MODIFIED")
    data = data[:3] + b"MODIFIED" + data[11:]
    everywhere(cluster, name, data)
    modify(nodes[1], name, len(data) - 10, big)
    data = data[:-10] + big
    everywhere(cluster, name, data)
    body = named(remote(name), len(data) + 1, 1) + b"x"
    assert fdfs.status(nodes[2], MODIFY, body) == fdfs.EINVAL
    c.truncate(name, len(data) + 70000, at=nodes[2])
    data += bytes(70000)
    everywhere(cluster, name, data)
    c.append(name, b"", at=nodes[0])
    c.truncate(name, 7, at=nodes[0])
    data = data[:7]
    everywhere(cluster, name, data)
    c.set_meta(name, {"a": "b"}, at=nodes[1])
    new = regenerate(nodes[2], name)
    assert new != name and new.endswith(".log") and len(new) == 51
    everywhere(cluster, new, data)
    for s in cluster.storages:
        assert c.get_meta(new, at=s.address) == {"a": "b"}
    nowhere(cluster, name)
    assert fdfs.status(nodes[0], APPEND, named(remote(new), 1) + b"x") == fdfs.EINVAL
    for command, more in ((APPEND, (1,)), (MODIFY, (0, 1)), (TRUNCATE, (0,))):
        body = named(remote(name), *more) + (b"" if command == TRUNCATE else b"x")
        assert fdfs.status(nodes[1], command, body) == fdfs.ENOENT
    assert fdfs.status(nodes[1], REGENERATE, remote(name)) == fdfs.ENOENT


@pytest.mark.parametrize("size", (70000, 1 << 20, (3 << 20) + 1))
def test_regenerate_larger(cluster, size):
    c = cluster.client()
    nodes = [s.address for s in cluster.storages] * 2
    data = os.urandom(size)
    name = c.upload(data, ext="log", appender=True, at=nodes[0])
    c.append(name, b"and more", at=nodes[1])
    c.set_meta(name, {"a": "b"}, at=nodes[1])
    new = regenerate(nodes[1], name)
    everywhere(cluster, new, data + b"and more")
    assert c.get_meta(new, at=nodes[0]) == {"a": "b"}
    nowhere(cluster, name)


@pytest.mark.parametrize("size", (0, 5, 70000))
def test_slave(cluster, size):
    c = cluster.client()
    nodes = [s.address for s in cluster.storages] * 3
    data = os.urandom(size)
    master = c.upload(b"master", ext="jpg", at=nodes[0])
    name = slave(nodes[1], master, "_150x150", "png", data)
    assert name == master[:-4] + "_150x150.png"
    everywhere(cluster, name, data)
    for at in nodes:
        assert fdfs.status(at, SLAVE, slave_body(master, "_150x150", "png", b"x")) == fdfs.EEXIST
    assert fdfs.status(nodes[0], APPEND, named(remote(name), 1) + b"x") == fdfs.EINVAL
    for prefix, ext in (("", "png"), ("-m", ""), ("a/b", "png"), ("_x", "a/b")):
        assert fdfs.status(nodes[0], SLAVE, slave_body(master, prefix, ext, b"x")) == fdfs.EINVAL
    c.delete(name, at=nodes[2])
    nowhere(cluster, name)
    again = slave(nodes[2], master, "_150x150", "png", b"another one")
    assert again == name
    wait_for("the new slave", lambda: c.download(name, at=nodes[0]) == b"another one", 5)
    c.delete(master, at=nodes[1])
    everywhere(cluster, name, b"another one")
    nowhere(cluster, master)
    assert fdfs.status(nodes[0], SLAVE, slave_body(master, "_new", "png", b"x")) == fdfs.ENOENT


def test_metadata(cluster):
    c = cluster.client()
    nodes = [s.address for s in cluster.storages] * 4
    for appender in (False, True):
        name = c.upload(b"x", appender=appender)

        def is_everywhere(want):
            for at in nodes:
                assert c.get_meta(name, at=at) == want

        for at in nodes:
            assert fdfs.status(at, GET_META, fdfs.split(name)) == fdfs.ENOENT
        c.set_meta(name, {"width": "100", "author": "bob"}, at=nodes[0])
        is_everywhere({"author": "bob", "width": "100"})
        c.set_meta(name, {"width": "999", "height": "1"}, b"M", at=nodes[1])
        is_everywhere({"author": "bob", "width": "999", "height": "1"})
        c.set_meta(name, {"z": "\u00e9" * 128}, b"O", at=nodes[2])
        is_everywhere({"z": "\u00e9" * 128})
        c.set_meta(name, {}, b"O", at=nodes[0])
        for at in nodes:
            assert fdfs.status(at, GET_META, fdfs.split(name)) == fdfs.ENOENT
        many = {"name%04d" % i: "value%d" % i for i in range(2000)}
        c.set_meta(name, many, at=nodes[1])
        is_everywhere(many)
        c.delete(name, at=nodes[0])
        nowhere(cluster, name)
        with pytest.raises(fdfs.FdfsError) as e:
            c.set_meta(name, {"a": "b"}, at=nodes[1])
        assert e.value.status == fdfs.ENOENT


def test_many_appends(cluster):
    """Many writers, through all nodes: nothing twice, nothing lost (F5)."""
    c = cluster.client()
    nodes = [s.address for s in cluster.storages]
    name = c.upload(b"", appender=True)
    failed = []

    def run(no):
        for i in range(60):
            try:
                c.append(name, b"%d:%d;" % (no, i), at=nodes[(no + i) % len(nodes)])
            except (OSError, fdfs.FdfsError) as e:
                failed.append((no, i, e))

    threads = [threading.Thread(target=run, args=(no,)) for no in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed[:3]
    data = c.download(name)
    everywhere(cluster, name, data)
    records = [tuple(map(int, r.split(b":"))) for r in data.split(b";")[:-1]]
    assert len(records) == 240 and len(set(records)) == 240
    for no in range(4):  # each writer's in its order
        assert [r for r in records if r[0] == no] == [(no, i) for i in range(60)]


def test_other_groups(cluster):
    name = cluster.client().upload(b"x")
    other = fdfs.group16("group2") + remote(name)
    at = cluster.storages[0].address
    for command, body in (
        (DELETE, other),
        (DOWNLOAD, bytes(16) + other),
        (GET_META, other),
        (INFO, other),
        (SET_META, struct.pack(">qq", len(other) - 16, 3) + b"O" + other + b"a\2b"),
    ):
        assert fdfs.status(at, command, body) == fdfs.EINVAL, command
    everywhere(cluster, name, b"x")


def test_links_are_not_supported(node):
    name = node.client().upload(b"x")
    n = remote(name)
    body = struct.pack(">qqq", len(n), len(n), 3) + fdfs.group16("group1")
    body += b"_l".ljust(16, b"\0") + b"bin".ljust(6, b"\0") + n + n + b"sig"
    assert fdfs.status(node.at, LINK, body) == 95


# --- files of S3 ---


def store_s3(node, data, kind=1):
    """What a gateway does: a file of class S3 (1) or index (3)."""
    with rpc.Rpc(node.at, node.secret.encode(), rpc.GATE) as r:
        args = struct.pack("<B", kind) + os.urandom(16) + struct.pack("<Q", 1)
        args += os.urandom(16) + rpc.pack_text("note") + rpc.pack_text("")
        args += struct.pack("<QBI", len(data), 1, binascii.crc32(data))
        answer, _ = r.call(1, args, data)
        return rpc.Unpack(answer).text().decode()


@pytest.mark.parametrize("kind", (1, 3))
def test_files_of_s3_do_not_exist(cluster, kind):
    """For no command, on no node; and nothing happens to them."""
    c = cluster.client()
    name = store_s3(cluster, b"a secret", kind)
    n = remote(name)
    for s in cluster.storages:
        for command, body in (
            (DOWNLOAD, bytes(16) + fdfs.split(name)),
            (INFO, fdfs.split(name)),
            (GET_META, fdfs.split(name)),
            (DELETE, fdfs.split(name)),
            (SET_META, struct.pack(">qq", len(n), 3) + b"O" + fdfs.split(name) + b"a\2b"),
            (SLAVE, slave_body(name, "_s", "jpg", b"x")),
        ):
            assert fdfs.status(s.address, command, body) == fdfs.ENOENT, command
        for command, more in ((APPEND, (1,)), (MODIFY, (0, 1)), (TRUNCATE, (0,))):
            body = named(n, *more) + (b"" if command == TRUNCATE else b"x")
            assert fdfs.status(s.address, command, body) in (fdfs.EINVAL, fdfs.ENOENT)
        assert fdfs.status(s.address, REGENERATE, n) in (fdfs.EINVAL, fdfs.ENOENT)
    with rpc.Rpc(cluster.at, cluster.secret.encode(), rpc.GATE) as r:
        args = rpc.pack_text(name) + struct.pack("<QI", 0, 100)
        assert r.call(rpc.READ, args)[1] == b"a secret"
    # nor can a gateway delete what is FastDFS's
    mine = c.upload(b"mine")
    with rpc.Rpc(cluster.at, cluster.secret.encode(), rpc.GATE) as r:
        args = os.urandom(16) + struct.pack("<QI", 1, 1) + rpc.pack_text(mine)
        with pytest.raises(rpc.RpcError) as e:
            r.call(8, args)
        assert e.value.name == "ACCESS_DENIED"
    everywhere(cluster, mine, b"mine")


def test_metadata_and_segments_are_no_files(node):
    c = node.client()
    name = c.upload(b"x")
    c.set_meta(name, {"a": "b"})
    for s in node.storages:
        for command in (DOWNLOAD, INFO, GET_META, DELETE):
            body = fdfs.split(name + "-m")
            body = bytes(16) + body if command == DOWNLOAD else body
            assert fdfs.status(s.address, command, body) == fdfs.ENOENT, command
    assert c.get_meta(name) == {"a": "b"}


# --- the command line ---


def admin(node, *words, check=True):
    done = subprocess.run(
        [binary(), "admin", "fdfs"] + list(words) + ["--trackers", node.tracker_list],
        env=node.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    assert not check or done.returncode == 0, done
    return done if not check else done.stdout


def test_command_line(node, tmp_path):
    f = tmp_path / "body.txt"
    f.write_bytes(b"hello")
    name = admin(node, "upload", str(f)).decode().strip()
    assert name.endswith(".txt")
    assert admin(node, "download", name) == b"hello"
    out = tmp_path / "out"
    admin(node, "download", name, str(out))
    assert out.read_bytes() == b"hello"
    assert b"size    5\n" in admin(node, "info", name)
    admin(node, "meta-merge", name, "a=1", "b=2")
    admin(node, "meta-merge", name, "b=3")
    assert admin(node, "meta", name) == b"a=1\nb=3\n"
    admin(node, "meta-replace", name, "c=4")
    assert admin(node, "meta", name) == b"c=4\n"
    child = admin(node, "upload-slave", name, "_s", str(f)).decode().strip()
    assert child.endswith("_s.txt") and admin(node, "download", child) == b"hello"
    log = admin(node, "upload-appender", str(f)).decode().strip()
    admin(node, "append", log, str(f))
    admin(node, "modify", log, "1", str(f))
    admin(node, "truncate", log, "8")
    assert admin(node, "download", log) == b"hhelloel"
    new = admin(node, "regenerate", log).decode().strip()
    assert admin(node, "download", new) == b"hhelloel"
    for one in (name, child, new):
        admin(node, "delete", one)
        assert admin(node, "info", one, check=False).returncode == 1
    assert admin(node, "download", name, str(out), check=False).returncode == 1
    assert admin(node, "frobnicate", "x", check=False).returncode == 2
    assert admin(node, "delete", check=False).returncode == 2
