#!/usr/bin/python3
"""In-memory FastDFS tracker + storage, written from FASTDFS.md (by its author).

Purpose: an executable check that the facts file is sufficient for unmodified
FastDFS clients.  Not a product: one thread per connection, everything in RAM.

    mock.py [--host 127.0.0.1] [--tport 22122] [--sport 23000] [--wide]
--wide answers with the 46-byte address form (69/70/517) instead of 39/40/487.
"""
import argparse, base64, random, socket, struct, threading, time, zlib

ap = argparse.ArgumentParser()
ap.add_argument("--host", default="127.0.0.1")
ap.add_argument("--tport", type=int, default=22122)
ap.add_argument("--sport", type=int, default=23000)
ap.add_argument("--wide", action="store_true")
A = ap.parse_args()

GROUP, IPW = b"group1", 46 if A.wide else 16
NPATH, START = 1, int(time.time())
files, metas, stats, lock = {}, {}, {}, threading.Lock()
ENOENT, EEXIST, EINVAL, EOPNOTSUPP = 2, 17, 22, 95


class Bad(Exception):
    pass


def be8(n):
    return struct.pack(">q", n)


def num(b):
    return struct.unpack(">q", b)[0]


def pad(s, n):
    return s[:n].ljust(n, b"\0")


def bump(key, n=1):
    with lock:
        stats[key] = stats.get(key, 0) + n


# ---- file ids -----------------------------------------------------------
def make_name(path, data, ext, appender, old=None):
    rnd = 0x80000000 | random.getrandbits(23)
    size = rnd << 32 | (0 if appender else len(data) & 0xFFFFFFFF)
    if appender:
        size |= 1 << 58
    elif len(data) >> 32:
        size = len(data)
    raw = socket.inet_aton(A.host) + struct.pack(
        ">IQI", int(time.time()), size, zlib.crc32(data))
    b64 = base64.urlsafe_b64encode(raw).rstrip(b"=")
    assert len(b64) == 27
    if old:
        return old[:10] + b64 + old[37:]
    digits = b"".join(b"%d" % random.randrange(10) for _ in range(7))
    tail = digits[:6 - len(ext)] + b"." + ext if ext else digits
    return b"M%02X/%02X/%02X/" % (path, 0, 0) + b64 + tail


def is_appender(name):
    raw = base64.urlsafe_b64decode(name[10:37] + b"=")
    return struct.unpack(">Q", raw[8:16])[0] >> 58 & 1


def slave_name(master, prefix, ext):
    dot = master.find(b".", len(master) - 7)
    return (master if dot < 0 else master[:dot]) + prefix + (b"." + ext if ext else b"")


# ---- tracker ------------------------------------------------------------
def query_ip():
    return pad(A.host.encode(), IPW - 1)


def stat_block():
    o = [stats.get(k, 0) for k in ("upload", "append", "modify", "truncate", "setmeta",
                                   "delete", "download", "getmeta", "link", "unlink")]
    v = [x for n in o for x in (n, n)] + [0] * 18
    now = int(time.time())
    v += [now, 0, 0, now]
    assert len(v) == 42
    return struct.pack(">3i", 4, 1, 2) + struct.pack(">42q", *v)


def group_rec():
    return pad(GROUP, 17) + struct.pack(">12q", 1000, 900, 10, 0, 1, A.sport, 1, 1, 0, NPATH, 256, -1)


def storage_rec():
    ip = A.host.encode()
    return (bytes([7, 6]) + pad(ip, 16) + pad(ip, IPW) + pad(b"", 16) + pad(b"6.16.1", 8) +
            struct.pack(">10q", START, START, 1000, 900, 10, 10, NPATH, 256, 0, A.sport) +
            stat_block() + b"\0")


PARAMS = b"use_storage_id=0\nid_type_in_filename=ip\nresponse_ip_addr_size=16\n" \
         b"storage_sync_file_max_delay=86400\nstore_path=0\nreserved_storage_space=1.00%\n" \
         b"use_trunk_file=0\n"


def need_group(b):
    if b[:16].rstrip(b"\0") != GROUP:
        raise Bad(ENOENT)


def tracker(cmd, status, b):
    store = pad(GROUP, 16) + query_ip() + be8(A.sport)
    if cmd in (101, 106):
        return store + b"\0"
    if cmd in (104, 107):
        need_group(b)
        return store + b"\0"
    if cmd in (102, 103, 105):
        if not 16 + 22 <= len(b) < 16 + 128:
            raise Bad(EINVAL)
        need_group(b)
        return store
    if cmd == 91:
        return group_rec()
    if cmd == 90:
        need_group(b)
        return group_rec()
    if cmd == 92:
        need_group(b)
        if b[16:] and b[16:].rstrip(b"\0") != A.host.encode():
            raise Bad(ENOENT)
        return storage_rec()
    if cmd in (93, 108):
        raise Bad(16)
    if cmd == 95:
        return b"%s:%d" % (A.host.encode(), A.tport)
    if cmd == 96:
        return b"\1" + pad(b"%s:%d" % (A.host.encode(), A.tport), 52) + b"\1\1" + \
            struct.pack(">3i", 1, 1, 1) + pad(b"6.16.1", 8) + be8(START) + be8(0)
    if cmd == 97:
        return b"\0\0" + struct.pack(">i", 1) + pad(A.host.encode(), 16) + \
            pad(b"%s:%d" % (A.host.encode(), A.sport), 52) + b"\0\7" + \
            struct.pack(">3i", 1, 1, 1) + pad(b"6.16.1", 8) + be8(START) + be8(int(time.time()))
    if cmd == 98:
        return b"\0" + struct.pack(">i", 1) + pad(GROUP, 17) + \
            struct.pack(">5q", 1000, 900, 10, 890, 0) + b"\1\0"
    if cmd == 75:
        return PARAMS
    if cmd == 69:
        if len(b) != 5:
            raise Bad(EINVAL)
        if not b[4]:
            raise Bad(EOPNOTSUPP)
        return b"\0" * 8
    raise Bad(EINVAL)


