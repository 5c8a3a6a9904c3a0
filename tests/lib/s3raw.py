"""A raw S3 client for tests: signs what no real client would send.

Everything is explicit: method, raw target, headers, body; each step of a
signature can be tampered with. Standard library only.
Sources: AWS "Signature Version 4 signing process", "Authenticating Requests:
Using Query Parameters", "Transferring Payload in Multiple Chunks",
"Signing and authenticating REST requests" (V2).
"""

import base64
import datetime
import hashlib
import hmac
import socket
import ssl
import urllib.parse

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def quote(text, safe="-_.~"):
    return urllib.parse.quote(text, safe=safe)


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Response:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = (
            status,
            reason,
            headers,
            body,
        )

    def __getitem__(self, name):
        for k, v in self.headers:
            if k.lower() == name.lower():
                return v
        return None

    def get_all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    @property
    def code(self):
        """The S3 error code in the body, or None."""
        text = self.body.decode("utf-8", "replace")
        if "<Code>" not in text:
            return None
        return text.split("<Code>", 1)[1].split("</Code>", 1)[0]

    def __repr__(self):
        return "<%d %s %r>" % (self.status, self.code, self.body[:300])


class Connection:
    """One keep-alive connection, byte by byte."""

    def __init__(self, host, port, tls=False, timeout=30):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl._create_unverified_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def head(self):
        """Status line and headers of the next answer; None at the end."""
        line = self.file.readline(65536)
        if not line:
            return None
        _, status, reason = (line.decode("latin-1").rstrip("\r\n") + " ").split(" ", 2)
        headers = []
        while True:
            line = self.file.readline(65536)
            if line in (b"\r\n", b"\n", b""):
                break
            name, _, value = line.decode("latin-1").rstrip("\r\n").partition(":")
            headers.append((name, value.strip()))
        return Response(int(status), reason.strip(), headers, b"")

    def response(self, method="GET"):
        """The next final answer with its body; skips 1xx."""
        while True:
            r = self.head()
            if r is None or r.status >= 200:
                break
        if r is None:
            return None
        if method == "HEAD" or r.status in (204, 304):
            return r
        if (r["transfer-encoding"] or "").lower() == "chunked":
            parts = []
            while True:
                size = int(self.file.readline(1000).split(b";")[0], 16)
                parts.append(self.file.read(size))
                self.file.readline(1000)
                if size == 0:
                    break
            r.body = b"".join(parts)
        elif r["content-length"] is not None:
            want = int(r["content-length"])
            r.body = self.file.read(want)
            if len(r.body) != want:
                raise EOFError("answer cut at %d of %d" % (len(r.body), want))
        else:
            r.body = self.file.read()
        return r


