"""Who may do what (section 4, lines 10, 14, 15, 16, 25): buckets are private
to their owner, keys die at once, and what is not there is refused.
"""

import os
import re
import subprocess

import pytest

from kit import OLD, answer, md5, tags, unique
from lib.s3raw import quote
from lib.server import binary

DENIED = (403, "AccessDenied")
NO_BUCKET = (404, "NoSuchBucket")
NOT_THERE = (501, "NotImplemented")


@pytest.fixture()
def alices(site):
    return site.filled_bucket(site.alice)


def requests_on(bucket, upload, key):
    """Everything one can ask about an object or its bucket: (method, target,
    headers, body)."""
    b = "/" + bucket
    k = "%s/%s" % (b, key)
    xml = b"<Delete><Object><Key>%s</Key></Object></Delete>" % key.encode()
    complete = (
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        b"<ETag>x</ETag></Part></CompleteMultipartUpload>"
    )
    return [
        ("HEAD", b, [], b""),
        ("GET", b, [], b""),
        ("GET", b + "?list-type=2", [], b""),
        ("GET", b + "?list-type=2&prefix=" + key, [], b""),
        ("GET", b + "?versions", [], b""),
        ("GET", b + "?uploads", [], b""),
        ("GET", b + "?location", [], b""),
        ("GET", b + "?acl", [], b""),
        ("GET", b + "?policy", [], b""),
        ("GET", b + "?versioning", [], b""),
        ("GET", b + "?cors", [], b""),
        ("GET", b + "?tagging", [], b""),
        ("PUT", b + "?acl", [("x-amz-acl", "private")], b""),
        ("PUT", b + "?policy", [], b"{}"),
        ("DELETE", b + "?policy", [], b""),
        ("DELETE", b, [], b""),
        ("POST", b + "?delete", [("Content-MD5", md5(xml))], xml),
        ("HEAD", k, [], b""),
        ("GET", k, [], b""),
        ("GET", k, [("Range", "bytes=0-0")], b""),
        ("GET", k, [("Range", "bytes=999999-")], b""),
        ("GET", k, [("If-Match", '"x"')], b""),
        ("GET", k, [("If-None-Match", "*")], b""),
        ("GET", k, [("If-Modified-Since", "Mon, 01 Jan 2035 00:00:00 GMT")], b""),
        ("GET", k + "?partNumber=1", [], b""),
        ("GET", k + "?versionId=null", [], b""),
        ("GET", k + "?versionId=bad", [], b""),
        ("GET", k + "?acl", [], b""),
        ("GET", k + "?tagging", [], b""),
        ("GET", k + "?attributes", [("x-amz-object-attributes", "ETag")], b""),
        ("GET", k + "?uploadId=" + upload, [], b""),
        ("PUT", k, [], b"evil"),
        ("PUT", k, [("If-None-Match", "*")], b"evil"),
        ("PUT", k, [("If-Match", '"x"')], b"evil"),
        ("PUT", k, [("x-amz-copy-source", b + "/src")], b""),
        ("PUT", k + "?acl", [("x-amz-acl", "private")], b""),
        ("PUT", k + "?partNumber=1&uploadId=" + upload, [], b"evil"),
        (
            "PUT",
            k + "?partNumber=1&uploadId=" + upload,
            [("x-amz-copy-source", b + "/src")],
            b"",
        ),
        ("POST", k + "?uploads", [], b""),
        ("POST", k + "?uploadId=" + upload, [], complete),
        ("DELETE", k + "?uploadId=" + upload, [], b""),
        ("DELETE", k, [], b""),
        ("DELETE", k + "?versionId=null", [], b""),
    ]


def shape(r, words):
    """The answer without what differs by request anyway."""
    text = re.sub(rb"<(RequestId|HostId|Resource)>[^<]*", rb"<\1>", r.body)
    for w in words:
        text = text.replace(w.encode(), b"?")
    names = sorted(k.lower() for k, _ in r.headers)
    return r.status, names, text


