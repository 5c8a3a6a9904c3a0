"""ListObjects V1 and V2, ListObjectVersions."""

import itertools
import random
from urllib.parse import quote

import pytest

from conftest import is_error, xml


def fill(s3, bucket, keys):
    for k in keys:
        s3.put_object(Bucket=bucket, Key=k, Body=k.encode())


def listing(s3, bucket, version, **kw):
    """(keys, prefixes) of a whole listing, page by page."""
    keys, prefixes, pages = [], [], 0
    while True:
        if version == 2:
            r = s3.list_objects_v2(Bucket=bucket, **kw)
            kw["ContinuationToken"] = r.get("NextContinuationToken")
            n = len(r.get("Contents", [])) + len(r.get("CommonPrefixes", []))
            assert r["KeyCount"] == n
        else:
            r = s3.list_objects(Bucket=bucket, **kw)
        keys += [o["Key"] for o in r.get("Contents", [])]
        prefixes += [p["Prefix"] for p in r.get("CommonPrefixes", [])]
        pages += 1
        assert pages < 200
        if not r["IsTruncated"]:
            return keys, prefixes
        if version == 1:
            kw["Marker"] = r.get("NextMarker") or r["Contents"][-1]["Key"]


def model(keys, prefix="", delimiter="", after=""):
    out, prefixes = [], []
    for k in sorted(keys, key=lambda k: k.encode()):
        if not k.startswith(prefix) or k.encode() <= after.encode():
            continue
        at = k.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            out.append(k)
            continue
        p = k[: at + len(delimiter)]
        if p not in prefixes and p != after:  # a marker that is a prefix
            prefixes.append(p)
    return out, prefixes


KEYS = ["a", "a/1", "a/2", "a/b/1", "a/b/2", "b", "b/", "b/x", "c//d", "d-e", "d/", "ä/ö"]


@pytest.fixture(scope="module")
def filled(s3):
    name = "list-filled"
    s3.create_bucket(Bucket=name)
    fill(s3, name, KEYS)
    return name


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_against_a_model(s3, filled, version, size):
    for prefix, delimiter in itertools.product(
        ["", "a", "a/", "a/b", "b/", "x", "ä"], ["", "/", "b", "//", "é"]
    ):
        got = listing(
            s3, filled, version, Prefix=prefix, Delimiter=delimiter, MaxKeys=size
        )
        assert got == model(KEYS, prefix, delimiter), (prefix, delimiter)


def test_random_keys_against_a_model(s3, bucket):
    rng = random.Random(7)
    keys = set()
    while len(keys) < 120:
        keys.add("".join(rng.choice("ab/-é") for _ in range(rng.randint(1, 8))))
    fill(s3, bucket, keys)
    for _ in range(60):
        prefix = "".join(rng.choice("ab/-é") for _ in range(rng.randint(0, 3)))
        delimiter = rng.choice(["", "/", "a", "-", "ab", "é"])
        after = "".join(rng.choice("ab/-é") for _ in range(rng.randint(0, 4)))
        size = rng.choice([1, 3, 7, 1000])
        want = model(keys, prefix, delimiter, after)
        args = dict(Prefix=prefix, Delimiter=delimiter, MaxKeys=size)
        assert listing(s3, bucket, 2, StartAfter=after, **args) == want, args
        assert listing(s3, bucket, 1, Marker=after, **args) == want, args


