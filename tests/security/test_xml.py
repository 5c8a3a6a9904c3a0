"""XML from clients (section 4, line 19): bounded, without DTD or network."""

import os
import re
import time

import pytest

from kit import OLD, answer, md5, tag, unique

MALFORMED = (400, "MalformedXML")
NS = "http://s3.amazonaws.com/doc/2006-03-01/"

LAUGHS = (
    "<!DOCTYPE lolz [<!ENTITY lol 'lol'>"
    + "".join(
        "<!ENTITY lol%d '%s'>" % (i, ("&lol%s;" % (i - 1 if i > 1 else "")) * 10)
        for i in range(1, 10)
    )
    + "]><Delete><Object><Key>&lol9;</Key></Object></Delete>"
)

BODIES = {
    "empty": b"",
    "blank": b"   ",
    "text": b"old",
    "JSON": b'{"Key": "old"}',
    "NUL": b"<Delete><Object><Key>old\0</Key></Object></Delete>",
    "unclosed": b"<Delete><Object><Key>old</Key></Object>",
    "crossed": b"<Delete><Object><Key>old</Object></Key></Delete>",
    "two roots": b"<Delete><Object><Key>old</Key></Object></Delete><Delete/>",
    "text behind": b"<Delete><Object><Key>old</Key></Object></Delete>x",
    "attribute twice": b"<Delete a='1' a='2'><Object><Key>old</Key></Object></Delete>",
    "DTD": b"<!DOCTYPE Delete><Delete><Object><Key>old</Key></Object></Delete>",
    "DTD with SYSTEM": b"<!DOCTYPE Delete SYSTEM 'file:///etc/passwd'>"
    b"<Delete><Object><Key>old</Key></Object></Delete>",
    "external entity": b"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    b"<Delete><Object><Key>&x;</Key></Object></Delete>",
    "parameter entity": b"<!DOCTYPE d [<!ENTITY % x SYSTEM 'http://127.0.0.1:1/x'> %x;]>"
    b"<Delete><Object><Key>old</Key></Object></Delete>",
    "billion laughs": LAUGHS.encode(),
    "unknown entity": b"<Delete><Object><Key>&nbsp;</Key></Object></Delete>",
    "other root": b"<Remove><Object><Key>old</Key></Object></Remove>",
    "other namespace": b"<Delete xmlns='urn:evil'><Object><Key>old</Key></Object></Delete>",
    "no objects": b"<Delete></Delete>",
    "no key": b"<Delete><Object></Object></Delete>",
    "empty key": b"<Delete><Object><Key></Key></Object></Delete>",
    "key twice": b"<Delete><Object><Key>a</Key><Key>old</Key></Object></Delete>",
    "quiet twice": b"<Delete><Quiet>true</Quiet><Quiet>false</Quiet>"
    b"<Object><Key>old</Key></Object></Delete>",
    "version twice": b"<Delete><Object><Key>old</Key><VersionId>null</VersionId>"
    b"<VersionId>null</VersionId></Object></Delete>",
    "deep": b"<a>" * 100000 + b"</a>" * 100000,
    "deep in Object": b"<Delete><Object><Key>old</Key>"
    + b"<a>" * 5000
    + b"</a>" * 5000
    + b"</Object></Delete>",
    "bad UTF-8": b"<Delete><Object><Key>\xff\xfe</Key></Object></Delete>",
    "control character": b"<Delete><Object><Key>\x01</Key></Object></Delete>",
    "unknown encoding": b"<?xml version='1.0' encoding='EBCDIC-X'?>"
    b"<Delete><Object><Key>old</Key></Object></Delete>",
    "1001 keys": b"<Delete>"
    + b"".join(b"<Object><Key>k%d</Key></Object>" % i for i in range(1001))
    + b"</Delete>",
}


def delete(c, bucket, body):
    return c.request("POST", "/%s?delete" % bucket, body, [("Content-MD5", md5(body))])


@pytest.mark.parametrize("case", BODIES)
def test_delete_objects(site, bucket, case):
    begun = time.monotonic()
    r = delete(site.root, bucket, BODIES[case])
    assert r.status == 400 and r.code in (
        "MalformedXML",
        "MissingRequestBodyError",
        "MissingContentLength",
    ), r
    assert b"root:" not in r.body
    assert time.monotonic() - begun < 5
    assert site.root.get("/%s/old" % bucket).body == OLD


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16(site, bucket, coding):
    """Either understood as what it is, or refused: never two readings."""
    text = "<?xml version='1.0' encoding='%s'?>" % coding.upper()
    text += "<Delete><Object><Key>nosuch</Key></Object></Delete>"
    r = delete(site.root, bucket, text.encode(coding))
    assert answer(r) == MALFORMED or (r.status == 200 and tag(r, "Key") == "nosuch"), r
    assert site.root.get("/%s/old" % bucket).body == OLD


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete xmlns='%s'><Object><Key>old</Key></Object></Delete>" % NS.encode(),
        b"<?xml version='1.0' encoding='UTF-8'?>\n<Delete><Object><Key>old</Key>"
        b"</Object></Delete>\n",
        b"<s:Delete xmlns:s='%s'><s:Object><s:Key>old</s:Key></s:Object></s:Delete>"
        % NS.encode(),
        b"<Delete><Object><Key><![CDATA[old]]></Key></Object></Delete>",
        b"<Delete><Object><Key>o&#x6c;d</Key></Object></Delete>",
        b"<Delete><!-- a --><Object><Key>old</Key></Object></Delete>",
    ],
    ids=["namespace", "declaration", "prefix", "CDATA", "reference", "comment"],
)
def test_good_forms(site, bucket, body):
    r = delete(site.root, bucket, body)
    assert r.status == 200, r
    assert site.root.head("/%s/old" % bucket).status == 404