@pytest.mark.parametrize("who", ["bob", "anonymous"])
def test_a_private_bucket_tells_nothing(site, alices, who):
    """403 for everything, before 404, 412, 416, 304; and the same 403 whether
    the key is there or not."""
    upload, _ = site.upload(alices, "old", site.alice)
    before = site.state(alices)
    there = requests_on(alices, upload, "old")
    absent = requests_on(alices, "nosuchupload", "nosuch")
    kw = {"auth": "none"} if who == "anonymous" else {}
    for one, other in zip(there, absent):
        answers = []
        for method, target, headers, body in (one, other):
            r = site.bob.request(method, target, body, headers, **kw)
            assert r.status == 403, (method, target, headers, r)
            if method != "HEAD":
                assert r.code == "AccessDenied", (method, target, r)
            assert OLD[:10] not in r.body
            answers.append(shape(r, [upload, "nosuchupload", "nosuch", "old"]))
        assert answers[0] == answers[1], one
    assert site.state(alices) == before


def test_anonymous_cannot_tell_buckets_apart(site, alices):
    for method, query in (("GET", ""), ("HEAD", ""), ("PUT", ""), ("GET", "?uploads")):
        shapes = {
            str(shape(site.bob.request(method, "/" + b + query, auth="none"), [b]))
            for b in (alices, "no-such-bucket-at-all")
        }
        assert len(shapes) == 1, (method, query, shapes)


def test_anonymous_lists_nothing(site, alices):
    for target in ("/", "/?max-buckets=1"):
        assert answer(site.bob.get(target, auth="none")) == DENIED


@pytest.mark.parametrize("part", [False, True])
def test_copy_from_another_users_bucket(site, alices, part):
    """Reading the source needs the right to read it; the answer does not tell
    whether it exists."""
    bobs = site.filled_bucket(site.bob)
    target = "/%s/old" % bobs
    if part:
        upload, _ = site.upload(bobs, client=site.bob)
        target = "/%s/mp?partNumber=1&uploadId=%s" % (bobs, upload)
    before = site.state(bobs)
    for key in ("src", "nosuch"):
        for extra in (
            [],
            [("x-amz-copy-source-if-match", '"x"')],
            [("x-amz-copy-source-if-none-match", "*")],
            [("x-amz-metadata-directive", "REPLACE")],
        ):
            headers = [("x-amz-copy-source", "/%s/%s" % (alices, key))] + extra
            r = site.bob.put(target, b"", headers)
            assert answer(r) == DENIED, (key, extra, r)
    assert site.state(bobs) == before


def test_copy_into_another_users_bucket(site, alices):
    bobs = site.filled_bucket(site.bob)
    before = site.state(alices)
    headers = [("x-amz-copy-source", "/%s/src" % bobs)]
    assert answer(site.bob.put("/%s/old" % alices, b"", headers)) == DENIED
    assert site.state(alices) == before


def test_list_buckets_is_per_user(site, alices):
    bobs = site.filled_bucket(site.bob)
    assert alices in tags(site.alice.get("/"), "Name")
    assert bobs not in tags(site.alice.get("/"), "Name")
    assert alices not in tags(site.bob.get("/?prefix=" + alices), "Name")
    assert tags(site.bob.get("/?prefix=" + alices + "&max-buckets=1"), "Name") == []
    assert alices in tags(site.root.get("/"), "Name")


def test_bucket_of_another_user_is_taken(site, alices):
    before = site.state(alices)
    r = site.bob.put("/" + alices)
    assert answer(r) == (409, "BucketAlreadyExists"), r
    assert site.state(alices) == before


def test_an_upload_belongs_to_its_key_and_bucket(site, alices):
    """An upload's ID is no key to another bucket or key."""
    bobs = site.filled_bucket(site.bob)
    upload, etag = site.upload(alices, "mp", site.alice)
    before = site.state(alices)
    xml = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>"
    xml %= etag.encode()
    gone = (404, "NoSuchUpload")
    for client, bucket, key in (
        (site.bob, bobs, "mp"),
        (site.alice, alices, "other"),
    ):
        t = "/%s/%s?uploadId=%s" % (bucket, key, upload)
        assert answer(client.get(t)) == gone
        assert answer(client.put(t + "&partNumber=1", b"evil")) == gone
        source = [("x-amz-copy-source", "/%s/src" % bucket)]
        assert answer(client.put(t + "&partNumber=1", b"", source)) == gone
        assert answer(client.request("POST", t, xml)) == gone
        assert answer(client.delete(t)) == gone
    assert site.state(alices) == before


