"""What gateways and administrators ask a storage node for (storage/server/ops.h),
packed by hand."""

import binascii
import os
import struct
import time

import pytest
import rpc
from conftest import Node
from kit import wait_for

STORE, BEGIN, DATA, COMMIT, ABORT, READ, STAT, DELETE, FIND, EACH, FENCE, TIDY, STATUS = range(1, 14)


class Gate(rpc.Rpc):
    def __init__(self, node, at=None, index=None, epoch=1, kind=rpc.GATE):
        super().__init__(at or node.at, node.secret.encode(), kind)
        self.index, self.epoch = index or os.urandom(16), epoch

    def head(self, data, write=None, note=b"note", kind=1, ext="", crc=None, size=None):
        b = struct.pack("<B", kind) + self.index + struct.pack("<Q", self.epoch)
        b += (write or os.urandom(16)) + rpc.pack_text(note) + rpc.pack_text(ext)
        b += struct.pack("<Q", (1 << 64) - 1 if size is None else size)
        return b + struct.pack("<BI", crc is not None, crc or 0)

    def store(self, data, **more):
        return File(rpc.Unpack(self.call(STORE, self.head(data, **more), data)[0]))

    def begin(self, **more):
        u = rpc.Unpack(self.call(BEGIN, self.head(b"", **more))[0])
        return u.num("Q")

    def stream(self, op, no, offset=0, crc=None, data=b""):
        args = struct.pack("<QQBI", no, offset, crc is not None, crc or 0)
        return self.call(op, args, data)[0]

    def data(self, no, offset, data):
        u = rpc.Unpack(self.stream(DATA, no, offset, data=data))
        assert u.num("Q") == no
        return u.num("Q")

    def commit(self, no, size, crc=None):
        return File(rpc.Unpack(self.stream(COMMIT, no, size, crc)))

    def read(self, name, off=0, size=1 << 20):
        args, body = self.call(READ, rpc.pack_text(name) + struct.pack("<QI", off, size))
        return File(rpc.Unpack(args)), body

    def delete(self, *names):
        args = self.index + struct.pack("<QI", self.epoch, len(names))
        self.call(DELETE, args + b"".join(rpc.pack_text(n) for n in names))

    def fence(self, epoch):
        args = self.index + struct.pack("<Q", epoch)
        return struct.unpack("<Q", self.call(FENCE, args)[0][16:])[0]


class File:
    def __init__(self, u):
        self.name = u.text().decode()
        self.size, self.crc, self.version, self.made = u.num("Q"), u.num("I"), u.num("Q"), u.num("Q")
        self.kind, self.index, self.write = u.num("B"), u.raw(16), u.raw(16)


def refused(name, fn, *args, **more):
    with pytest.raises(rpc.RpcError) as e:
        fn(*args, **more)
    assert e.value.name == name, e.value


@pytest.mark.parametrize("size", (0, 1, 70000, 3 << 20))
def test_store(cluster, size):
    data, write = os.urandom(size), os.urandom(16)
    with Gate(cluster) as g:
        f = g.store(data, write=write, note=b"bucket/key", crc=binascii.crc32(data), ext="jpg")
        assert (f.size, f.crc, f.kind, f.index, f.write) == (size, binascii.crc32(data), 1, g.index, write)
        assert g.store(data, write=write).name == f.name  # repeated
        found = File(rpc.Unpack(g.call(FIND, write)[0]))
        assert found.name == f.name
        args, _ = g.call(STAT, rpc.pack_text(f.name) + struct.pack("<QI", 0, 0))
        u = rpc.Unpack(args)
        assert File(u).name == f.name and u.text() == b"bucket/key"
    for s in cluster.storages:
        with Gate(cluster, s.address) as g:
            for off, n in ((0, 100), (5, 7), (size - 1 if size else 0, 100), (size, 10), (size + 5, 1)):
                info, body = g.read(f.name, off, n)
                assert body == data[off : off + n] and info.size == size
    with Gate(cluster, index=f.index) as g:
        g.delete(f.name, "group1/M00/00/00/AQAAAGsJ71eAYJQNAAAFeEEZMs8605.txt")
        refused("NOT_FOUND", g.read, f.name)
        refused("NOT_FOUND", g.call, FIND, os.urandom(16))


