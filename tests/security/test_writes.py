"""Every write x every kind of authentication x every fault: the refused ones
leave nothing behind, the right one works.

Codes: S3 API reference, "Error responses": an unknown key is
InvalidAccessKeyId, a wrong signature SignatureDoesNotMatch (both 403); a body
that is not the signed one XAmzContentSHA256Mismatch (400); what V2 cannot sign
is caught by Content-MD5, BadDigest (400).
"""

import hashlib

import pytest

from kit import OLD, answer, md5, presign_v2, unique
from lib.s3raw import EMPTY_SHA256

OK = "2xx"
DENIED = (403, "AccessDenied")
MISMATCH = (403, "SignatureDoesNotMatch")
UNKNOWN = (403, "InvalidAccessKeyId")
OTHER_BODY = (400, "XAmzContentSHA256Mismatch")
BAD_DIGEST = (400, "BadDigest")

COMPLETE = (
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
    "<ETag>%s</ETag></Part></CompleteMultipartUpload>"
)


class Op:
    """One write: made anew for each test."""

    def __init__(self, name, site, bucket):
        self.body, self.headers = b"", []
        self.method, path = "PUT", "/%s/old" % bucket
        upload = etag = None
        if name in (
            "UploadPart",
            "UploadPartCopy",
            "CompleteMultipartUpload",
            "AbortMultipartUpload",
        ):
            upload, etag = site.upload(bucket)
            path = "/%s/mp?uploadId=%s" % (bucket, upload)
        if name == "PutObject":
            self.body = b"new bytes"
        elif name == "UploadPart":
            path = "/%s/mp?partNumber=1&uploadId=%s" % (bucket, upload)
            self.body = b"a new part"
        elif name == "UploadPartCopy":
            path = "/%s/mp?partNumber=1&uploadId=%s" % (bucket, upload)
            self.headers = [("x-amz-copy-source", "/%s/src" % bucket)]
        elif name == "CopyObject":
            self.headers = [("x-amz-copy-source", "/%s/src" % bucket)]
        elif name == "CreateMultipartUpload":
            self.method, path = "POST", "/%s/new?uploads" % bucket
        elif name == "CompleteMultipartUpload":
            self.method, self.body = "POST", (COMPLETE % etag).encode()
        elif name in ("AbortMultipartUpload", "DeleteObject"):
            self.method = "DELETE"
        elif name == "DeleteObjects":
            self.method, path = "POST", "/%s?delete" % bucket
            self.body = b"<Delete><Object><Key>old</Key></Object></Delete>"
            self.headers = [("Content-MD5", md5(self.body))]
        elif name == "CreateBucket":
            path = "/" + unique("new")
        elif name == "DeleteBucket":
            empty = unique("empty")
            assert site.root.put("/" + empty).status == 200
            self.method, path = "DELETE", "/" + empty
        self.target = path


OPS = [
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
    "CopyObject",
    "CreateMultipartUpload",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "CreateBucket",
    "DeleteBucket",
]


def other_path(method, target, headers, body):
    path, mark, query = target.partition("?")
    return method, path + "x" + mark + query, headers, body


def other_query(method, target, headers, body):
    mark = "&" if "?" in target else "?"
    return method, target + mark + "response-expires=x", headers, body


def other_header(method, target, headers, body):
    return (
        method,
        target,
        [(k, "2" if k == "x-amz-meta-t" else v) for k, v in headers],
        body,
    )


def no_header(method, target, headers, body):
    return method, target, [h for h in headers if h[0] != "x-amz-meta-t"], body


def more_header(method, target, headers, body):
    return method, target, headers + [("x-amz-meta-evil", "1")], body


def as_copy(method, target, headers, body):
    headers = headers + [("x-amz-copy-source", "/%s/src" % target.split("/")[1])]
    return method, target, headers, body


def other_body(method, target, headers, body):
    body = b"X" + body[1:] if body else b"X"
    headers = [h for h in headers if h[0].lower() != "content-length"]
    return method, target, headers + [("Content-Length", str(len(body)))], body


def send_v4(site, client, op, tamper=None):
    headers = op.headers + [("x-amz-meta-t", "1")]
    return client.request(op.method, op.target, op.body, headers, tamper=tamper)


def send_v2(site, client, op, tamper=None):
    headers = op.headers + [("x-amz-meta-t", "1")]
    if op.body and not any(k == "Content-MD5" for k, _ in headers):
        headers.append(("Content-MD5", md5(op.body)))
    from kit import v2_resource

    return client.request(
        op.method,
        op.target,
        op.body,
        headers,
        auth="v2",
        resource=v2_resource(op.target),
        tamper=tamper,
    )


def send_v4_query(site, client, op, tamper=None):
    headers = op.headers + [("x-amz-meta-t", "1")]
    target = client.presign(op.method, op.target, headers=headers)
    return client.request(
        op.method, target, op.body, headers, auth="none", tamper=tamper
    )


def send_v4_query_hash(site, client, op, tamper=None):
    """The body's hash as a signed parameter."""
    payload = hashlib.sha256(op.body).hexdigest() if op.body else EMPTY_SHA256
    headers = op.headers + [("x-amz-meta-t", "1")]
    target = client.presign(
        op.method,
        op.target,
        headers=headers,
        params=[("X-Amz-Content-Sha256", payload)],
        payload=payload,
    )
    return client.request(
        op.method, target, op.body, headers, auth="none", tamper=tamper
    )