def test_ids_of_uploads_are_only_names(site, alices):
    for upload in ("", "x", "../x", "a" * 2000, "%00", "%ff", "0" * 32, quote("<x>")):
        r = site.alice.get("/%s/mp?uploadId=%s" % (alices, upload))
        assert r.status in (400, 404), (upload, r)
        r = site.alice.put("/%s/mp?partNumber=1&uploadId=%s" % (alices, upload), b"x")
        assert r.status in (400, 404), (upload, r)


def test_delete_objects_of_another_user(site, alices):
    """Whole request or key by key, nothing goes."""
    xml = b"<Delete><Object><Key>old</Key></Object><Object><Key>nosuch</Key></Object></Delete>"
    before = site.state(alices)
    r = site.bob.request("POST", "/%s?delete" % alices, xml, [("Content-MD5", md5(xml))])
    assert answer(r) == DENIED, r
    assert site.state(alices) == before


def test_expected_bucket_owner(site, alices):
    owner = tags(site.alice.get("/"), "ID")[0]
    target = "/%s/old" % alices
    right, wrong = [("x-amz-expected-bucket-owner", w) for w in (owner, "1" * 12)]
    assert site.alice.get(target, [right]).status == 200
    for method, body in (("GET", b""), ("PUT", b"x"), ("DELETE", b"")):
        r = site.alice.request(method, target, body, [wrong])
        assert answer(r) == DENIED, r
    source = ("x-amz-copy-source", "/%s/src" % alices)
    wrong = ("x-amz-source-expected-bucket-owner", "1" * 12)
    assert answer(site.alice.put(target, b"", [source, wrong])) == DENIED
    assert site.alice.get(target).body == OLD


# --- keys ---


def test_removed_key_stops_at_once(site, alices):
    pair = site.key("alice")
    c = site.client(pair["id"], pair["secret"])
    target = "/%s/old" % alices
    url = c.presign("GET", target)
    assert c.get(target).status == 200
    assert c.request("GET", url, auth="none").status == 200
    site.admin("DELETE", "keys/" + pair["id"])
    # The same kept connection, the same URL, any other:
    gone = (403, "InvalidAccessKeyId")
    assert answer(c.get(target)) == gone
    assert answer(c.get(target, auth="v2")) == gone
    assert answer(c.request("GET", url, auth="none")) == gone
    c.close()
    assert answer(c.get(target)) == gone
    assert answer(c.put(target, b"evil")) == gone
    assert site.alice.get(target).body == OLD


def test_removed_user_stops_at_once(site):
    c = site.user("carol")
    assert c.get("/").status == 200
    site.admin("DELETE", "users/carol")
    assert answer(c.get("/")) == (403, "InvalidAccessKeyId")
    # A new user of that name is someone else.
    again = site.user("carol")
    assert tags(again.get("/"), "Name") == []
    assert answer(c.get("/")) == (403, "InvalidAccessKeyId")
    site.admin("DELETE", "users/carol")
    again.close()
    c.close()


def test_new_user_of_an_old_name_gets_nothing(site):
    dave = site.user("dave")
    bucket = site.filled_bucket(dave)
    r = site.root.request("DELETE", "/-/admin/v1/users/dave")
    assert r.status == 503 or r.status == 409, r  # owns a bucket
    assert dave.get("/%s/old" % bucket).body == OLD


# --- the administration has its own authentication ---

ADMIN = [
    ("GET", "status"),
    ("GET", "users"),
    ("GET", "keys"),
    ("GET", "buckets"),
    ("POST", "users"),
    ("POST", "keys"),
    ("POST", "collect"),
    ("POST", "sweep"),
    ("POST", "backup"),
    ("POST", "nosuch"),
    ("DELETE", "users/alice"),
    ("DELETE", "keys/TESTROOTUSER"),
]