def test_digest_is_required(site, bucket):
    body = b"<Delete><Object><Key>old</Key></Object></Delete>"
    r = site.root.request("POST", "/%s?delete" % bucket, body)
    assert answer(r) == (400, "InvalidRequest"), r
    r = site.root.request(
        "POST", "/%s?delete" % bucket, body, [("Content-MD5", md5(b"other"))]
    )
    assert answer(r) == (400, "BadDigest"), r
    assert site.root.get("/%s/old" % bucket).body == OLD


def test_thousand_keys(site, bucket):
    keys = b"".join(b"<Object><Key>k%d</Key></Object>" % i for i in range(999))
    body = b"<Delete>" + keys + b"<Object><Key>old</Key></Object></Delete>"
    r = delete(site.root, bucket, body)
    assert r.status == 200 and r.body.count(b"<Deleted>") == 1000
    assert site.root.head("/%s/old" % bucket).status == 404


COMPLETE = {
    "empty": b"",
    "no parts": b"<CompleteMultipartUpload/>",
    "other root": b"<Complete><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></Complete>",
    "no ETag": b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part>"
    b"</CompleteMultipartUpload>",
    "no number": b"<CompleteMultipartUpload><Part><ETag>%s</ETag></Part>"
    b"</CompleteMultipartUpload>",
    "number twice": b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
    b"<PartNumber>2</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "number text": b"<CompleteMultipartUpload><Part><PartNumber>one</PartNumber>"
    b"<ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "number 0": b"<CompleteMultipartUpload><Part><PartNumber>0</PartNumber>"
    b"<ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "number -1": b"<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber>"
    b"<ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "number 10001": b"<CompleteMultipartUpload><Part><PartNumber>10001</PartNumber>"
    b"<ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "number 2^32+1": b"<CompleteMultipartUpload><Part><PartNumber>4294967297</PartNumber>"
    b"<ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "part twice": b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag>"
    b"</Part><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "part not there": b"<CompleteMultipartUpload><Part><PartNumber>2</PartNumber>"
    b"<ETag>%s</ETag></Part></CompleteMultipartUpload>",
    "other ETag": b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
    b"<ETag>00000000000000000000000000000000</ETag></Part></CompleteMultipartUpload>",
    "10001 parts": b"<CompleteMultipartUpload>"
    + b"<Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part>" * 10001
    + b"</CompleteMultipartUpload>",
    "laughs": LAUGHS.replace("Delete", "CompleteMultipartUpload").encode(),
}


@pytest.mark.parametrize("case", COMPLETE)
def test_complete(site, bucket, case):
    upload, etag = site.upload(bucket, "old")
    body = COMPLETE[case].replace(b"%s", etag.encode())
    before = site.state(bucket)
    r = site.root.request("POST", "/%s/old?uploadId=%s" % (bucket, upload), body)
    assert r.status == 400, r
    assert r.code in (
        "MalformedXML",
        "InvalidArgument",
        "InvalidPart",
        "InvalidPartOrder",
        "InvalidRequest",
        "MissingRequestBodyError",
    ), r
    assert site.state(bucket) == before


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"<x/>",
        LAUGHS.encode(),
        b"<!DOCTYPE x><CreateBucketConfiguration/>",
        b"<CreateBucketConfiguration><LocationConstraint>" + b"x" * 1000
        + b"</LocationConstraint></CreateBucketConfiguration>",
        b"<CreateBucketConfiguration><LocationConstraint>a</LocationConstraint>"
        b"<LocationConstraint>b</LocationConstraint></CreateBucketConfiguration>",
        b"<CreateBucketConfiguration><LocationConstraint><a/>"
        b"</LocationConstraint></CreateBucketConfiguration>",
        b"<CreateBucketConfiguration>" + b" " * 200000 + b"</CreateBucketConfiguration>",
    ],
    ids=["text", "root", "laughs", "DTD", "long", "twice", "inside", "blanks"],
)
def test_create_bucket(site, body):
    name = unique("xml")
    r = site.root.put("/" + name, body)
    assert r.status == 400, r
    assert site.root.head("/" + name).status == 404


def test_answers_are_xml(site, bucket):
    """Every error is a document that a parser takes, with RequestId."""
    import xml.etree.ElementTree as ET

    c = site.root
    for r in (
        c.get("/%s/%%3Ckey%%3E%%26%%22" % bucket),
        c.get("/%s/nosuch%%0d%%0a" % bucket),
        c.get("/nosuch-bucket-at-all"),
        c.put("/" + bucket + "?policy", b"{}"),
        c.get("/%s/old" % bucket, [("Range", "bytes=900000-")]),
        c.request("POST", "/" + bucket, b""),
        c.get("/%s/old" % bucket, auth="none"),
    ):
        assert r.status >= 400
        e = ET.fromstring(r.body)
        assert e.tag == "Error", r
        assert re.fullmatch("[0-9A-F]{8,32}", e.find("RequestId").text)
        assert e.find("RequestId").text == r["x-amz-request-id"]
        assert e.find("Code").text and e.find("Message").text
        assert os.sep + "work" not in r.body.decode("utf-8", "replace")
        assert site.server.data not in r.body.decode("utf-8", "replace")
