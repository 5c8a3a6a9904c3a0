"""Nothing stays behind: not of uploads that were given up (P4), not of what was
deleted; memory, descriptors and threads come back to what they were (P6)."""

import json
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, Server, binary
from workload import Load

ENV = {
    "CREEL_SMALL_FILE_LIMIT": "256KiB",
    "CREEL_VOLUME_SIZE": "2MiB",
    "CREEL_INDEX_ARCHIVE_INTERVAL": "200ms",
    "CREEL_INDEX_SNAPSHOT_EVERY": "1MiB",
    "CREEL_COMPACT_INTERVAL": "1h",
    "CREEL_MAX_CONNECTIONS": "300",
    "CREEL_KEEPALIVE_TIMEOUT": "1s",
}
MIB = 1024 * 1024


def connect(server):
    return Client("127.0.0.1", server.port, ACCESS_KEY, SECRET)


def admin(server, *args):
    env = dict(os.environ, CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)
    done = subprocess.run(
        [binary(), "admin", "--endpoint", server.endpoint, "--json"] + list(args),
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def metrics(server):
    with open(server.data + "/metrics.token") as f:
        token = f.read().strip()
    client = connect(server)
    r = client.get("/-/metrics", [("Authorization", "Bearer " + token)], auth="none")
    client.close()
    assert r.status == 200
    values = {}
    for line in r.body.decode().splitlines():
        m = re.match(r"([a-z_]+)(?:\{path=.*\})? (\S+)$", line)
        if m:
            values[m.group(1)] = float(m.group(2))
    return values


def process(server):
    """(descriptors, threads, anonymous KiB) of the server."""
    folder = "/proc/%d" % server.process.pid
    with open(folder + "/status") as f:
        status = f.read()
    return (
        len(os.listdir(folder + "/fd")),
        int(re.search(r"^Threads:\s+(\d+)", status, re.M).group(1)),
        int(re.search(r"^RssAnon:\s+(\d+)", status, re.M).group(1)),
    )


def files(folder):
    return [f for _, _, names in os.walk(folder) for f in names]


def disk_usage(folder):
    return sum(
        os.stat(os.path.join(top, f)).st_blocks * 512
        for top, _, names in os.walk(folder)
        for f in names
    )


def until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(what() if callable(what) else what)


def begin_put(server, target, size, sent):
    """A signed PUT of @size bytes of which @sent are sent."""
    client = connect(server)
    headers = [("Host", client.host_header), ("Content-Length", str(size))]
    client.sign_v4("PUT", target, headers, payload="UNSIGNED-PAYLOAD")
    sock = socket.create_connection(("127.0.0.1", server.port), 30)
    sock.sendall(client.encode("PUT", target, headers, b"x" * sent))
    return sock


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def stored(server):
    """Files of objects, once what is garbage has gone."""
    admin(server, "collect")
    return admin(server, "sweep")


def test_abandoned_uploads():
    with Server(env=ENV) as server:
        client = connect(server)
        assert client.put("/box").status == 200
        assert client.put("/box/kept", b"k" * 5000).status == 200
        r = client.request("POST", "/box/parts?uploads=")
        upload = r.body.decode().split("<UploadId>")[1].split("<")[0]
        part = "/box/parts?partNumber=%%d&uploadId=%s" % upload
        assert client.put(part % 1, b"p" * 300000, payload="UNSIGNED-PAYLOAD").status == 200
        before = stored(server)
        # What is open in the end: the index's next segment, made on its own after
        # the start, and this connection, which may have been idle for too long.
        until(
            lambda: len(files(server.data + "/index/log")) >= 2,
            "the index has no next segment",
        )
        assert client.get("/box/kept").body == b"k" * 5000
        idle = process(server)

        # 200 at once that send nearly all of 1 MiB, 5 GiB announced for some
        socks = []
        for i in range(200):
            target = part % (i + 2) if i % 3 == 0 else "/box/gone%d" % i
            size = 5 * 1024 * MIB if i % 10 == 9 else MIB
            socks.append(begin_put(server, target, size, MIB - 1000))
        client.close()
        until(
            lambda: metrics(server)["creel_http_connections"] >= 200,
            "200 uploads are not under way",
        )
        time.sleep(0.5)
        _, _, anon = process(server)
        # a body in one piece at most, and not beyond the budget of them all
        assert anon - idle[2] < 200 * 1100, "KiB: %d, %d" % (anon, idle[2])
        assert client.get("/box/kept").body == b"k" * 5000
        assert admin(server, "sweep", "--confirm")["unknown"] == 0  # all in progress

        for i, sock in enumerate(socks):
            reset(sock) if i % 2 else sock.close()
        until(
            lambda: metrics(server)["creel_http_connections"] <= 1,
            "connections stay",
        )
        until(lambda: not files(server.data + "/tmp"), files(server.data + "/tmp"))
        assert client.get("/box/kept").body == b"k" * 5000
        r = client.get("/box?list-type=2")
        assert r.body.count(b"<Key>") == 1
        r = client.get("/box/parts?uploadId=" + upload)
        assert r.body.count(b"<PartNumber>") == 1
        after = stored(server)
        assert after["unknown"] == 0 and after["seen"] == before["seen"]
        client.close()

        def is_idle():
            now = process(server)
            return now[0] <= idle[0] and now[1] <= idle[1] and now[2] < idle[2] + 16384

        until(is_idle, lambda: "%s was %s" % (process(server), idle))

        assert client.delete("/box/parts?uploadId=" + upload).status == 204
        assert stored(server)["seen"] == before["seen"] - 1
        client.close()


def test_space_comes_back():
    with Server(env=ENV) as server:
        load = Load(lambda: connect(server), time.monotonic, bucket="box", rare=0.1)
        load.create_bucket()
        admin(server, "collect")
        begun = process(server)
        load.run(8, 150)
        assert not load.errors
        client = connect(server)
        assert load.verify(client, time.monotonic()) == []

        # the figures are those of what is there
        client.close()
        admin(server, "collect")
        listed, size, token = 0, 0, ""
        while True:
            r = client.get("/box?list-type=2" + token)
            text = r.body.decode()
            sizes = [int(s) for s in re.findall(r"<Size>(\d+)</Size>", text)]
            listed += len(sizes)
            size += sum(sizes)
            if "<IsTruncated>true" not in text:
                break
            token = "&continuation-token=" + re.search(
                r"<NextContinuationToken>(.*)<", text
            ).group(1)
        box = admin(server, "bucket", "list")["buckets"][0]
        assert (box["objects"], box["bytes"]) == (listed, size)
        figures = metrics(server)
        assert figures["creel_path_files"] >= admin(server, "sweep")["seen"]
        assert figures["creel_garbage_rows"] == 0
        full = disk_usage(server.data + "/volumes") + disk_usage(server.data + "/data")
        assert full >= figures["creel_path_live_bytes"] > 0

        for key in load.history:
            assert client.delete("/box/" + key).status == 204
        assert client.delete("/box").status == 204
        client.close()
        admin(server, "collect")
        assert admin(server, "sweep")["seen"] == 0
        for _ in range(3):
            admin(server, "compact")
        assert files(server.data + "/tmp") == []
        left = admin(server, "status")["paths"][0]
        # what is left is the archive of the index, and one volume's rest
        assert len(files(server.data + "/volumes")) <= 4, os.listdir(
            server.data + "/volumes"
        )
        assert left["bytes"] < 4 * MIB
        assert disk_usage(server.data + "/volumes") < 9 * MIB
        assert disk_usage(server.data + "/data") < 4 * MIB

        def is_idle():
            now = process(server)
            return (
                now[0] <= begun[0] + 4  # volumes and segments that are open
                and now[1] <= begun[1]
                and now[2] < 32 * 1024 + begun[2] // 2
            )

        until(is_idle, lambda: "%s was %s" % (process(server), begun))


def test_many_starts_under_load():
    """SIGTERM at any moment: status 0, and nothing is lost."""
    rounds = 20 if os.environ.get("CREEL_FULL") else 5
    server = Server(env=dict(ENV, CREEL_COMPACT_INTERVAL="200ms"))
    load = Load(lambda: connect(server), time.monotonic, bucket="box")
    try:
        server.start()
        load.create_bucket()
        for number in range(rounds):

            def stop(event):
                time.sleep(0.1 + 0.23 * number % 0.9)
                admins = [
                    threading.Thread(target=background, args=(server, what))
                    for what in ("scrub", "compact", "sweep", "verify")
                ]
                for a in admins:
                    a.start()
                assert server.stop() == 0, server.tail()
                event.set()
                for a in admins:
                    a.join()

            load.run(6, 100000, on_running=stop)
            server.start()
            client = connect(server)
            bad = load.verify(client, time.monotonic(), settle=True)
            client.close()
            assert not bad, "round %d: %s" % (number, "\n".join(bad[:10]))
        assert load.acknowledged > 10 * rounds
        assert admin(server, "sweep", "--confirm")["unknown"] == 0
        assert server.stop() == 0
    finally:
        server.cleanup()


def background(server, what):
    env = dict(os.environ, CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)
    subprocess.run(
        [binary(), "admin", "--endpoint", server.endpoint, what],
        env=env,
        capture_output=True,
        timeout=60,
    )


def wait_for_memory(server, kib):
    end = time.monotonic() + 30
    now = process(server)[2]
    while now >= kib:
        assert time.monotonic() < end, "%d KiB" % now
        time.sleep(0.5)
        now = process(server)[2]


def test_memory_after_a_burst():
    """What many connections have used goes back once they are gone (P7): caches
    of the writes, stacks, what malloc keeps."""
    with Server() as server:
        bench(server, "put", "--concurrency", "256", "--duration", "4s")
        wait_for_memory(server, 28 * 1024)  # 19 MiB before, 22 as a rule


def test_memory_after_tls(tmp_path):
    """Likewise what OpenSSL has used, for the connection and for its thread."""
    cert, key = str(tmp_path / "cert"), str(tmp_path / "key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-pkeyopt"]
    command += ["ec_paramgen_curve:P-256", "-subj", "/CN=localhost", "-days", "2"]
    command += ["-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False
    with Server(tls=(cert, key)) as server:
        most = []
        for _ in range(600):
            sock = socket.create_connection(("127.0.0.1", server.port), 30)
            most.append(context.wrap_socket(sock))
            most[-1].sendall(b"GET /-/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        for sock in most:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        assert process(server)[2] > 32 * 1024
        for sock in most:
            sock.close()
        wait_for_memory(server, 30 * 1024)  # 25 as a rule


def bench(server, *args):
    env = dict(os.environ, CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)
    args = list(args) + ["--endpoint", server.endpoint, "--quiet"]
    done = subprocess.run(
        [binary(), "bench"] + args, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
