"""aws-chunked bodies under attack (section 4, line 7).

Source: "Signature Calculations for the Authorization Header: Transferring
Payload in Multiple Chunks", and the page on trailing headers.
"""

import base64
import hashlib
import zlib

import pytest

from kit import OLD, answer

CHUNKS = [b"a" * 8192, b"b" * 8192, b"c" * 100]
BODY = b"".join(CHUNKS)
CRC = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big"))
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = SIGNED + "-TRAILER"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

MISMATCH = (403, "SignatureDoesNotMatch")
INVALID = (400, "InvalidRequest")
SHORT = (400, "IncompleteBody")
TRAILER = (400, "MalformedTrailerError")
BAD_DIGEST = (400, "BadDigest")

CRC_LINE = [(b"x-amz-checksum-crc32", CRC)]


def put(site, target, kind, make, decoded=len(BODY), trailer="x-amz-checksum-crc32"):
    """make(client, seed) -> the raw body. One request on its own connection."""
    c = site.root
    headers = [("Host", c.host_header), ("Content-Encoding", "aws-chunked")]
    if decoded is not None:
        headers.append(("x-amz-decoded-content-length", str(decoded)))
    if kind != SIGNED and trailer:
        headers.append(("x-amz-trailer", trailer))
    seed = c.sign_v4("PUT", target, headers, payload=kind)
    data = make(c, seed)
    headers.append(("Content-Length", str(len(data))))
    c.close()
    return c.raw(c.encode("PUT", target, headers, data), "PUT")


def frames(data):
    """[[header line, bytes], ...] of a signed body, the rest behind them."""
    out = []
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        out.append([line, data[:size]])
        if size == 0:
            return out, data
        data = data[size + 2 :]


def join(parts, rest):
    out = b""
    for line, data in parts:
        out += line + b"\r\n" + (data + b"\r\n" if data else b"")
    return out + rest


def edit(change):
    """A signed body whose frames `change(parts, rest)` rewrites."""

    def make(c, seed):
        return join(*change(*frames(c.chunked_body(CHUNKS, seed))))

    return make


