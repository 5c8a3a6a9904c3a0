"""Each value of x-amz-content-sha256 x each kind of signature x PutObject and
UploadPart: a wrong signature stores nothing, whatever the body's kind.

Source: "Authenticating Requests: Using the Authorization Header", the values
of x-amz-content-sha256.
"""

import base64
import hashlib
import zlib

import pytest

from kit import OLD, answer, presign_v2

BODY = b"0123456789" * 20
SHA = hashlib.sha256(BODY).hexdigest()
CRC = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big"))
MISMATCH = (403, "SignatureDoesNotMatch")
BAD_VALUE = (400, "InvalidArgument")
DENIED = (403, "AccessDenied")


def plain(client, seed):
    return BODY


def unsigned_trailer(client, seed):
    return b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(BODY), BODY, CRC)


def signed_chunks(client, seed):
    return client.chunked_body([BODY[:100], BODY[100:]], seed)


def signed_trailer(client, seed):
    return client.chunked_body(
        [BODY[:100], BODY[100:]], seed, [(b"x-amz-checksum-crc32", CRC)]
    )


TRAILER = [("x-amz-trailer", "x-amz-checksum-crc32")]

# value -> (body, more headers, answer when the rest is right by kind)
STREAMS = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (signed_chunks, []),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (signed_trailer, TRAILER),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (unsigned_trailer, TRAILER),
}
VALUES = {
    SHA: 200,
    SHA.upper(): 200,
    hashlib.sha256(b"other").hexdigest(): (400, "XAmzContentSHA256Mismatch"),
    "UNSIGNED-PAYLOAD": 200,
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": 200,
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": 200,
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": 200,
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD": (501, "NotImplemented"),
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER": (501, "NotImplemented"),
    "unsigned-payload": BAD_VALUE,
    "STREAMING-PAYLOAD": BAD_VALUE,
    "": BAD_VALUE,
    SHA[:63]: BAD_VALUE,
    SHA + "0": BAD_VALUE,
    "g" + SHA[1:]: BAD_VALUE,
}
# A chain hangs on a V4 signature: without one there is none.
CHAINED = [v for v in STREAMS if "HMAC" in v]


def send(site, client, kind, target, value):
    body, more = STREAMS.get(value, (plain, []))
    headers = [("Host", client.host_header)] + list(more)
    if value in STREAMS:
        headers.append(("x-amz-decoded-content-length", str(len(BODY))))
        headers.append(("Content-Encoding", "aws-chunked"))
    headers.append(("x-amz-content-sha256", value))
    seed = None
    if kind == "v4":
        seed = client.sign_v4("PUT", target, headers, payload=value)
    elif kind == "v4 query":
        signed = [h for h in headers if h[0].startswith("x-amz-")]
        target = client.presign("PUT", target, headers=signed, payload=value)
        date = target.split("X-Amz-Date=")[1][:16]
        scope = "%s/%s/s3/aws4_request" % (date[:8], client.region)
        seed = (target.rsplit("=", 1)[1], date, scope)
    elif kind == "v2":
        from kit import v2_resource

        client.sign_v2("PUT", target, headers, v2_resource(target))
    elif kind == "v2 query":
        target = presign_v2(client, "PUT", target, headers)
    if seed is None and value in CHAINED:
        data = BODY
    else:
        data = body(client, seed)
    headers.append(("Content-Length", str(len(data))))
    client.close()
    return client.raw(client.encode("PUT", target, headers, data), "PUT")


@pytest.mark.parametrize("kind", ["v4", "v4 query", "v2", "v2 query", "anonymous"])
@pytest.mark.parametrize("op", ["PutObject", "UploadPart"])
def test_payload_values(site, bucket, op, kind):
    target = "/%s/old" % bucket
    if op == "UploadPart":
        upload, _ = site.upload(bucket)
        target = "/%s/mp?partNumber=1&uploadId=%s" % (bucket, upload)
    wrong = site.client(site.root.access_key, "not the secret at all")
    state = site.state(bucket)
    for value, expected in VALUES.items():
        if kind.startswith("v2") and value in CHAINED:
            expected = BAD_VALUE
        for client in (wrong, site.root):
            r = send(site, client, kind, target, value)
            if kind == "anonymous":
                # What can't be a value may be told first.
                assert answer(r) in (DENIED, expected, BAD_VALUE), (value, r)
                assert r.status >= 400, (value, r)
                continue
            if client is wrong and expected not in (BAD_VALUE, (501, "NotImplemented")):
                assert answer(r) == MISMATCH, (value, r)
            elif expected == 200:
                assert r.status == 200, (value, r)
                assert site.state(bucket) != state, value
                if op == "PutObject":
                    assert site.root.get(target).body == BODY
                    assert site.root.head(target)["content-encoding"] is None
                assert site.root.put(target, OLD).status == 200
                state = site.state(bucket)
            else:
                assert answer(r) == expected, (value, r)
            if expected != 200 or client is wrong:
                assert site.state(bucket) == state, value
    wrong.close()


