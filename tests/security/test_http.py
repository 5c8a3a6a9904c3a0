"""Smuggling and injection (section 4, lines 17 and 18), by raw sockets.

Sources: RFC 9112 sections 2.2, 3, 5, 6, 7.1, 11.2.
"""

import re
import socket
import time

import pytest

from kit import OLD, Raw, answer, exchange
from lib.s3raw import quote

SMUGGLED = b"GET /-/health/live?smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def signed_put(site, bucket, extra=b"", length=True, body=b"hello", version=b"1.1"):
    """A rightly signed PUT /bucket/old with more header lines."""
    c, target = site.root, "/%s/old" % bucket
    headers = [("Host", c.host_header)]
    if length:
        headers.append(("Content-Length", str(len(body))))
    c.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    lines = b"".join(b"%s: %s\r\n" % (k.encode(), v.encode()) for k, v in headers)
    head = b"PUT %s HTTP/%s\r\n" % (target.encode(), version)
    return head + lines + extra + b"\r\n" + body


def signed_get(site, bucket, line=None, extra=b"", end=b"\r\n"):
    c, target = site.root, "/%s/old" % bucket
    headers = [("Host", c.host_header)]
    c.sign_v4("GET", target, headers)
    lines = b"".join(b"%s: %s%s" % (k.encode(), v.encode(), end) for k, v in headers)
    line = line or b"GET %s HTTP/1.1" % target.encode()
    return line + end + lines + extra + end


def refused(site, bucket, data, statuses=(400,)):
    """One 4xx or nothing, then the end; nothing stored, nothing behind it
    taken for a request."""
    with Raw(site) as raw:
        try:
            raw.send(data + SMUGGLED)
        except ConnectionError:
            pass
        try:
            r = raw.response()
        except ConnectionError:
            r = None
        if r is not None:
            assert r.status in statuses, (data[:300], r)
            assert (r["connection"] or "").lower() == "close", r
            assert raw.is_closed(), "a second answer"
    assert site.root.get("/%s/old" % bucket).body == OLD
    return r


FRAMING = {
    "CL and TE": (b"Transfer-Encoding: chunked\r\n", True),
    "two CL, equal": (b"Content-Length: 5\r\n", True),
    "two CL, other": (b"Content-Length: 0\r\n", True),
    "CL +5": (b"Content-Length: +5\r\n", False),
    "CL -5": (b"Content-Length: -5\r\n", False),
    "CL 5abc": (b"Content-Length: 5abc\r\n", False),
    "CL 5,5": (b"Content-Length: 5,5\r\n", False),
    "CL 5 5": (b"Content-Length: 5 5\r\n", False),
    "CL 0x5": (b"Content-Length: 0x5\r\n", False),
    "CL empty": (b"Content-Length:\r\n", False),
    "CL 2^63": (b"Content-Length: 9223372036854775808\r\n", False),
    "CL 2^64+5": (b"Content-Length: 18446744073709551621\r\n", False),
    "CL of digits": (b"Content-Length: " + b"9" * 100 + b"\r\n", False),
    "TE xchunked": (b"Transfer-Encoding: xchunked\r\n", False),
    "TE gzip, chunked": (b"Transfer-Encoding: gzip, chunked\r\n", False),
    "TE chunked, chunked": (b"Transfer-Encoding: chunked, chunked\r\n", False),
    "TE chunked, identity": (b"Transfer-Encoding: chunked, identity\r\n", False),
    "TE identity": (b"Transfer-Encoding: identity\r\n", False),
    "TE quoted": (b'Transfer-Encoding: "chunked"\r\n', False),
    "TE with VT": (b"Transfer-Encoding: \x0bchunked\r\n", False),
    "TE twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", False),
    "TE blank name": (b"Transfer-Encoding : chunked\r\n", True),
    "TE tab name": (b"Transfer-Encoding\t: chunked\r\n", True),
    "TE folded": (b"Transfer-Encoding:\r\n chunked\r\n", True),
    "TE underscore CL": (b"Content-Length : 0\r\n", True),
    "obs-fold": (b"X-A: b\r\n c\r\n", True),
    "obs-fold tab": (b"X-A: b\r\n\tc\r\n", True),
    "leading blank": (b" X-A: b\r\n", True),
    "no colon": (b"X-A\r\n", True),
    "empty name": (b": b\r\n", True),
    "blank in name": (b"X A: b\r\n", True),
    "bare LF": (b"X-A: b\n", True),
    "bare LF and header": (b"X-A: b\nContent-Length: 0\r\n", True),
    "bare CR": (b"X-A: b\rX-B: c\r\n", True),
    "NUL in value": (b"X-A: b\0c\r\n", True),
    "two NULs in value": (b"X-A: b\0\0Content-Length: 0\r\n", True),
    "NUL in name": (b"X\0A: b\r\n", True),
    "NULs as line end": (b"X-A: b\0\0", True),
    "DEL in name": (b"X\x7fA: b\r\n", True),
    "UTF-8 name": ("X-\u00e9: b\r\n".encode(), True),
    "two Hosts": (b"Host: other\r\n", True),
}


