"""Keys, bucket names and copy sources (section 4, lines 10 to 12).

Sources: "Bucket naming rules", "Naming Amazon S3 objects", CopyObject.
"""

import os
import re

import pytest

from kit import SRC, answer, tag, tags, unique
from lib.s3raw import quote

URI = (400, "InvalidURI")
NAME = (400, "InvalidBucketName")
NO_BUCKET = (404, "NoSuchBucket")
NO_KEY = (404, "NoSuchKey")
ARGUMENT = (400, "InvalidArgument")

# --- keys ---

KEYS = [
    b".",
    b"..",
    b"...",
    b"a/../b",
    b"../../../../etc/passwd",
    b"./a",
    b"a/.",
    b"a/..",
    b"\\",
    b"..\\..\\x",
    b"/leading",
    b"//two",
    b"a//b",
    b"trailing/",
    b"/",
    b" ",
    b"a b",
    b"a+b",
    b"a%2Fb",
    b"%00",
    b"%",
    b"?",
    b"#",
    b"&amp;",
    b"<Key>",
    b"\x01\x02\x1f",
    b"\t",
    b"\n",
    b"\r\n",
    b"\x7f",
    "é".encode(),
    "\u202e\ufeff".encode(),
    "\U0001f4a9".encode(),
    b"k" * 1024,
    ("\u20ac" * 341).encode() + b"x",
]


def target_of(bucket, key, safe=""):
    return "/%s/%s" % (bucket, quote(key, safe))


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_keys_are_bytes(site, key):
    """Each is a name of its own: stored, read, listed and deleted as it is."""
    name = unique("keys")
    c = site.root
    assert c.put("/" + name).status == 200
    other = target_of(name, b"other")
    assert c.put(other, b"other").status == 200
    target = target_of(name, key)
    assert c.put(target, key).status == 200
    assert c.get(target).body == key
    assert c.get(other).body == b"other"
    r = c.get("/%s?list-type=2&encoding-type=url" % name)
    listed = [re.sub("%(..)", lambda m: "%" + m[1].upper(), k) for k in tags(r, "Key")]
    assert quote(key, "") in [quote(unquote(k), "") for k in listed], r
    assert c.delete(target).status == 204
    assert c.get(target).status == 404
    assert c.get(other).body == b"other"


def unquote(text):
    import urllib.parse

    return urllib.parse.unquote_to_bytes(text.replace("+", "%20"))


@pytest.mark.parametrize(
    "path", ["..", "a/../b", "./a", "//two", "a//b", "a/", "a/./../c", "..%2f..%2fx"]
)
def test_raw_dots_are_not_resolved(site, bucket, path):
    """The same without escapes: nobody normalises on the way."""
    c = site.root
    target = "/%s/%s" % (bucket, path)
    assert c.put(target, b"dots").status == 200
    assert c.get(target).body == b"dots"
    keys = tags(c.get("/%s?list-type=2" % bucket), "Key")
    assert unquote(path).decode() in keys


@pytest.mark.parametrize(
    "path, want",
    [
        ("%00", URI),
        ("a%00b", URI),
        ("%ff", URI),
        ("%c0%af", URI),
        ("%ed%a0%80", URI),
        ("%f4%90%80%80", URI),
        ("%e2%82", URI),
        ("%", URI),
        ("%2", URI),
        ("%zz", URI),
        ("k" * 1025, (400, "KeyTooLongError")),
        (quote("\u20ac" * 342), (400, "KeyTooLongError")),
    ],
)
def test_keys_that_are_none(site, bucket, path, want):
    c = site.root
    before = site.state(bucket)
    target = "/%s/%s" % (bucket, path)
    for method, query in (
        ("PUT", ""),
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "?uploads"),
        ("PUT", "?partNumber=1&uploadId=x"),
    ):
        headers = [("Host", c.host_header), ("Content-Length", "0")]
        try:
            c.sign_v4(method, target + query, headers)
        except UnicodeDecodeError:
            pass
        r = c.raw(c.encode(method, target + query, headers), method)
        assert r.status == want[0], (method, r)
        assert r.code in (want[1], "SignatureDoesNotMatch"), (method, r)
    assert site.state(bucket) == before


def test_control_characters_in_listings(site):
    """Without encoding-type the answer is still XML that parsers take, and
    nothing of a key becomes markup."""
    import xml.etree.ElementTree as ET

    name = unique("ctl")
    c = site.root
    assert c.put("/" + name).status == 200
    for key in (b"<b>&\"'", b"a\nb", b"]]>", b"</Key><Key>evil", b"tab\t"):
        assert c.put(target_of(name, key), b"").status == 200
    r = c.get("/%s?list-type=2" % name)
    keys = [
        e.text
        for e in ET.fromstring(r.body).iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key")
    ]
    assert len(keys) == 5 and "</Key><Key>evil" in keys, keys
    assert c.put(target_of(name, b"\x01"), b"").status == 200
    r = c.get("/%s?list-type=2&prefix=%%01" % name)
    assert r.status == 200 and b"\x01" not in r.body