class Client:
    """Signs and sends. `tamper` of request() changes the signed request just
    before it is sent: a function of (method, target, headers, body)."""

    def __init__(
        self,
        host,
        port,
        access_key,
        secret,
        region="us-east-1",
        tls=False,
        timeout=30,
    ):
        self.host, self.port = host, port
        self.access_key, self.secret = access_key, secret
        self.region, self.tls, self.timeout = region, tls, timeout
        self._connection = None

    @property
    def host_header(self):
        return "%s:%d" % (self.host, self.port)

    def connect(self):
        return Connection(self.host, self.port, self.tls, self.timeout)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def signing_key(self, date, region=None, service="s3"):
        key = _hmac(("AWS4" + self.secret).encode(), date)
        for part in (region or self.region, service, "aws4_request"):
            key = _hmac(key, part)
        return key

    @staticmethod
    def canonical_query(query):
        pairs = []
        for item in query.split("&") if query else []:
            name, _, value = item.partition("=")
            pairs.append(
                (
                    quote(urllib.parse.unquote(name)),
                    quote(urllib.parse.unquote(value)),
                )
            )
        return "&".join("%s=%s" % p for p in sorted(pairs))

    def canonical_request(self, method, target, headers, signed, payload):
        path, _, query = target.partition("?")
        lines = [method, path, self.canonical_query(query)]
        for name in signed:
            values = [v.strip() for k, v in headers if k.lower() == name]
            lines.append(name + ":" + ",".join(" ".join(v.split()) for v in values))
        lines += ["", ";".join(signed), payload]
        return "\n".join(lines)

    def sign_v4(
        self,
        method,
        target,
        headers,
        payload=EMPTY_SHA256,
        now=None,
        unsigned=(),
        region=None,
        service="s3",
        send_payload_header=True,
    ):
        """Appends x-amz-date, x-amz-content-sha256 and Authorization. Returns
        (signature, amz_date, scope) for a chunk chain."""
        now = now or datetime.datetime.utcnow()
        amz_date = now.strftime("%Y%m%dT%H%M%SZ")
        names = {k.lower() for k, _ in headers}
        if "host" not in names:
            headers.append(("Host", self.host_header))
        if "x-amz-date" not in names:
            headers.append(("x-amz-date", amz_date))
        if send_payload_header and "x-amz-content-sha256" not in names:
            headers.append(("x-amz-content-sha256", payload))
        signed = sorted(
            {
                k.lower()
                for k, _ in headers
                if k.lower() in ("host", "content-md5", "content-type", "range")
                or k.lower().startswith("x-amz-")
            }
            - set(unsigned)
        )
        scope = "%s/%s/%s/aws4_request" % (amz_date[:8], region or self.region, service)
        text = "\n".join(
            [
                "AWS4-HMAC-SHA256",
                amz_date,
                scope,
                hashlib.sha256(
                    self.canonical_request(
                        method, target, headers, signed, payload
                    ).encode()
                ).hexdigest(),
            ]
        )
        key = self.signing_key(amz_date[:8], region, service)
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers.append(
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"
                % (self.access_key, scope, ";".join(signed), signature),
            )
        )
        return signature, amz_date, scope

    def presign(
        self,
        method,
        target,
        expires=600,
        now=None,
        headers=(),
        params=(),
        payload="UNSIGNED-PAYLOAD",
    ):
        """The target with its V4 query signature. `headers` are signed too."""
        now = now or datetime.datetime.utcnow()
        amz_date = now.strftime("%Y%m%dT%H%M%SZ")
        scope = "%s/%s/s3/aws4_request" % (amz_date[:8], self.region)
        headers = list(headers) + [("Host", self.host_header)]
        signed = sorted({k.lower() for k, _ in headers})
        path, _, query = target.partition("?")
        pairs = [query] if query else []
        pairs += [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=" + quote(self.access_key + "/" + scope),
            "X-Amz-Date=" + amz_date,
            "X-Amz-Expires=%s" % expires,
            "X-Amz-SignedHeaders=" + quote(";".join(signed)),
        ]
        pairs += ["%s=%s" % (quote(k), quote(v)) for k, v in params]
        target = path + "?" + "&".join(pairs)
        text = "\n".join(
            [
                "AWS4-HMAC-SHA256",
                amz_date,
                scope,
                hashlib.sha256(
                    self.canonical_request(
                        method, target, headers, signed, payload
                    ).encode()
                ).hexdigest(),
            ]
        )
        signature = hmac.new(
            self.signing_key(amz_date[:8]), text.encode(), hashlib.sha256
        ).hexdigest()
        return target + "&X-Amz-Signature=" + signature

    def sign_v2(self, method, target, headers, resource=None):
        """Header form of SigV2. `resource` is the canonicalised resource."""
        names = {k.lower(): v for k, v in headers}
        if "date" not in names and "x-amz-date" not in names:
            date = datetime.datetime.utcnow().strftime("%a, %d %b %Y %H:%M:%S GMT")
            headers.append(("Date", date))
            names["date"] = date
        amz = sorted(
            (k.lower(), v) for k, v in headers if k.lower().startswith("x-amz-")
        )
        text = "\n".join(
            [
                method,
                names.get("content-md5", ""),
                names.get("content-type", ""),
                "" if "x-amz-date" in names else names["date"],
            ]
        )
        text += "\n" + "".join("%s:%s\n" % p for p in amz)
        text += resource if resource is not None else target.partition("?")[0]
        digest = hmac.new(self.secret.encode(), text.encode(), hashlib.sha1).digest()
        headers.append(
            (
                "Authorization",
                "AWS %s:%s" % (self.access_key, base64.b64encode(digest).decode()),
            )
        )

    def chunked_body(self, chunks, seed, trailers=None, sign_trailer=True):
        """STREAMING-AWS4-HMAC-SHA256-PAYLOAD[-TRAILER] body; seed is what
        sign_v4() returned. Chunks exclude the final empty one."""
        signature, amz_date, scope = seed
        key = self.signing_key(amz_date[:8])
        out = []
        for chunk in list(chunks) + [b""]:
            text = "\n".join(
                [
                    "AWS4-HMAC-SHA256-PAYLOAD",
                    amz_date,
                    scope,
                    signature,
                    EMPTY_SHA256,
                    hashlib.sha256(chunk).hexdigest(),
                ]
            )
            signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            out.append(b"%x;chunk-signature=%s\r\n" % (len(chunk), signature.encode()))
            if chunk:
                out.append(chunk + b"\r\n")
        if trailers is not None:
            lines = b"".join(b"%s:%s\n" % (k, v) for k, v in trailers)
            text = "\n".join(
                [
                    "AWS4-HMAC-SHA256-TRAILER",
                    amz_date,
                    scope,
                    signature,
                    hashlib.sha256(lines).hexdigest(),
                ]
            )
            signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            out += [b"%s:%s\r\n" % (k, v) for k, v in trailers]
            if sign_trailer:
                out.append(b"x-amz-trailer-signature:%s\r\n" % signature.encode())
        out.append(b"\r\n")
        return b"".join(out)

    @staticmethod
    def encode(method, target, headers, body=b""):
        lines = ["%s %s HTTP/1.1" % (method, target)]
        lines += ["%s: %s" % h for h in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def request(
        self, method, target, body=b"", headers=(), auth="v4", tamper=None, **sign
    ):
        """One request on the kept connection. auth: v4, v2, none."""
        headers = list(headers)
        if not any(k.lower() == "host" for k, _ in headers):
            headers.insert(0, ("Host", self.host_header))
        names = {k.lower() for k, _ in headers}
        if "content-length" not in names and (body or method in ("PUT", "POST")):
            headers.append(("Content-Length", str(len(body))))
        if auth == "v4":
            sign.setdefault("payload", hashlib.sha256(body).hexdigest())
            self.sign_v4(method, target, headers, **sign)
        elif auth == "v2":
            self.sign_v2(method, target, headers, **sign)
        if tamper is not None:
            method, target, headers, body = tamper(method, target, headers, body)
        return self.raw(self.encode(method, target, headers, body), method)

    def raw(self, data, method="GET"):
        for attempt in (0, 1):
            fresh = self._connection is None
            if fresh:
                self._connection = self.connect()
            try:
                self._connection.send(data)
                r = self._connection.response(method)
            except (ConnectionError, BrokenPipeError):
                r = None
                # an early answer may lie behind a failed send
                try:
                    r = self._connection.response(method)
                except (OSError, ValueError):
                    pass
                if r is None and fresh:
                    self.close()
                    raise
            if r is None and not fresh and attempt == 0:
                self.close()  # the kept connection had been closed: once more
                continue
            if r is None or (r["connection"] or "").lower() == "close":
                self.close()
            if r is None:
                raise EOFError("connection closed without an answer")
            return r

    # -- shorthands --

    def put(self, path, body=b"", headers=(), **kw):
        return self.request("PUT", path, body, headers, **kw)

    def get(self, path, headers=(), **kw):
        return self.request("GET", path, b"", headers, **kw)

    def head(self, path, headers=(), **kw):
        return self.request("HEAD", path, b"", headers, **kw)

    def delete(self, path, headers=(), **kw):
        return self.request("DELETE", path, b"", headers, **kw)
