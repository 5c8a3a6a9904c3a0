"""FastDFS's protocol as a client speaks it, in Python: one connection per
request, statuses as FdfsError. Written from docs/FASTDFS.md alone."""

import socket
import struct

ENOENT, EIO, EAGAIN, EACCES, EBUSY, EEXIST, EINVAL, ENOSPC = (
    2,
    5,
    11,
    13,
    16,
    17,
    22,
    28,
)


class FdfsError(Exception):
    def __init__(self, status, command):
        super().__init__("command %d: status %d" % (command, status))
        self.status = status


def receive(sock, n):
    parts = []
    while n > 0:
        piece = sock.recv(min(n, 1 << 20))
        if not piece:
            raise ConnectionError("closed with %d bytes to come" % n)
        parts.append(piece)
        n -= len(piece)
    return b"".join(parts)


def request(sock, command, body=b"", status=0):
    """The answer's body; FdfsError for any status but 0."""
    sock.sendall(struct.pack(">qBB", len(body), command, status) + body)
    length, answer, status = struct.unpack(">qBB", receive(sock, 10))
    assert answer == 100, answer
    assert status == 0 or length == 0, (status, length)
    body = receive(sock, length)
    if status:
        raise FdfsError(status, command)
    return body


def ask(address, command, body=b"", timeout=10):
    with socket.create_connection(address, timeout) as s:
        return request(s, command, body)


def status(address, command, body=b"", timeout=10):
    try:
        ask(address, command, body, timeout)
    except FdfsError as e:
        return e.status
    return 0


def group16(group):
    return group.encode().ljust(16, b"\0")


def text(field):
    return field.split(b"\0")[0].decode()


def servers(body, with_path):
    """(group, [(ip, port)], path) of an answer to a query."""
    rest = body[16:-1] if with_path else body[16:]
    width = 23 if len(rest) % 23 == 0 else 53
    assert rest and len(rest) % width == 0, len(body)
    found = []
    for i in range(0, len(rest), width):
        ip = text(rest[i : i + width - 8])
        found.append((ip, struct.unpack(">q", rest[i + width - 8 : i + width])[0]))
    return text(body[:16]), found, body[-1] if with_path else None


def split(file_id):
    group, name = file_id.split("/", 1)
    return group16(group) + name.encode()


class Client:
    """Asks the trackers in turn, then the storage that they name."""

    def __init__(self, trackers, timeout=10):
        self.trackers, self.timeout = list(trackers), timeout

    def tracker(self, command, body=b""):
        last = None
        for t in list(self.trackers):
            try:
                return ask(t, command, body, self.timeout)
            except OSError as e:
                last = e
                self.trackers = self.trackers[1:] + self.trackers[:1]
        raise last

    def where_to_store(self, group=None):
        body = self.tracker(104 if group else 101, group16(group) if group else b"")
        _, found, path = servers(body, True)
        return found[0], path

    def where_to_fetch(self, file_id, update=False):
        return servers(self.tracker(103 if update else 102, split(file_id)), False)[1][
            0
        ]

    def upload(self, data, ext="bin", group=None, appender=False, at=None):
        address, path = (at, 0xFF) if at else self.where_to_store(group)
        head = struct.pack(">Bq", path, len(data)) + ext.encode().ljust(6, b"\0")
        body = ask(address, 23 if appender else 11, head + data, self.timeout)
        self.stored_at = address
        return text(body[:16]) + "/" + body[16:].decode()

    def download(self, file_id, offset=0, size=0, at=None):
        address = at or self.where_to_fetch(file_id)
        body = struct.pack(">qq", offset, size) + split(file_id)
        return ask(address, 14, body, self.timeout)

    def delete(self, file_id, at=None):
        ask(at or self.where_to_fetch(file_id, True), 12, split(file_id), self.timeout)

    def append(self, file_id, data, at=None):
        name = file_id.split("/", 1)[1].encode()
        body = struct.pack(">qq", len(name), len(data)) + name + data
        ask(at or self.where_to_fetch(file_id, True), 24, body, self.timeout)

    def truncate(self, file_id, size, at=None):
        name = file_id.split("/", 1)[1].encode()
        body = struct.pack(">qq", len(name), size) + name
        ask(at or self.where_to_fetch(file_id, True), 36, body, self.timeout)

    def set_meta(self, file_id, pairs, flag=b"O", at=None):
        name = file_id.split("/", 1)[1].encode()
        meta = b"\1".join(
            b"\2".join((k.encode(), v.encode())) for k, v in pairs.items()
        )
        body = struct.pack(">qq", len(name), len(meta)) + flag + split(file_id) + meta
        ask(at or self.where_to_fetch(file_id, True), 13, body, self.timeout)

    def get_meta(self, file_id, at=None):
        body = ask(at or self.where_to_fetch(file_id), 15, split(file_id), self.timeout)
        return dict(
            tuple(x.decode() for x in p.split(b"\2")) for p in body.split(b"\1")
        )

    def info(self, file_id, at=None):
        """(size, time, crc32, ip)"""
        body = ask(at or self.where_to_fetch(file_id), 22, split(file_id), self.timeout)
        size, when, crc = struct.unpack(">qqQ", body[:24])
        return size, when, crc & 0xFFFFFFFF, text(body[24:])
