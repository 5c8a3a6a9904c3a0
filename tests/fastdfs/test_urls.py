"""File URLs: what sites have the nginx module of FastDFS for."""

import email.parser
import hashlib
import http.client
import os
import time
import urllib.parse

import pytest
from conftest import Node
from test_commands import slave, store_s3

DATA = bytes(range(256)) * 1000


def get(node, path, method="GET", **headers):
    c = http.client.HTTPConnection("127.0.0.1", node.http, timeout=10)
    c.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    r = c.getresponse()
    body = r.read()
    c.close()
    return r.status, r, body


@pytest.fixture(scope="module")
def name(node):
    return node.client().upload(DATA, ext="jpg")


def test_whole(node, name):
    for path in ("/" + name, "/" + name.split("/", 1)[1]):
        status, r, body = get(node, path)
        assert (status, body) == (200, DATA)
        assert r.headers["Content-Type"] == "image/jpeg"
        assert r.headers["Content-Length"] == str(len(DATA))
        assert r.headers["Accept-Ranges"] == "bytes"
        assert r.headers["ETag"] and r.headers["Last-Modified"]
        status, h, body = get(node, path, "HEAD")
        assert (status, body) == (200, b"")
        assert h.headers["Content-Length"] == str(len(DATA))
        assert h.headers["ETag"] == r.headers["ETag"]


@pytest.mark.parametrize("size", (0, 1, 65536, 3 << 20))
def test_sizes(node, size):
    data = os.urandom(size)
    name = node.client().upload(data)
    status, r, body = get(node, "/" + name)
    assert (status, body) == (200, data)
    status, r, body = get(node, "/" + name, Range="bytes=0-0")
    assert (status, body) == ((206, data[:1]) if size else (416, body))


@pytest.mark.parametrize(
    "value, first, last",
    (
        ("bytes=0-9", 0, 9),
        ("bytes=5-5", 5, 5),
        ("bytes=100-", 100, len(DATA) - 1),
        ("bytes=-7", len(DATA) - 7, len(DATA) - 1),
        ("bytes=-99999999", 0, len(DATA) - 1),
        ("bytes=10-99999999", 10, len(DATA) - 1),
    ),
)
def test_range(node, name, value, first, last):
    status, r, body = get(node, "/" + name, Range=value)
    assert (status, body) == (206, DATA[first : last + 1])
    assert r.headers["Content-Range"] == "bytes %d-%d/%d" % (first, last, len(DATA))
    status, r, body = get(node, "/" + name, "HEAD", Range=value)
    assert (status, r.headers["Content-Length"]) == (206, str(last + 1 - first))


@pytest.mark.parametrize("value", ("bytes=256000-", "bytes=999999-9999999", "bytes=-0"))
def test_range_past_the_end(node, name, value):
    status, r, _ = get(node, "/" + name, Range=value)
    assert status == 416 and r.headers["Content-Range"] == "bytes */%d" % len(DATA)


@pytest.mark.parametrize(
    "value",
    ("bytes=9-5", "bytes=a-b", "lines=1-2", "bytes=", "bytes=--1", "bytes=1-2-3",
     "bytes=" + ",".join("0-1" for _ in range(50)), "bytes=0-,0-"),
)
def test_range_that_is_none(node, name, value):
    assert get(node, "/" + name, Range=value)[::2] == (200, DATA)


def test_ranges(node, name):
    status, r, body = get(node, "/" + name, Range="bytes=0-4, 100-109,-3")
    assert status == 206 and r.headers["Content-Length"] == str(len(body))
    text = b"Content-Type: " + r.headers["Content-Type"].encode() + b"\r\n" + body
    parts = email.parser.BytesParser().parsebytes(text).get_payload()
    got = [(p["Content-Range"].split("/")[0], p.get_payload(decode=True)) for p in parts]
    n = len(DATA)
    assert got == [
        ("bytes 0-4", DATA[:5]),
        ("bytes 100-109", DATA[100:110]),
        ("bytes %d-%d" % (n - 3, n - 1), DATA[-3:]),
    ]
    assert all(p["Content-Type"] == "image/jpeg" for p in parts)


