"""CORS (section 4, line 26), TLS (27), and what logs must not hold (22)."""

import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from kit import OLD, Site, answer, presign_v2
from lib.s3raw import Client
from test_access import SSE_C

ORIGIN = ("Origin", "http://app.example")


# --- CORS ---


def preflight(site, target, origin="http://app.example", method="PUT", headers=None):
    c = site.root
    h = [("Host", c.host_header), ("Access-Control-Request-Method", method)]
    if origin:
        h.append(("Origin", origin))
    if headers is not None:
        h.append(("Access-Control-Request-Headers", headers))
    return c.raw(c.encode("OPTIONS", target, h), "OPTIONS")


def test_cors_default(site, bucket):
    """Any origin, never with credentials: signatures alone open anything."""
    c = site.root
    target = "/%s/old" % bucket
    answers = [
        c.get(target, [ORIGIN]),
        c.head(target, [ORIGIN]),
        c.get("/%s/nosuch" % bucket, [ORIGIN]),
        c.get(target, [ORIGIN], auth="none"),
        c.put(target, OLD, [ORIGIN]),
        c.get(target, [ORIGIN, ("Range", "bytes=99999-")]),
        preflight(site, target),
    ]
    for r in answers:
        assert r.get_all("access-control-allow-origin") == ["*"], r
        assert r["access-control-allow-credentials"] is None, r
    exposed = answers[0]["access-control-expose-headers"].lower()
    assert "etag" in exposed and "x-amz-request-id" in exposed
    assert c.get(target)["access-control-allow-origin"] is None


def test_cors_preflight(site, bucket):
    target = "/%s/old" % bucket
    r = preflight(site, target, headers="content-type,x-amz-date,authorization")
    assert r.status == 200 and "PUT" in r["access-control-allow-methods"]
    assert "x-amz-date" in r["access-control-allow-headers"].lower()
    assert preflight(site, target, origin=None).status == 400
    for method in ("", "TRACE", "get", "CONNECT"):
        assert preflight(site, target, method=method).status in (400, 403)
    r = preflight(site, target, headers="x<script>")
    assert r.status in (400, 403)
    # It tells nothing about what is there.
    for path in ("/nosuch-bucket-at-all/k", "/"):
        assert preflight(site, path).status == 200


def test_cors_list_of_origins():
    with Site(args=["--cors-allow-origin", "http://app.example"]) as s:
        b = s.filled_bucket()
        target = "/%s/old" % b
        r = s.root.get(target, [ORIGIN])
        assert r["access-control-allow-origin"] == "http://app.example"
        assert "origin" in r["vary"].lower()
        assert r["access-control-allow-credentials"] is None
        for origin in (
            "http://evil.example",
            "http://app.example.evil",
            "http://app.exampl",
            "https://app.example",
            "null",
            "http://app.example, http://evil",
            "",
            "*",
        ):
            r = s.root.get(target, [("Origin", origin)])
            assert r["access-control-allow-origin"] is None, (origin, r)
            assert "origin" in (r["vary"] or "").lower(), origin
            assert preflight(s, target, origin=origin).status in (400, 403), origin
        r = s.root.get(target)
        assert "origin" in (r["vary"] or "").lower(), "caches mix the two up"


# --- TLS ---


