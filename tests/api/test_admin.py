"""`creel admin` and the API below /-/admin/v1/."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))

from lib.s3raw import Client  # noqa: E402
from lib.server import ACCESS_KEY, SECRET, Server, binary  # noqa: E402


@pytest.fixture(scope="module")
def server():
    with Server(args=["--index-archive-interval", "1s"]) as s:
        yield s


def admin(server, *args, check=True, env=None):
    full = {"PATH": "/usr/bin:/bin", "CREEL_ENDPOINT": server.endpoint}
    full.update(CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)
    full.update(env or {})
    done = subprocess.run(
        [binary(), "admin"] + [str(a) for a in args],
        env=full,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    if check:
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def root(server):
    return Client("127.0.0.1", server.port, ACCESS_KEY, SECRET)


def new_user(server, name):
    admin(server, "user", "add", name)
    k = json.loads(admin(server, "key", "add", name))
    return Client("127.0.0.1", server.port, k["id"], k["secret"]), k


def test_a_user_has_its_own_buckets(server):
    alice, _ = new_user(server, "alice")
    bob, _ = new_user(server, "bob")
    assert alice.put("/alices").status == 200
    assert alice.put("/alices/key", b"hers").status == 200
    assert b"alices" in alice.get("/").body
    assert b"alices" not in bob.get("/").body
    assert bob.get("/alices/key").code == "AccessDenied"
    assert bob.put("/alices/key", b"his").code == "AccessDenied"
    assert bob.delete("/alices/key").code == "AccessDenied"
    assert bob.put("/alices").code == "BucketAlreadyExists"
    assert root(server).get("/alices/key").body == b"hers"
    code, text = admin(server, "user", "remove", "alice", check=False)
    assert code == 1 and "bucket" in text


def test_keys_come_and_go_at_once(server):
    carol, key = new_user(server, "carol")
    assert len(key["id"]) == 20 and len(key["secret"]) == 40
    assert carol.get("/").status == 200
    listed = json.loads(admin(server, "key", "list", "carol", "--json"))["keys"]
    assert [k["id"] for k in listed] == [key["id"]]
    assert "secret" not in listed[0]
    given = json.loads(
        admin(server, "key", "add", "carol", "--id", "GIVENKEY", "--secret", "given-secret")
    )
    assert given["id"] == "GIVENKEY"
    mine = Client("127.0.0.1", server.port, "GIVENKEY", "given-secret")
    assert mine.get("/").status == 200
    code, text = admin(
        server, "key", "add", "bob2", "--id", "X", check=False
    )  # half a pair
    assert code == 2 and "--secret" in text
    admin(server, "key", "remove", key["id"])
    assert carol.get("/").code == "InvalidAccessKeyId"
    assert mine.get("/").status == 200
    admin(server, "user", "remove", "carol")
    assert mine.get("/").code == "InvalidAccessKeyId"


def test_errors_are_told(server):
    for words in (
        ("user", "remove", "nobody"),
        ("key", "add", "nobody"),
        ("key", "list", "nobody"),
        ("key", "remove", "NOSUCHKEY"),
        ("user", "add", "bad/name\n"),
    ):
        code, text = admin(server, *words, check=False)
        assert code == 1 and text.startswith("creel: admin: "), (words, text)
    admin(server, "user", "add", "twice")
    assert admin(server, "user", "add", "twice", check=False)[0] == 1
    assert admin(server, "no", "such", check=False)[0] == 2
    code, text = admin(server, "status", check=False,
                       env={"CREEL_ROOT_PASSWORD": "wrong-password"})  # fmt: skip
    assert code == 1


def test_only_root_may(server):
    dave, _ = new_user(server, "dave")
    paths = [("GET", "status"), ("GET", "users"), ("POST", "scrub"), ("GET", "none")]
    for method, path in paths:
        path = "/-/admin/v1/" + path
        assert dave.request(method, path).status == 403
        r = root(server).request(method, path, auth="none")
        assert r.status == 403, r
    # The body is covered by the signature.
    body = b'{"name":"mallory"}'
    r = root(server).request(
        "POST", "/-/admin/v1/users", body,
        tamper=lambda m, t, h, b: (m, t, h, b.replace(b"mallory", b"mallary")),
    )  # fmt: skip
    assert r.status in (400, 403)
    r = root(server).request("POST", "/-/admin/v1/users", body, payload="UNSIGNED-PAYLOAD")
    assert r.status in (400, 403)
    assert "mallory" not in admin(server, "user", "list")


def test_api_answers(server):
    c = root(server)
    assert c.get("/-/admin/v1/nothing").status == 404
    assert c.delete("/-/admin/v1/status").status == 405
    assert c.get("/-/nothing").status == 404
    r = c.request("POST", "/-/admin/v1/users", b"not json")
    assert r.status == 400 and json.loads(r.body)["message"]
    r = c.request("POST", "/-/admin/v1/users", b" " * 100000)
    assert r.status == 400
    r = c.request("POST", "/-/admin/v1/backup", b'{"dir":"relative"}')
    assert r.status == 400
    assert json.loads(c.get("/-/admin/v1/status").body)["state"] == "ready"


def test_status_and_bucket_list(server):
    c = root(server)
    c.put("/counted")
    for i in range(5):
        c.put("/counted/%d" % i, b"x" * 1000)
    j = json.loads(admin(server, "bucket", "list", "--json"))
    mine = [b for b in j["buckets"] if b["name"] == "counted"][0]
    assert (mine["objects"], mine["bytes"]) == (5, 5000)
    assert "counted" in admin(server, "bucket", "list")
    text = admin(server, "status")
    assert "ready" in text and server.data in text
    j = json.loads(admin(server, "status", "--json"))
    assert j["objects"]["buckets"] == len(
        json.loads(admin(server, "bucket", "list", "--json"))["buckets"]
    )
    assert j["paths"][0]["files"] >= 5 and j["http"]["max_connections"] == 1000


def test_jobs(server):
    c = root(server)
    c.put("/worked")
    for i in range(20):
        c.put("/worked/%d" % i, os.urandom(3000))
    for i in range(10):
        c.delete("/worked/%d" % i)
    assert json.loads(admin(server, "scrub"))["errors"] == 0
    admin(server, "collect")
    admin(server, "compact")
    j = json.loads(admin(server, "verify", "--deep"))
    assert j["bad"] == 0 and j["objects"] >= 10
    swept = json.loads(admin(server, "sweep"))
    assert (swept["unknown"], swept["trashed"]) == (0, 0)


def test_presign(server):
    c = root(server)
    c.put("/pre")
    c.put("/pre/a%20b%2Bc", b"signed")
    url = admin(server, "presign", "s3://pre/a b+c").strip()
    assert urllib.request.urlopen(url).read() == b"signed"
    url = admin(server, "presign", "--param", "response-content-type=x/y",
                "--expires", "60", "pre/a b+c").strip()  # fmt: skip
    assert urllib.request.urlopen(url).headers["content-type"] == "x/y"
    url = admin(server, "presign", "--method", "PUT", "pre/put").strip()
    urllib.request.urlopen(urllib.request.Request(url, b"by url", method="PUT"))
    assert c.get("/pre/put").body == b"by url"
    assert admin(server, "presign", "--expires", "604801", "a/b", check=False)[0] == 2


def put_state(c):
    c.put("/state")
    for i in range(50):
        c.put("/state/%d" % i, b"%d" % i)
    for i in range(10):
        c.put("/state/%d" % i, b"again %d" % i)
        c.delete("/state/%d" % (i + 20))


def check_state(c):
    for i in range(50):
        r = c.get("/state/%d" % i)
        if 20 <= i < 30:
            assert r.status == 404
        else:
            assert r.body == (b"again %d" % i if i < 10 else b"%d" % i)


def test_backup_is_an_index(tmp_path):
    with Server() as s:
        put_state(root(s))
        new_user(s, "erin")
        admin(s, "backup", tmp_path / "copy")
        body = json.dumps({"dir": str(tmp_path / "copy")}).encode()
        r = root(s).request("POST", "/-/admin/v1/backup", body)
        assert (r.status, json.loads(r.body)["code"]) == (409, "AlreadyExists")
        root(s).put("/later")
        s.stop()
        shutil.rmtree(os.path.join(s.data, "index"))
        shutil.copytree(tmp_path / "copy", os.path.join(s.data, "index"))
        s.start()
        check_state(root(s))
        assert "erin" in admin(s, "user", "list")
        assert root(s).head("/later").status == 404
        assert json.loads(admin(s, "verify", "--deep"))["bad"] == 0


def test_lost_index_and_lost_file_index_are_made_again():
    with Server(args=["--index-archive-interval", "1s"]) as s:
        put_state(root(s))
        _, key = new_user(s, "frank")
        s.stop()  # a clean stop archives
        index = os.path.join(s.data, "index")
        shutil.rmtree(index)
        env = {"PATH": "/usr/bin:/bin"}
        for what in ("files", "index"):
            done = subprocess.run(
                [binary(), "admin", "rebuild", what, s.data],
                env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout
        # An index that is there is not replaced.
        done = subprocess.run(
            [binary(), "admin", "rebuild", "index", s.data],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1
        s.start()
        check_state(root(s))
        frank = Client("127.0.0.1", s.port, key["id"], key["secret"])
        assert frank.get("/").status == 200
        assert json.loads(admin(s, "verify", "--deep"))["bad"] == 0


def test_sweep_of_a_rebuilt_index_waits_for_a_confirmation():
    with Server(args=["--index-archive-interval", "1s"]) as s:
        put_state(root(s))
        s.stop()
        s.args = ["--index-archive-interval", "1h"]
        s.start()
        for i in range(5):
            assert root(s).put("/state/late-%d" % i, b"not archived").status == 200
        s.kill()
        shutil.rmtree(os.path.join(s.data, "index"))
        done = subprocess.run(
            [binary(), "admin", "rebuild", "index", s.data],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        s.start()
        check_state(root(s))
        assert root(s).head("/state/late-0").status == 404
        swept = json.loads(admin(s, "sweep"))
        assert swept["needs_confirm"] is True and swept["trashed"] == 0
        assert swept["unknown"] == 5
        swept = json.loads(admin(s, "sweep", "--confirm"))
        assert swept["needs_confirm"] is False and swept["trashed"] == 5
        check_state(root(s))
        assert json.loads(admin(s, "verify", "--deep"))["bad"] == 0


def test_a_new_secret(tmp_path):
    path = tmp_path / "secret"
    command = [binary(), "admin", "secret", "new", str(path)]
    assert subprocess.run(command, env={}).returncode == 0
    text = path.read_text()
    assert len(text) == 65 and int(text, 16) > 0
    assert path.stat().st_mode & 0o777 == 0o600
    # Never over one that may be in use.
    done = subprocess.run(command, env={}, stderr=subprocess.PIPE)
    assert done.returncode != 0 and b"exists" in done.stderr
    assert path.read_text() == text