def test_conditions(node, name):
    path = "/" + name
    tag = get(node, path, "HEAD")[1].headers["ETag"]
    when = get(node, path, "HEAD")[1].headers["Last-Modified"]
    early = "Mon, 01 Jan 2024 00:00:00 GMT"
    late = "Wed, 01 Jan 2099 00:00:00 GMT"
    for headers, want in (
        ({"If_None_Match": tag}, 304),
        ({"If_None_Match": 'W/%s' % tag}, 304),
        ({"If_None_Match": '"x", %s' % tag}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"x"'}, 200),
        ({"If_None_Match": '"x"', "If_Modified_Since": late}, 200),
        ({"If_Modified_Since": when}, 304),
        ({"If_Modified_Since": late}, 304),
        ({"If_Modified_Since": early}, 200),
        ({"If_Modified_Since": "nonsense"}, 200),
        ({"If_Match": tag}, 200),
        ({"If_Match": '"x"'}, 412),
        ({"If_Unmodified_Since": early}, 412),
        ({"If_Unmodified_Since": late}, 200),
        ({"Range": "bytes=0-0", "If_Range": tag}, 206),
        ({"Range": "bytes=0-0", "If_Range": when}, 206),
        ({"Range": "bytes=0-0", "If_Range": '"x"'}, 200),
        ({"Range": "bytes=0-0", "If_Range": early}, 200),
    ):
        status, r, body = get(node, path, **headers)
        assert status == want, headers
        assert r.headers["ETag"] == tag
        assert (body == b"") == (want in (304, 412)), headers


def test_appender_has_a_new_tag_with_every_change(node):
    c = node.client()
    name = c.upload(b"one", ext="log", appender=True)
    tags = set()
    for i in range(4):
        status, r, body = get(node, "/" + name)
        assert (status, body) == (200, b"one" + b"+" * i)
        assert r.headers["Content-Type"] == "text/plain"
        tags.add(r.headers["ETag"])
        assert get(node, "/" + name, If_None_Match=r.headers["ETag"])[0] == 304
        c.append(name, b"+")
    assert len(tags) == 4


def test_slave(node, name):
    child = slave(node.at, name, "_s", "png", b"a slave")
    status, r, body = get(node, "/" + child)
    assert (status, body, r.headers["Content-Type"]) == (200, b"a slave", "image/png")


def test_filename(node, name):
    for given, want in (("a b.jpg", "a%20b.jpg"), ("\u00fc\"\r\n;.jpg", "%C3%BC%22%0D%0A%3B.jpg")):
        query = urllib.parse.urlencode({"filename": given})
        status, r, _ = get(node, "/%s?%s" % (name, query))
        assert status == 200
        assert r.headers["Content-Disposition"] == "attachment; filename*=UTF-8''" + want


@pytest.mark.parametrize(
    "path",
    (
        "/",
        "/group1",
        "/group1/",
        "/group2/M00/00/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
        "/group1/M00/00/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
        "/group1/M00/00/00/../../../../etc/passwd",
        "/group1/M00/00/00/..%2f..%2fetc%2fpasswd",
        "/group1/M00/00/00/%00",
        "/group1/%",
        "/etc/passwd",
        "/group1/group1/M00/00/00/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
    ),
)
def test_not_there(node, path):
    status, r, body = get(node, path)
    assert status in (400, 404)
    assert r.headers["Content-Type"].startswith("text/plain") and body.endswith(b"\n")


@pytest.mark.parametrize("kind", (1, 3))
def test_files_of_s3_are_not_there(node, kind):
    name = store_s3(node, b"secret", kind)
    for method in ("GET", "HEAD"):
        assert get(node, "/" + name, method)[0] == 404


def test_methods(node, name):
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        status, r, _ = get(node, "/" + name, method)
        assert status == 405 and r.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert node.client().download(name) == DATA


def test_cors(node, name):
    r = get(node, "/" + name, Origin="http://a.example")[1]
    assert r.headers["Access-Control-Allow-Origin"] == "*"
    status, r, _ = get(node, "/" + name, "OPTIONS", Origin="http://a.example",
                       Access_Control_Request_Method="GET")
    assert status == 204 and r.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert "Access-Control-Allow-Origin" not in get(node, "/" + name)[1].headers


def test_health(node):
    assert get(node, "/-/health/live")[0] == 200
    assert get(node, "/-/health/ready")[::2] == (200, b"ACTIVE\n")
    assert get(node, "/-/metrics")[0] == 403


def test_deleted(node):
    c = node.client()
    name = c.upload(b"x")
    assert get(node, "/" + name)[0] == 200
    c.delete(name)
    assert get(node, "/" + name)[0] == 404


def token(name, ts, secret="token-secret"):
    text = "%s%s%d" % (name.split("/", 1)[1], secret, ts)
    return "token=%s&ts=%d" % (hashlib.md5(text.encode()).hexdigest(), ts)


def test_tokens():
    more = ["--http-check-token", "--http-token-ttl", "100s", "--metrics-public"]
    more += ["--cors-allow-origin", "http://good.example"]
    n = Node(1, more)
    n.storages[0].env["CREEL_HTTP_TOKEN_SECRET"] = "token-secret"
    with n:
        name = n.client().upload(b"x")
        now = int(time.time())
        for query, want in (
            ("", 400),
            ("token=" + "0" * 32, 400),
            ("ts=%d" % now, 400),
            (token(name, now)[:-1] + "x", 400),
            ("token=%s&ts=%d" % ("0" * 32, now), 403),
            (token(name, now, "other"), 403),
            (token(name, now - 200), 403),
            (token(name, now), 200),
            (token(name, now - 50), 200),
            (token(name, now + 5000), 200),
            (token(name, 0), 200),
        ):
            for path in (name, name.split("/", 1)[1]):
                assert get(n, "/%s?%s" % (path, query))[0] == want, query
        # before anything is told of the file
        assert get(n, "/" + name[:-8] + "0000.bin")[0] == 400
        status, r, body = get(n, "/-/metrics")
        assert status == 200 and b"creel_path_files" in body
        assert b'creel_fastdfs_calls_total{command="upload"} 1\n' in body
        assert b'creel_fastdfs_failed_total{command="upload"} 0\n' in body
        query = "/%s?%s" % (name, token(name, now))
        r = get(n, query, Origin="http://good.example")[1]
        assert r.headers["Access-Control-Allow-Origin"] == "http://good.example"
        r = get(n, query, Origin="http://bad.example")[1]
        assert "Access-Control-Allow-Origin" not in r.headers


def test_every_node_serves_what_it_lacks(three):
    """A URL on one node gives what was stored on another."""
    for s in three.storages:
        data = os.urandom(200000)
        name = three.client().upload(data, at=s.address)
        assert get(three, "/" + name)[::2] == (200, data)