@pytest.mark.parametrize("method, path", ADMIN)
def test_admin_is_for_root(site, method, path):
    target = "/-/admin/v1/" + path
    body = b'{"name": "mallory", "user": "alice"}' if method == "POST" else b""
    for client, kw in (
        (site.bob, {}),
        (site.bob, {"auth": "v2"}),
        (site.bob, {"auth": "none"}),
        (site.client("NOSUCH", "x"), {}),
        (site.client(site.root.access_key, "wrong secret"), {}),
    ):
        r = client.request(method, target, body, **kw)
        assert r.status == 403, (client.access_key, kw, r)
        client.close()
    users = [u["name"] for u in site.admin("GET", "users")["users"]]
    assert "mallory" not in users and "alice" in users


def test_admin_body_is_signed(site):
    def other(method, target, headers, body):
        return method, target, headers, body.replace(b"eve1", b"eve2")

    r = site.root.request("POST", "/-/admin/v1/users", b'{"name": "eve1"}', tamper=other)
    assert r.status in (400, 403), r
    names = [u["name"] for u in site.admin("GET", "users")["users"]]
    assert "eve1" not in names and "eve2" not in names
    r = site.root.request(
        "POST", "/-/admin/v1/users", b'{"name": "eve1"}', payload="UNSIGNED-PAYLOAD", tamper=other
    )
    if r.status in (200, 204):  # as on S3, the client may leave the body out
        site.admin("DELETE", "users/eve2")


def test_admin_never_shows_secrets(site):
    pair = site.key("bob")
    for path in ("status", "users", "keys", "keys?user=bob", "buckets"):
        text = str(site.admin("GET", path))
        assert pair["secret"] not in text and site.root.secret not in text, path
    site.admin("DELETE", "keys/" + pair["id"])


@pytest.mark.parametrize(
    "path", ["/-/", "/-/admin", "/-/nosuch", "/-/admin/v1/../../metrics", "/-/%61dmin/v1/users", "/minio/admin/v3/info", "/minio/bucket"]
)
def test_reserved_paths(site, path):
    for client in (site.bob, site.root):
        r = client.get(path, auth="none")
        assert 400 <= r.status < 500, r
    assert 400 <= site.bob.put(path, b"x").status < 500


def test_metrics_need_the_token(site):
    r = site.root.get("/-/metrics", auth="none")
    assert r.status == 401 and b"creel_" not in r.body
    for value in ("Bearer", "Bearer ", "Bearer x", "Bearer \0", "Basic x"):
        r = site.root.get("/-/metrics", [("Authorization", value.strip("\0"))], auth="none")
        assert r.status == 401, (value, r)
    with open(os.path.join(site.server.data, "metrics.token")) as f:
        token = f.read().strip()
    assert os.stat(f.name).st_mode & 0o77 == 0
    r = site.root.get("/-/metrics", [("Authorization", "Bearer " + token)], auth="none")
    assert r.status == 200 and b"creel_" in r.body
    assert b"alice" not in r.body and b"TESTROOTUSER" not in r.body