def send_v2_query(site, client, op, tamper=None):
    headers = op.headers + [("x-amz-meta-t", "1")]
    target = presign_v2(client, op.method, op.target, headers)
    return client.request(
        op.method, target, op.body, headers, auth="none", tamper=tamper
    )


def send_anonymous(site, client, op, tamper=None):
    headers = op.headers + [("x-amz-meta-t", "1")]
    return client.request(
        op.method, op.target, op.body, headers, auth="none", tamper=tamper
    )


# fault -> (who signs, what is changed after signing); the expected codes follow.
FAULTS = {
    "unknown key": ("unknown", None),
    "wrong secret": ("secret", None),
    "other path": ("root", other_path),
    "other query": ("root", other_query),
    "other header": ("root", other_header),
    "no header": ("root", no_header),
    "more header": ("root", more_header),
    "other body": ("root", other_body),
    "right": ("root", None),
}

COMMON = {
    "unknown key": UNKNOWN,
    "wrong secret": MISMATCH,
    "other path": MISMATCH,
    "other query": MISMATCH,
    "other header": MISMATCH,
    "no header": MISMATCH,
    "right": OK,
}

KINDS = {
    "v4": (send_v4, dict(COMMON, **{"more header": DENIED, "other body": OTHER_BODY})),
    # A body that no one signed may be any: no fault.
    "v4 query": (send_v4_query, dict(COMMON, **{"more header": DENIED})),
    "v4 query hash": (
        send_v4_query_hash,
        dict(COMMON, **{"more header": DENIED, "other body": OTHER_BODY}),
    ),
    "v2": (
        send_v2,
        dict(COMMON, **{"more header": MISMATCH, "other body": BAD_DIGEST}),
    ),
    "v2 query": (send_v2_query, dict(COMMON, **{"more header": MISMATCH})),
    "anonymous": (
        send_anonymous,
        {k: DENIED for k in FAULTS if k not in ("unknown key", "wrong secret")},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPS)
def test_write(site, bucket, name, kind):
    op = Op(name, site, bucket)
    send, expected = KINDS[kind]
    signers = {
        "root": site.root,
        "unknown": site.client("NOSUCHACCESSKEY00000", site.root.secret),
        "secret": site.client(site.root.access_key, "not the secret at all"),
    }
    before = site.state(bucket)
    for fault, (who, tamper) in FAULTS.items():
        want = expected.get(fault)
        if want is None:
            continue
        if fault == "other body" and kind == "v2" and not op.body:
            continue  # nothing was claimed about it
        r = send(site, signers[who], op, tamper)
        if want == OK:
            assert r.status in (200, 204), (fault, r)
            assert r.code is None, (fault, r)
            assert site.state(bucket) != before, fault
        else:
            assert answer(r) == want, (fault, r)
            assert site.state(bucket) == before, fault
    for client in signers.values():
        if client is not site.root:
            client.close()


@pytest.mark.parametrize("kind", ["v4", "v4 query", "v2", "v2 query"])
def test_put_is_not_turned_into_copy(site, bucket, kind):
    """Who was given a URL to put bytes must not read others with it."""
    op = Op("PutObject", site, bucket)
    before = site.state(bucket)
    r = KINDS[kind][0](site, site.root, op, as_copy)
    assert answer(r) in (DENIED, MISMATCH), r
    assert site.state(bucket) == before


def test_refused_large_bodies_are_not_stored(site, bucket):
    """Nor parts of them: the signature is checked before a byte is read."""
    files, _ = site.stored()
    body = b"z" * (3 << 20)
    wrong = site.client(site.root.access_key, "not the secret at all")
    for payload in (
        "UNSIGNED-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        hashlib.sha256(body).hexdigest(),
    ):
        r = wrong.put("/%s/large" % bucket, body, payload=payload)
        assert answer(r) == MISMATCH, r
    # Found only at the end: stored for a while, then gone.
    for headers, want in (
        ([("Content-MD5", md5(b"other"))], BAD_DIGEST),
        ([("x-amz-checksum-crc32", "AAAAAA==")], BAD_DIGEST),
        ([("x-amz-content-sha256", hashlib.sha256(b"").hexdigest())], OTHER_BODY),
    ):
        kw = {"payload": hashlib.sha256(b"").hexdigest()} if want == OTHER_BODY else {}
        r = site.root.put("/%s/large" % bucket, body, headers, **kw)
        assert answer(r) == want, r
    assert site.root.head("/%s/large" % bucket).status == 404
    assert site.stored() == (files, 0)


def test_old_object_survives_broken_uploads(site, bucket):
    """Connections that end in the middle of a body."""
    target = "/%s/old" % bucket
    files, _ = site.stored()
    for size, sent in ((100, 0), (100, 99), (3 << 20, 2 << 20)):
        headers = [
            ("Host", site.root.host_header),
            ("Content-Length", str(size)),
        ]
        site.root.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
        with site.root.connect() as c:
            c.send(site.root.encode("PUT", target, headers) + b"x" * sent)
        assert site.root.get(target).body == OLD
    assert site.stored() == (files, 0)