@pytest.mark.parametrize("case", FRAMING)
def test_framing(site, bucket, case):
    extra, length = FRAMING[case]
    refused(site, bucket, signed_put(site, bucket, extra, length), (400, 417, 501))


def test_no_host_and_empty_host(site, bucket):
    for head in (
        b"GET /%s/old HTTP/1.1\r\n\r\n",
        b"GET /%s/old HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /%s/old HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /%s/old HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET /%s/old HTTP/1.1\r\nHost: a@b\r\n\r\n",
    ):
        refused(site, bucket, head % bucket.encode())


LINES = {
    "absolute form": b"GET http://127.0.0.1/%s/old HTTP/1.1",
    "absolute form, other host": b"GET http://evil.example/%s/old HTTP/1.1",
    "authority form": b"GET //evil/%s/old@x:80 HTTP/1.1 ",
    "no target": b"GET HTTP/1.1",
    "asterisk": b"GET * HTTP/1.1",
    "relative": b"GET %s/old HTTP/1.1",
    "two blanks": b"GET  /%s/old HTTP/1.1",
    "tab": b"GET\t/%s/old\tHTTP/1.1",
    "blank behind": b"GET /%s/old HTTP/1.1 ",
    "blank in target": b"GET /%s/o ld HTTP/1.1",
    "HTTP/1.2": b"GET /%s/old HTTP/1.2",
    "HTTP/2.0": b"GET /%s/old HTTP/2.0",
    "HTTP/0.9": b"GET /%s/old",
    "http/1.1": b"GET /%s/old http/1.1",
    "HTTP/1.10": b"GET /%s/old HTTP/1.10",
    "raw NUL": b"GET /%s/o\0ld HTTP/1.1",
    "raw control": b"GET /%s/o\x01ld HTTP/1.1",
    "fragment in method": b"G\x01ET /%s/old HTTP/1.1",
    "lower-case method": b"get /%s/old HTTP/1.1",
    "unknown method": b"STEAL /%s/old HTTP/1.1",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1",
    "TRACE": b"TRACE /%s/old HTTP/1.1",
    "PROPFIND": b"PROPFIND /%s/old HTTP/1.1",
    "PATCH": b"PATCH /%s/old HTTP/1.1",
    "MOVE": b"MOVE /%s/old HTTP/1.1",
}


@pytest.mark.parametrize("case", LINES)
def test_request_line(site, bucket, case):
    line = LINES[case]
    if b"%s" in line:
        line = line % bucket.encode()
    r, _ = exchange(site, signed_get(site, bucket, line))
    if r is not None:
        assert r.status in (400, 405, 501, 505), r
        assert OLD not in r.body
    assert site.root.get("/%s/old" % bucket).body == OLD


