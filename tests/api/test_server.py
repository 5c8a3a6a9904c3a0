"""`creel server`: first start, names of the environment, signals, refusals."""

import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))

from lib.s3raw import Client  # noqa: E402
from lib.server import ACCESS_KEY, SECRET, Server, binary, free_port  # noqa: E402

NONE = {"CREEL_ROOT_USER": "", "CREEL_ROOT_PASSWORD": ""}


def creel(*args, env=None, check=True, timeout=60):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CREEL_", "MINIO_"))}
    done = subprocess.run(
        [binary()] + [str(a) for a in args],
        env=dict(clean, **(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    text = done.stdout.decode()
    if check:
        assert done.returncode == 0, text
        return text
    return done.returncode, text


def refused(*args, env=None):
    """One line that says what to do, and no server."""
    code, text = creel("server", *args, env=env, check=False)
    assert code != 0
    assert len(text.strip().split("\n")) == 1, text
    return text


def client(server, key=ACCESS_KEY, secret=SECRET):
    return Client("127.0.0.1", server.port, key, secret)


def wait_for(what, server, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, server.tail()
        time.sleep(0.05)


def fetch(url, headers=None):
    try:
        r = urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}))
        return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_version_and_help():
    assert re.fullmatch(r"creel \d+\.\d+\.\d+\n", creel("version"))
    for command in ([], ["server"], ["admin"], ["presign"], ["bench"]):
        assert "usage: creel" in creel(*command, "--help")
    code, text = creel("nonsense", check=False)
    assert code == 2 and "nonsense" in text


def test_daemon_through_its_loader():
    """It begins anew (lib/trim.h), which must not be as its loader."""
    with open(binary(), "rb") as f:
        m = re.search(rb"/lib[0-9]*/[\x21-\x7e]*ld-linux[\x21-\x7e]*", f.read(65536))
    if m is None:
        pytest.skip("linked without a loader")
    done = subprocess.run(
        [m.group().decode(), binary(), "tracker", "--help"],
        env={k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "usage: creel tracker" in done.stdout, done.stderr


@pytest.mark.parametrize("part", ["gateway", "tracker"])
def test_parts_of_the_cluster_refuse_what_they_cannot_use(part, tmp_path):
    assert "usage: creel " + part in creel(part, "--help")
    code, text = creel(part, "--config", str(tmp_path / "none"), check=False)
    assert code != 0 and "none" in text
    code, text = creel(part, str(tmp_path / "a"), str(tmp_path / "b"), check=False)
    assert code != 0 and "director" in text


def test_gateway_names_what_it_misses(tmp_path):
    code, text = creel("gateway", check=False)
    assert code == 2 and "directory" in text
    code, text = creel("gateway", str(tmp_path), check=False)
    assert code == 1 and "trackers" in text
    code, text = creel("gateway", str(tmp_path), "--trackers", "nowhere", check=False)
    assert code == 1 and "HOST:PORT" in text
    code, text = creel("gateway", str(tmp_path), "--trackers", "t1:22122", check=False)
    assert code == 1 and "secret" in text


def test_first_start_makes_credentials_once():
    with Server(env=NONE) as s:
        path = os.path.join(s.data, "credentials.env")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        text = open(path).read()
        m = re.fullmatch(
            r"CREEL_ROOT_USER=(\w{20})\nCREEL_ROOT_PASSWORD=(\w{40})\n", text
        )
        assert m
        # Not a terminal: the path is shown, the secret is not.
        wait_for(lambda: "s3 ls" in s.tail(), s)
        assert path in s.tail() and m.group(2) not in s.tail()
        assert client(s, *m.groups()).get("/").status == 200
        s.stop()
        s.start()
        assert open(path).read() == text
        assert client(s, *m.groups()).get("/").status == 200


MINIO = {"MINIO_ROOT_USER": "from-minio", "MINIO_ROOT_PASSWORD": "change-me-now"}


@pytest.mark.parametrize(
    "folder, env",
    [
        ("plain", {}),
        ("it's a folder", {}),
        ("plain", {"CREEL_ROOT_USER": "own", "CREEL_ROOT_PASSWORD": "$ecret & more"}),
        ("plain", MINIO),
    ],
)
def test_ready_line_works_as_it_is_printed(tmp_path, folder, env):
    with Server(data=str(tmp_path / folder), env={**NONE, **env}) as s:
        wait_for(lambda: "s3 ls" in s.tail(), s)
        line = re.search(r"^  try +(.*)$", s.tail(), re.M).group(1)
        done = subprocess.run(
            ["bash", "-c", line.replace(" aws ", " /usr/bin/aws ")],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("prefix", ["CREEL", "MINIO"])
@pytest.mark.parametrize("how", ["value", "file"])
def test_credentials_from_the_environment(prefix, how, tmp_path):
    env = dict(NONE)
    for name, value in (("USER", "someone"), ("PASSWORD", "some-password")):
        if how == "value":
            env["%s_ROOT_%s" % (prefix, name)] = value
        else:
            (tmp_path / name).write_text(value + "\n")
            env["%s_ROOT_%s_FILE" % (prefix, name)] = str(tmp_path / name)
    env = {k: v for k, v in env.items() if v or prefix == "MINIO"}
    if how == "file":
        env.update(NONE)
    with Server(env=env) as s:
        assert client(s, "someone", "some-password").get("/").status == 200
        assert client(s, "someone", "other-password").get("/").status == 403
        assert not os.path.exists(os.path.join(s.data, "credentials.env"))


def test_credentials_that_are_refused(tmp_path):
    assert "8" in refused(
        tmp_path / "d",
        env={"CREEL_ROOT_USER": "user", "CREEL_ROOT_PASSWORD": "1234567"},
    )
    assert "CREEL_ROOT_PASSWORD" in refused(
        tmp_path / "d", env={"CREEL_ROOT_USER": "user"}
    )
    assert "name" in refused(
        tmp_path / "d",
        env={"CREEL_ROOT_USER": "a/b", "CREEL_ROOT_PASSWORD": "12345678"},
    )
    assert not os.path.exists(tmp_path / "d" / "credentials.env")


@pytest.mark.parametrize(
    "args, env",
    [
        (["--address", "127.0.0.1"], {}),
        (["--address", ":http"], {}),
        (["--address", ""], {}),
        (["--address", "127.0.0.1:1,::1:9000"], {}),
        (["--region", ""], {}),
        (["--max-connections", "many"], {}),
        ([], {"CREEL_ADDRESS": "9000"}),
        ([], {"CREEL_ROOT_USER": "user"}),
        ([], {"MINIO_ROOT_PASSWORD": "12345678"}),
    ],
)
@pytest.mark.parametrize("part", ["server", "gateway"])
def test_what_is_wrong_at_sight_makes_no_directory(tmp_path, part, args, env):
    code, text = creel(part, tmp_path / "d", *args, env=env, check=False)
    assert code == 2 and len(text.strip().split("\n")) == 1, (code, text)
    assert not (tmp_path / "d").exists()


def test_storage_and_tracker_addresses_at_sight(tmp_path):
    for part, flag in (
        ("storage", "--storage-address"),
        ("storage", "--http-address"),
        ("tracker", "--tracker-address"),
        ("tracker", "--tracker-wide-address"),
    ):
        code, text = creel(part, tmp_path / "d", flag, "127.0.0.1", check=False)
        assert code == 2 and flag in text and "[HOST]:PORT" in text, text
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "args, said",
    [
        (["presign", "--method", "FOO", "b/k"], "--method"),
        (["presign", "--region", "", "b/k"], "--region"),
        (["presign", "--region", "a/b", "b/k"], "--region"),
        (["presign", "--expires", "1h", "b/k"], "--expires"),
        (["presign", "/b/k"], "bucket"),
        (["presign", "s3://"], "bucket"),
        (["presign", "b/k", "b/l"], "one"),
        (["presign", "--bogus", "b/k"], "--bogus"),
        (["presign", "-x", "b/k"], "-x"),
        (["presign", "b/k", "--method"], "--method"),
        (["admin", "--bogus", "status"], "--bogus"),
        (["admin", "status", "--endpoint"], "--endpoint"),
        (["admin", "status", "--json=x"], "--json"),
        (["admin", "presign", "--bogus", "b/k"], "--bogus"),
        (["bench", "put", "--bogus"], "--bogus"),
        (["bench", "put", "--size"], "--size"),
    ],
)
def test_options_that_are_refused(args, said):
    code, text = creel(*args, env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, check=False)  # fmt: skip
    assert code == 2 and said in text, text
    assert len(text.strip().split("\n")) == 1, text
    assert text.startswith("creel: ") and "--help`" in text


def test_presign_takes_a_method_in_any_case():
    with Server() as s:
        env = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        client(s).put("/upper")
        args = ["presign", "--endpoint", s.endpoint, "--method", "put", "upper/k"]
        url = creel(*args, env=env).strip()
        target = url[len(s.endpoint) :]
        assert client(s).request("PUT", target, b"x", auth="none").status == 200


def test_command_lines_that_are_refused(tmp_path):
    assert "directory" in refused()
    assert "--nonsense" in refused(tmp_path, "--nonsense")
    assert "address" in refused(
        tmp_path / "d", "--address", "nonsense:port",
        env={"CREEL_ROOT_USER": "user", "CREEL_ROOT_PASSWORD": "12345678"},
    )  # fmt: skip


def test_a_directory_that_cannot_be_used(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    assert refused(file) == "creel: server: %s is not a directory\n" % file
    if os.geteuid() != 0:
        return
    os.chmod(tmp_path, 0o755)
    folder = tmp_path / "roots"
    folder.mkdir(mode=0o755)
    program = tmp_path / "creel"
    with open(binary(), "rb") as f:
        program.write_bytes(f.read())
    program.chmod(0o755)
    for parent in tmp_path.parents:  # pytest's own folders are 0700
        if parent != parent.parent and os.stat(parent).st_uid == 0:
            if stat.S_IMODE(os.stat(parent).st_mode) & 0o011 != 0o011:
                os.chmod(parent, os.stat(parent).st_mode | 0o011)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         str(program), "server", str(folder)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=30,
    )  # fmt: skip
    text = done.stdout.decode()
    assert done.returncode == 1, text
    assert str(folder) in text and "65534" in text
    assert len(text.strip().split("\n")) == 1, text


def test_two_servers_do_not_share_a_directory():
    with Server() as s:
        env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
        text = refused(s.data, "--address", "127.0.0.1:%d" % free_port(), env=env)
        assert s.data in text


def test_a_lost_index_is_not_replaced_by_an_empty_one(tmp_path):
    """Nobody is told that there is nothing; and a rebuild brings it back."""
    env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
    with Server() as s:
        c = client(s)
        assert c.put("/kept").status == 200
        assert c.put("/kept/key", b"value").status == 200
        s.stop()
        os.rename(os.path.join(s.data, "index"), tmp_path / "index")
        address = "127.0.0.1:%d" % free_port()
        text = refused(s.data, "--address", address, env=env)
        assert "rebuild index" in text and s.data in text
        text = refused(s.data, "--index", tmp_path / "new", "--address", address, env=env)
        assert "rebuild index" in text and str(tmp_path / "new") in text
        creel("admin", "rebuild", "index", s.data)
        s.start()
        assert client(s).get("/kept/key").body == b"value"


def test_directories_in_another_order(tmp_path):
    """The index is where it was: nothing is made beside it, no rebuild asked for."""
    env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    with Server(first, args=[second]) as s:
        assert client(s).put("/kept").status == 200
    address = "127.0.0.1:%d" % free_port()
    want = "the index is in %s/index: name %s first" % (first, first)
    assert want in refused(second, first, "--address", address, env=env)
    other = str(tmp_path / "other")
    args = [first, second, "--index", other, "--address", address]
    assert want in refused(*args, env=env)
    assert "index" not in os.listdir(second) and "credentials.env" not in os.listdir(second)
    with Server(first, args=[second]) as s:
        assert client(s).head("/kept").status == 200
    os.rename(os.path.join(first, "index"), os.path.join(other, "index"))
    with Server(first, args=[second, "--index", other]) as s:
        assert client(s).head("/kept").status == 200


def test_a_lost_disk_is_replaced_by_command(tmp_path):
    """What was on it is lost and said to be; the rest is served, and all is as
    before for what is written again. The index can still be rebuilt."""
    env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    keys = ["/kept/%02d" % i for i in range(40)]
    body = {k: (k * 3000).encode() for k in keys}
    with Server(first, args=[second]) as s:
        assert client(s).put("/kept").status == 200
        for k in keys:
            assert client(s).put(k, body[k]).status == 200
    shutil.rmtree(second)
    text = refused(first, second, "--address", "127.0.0.1:%d" % free_port(), env=env)
    assert second in text and "--replace-blank" in text
    with Server(first, args=[second, "--replace-blank"]) as s:
        c, lost = client(s), []
        for k in keys:
            try:
                r = c.get(k)
                assert r.status in (200, 500), r
                if r.status == 200:
                    assert r.body == body[k]
            except EOFError:
                r = None
            if r is None or r.status != 200:
                lost.append(k)
        assert 0 < len(lost) < len(keys)
        admin = {"CREEL_ENDPOINT": s.endpoint, **env}
        code, text = creel("admin", "verify", env=admin, check=False)
        assert code == 1
        named = re.findall(r'"key": "(\d+)"', text)
        assert sorted(named) == [k[6:] for k in lost], text
        for k in lost[1:]:
            assert c.put(k, body[k]).status == 200
        assert c.delete(lost[0]).status == 204
        creel("admin", "collect", env=admin)
        creel("admin", "verify", "--deep", env=admin)
    with Server(first, args=[second, "--index-archive-interval", "1s"]) as s:
        assert client(s).put("/kept/last", b"x").status == 200
        time.sleep(2.5)
    shutil.rmtree(os.path.join(first, "index"))
    creel("admin", "rebuild", "index", first, second)
    with Server(first, args=[second]) as s:
        for k in keys:
            r = client(s).get(k)
            if k == lost[0]:
                assert r.status == 404
            else:
                assert (r.status, r.body) == (200, body[k])
        assert client(s).get("/kept/last").body == b"x"


def test_the_disk_of_the_index_is_lost(tmp_path):
    """The copy of the index is on the other store path: all buckets and keys come
    back, and the objects whose bytes were there."""
    env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    keys = ["/kept/%02d" % i for i in range(40)]
    body = {k: (k * 3000).encode() for k in keys}
    archive = ["--index-archive-interval", "1s"]
    with Server(first, args=[second] + archive) as s:
        c = client(s)
        assert c.put("/kept").status == 200
        for n in range(4):
            for k in keys:
                assert c.put(k, body[k]).status == 200
            time.sleep(1.2)
    shutil.rmtree(first)
    args = [first, second, "--address", "127.0.0.1:%d" % free_port()]
    text = refused(*args, env=env)
    assert "--replace-blank" in text
    assert "rebuild index" in creel("server", *args, "--replace-blank", env=env, check=False)[1]
    creel("admin", "rebuild", "index", first, second)
    with Server(first, args=[second]) as s:
        c, whole = client(s), 0
        assert all(c.head(k).status == 200 for k in keys)
        for k in keys:
            try:
                r = c.get(k)
            except EOFError:
                continue
            assert r.status == 500 or r.body == body[k]
            whole += r.status == 200
        assert 0 < whole < len(keys)


def test_rebuild_makes_no_store_path(tmp_path):
    for what in ("files", "index"):
        code, text = creel("admin", "rebuild", what, tmp_path / "none", check=False)
        assert code == 1 and str(tmp_path / "none") in text
        assert len(text.strip().split("\n")) == 1
    assert not os.path.exists(tmp_path / "none")


def test_minio_data_is_left_alone(tmp_path):
    (tmp_path / ".minio.sys").mkdir()
    assert "MinIO" in refused(tmp_path)
    assert os.listdir(tmp_path) == [".minio.sys"]


def test_an_address_in_use(tmp_path):
    env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
    with Server() as s:
        address = "127.0.0.1:%d" % s.port
        text = refused(tmp_path / "d", "--address", address, env=env)
        assert text == "creel: server: cannot listen on %s: Address already in use\n" % address


def test_certificates_that_are_not_there(tmp_path):
    env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
    args = ["--address", "127.0.0.1:%d" % free_port(), "--tls-cert", "/none"]
    assert "tls_key" in refused(tmp_path / "d", *args, env=env)
    text = refused(tmp_path / "d", *args, "--tls-key", "/none", env=env)
    assert text == "creel: server: /none: No such file or directory\n"


def test_minio_command_line():
    with Server(args=["--console-address", ":9001"]) as s:
        for path in ("live", "ready", "cluster"):
            assert fetch(s.endpoint + "/minio/health/" + path)[0] == 200
        assert client(s).put("/minio").status in (400, 404)  # reserved


def test_addresses_regions_domains():
    other = free_port()
    args = ["--address", "127.0.0.1:%d" % other, "--region", "eu-somewhere-1"]
    args += ["--domain", "s3.test"]
    with Server(args=args) as s:
        c = client(s)
        assert c.put("/located").status == 200
        assert b"eu-somewhere-1" in c.get("/located?location").body
        assert c.head("/located")["x-amz-bucket-region"] == "eu-somewhere-1"
        assert Client("127.0.0.1", other, ACCESS_KEY, SECRET).get("/").status == 200
        assert c.put("/located/key", b"v").status == 200
        r = c.get("/key", headers=[("Host", "located.s3.test")])
        assert (r.status, r.body) == (200, b"v")


def test_health():
    with Server() as s:
        assert fetch(s.endpoint + "/-/health/live")[0] == 200
        assert fetch(s.endpoint + "/-/health/ready")[0] == 200
        env = {"CREEL_ENDPOINT": s.endpoint}
        creel("admin", "health", env=env)
        creel("admin", "health", "--live", env=env)
    code, _ = creel("admin", "health", env=env, check=False)
    assert code == 1


@pytest.mark.parametrize(
    "answer, status",
    [
        (b"\0" * 8 + b"\x64\0", 0),
        (b"\0" * 8 + b"\x64\x0d", 1),  # refused
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 1),
        (b"", 1),
        (None, 1),  # silence
    ],
)
def test_health_of_a_node(answer, status):
    """FastDFS's ACTIVE_TEST: ten bytes there, ten bytes back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked = []

        def peer():
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(100))
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=peer)
        thread.start()
        node = "127.0.0.1:%d" % listener.getsockname()[1]
        begun = time.monotonic()
        code, _ = creel("admin", "health", "--node", node, check=False)
        assert code == status and time.monotonic() - begun < 10
        thread.join(10)
        assert asked == [b"\0" * 8 + b"\x6f\0"]
    code, text = creel("admin", "health", "--node", node, check=False)
    assert code == 1 and "refused" in text
    assert creel("admin", "health", "--node", "no port", check=False)[0] == 2


def test_metrics():
    with Server() as s:
        c = client(s)
        c.put("/metered")
        c.put("/metered/key", b"x" * 1000)
        c.get("/metered/key")
        c.get("/metered/none")
        url = s.endpoint + "/-/metrics"
        assert fetch(url)[0] == 401
        assert fetch(url, {"Authorization": "Bearer wrong"})[0] == 401
        path = os.path.join(s.data, "metrics.token")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        token = open(path).read().strip()
        code, text = fetch(url, {"Authorization": "Bearer " + token})
        assert code == 200
        assert re.search(
            r'^creel_requests_total\{operation="GetObject",code="200"\} 1$', text, re.M
        )
        assert re.search(
            r'^creel_requests_total\{operation="GetObject",code="404"\} 1$', text, re.M
        )
        assert re.search(
            r'^creel_received_bytes_total\{operation="PutObject"\} 1000$', text, re.M
        )
        assert 'creel_path_files{path="%s"} 1' % s.data in text
        assert "creel_request_duration_seconds_bucket" in text
        assert "metered" not in text.replace(s.data, "")
    for args, want in (
        (["--metrics-public"], 200),
        (["--metrics-public", "yes"], 200),
        (["--metrics-public", "no"], 401),
        (["--no-metrics-public"], 401),
    ):
        with Server(args=args) as s:
            assert fetch(s.endpoint + "/-/metrics")[0] == want
    assert not os.path.exists("yes")  # not a store path either


def test_sighup_reads_settings_again(tmp_path):
    conf = tmp_path / "conf"
    conf.write_text("metrics_public = no\n")
    with Server(args=["--config", str(conf)]) as s:
        url = s.endpoint + "/-/metrics"
        assert fetch(url)[0] == 401
        conf.write_text("metrics_public = yes\n")
        s.process.send_signal(signal.SIGHUP)
        wait_for(lambda: fetch(url)[0] == 200, s)
        conf.write_text("nonsense = yes\n")
        s.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "unchanged" in s.tail(), s)
        assert fetch(url)[0] == 200


def test_sighup_changes_the_store_too(tmp_path):
    conf = tmp_path / "conf"
    conf.write_text("reserved_space = 60T\n")
    with Server(args=["--config", str(conf)]) as s:
        c = client(s)
        assert c.put("/full").status == 200
        assert c.put("/full/key", b"x" * 1000).status == 507
        conf.write_text("reserved_space = 1M\nscrub_rate = 0\n")
        s.process.send_signal(signal.SIGHUP)
        wait_for(lambda: c.put("/full/key", b"x" * 1000).status == 200, s)


def certificate(folder, name):
    crt, key = str(folder / "crt"), str(folder / "key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", crt,
         "-days", "1", "-subj", "/CN=" + name],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return crt, key


def test_sighup_takes_a_renewed_certificate(tmp_path):
    with Server(tls=certificate(tmp_path, "first")) as s:
        address = ("127.0.0.1", s.port)
        first = ssl.get_server_certificate(address)
        with Client(*address, ACCESS_KEY, SECRET, tls=True).connect() as kept:
            certificate(tmp_path, "second")
            assert ssl.get_server_certificate(address) == first
            s.process.send_signal(signal.SIGHUP)
            wait_for(lambda: ssl.get_server_certificate(address) != first, s)
            second = ssl.get_server_certificate(address)
            kept.send(b"GET /-/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
            assert kept.response().status == 200
            (tmp_path / "crt").write_text("not a certificate")
            s.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "old certificate stays" in s.tail(), s)
            assert ssl.get_server_certificate(address) == second


def test_sigterm_lets_a_request_finish():
    with Server() as s:
        c = client(s)
        c.put("/slow")
        body = os.urandom(200000)
        headers = [("Host", c.host_header), ("Content-Length", str(len(body)))]
        c.sign_v4("PUT", "/slow/key", headers, hashlib.sha256(body).hexdigest())
        with c.connect() as k:
            k.send(c.encode("PUT", "/slow/key", headers, body[:100000]))
            time.sleep(0.3)
            s.process.send_signal(signal.SIGTERM)
            end = time.monotonic() + 5
            while True:  # the listener goes first
                try:
                    with socket.create_connection(("127.0.0.1", s.port), 1) as probe:
                        probe.sendall(b"GET /-/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
                        probe.settimeout(1)
                        if b" 503 " in probe.recv(100):
                            break
                except OSError:
                    break
                assert time.monotonic() < end
                time.sleep(0.05)
            k.send(body[100000:])
            r = k.response("PUT")
            assert r is not None and r.status == 200, r
        assert s.process.wait(15) == 0
        s.process = None
        s.start()
        assert client(s).get("/slow/key").body == body


def test_second_sigterm_cuts():
    with Server(args=["--stop-timeout", "60s"]) as s:
        c = client(s)
        c.put("/slow")
        headers = [("Host", c.host_header), ("Content-Length", "200000")]
        c.sign_v4("PUT", "/slow/key", headers, "UNSIGNED-PAYLOAD")
        with c.connect() as k:
            k.send(c.encode("PUT", "/slow/key", headers, b"x" * 1000))
            time.sleep(0.3)
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert s.process.poll() is None
            s.process.send_signal(signal.SIGTERM)
            assert s.process.wait(10) == 0
        s.process = None


def test_settings_sample_is_what_is_committed():
    with open(os.path.join(TOP, "conf", "server.conf")) as f:
        assert f.read() == creel("server", "--sample-config")


def test_clients_during_a_restart_lose_nothing():
    """What was answered before SIGTERM is there after it."""
    with Server() as s:
        client(s).put("/kept")
        done, stop = [], threading.Event()

        def work(n):
            c, i = client(s), 0
            while not stop.is_set():
                key = "/kept/%d-%d" % (n, i)
                try:
                    if c.put(key, key.encode()).status == 200:
                        done.append(key)
                except (OSError, EOFError):
                    c.close()
                i += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        time.sleep(0.5)
        s.stop()
        stop.set()
        for t in threads:
            t.join()
        s.start()
        c = client(s)
        assert done
        for key in done:
            assert c.get(key).body == key.encode()