def test_no_default_credentials(tmp_path):
    """Without a pair a random one is made, kept for the owner alone."""
    from kit import Site
    from lib.server import Server

    for key, secret in (
        ("minioadmin", "minioadmin"),
        ("admin", "admin"),
        ("root", "root"),
        ("", ""),
    ):
        env = {"CREEL_ROOT_USER": key, "CREEL_ROOT_PASSWORD": secret}
        if len(secret) >= 8 or key == "":
            continue
        s = Server(data=str(tmp_path / "d"), env=env)
        os.makedirs(s.data, exist_ok=True)
        with pytest.raises(RuntimeError):
            s.start(wait=10)
        s.cleanup()
    site = Site(
        data=str(tmp_path / "e"), env={"CREEL_ROOT_USER": "", "CREEL_ROOT_PASSWORD": ""}
    )
    os.makedirs(site.server.data)
    try:
        site.server.start()
        path = os.path.join(site.server.data, "credentials.env")
        with open(path) as f:
            pair = dict(line.strip().split("=", 1) for line in f if "=" in line)
        assert os.stat(path).st_mode & 0o77 == 0
        assert len(pair["CREEL_ROOT_PASSWORD"]) >= 20
        with open(site.server.log) as f:
            assert pair["CREEL_ROOT_PASSWORD"] not in f.read()
        c = site.client(pair["CREEL_ROOT_USER"], pair["CREEL_ROOT_PASSWORD"])
        assert c.get("/").status == 200
        for key, secret in (("minioadmin", "minioadmin"), ("admin", "admin")):
            r = site.client(key, secret).get("/")
            assert answer(r) == (403, "InvalidAccessKeyId")
    finally:
        site.server.__exit__()
    assert subprocess.run([binary(), "version"], stdout=subprocess.DEVNULL).returncode == 0


# --- what is not there is refused, never ignored ---

SSE_C = [
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ("x-amz-server-side-encryption-customer-key-MD5", "dnF5x6K/8ZZRzpfSlMMM+w=="),
]

ABSENT_HEADERS = [
    [("x-amz-server-side-encryption", "AES256")],
    [("x-amz-server-side-encryption", "aws:kms")],
    SSE_C,
    [("x-amz-tagging", "a=b")],
    [("x-amz-object-lock-mode", "GOVERNANCE")],
    [("x-amz-object-lock-retain-until-date", "2035-01-01T00:00:00Z")],
    [("x-amz-object-lock-legal-hold", "ON")],
    [("x-amz-acl", "public-read")],
    [("x-amz-acl", "public-read-write")],
    [("x-amz-acl", "authenticated-read")],
    [("x-amz-grant-read", 'uri="http://acs.amazonaws.com/groups/global/AllUsers"')],
    [("x-amz-grant-full-control", "id=x")],
    [("x-amz-write-offset-bytes", "0")],
]


@pytest.mark.parametrize("headers", ABSENT_HEADERS)
@pytest.mark.parametrize("op", ["PutObject", "CopyObject", "CreateMultipartUpload"])
def test_headers_of_absent_features(site, bucket, headers, op):
    before = site.state(bucket)
    method, target, body, more = {
        "PutObject": ("PUT", "/%s/old" % bucket, b"new", []),
        "CopyObject": (
            "PUT",
            "/%s/old" % bucket,
            b"",
            [("x-amz-copy-source", "/%s/src" % bucket)],
        ),
        "CreateMultipartUpload": ("POST", "/%s/old?uploads" % bucket, b"", []),
    }[op]
    r = site.root.request(method, target, body, headers + more)
    assert answer(r) == NOT_THERE, r
    # The same moved into a URL, as SDKs do.
    url = site.root.presign(method, target, params=headers + more)
    r = site.root.request(method, url, body, auth="none")
    assert answer(r) == NOT_THERE, r
    assert site.state(bucket) == before


@pytest.mark.parametrize("headers", [h for h in ABSENT_HEADERS if "acl" in h[0][0] or "grant" in h[0][0]])
def test_public_buckets_cannot_be_made(site, headers):
    name = unique("public")
    assert answer(site.root.put("/" + name, b"", headers)) == NOT_THERE
    assert site.root.head("/" + name).status == 404


def test_lock_enabled_bucket_cannot_be_made(site):
    name = unique("lock")
    header = [("x-amz-bucket-object-lock-enabled", "true")]
    assert answer(site.root.put("/" + name, b"", header)) == NOT_THERE
    assert site.root.head("/" + name).status == 404


@pytest.mark.parametrize("query", ["policy", "cors", "lifecycle", "versioning", "object-lock", "encryption", "publicAccessBlock", "tagging", "website", "notification", "replication", "logging"])
def test_settings_of_absent_features(site, bucket, query):
    r = site.root.put("/%s?%s" % (bucket, query), b"<x/>", [("Content-MD5", md5(b"<x/>"))])
    assert answer(r) == NOT_THERE, r