def test_elements_v1(raw, filled):
    t = xml(raw.get("/%s?max-keys=3&delimiter=/" % filled))
    assert t.tag == "ListBucketResult" and t.findtext("Name") == filled
    assert t.findtext("MaxKeys") == "3" and t.findtext("IsTruncated") == "true"
    assert t.findtext("Marker") == "" and t.findtext("Prefix") == ""
    assert t.findtext("Delimiter") == "/"
    assert t.findtext("NextMarker") == "b"
    assert t.find("EncodingType") is None and t.find("KeyCount") is None
    c = t.find("Contents")
    assert c.findtext("Key") == "a" and c.findtext("Size") == "1"
    assert c.findtext("StorageClass") == "STANDARD"
    assert len(c.findtext("Owner/ID")) == 64
    assert c.findtext("ETag") == '"0cc175b9c0f1b6a831c399e269772661"'
    # without a delimiter there is no NextMarker
    t = xml(raw.get("/%s?max-keys=3" % filled))
    assert t.findtext("IsTruncated") == "true" and t.find("NextMarker") is None


def test_elements_v2(raw, filled):
    t = xml(raw.get("/%s?list-type=2&max-keys=3&start-after=a" % filled))
    assert t.findtext("KeyCount") == "3" and t.findtext("StartAfter") == "a"
    assert t.find("Contents/Owner") is None and t.find("Marker") is None
    token = t.findtext("NextContinuationToken")
    assert token and quote(token, safe="-_") == token
    t = xml(raw.get("/%s?list-type=2&continuation-token=%s" % (filled, token)))
    assert t.findtext("ContinuationToken") == token
    assert t.findtext("Contents/Key") == "a/b/2"
    t = xml(raw.get("/%s?list-type=2&fetch-owner=true" % filled))
    assert len(t.findtext("Contents/Owner/ID")) == 64


def test_max_keys(raw, s3, filled):
    for v in (1, 2):
        at = "/%s?list-type=%d&max-keys=" % (filled, v)
        t = xml(raw.get(at + "0"))
        assert t.find("Contents") is None and t.findtext("IsTruncated") == "false"
        assert t.findtext("MaxKeys") == "0"
        assert xml(raw.get(at + "2147483647")).findtext("MaxKeys") == "1000"
        assert xml(raw.get(at)).findtext("MaxKeys") == "1000"
        for bad in ("-1", "x", "2147483648", "99999999999999999999", "1.5", "%201"):
            is_error(raw.get(at + bad), "InvalidArgument", 400)


def test_bad_tokens(raw, filled):
    for bad in ("junk", "a", "%00", "..", "AQID", "x" * 5000, "%F0%9F%98%80"):
        r = raw.get("/%s?list-type=2&continuation-token=%s" % (filled, bad))
        assert r.status == 400, (bad, r)
    t = xml(raw.get("/%s?list-type=2&continuation-token=" % filled))
    assert t.findtext("ContinuationToken") == ""
    assert t.findtext("IsTruncated") == "false"


def test_encoding_type(raw, s3, bucket):
    keys = ["foo+1/bar", "foo/bar/xyzzy", "quux ab/thud", "asdf+b"]
    fill(s3, bucket, keys)
    t = xml(raw.get("/%s?delimiter=/&encoding-type=url" % bucket))
    assert t.findtext("EncodingType") == "url"
    assert [e.text for e in t.findall("Contents/Key")] == ["asdf%2Bb"]
    assert [e.text for e in t.findall("CommonPrefixes/Prefix")] == [
        "foo%2B1/",
        "foo/",
        "quux%20ab/",
    ]
    t = xml(raw.get("/%s?list-type=2&encoding-type=url&start-after=a%%20%%2B&max-keys=1&delimiter=%%2B&prefix=asdf" % bucket))
    assert t.findtext("StartAfter") == "a%20%2B" and t.findtext("Delimiter") == "%2B"
    t = xml(raw.get("/%s?encoding-type=url&marker=a%%2B&max-keys=1&delimiter=/" % bucket))
    assert t.findtext("Marker") == "a%2B" and t.findtext("NextMarker") == "asdf%2Bb"
    is_error(raw.get("/%s?encoding-type=base64" % bucket), "InvalidArgument", 400)
    # never unasked
    t = xml(raw.get("/%s?prefix=quux" % bucket))
    assert t.findtext("Contents/Key") == "quux ab/thud"