def test_leading_empty_lines(site, bucket):
    """RFC 9112 2.2 lets a server skip them: then nothing may shift."""
    for lead in (b"\r\n", b"\r\n\r\n", b"\n", b"\n\n"):
        r, _ = exchange(site, lead + signed_put(site, bucket, body=b"PUT /x"))
        assert r is None or r.status in (200, 400), r
        got = site.root.get("/%s/old" % bucket).body
        assert got in (OLD, b"PUT /x"), got


def test_bare_lf_everywhere(site, bucket):
    r, _ = exchange(site, signed_get(site, bucket, end=b"\n"), timeout=3)
    assert r is None or r.status == 400, r


# --- chunked bodies ---

CHUNKED = {
    "size not hex": b"zz\r\nhello\r\n0\r\n\r\n",
    "size negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "size plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size blank": b" 5\r\nhello\r\n0\r\n\r\n",
    "size empty": b"\r\nhello\r\n0\r\n\r\n",
    "size huge": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "size wraps": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size endless": b"0" * 100000 + b"5\r\nhello\r\n0\r\n\r\n",
    "bare LF": b"5\nhello\n0\n\n",
    "no CRLF behind data": b"5\r\nhelloxx0\r\n\r\n",
    "extension endless": b"5;" + b"a" * 100000 + b"\r\nhello\r\n0\r\n\r\n",
    "NUL in size": b"5\0\r\nhello\r\n0\r\n\r\n",
    "trailers endless": b"5\r\nhello\r\n0\r\n" + b"a: b\r\n" * 50000 + b"\r\n",
}


@pytest.mark.parametrize("case", CHUNKED)
def test_chunked_body(site, bucket, case):
    c, target = site.root, "/%s/old" % bucket
    headers = [
        ("Host", c.host_header),
        ("Transfer-Encoding", "chunked"),
        ("x-amz-decoded-content-length", "5"),
    ]
    c.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    refused(site, bucket, c.encode("PUT", target, headers, CHUNKED[case]))


def test_chunked_trailers_change_nothing(site, bucket):
    """Names in HTTP's own trailers are not headers of the request."""
    c, target = site.root, "/%s/trailed" % bucket
    headers = [
        ("Host", c.host_header),
        ("Transfer-Encoding", "chunked"),
        ("x-amz-decoded-content-length", "5"),
    ]
    c.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    body = b"5\r\nhello\r\n0\r\nx-amz-meta-evil: 1\r\nContent-Length: 9\r\n\r\n"
    r, _ = exchange(site, c.encode("PUT", target, headers, body))
    if r is not None and r.status == 200:
        r = c.get(target)
        assert r.body == b"hello" and r["x-amz-meta-evil"] is None


def test_chunked_in_http_10(site, bucket):
    c, target = site.root, "/%s/old" % bucket
    headers = [("Host", c.host_header), ("Transfer-Encoding", "chunked")]
    c.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    data = c.encode("PUT", target, headers, b"5\r\nhello\r\n0\r\n\r\n")
    refused(site, bucket, data.replace(b"HTTP/1.1", b"HTTP/1.0", 1))


# --- sizes ---


def test_header_of_64_kib(site, bucket):
    for extra in (
        b"X-A: " + b"a" * 70000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % i for i in range(10000)),
        b"X" * 70000 + b": a\r\n",
    ):
        r = refused(site, bucket, signed_put(site, bucket, extra), (400, 431))
        assert r is None or r.status in (400, 431)
    r, _ = exchange(site, signed_get(site, bucket, b"GET /%s HTTP/1.1" % (b"a" * 70000)))
    assert r is None or r.status in (400, 414, 431)


def test_every_header_is_seen(site, bucket):
    """The 65th and later are not forgotten: not for framing, not for signing."""
    pad = b"".join(b"X-%d: a\r\n" % i for i in range(70))
    with Raw(site) as raw:
        data = signed_put(site, bucket, pad + b"Transfer-Encoding: chunked\r\n")
        raw.send(data)
        r = raw.response()
        assert r.status == 400, r
    r, _ = exchange(site, signed_put(site, bucket, pad + b"x-amz-acl: public-read\r\n"))
    assert answer(r) == (403, "AccessDenied"), r
    c, target = site.root, "/%s/many" % bucket
    r = c.put(target, b"1", [("x-%d" % i, "a") for i in range(70)])
    assert r.status == 200, r


