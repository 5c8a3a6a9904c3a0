"""Multipart uploads."""

import base64
import hashlib
import os
import zlib

import pytest

from conftest import is_error, xml

MB = 1 << 20


def b64(x):
    return base64.b64encode(x).decode()


def create(s3, bucket, key="k", **kw):
    return s3.create_multipart_upload(Bucket=bucket, Key=key, **kw)["UploadId"]


def upload(s3, bucket, uid, parts, key="k", **kw):
    """parts: {number: bytes}; returns the list for Complete."""
    out = []
    for n, data in parts.items():
        r = s3.upload_part(
            Bucket=bucket, Key=key, UploadId=uid, PartNumber=n, Body=data, **kw
        )
        part = {"PartNumber": n, "ETag": r["ETag"]}
        part.update({k: v for k, v in r.items() if k.startswith("Checksum")})
        out.append(part)
    return out


def complete(s3, bucket, uid, parts, key="k", **kw):
    return s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=uid, MultipartUpload={"Parts": parts}, **kw
    )


def etag_of(datas):
    md5s = b"".join(hashlib.md5(d).digest() for d in datas)
    return '"%s-%d"' % (hashlib.md5(md5s).hexdigest(), len(datas))


@pytest.fixture(scope="module")
def datas():
    return [os.urandom(5 * MB), os.urandom(5 * MB + 1), os.urandom(70001)]


