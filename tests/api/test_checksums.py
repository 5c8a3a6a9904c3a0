"""Content-MD5, x-amz-checksum-*, trailers, aws-chunked bodies."""

import base64
import hashlib
import zlib

import pytest

from conftest import is_error

DATA = b"hello world"


def b64(x):
    return base64.b64encode(x).decode()


def crc(table_poly, width, data):
    c = mask = (1 << width) - 1
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = (c >> 1) ^ (table_poly if c & 1 else 0)
    return (c ^ mask).to_bytes(width // 8, "big")


def digest(alg, data):
    if alg == "crc32":
        return zlib.crc32(data).to_bytes(4, "big")
    if alg == "crc32c":
        return crc(0x82F63B78, 32, data)
    if alg == "crc64nvme":
        return crc(0x9A6C9329AC4BC9B5, 64, data)
    return hashlib.new(alg, data).digest()


ALGS = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256", "sha512", "md5"]


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("size", [0, 11, 70000])
def test_header(raw, bucket, alg, size):
    path, name = "/%s/k" % bucket, "x-amz-checksum-" + alg
    data = (DATA * (size // 11 + 1))[:size]
    value = b64(digest(alg, data))
    r = raw.put(path, data, [(name, value)])
    assert r.status == 200 and r[name] == value
    assert r["x-amz-checksum-type"] == "FULL_OBJECT"
    assert raw.get(path)[name] is None
    for r in (
        raw.get(path, [("x-amz-checksum-mode", "ENABLED")]),
        raw.head(path, [("x-amz-checksum-mode", "ENABLED")]),
    ):
        assert r[name] == value and r["x-amz-checksum-type"] == "FULL_OBJECT"
    if size:  # never with a piece of the object
        r = raw.get(path, [("x-amz-checksum-mode", "ENABLED"), ("Range", "bytes=0-4")])
        assert r.status == 206 and r[name] is None
    bad = b64(digest(alg, data + b"x"))
    is_error(raw.put(path, data, [(name, bad)]), "BadDigest", 400)
    assert raw.get(path).body == data
    for junk in ("bad", "", "AAAA", value + "-1", value[:-1]):
        is_error(raw.put(path, data, [(name, junk)]), "BadDigest", 400)


def test_default_is_crc64nvme(raw, bucket):
    path = "/%s/k" % bucket
    r = raw.put(path, DATA)
    assert r["x-amz-checksum-crc64nvme"] == b64(digest("crc64nvme", DATA))
    r = raw.head(path, [("x-amz-checksum-mode", "ENABLED")])
    assert r["x-amz-checksum-crc64nvme"] == b64(digest("crc64nvme", DATA))


def test_claims_that_disagree(raw, bucket):
    path = "/%s/k" % bucket
    c32 = ("x-amz-checksum-crc32", b64(digest("crc32", DATA)))
    sha = ("x-amz-checksum-sha1", b64(digest("sha1", DATA)))
    sdk = "x-amz-sdk-checksum-algorithm"
    for headers in (
        [c32, sha],
        [c32, (sdk, "SHA1")],
        [c32, (sdk, "CRC16")],
        [("x-amz-checksum-crc16", "AAA=")],
        [c32, ("x-amz-trailer", "x-amz-checksum-crc32")],
        [("x-amz-trailer", "x-amz-checksum-crc32")],
        [("x-amz-trailer", "x-amz-other")],
    ):
        is_error(raw.put(path, DATA, headers), "InvalidRequest", 400)
    assert raw.head(path).status == 404
    assert raw.put(path, DATA, [c32, (sdk, "CRC32")]).status == 200


def test_an_announced_algorithm_needs_its_checksum(raw, bucket):
    """AWS: "x-amz-sdk-checksum-algorithm specified, but no corresponding
    x-amz-checksum-* or x-amz-trailer headers were found." In a presigned URL it
    says nothing: SDKs leave it there."""
    path = "/%s/k" % bucket
    sdk = ("x-amz-sdk-checksum-algorithm", "CRC32")
    r = raw.request("POST", path + "?uploads")
    upload = r.body.split(b"<UploadId>")[1].split(b"<")[0].decode()
    part = "%s?partNumber=1&uploadId=%s" % (path, upload)
    for target in (path, part):
        r = raw.put(target, DATA, [sdk])
        is_error(r, "InvalidRequest", 400)
        assert b"no corresponding x-amz-checksum-*" in r.body
    assert raw.head(path).status == 404
    assert b"<PartNumber>" not in raw.get("%s?uploadId=%s" % (path, upload)).body
    url = raw.presign("PUT", path, params=[sdk])
    assert raw.request("PUT", url, DATA, auth="none").status == 200
    md5 = ("Content-MD5", b64(hashlib.md5(DATA).digest()))
    is_error(raw.put(path, DATA, [sdk, md5]), "InvalidRequest", 400)


@pytest.mark.parametrize("size", [0, 11, 2_000_000])
def test_content_md5(raw, bucket, size):
    path = "/%s/k" % bucket
    data = (DATA * (size // 11 + 1))[:size]
    good = b64(hashlib.md5(data).digest())
    assert raw.put(path, data, [("Content-MD5", good)]).status == 200
    bad = b64(hashlib.md5(data + b"x").digest())
    is_error(raw.put(path, data, [("Content-MD5", bad)]), "BadDigest", 400)
    for junk in ("", "bad", "YWJyYWNhZGFicmE=", hashlib.md5(data).hexdigest()):
        is_error(raw.put(path, data, [("Content-MD5", junk)]), "InvalidDigest", 400)


def unsigned_trailer(raw, path, body, length, trailer="x-amz-checksum-crc32", more=()):
    headers = [
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", str(length)),
        ("Content-Length", str(len(body))),
    ] + list(more)
    if trailer:
        headers.append(("x-amz-trailer", trailer))
    raw.sign_v4("PUT", path, headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    return raw.raw(raw.encode("PUT", path, headers, body))


def test_unsigned_trailer(raw, bucket):
    path = "/%s/k" % bucket
    value = b64(digest("crc32", DATA)).encode()
    body = b"b\r\n" + DATA + b"\r\n0\r\nx-amz-checksum-crc32:" + value + b"\r\n"
    for end in (b"\r\n", b""):  # SDKs differ in the last CRLF
        r = unsigned_trailer(raw, path, body + end, 11)
        assert r.status == 200 and r["x-amz-checksum-crc32"].encode() == value
        assert raw.get(path).body == DATA and raw.get(path)["content-encoding"] is None
    bad = body.replace(value, b64(digest("crc32", b"other")).encode())
    is_error(unsigned_trailer(raw, path, bad + b"\r\n", 11), "BadDigest", 400)
    missing = b"b\r\n" + DATA + b"\r\n0\r\n\r\n"
    assert unsigned_trailer(raw, path, missing, 11).status == 400
    for length in (10, 12):
        assert unsigned_trailer(raw, path, body + b"\r\n", length).status == 400
    assert raw.get(path).body == DATA


def test_chunked_twice(raw, bucket):
    """boto3 over https: aws-chunked in Transfer-Encoding, no Content-Length."""
    path = "/%s/k" % bucket
    value = b64(digest("crc32", DATA)).encode()
    inner = b"b\r\n" + DATA + b"\r\n0\r\nx-amz-checksum-crc32:" + value + b"\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (inner[:7], inner[7:]))
    headers = [
        ("Content-Encoding", "gzip,aws-chunked"),
        ("Transfer-Encoding", "chunked"),
        ("x-amz-decoded-content-length", "11"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ]
    raw.sign_v4("PUT", path, headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    r = raw.raw(raw.encode("PUT", path, headers, body + b"0\r\n\r\n"))
    assert r.status == 200
    r = raw.get(path)
    assert r.body == DATA and r["content-encoding"] == "gzip"


def test_signed_chunks(raw, bucket):
    path = "/%s/k" % bucket
    chunks = [b"a" * 65536, b"b" * 65536, b"c" * 1000]
    size = sum(map(len, chunks))

    def put(make, kind="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", more=()):
        headers = [("x-amz-decoded-content-length", str(size))] + list(more)
        seed = raw.sign_v4("PUT", path, headers, payload=kind)
        body = make(seed)
        headers.append(("Content-Length", str(len(body))))
        return raw.raw(raw.encode("PUT", path, headers, body))

    assert put(lambda s: raw.chunked_body(chunks, s)).status == 200
    assert raw.get(path).body == b"".join(chunks)
    raw.put(path, b"old")
    r = put(lambda s: raw.chunked_body(chunks, s).replace(b"bbbb", b"bbxb", 1))
    is_error(r, "SignatureDoesNotMatch", 403)
    assert raw.get(path).body == b"old"
    value = b64(digest("sha256", b"".join(chunks))).encode()
    trailer = [("x-amz-trailer", "x-amz-checksum-sha256")]
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    r = put(
        lambda s: raw.chunked_body(chunks, s, [(b"x-amz-checksum-sha256", value)]),
        kind,
        trailer,
    )
    assert r.status == 200 and r["x-amz-checksum-sha256"].encode() == value
    assert raw.get(path).body == b"".join(chunks)


def test_payload_hash(raw, bucket):
    path = "/%s/k" % bucket
    wrong = hashlib.sha256(b"other").hexdigest()
    for size in (0, 11, 2_000_000):
        data = (DATA * (size // 11 + 1))[:size]
        r = raw.put(path, data, payload=wrong)
        is_error(r, "XAmzContentSHA256Mismatch", 400)
        assert b"<S3ComputedContentSHA256>" in r.body
    assert raw.head(path).status == 404
    raw.put(path, b"x")
    r = raw.delete(path, payload=wrong)
    is_error(r, "XAmzContentSHA256Mismatch", 400)
    assert raw.get(path).body == b"x"
    assert raw.put(path, b"y", payload="UNSIGNED-PAYLOAD").status == 200


def test_presigned_with_the_checksum_of_nothing(raw, bucket):
    """What the JS SDK presigns: the checksum is checked, with a clear error."""
    path = "/%s/k" % bucket
    params = [
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ]
    url = raw.presign("PUT", path, params=params)
    r = raw.request("PUT", url, b"not empty", auth="none")
    is_error(r, "BadDigest", 400)
    assert b"CRC32" in r.body
    assert raw.request("PUT", url, b"", auth="none").status == 200
    good = [("x-amz-checksum-crc32", b64(digest("crc32", DATA))), ("x-amz-meta-m", "v")]
    r = raw.request("PUT", raw.presign("PUT", path, params=good), DATA, auth="none")
    assert r.status == 200
    assert raw.get(path)["x-amz-meta-m"] == "v"


@pytest.mark.parametrize(
    "alg,of_nothing",
    [
        ("xxhash64", "ef46db3751d8e999"),
        ("xxhash3", "2d06800538d394c2"),
        ("xxhash128", "99aa06d3014798d86001c324468d497f"),
    ],
)
def test_xxhash(raw, bucket, alg, of_nothing):
    path, name = "/%s/k" % bucket, "x-amz-checksum-" + alg
    value = b64(bytes.fromhex(of_nothing))
    assert raw.put(path, b"", [(name, value)]).status == 200
    assert raw.head(path, [("x-amz-checksum-mode", "ENABLED")])[name] == value
    is_error(raw.put(path, b"x", [(name, value)]), "BadDigest", 400)