def test_metadata_limit(site, bucket):
    target = "/%s/old" % bucket
    fits = [("x-amz-meta-a", "v" * 2047)]
    assert site.root.put(target, OLD, fits).status == 200
    r = site.root.put(target, b"1", [("x-amz-meta-a", "v" * 2048)])
    assert answer(r) == (400, "MetadataTooLarge"), r
    assert site.root.get(target).body == OLD


# --- sequences ---


def test_pipelining(site, bucket):
    one = signed_get(site, bucket)
    with Raw(site) as raw:
        raw.send(one * 5)
        for _ in range(5):
            assert raw.response().body == OLD


def test_pipelining_after_an_error(site, bucket):
    """What follows a refused body is never read as a request."""
    wrong = site.client(site.root.access_key, "not the secret at all")
    target = "/%s/old" % bucket
    inner = signed_get(site, bucket)
    headers = [("Host", wrong.host_header), ("Content-Length", str(len(inner)))]
    wrong.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    with Raw(site) as raw:
        raw.send(wrong.encode("PUT", target, headers, inner))
        assert raw.response().status == 403
        raw.c.sock.settimeout(0.5)
        try:
            assert raw.c.file.read(1) == b"", "the body was answered"
        except (socket.timeout, ConnectionError):
            pass  # read and thrown away: also right


def test_body_of_get_is_not_a_request(site, bucket):
    c, target = site.root, "/%s/old" % bucket
    inner = signed_get(site, bucket)
    headers = [("Host", c.host_header), ("Content-Length", str(len(inner)))]
    c.sign_v4("GET", target, headers, payload="UNSIGNED-PAYLOAD")
    with Raw(site, timeout=3) as raw:
        raw.send(c.encode("GET", target, headers, inner))
        assert raw.response().status in (200, 400)
        raw.send(signed_get(site, bucket))
        try:
            r = raw.response()
        except (ConnectionError, socket.timeout):
            r = None
        # Either closed, or exactly one more answer.
        if r is not None:
            assert r.body == OLD
            raw.c.sock.settimeout(0.3)
            try:
                assert raw.c.file.read(1) == b""
            except (socket.timeout, ConnectionError):
                pass


def test_half_close(site, bucket):
    """The answer still comes; half a body is no body."""
    with Raw(site) as raw:
        raw.send(signed_get(site, bucket))
        raw.c.sock.shutdown(socket.SHUT_WR)
        assert raw.response().body == OLD
    with Raw(site) as raw:
        raw.send(signed_put(site, bucket)[:-2])
        raw.c.sock.shutdown(socket.SHUT_WR)
        try:
            r = raw.response()
        except ConnectionError:
            r = None
        assert r is None or answer(r) in (
            (400, "IncompleteBody"),
            (400, "RequestTimeout"),
        ), r
    assert site.root.get("/%s/old" % bucket).body == OLD


def test_many_small_pieces(site, bucket):
    data = signed_put(site, bucket, body=b"pieces")
    with Raw(site) as raw:
        for i in range(0, len(data), 50):
            raw.send(data[i : i + 50])
            time.sleep(0.001)
        assert raw.response().status == 200
    assert site.root.get("/%s/old" % bucket).body == b"pieces"


# --- injection into answers (line 18) ---


def lines_of(site, data, method="GET"):
    """The header lines of the answer, as they came."""
    with Raw(site) as raw:
        raw.send(data)
        out = []
        while True:
            line = raw.c.file.readline(65536)
            if line in (b"\r\n", b""):
                return out
            out.append(line.rstrip(b"\r\n"))


OVERRIDES = [
    "response-content-type",
    "response-content-language",
    "response-expires",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
]