@pytest.mark.parametrize("query", ["tagging", "retention", "legal-hold"])
def test_object_settings_of_absent_features(site, bucket, query):
    r = site.root.put("/%s/old?%s" % (bucket, query), b"<x/>", [("Content-MD5", md5(b"<x/>"))])
    assert answer(r) == NOT_THERE, r


def test_sse_c_read_is_refused(site, bucket):
    """The object has no such key: 400, as AWS answers."""
    r = site.root.get("/%s/old" % bucket, SSE_C)
    assert answer(r) == (400, "InvalidRequest"), r


def test_form_upload_is_refused(site, bucket):
    before = site.state(bucket)
    form = b"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nold\r\n"
    form += b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nevil\r\n--x--\r\n"
    headers = [("Content-Type", "multipart/form-data; boundary=x")]
    for where in (bucket, "nosuch-" + bucket):
        r = site.root.request("POST", "/" + where, form, headers, auth="none")
        assert answer(r) == NOT_THERE, r
        r = site.root.request("POST", "/" + where, form, headers)
        assert answer(r) == NOT_THERE, r
    assert site.state(bucket) == before


def test_sts_is_refused(site):
    body = b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::1:role/x"
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    r = site.bob.request("POST", "/", body, headers)
    assert answer(r) == NOT_THERE, r
    r = site.bob.request("POST", "/", body, headers, auth="none")
    assert r.status in (403, 501), r


# --- what the administrator may type, and what lies on the disk ---


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "a b", "x" * 65, "caf\u00e9", "a\n", "a\0b", "<x>", 5, None]
)
def test_bad_user_names(site, name):
    import json

    body = json.dumps({"name": name}).encode()
    r = site.root.request("POST", "/-/admin/v1/users", body)
    assert r.status == 400, r


@pytest.mark.parametrize(
    "pair, status",
    [
        ({"id": "TESTROOTUSER", "secret": "12345678"}, 409),  # root's own
        ({"id": "ab", "secret": "12345678"}, 400),
        ({"id": "a/b/c", "secret": "12345678"}, 400),
        ({"id": "a:b", "secret": "12345678"}, 400),
        ({"id": "a,b", "secret": "12345678"}, 400),
        ({"id": "a b", "secret": "12345678"}, 400),
        ({"id": "abc\r\n", "secret": "12345678"}, 400),
        ({"id": "x" * 129, "secret": "12345678"}, 400),
        ({"id": "", "secret": ""}, 400),
        ({"id": "GOODNAME", "secret": ""}, 400),
        ({"id": "GOODNAME", "secret": "short"}, 400),
        ({"id": "GOODNAME", "secret": "x" * 129}, 400),
        ({"id": "GOODNAME"}, 400),
    ],
)
def test_bad_keys(site, pair, status):
    import json

    body = json.dumps(dict(pair, user="alice")).encode()
    r = site.root.request("POST", "/-/admin/v1/keys", body)
    assert r.status == status, r
    assert site.root.get("/").status == 200


def test_a_key_of_another_user_is_not_taken_over(site):
    import json

    body = {"user": "alice", "id": site.bob.access_key, "secret": "12345678"}
    r = site.root.request("POST", "/-/admin/v1/keys", json.dumps(body).encode())
    assert r.status == 409, r
    assert site.bob.get("/").status == 200


def test_root_cannot_be_removed(site):
    for path in ("users/root", "keys/TESTROOTUSER", "users/alice/x", "users/"):
        r = site.root.request("DELETE", "/-/admin/v1/" + path)
        assert 400 <= r.status < 500, r
    assert site.root.get("/").status == 200
    assert site.alice.get("/").status == 200


def test_files_are_the_servers_own(site):
    """Secrets and objects lie in them: nobody else reads them, whatever the
    umask."""
    for folder, _, names in os.walk(site.server.data):
        for name in [folder] + [os.path.join(folder, n) for n in names]:
            mode = os.stat(name).st_mode
            assert mode & 0o077 == 0 or folder == site.server.data, (name, oct(mode))