def test_whole_life(s3, raw, bucket, datas, expect):
    uid = create(s3, bucket, Metadata={"m": "1"}, ContentType="text/x", StorageClass="STANDARD_IA")
    parts = upload(s3, bucket, uid, dict(enumerate(datas, 1)))
    assert [p["ETag"] for p in parts] == ['"%s"' % hashlib.md5(d).hexdigest() for d in datas]
    with expect("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="k")
    r = complete(s3, bucket, uid, parts)
    assert r["ETag"] == etag_of(datas) and r["Bucket"] == bucket and r["Key"] == "k"
    assert r["Location"].endswith("/%s/k" % bucket)
    r = s3.get_object(Bucket=bucket, Key="k")
    assert r["Body"].read() == b"".join(datas) and r["ETag"] == etag_of(datas)
    assert r["Metadata"] == {"m": "1"} and r["ContentType"] == "text/x"
    assert r["StorageClass"] == "STANDARD_IA"
    # repeated: the same answer
    assert complete(s3, bucket, uid, parts)["ETag"] == etag_of(datas)
    with expect("NoSuchUpload", 404):
        s3.list_parts(Bucket=bucket, Key="k", UploadId=uid)
    # ranges over the parts' borders
    whole = b"".join(datas)
    for first, last in ((5 * MB - 1, 5 * MB), (0, len(whole) - 1), (10 * MB, 10 * MB + 9)):
        r = s3.get_object(Bucket=bucket, Key="k", Range="bytes=%d-%d" % (first, last))
        assert r["Body"].read() == whole[first : last + 1]
    # part numbers
    off = 0
    for n, d in enumerate(datas, 1):
        r = s3.get_object(Bucket=bucket, Key="k", PartNumber=n)
        assert r["Body"].read() == d and r["PartsCount"] == 3
        assert r["ETag"] == etag_of(datas)
        want = "bytes %d-%d/%d" % (off, off + len(d) - 1, len(whole))
        assert r["ContentRange"] == want
        h = s3.head_object(Bucket=bucket, Key="k", PartNumber=n)
        assert h["ContentLength"] == len(d) and h["PartsCount"] == 3
        off += len(d)
    is_error(raw.get("/%s/k?partNumber=4" % bucket), "InvalidPartNumber", 416)
    # the default checksum is CRC64NVME of the full object
    r = raw.head("/%s/k" % bucket, [("x-amz-checksum-mode", "ENABLED")])
    assert r["x-amz-checksum-type"] == "FULL_OBJECT"
    raw.put("/%s/plain" % bucket, whole)
    p = raw.head("/%s/plain" % bucket, [("x-amz-checksum-mode", "ENABLED")])
    assert r["x-amz-checksum-crc64nvme"] == p["x-amz-checksum-crc64nvme"]


def test_one_small_part(s3, bucket):
    uid = create(s3, bucket)
    r = complete(s3, bucket, uid, upload(s3, bucket, uid, {7: b"small"}))
    assert r["ETag"] == etag_of([b"small"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"small"


def test_part_replaced_and_left_out(s3, bucket):
    uid = create(s3, bucket)
    upload(s3, bucket, uid, {1: b"one", 2: b"left out"})
    parts = upload(s3, bucket, uid, {1: b"uno"})
    complete(s3, bucket, uid, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"uno"


def test_too_small(s3, bucket, expect):
    uid = create(s3, bucket)
    parts = upload(s3, bucket, uid, {1: b"x", 2: b"y"})
    with expect("EntityTooSmall", 400):
        complete(s3, bucket, uid, parts)
    # the upload is still there
    assert len(s3.list_parts(Bucket=bucket, Key="k", UploadId=uid)["Parts"]) == 2


def test_bad_complete(s3, raw, bucket, expect):
    uid = create(s3, bucket)
    parts = upload(s3, bucket, uid, {1: b"x", 2: b"y"})
    with expect("InvalidPart", 400):
        complete(s3, bucket, uid, [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}])
    with expect("InvalidPart", 400):
        complete(s3, bucket, uid, [dict(parts[0], PartNumber=9)])
    with expect("InvalidPartOrder", 400):
        complete(s3, bucket, uid, parts[::-1])
    with expect("InvalidPartOrder", 400):
        complete(s3, bucket, uid, [parts[0], parts[0]])
    with expect("MalformedXML", 400):
        complete(s3, bucket, uid, [])
    with expect("NoSuchUpload", 404):
        complete(s3, bucket, "0" * 32, parts)
    with expect("NoSuchUpload", 404):
        complete(s3, bucket, uid, parts, key="other")
    path = "/%s/k?uploadId=%s" % (bucket, uid)
    for body in (
        b"",
        b"junk",
        b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part>",
        b"<Other/>",
    ):
        is_error(raw.request("POST", path, body), "MalformedXML", 400)
    for n in ("0", "10001"):
        body = "<CompleteMultipartUpload><Part><PartNumber>%s</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"
        is_error(raw.request("POST", path, (body % n).encode()), "InvalidArgument", 400)
    size = [("x-amz-mp-object-size", "5")]
    body = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>"
    body = (body % parts[0]["ETag"].strip('"')).encode()
    assert raw.request("POST", path, body, size).status == 400
    is_error(raw.get("/%s/k" % bucket), "NoSuchKey", 404)
    r = raw.request("POST", path, body, [("x-amz-mp-object-size", "1")])
    assert r.status == 200, r


def test_bad_parts(s3, raw, bucket):
    uid = create(s3, bucket)
    base = "/%s/k?uploadId=%s" % (bucket, uid)
    for n in ("0", "10001", "-1", "x", "", "1.5"):
        r = raw.put("%s&partNumber=%s" % (base, n), b"x")
        is_error(r, "InvalidArgument", 400)
    is_error(raw.put(base, b"x"), "InvalidArgument", 400)
    is_error(raw.put("/%s/k?partNumber=1" % bucket, b"x"), "InvalidArgument", 400)
    for bad in ("0" * 32, "junk", "..%2F..", "%00"):
        r = raw.put("/%s/k?partNumber=1&uploadId=%s" % (bucket, bad), b"x")
        assert r.status in (400, 404), r
    bad = [("Content-MD5", b64(hashlib.md5(b"other").digest()))]
    is_error(raw.put(base + "&partNumber=1", b"x", bad), "BadDigest", 400)
    t = xml(raw.get(base))
    assert t.find("Part") is None
    assert raw.put(base + "&partNumber=10000", b"x").status == 200


def test_abort(s3, bucket, expect):
    uid = create(s3, bucket)
    upload(s3, bucket, uid, {1: b"x"})
    r = s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=uid)
    assert r["ResponseMetadata"]["HTTPStatusCode"] == 204
    with expect("NoSuchUpload", 404):
        s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=uid)
    with expect("NoSuchUpload", 404):
        upload(s3, bucket, uid, {1: b"x"})
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_overwrite_by_complete(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    uid = create(s3, bucket)
    parts = upload(s3, bucket, uid, {1: b"new"})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    complete(s3, bucket, uid, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_conditions_of_complete(s3, raw, bucket):
    raw.put("/%s/k" % bucket, b"old")
    uid = create(s3, bucket)
    part = upload(s3, bucket, uid, {1: b"new"})[0]
    path = "/%s/k?uploadId=%s" % (bucket, uid)
    body = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>"
    body = (body % part["ETag"].strip('"')).encode()
    r = raw.request("POST", path, body, [("If-None-Match", "*")])
    is_error(r, "PreconditionFailed", 412)
    r = raw.request("POST", path, body, [("If-Match", '"x"')])
    is_error(r, "PreconditionFailed", 412)
    r = raw.request("POST", path, body, [("If-None-Match", '"x"')])
    is_error(r, "NotImplemented", 501)
    assert raw.get("/%s/k" % bucket).body == b"old"
    etag = raw.head("/%s/k" % bucket)["etag"]
    assert raw.request("POST", path, body, [("If-Match", etag)]).status == 200
    assert raw.get("/%s/k" % bucket).body == b"new"
    # and once more: not 412 to its own success
    assert raw.request("POST", path, body, [("If-Match", etag)]).status == 200


def test_list_parts(s3, raw, bucket):
    uid = create(s3, bucket, StorageClass="ONEZONE_IA")
    numbers = [1, 3, 4, 10, 9999]
    upload(s3, bucket, uid, {n: b"x" * n for n in numbers})
    r = s3.list_parts(Bucket=bucket, Key="k", UploadId=uid)
    assert [(p["PartNumber"], p["Size"]) for p in r["Parts"]] == [(n, n) for n in numbers]
    assert r["StorageClass"] == "ONEZONE_IA" and not r["IsTruncated"]
    assert len(r["Owner"]["ID"]) == 64 and r["Initiator"]["ID"]
    seen, marker = [], 0
    for _ in range(10):
        r = s3.list_parts(
            Bucket=bucket, Key="k", UploadId=uid, MaxParts=2, PartNumberMarker=marker
        )
        seen += [p["PartNumber"] for p in r["Parts"]]
        if not r["IsTruncated"]:
            break
        marker = r["NextPartNumberMarker"]
    assert seen == numbers
    base = "/%s/k?uploadId=%s" % (bucket, uid)
    for bad in ("&max-parts=-1", "&max-parts=x", "&part-number-marker=-1"):
        is_error(raw.get(base + bad), "InvalidArgument", 400)
    t = xml(raw.get(base + "&max-parts=0"))
    assert t.find("Part") is None


def test_list_uploads(s3, raw, bucket):
    made = {}
    for key in ("a", "a", "b/1", "b/2", "c"):
        made.setdefault(key, []).append(create(s3, bucket, key))
    r = s3.list_multipart_uploads(Bucket=bucket)
    assert [u["Key"] for u in r["Uploads"]] == ["a", "a", "b/1", "b/2", "c"]
    assert [u["UploadId"] for u in r["Uploads"]][:2] == made["a"]
    r = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [u["Key"] for u in r["Uploads"]] == ["a", "a", "c"]
    assert [p["Prefix"] for p in r["CommonPrefixes"]] == ["b/"]
    r = s3.list_multipart_uploads(Bucket=bucket, Prefix="b/")
    assert [u["Key"] for u in r["Uploads"]] == ["b/1", "b/2"]
    seen, kw = [], {}
    for _ in range(10):
        r = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=1, **kw)
        seen += [(u["Key"], u["UploadId"]) for u in r.get("Uploads", [])]
        if not r["IsTruncated"]:
            break
        kw = {"KeyMarker": r["NextKeyMarker"], "UploadIdMarker": r["NextUploadIdMarker"]}
    assert seen == [(k, u) for k in sorted(made) for u in made[k]]
    r = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a")
    assert [u["Key"] for u in r["Uploads"]] == ["b/1", "b/2", "c"]
    is_error(raw.get("/%s?uploads&max-uploads=x" % bucket), "InvalidArgument", 400)
    r = raw.get("/%s?uploads&key-marker=a&upload-id-marker=junk" % bucket)
    is_error(r, "InvalidArgument", 400)
    assert xml(r).findtext("ArgumentName") == "upload-id-marker"
    assert xml(r).findtext("ArgumentValue") == "junk"
    assert "marker" in xml(r).findtext("Message")
    r = raw.get("/%s?uploads&key-marker=%s" % (bucket, "k" * 1025))
    is_error(r, "InvalidArgument", 400)
    assert xml(r).findtext("ArgumentName") == "key-marker"
    r = raw.get("/%s?marker=%s" % (bucket, "k" * 1025))
    assert "too long" in xml(r).findtext("Message")


@pytest.mark.parametrize("alg", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_composite_checksums(s3, raw, bucket, datas, alg):
    member = "Checksum" + alg
    uid = create(s3, bucket, ChecksumAlgorithm=alg)
    parts = upload(s3, bucket, uid, dict(enumerate(datas, 1)), ChecksumAlgorithm=alg)
    assert all(member in p for p in parts)
    r = s3.list_parts(Bucket=bucket, Key="k", UploadId=uid)
    assert r["ChecksumAlgorithm"] == alg and r["Parts"][0][member] == parts[0][member]
    raws = b"".join(base64.b64decode(p[member]) for p in parts)
    if alg == "CRC32":
        want = b64(zlib.crc32(raws).to_bytes(4, "big"))
    elif alg == "CRC32C":
        want = None
    else:
        want = b64(hashlib.new(alg.lower(), raws).digest())
    r = complete(s3, bucket, uid, parts)
    if want is not None:
        assert r[member] == want + "-3"
    r = raw.head("/%s/k" % bucket, [("x-amz-checksum-mode", "ENABLED")])
    name = "x-amz-checksum-" + alg.lower()
    assert r[name].endswith("-3") and r["x-amz-checksum-type"] == "COMPOSITE"
    a = s3.get_object_attributes(
        Bucket=bucket,
        Key="k",
        ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"],
    )
    assert a["ETag"] == etag_of(datas).strip('"')
    assert a["Checksum"][member] == r[name]
    assert a["ObjectSize"] == sum(map(len, datas)) and a["StorageClass"] == "STANDARD"
    assert a["ObjectParts"]["TotalPartsCount"] == 3
    got = [(p["PartNumber"], p["Size"], p[member]) for p in a["ObjectParts"]["Parts"]]
    assert got == [(p["PartNumber"], len(d), p[member]) for p, d in zip(parts, datas)]
    # a part read carries the part's
    r = raw.get("/%s/k?partNumber=2" % bucket, [("x-amz-checksum-mode", "ENABLED")])
    assert r[name] == parts[1][member]


def start(raw, bucket, *headers):
    r = raw.request("POST", "/%s/k?uploads" % bucket, b"", headers)
    return r, (xml(r).findtext("UploadId") if r.status == 200 else None)


def finish(raw, bucket, uid, parts, *headers):
    items = "".join(
        "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>" % p for p in parts
    )
    body = ("<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % items).encode()
    return raw.request("POST", "/%s/k?uploadId=%s" % (bucket, uid), body, headers)


def test_full_object_checksum(raw, bucket, datas):
    alg = ("x-amz-checksum-algorithm", "CRC32")
    r, uid = start(raw, bucket, alg, ("x-amz-checksum-type", "FULL_OBJECT"))
    assert r["x-amz-checksum-algorithm"] == "CRC32"
    assert r["x-amz-checksum-type"] == "FULL_OBJECT"
    parts = []
    for n, d in enumerate(datas, 1):
        r = raw.put("/%s/k?uploadId=%s&partNumber=%d" % (bucket, uid, n), d)
        parts.append((n, r["etag"].strip('"'), ""))
    crc = 0
    for d in datas:
        crc = zlib.crc32(d, crc)
    good, bad = b64(crc.to_bytes(4, "big")), b64((crc ^ 1).to_bytes(4, "big"))
    name = "x-amz-checksum-crc32"
    is_error(finish(raw, bucket, uid, parts, (name, "bad")), "BadDigest", 400)
    is_error(finish(raw, bucket, uid, parts, (name, bad)), "BadDigest", 400)
    r = finish(raw, bucket, uid, parts, ("x-amz-checksum-type", "COMPOSITE"))
    is_error(r, "InvalidRequest", 400)
    r = finish(raw, bucket, uid, parts, ("x-amz-checksum-sha1", b64(b"x" * 20)))
    is_error(r, "InvalidRequest", 400)
    r = finish(raw, bucket, uid, parts, (name, good))
    assert r.status == 200 and xml(r).findtext("ChecksumCRC32") == good
    assert xml(r).findtext("ChecksumType") == "FULL_OBJECT"
    r = raw.get("/%s/k" % bucket, [("x-amz-checksum-mode", "ENABLED")])
    assert r[name] == good and r.body == b"".join(datas)


def test_composite_complete_checks_the_parts_checksums(raw, bucket):
    data = b"A" * 1024
    r, uid = start(raw, bucket, ("x-amz-checksum-algorithm", "SHA256"))
    assert r["x-amz-checksum-type"] == "COMPOSITE"
    sha = b64(hashlib.sha256(data).digest())
    name = "x-amz-checksum-sha256"
    r = raw.put(
        "/%s/k?uploadId=%s&partNumber=1" % (bucket, uid), data, [(name, sha)]
    )
    assert r[name] == sha
    etag = r["etag"].strip('"')
    element = "<ChecksumSHA256>%s</ChecksumSHA256>"
    r = finish(raw, bucket, uid, [(1, etag, element % "bad")])
    is_error(r, "InvalidPart", 400)
    other = b64(hashlib.sha256(b"other").digest())
    is_error(finish(raw, bucket, uid, [(1, etag, element % other)]), "InvalidPart", 400)
    whole = b64(hashlib.sha256(hashlib.sha256(data).digest()).digest())
    good = (1, etag, element % sha)
    r = finish(raw, bucket, uid, [good], (name, other + "-1"))
    is_error(r, "BadDigest", 400)
    r = finish(raw, bucket, uid, [good], (name, whole + "-1"))
    assert r.status == 200 and xml(r).findtext("ChecksumSHA256") == whole + "-1"


def test_checksum_types(raw, bucket):
    alg, kind = "x-amz-checksum-algorithm", "x-amz-checksum-type"
    for headers in (
        [(alg, "CRC64NVME"), (kind, "COMPOSITE")],
        [(alg, "SHA1"), (kind, "FULL_OBJECT")],
        [(alg, "SHA256"), (kind, "FULL_OBJECT")],
        [(alg, "SHA512"), (kind, "FULL_OBJECT")],
        [(alg, "MD5"), (kind, "FULL_OBJECT")],
        [(alg, "XXHASH64"), (kind, "FULL_OBJECT")],
        [(alg, "XXHASH3"), (kind, "FULL_OBJECT")],
        [(alg, "XXHASH128"), (kind, "FULL_OBJECT")],
        [(alg, "CRC16")],
        [(kind, "FULL_OBJECT")],
        [(alg, "CRC32"), (kind, "junk")],
    ):
        is_error(start(raw, bucket, *headers)[0], "InvalidRequest", 400)
    r, uid = start(raw, bucket, (alg, "CRC32"))
    r = raw.put(
        "/%s/k?uploadId=%s&partNumber=1" % (bucket, uid),
        b"x",
        [("x-amz-checksum-sha1", b64(hashlib.sha1(b"x").digest()))],
    )
    is_error(r, "InvalidRequest", 400)


def test_part_checksum_of_another_kind(raw, bucket):
    """The upload names no algorithm: the part's checksum is verified."""
    _, uid = start(raw, bucket)
    path = "/%s/k?uploadId=%s&partNumber=1" % (bucket, uid)
    name = "x-amz-checksum-crc32"
    bad = b64(zlib.crc32(b"y").to_bytes(4, "big"))
    good = b64(zlib.crc32(b"x").to_bytes(4, "big"))
    is_error(raw.put(path, b"x", [(name, bad)]), "BadDigest", 400)
    r = raw.put(path, b"x", [(name, good)])
    assert r[name] == good
    element = "<ChecksumCRC32>%s</ChecksumCRC32>" % good
    assert finish(raw, bucket, uid, [(1, r["etag"].strip('"'), element)]).status == 200


# --- UploadPartCopy ---


def part_copy(raw, bucket, uid, n, source, *headers):
    path = "/%s/k?partNumber=%d&uploadId=%s" % (bucket, n, uid)
    return raw.put(path, b"", [("x-amz-copy-source", source)] + list(headers))


def test_part_copy(s3, raw, bucket, datas):
    whole = b"".join(datas)
    s3.put_object(Bucket=bucket, Key="src", Body=whole)
    uid = create(s3, bucket)
    src = "/%s/src" % bucket
    r1 = part_copy(raw, bucket, uid, 1, src)
    assert xml(r1).findtext("ETag") == '"%s"' % hashlib.md5(whole).hexdigest()
    r2 = part_copy(raw, bucket, uid, 2, src, ("x-amz-copy-source-range", "bytes=5-6000000"))
    want = whole[5:6000001]
    assert xml(r2).findtext("ETag") == '"%s"' % hashlib.md5(want).hexdigest()
    assert xml(r2).findtext("LastModified")
    s3.delete_object(Bucket=bucket, Key="src")
    parts = [
        {"PartNumber": n, "ETag": xml(r).findtext("ETag")} for n, r in ((1, r1), (2, r2))
    ]
    complete(s3, bucket, uid, parts)
    r = raw.get("/%s/k" % bucket, [("x-amz-checksum-mode", "ENABLED")])
    assert r.body == whole + want
    raw.put("/%s/plain" % bucket, whole + want)
    p = raw.head("/%s/plain" % bucket, [("x-amz-checksum-mode", "ENABLED")])
    name = "x-amz-checksum-crc64nvme"
    assert r[name] == p[name]


def test_part_copy_of_a_multipart_object(s3, raw, bucket, datas):
    uid = create(s3, bucket)
    complete(s3, bucket, uid, upload(s3, bucket, uid, dict(enumerate(datas, 1))))
    s3.copy_object(Bucket=bucket, Key="copy", CopySource="%s/k" % bucket)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"".join(datas)
    uid = create(s3, bucket)
    src = "/%s/copy" % bucket
    span = ("x-amz-copy-source-range", "bytes=%d-%d" % (5 * MB - 3, 10 * MB + 5))
    r = part_copy(raw, bucket, uid, 1, src, span)
    want = b"".join(datas)[5 * MB - 3 : 10 * MB + 6]
    assert xml(r).findtext("ETag") == '"%s"' % hashlib.md5(want).hexdigest()
    complete(s3, bucket, uid, [{"PartNumber": 1, "ETag": xml(r).findtext("ETag")}])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == want


def test_part_copy_bad_ranges(s3, raw, bucket):
    raw.put("/%s/src" % bucket, b"12345")
    uid = create(s3, bucket)
    src, name = "/%s/src" % bucket, "x-amz-copy-source-range"
    for bad in (
        "0-2",
        "bytes=0",
        "bytes=hello-world",
        "bytes=0-bar",
        "bytes=hello-",
        "bytes=0-2,3-5",
        "bytes=-2",
        "bytes=3-",
        "bytes=4-3",
    ):
        r = part_copy(raw, bucket, uid, 1, src, (name, bad))
        is_error(r, "InvalidArgument", 400)
    for bad in ("bytes=0-5", "bytes=9-10"):
        r = part_copy(raw, bucket, uid, 1, src, (name, bad))
        is_error(r, "InvalidRange", 416)
    is_error(part_copy(raw, bucket, uid, 1, "/%s/no" % bucket), "NoSuchKey", 404)
    is_error(part_copy(raw, bucket, "0" * 32, 1, src), "NoSuchUpload", 404)
    r = part_copy(raw, bucket, uid, 1, src, ("x-amz-copy-source-if-match", '"x"'))
    is_error(r, "PreconditionFailed", 412)
    assert part_copy(raw, bucket, uid, 1, src, (name, "bytes=4-4")).status == 200


def test_many_parts(s3, bucket):
    """Part numbers as they were uploaded, many of them."""
    uid = create(s3, bucket)
    parts = upload(s3, bucket, uid, {n: b"x" for n in range(1, 1102)})
    r = s3.list_parts(Bucket=bucket, Key="k", UploadId=uid)
    assert len(r["Parts"]) == 1000 and r["IsTruncated"]
    assert r["NextPartNumberMarker"] == 1000
    assert len(parts) == 1101
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=uid)


def test_bucket_with_uploads_can_be_deleted_after_abort(s3, bucket):
    uid = create(s3, bucket)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=uid)
    s3.delete_bucket(Bucket=bucket)