def test_store_refuses(node):
    with Gate(node) as g:
        refused("INVALID", g.store, b"data", crc=1)
        for kind in (0, 2, 4, 5, 6, 7):
            refused("INVALID", g.store, b"data", kind=kind)
        refused("INVALID", g.store, b"data", ext="a/b")
        refused("INVALID", g.store, b"data", note=bytes(3000))
        refused("INVALID", g.call, STORE, b"short", b"data")
        refused("INVALID", g.call, READ, rpc.pack_text("x") + struct.pack("<QI", 0, 5 << 20))


def test_stream(cluster):
    data = os.urandom(5 << 20)
    piece = 1 << 20
    with Gate(cluster) as g:
        no = g.begin(size=len(data))
        for off in range(0, len(data), piece):
            assert g.data(no, off, data[off : off + piece]) == off + piece
            assert g.data(no, off, data[off : off + piece]) == off + piece  # again
        assert g.data(no, len(data) - 10, data[-10:]) == len(data)
        f = g.commit(no, len(data), binascii.crc32(data))
        assert (f.size, f.crc) == (len(data), binascii.crc32(data))
        refused("NOT_FOUND", g.commit, no, len(data))
        at = cluster.storages[-1].address
        with Gate(cluster, at) as h:
            got = b"".join(h.read(f.name, off, piece)[1] for off in range(0, len(data), piece))
            assert got == data


def test_stream_refuses(node):
    with Gate(node) as g, Gate(node) as other:
        no = g.begin()
        g.data(no, 0, b"0123456789")
        refused("INVALID", g.data, no, 11, b"x")
        assert g.data(no, 8, b"89ab") == 12
        refused("NOT_FOUND", other.data, no, 12, b"x")
        refused("NOT_FOUND", other.commit, no, 12)
        other.stream(ABORT, no)
        refused("INVALID", g.commit, no, 11)
        refused("NOT_FOUND", g.commit, no, 12)
        no = g.begin()
        g.data(no, 0, b"0123456789")
        refused("INVALID", g.commit, no, 10, crc=1)
        no = g.begin()
        g.stream(ABORT, no)
        g.stream(ABORT, no)
        refused("NOT_FOUND", g.data, no, 0, b"x")


def test_streams_are_bounded(node):
    with Gate(node) as g:
        all_ = [g.begin() for _ in range(256)]
        refused("BUSY", g.begin)
        for no in all_:
            g.stream(ABORT, no)
        g.stream(ABORT, g.begin())


def test_many_large_streams(node):
    """More than a gateway's share, and one too many is told so when it begins, while
    another node can still be asked."""
    size = (1 << 20) + 1
    with Gate(node) as g:
        all_ = [g.begin(size=size) for _ in range(160)]
        refused("BUSY", g.begin, size=size)
        for no in all_[:100]:
            assert g.data(no, 0, bytes(size)) == size
        crc = binascii.crc32(bytes(size))
        for no in all_[:3]:
            assert g.commit(no, size, crc).size == size
        for no in all_[3:]:
            g.stream(ABORT, no)
        g.stream(ABORT, g.begin(size=size))