@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\0b"])
def test_response_overrides(site, bucket, name, evil):
    c = site.root
    target = "/%s/old?%s=%s" % (bucket, name, quote(evil, ""))
    headers = [("Host", c.host_header)]
    c.sign_v4("GET", target, headers)
    got = lines_of(site, c.encode("GET", target, headers))
    assert got[0].split()[1] in (b"200", b"400"), got
    assert not any(re.match(rb"x-evil", x, re.I) or b"\0" in x for x in got), got
    assert not any(b"\r" in x or b"\n" in x for x in got), got


@pytest.mark.parametrize(
    "name", ["x-amz-meta-a", "x-amz-website-redirect-location", "x-amz-storage-class"]
)
def test_hoisted_values(site, bucket, name):
    """A parameter of a URL can hold what a header cannot."""
    c = site.root
    value = "/a\r\nX-Evil: 1" if "redirect" in name else "a\r\nX-Evil: 1"
    url = c.presign("PUT", "/%s/evil" % bucket, params=[(name, value)])
    r = c.request("PUT", url, b"1", auth="none")
    assert r.status in (200, 400), r
    target = "/%s/evil" % bucket
    headers = [("Host", c.host_header)]
    c.sign_v4("GET", target, headers)
    got = lines_of(site, c.encode("GET", target, headers))
    assert not any(re.match(rb"x-evil", x, re.I) for x in got), got
    # A name that is no header name:
    for evil in ("x-amz-meta-a\r\nx-evil", "x-amz-meta-a b", "x-amz-meta-a:", "x-amz-meta-\0"):
        url = c.presign("PUT", "/%s/evil" % bucket, params=[(evil, "1")])
        r = c.request("PUT", url, b"1", auth="none")
        assert r.status in (200, 400), r
        headers = [("Host", c.host_header)]
        c.sign_v4("GET", target, headers)
        got = lines_of(site, c.encode("GET", target, headers))
        assert got[0].split()[1] in (b"200", b"404"), got
        for x in got[1:]:
            assert re.match(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[^\0\r\n]*$", x), x


def test_echoes_are_escaped(site, bucket):
    """What errors and listings repeat is text, not markup."""
    evil = quote("</Key><Evil>1</Evil>", "")
    c = site.root
    for target in (
        "/%s/%s" % (bucket, evil),
        "/%s?prefix=%s" % (bucket, evil),
        "/%s?list-type=2&delimiter=%s&start-after=%s" % (bucket, evil, evil),
        "/%s?uploads&key-marker=%s" % (bucket, evil),
        "/%s?max-keys=%s" % (bucket, evil),
        "/%s?encoding-type=%s" % (bucket, evil),
        "/%s/old?uploadId=%s" % (bucket, evil),
        "/%s/old?versionId=%s" % (bucket, evil),
        "/%s?list-type=2&continuation-token=%s" % (bucket, evil),
    ):
        r = c.get(target)
        assert b"<Evil>" not in r.body, (target, r)
    r = c.put("/%s/x" % bucket, b"", [("x-amz-storage-class", "<Evil>1</Evil>")])
    assert r.status == 400 and b"<Evil>" not in r.body, r
    r = site.client("<Evil>", "x").get("/" + bucket)
    assert r.status in (400, 403) and b"<Evil>" not in r.body, r


def test_origin_echo(site, bucket):
    c, target = site.root, "/%s/old" % bucket
    headers = [("Host", c.host_header), ("Origin", "http://a b\"><script>")]
    c.sign_v4("GET", target, headers)
    got = lines_of(site, c.encode("GET", target, headers))
    assert got[0].split()[1] in (b"200", b"400")
    assert not any(b"script" in x for x in got), got


# --- slow ones (line 17), on a server with short time-outs ---


@pytest.fixture(scope="module")
def hasty():
    from kit import Site

    args = ["--header-timeout", "1s", "--keepalive-timeout", "2s"]
    args += ["--body-idle-timeout", "1s"]
    with Site(args=args) as s:
        yield s


def closes_within(raw, seconds):
    raw.c.sock.settimeout(seconds)
    begun = time.monotonic()
    try:
        while raw.c.sock.recv(65536):
            pass
    except ConnectionError:
        pass
    except socket.timeout:
        return None
    return time.monotonic() - begun


def test_slow_header(hasty):
    with Raw(hasty) as raw:
        raw.send(b"GET / HTTP/1.1\r\n")
        raw.c.sock.settimeout(0.2)
        end = time.monotonic() + 12
        closed = False
        while not closed and time.monotonic() < end:
            try:
                raw.send(b"X-A: b\r\n")  # a drop keeps no one awake
                closed = raw.c.sock.recv(4096) == b""
            except socket.timeout:
                pass
            except ConnectionError:
                closed = True
        assert closed


def test_silent_connection(hasty):
    with Raw(hasty) as raw:
        assert closes_within(raw, 12) is not None


def test_stalled_body(hasty):
    name = hasty.filled_bucket()
    data = signed_put(hasty, name, body=b"h" * 100)
    with Raw(hasty) as raw:
        raw.send(data[:-50])
        assert closes_within(raw, 12) is not None
    assert hasty.root.get("/%s/old" % name).body == OLD


def test_reader_that_does_not_read(hasty):
    """A download that no one takes ends, and so gives its thread back."""
    name = hasty.filled_bucket()
    big = b"b" * (32 << 20)
    assert hasty.root.put("/%s/big" % name, big).status == 200
    c = hasty.root
    headers = [("Host", c.host_header)]
    c.sign_v4("GET", "/%s/big" % name, headers)
    raws = [Raw(hasty) for _ in range(4)]
    try:
        for raw in raws:
            raw.c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.send(c.encode("GET", "/%s/big" % name, headers))
        # This question is one of those under way. First all four are, then none.
        for fits in (lambda n: n == 5, lambda n: n == 1):
            end = time.monotonic() + 15
            busy = hasty.admin("GET", "status")["http"]["busy"]
            while not fits(busy) and time.monotonic() < end:
                time.sleep(0.05)
                busy = hasty.admin("GET", "status")["http"]["busy"]
            assert fits(busy), busy
    finally:
        for raw in raws:
            raw.c.close()


def test_refused_expect_does_not_leave_the_body_open(site, bucket):
    """After the final answer a client may or may not send the body: what comes
    next has two readings, so the connection ends."""
    wrong = site.client(site.root.access_key, "not the secret at all")
    target = "/%s/old" % bucket
    inner = signed_get(site, bucket)
    headers = [
        ("Host", wrong.host_header),
        ("Expect", "100-continue"),
        ("Content-Length", str(len(inner))),
    ]
    wrong.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    with Raw(site) as raw:
        raw.send(wrong.encode("PUT", target, headers))
        r = raw.response()
        assert r.status == 403
        assert (r["connection"] or "").lower() == "close", r
        try:
            raw.send(inner)
        except ConnectionError:
            pass
        assert raw.is_closed()


def test_forwarded_for_is_not_believed(tmp_path):
    from kit import Site

    access = str(tmp_path / "access.log")
    with Site(args=["--access-log", access]) as s:
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"):
            value = "for=6.6.6.6" if name == "Forwarded" else "6.6.6.6"
            assert s.root.get("/", [(name, value)]).status == 200
        s.server.stop()
    with open(access) as f:
        text = f.read()
    assert "127.0.0.1" in text and "6.6.6.6" not in text
    with Site(args=["--access-log", access, "--trusted-proxies", "127.0.0.0/8"]) as s:
        assert s.root.get("/", [("X-Forwarded-For", "9.9.9.9, 6.6.6.6")]).status == 200
        for evil in ("x" * 5000, "1.2.3.4\"", "::::", "", ","):
            assert s.root.get("/", [("X-Forwarded-For", evil)]).status == 200
        s.server.stop()
    with open(access) as f:
        text = f.read()
    assert "6.6.6.6" in text, "the nearest hop that the proxy saw"
    assert " 9.9.9.9 " not in text, "the client's own claim"
