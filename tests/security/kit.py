"""What the security tests share: a running site, and witnesses of its state.

The server's answer is compared as (status, code). AWS's error codes are from
"Error responses" in the S3 API reference unless a table says otherwise.
"""

import base64
import datetime
import hashlib
import hmac
import itertools
import json
import re
import time

import urllib.parse

from lib.s3raw import Client as RawClient
from lib.s3raw import quote
from lib.server import ACCESS_KEY, SECRET, Server

OLD = b"the old object" * 10
SRC = b"the source of copies!" * 10

_numbers = itertools.count()


class Client(RawClient):
    """Signs the path as S3 has it: decoded once, encoded anew, with its '/'."""

    def canonical_request(self, method, target, headers, signed, payload):
        path, mark, query = target.partition("?")
        if not re.search("%(?![0-9A-Fa-f]{2})", path):
            path = quote(urllib.parse.unquote_to_bytes(path), "/-_.~")
        return super().canonical_request(
            method, path + mark + query, headers, signed, payload
        )


def unique(prefix="sec"):
    return "%s-%d" % (prefix, next(_numbers))


def answer(r):
    return (r.status, r.code)


def tag(r, name):
    """The text of the first element of that name, or None."""
    m = re.search(rb"<%s>([^<]*)</%s>" % (name.encode(), name.encode()), r.body)
    return m.group(1).decode() if m else None


def tags(r, name):
    text = rb"<%s>([^<]*)</%s>" % (name.encode(), name.encode())
    return [m.decode() for m in re.findall(text, r.body)]


def md5(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def utc(seconds=0):
    """Now and some seconds."""
    return datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)


def presign_v2(client, method, target, headers=(), expires=600, when=None, params=()):
    """The target with a V2 query signature. @params are signed as headers."""
    until = str(int(time.time() if when is None else when) + expires)
    names = {k.lower(): v for k, v in list(headers) + list(params)}
    amz = sorted((k, v) for k, v in names.items() if k.startswith("x-amz-"))
    text = "\n".join(
        [
            method,
            names.get("content-md5", ""),
            names.get("content-type", ""),
            until,
        ]
    )
    text += "\n" + "".join("%s:%s\n" % p for p in amz) + v2_resource(target)
    digest = hmac.new(client.secret.encode(), text.encode(), hashlib.sha1).digest()
    more = "".join("%s=%s&" % (quote(k), quote(v)) for k, v in params)
    return "%s%s%sAWSAccessKeyId=%s&Signature=%s&Expires=%s" % (
        target,
        "&" if "?" in target else "?",
        more,
        quote(client.access_key),
        quote(base64.b64encode(digest).decode()),
        until,
    )


def v2_resource(target):
    """Path and the parameters that V2 signs, in order (values decoded)."""
    signed = {"delete", "uploads", "uploadId", "partNumber", "acl", "location"}
    path, _, query = target.partition("?")
    kept = sorted(p for p in query.split("&") if p.split("=")[0] in signed)
    return path + ("?" + "&".join(kept) if kept else "")


class Site:
    """A server with users `alice` and `bob`; root is the administrator."""

    def __init__(self, **kw):
        self.server = Server(**kw)

    def __enter__(self):
        self.server.start()
        try:
            self.open()
        except BaseException:
            self.server.cleanup()
            raise
        return self

    def open(self):
        self.root = self.client(ACCESS_KEY, SECRET)
        self.alice = self.user("alice")
        self.bob = self.user("bob")

    def __exit__(self, *_):
        died = self.server.process is not None and self.server.process.poll()
        if died is not None and died is not False:
            print(self.server.tail(20000))
        self.server.__exit__()
        assert not died, "the server ended with %s" % died

    @property
    def pid(self):
        return self.server.process.pid

    def client(self, key=ACCESS_KEY, secret=SECRET, **kw):
        return Client(
            "127.0.0.1",
            self.server.port,
            key,
            secret,
            tls=self.server.tls is not None,
            **kw
        )

    def admin(self, method, path, body=None):
        text = b"" if body is None else json.dumps(body).encode()
        r = self.root.request(method, "/-/admin/v1/" + path, text)
        assert r.status in (200, 204), r
        return json.loads(r.body) if r.body else None

    def key(self, user):
        return self.admin("POST", "keys", {"user": user})

    def user(self, name):
        self.admin("POST", "users", {"name": name})
        pair = self.key(name)
        return self.client(pair["id"], pair["secret"])

    def filled_bucket(self, client=None):
        client = client or self.root
        name = unique()
        assert client.put("/" + name).status == 200
        assert client.put("/%s/old" % name, OLD).status == 200
        assert client.put("/%s/src" % name, SRC).status == 200
        return name

    def upload(self, bucket, key="mp", client=None):
        """An upload with part 1; its ID and the part's ETag."""
        client = client or self.root
        r = client.request("POST", "/%s/%s?uploads" % (bucket, key))
        assert r.status == 200, r
        upload = tag(r, "UploadId")
        r = client.put("/%s/%s?partNumber=1&uploadId=%s" % (bucket, key, upload), OLD)
        assert r.status == 200, r
        return upload, r["etag"]

    def rss_anon(self):
        """Bytes of the server's own memory."""
        with open("/proc/%d/status" % self.pid) as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")

    def state(self, bucket):
        """All that a refused write must leave as it was."""
        get = self.root.get
        r = get("/" + bucket + "?list-type=2")
        s = {
            "buckets": tags(get("/"), "Name"),
            "status": r.status,
            "objects": list(
                zip(
                    *(
                        tags(r, n)
                        for n in ("Key", "ETag", "Size", "LastModified", "StorageClass")
                    )
                )
            ),
            "old": get("/%s/old" % bucket).body,
        }
        r = get("/%s?uploads" % bucket)
        s["uploads"] = list(zip(tags(r, "Key"), tags(r, "UploadId")))
        for key, upload in s["uploads"]:
            r = get("/%s/%s?uploadId=%s" % (bucket, quote(key), upload))
            s["parts " + upload] = list(
                zip(
                    *(
                        tags(r, n)
                        for n in ("PartNumber", "ETag", "Size", "LastModified")
                    )
                )
            )
        return s

    def stored(self):
        """(files in the storage, rows of garbage) once the garbage is gone."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            self.admin("POST", "collect")
            status = self.admin("GET", "status")
            if status["objects"]["garbage_rows"] == 0:
                break
            time.sleep(0.05)
        paths = status["paths"]
        return sum(p["files"] for p in paths), status["objects"]["garbage_rows"]


class Raw:
    """One connection for bytes of our own making."""

    def __init__(self, site, timeout=10):
        self.c = site.client(timeout=timeout).connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.close()

    def send(self, data):
        self.c.send(data)

    def response(self, method="GET"):
        return self.c.response(method)

    def is_closed(self):
        """The peer sends no more (and no second answer)."""
        try:
            return self.c.file.read(1) == b""
        except ConnectionError:
            return True


def exchange(site, data, method="GET", timeout=10):
    """(answer or None, closed) for one raw request."""
    with Raw(site, timeout) as raw:
        try:
            raw.send(data)
        except ConnectionError:
            pass
        try:
            r = raw.response(method)
        except ConnectionError:
            r = None
        return r, r is None or (r["connection"] or "").lower() == "close"