def certificate(folder, name):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name]
    command += ["-keyout", key + ".new", "-out", cert + ".new"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    os.rename(key + ".new", key)
    os.rename(cert + ".new", cert)
    return cert, key


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tls"))
    with Site(tls=certificate(folder, "one.example")) as s:
        s.folder = folder
        yield s


def name_of(sock):
    der = sock.getpeercert(binary_form=True)
    text = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-subject"],
        input=der,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return text.decode().split("CN")[1].strip(" =\n")


def handshake(site, low, high, ciphers="ALL:@SECLEVEL=0"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(ciphers)
    context.minimum_version, context.maximum_version = low, high
    plain = socket.create_connection(("127.0.0.1", site.server.port), timeout=10)
    try:
        with context.wrap_socket(plain) as s:
            return s.version(), s.cipher()[0]
    finally:
        plain.close()


def test_tls_versions(secure):
    v = ssl.TLSVersion
    assert handshake(secure, v.TLSv1_3, v.TLSv1_3, "ALL")[0] == "TLSv1.3"
    assert handshake(secure, v.TLSv1_2, v.TLSv1_2)[0] == "TLSv1.2"
    for old in (v.TLSv1, v.TLSv1_1):
        with pytest.raises((ssl.SSLError, OSError)):
            handshake(secure, old, old)


@pytest.mark.parametrize("ciphers", ["NULL", "aNULL", "RC4", "3DES", "EXPORT", "MD5"])
def test_weak_ciphers(secure, ciphers):
    v = ssl.TLSVersion.TLSv1_2
    try:
        got = handshake(secure, v, v, ciphers + ":@SECLEVEL=0")
    except (ssl.SSLError, OSError):
        return
    pytest.fail("took " + str(got))


def test_plain_http_on_the_tls_port(secure):
    c = Client("127.0.0.1", secure.server.port, "x", "y", tls=False, timeout=5)
    try:
        r = c.get("/", auth="none")
        assert r.status == 400, r
    except (OSError, EOFError, ValueError):
        pass
    assert secure.root.get("/-/health/live", auth="none").status == 200


def test_junk_handshakes(secure):
    for data in (b"", b"\x16\x03\x01", b"\x16\x03\x01\xff\xff" + b"\0" * 70000, os.urandom(5000)):
        s = socket.create_connection(("127.0.0.1", secure.server.port), timeout=5)
        try:
            s.sendall(data)
        except OSError:
            pass
        s.close()
    secure.root.close()
    assert secure.root.get("/-/health/live", auth="none").status == 200


def test_certificate_reload(secure):
    """SIGHUP changes it for new connections; those open go on. A bad file
    leaves the old one."""
    b = secure.filled_bucket()
    target = "/%s/old" % b
    kept = secure.client()
    assert kept.get(target).body == OLD
    assert name_of(kept._connection.sock) == "one.example"

    def new_name():
        with secure.root.connect() as c:
            return name_of(c.sock)

    def becomes(name):
        end = time.monotonic() + 10
        while time.monotonic() < end and new_name() != name:
            time.sleep(0.05)
        return new_name()

    certificate(secure.folder, "two.example")
    os.kill(secure.pid, signal.SIGHUP)
    assert becomes("two.example") == "two.example"
    assert kept.get(target).body == OLD
    assert name_of(kept._connection.sock) == "one.example"
    kept.close()
    with open(os.path.join(secure.folder, "cert.pem"), "w") as f:
        f.write("no certificate\n")
    os.kill(secure.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert new_name() == "two.example"
    assert secure.client().get(target).body == OLD


def test_sni_reads_no_files(secure):
    """A name in the handshake is only a name."""
    for name in ("a" * 200 + ".example", "..", "../../etc/passwd", "x" * 60):
        context = ssl._create_unverified_context()
        plain = socket.create_connection(("127.0.0.1", secure.server.port), timeout=5)
        try:
            with context.wrap_socket(plain, server_hostname=name) as s:
                assert "example" in name_of(s)
        except (ssl.SSLError, OSError, ValueError, UnicodeError):
            pass
        finally:
            plain.close()


# --- logs ---


def test_logs_hold_no_secrets(tmp_path):
    access = str(tmp_path / "access.log")
    secrets = {}
    with Site(args=["--access-log", access, "--log-level", "debug"]) as s:
        b = s.filled_bucket()
        target = "/%s/old" % b
        secrets["root secret"] = s.root.secret
        secrets["alice's secret"] = s.alice.secret
        url = s.root.presign("GET", target)
        assert s.root.request("GET", url, auth="none").status == 200
        secrets["V4 URL's signature"] = url.rsplit("=", 1)[1]
        url = presign_v2(s.root, "GET", target)
        assert s.root.request("GET", url, auth="none").status == 200
        secrets["V2 URL's signature"] = url.split("Signature=")[1].split("&")[0]
        secrets["the same, decoded"] = __import__("urllib.parse").parse.unquote(
            secrets["V2 URL's signature"]
        )
        url = s.root.presign(
            "GET", target, params=[("X-Amz-Security-Token", "TOKENTOKENTOKEN1")]
        )
        assert answer(s.root.request("GET", url, auth="none"))[0] == 400
        s.root.get(target, [("x-amz-security-token", "TOKENTOKENTOKEN2")])
        secrets["token in a URL"] = "TOKENTOKENTOKEN1"
        secrets["token in a header"] = "TOKENTOKENTOKEN2"
        for r in (s.root.put(target, b"x", SSE_C), s.root.get(target, SSE_C)):
            assert r.status >= 400
            assert SSE_C[1][1].encode() not in r.body
        url = s.root.presign("PUT", target, params=SSE_C)
        s.root.request("PUT", url, b"x", auth="none")
        secrets["SSE-C key"] = SSE_C[1][1]
        secrets["SSE-C key, encoded"] = SSE_C[1][1].replace("=", "%3D")
        # Requests that fail, each in its own place:
        wrong = s.client(s.root.access_key, "WRONGWRONGWRONG3")
        wrong.get(target)
        url = wrong.presign("GET", target)
        wrong.request("GET", url, auth="none")
        secrets["wrong secret"] = "WRONGWRONGWRONG3"
        secrets["wrong URL's signature"] = url.rsplit("=", 1)[1]
        bad = "/%s/old?X-Amz-Signature=%s&x=%%zz" % (b, "5ec2e7" * 10)
        s.root.raw(s.root.encode("GET", bad, [("Host", s.root.host_header)]))
        s.root.raw(
            s.root.encode("GET", bad, [("Host", s.root.host_header), ("Bad Name", "1")])
        )
        s.root.close()
        bad = "/%s/old?x-amz-signature=%s" % (b, "5ec2e7" * 10)
        s.root.raw(s.root.encode("GET", bad, [("Host", s.root.host_header)]))
        bad = "/%s/old?X-Amz%%2dSignature=%s" % (b, "5ec2e7" * 10)
        s.root.raw(s.root.encode("GET", bad, [("Host", s.root.host_header)]))
        secrets["signature of a malformed request"] = "5ec2e7" * 10
        with open(os.path.join(s.server.data, "metrics.token")) as f:
            secrets["metrics token"] = f.read().strip()
        head = [("Authorization", "Bearer " + secrets["metrics token"])]
        assert s.root.get("/-/metrics", head, auth="none").status == 200
        # A secret as the body of an administrator's call:
        s.admin(
            "POST",
            "keys",
            {"user": "alice", "id": "GIVENKEYID", "secret": "GIVENSECRET12345"},
        )
        secrets["given secret"] = "GIVENSECRET12345"
        # Header lines of a signature are worth as much for 15 minutes.
        headers = [("Host", s.root.host_header)]
        secrets["header's signature"] = s.root.sign_v4("GET", target, headers)[0]
        assert s.root.raw(s.root.encode("GET", target, headers)).status == 200
        referer = s.root.presign("GET", target)
        s.root.get(target, [("Referer", "http://x" + referer)])
        secrets["URL in Referer"] = referer.rsplit("=", 1)[1]
        s.server.stop()
        with open(s.server.log, errors="replace") as f:
            text = f.read()
    with open(access, errors="replace") as f:
        lines = f.read()
    assert "/old" in lines and "GetObject" in lines, lines[-2000:]
    for what, secret in secrets.items():
        assert secret not in text, what + " is in the server's log"
        assert secret not in lines, what + " is in the access log"


def test_log_lines_cannot_be_forged(tmp_path):
    access = str(tmp_path / "access.log")
    with Site(args=["--access-log", access]) as s:
        b = s.filled_bucket()
        s.root.get("/%s/%s" % (b, "a%0aFORGED%0d%0aFORGED%22%20x"))
        s.root.get("/%s/old" % b, [("User-Agent", 'x" FORGED \x1b[31m\\')])
        s.root.get("/%s/old" % b, [("User-Agent", "caf\u00e9")])
        s.client("A\x7fB", "x").get("/" + b)
        s.server.stop()
    with open(access, "rb") as f:
        data = f.read()
    for line in data.split(b"\n"):
        assert not line.startswith(b"FORGED"), line
        assert all(32 <= c < 127 for c in line), line
        assert b'" FORGED' not in line, line


def test_slow_handshakes(tmp_path):
    """A connection that never ends its handshake gives its thread back."""
    args = ["--header-timeout", "1s", "--keepalive-timeout", "2s"]
    with Site(tls=certificate(str(tmp_path), "slow.example"), args=args) as s:
        socks = []
        for data in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            for _ in range(10):
                k = socket.create_connection(("127.0.0.1", s.server.port), timeout=5)
                k.sendall(data)
                socks.append(k)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if s.admin("GET", "status")["http"]["connections"] <= 2:
                break
            # Some go on for ever: what came does not begin the time anew.
            for k in socks[-5:]:
                try:
                    k.sendall(b"\0")
                except OSError:
                    pass
            time.sleep(0.2)
        assert s.admin("GET", "status")["http"]["connections"] <= 2
        for k in socks:
            k.close()


def hello():
    """What a client says first."""
    out = ssl.MemoryBIO()
    tls = ssl._create_unverified_context().wrap_bio(ssl.MemoryBIO(), out)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def test_handshake_in_many_pieces(tmp_path):
    """It has its time, however often it has to be waited for."""
    args = ["--header-timeout", "20s"]
    with Site(tls=certificate(str(tmp_path), "many.example"), args=args) as s:
        data = hello()
        assert len(data) > 450
        with socket.create_connection(("127.0.0.1", s.server.port), timeout=20) as k:
            k.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(data)):
                k.sendall(data[i : i + 1])
                time.sleep(0.003)
            # A server hello: record of type 22, message of type 2.
            head = k.recv(6, socket.MSG_WAITALL)
            assert head[:1] == b"\x16" and head[5:] == b"\x02", head


def sleeps(pid):
    """How often its threads for connections have gone to sleep."""
    n = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            text = f.read()
        if re.match(r"Name:\s*civetweb-worker", text):
            n += int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", text).group(1))
    return n


def test_stuck_handshakes_sleep(tmp_path):
    """Their threads sleep until something comes or their time is over: woken 20
    times a second each, they came to a thousand times while this looks."""
    with Site(tls=certificate(str(tmp_path), "calm.example")) as s:
        socks = []
        for _ in range(30):
            socks.append(socket.create_connection(("127.0.0.1", s.server.port), 5))
            socks[-1].sendall(b"\x16")
        while s.admin("GET", "status")["http"]["connections"] < 31:
            time.sleep(0.05)
        time.sleep(0.5)
        before = sleeps(s.pid)
        time.sleep(2)
        n = sleeps(s.pid) - before
        assert s.admin("GET", "status")["http"]["connections"] >= 30
        for k in socks:
            k.close()
        assert before > 30 and n < 200, (before, n)
