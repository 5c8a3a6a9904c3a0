"""The protocol between Creel's processes (docs/CLUSTER.md), in Python: enough to
play a storage node, a gateway or an administrator to a tracker."""

import hashlib
import hmac
import os
import socket
import struct

import fdfs

GATE, NODE, PEER, TRACKER, ADMIN = 1, 2, 4, 8, 16
STORE_BEGIN, STORE_DATA, FENCE = 2, 3, 11
READ, STAT, MEMBERS, REMOVE = 6, 7, 40, 45
ANNOUNCE, MAP, GATE_ANNOUNCE, TRACKER_ANNOUNCE, FOUND, FORGET = range(60, 66)
ACTIVE, RECOVERY = 7, 9


class RpcError(Exception):
    def __init__(self, name, why):
        super().__init__("%s: %s" % (name, why))
        self.name = name


def pack_text(b):
    b = b.encode() if isinstance(b, str) else b
    return struct.pack("<I", len(b)) + b


def pack_addr(address):
    return pack_text(address[0]) + struct.pack("<I", address[1])


class Unpack:
    def __init__(self, data):
        self.data, self.at = data, 0

    def raw(self, n):
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n : self.at]

    def num(self, form):
        return struct.unpack("<" + form, self.raw(struct.calcsize("<" + form)))[0]

    def text(self):
        return self.raw(self.num("I"))

    def addr(self):
        return self.text().decode(), self.num("I")

    def rest(self):
        return self.data[self.at :]


def derived_cluster_id(secret):
    return hmac.new(secret, b"creel cluster id", hashlib.sha256).digest()[:16]


class Rpc:
    def __init__(
        self,
        address,
        secret,
        kind=ADMIN,
        ident=None,
        group="",
        server_id=0,
        cluster=None,
        timeout=10,
        prove=True,
    ):
        self.cluster = cluster or derived_cluster_id(secret)
        self.ident = ident or os.urandom(16)
        self.sock = socket.create_connection(address, timeout)
        hello = struct.pack("<BBB", 1, 1, kind) + self.ident + self.cluster
        hello += pack_text(group) + struct.pack("<I", server_id) + os.urandom(32)
        answer = fdfs.request(self.sock, 201, hello)
        u = Unpack(answer)
        u.raw(1 + 1 + 16 + 32)
        said = hello + answer[: u.at]
        proof = u.raw(32)
        assert hmac.compare_digest(proof, self._prove(secret, b"creel server", said))
        if prove:
            mine = self._prove(secret, b"creel client", hello + answer)
            fdfs.request(self.sock, 201, b"\1\2" + mine)

    @staticmethod
    def _prove(secret, label, said):
        return hmac.new(secret, label + b"\0" + said, hashlib.sha256).digest()

    def call(self, op, args=b"", body=b""):
        """(args, body) of the answer."""
        head = struct.pack("<BBHQQ", 1, 0, op, 1, 0) + self.cluster + pack_text(args)
        u = Unpack(
            fdfs.request(self.sock, 200, struct.pack(">q", len(head)) + head + body)
        )
        u.num("B")
        name, why = u.text().decode(), u.text().decode()
        u.raw(16)
        args = u.text()
        if name:
            raise RpcError(name, why)
        return args, u.rest()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def node(
    ident,
    group,
    group_id,
    server_id,
    address,
    members,
    epoch=1,
    state=ACTIVE,
    can_write=True,
    avail=100 << 30,
    reason="",
    outer=("", 0),
):
    """A packed cmap_node. @members: [(node id, server ID, address)]"""
    b = ident + bytes(16) + group_id + struct.pack("<I", server_id) + pack_text(group)
    b += (
        pack_addr(address)
        + pack_addr(outer)
        + struct.pack("<I", 0)
        + pack_text("0.1.0")
    )
    b += (
        struct.pack("<B", state)
        + pack_text(reason)
        + struct.pack("<BBB", 0, can_write, 0)
    )
    b += struct.pack("<QQQQQQ", 0, 0, epoch, 1, 1700000000, 1700000000)
    b += struct.pack("<IIQQB", 10, 0, 0, 0, 0)
    b += struct.pack("<I", 348) + bytes(348)
    b += struct.pack("<I", 1) + struct.pack("<QQQQB", 200 << 30, avail, 0, 0, 0)
    b += struct.pack("<I", len(members))
    for m, sid, at in members:
        b += m + struct.pack("<I", sid) + pack_addr(at) + pack_addr(("", 0))
    return pack_text(b)