def test_payload_is_required_in_v4_header(site, bucket):
    r = site.root.put("/%s/old" % bucket, BODY, send_payload_header=False)
    assert answer(r) == (400, "InvalidRequest"), r
    assert site.root.get("/%s/old" % bucket).body == OLD


def test_payload_twice(site, bucket):
    headers = [("x-amz-content-sha256", SHA), ("x-amz-content-sha256", SHA)]
    r = site.root.put("/%s/old" % bucket, BODY, headers)
    assert answer(r) == BAD_VALUE, r
    assert site.root.get("/%s/old" % bucket).body == OLD


def test_checksum_of_an_empty_body_in_a_presigned_put(site, bucket):
    """Some SDKs bake it in; AWS checks it."""
    for params in (
        [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "CRC32")],
    ):
        target = site.root.presign("PUT", "/%s/baked" % bucket, params=params)
        r = site.root.request("PUT", target, BODY, auth="none")
        assert answer(r) == (400, "BadDigest"), r
        assert b"CRC32" in r.body and b"WHEN_REQUIRED" in r.body
        assert site.root.head("/%s/baked" % bucket).status == 404
        r = site.root.request("PUT", target, b"", auth="none")
        assert r.status == 200, r


@pytest.mark.parametrize(
    "headers, code",
    [
        ([("x-amz-checksum-crc32", "AAAA")], "BadDigest"),
        ([("x-amz-checksum-crc32", "!!!!!!==")], "BadDigest"),
        ([("x-amz-checksum-crc99", "AAAAAA==")], "InvalidRequest"),
        (
            [
                ("x-amz-checksum-crc32", CRC.decode()),
                ("x-amz-checksum-crc32c", "AAAAAA=="),
            ],
            "InvalidRequest",
        ),
        (
            [
                ("x-amz-checksum-crc32", CRC.decode()),
                ("x-amz-checksum-crc32", CRC.decode()),
            ],
            "InvalidRequest",
        ),
        (
            [
                ("x-amz-checksum-crc32", CRC.decode()),
                ("x-amz-sdk-checksum-algorithm", "SHA256"),
            ],
            "InvalidRequest",
        ),
        ([("x-amz-sdk-checksum-algorithm", "CRC99")], "InvalidRequest"),
        (
            [
                ("x-amz-checksum-crc32", CRC.decode()),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
            ],
            "InvalidRequest",
        ),
        ([("x-amz-trailer", "x-amz-checksum-crc32")], "InvalidRequest"),
        ([("Content-MD5", "AAAA")], "InvalidDigest"),
        ([("Content-MD5", "not base64 at all")], "InvalidDigest"),
    ],
)
def test_checksum_claims(site, bucket, headers, code):
    r = site.root.put("/%s/old" % bucket, BODY, headers)
    assert answer(r) == (400, code), r
    assert site.root.get("/%s/old" % bucket).body == OLD


@pytest.mark.parametrize("how", ["md5", "sha256", "crc32"])
def test_longer_than_announced(site, bucket, how):
    """A body with more bytes than Content-Length says fails its digest, and what
    lies behind it is no request: the connection closes, and a client that
    tries again (boto3 does, on the connection it has) hears the same."""
    path, data = "/%s/old" % bucket, b"bar"
    headers, sign, code = [], {}, "BadDigest"
    if how == "md5":
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        headers, sign = [("Content-MD5", md5)], {"payload": "UNSIGNED-PAYLOAD"}
    elif how == "crc32":
        crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
        headers, sign = [("x-amz-checksum-crc32", crc)], {"payload": "UNSIGNED-PAYLOAD"}
    else:
        code = "XAmzContentSHA256Mismatch"
    sign.setdefault("payload", hashlib.sha256(data).hexdigest())
    for _ in range(3):
        headers_now = headers + [("Host", site.root.host_header), ("Content-Length", "2")]
        site.root.sign_v4("PUT", path, headers_now, **sign)
        with site.root.connect() as c:
            c.send(site.root.encode("PUT", path, headers_now, data))
            r = c.response("PUT")
            assert answer(r) == (400, code), r
            assert (r["connection"] or "").lower() == "close", r
            assert c.response() is None
    assert site.root.get(path).body == OLD
    # That was one request's: its worker goes on as ever.
    for _ in range(50):
        assert site.root.get(path)["connection"] is None