# ---- storage ------------------------------------------------------------
def here(name):
    if name not in files:
        raise Bad(ENOENT)
    return files[name]


def grp_name(b, off=0):
    if b[off:off + 16].rstrip(b"\0") != GROUP:
        raise Bad(EINVAL)
    return b[off + 16:]


def pairs(b):
    return dict(r.split(b"\2", 1) for r in b.split(b"\1")) if b else {}


def storage(cmd, status, b):
    if cmd in (11, 23):
        path, size, ext, data = b[0], num(b[1:9]), b[9:15].rstrip(b"\0"), b[15:]
        if size != len(data) or (path != 255 and path >= NPATH):
            raise Bad(EINVAL)
        name = make_name(0 if path == 255 else path, data, ext, cmd == 23)
        files[name] = bytearray(data)
        bump("upload")
        return pad(GROUP, 16) + name
    if cmd == 21:
        ml, size = num(b[:8]), num(b[8:16])
        prefix, ext = b[16:32].rstrip(b"\0"), b[32:38].rstrip(b"\0")
        master, data = b[38:38 + ml], b[38 + ml:]
        if not prefix or size != len(data) or not 10 < ml < 128:
            raise Bad(EINVAL)
        here(master)
        name = slave_name(master, prefix, ext)
        if name in files:
            raise Bad(EEXIST)
        files[name] = bytearray(data)
        bump("upload")
        return pad(GROUP, 16) + name
    if cmd in (24, 34):
        if cmd == 24:
            nl, size, p = num(b[:8]), num(b[8:16]), 16
        else:
            nl, off, size, p = num(b[:8]), num(b[8:16]), num(b[16:24]), 24
        name, data = b[p:p + nl], b[p + nl:]
        f = here(name)
        if not is_appender(name) or size != len(data):
            raise Bad(EINVAL)
        if cmd == 24:
            f += data
        else:
            if not 0 <= off <= len(f):
                raise Bad(EINVAL)
            f[off:off + size] = data
        bump("append" if cmd == 24 else "modify")
        return b""
    if cmd == 36:
        nl, size = num(b[:8]), num(b[8:16])
        f = here(b[16:16 + nl])
        if not is_appender(b[16:16 + nl]):
            raise Bad(EINVAL)
        f[:] = f[:size].ljust(size, b"\0")
        bump("truncate")
        return b""
    if cmd == 38:
        f = here(b)
        if not is_appender(b):
            raise Bad(EINVAL)
        name = make_name(0, bytes(f), b"", False, b)
        files[name] = files.pop(b)
        return pad(GROUP, 16) + name
    if cmd == 12:
        name = grp_name(b)
        here(name)
        del files[name]
        metas.pop(name, None)
        bump("delete")
        return b""
    if cmd == 14:
        off, n, name = num(b[:8]), num(b[8:16]), grp_name(b, 16)
        f = here(name)
        if off < 0 or n < 0 or off > len(f) or (off == len(f) and off):
            raise Bad(EINVAL)
        bump("download")
        return bytes(f[off:off + n] if n else f[off:])
    if cmd == 13:
        nl, ml, flag = num(b[:8]), num(b[8:16]), b[16:17]
        rest = grp_name(b, 17)
        name, m = rest[:nl], rest[nl:]
        here(name)
        if len(m) != ml or flag not in b"OM":
            raise Bad(EINVAL)
        d = metas.get(name, {}) if flag == b"M" else {}
        d.update(pairs(m))
        metas[name] = d
        bump("setmeta")
        return b""
    if cmd == 15:
        name = grp_name(b)
        here(name)
        if not metas.get(name):
            raise Bad(ENOENT)
        bump("getmeta")
        return b"\1".join(k + b"\2" + v for k, v in sorted(metas[name].items()))
    if cmd == 22:
        name = grp_name(b)
        f = here(name)
        crc = zlib.crc32(f)
        return be8(len(f)) + be8(START) + be8(crc - (1 << 32) if crc >> 31 else crc) + pad(A.host.encode(), IPW)
    raise Bad(EINVAL)


# ---- plumbing -----------------------------------------------------------
def recvn(s, n):
    out = bytearray()
    while len(out) < n:
        c = s.recv(min(1 << 20, n - len(out)))
        if not c:
            raise EOFError
        out += c
    return bytes(out)


def conn(s, fn, who):
    try:
        while True:
            h = recvn(s, 10)
            n, cmd, st = num(h[:8]), h[8], h[9]
            body = recvn(s, n)
            if cmd == 82:
                break
            try:
                rb, rs = (b"", 0) if cmd == 111 else fn(cmd, st, body), 0
                rb = rb[0] if isinstance(rb, tuple) else rb
            except Bad as e:
                rb, rs = b"", e.args[0]
            print(who, "cmd", cmd, "len", n, "-> status", rs, "len", len(rb), flush=True)
            s.sendall(be8(len(rb)) + bytes([100, rs]) + rb)
    except (EOFError, OSError):
        pass
    s.close()


def serve(port, fn, who):
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind((A.host, port))
    l.listen(64)
    while True:
        c, _ = l.accept()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=conn, args=(c, fn, who), daemon=True).start()


threading.Thread(target=serve, args=(A.tport, tracker, "T"), daemon=True).start()
serve(A.sport, storage, "S")