def test_nothing_outside_the_data_folder(site, bucket):
    for key in ("../../../../tmp/creel-escape", "..%2f..%2f..%2ftmp%2fcreel-escape"):
        assert site.root.put("/%s/%s" % (bucket, key), b"x").status == 200
    assert not os.path.exists("/tmp/creel-escape")
    for folder, _, names in os.walk(site.server.data):
        assert not any("escape" in n for n in names), folder


# --- bucket names ---

BAD_NAMES = [
    "..",
    ".",
    "...",
    "a",
    "ab",
    "a" * 64,
    "a" * 255,
    "Upper",
    "UPPER",
    "under_score",
    "with space",
    "-dash",
    "dash-",
    ".dot",
    "dot.",
    "two..dots",
    "192.168.5.4",
    "1.2.3.4",
    "xn--punycode",
    "sthree-x",
    "amzn-s3-demo-x",
    "name-s3alias",
    "name--ol-s3",
    "name.mrap",
    "name--x-s3",
    "name--table-s3",
    "a/b",
    "caf\u00e9",
    "tab\t",
    "nul\0",
    "a%2fb",
    "-",
    "minio",
    "bucket?",
    "bucket*",
    "bucket:80",
    "bucket@host",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_bucket_names(site, name):
    c = site.root
    before = tags(c.get("/"), "Name")
    r = c.put("/" + quote(name, ""))
    if name in ("-", "minio"):
        assert 400 <= r.status < 500, r  # reserved paths
    else:
        assert answer(r) in (NAME, URI), r
    assert tags(c.get("/"), "Name") == before


@pytest.mark.parametrize(
    "name",
    ["abc", "a" * 63, "0ab", "a.b.c", "a-b", "1.2.3", "1.2.3.4.5", "256.1.1.1.x", "a--b"],
)
def test_good_bucket_names(site, name):
    c = site.root
    assert c.put("/" + name).status == 200
    assert c.put("/%s/k" % name, b"1").status == 200
    assert c.delete("/%s/k" % name).status == 204
    assert c.delete("/" + name).status == 204


@pytest.mark.parametrize(
    "target", ["/%2e%2e/k", "/../k", "/..%2fk", "/./k", "//k", "/%2fk", "/-/k", "/%2d/k"]
)
def test_paths_without_a_bucket(site, target):
    for method in ("GET", "PUT", "DELETE"):
        r = site.root.request(method, target, b"")
        assert 400 <= r.status < 500, (method, r)


@pytest.mark.parametrize(
    "host", ["..localhost", ".localhost", "A_B.localhost", "xn--a.localhost"]
)
def test_virtual_host_names(site, host):
    c = site.root
    r = c.put("/", b"", [("Host", host)])
    assert 400 <= r.status < 500, r


def test_virtual_host_is_the_bucket(site, bucket):
    """One bucket in Host, another in the path: the path is the key."""
    other = site.filled_bucket()
    c = site.root
    host = "%s.localhost:%d" % (bucket, site.server.port)
    target = "/%s/old" % other
    assert answer(c.get(target, [("Host", host)])) == NO_KEY
    assert c.get("/old", [("Host", host)]).status == 200
    assert c.get("/old", [("Host", host)], auth="v2", resource="/%s/old" % bucket).status == 200
    bob = site.bob
    assert answer(bob.get("/old", [("Host", host)])) == (403, "AccessDenied")


# --- copy sources ---


def sources(b):
    return [
        ("/%s/src" % b, 200),
        ("%s/src" % b, 200),
        ("/%s/%%73rc" % b, 200),
        ("%%2f%s%%2fsrc" % b, 200),
        ("/%s/src?versionId=null" % b, 200),
        ("", ARGUMENT),
        ("/", ARGUMENT),
        ("//", ARGUMENT),
        (b, ARGUMENT),
        ("/" + b, ARGUMENT),
        ("/%s/" % b, ARGUMENT),
        ("//%s/src" % b, ARGUMENT),
        ("/%s/s%%00rc" % b, ARGUMENT),
        ("/%s/%%ff" % b, ARGUMENT),
        ("/%s/%%zz" % b, ARGUMENT),
        ("/%s/src?versionId=" % b, ARGUMENT),
        ("/%s/src?versionId=nosuch" % b, ARGUMENT),
        ("/%s/src?versionId=%s" % (b, "0" * 32), (404, "NoSuchVersion")),
        ("/%s/../%s/src" % (b, b), NO_KEY),
        ("../%s/src" % b, NAME),
        ("/../%s/src" % b, NAME),
        ("/%%2e%%2e%%2f%s/src" % b, NAME),
        ("/%s/%%2e%%2e%%2f%s/src" % (b, b), NO_KEY),
        ("/%s/%%252e%%252e%%252fsrc" % b, NO_KEY),
        ("/%s//src" % b, NO_KEY),
        ("/%s/nosuch" % b, NO_KEY),
        ("/no-such-bucket-at-all/src", NO_BUCKET),
        ("/No_Bucket/src", NAME),
        ("/%s/%s" % (b, "k" * 1025), (400, "KeyTooLongError")),
        ("http://%s/src" % b, NAME),
        ("arn:aws:s3:::%s/src" % b, NAME),
        ("/-/metrics", NAME),
    ]


@pytest.mark.parametrize("part", [False, True])
def test_copy_sources(site, bucket, part):
    c = site.root
    target = "/%s/old" % bucket
    if part:
        upload, _ = site.upload(bucket)
        target = "/%s/mp?partNumber=2&uploadId=%s" % (bucket, upload)
    before = site.state(bucket)
    for source, want in sources(bucket):
        r = c.put(target, b"", [("x-amz-copy-source", source)])
        if want == 200:
            assert r.status == 200 and tag(r, "ETag"), (source, r)
            before = site.state(bucket)
            if not part:
                assert before["old"] == SRC
        else:
            assert answer(r) == want, (source, r)
            assert site.state(bucket) == before, source


def test_copy_source_twice(site, bucket):
    before = site.state(bucket)
    headers = [("x-amz-copy-source", "/%s/src" % bucket)] * 2
    assert answer(site.root.put("/%s/old" % bucket, b"", headers)) == ARGUMENT
    assert site.state(bucket) == before


def test_copy_to_itself(site, bucket):
    target, c = "/%s/src" % bucket, site.root
    source = [("x-amz-copy-source", target)]
    before = site.state(bucket)
    assert answer(c.put(target, b"", source)) == (400, "InvalidRequest")
    assert site.state(bucket) == before
    replace = source + [("x-amz-metadata-directive", "REPLACE")]
    assert c.put(target, b"", replace).status == 200
    assert c.get(target).body == SRC
    wrong = source + [("x-amz-metadata-directive", "REPLACES")]
    assert answer(c.put(target, b"", wrong)) == ARGUMENT


@pytest.mark.parametrize(
    "value",
    [
        "bytes=0-",
        "bytes=-5",
        "bytes=5-4",
        "bytes=0-210",
        "bytes=210-211",
        "bytes=0-18446744073709551615",
        "bytes=0-1,3-4",
        "bits=0-1",
        "0-1",
        "bytes=+0-1",
        "bytes=0x0-1",
        "",
    ],
)
def test_copy_source_range(site, bucket, value):
    assert len(SRC) == 210
    upload, _ = site.upload(bucket)
    before = site.state(bucket)
    target = "/%s/mp?partNumber=2&uploadId=%s" % (bucket, upload)
    headers = [
        ("x-amz-copy-source", "/%s/src" % bucket),
        ("x-amz-copy-source-range", value),
    ]
    assert answer(site.root.put(target, b"", headers)) in (
        ARGUMENT,
        (416, "InvalidRange"),
    )
    assert site.state(bucket) == before


# --- a sub-resource is never taken for the thing itself ---


@pytest.mark.parametrize(
    "method, query",
    [
        ("PUT", q)
        for q in (
            "acl",
            "tagging",
            "retention",
            "legal-hold",
            "torrent",
            "attributes",
            "uploads",
            "select",
            "restore",
            "renameObject",
            "encryption",
        )
    ]
    + [("DELETE", q) for q in ("acl", "retention", "legal-hold", "attributes", "uploads")]
    + [("HEAD", "acl"), ("HEAD", "tagging")]
    + [("POST", q) for q in ("", "acl", "tagging", "delete", "append")],
)
def test_object_subresources(site, bucket, method, query):
    before = site.state(bucket)
    r = site.root.request(method, "/%s/old?%s" % (bucket, query), b"")
    assert r.status in (400, 405, 411, 501), r
    assert site.state(bucket) == before


BUCKET_QUERIES = (
    "acl policy cors lifecycle tagging versioning website encryption replication "
    "object-lock publicAccessBlock ownershipControls notification logging accelerate "
    "requestPayment inventory analytics metrics intelligent-tiering uploads versions "
    "location delete policyStatus session"
).split()


@pytest.mark.parametrize("query", BUCKET_QUERIES)
def test_bucket_subresources(site, query):
    c = site.root
    name = unique("subres")
    r = c.put("/%s?%s" % (name, query), b"<x/>")
    assert r.status >= 400, r
    assert c.head("/" + name).status == 404, "PUT ?%s made a bucket" % query
    assert c.put("/" + name).status == 200
    c.delete("/%s?%s" % (name, query))
    assert c.head("/" + name).status == 200, "DELETE ?%s deleted it" % query
    assert c.delete("/" + name).status == 204
