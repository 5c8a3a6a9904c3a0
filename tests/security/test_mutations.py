"""Rightly signed requests with a few bytes changed, at random from a fixed
seed: no crash, no hang, and never a success with another meaning."""

import os
import random
import socket
import zlib
import base64

import pytest

from kit import OLD, Raw, answer, tags

ROUNDS = int(os.environ.get("CREEL_MUTATIONS") or 700)

BODY = b"the new object" * 20
CRC = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big"))

PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"%",
    b"%00",
    b"%2e%2e%2f",
    b"../",
    b"&",
    b"=",
    b"?",
    b"+",
    b"0",
    b"-1",
    b"99999999999999999999",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"x-amz-copy-source: /x/y\r\n",
    b"x-amz-meta-a: 1\r\n",
    b"Expect: 100-continue\r\n",
    b"\xff",
    b"\xc3\xa9",
    b"a" * 300,
    b"chunk-signature=",
    b"AWS4-HMAC-SHA256 ",
    b"<",
    b"]]>",
]


def mutate(rng, data):
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        i = rng.randrange(len(out))
        kind = rng.randrange(7)
        if kind == 0:
            out[i] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[i] = rng.randrange(256)
        elif kind == 2:
            out[i:i] = rng.choice(PIECES)
        elif kind == 3:
            del out[i : i + rng.randrange(1, 20)]
        elif kind == 4:  # a piece again
            j = min(len(out), i + rng.randrange(1, 80))
            out[i:i] = out[i:j]
        elif kind == 5:  # a line again, elsewhere
            lines = bytes(out).split(b"\r\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            out = bytearray(b"\r\n".join(lines))
        else:  # a line less
            lines = bytes(out).split(b"\r\n")
            del lines[rng.randrange(len(lines))]
            out = bytearray(b"\r\n".join(lines))
        if not out:
            out = bytearray(b"x")
    return bytes(out)


def hashed(site, bucket):
    c, target = site.root, "/%s/old" % bucket
    headers = [("Host", c.host_header), ("Content-Length", str(len(BODY)))]
    import hashlib

    c.sign_v4("PUT", target, headers, payload=hashlib.sha256(BODY).hexdigest())
    return c.encode("PUT", target, headers, BODY)


def chunked(site, bucket):
    c, target = site.root, "/%s/old" % bucket
    headers = [
        ("Host", c.host_header),
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-decoded-content-length", str(len(BODY))),
    ]
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    seed = c.sign_v4("PUT", target, headers, payload=kind)
    data = c.chunked_body(
        [BODY[:100], BODY[100:]], seed, [(b"x-amz-checksum-crc32", CRC)]
    )
    headers.append(("Content-Length", str(len(data))))
    return c.encode("PUT", target, headers, data)


def twice_chunked(site, bucket):
    c, target = site.root, "/%s/old" % bucket
    headers = [
        ("Host", c.host_header),
        ("Transfer-Encoding", "chunked"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-decoded-content-length", str(len(BODY))),
    ]
    c.sign_v4("PUT", target, headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    inner = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(BODY), BODY, CRC)
    body = b""
    for i in range(0, len(inner), 100):
        body += b"%x\r\n%s\r\n" % (len(inner[i : i + 100]), inner[i : i + 100])
    return c.encode("PUT", target, headers, body + b"0\r\n\r\n")


def presigned_copy(site, bucket):
    c = site.root
    params = [("x-amz-copy-source", "/%s/old" % bucket), ("x-amz-meta-a", "b")]
    params.append(("x-amz-metadata-directive", "REPLACE"))
    url = c.presign("PUT", "/%s/old" % bucket, params=params)
    return c.encode("PUT", url, [("Host", c.host_header), ("Content-Length", "0")])


def deletes(site, bucket):
    import hashlib

    c, target = site.root, "/%s?delete" % bucket
    body = b"<Delete><Object><Key>nosuch</Key></Object></Delete>"
    from kit import md5

    headers = [
        ("Host", c.host_header),
        ("Content-MD5", md5(body)),
        ("Content-Length", str(len(body))),
    ]
    c.sign_v4("POST", target, headers, payload=hashlib.sha256(body).hexdigest())
    return c.encode("POST", target, headers, body)


def listing(site, bucket):
    c = site.root
    target = "/%s?list-type=2&prefix=a%%2Fb&delimiter=%%2F&max-keys=10" % bucket
    headers = [("Host", c.host_header)]
    c.sign_v4("GET", target, headers)
    return c.encode("GET", target, headers)


def send(site, data):
    """The answers' statuses; the sending side is closed, so it ends."""
    statuses = []
    with Raw(site, timeout=20) as raw:
        try:
            raw.send(data)
            raw.c.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            while True:
                r = raw.c.head()
                if r is None:
                    break
                if r.status < 200:
                    continue
                statuses.append(r.status)
                size = int(r["content-length"] or 0)
                if not data.startswith(b"HEAD"):
                    raw.c.file.read(size)
        except (ConnectionError, ValueError, IndexError):
            pass
    return statuses


@pytest.mark.parametrize(
    "make", [hashed, chunked, twice_chunked, presigned_copy, deletes, listing]
)
def test_mutations(site, bucket, make):
    rng = random.Random(make.__name__)
    data = make(site, bucket)
    seen = {}
    for i in range(ROUNDS):
        if i % 200 == 0:
            data = make(site, bucket)  # signatures age
        if i % 50 == 0:
            assert site.root.put("/%s/old" % bucket, OLD).status == 200
        changed = mutate(rng, data)
        statuses = send(site, changed)
        for s in statuses:
            seen[s] = seen.get(s, 0) + 1
            assert s != 500, changed
        if any(s < 300 for s in statuses):
            got = site.root.get("/%s/old" % bucket)
            assert got.body in (OLD, BODY), (changed, got)
            assert got["x-amz-meta-a"] in (None, "b"), (changed, got)
    assert site.server.process.poll() is None
    r = site.root.get("/%s?list-type=2" % bucket)
    assert tags(r, "Key") == ["old", "src"], r
    assert answer(site.root.get("/nosuch-bucket-at-all")) == (404, "NoSuchBucket")
    assert seen.get(400, 0) and seen.get(403, 0), seen
