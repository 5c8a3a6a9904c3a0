"""Conditional requests, on reads and on writes."""

import datetime
import hashlib
import threading

import pytest

from conftest import is_error
from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET

OLD, FUTURE = "Sat, 29 Oct 1994 19:43:31 GMT", "Sat, 29 Oct 2044 19:43:31 GMT"


@pytest.fixture
def obj(raw, bucket):
    path = "/%s/k" % bucket
    etag = raw.put(path, b"data")["etag"]
    return path, etag


@pytest.mark.parametrize(
    "headers,status",
    [
        ({"If-Match": "E"}, 200),
        ({"If-Match": "U"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x", E'}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": "E"}, 304),
        ({"If-None-Match": "W/E"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-Modified-Since": OLD}, 200),
        ({"If-Modified-Since": FUTURE}, 304),
        ({"If-Modified-Since": "junk"}, 200),
        ({"If-Unmodified-Since": OLD}, 412),
        ({"If-Unmodified-Since": FUTURE}, 200),
        ({"If-Match": "E", "If-Unmodified-Since": OLD}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": FUTURE}, 200),
        ({"If-None-Match": "E", "If-Modified-Since": OLD}, 304),
        ({"If-Match": '"x"', "If-None-Match": "E"}, 412),
        ({"If-Match": "E", "If-None-Match": "E"}, 304),
    ],
)
def test_reads(raw, obj, headers, status):
    path, etag = obj
    headers = [
        (k, v.replace("E", etag).replace("U", etag.strip('"')))
        if k.endswith("atch")
        else (k, v)
        for k, v in headers.items()
    ]
    for r in (raw.get(path, headers), raw.head(path, headers)):
        assert r.status == status, r
        if status == 304:
            assert r["etag"] == etag and r.body == b"" and r["last-modified"]
    if status == 412:
        assert raw.get(path, headers).code == "PreconditionFailed"


def test_the_second_of_the_change(raw, obj):
    """What caches send back is the Last-Modified that they were given."""
    path, _ = obj
    form = "%a, %d %b %Y %H:%M:%S GMT"
    last = raw.head(path)["last-modified"]
    at = datetime.datetime.strptime(last, form)
    second = datetime.timedelta(seconds=1)
    for when, since, unmodified, ranged in (
        (last, 304, 200, 206),
        ((at - second).strftime(form), 200, 412, 200),
        ((at + second).strftime(form), 304, 200, 200),
    ):
        assert raw.get(path, [("If-Modified-Since", when)]).status == since
        assert raw.get(path, [("If-Unmodified-Since", when)]).status == unmodified
        part = [("If-Range", when), ("Range", "bytes=0-0")]
        assert raw.get(path, part).status == ranged, when
        for name, status in (("modified", since), ("unmodified", unmodified)):
            copy = [("x-amz-copy-source", path)]
            copy.append(("x-amz-copy-source-if-%s-since" % name, when))
            want = 200 if status == 200 else 412
            assert raw.put(path + "-copy", b"", copy).status == want, (name, when)


def test_condition_before_range(raw, obj):
    path, etag = obj
    headers = [("If-None-Match", etag), ("Range", "bytes=999-")]
    assert raw.get(path, headers).status == 304
    headers = [("If-Match", '"x"'), ("Range", "bytes=999-")]
    assert raw.get(path, headers).status == 412


def test_put_if_none_match(raw, bucket):
    path = "/%s/k" % bucket
    star = [("If-None-Match", "*")]
    assert raw.put(path, b"one", star).status == 200
    is_error(raw.put(path, b"two", star), "PreconditionFailed", 412)
    assert raw.get(path).body == b"one"
    raw.delete(path)
    assert raw.put(path, b"three", star).status == 200


def test_put_if_match(raw, obj):
    path, etag = obj
    is_error(raw.put(path, b"x", [("If-Match", '"x"')]), "PreconditionFailed", 412)
    assert raw.get(path).body == b"data"
    r = raw.put(path, b"new", [("If-Match", etag)])
    assert r.status == 200
    is_error(raw.put(path, b"x", [("If-Match", etag)]), "PreconditionFailed", 412)
    assert raw.put(path, b"newer", [("If-Match", r["etag"].strip('"'))]).status == 200
    absent = path + "-absent"
    is_error(raw.put(absent, b"x", [("If-Match", etag)]), "NoSuchKey", 404)
    assert raw.head(absent).status == 404


@pytest.mark.parametrize(
    "header",
    [
        ("If-None-Match", '"x"'),
        ("If-Modified-Since", OLD),
        ("If-Unmodified-Since", OLD),
        ("If-Match", '"a", "b"'),
        ("If-Match", 'W/"a"'),
    ],
)
def test_other_write_conditions(raw, obj, header):
    path, _ = obj
    is_error(raw.put(path, b"x", [header]), "NotImplemented", 501)
    copy = [header, ("x-amz-copy-source", path), ("x-amz-metadata-directive", "REPLACE")]
    is_error(raw.put(path, b"", copy), "NotImplemented", 501)
    is_error(raw.delete(path, [header]), "NotImplemented", 501)
    assert raw.get(path).body == b"data"


def test_delete_if_match(raw, obj):
    path, etag = obj
    is_error(raw.delete(path, [("If-Match", '"x"')]), "PreconditionFailed", 412)
    assert raw.get(path).status == 200
    assert raw.delete(path, [("If-Match", etag)]).status == 204
    is_error(raw.delete(path, [("If-Match", etag)]), "NoSuchKey", 404)
    raw.put(path, b"x")
    assert raw.delete(path, [("If-Match", "*")]).status == 204
    is_error(raw.delete(path, [("x-amz-if-match-size", "1")]), "NotImplemented", 501)


def race(shared, n, request):
    results, start = [], threading.Barrier(n)

    def one(i):
        c = Client("127.0.0.1", shared.port, ACCESS_KEY, SECRET)
        start.wait()
        r = request(c, i)
        results.append((r.status, i))
        c.close()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def test_only_one_creates(shared, raw, bucket):
    for round_ in range(5):
        path = "/%s/lock-%d" % (bucket, round_)
        got = race(
            shared,
            8,
            lambda c, i: c.put(path, b"owner %d" % i, [("If-None-Match", "*")]),
        )
        winners = [i for status, i in got if status == 200]
        assert len(winners) == 1 and all(s in (200, 409, 412) for s, _ in got)
        assert raw.get(path).body == b"owner %d" % winners[0]


def test_only_one_replaces(shared, raw, bucket):
    path = "/%s/state" % bucket
    raw.put(path, b"0")
    for _ in range(5):
        etag = raw.head(path)["etag"]
        got = race(
            shared,
            8,
            lambda c, i: c.put(path, b"%d-%s" % (i, etag.encode()), [("If-Match", etag)]),
        )
        winners = [i for status, i in got if status == 200]
        assert len(winners) == 1
        assert raw.get(path).body == b"%d-%s" % (winners[0], etag.encode())