def test_control_characters(raw, s3, bucket):
    fill(s3, bucket, ["a\x01b", "a\nb", "a&<>b"])
    r = raw.get("/" + bucket)
    assert b"<Key>a&#x1;b</Key>" in r.body and b"a&amp;&lt;&gt;b" in r.body
    t = xml(raw.get("/%s?encoding-type=url" % bucket))
    assert [e.text for e in t.findall("Contents/Key")] == [
        "a%01b",
        "a%0Ab",
        "a%26%3C%3Eb",
    ]


def test_marker_is_a_common_prefix(s3, filled):
    r = s3.list_objects(Bucket=filled, Delimiter="/", Marker="a/")
    assert [o["Key"] for o in r["Contents"]] == ["b", "d-e"]
    assert "a/" not in [p["Prefix"] for p in r["CommonPrefixes"]]
    r = s3.list_objects(Bucket=filled, Marker="zzz")
    assert "Contents" in r or not r["IsTruncated"]


def test_marker_need_not_exist(s3, filled):
    r = s3.list_objects(Bucket=filled, Marker="a/15")
    assert r["Contents"][0]["Key"] == "a/2" and r["Marker"] == "a/15"


def test_versions(raw, s3, filled):
    r = s3.list_object_versions(Bucket=filled)
    assert [v["Key"] for v in r["Versions"]] == sorted(KEYS, key=str.encode)
    assert all(v["VersionId"] == "null" and v["IsLatest"] for v in r["Versions"])
    assert "DeleteMarkers" not in r
    seen = []
    for page in s3.get_paginator("list_object_versions").paginate(
        Bucket=filled, PaginationConfig={"PageSize": 2}, Delimiter="/"
    ):
        seen += [v["Key"] for v in page.get("Versions", [])]
        seen += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
    keys, prefixes = model(KEYS, delimiter="/")
    assert sorted(seen) == sorted(keys + prefixes)
    r = raw.get("/%s?versions&version-id-marker=x" % filled)
    is_error(r, "InvalidArgument", 400)
    for bad in ("-1", "x"):
        r = raw.get("/%s?versions&max-keys=%s" % (filled, bad))
        is_error(r, "InvalidArgument", 400)


def test_more_than_a_page(s3, bucket):
    keys = ["k%04d" % i for i in range(1005)]
    for k in keys:
        s3.put_object(Bucket=bucket, Key=k, Body=b"")
    r = s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)
    assert len(r["Contents"]) == 1000 and r["IsTruncated"]
    assert listing(s3, bucket, 2) == (keys, [])
    assert listing(s3, bucket, 1) == (keys, [])
    # exactly full is not truncated
    r = s3.list_objects_v2(Bucket=bucket, Prefix="k100", MaxKeys=5)
    assert len(r["Contents"]) == 5 and not r["IsTruncated"]


@pytest.mark.parametrize("value", ["", "x"])
def test_parameters_of_the_other_version(raw, filled, value):
    """Ignored, they would make a client that pages begin anew without end."""
    for query, name in (
        ("start-after=" + value, "start-after"),
        ("continuation-token=" + value, "continuation-token"),
        ("start-after=a&continuation-token=" + value, "continuation-token"),
        ("list-type=1&start-after=" + value, "start-after"),
        ("list-type=2&marker=" + value, "marker"),
    ):
        r = raw.get("/%s?%s" % (filled, query))
        is_error(r, "InvalidArgument", 400)
        assert xml(r).findtext("ArgumentName") == name
        assert xml(r).find("ArgumentValue") is None
        assert b"list-type=2" in r.body


@pytest.mark.parametrize("value", ["", "0", "1", "3", "02", "x"])
def test_any_other_list_type_is_the_first(raw, filled, value):
    r = xml(raw.get("/%s?list-type=%s" % (filled, value)))
    assert r.find("Marker") is not None and r.find("KeyCount") is None