def test_fences():
    """An index that has moved on is not written to any more; after kill -9 too."""
    with Node() as n:
        with Gate(n, epoch=3) as g:
            f = g.store(b"of epoch 3")
            assert g.fence(5) == 5
            refused("ACCESS_DENIED", g.store, b"too late")
            refused("ACCESS_DENIED", g.begin)
            refused("ACCESS_DENIED", g.delete, f.name)
            refused("ACCESS_DENIED", g.fence, 4)
            assert g.read(f.name)[1] == b"of epoch 3"
            index = g.index
        n.storages[0].kill()
        n.storages[0].start()
        n.wait_active()
        with Gate(n, index=index, epoch=4) as g, Gate(n, index=index, epoch=5) as h:
            refused("ACCESS_DENIED", g.store, b"too late")
            refused("ACCESS_DENIED", g.delete, f.name)
            no = h.begin()
            h.data(no, 0, b"begun in epoch 5")
            with Gate(n, index=index, epoch=6) as i:
                i.store(b"an epoch that is taken over")  # as if by FENCE
            refused("NOT_FOUND", h.commit, no, 16)  # ended with its epoch
            refused("ACCESS_DENIED", h.store, b"x")
        with Gate(n, epoch=1) as g:
            g.store(b"of another index")


def test_each(node):
    with Gate(node) as g:
        names = {g.store(b"%d" % i, kind=3).name for i in range(25)}
        seen, cursor = [], b""
        while True:
            args, _ = g.call(EACH, struct.pack("<BI", 3, 10) + rpc.pack_text(cursor))
            u = rpc.Unpack(args)
            cursor, is_end, n = u.text(), u.num("B"), u.num("I")
            assert n <= 10
            files = [File(u) for _ in range(n)]
            assert all(f.kind == 3 for f in files)
            seen += [f.name for f in files]
            if is_end:
                break
        assert names <= set(seen) and len(seen) == len(set(seen))
        refused("INVALID", g.call, EACH, struct.pack("<BI", 3, 0) + rpc.pack_text(b""))
        refused("INVALID", g.call, EACH, struct.pack("<BI", 3, 9) + rpc.pack_text(b"short"))


def test_find_write():
    """What a node does not know its group is asked for; "no such write" is the word
    of enough of them."""
    write, nobodys = os.urandom(16), os.urandom(16)
    with Node(3) as n:
        with Gate(n, at=n.storages[0].address) as g:
            n.storages[2].kill()
            name = wait_for("a copy", lambda: g.store(b"of two", write=write).name)
        n.storages[2].start(wait=0)
        answers = []
        end = time.monotonic() + 15
        while len(answers) < 50 and time.monotonic() < end:
            try:
                with Gate(n, at=n.storages[2].address) as g:
                    while len(answers) < 50:
                        f = File(rpc.Unpack(g.call(FIND, write)[0]))
                        answers.append(f.name)
            except OSError:
                continue  # not up yet
            except rpc.RpcError as e:
                assert e.name in ("RETRY", "BUSY"), e
        assert set(answers) == {name}
        n.wait_active()
        with Gate(n, at=n.storages[2].address) as g:
            refused("NOT_FOUND", g.call, FIND, nobodys)
            n.storages[0].kill()
            refused("NOT_FOUND", g.call, FIND, nobodys)
            n.storages[1].kill()
            refused("RETRY", g.call, FIND, nobodys)
            assert File(rpc.Unpack(g.call(FIND, write)[0])).name == name


def test_tidy_and_status(node):
    with Gate(node, kind=rpc.ADMIN) as g:
        for what in (1, 2, 3):
            assert struct.unpack("<QQ", g.call(TIDY, bytes([what]))[0]) == (0, 0)
        refused("INVALID", g.call, TIDY, b"\x09")
        args, _ = g.call(STATUS)
        u = rpc.Unpack(args)
        inner = u.text()
        assert b"group1" in inner
        assert u.num("I") == 1  # store paths
        assert u.text().decode() == node.storages[0].dir


def test_who_may_ask(node):
    """A node of another group, and an administrator, may not do all."""
    with Gate(node, kind=rpc.ADMIN) as g:
        refused("ACCESS_DENIED", g.store, b"x")
        refused("ACCESS_DENIED", g.fence, 9)
    with rpc.Rpc(node.at, node.secret.encode(), rpc.NODE, group="group2", server_id=9) as r:
        with pytest.raises(rpc.RpcError):
            r.call(READ, rpc.pack_text("x") + struct.pack("<QI", 0, 1))
    wait_for("the node", lambda: node.client().upload(b"x"), 5)