def test_query_selects_one_operation(site, bucket):
    """Two sub-resources at once: one of them, or an error, but never more than
    the caller may and never the plain operation."""
    before = site.state(bucket)
    for method, query in (
        ("PUT", "acl&policy"),
        ("DELETE", "policy&uploads"),
        ("DELETE", "tagging&versions"),
        ("POST", "delete&uploads"),
    ):
        site.root.request(method, "/%s?%s" % (bucket, query), b"")
        assert site.root.head("/" + bucket).status == 200, query
    assert site.state(bucket) == before


def test_method_is_not_overridden(site, bucket):
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        r = site.root.get("/%s/old" % bucket, [(name, "DELETE")])
        assert r.status == 200, r
        r = site.root.get("/%s/old?_method=DELETE" % bucket)
        assert r.status == 200, r
    assert site.root.get("/%s/old" % bucket).body == OLD


@pytest.mark.parametrize(
    "value, statuses",
    [
        ("bytes=0-0,2-3", (200, 206, 416)),
        ("bytes=" + ",".join(["0-0"] * 5000), (200, 206, 416)),
        ("bytes=-0", (416,)),
        ("bytes=5-2", (200, 416)),
        ("bytes=0-18446744073709551616", (200, 206, 416)),
        ("bytes=18446744073709551616-", (200, 416)),
        ("bytes=9223372036854775807-9223372036854775808", (200, 416)),
        ("bytes=-18446744073709551616", (200, 206, 416)),
        ("octets=0-1", (200, 416)),
        ("bytes=0x0-1", (200, 416)),
        ("bytes=+0-1", (200, 416)),
    ],
)
def test_ranges(site, bucket, value, statuses):
    r = site.root.get("/%s/old" % bucket, [("Range", value)])
    assert r.status in statuses, r
    if r.status == 206:
        assert len(r.body) <= len(OLD) and r["content-range"].startswith("bytes ")
        assert r["x-amz-checksum-crc64nvme"] is None
    elif r.status == 200:
        assert r.body == OLD


def test_name_given_to_another_user(site):
    """A PUT under way, an upload and a part of the old bucket never land in
    the new one of that name; nor does anything of it show."""
    name = unique("again")
    alice, bob = site.alice, site.bob
    assert alice.put("/" + name).status == 200
    r = alice.request("POST", "/%s/mp?uploads" % name)
    upload = tags(r, "UploadId")[0]
    headers = [("Host", alice.host_header), ("Content-Length", "100")]
    alice.sign_v4("PUT", "/%s/k" % name, headers, payload="UNSIGNED-PAYLOAD")
    part = "/%s/mp?partNumber=1&uploadId=%s" % (name, upload)
    more = [("Host", alice.host_header), ("Content-Length", "100")]
    alice.sign_v4("PUT", part, more, payload="UNSIGNED-PAYLOAD")
    with alice.connect() as c, alice.connect() as d:
        c.send(alice.encode("PUT", "/%s/k" % name, headers, b"x" * 50))
        d.send(alice.encode("PUT", part, more, b"x" * 50))
        import time

        time.sleep(0.2)
        r = alice.delete("/" + name)
        if r.status == 409:  # the upload keeps it
            alice.delete("/%s/mp?uploadId=%s" % (name, upload))
            r = alice.delete("/" + name)
        assert r.status == 204, r
        assert bob.put("/" + name).status == 200
        c.send(b"x" * 50)
        assert c.response("PUT").status in (403, 404, 409)
        d.send(b"x" * 50)
        assert d.response("PUT").status in (403, 404, 409)
    assert tags(bob.get("/%s?list-type=2" % name), "Key") == []
    assert tags(bob.get("/%s?uploads" % name), "UploadId") == []
    r = bob.get("/%s/mp?uploadId=%s" % (name, upload))
    assert answer(r) == (404, "NoSuchUpload"), r
    assert answer(alice.get("/%s/k" % name)) == DENIED
    assert bob.delete("/" + name).status == 204
