"""A load whose every acknowledged effect is remembered, and its check.

Each key belongs to one thread. An operation has a begin and an end position
(of a clock, or of a trace); end None = never acknowledged. After a cut at
position P a key may show: the last operation acknowledged at P, or any later
one that had begun by P. Anything else is a lost or a wrong write.
"""

import hashlib
import random
import threading
import urllib.parse

GONE = None


def content(seed, size):
    return random.Random(seed).randbytes(size)


class Op:
    __slots__ = ("begin", "end", "md5", "size", "what")

    def __init__(self, begin, md5, size, what):
        self.begin, self.end, self.md5, self.size, self.what = (
            begin,
            None,
            md5,
            size,
            what,
        )

    def __repr__(self):
        return "%s[%s..%s] %s" % (self.what, self.begin, self.end, self.md5)


class Load:
    """Threads that put, overwrite, copy, delete and upload in parts."""

    SIZES = [0, 1, 100, 4096, 4096, 4096, 10000, 65536, 65537, 200000]
    LARGE = [1024 * 1024 + 1, 3 * 1024 * 1024]

    def __init__(
        self, make_client, position, bucket="crash", seed=1, sizes=SIZES, rare=0.03
    ):
        self.make_client, self.position = make_client, position
        self.sizes, self.rare = sizes, rare  # rare: chance of a large object
        self.bucket, self.seed = bucket, seed
        self.history = {}  # key -> [Op]
        self.lock = threading.Lock()
        self.errors = []
        self.acknowledged = 0

    def create_bucket(self):
        client = self.make_client()
        r = client.put("/" + self.bucket)
        assert r.status in (200, 409), r
        client.close()

    def _note(self, key, md5, size, what):
        op = Op(self.position(), md5, size, what)
        with self.lock:
            self.history.setdefault(key, []).append(op)
        return op

    def _done(self, op, r, ok):
        if r.status in ok:
            op.end = self.position()
            self.acknowledged += 1
        elif r.status != 503:
            self.errors.append("%s: %r" % (op, r))

    def _worker(self, number, count, stop, keys_each):
        rng = random.Random(self.seed * 1000 + number)
        client = self.make_client()
        try:
            for i in range(count):
                if stop.is_set():
                    return
                self._one(client, rng, number, i, keys_each)
        except (OSError, EOFError, ValueError):
            pass  # the server was killed
        finally:
            client.close()

    def _one(self, client, rng, number, i, keys_each):
        key = "t%d/%d" % (number, rng.randrange(keys_each))
        path = "/%s/%s" % (self.bucket, key)
        dice = rng.random()
        if dice < 0.10:
            op = self._note(key, GONE, 0, "delete")
            self._done(op, client.delete(path), (204,))
            return
        if dice < 0.18:
            source = "t%d/%d" % (number, rng.randrange(keys_each))
            with self.lock:
                last = (self.history.get(source) or [None])[-1]
            if last is None or last.md5 is GONE or last.end is None:
                return
            if source == key:
                return
            op = self._note(key, last.md5, last.size, "copy")
            r = client.put(
                path,
                headers=[("x-amz-copy-source", "/%s/%s" % (self.bucket, source))],
            )
            self._done(op, r, (200,))
            return
        if dice < 0.18 + self.rare / 2:
            self._multipart(client, rng, key, path)
            return
        size = rng.choice(self.sizes if dice < 1 - self.rare else self.LARGE)
        body = content(rng.random(), size)
        op = self._note(key, hashlib.md5(body).hexdigest(), size, "put")
        r = client.put(path, body, payload="UNSIGNED-PAYLOAD")
        if r.status == 200 and r["etag"] != '"%s"' % op.md5:
            self.errors.append("%s: wrong ETag %s" % (op, r["etag"]))
        self._done(op, r, (200,))

    def _multipart(self, client, rng, key, path):
        r = client.request("POST", path + "?uploads=")
        if r.status != 200:
            return
        upload = r.body.decode().split("<UploadId>")[1].split("</UploadId>")[0]
        parts = [content(rng.random(), 5 * 1024 * 1024), content(rng.random(), 70000)]
        xml = "<CompleteMultipartUpload>"
        for n, part in enumerate(parts, 1):
            r = client.put(
                "%s?partNumber=%d&uploadId=%s" % (path, n, urllib.parse.quote(upload)),
                part,
                payload="UNSIGNED-PAYLOAD",
            )
            if r.status != 200:
                return
            xml += "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (
                n,
                r["etag"],
            )
        xml += "</CompleteMultipartUpload>"
        whole = b"".join(parts)
        op = self._note(key, hashlib.md5(whole).hexdigest(), len(whole), "multipart")
        r = client.request(
            "POST",
            path + "?uploadId=" + urllib.parse.quote(upload),
            xml.encode(),
        )
        self._done(op, r, (200,))

    def run(self, threads, count, keys_each=12, on_running=None):
        """Runs until each thread has made `count` operations, or lost its
        server. on_running(stop event) is called once they have started."""
        stop = threading.Event()
        workers = [
            threading.Thread(target=self._worker, args=(n, count, stop, keys_each))
            for n in range(threads)
        ]
        self.seed += 1
        for w in workers:
            w.start()
        if on_running is not None:
            on_running(stop)
        for w in workers:
            w.join(120)
        assert not any(w.is_alive() for w in workers), "a client hangs"

    # -- the check --

    def allowed(self, key, cut):
        """Contents that `key` may show after a cut, as md5 or GONE."""
        ops = [op for op in self.history[key] if op.begin <= cut]
        last = -1
        for i, op in enumerate(ops):
            if op.end is not None and op.end <= cut:
                last = i
        allowed = {ops[last].md5} if last >= 0 else {GONE}
        allowed.update(op.md5 for op in ops[last + 1 :])
        return allowed

    def verify(self, client, cut, settle=False):
        """Reads all back. Returns a list of complaints. settle=True: what is
        seen now is the truth from here on (after a real restart)."""
        bad = []
        listed = self._list(client)
        if isinstance(listed, str):
            return [listed]
        for key in sorted(self.history):
            if not any(op.begin <= cut for op in self.history[key]):
                continue
            r = client.get("/%s/%s" % (self.bucket, key))
            if r.status == 200:
                seen = hashlib.md5(r.body).hexdigest()
            elif r.status == 404:
                seen = GONE
            else:
                bad.append("%s: %r" % (key, r))
                continue
            if seen not in self.allowed(key, cut):
                bad.append(
                    "%s at %s: has %s, %s" % (key, cut, seen, self.history[key][-4:])
                )
            if (key in listed) != (seen is not GONE):
                bad.append("%s: list and get disagree" % key)
            elif seen is not GONE and "-" not in listed[key] and listed[key] != seen:
                bad.append("%s: listed ETag %s, content %s" % (key, listed[key], seen))
            if settle:
                op = Op(cut, seen, 0, "settled")
                op.end = cut
                self.history[key] = [op]
        return bad

    def _list(self, client):
        listed, token = {}, ""
        while True:
            target = "/%s?list-type=2&max-keys=1000" % self.bucket
            if token:
                target += "&continuation-token=" + urllib.parse.quote(token, safe="")
            r = client.get(target)
            if r.status == 404 and not listed:
                return {}
            if r.status != 200:
                return "list: %r" % r
            text = r.body.decode()
            for item in text.split("<Contents>")[1:]:
                key = item.split("<Key>")[1].split("</Key>")[0]
                tag = item.split("<ETag>")[1].split("</ETag>")[0]
                listed[key] = tag.replace("&quot;", "").replace('"', "")
            if "<IsTruncated>true" not in text:
                return listed
            token = text.split("<NextContinuationToken>")[1].split("<")[0]