def flip(k):
    def change(parts, rest):
        data = bytearray(parts[k][1])
        data[len(data) // 2] ^= 1
        parts[k][1] = bytes(data)
        return parts, rest

    return change


def flip_signature(k):
    def change(parts, rest):
        line = bytearray(parts[k][0])
        line[-1] = ord("0") if line[-1] != ord("0") else ord("1")
        parts[k][0] = bytes(line)
        return parts, rest

    return change


def line(k, old, new):
    def change(parts, rest):
        parts[k][0] = parts[k][0].replace(old, new, 1)
        return parts, rest

    return change


def swap(parts, rest):
    parts[0], parts[1] = parts[1], parts[0]
    return parts, rest


def signature_of(parts, k):
    return parts[k][0].split(b"=")[1]


def swap_data(parts, rest):
    parts[0][1], parts[1][1] = parts[1][1], parts[0][1]
    return parts, rest


SIGNED_CASES = {
    "right": (edit(lambda p, r: (p, r)), 200),
    "right, no last CRLF": (edit(lambda p, r: (p, b"")), 200),
    "bit in chunk 0": (edit(flip(0)), MISMATCH),
    "bit in chunk 1": (edit(flip(1)), MISMATCH),
    "bit in chunk 2": (edit(flip(2)), MISMATCH),
    "bit in signature 0": (edit(flip_signature(0)), MISMATCH),
    "bit in signature 2": (edit(flip_signature(2)), MISMATCH),
    "bit in the last signature": (edit(flip_signature(3)), MISMATCH),
    "no final chunk": (edit(lambda p, r: (p[:3], b"")), SHORT),
    "no final chunk but CRLF": (edit(lambda p, r: (p[:3], b"\r\n")), (400, None)),
    "chunk 1 dropped": (edit(lambda p, r: ([p[0], p[2], p[3]], r)), MISMATCH),
    "chunk 1 twice": (
        edit(lambda p, r: ([p[0], p[1], p[1], p[2], p[3]], r)),
        (None, None),  # too long, or out of the chain
    ),
    "only the final chunk": (edit(lambda p, r: (p[3:], r)), MISMATCH),
    "reordered": (edit(swap), MISMATCH),
    "data exchanged": (edit(swap_data), MISMATCH),
    "two final chunks": (edit(lambda p, r: (p + [p[3]], r)), INVALID),
    "data after the end": (edit(lambda p, r: (p, r + b"more")), INVALID),
    "a chunk after the end": (edit(lambda p, r: (p, r + b"1\r\nx\r\n")), INVALID),
    "signature too short": (
        edit(lambda p, r: ([[p[0][0][:-1], p[0][1]]] + p[1:], r)),
        MISMATCH,
    ),
    "signature too long": (
        edit(lambda p, r: ([[p[0][0] + b"0", p[0][1]]] + p[1:], r)),
        (None, None),
    ),
    "no signature": (edit(line(0, b";chunk-signature=", b";x=")), INVALID),
    "no extension": (
        edit(lambda p, r: ([[p[0][0].split(b";")[0], p[0][1]]] + p[1:], r)),
        INVALID,
    ),
    "junk before the signature": (
        edit(line(0, b";chunk", b";junk=1;chunk")),
        INVALID,
    ),
    "junk behind the signature": (
        edit(lambda p, r: ([[p[0][0] + b";a=b", p[0][1]]] + p[1:], r)),
        (None, None),
    ),
    "empty size": (edit(line(0, b"2000;", b";")), INVALID),
    "size is not hex": (edit(line(0, b"2000;", b"2x00;")), INVALID),
    "size with 0x": (edit(line(0, b"2000;", b"0x2000;")), INVALID),
    "size is negative": (edit(line(0, b"2000;", b"-2000;")), INVALID),
    "size with plus": (edit(line(0, b"2000;", b"+2000;")), INVALID),
    "size with blank": (edit(line(0, b"2000;", b" 2000;")), INVALID),
    "size is huge": (edit(line(0, b"2000;", b"ffffffffffffffff;")), INVALID),
    "size wraps": (edit(line(0, b"2000;", b"10000000000002000;")), INVALID),
    "size of 8 EiB": (edit(line(0, b"2000;", b"7fffffffffffffff;")), INVALID),
    "size one more": (edit(line(0, b"2000;", b"2001;")), INVALID),
    "size one less": (edit(line(0, b"2000;", b"1fff;")), INVALID),
    "endless size": (edit(line(0, b"2000;", b"0" * 5000 + b"2000;")), INVALID),
    "bare LF": (
        lambda c, s: c.chunked_body(CHUNKS, s).replace(b"\r\n", b"\n"),
        INVALID,
    ),
    "plain body": (lambda c, s: BODY, INVALID),
    "empty body": (lambda c, s: b"", SHORT),
    "chunk ends without CRLF": (
        edit(lambda p, r: (p[:1], b"xx" + join(p[1:], r))),
        INVALID,
    ),
    "not signed at all": (
        lambda c, s: b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        INVALID,
    ),
    "another day's chain": (
        lambda c, s: c.chunked_body(CHUNKS, (s[0], "20130524T000000Z", s[2])),
        MISMATCH,
    ),
    "another request's chain": (
        lambda c, s: c.chunked_body(CHUNKS, ("0" * 64, s[1], s[2])),
        MISMATCH,
    ),
    "trailers where none belong": (
        lambda c, s: c.chunked_body(CHUNKS, s)[:-2] + b"a:b\r\n\r\n",
        INVALID,
    ),
}


def check(site, bucket, r, want):
    target = "/%s/old" % bucket
    if want == 200:
        assert r.status == 200, r
        assert site.root.get(target).body == BODY
        return
    status, code = want
    assert r.status == status if status else r.status in (400, 403), r
    assert code is None or r.code == code, r
    assert site.root.get(target).body == OLD


@pytest.mark.parametrize("case", SIGNED_CASES)
def test_signed_chain(site, bucket, case):
    make, want = SIGNED_CASES[case]
    r = put(site, "/%s/old" % bucket, SIGNED, make)
    check(site, bucket, r, want)


@pytest.mark.parametrize("case", ["bit in chunk 1", "no final chunk", "reordered"])
def test_signed_chain_of_a_part(site, bucket, case):
    make, want = SIGNED_CASES[case]
    upload, _ = site.upload(bucket)
    before = site.state(bucket)
    target = "/%s/mp?partNumber=1&uploadId=%s" % (bucket, upload)
    assert answer(put(site, target, SIGNED, make)) == want
    assert site.state(bucket) == before


@pytest.mark.parametrize("kind", [SIGNED, SIGNED_TRAILER, UNSIGNED])
@pytest.mark.parametrize(
    "decoded, want",
    [
        (len(BODY) - 1, INVALID),
        (len(BODY) + 1, SHORT),
        (0, INVALID),
        (1 << 40, SHORT),
        (-1, (400, "InvalidArgument")),
        ("x", (400, "InvalidArgument")),
        ("", (400, "InvalidArgument")),
        ("+16484", (400, "InvalidArgument")),
        (1 << 64, (400, "InvalidArgument")),
        (None, (411, "MissingContentLength")),
    ],
)
def test_decoded_length(site, bucket, kind, decoded, want):
    make = {
        SIGNED: lambda c, s: c.chunked_body(CHUNKS, s),
        SIGNED_TRAILER: lambda c, s: c.chunked_body(CHUNKS, s, CRC_LINE),
        UNSIGNED: UNSIGNED_CASES["right"][0],
    }[kind]
    r = put(site, "/%s/old" % bucket, kind, make, decoded=decoded)
    check(site, bucket, r, want)


def trailing(trailers, sign=True, change=lambda b: b):
    def make(c, seed):
        return change(c.chunked_body(CHUNKS, seed, trailers, sign_trailer=sign))

    return make


OTHER_CRC = base64.b64encode(b"\0\0\0\1")

TRAILER_CASES = {
    "right": (trailing(CRC_LINE), 200),
    "missing": (trailing([]), TRAILER),
    "no trailer section": (lambda c, s: c.chunked_body(CHUNKS, s), MISMATCH),
    "unsigned": (trailing(CRC_LINE, sign=False), MISMATCH),
    "other than announced": (
        trailing([(b"x-amz-checksum-sha256", b"A" * 43 + b"=")]),
        TRAILER,
    ),
    "another besides": (trailing(CRC_LINE + [(b"x-amz-meta-a", b"1")]), TRAILER),
    "twice": (trailing(CRC_LINE * 2), TRAILER),
    "wrong value": (trailing([(b"x-amz-checksum-crc32", OTHER_CRC)]), BAD_DIGEST),
    "no checksum": (trailing([(b"x-amz-checksum-crc32", b"??")]), INVALID),
    "changed after signing": (
        trailing(
            [(b"x-amz-checksum-crc32", OTHER_CRC)],
            change=lambda b: b.replace(OTHER_CRC, CRC),
        ),
        MISMATCH,
    ),
    "bad signature": (
        trailing(CRC_LINE, change=lambda b: b[:-4] + b"xx\r\n"),
        (None, None),
    ),
    "short signature": (
        trailing(CRC_LINE, change=lambda b: b[:-5] + b"\r\n\r\n"),
        MISMATCH,
    ),
    "data after the end": (trailing(CRC_LINE, change=lambda b: b + b"x"), INVALID),
    "not name:value": (
        trailing(CRC_LINE, change=lambda b: b.replace(b"crc32:", b"crc32 ")),
        TRAILER,
    ),
    "endless line": (
        trailing(CRC_LINE, change=lambda b: b[:-2] + b"y" * 100000),
        (400, None),
    ),
    "endless lines": (
        trailing(CRC_LINE, change=lambda b: b[:-2] + b"a:b\r\n" * 50000),
        (400, None),
    ),
}


@pytest.mark.parametrize("case", TRAILER_CASES)
def test_signed_trailer(site, bucket, case):
    make, want = TRAILER_CASES[case]
    r = put(site, "/%s/old" % bucket, SIGNED_TRAILER, make)
    check(site, bucket, r, want)


def unsigned(lines, tail=b"\r\n", chunks=CHUNKS):
    def make(c, seed):
        out = b"".join(b"%x\r\n%s\r\n" % (len(x), x) for x in chunks)
        return out + b"0\r\n" + b"".join(b"%s:%s\r\n" % t for t in lines) + tail

    return make


UNSIGNED_CASES = {
    "right": (unsigned(CRC_LINE), 200),
    "right, no last CRLF": (unsigned(CRC_LINE, b""), 200),
    "missing": (unsigned([]), TRAILER),
    "nothing behind the last chunk": (unsigned([], b""), TRAILER),
    "other than announced": (unsigned([(b"x-amz-checksum-sha1", b"AA==")]), TRAILER),
    "another besides": (unsigned(CRC_LINE + [(b"x-amz-meta-a", b"1")]), TRAILER),
    "twice": (unsigned(CRC_LINE * 2), TRAILER),
    "wrong value": (unsigned([(b"x-amz-checksum-crc32", OTHER_CRC)]), BAD_DIGEST),
    "one bit": (
        unsigned(CRC_LINE, chunks=[CHUNKS[0], b"B" + CHUNKS[1][1:], CHUNKS[2]]),
        BAD_DIGEST,
    ),
    "reordered": (unsigned(CRC_LINE, chunks=CHUNKS[::-1]), BAD_DIGEST),
    "no final chunk": (
        lambda c, s: b"".join(b"%x\r\n%s\r\n" % (len(x), x) for x in CHUNKS),
        SHORT,
    ),
    "extension": (
        lambda c, s: unsigned(CRC_LINE)(c, s).replace(b"2000\r\n", b"2000;a=b\r\n", 1),
        INVALID,
    ),
    "data after the end": (unsigned(CRC_LINE, b"\r\nx"), INVALID),
    "huge size": (lambda c, s: b"ffffffffffffffff\r\n" + BODY, INVALID),
}


@pytest.mark.parametrize("case", UNSIGNED_CASES)
def test_unsigned_trailer(site, bucket, case):
    make, want = UNSIGNED_CASES[case]
    r = put(site, "/%s/old" % bucket, UNSIGNED, make)
    check(site, bucket, r, want)


@pytest.mark.parametrize(
    "announced",
    [
        "x-amz-meta-a",
        "x-amz-checksum-crc99",
        "x-amz-checksum-crc32,x-amz-checksum-sha1",
        "content-length",
        "authorization",
        "x-amz-trailer-signature",
        "",
        ",",
    ],
)
def test_announced_trailers(site, bucket, announced):
    """Only a checksum may come behind the body: nothing that was checked
    before is changed by it."""
    name = announced.split(",")[0].encode()
    make = unsigned([(name, CRC)] if name else [])
    target = "/%s/old" % bucket
    r = put(site, target, UNSIGNED, make, trailer=announced or ",")
    check(site, bucket, r, INVALID)


def test_inside_transfer_encoding(site, bucket):
    """boto3 over https: aws-chunked within chunked, without Content-Length."""
    c, target = site.root, "/%s/old" % bucket

    def request(make, decoded=len(BODY), pieces=1000):
        headers = [
            ("Host", c.host_header),
            ("Content-Encoding", "aws-chunked"),
            ("Transfer-Encoding", "chunked"),
            ("x-amz-decoded-content-length", str(decoded)),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ]
        seed = c.sign_v4("PUT", target, headers, payload=UNSIGNED)
        data = make(c, seed)
        body = b""
        for i in range(0, len(data), pieces):
            part = data[i : i + pieces]
            body += b"%x\r\n%s\r\n" % (len(part), part)
        c.close()
        return c.raw(c.encode("PUT", target, headers, body + b"0\r\n\r\n"), "PUT")

    for case in ("missing", "wrong value", "twice", "no final chunk"):
        make, want = UNSIGNED_CASES[case]
        check(site, bucket, request(make), want)
    check(site, bucket, request(unsigned(CRC_LINE), len(BODY) + 1), SHORT)
    check(site, bucket, request(unsigned(CRC_LINE), len(BODY) - 1), INVALID)
    check(site, bucket, request(unsigned(CRC_LINE), pieces=7), 200)


def test_wrong_signature_reads_no_body(site, bucket):
    """Refused from the headers alone: the body need not even be sent."""
    wrong = site.client(site.root.access_key, "not the secret at all")
    target = "/%s/old" % bucket
    for kind in (SIGNED, SIGNED_TRAILER, UNSIGNED, "UNSIGNED-PAYLOAD"):
        headers = [
            ("Host", wrong.host_header),
            ("Expect", "100-continue"),
            ("x-amz-decoded-content-length", "1000"),
            ("Content-Length", "1200"),
        ]
        wrong.sign_v4("PUT", target, headers, payload=kind)
        with wrong.connect() as c:
            c.send(wrong.encode("PUT", target, headers))
            r = c.head()
            assert r.status == 403, (kind, r)
    assert site.root.get(target).body == OLD


def test_chunks_of_one_byte(site, bucket):
    """Many tiny chunks are legal, and cost no memory."""
    body = b"q" * 3000
    crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big"))
    make = unsigned(
        [(b"x-amz-checksum-crc32", crc)], chunks=[b"q" for _ in range(3000)]
    )
    r = put(site, "/%s/old" % bucket, UNSIGNED, make, decoded=3000)
    assert r.status == 200, r
    assert site.root.get("/%s/old" % bucket).body == body
    assert hashlib.md5(body).hexdigest() in r["etag"]


LARGE = [bytes([i % 251]) * 65536 for i in range(70)]  # 4.4 MiB: streamed


@pytest.mark.parametrize("what", ["first", "last", "dropped", "crc", "short", "right"])
@pytest.mark.parametrize("kind", [SIGNED, SIGNED_TRAILER, UNSIGNED])
def test_large_bodies(site, bucket, kind, what):
    """Bodies that are stored while they come: the end still decides."""
    chunks, length = list(LARGE), sum(map(len, LARGE))
    crc = zlib.crc32(b"".join(chunks)) ^ (what == "crc")
    lines = [(b"x-amz-checksum-crc32", base64.b64encode(crc.to_bytes(4, "big")))]
    if kind == SIGNED and what == "crc":
        return

    def spoil(data):
        at = {"first": 30000, "last": len(data) - 40000}.get(what)
        if at is not None:
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        if what == "short":
            data = data[: len(data) // 2]
        return data

    def make(c, seed):
        if what == "dropped":
            del chunks[35]
        if kind == UNSIGNED:
            return spoil(unsigned(lines, chunks=chunks)(c, seed))
        trailers = lines if kind == SIGNED_TRAILER else None
        return spoil(c.chunked_body(chunks, seed, trailers))

    target = "/%s/old" % bucket
    r = put(site, target, kind, make, decoded=length)
    if what == "right":
        assert r.status == 200, r
        assert site.root.get(target).body == b"".join(LARGE)
        return
    want = {"short": SHORT, "dropped": SHORT}.get(what)
    if want is None:
        want = MISMATCH if kind != UNSIGNED and what != "crc" else BAD_DIGEST
    if what == "first" and kind == UNSIGNED:
        want = BAD_DIGEST
    assert answer(r) == want, r
    assert site.root.get(target).body == OLD
