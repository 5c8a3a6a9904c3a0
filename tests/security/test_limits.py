"""Memory stays bounded (section 4, line 20), and the server goes on serving.

RssAnon is read from /proc: what the server itself holds, without page cache.
"""

import hashlib
import socket
import threading
import time

import pytest

from kit import Raw, Site, answer, md5, tag, tags

MIB = 1 << 20


@pytest.fixture(scope="module")
def own():
    with Site() as s:
        s.bucket = s.filled_bucket()
        yield s


def settle(site):
    """The least RssAnon of a short while: caches and arenas given back."""
    least = site.rss_anon()
    for _ in range(10):
        time.sleep(0.05)
        least = min(least, site.rss_anon())
    return least


class Peak(threading.Thread):
    """The most RssAnon while something runs."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.most, self.on = site, 0, True

    def run(self):
        while self.on:
            self.most = max(self.most, self.site.rss_anon())
            time.sleep(0.01)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.on = False
        self.join()


def alive(site, seconds=2):
    begun = time.monotonic()
    c = site.client(timeout=seconds)
    assert c.get("/-/health/live", auth="none").status == 200
    assert c.get("/%s/old" % site.bucket).status == 200
    c.close()
    assert time.monotonic() - begun < seconds


def test_idle(own):
    alive(own)
    assert settle(own) < 32 * MIB


@pytest.mark.parametrize("claimed", [100 * MIB, 1 << 40])
@pytest.mark.parametrize("query", ["?delete", "?tagging", "/k?uploadId=x", ""])
def test_huge_xml(own, query, claimed):
    """Refused from its announced length, or after a bounded amount."""
    method = "POST" if query in ("?delete", "/k?uploadId=x") else "PUT"
    target = "/%s%s" % (own.bucket + ("x" if not query else ""), query)
    headers = [
        ("Host", own.root.host_header),
        ("Content-Length", str(claimed)),
        ("Content-MD5", md5(b"")),
    ]
    own.root.sign_v4(method, target, headers, payload="UNSIGNED-PAYLOAD")
    with Peak(own) as peak, own.root.connect() as c:
        c.send(own.root.encode(method, target, headers))
        r = None
        try:
            c.send(b"<Delete>")
            for _ in range(100):
                c.send(b"<Object>" * (MIB // 8))
        except OSError:
            pass
        try:
            r = c.response(method)
        except OSError:
            pass
    assert r is None or r.status in (400, 404, 413, 501), r
    assert peak.most < 96 * MIB, peak.most
    alive(own)


def test_huge_chunked_xml(own):
    target = "/%s?delete" % own.bucket
    headers = [
        ("Host", own.root.host_header),
        ("Transfer-Encoding", "chunked"),
        ("Content-MD5", md5(b"")),
    ]
    own.root.sign_v4("POST", target, headers, payload="UNSIGNED-PAYLOAD")
    with Peak(own) as peak, own.root.connect() as c:
        c.send(own.root.encode("POST", target, headers))
        try:
            for _ in range(100):
                c.send(b"100000\r\n" + b"<Object>" * (MIB // 8) + b"\r\n")
        except OSError:
            pass
        try:
            r = c.response("POST")
            assert r is None or r.status in (400, 413), r
        except OSError:
            pass
    assert peak.most < 96 * MIB, peak.most
    alive(own)


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete>" + b"<Object/>" * 600000,
        b"<Delete>" + b"<a/>" * 1500000,
        b"<Delete><Object><Key>" + b"&amp;" * 1000000,
        b"<Delete " + b"a='b' " * 500000,
        b"<Delete>" + b"<!-- -->" * 500000,
        b"<Delete xmlns:a='b'" + b"".join(b" xmlns:n%d='u'" % i for i in range(100000)),
    ],
    ids=["objects", "elements", "entities", "attributes", "comments", "namespaces"],
)
def test_trees_are_bounded(own, body):
    """Within the size of a body, the tree of it must not be many times that."""
    begun = time.monotonic()
    with Peak(own) as peak:
        r = own.root.request(
            "POST", "/%s?delete" % own.bucket, body, [("Content-MD5", md5(body))]
        )
    assert r.status == 400, r
    assert peak.most < 128 * MIB, peak.most
    assert time.monotonic() - begun < 10


def test_many_large_xml_at_once(own):
    """Connections x their maximum has a limit: beyond it 503, never memory."""
    body = b"<Delete>" + b" " * (7 * MIB)
    target = "/%s?delete" % own.bucket
    headers = [
        ("Host", own.root.host_header),
        ("Content-Length", str(len(body) + 10)),
        ("Content-MD5", md5(b"")),
    ]
    own.root.sign_v4("POST", target, headers, payload="UNSIGNED-PAYLOAD")
    data = own.root.encode("POST", target, headers)
    connections = []
    with Peak(own) as peak:
        for _ in range(100):
            c = own.root.connect()
            connections.append(c)
            c.sock.settimeout(5)
            try:
                c.send(data + body)  # all but the end: it is kept waiting
            except OSError:
                pass
        alive(own, 5)
    for c in connections:
        c.close()
    assert peak.most < 400 * MIB, peak.most


def test_many_slow_connections(own):
    """Half a header each: they cost little, and others are served."""
    before = settle(own)
    socks = []
    try:
        for i in range(400):
            s = socket.create_connection(("127.0.0.1", own.server.port), timeout=10)
            s.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 30000)
            socks.append(s)
        alive(own, 3)
        assert own.rss_anon() - before < 64 * MIB, own.rss_anon()
    finally:
        for s in socks:
            s.close()


def test_many_idle_keepalive_connections(own):
    before = settle(own)
    socks = []
    try:
        for i in range(400):
            s = socket.create_connection(("127.0.0.1", own.server.port), timeout=10)
            s.sendall(b"GET /-/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            socks.append(s)
        for s in socks:
            assert b"200" in s.recv(4096)
        alive(own, 3)
        assert own.rss_anon() - before < 64 * MIB
    finally:
        for s in socks:
            s.close()


def test_slow_bodies_do_not_add_up(own):
    """Many uploads under way, each of one byte so far."""
    before = settle(own)
    c, raws = own.root, []
    target = "/%s/slow" % own.bucket
    headers = [("Host", c.host_header), ("Content-Length", str(1 << 30))]
    c.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    data = c.encode("PUT", target, headers, b"x")
    try:
        with Peak(own) as peak:
            for _ in range(200):
                raws.append(own.root.connect())
                raws[-1].send(data)
            time.sleep(0.5)
            alive(own, 5)
        assert peak.most - before < 300 * MIB, peak.most
    finally:
        for r in raws:
            r.close()


def test_huge_headers_in_a_row(own):
    before = settle(own)
    data = b"GET /x HTTP/1.1\r\nHost: x\r\n"
    data += b"".join(b"X-%d: %s\r\n" % (i, b"a" * 500) for i in range(100)) + b"\r\n"
    for _ in range(50):
        with Raw(own) as raw:
            raw.send(data)
            assert raw.response().status in (400, 403, 431)
    assert settle(own) - before < 32 * MIB


QUERY_COUNTS = [
    ("max-keys", "?max-keys=%s"),
    ("max-keys v2", "?list-type=2&max-keys=%s"),
    ("max-uploads", "?uploads&max-uploads=%s"),
    ("max-parts", "/mp?uploadId=%s&max-parts=%%s"),
]


@pytest.mark.parametrize("name, query", QUERY_COUNTS)
def test_counts(own, name, query):
    if "uploadId" in query:
        upload, _ = own.upload(own.bucket)
        query = query % upload
    for value, want in (
        ("0", 200),
        ("1", 200),
        ("1000", 200),
        ("1001", 200),
        ("2147483647", 200),
        ("", 200),
        ("-1", 400),
        ("2147483648", 400),
        ("99999999999999999999", 400),
        ("1x", 400),
        ("0x1", 400),
        ("+1", 400),
        ("1.5", 400),
    ):
        # "+1" in a query is " 1"
        r = own.root.get("/" + own.bucket + query % value.replace("+", "%2B"))
        assert r.status == want, (value, r)
        if want == 400:
            assert r.code == "InvalidArgument", (value, r)
    r = own.root.get("/" + own.bucket + query % "2147483647")
    most = tag(r, "MaxKeys") or tag(r, "MaxUploads") or tag(r, "MaxParts")
    assert int(most) <= 1000, r


@pytest.mark.parametrize("value", ["0", "-1", "10001", "x", "", "1x", "4294967297", "1.0"])
def test_part_numbers(own, value):
    upload, _ = own.upload(own.bucket)
    target = "/%s/mp?partNumber=%s&uploadId=%s" % (own.bucket, value, upload)
    r = own.root.put(target, b"x")
    assert answer(r) == (400, "InvalidArgument"), r
    r = own.root.get("/%s/mp?uploadId=%s" % (own.bucket, upload))
    assert tags(r, "PartNumber") == ["1"]


def test_ten_thousand_parts(own):
    """Listing and completing the largest upload takes bounded memory."""
    c = own.root
    r = c.request("POST", "/%s/parts?uploads" % own.bucket)
    upload = tag(r, "UploadId")
    base = "/%s/parts?uploadId=%s" % (own.bucket, upload)
    failed = []

    def work(first):
        mine = own.client()
        for n in range(first, 10001, 16):
            r = mine.put(base + "&partNumber=%d" % n, b"p")
            if r.status != 200:
                failed.append(r)
        mine.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 17)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed[0]
    before = settle(own)
    seen, marker = [], "0"
    with Peak(own) as peak:
        while True:
            r = c.get(base + "&part-number-marker=" + marker)
            assert r.status == 200, r
            seen += tags(r, "PartNumber")
            if tag(r, "IsTruncated") != "true":
                break
            marker = tag(r, "NextPartNumberMarker")
        assert seen == [str(i) for i in range(1, 10001)]
        etag = hashlib.md5(b"p").hexdigest().encode()
        xml = b"<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % b"".join(
            b"<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (i, etag)
            for i in range(1, 10001)
        )
        r = c.request("POST", base, xml)
        assert answer(r) == (400, "EntityTooSmall"), r
        assert c.delete(base).status == 204
    assert peak.most - before < 64 * MIB, peak.most
    assert c.head("/%s/parts" % own.bucket).status == 404


def test_query_of_many_parameters(own):
    for query in ("&".join("a%d=b" % i for i in range(5000)), "&" * 30000, "=&" * 20000):
        r = own.root.get("/%s?%s" % (own.bucket, query))
        assert r.status in (200, 400), r
    alive(own)


def test_body_longer_than_allowed(own):
    target = "/%s/big" % own.bucket
    headers = [("Host", own.root.host_header), ("Content-Length", str(6 << 40))]
    own.root.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    with own.root.connect() as c:
        c.send(own.root.encode("PUT", target, headers))
        r = c.response("PUT")
    assert answer(r) == (400, "EntityTooLarge"), r


def test_listings_that_no_one_reads(own):
    """A thousand long keys each, to readers that do not read: beyond the limit
    the answer is 503."""
    name = own.filled_bucket()
    c = own.root
    for i in range(500):
        key = "%04d" % i + "k" * 1000
        assert c.put("/%s/%s" % (name, key), b"").status == 200
    target = "/%s?list-type=2" % name
    before = settle(own)
    headers = [("Host", c.host_header)]
    c.sign_v4("GET", target, headers)
    data = c.encode("GET", target, headers)
    socks = []
    with Peak(own) as peak:
        for _ in range(300):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", own.server.port))
            s.sendall(data)
            socks.append(s)
        time.sleep(1)
        begun = time.monotonic()
        assert own.client().get("/-/health/live", auth="none").status == 200
        assert time.monotonic() - begun < 3
    for s in socks:
        s.close()
    assert peak.most - before < 400 * MIB, peak.most
    end = time.monotonic() + 20
    while time.monotonic() < end and own.rss_anon() > 200 * MIB:
        time.sleep(0.2)
    alive(own, 5)


def test_memory_comes_back(own):
    """After all of the above, and a moment of rest."""
    alive(own)
    end = time.monotonic() + 30
    while time.monotonic() < end and own.rss_anon() > 96 * MIB:
        time.sleep(0.25)
    assert own.rss_anon() <= 96 * MIB, own.rss_anon()
