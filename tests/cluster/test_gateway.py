"""S3 through a gateway: what clients see must not tell a cluster from one node,
whatever dies behind it."""

import glob
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.exceptions import IncompleteReadError, ResponseStreamingError
from kit import ACCESS_KEY, FULL, SECRET, TOP, binary, free_port, wait_for
from kit import Cluster, Process
from lib.s3raw import Client

ARGS = ("--index-archive-interval", "1s")
SMALL = b"a small object"
MIB = 1 << 20


def s3_of(gateway, attempts=1, timeout=30):
    return boto3.client(
        "s3",
        endpoint_url="http://%s:%d" % gateway.address,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=5,
            read_timeout=timeout,
            max_pool_connections=64,
        ),
    )


def body(seed, size):
    return random.Random(seed).randbytes(size)


def get(s3, bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def files_of(cluster, group):
    """Files that the nodes of @group hold together."""
    return sum(
        p["files"]
        for g in cluster.status()["groups"]
        if g["group"] == group
        for n in g["nodes"]
        for p in n["paths"]
    )


def gateway_admin(cluster, gateway, *words, check=True):
    env = cluster.environ(
        {
            "CREEL_ROOT_USER": ACCESS_KEY,
            "CREEL_ROOT_PASSWORD": SECRET,
            "CREEL_ENDPOINT": "http://%s:%d" % gateway.address,
        }
    )
    done = subprocess.run(
        [binary(), "admin"] + list(words), env=env, capture_output=True, timeout=120
    )
    if check:
        assert done.returncode == 0, done
    return done


def wait_archived(gateway):
    """All that the index has by now is in its archive."""

    def is_archived():
        out = gateway_admin(gateway.cluster, gateway, "status", "--json").stdout
        index = json.loads(out)["index"]
        return index["archived"] >= index["sequence"]

    wait_for("archive", is_archived, 30)


def refuses(process, wait=30):
    """What it says when it does not start."""
    begin = os.path.getsize(process.log) if os.path.exists(process.log) else 0
    process.start(wait=0)
    code = process.process.wait(wait)
    process.process = None
    with open(process.log, "rb") as f:
        f.seek(begin)
        text = f.read().decode("utf-8", "replace")
    assert code != 0, text
    return text


@pytest.fixture(scope="module")
def three():
    with Cluster(groups={"group1": 3}, gateways=1, gateway_args=ARGS) as c:
        yield c


@pytest.fixture
def bucket(three):
    name = "test-%d" % random.getrandbits(40)
    s3_of(three.gateways[0]).create_bucket(Bucket=name)
    return name


# --- nothing is harmed ---


def test_objects(three, bucket):
    s3 = s3_of(three.gateways[0])
    sizes = [0, 1, 4096, 65536, 65537, MIB, MIB + 1, 5 * MIB + 3]
    for size in sizes:
        s3.put_object(Bucket=bucket, Key="o/%d" % size, Body=body(size, size))
    for size in sizes:
        assert get(s3, bucket, "o/%d" % size) == body(size, size)
        if size > 10:
            part = get(s3, bucket, "o/%d" % size, Range="bytes=%d-" % (size - 7))
            assert part == body(size, size)[-7:]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="o/")["Contents"]
    assert sorted(o["Size"] for o in listed) == sorted(sizes)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=bucket + "/o/1048577")
    s3.delete_object(Bucket=bucket, Key="o/1048577")
    assert get(s3, bucket, "copy") == body(MIB + 1, MIB + 1)
    with pytest.raises(ClientError) as e:
        get(s3, bucket, "o/1048577")
    assert e.value.response["Error"]["Code"] == "NoSuchKey"
    s3.put_object(Bucket=bucket, Key="copy", Body=SMALL)
    assert get(s3, bucket, "copy") == SMALL


def test_multipart(three, bucket):
    s3 = s3_of(three.gateways[0])
    parts = [body(i, 5 * MIB + i) for i in range(1, 4)]
    up = s3.create_multipart_upload(Bucket=bucket, Key="mp")["UploadId"]
    done = []
    for i, p in enumerate(parts, 1):
        r = s3.upload_part(Bucket=bucket, Key="mp", UploadId=up, PartNumber=i, Body=p)
        done.append({"PartNumber": i, "ETag": r["ETag"]})
    s3.complete_multipart_upload(
        Bucket=bucket, Key="mp", UploadId=up, MultipartUpload={"Parts": done}
    )
    assert get(s3, bucket, "mp") == b"".join(parts)
    whole = b"".join(parts)
    at = 5 * MIB - 10
    part = get(s3, bucket, "mp", Range="bytes=%d-%d" % (at, at + 29))
    assert part == whole[at : at + 30]


def test_status_shows_the_cluster(three):
    g = three.gateways[0]
    shown = json.loads(gateway_admin(three, g, "status", "--json").stdout)
    nodes = [n for gr in shown["cluster"]["groups"] for n in gr["nodes"]]
    assert sorted(n["server_id"] for n in nodes) == [1, 2, 3]
    assert {n["state"] for n in nodes} == {"ACTIVE"}
    text = gateway_admin(three, g, "status").stdout.decode()
    assert "group1" in text and "ACTIVE" in text and "LAG" in text
    # and the trackers know of the gateway
    wait_for("gateway in the map", lambda: three.status()["gateways"], 10)


def settled(fn, seconds=3):
    """What @fn returns once it has been the same for so long: nodes tell their
    counts once a second, and the tests before this one have left some."""
    value, since = fn(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.2)
        now = fn()
        if now != value:
            value, since = now, time.monotonic()
    return value


def test_garbage_is_collected_over_the_network(three, bucket):
    s3 = s3_of(three.gateways[0])
    before = settled(lambda: files_of(three, "group1"))
    for i in range(20):
        s3.put_object(Bucket=bucket, Key="g%d" % i, Body=body(i, 3000))
    wait_for("files to be counted", lambda: files_of(three, "group1") >= before + 40)
    s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "g%d" % i} for i in range(20)]}
    )
    gateway_admin(three, three.gateways[0], "collect")
    # The index's own files come and go, too: those of the objects went.
    wait_for("files to be gone", lambda: files_of(three, "group1") < before + 30, 30)


def test_looking_after_from_the_gateway(three, bucket):
    s3, g = s3_of(three.gateways[0]), three.gateways[0]
    s3.put_object(Bucket=bucket, Key="k", Body=body(1, 200000))
    gateway_admin(three, g, "scrub")
    gateway_admin(three, g, "compact")
    done = json.loads(gateway_admin(three, g, "verify", "--deep").stdout)
    assert done["bad"] == 0 and done["objects"] > 0


def test_sweep_leaves_others_alone(three, bucket):
    s3, fdfs = s3_of(three.gateways[0]), three.client()
    own = fdfs.upload(b"a file of FastDFS's own")
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    out = gateway_admin(three, three.gateways[0], "sweep", "--confirm").stdout
    assert b"unknown" in out
    assert fdfs.download(own) == b"a file of FastDFS's own"
    assert get(s3, bucket, "k") == SMALL
    fdfs.delete(own)


def test_wrong_secret(three):
    port = free_port()
    words = ["gateway", os.path.join(three.dir, "stranger")]
    words += ["--address", "127.0.0.1:%d" % port, "--trackers", three.tracker_list]
    env = {"CREEL_CLUSTER_SECRET": "not the secret of this cluster, at all"}
    p = Process(three, "stranger", port, words, env)
    p.start(wait=0)
    try:
        time.sleep(2)
        assert p.is_up
        assert "is ready" not in p.tail() and "waiting" in p.tail()
    finally:
        p.kill()


# --- under load ---


class Load(threading.Thread):
    """Puts, gets and deletes with what an SDK does on 503. Every acknowledged
    write is remembered; a read must give it. Where the gateway itself dies
    (more than 8 attempts) a read whose stream broke is made anew, as tools do and
    boto3 does not."""

    def __init__(self, gateway, bucket, number, attempts=8):
        super().__init__(daemon=True)
        self.s3 = s3_of(gateway, attempts)
        self.gateway_dies = attempts > 8
        self.read = s3_of(gateway, attempts if self.gateway_dies else 1)
        self.broken = 0  # streams
        self.bucket, self.number = bucket, number
        self.known, self.open, self.gone = {}, set(), set()
        self.stop, self.errors, self.slow = False, [], 0.0
        self.put_fails, self.puts, self.gets = 0, 0, 0
        self.failing_since, self.outage = None, 0.0

    def run(self):
        rng = random.Random(self.number)
        i = 0
        while not self.stop:
            i += 1
            key = "w%d/%d" % (self.number, rng.randrange(60))
            size = rng.choice([10, 4096, 70000, 300000, 2 * MIB])
            try:
                if key in self.known and rng.random() < 0.5:
                    self.look(key)
                else:
                    self.write(key, rng.random() < 0.2, i, size)
            except Exception as e:  # noqa: BLE001
                self.errors.append("%s: %r" % (key, e))

    def write(self, key, delete, i, size):
        seed = self.number * 1000003 + i
        self.open.add(key)
        start = time.monotonic()
        try:
            if delete and key in self.known:
                self.s3.delete_object(Bucket=self.bucket, Key=key)
                self.known.pop(key)
                self.gone.add(key)
            else:
                data = body(seed, size)
                self.gone.discard(key)
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
                self.known[key] = (hashlib.md5(data).hexdigest(), size)
            self.puts += 1
            self.open.discard(key)
            if self.failing_since is not None:  # until one is taken again
                self.outage = max(self.outage, time.monotonic() - self.failing_since)
            self.failing_since = None
        except (ClientError, BotoCoreError):
            # Not acknowledged: either is right from here on.
            self.put_fails += 1
            self.known.pop(key, None)
            self.failing_since = self.failing_since or start
            self.outage = max(self.outage, time.monotonic() - self.failing_since)
        self.slow = max(self.slow, time.monotonic() - start)

    def look(self, key):
        if key in self.open:
            return
        while True:
            r = self.read.get_object(Bucket=self.bucket, Key=key)
            try:
                data = r["Body"].read()
                break
            except (IncompleteReadError, ResponseStreamingError):
                self.broken += 1
                if not self.gateway_dies:
                    raise
        self.gets += 1
        md5, size = self.known[key]
        if r["ContentLength"] != size or len(data) != size:
            self.errors.append("%s: cut short without a word" % key)
        if hashlib.md5(data).hexdigest() != md5:
            self.errors.append("%s: wrong bytes" % key)

    def check(self, gateway):
        s3 = s3_of(gateway, 5)
        for key, (md5, size) in self.known.items():
            if key in self.open:
                continue
            data = get(s3, self.bucket, key)
            assert len(data) == size and hashlib.md5(data).hexdigest() == md5, key
        for key in self.gone:
            with pytest.raises(ClientError) as e:
                s3.head_object(Bucket=self.bucket, Key=key)
            assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404, key


def under_load(gateway, bucket, harm, workers=4, attempts=8):
    load = [Load(gateway, bucket, i, attempts) for i in range(workers)]
    for w in load:
        w.start()
    try:
        harm()
    finally:
        for w in load:
            w.stop = True
        for w in load:
            w.join(120)
    assert not [e for w in load for e in w.errors]
    assert sum(w.puts for w in load) > 10 and sum(w.gets for w in load) > 0
    for w in load:
        w.check(gateway)
    return load


def test_node_killed_under_load(three, bucket):
    def harm():
        for p in three.storages:
            time.sleep(1)
            p.kill()
            time.sleep(3)
            p.start()
            three.wait_active(60)
        time.sleep(1)

    load = under_load(three.gateways[0], bucket, harm)
    assert max(w.slow for w in load) < 20


def test_random_kills_under_load(three, bucket):
    """Any one storage node or tracker at a time; no retries: a read never fails,
    writes fail for 5 s at most."""
    rng, victims = random.Random(7), []

    def harm():
        for _ in range(20 if FULL else 4):
            time.sleep(0.5 + rng.random())
            p = rng.choice(three.storages + three.trackers)
            victims.append(p.name)
            p.kill()
            time.sleep(2 * rng.random())
            p.start()
            three.wait_active(60)

    load = under_load(three.gateways[0], bucket, harm, attempts=1)
    outage = max(w.outage for w in load)
    assert outage < 5, (victims, outage)
    three.verify()


def test_node_hangs_under_load(three, bucket):
    def harm():
        time.sleep(1)
        three.storages[1].freeze()
        time.sleep(6)
        three.storages[1].thaw()
        time.sleep(2)

    try:
        under_load(three.gateways[0], bucket, harm)
    finally:
        three.storages[1].thaw()
    three.wait_active(60)


def test_reads_beside_a_hanging_node(three, bucket):
    s3 = s3_of(three.gateways[0])
    s3.put_object(Bucket=bucket, Key="k", Body=SMALL)
    s3.put_object(Bucket=bucket, Key="big", Body=body(9, 9 * MIB))
    three.storages[0].freeze()
    try:
        times = []
        for _ in range(30):
            start = time.monotonic()
            assert get(s3, bucket, "k") == SMALL
            times.append(time.monotonic() - start)
        assert max(times) < 2.5, times
        assert sorted(times)[15] < 0.3, times
        assert get(s3, bucket, "big") == body(9, 9 * MIB)
    finally:
        three.storages[0].thaw()
    three.wait_active(60)


def quick_reads(gateway):
    with open(os.path.join(gateway.dir, "metrics.token")) as f:
        token = f.read().strip()
    client = Client(*gateway.address, ACCESS_KEY, SECRET)
    headers = [("Authorization", "Bearer " + token)]
    text = client.request("GET", "/-/metrics", headers=headers, auth="none").body
    for line in text.decode().splitlines():
        if line.startswith("creel_storage_quick_reads_total"):
            return int(line.split()[1])
    raise AssertionError(text)


def test_small_reads_go_together(three, bucket):
    s3, data = s3_of(three.gateways[0], 3), {}
    for n in range(20):
        data["k%d" % n] = body(n, 1 + 1400 * n)
        s3.put_object(Bucket=bucket, Key="k%d" % n, Body=data["k%d" % n])
    before = quick_reads(three.gateways[0])
    wrong = []

    def read():
        client = Client(*three.gateways[0].address, ACCESS_KEY, SECRET)
        for key, content in data.items():
            r = client.get("/%s/%s" % (bucket, key))
            if r.status != 200 or r.body != content:
                wrong.append((key, r.status))

    threads = [threading.Thread(target=read, daemon=True) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not wrong
    if reads_at_hand(three.dir):
        assert quick_reads(three.gateways[0]) - before >= 100


def reads_at_hand(folder):
    """Whether the file system there tells if bytes are in memory."""
    path = os.path.join(folder, "probe")
    with open(path, "wb") as f:
        f.write(b"x")
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:
        return False
    finally:
        os.close(fd)


def damage(node, pattern, marks):
    """Flips a bit within each of @marks, wherever it lies in the node's files."""
    n = 0
    for path in glob.glob(os.path.join(node.dir, "**", pattern), recursive=True):
        if not os.path.isfile(path):
            continue
        with open(path, "r+b") as f:
            content = f.read()
            for mark in marks:
                at = content.find(mark)
                while at >= 0:
                    f.seek(at + 7)
                    f.write(bytes([content[at + 7] ^ 16]))
                    n += 1
                    at = content.find(mark, at + 1)
    return n


@pytest.mark.parametrize("size", [100000, 300000, 3 * MIB])
def test_damaged_on_the_disks(three, bucket, size):
    """Large bodies go out from the page cache unread: what is damaged there is
    seen by the gateway, never given to a client, and made whole from another
    node."""
    s3, data = s3_of(three.gateways[0], 1), body(77 + size, size)
    s3.put_object(Bucket=bucket, Key="big", Body=data)
    three.verify()
    marks = [data[at : at + 32] for at in range(1000, size, 60000)]
    hit = sum(damage(p, "*", marks) for p in three.storages[:2])
    assert hit == 2 * len(marks)
    for _ in range(6):
        assert get(s3, bucket, "big") == data

    def is_whole(node):
        content = b""
        for path in glob.glob(node.dir + "/**", recursive=True):
            try:
                with open(path, "rb") as f:
                    content += f.read()
            except (IsADirectoryError, FileNotFoundError):
                pass  # what is written to tmp/ goes
        return all(mark in content for mark in marks)

    def all_whole():
        # whose turn it is to be read from is not the test's to say
        assert get(s3, bucket, "big") == data
        return all(is_whole(p) for p in three.storages)

    wait_for("the copies to be repaired", all_whole)
    three.verify()


def test_damaged_on_the_only_disk():
    with Cluster(groups={"group1": 1}, gateways=1) as c:
        s3 = s3_of(c.gateways[0])
        s3.create_bucket(Bucket="one-copy")
        s3.put_object(Bucket="one-copy", Key="big", Body=body(5, MIB))
        s3.put_object(Bucket="one-copy", Key="other", Body=body(6, MIB))
        assert damage(c.storages[0], "*", [body(5, MIB)[1000:1032]]) == 1
        with pytest.raises(ClientError) as e:
            get(s3, "one-copy", "big")
        assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert get(s3, "one-copy", "other") == body(6, MIB)
        # what is behind the damage can still be had
        part = get(s3, "one-copy", "big", Range="bytes=524288-")
        assert part == body(5, MIB)[524288:]


def test_nodes_killed_in_a_request(three, bucket):
    """A download goes on, whichever node it came from; an upload is repeated."""
    s3, data = s3_of(three.gateways[0], 5), body(11, 40 * MIB)
    s3.put_object(Bucket=bucket, Key="big", Body=data)
    stream = s3_of(three.gateways[0]).get_object(Bucket=bucket, Key="big")["Body"]
    got, at = hashlib.md5(), 0
    for p in three.storages:
        piece = stream.read(11 * MIB)
        got.update(piece)
        at += len(piece)
        p.kill()
        time.sleep(0.3)
        # The sockets' buffers hold some of it; the next read needs a node.
        piece = stream.read(2 * MIB)
        got.update(piece)
        at += len(piece)
        p.start()
        three.wait_active(60)
    got.update(stream.read())
    assert got.hexdigest() == hashlib.md5(data).hexdigest()

    class Body:
        """Kills a node when half of it was read, the first time."""

        def __init__(self):
            self.at, self.killed = 0, False

        def __len__(self):
            return len(data)

        def read(self, n=-1):
            n = len(data) - self.at if n is None or n < 0 else n
            piece = data[self.at : self.at + n]
            self.at += len(piece)
            if self.at > len(data) // 2 and not self.killed:
                self.killed = True
                for p in three.storages[:2]:
                    p.kill()
                    p.start(wait=0)
            return piece

        def seek(self, to, whence=0):
            self.at = {0: 0, 1: self.at, 2: len(data)}[whence] + to
            return self.at

        def tell(self):
            return self.at

    again = Body()
    s3_of(three.gateways[0], 10).put_object(Bucket=bucket, Key="again", Body=again)
    assert again.killed
    three.wait_active(60)
    assert get(s3, bucket, "again") == data


@pytest.mark.parametrize("at", (0.5, 1))
def test_stream_beside_frozen_nodes(three, bucket, at):
    """Whoever has the stream is frozen: it is given up in seconds, also where a
    commit could take long. With one of the others it goes on."""
    gateway, size = three.gateways[0], 24 * MIB
    data = body(21, size)

    class Body:
        def __init__(self, frozen):
            self.at, self.frozen, self.since = 0, frozen, None

        def __len__(self):
            return size

        def read(self, n=-1):
            n = size - self.at if n is None or n < 0 else n
            piece = data[self.at : self.at + n]
            self.at += len(piece)
            if self.at >= size * at and self.since is None:
                time.sleep(1)  # what was sent before has got to a node
                for p in self.frozen:
                    p.freeze()
                self.since = time.monotonic()
            return piece

        def seek(self, to, whence=0):
            self.at = {0: 0, 1: self.at, 2: size}[whence] + to
            return self.at

        def tell(self):
            return self.at

    all_ = Body(three.storages)
    try:
        with pytest.raises(ClientError) as e:
            s3_of(gateway).put_object(Bucket=bucket, Key="k", Body=all_)
        took = time.monotonic() - all_.since
        assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert took < 5, took
    finally:
        for p in three.storages:
            p.thaw()
    three.wait_active(60)
    one = Body(three.storages[:1])
    try:
        s3_of(gateway, 3).put_object(Bucket=bucket, Key="k", Body=one)
    finally:
        three.storages[0].thaw()
    three.wait_active(60)
    assert get(s3_of(gateway, 3), bucket, "k") == data


def test_node_that_lost_its_disks(three, bucket):
    """It refills; then it alone has all objects, and none that were deleted."""
    s3 = s3_of(three.gateways[0], 5)
    for i in range(40):
        s3.put_object(Bucket=bucket, Key="k%d" % i, Body=body(i, 1000 * i))
    s3.put_object(Bucket=bucket, Key="big", Body=body(99, 7 * MIB))
    lost = three.storages[1]
    lost.kill()
    lost.wipe()
    s3.delete_object(Bucket=bucket, Key="k0")
    s3.put_object(Bucket=bucket, Key="meanwhile", Body=SMALL)
    lost.start()
    three.wait_active(60)
    three.verify()
    others = [p for p in three.storages if p is not lost]
    for p in others:
        p.kill()
    try:
        reader = s3_of(three.gateways[0])
        for i in range(1, 40):
            assert get(reader, bucket, "k%d" % i) == body(i, 1000 * i)
        assert get(reader, bucket, "big") == body(99, 7 * MIB)
        assert get(reader, bucket, "meanwhile") == SMALL
    finally:
        for p in others:
            p.start()
    three.wait_active(60)


def test_tracker_restarted(three, bucket):
    def harm():
        time.sleep(1)
        for t in three.trackers:
            t.kill()
        time.sleep(2)
        for t in three.trackers:
            t.start()
        time.sleep(3)

    load = under_load(three.gateways[0], bucket, harm)
    assert sum(w.put_fails for w in load) == 0
    three.wait_active(60)


def test_broken_stream_is_seen(three, bucket):
    """Whoever reads while the gateway dies is told that it was not all."""
    gateway, data = three.gateways[0], body(12, 32 * MIB)
    s3 = s3_of(gateway, attempts=30)
    s3.put_object(Bucket=bucket, Key="long", Body=data)
    whole = s3.get_object(Bucket=bucket, Key="long")
    part = s3.get_object(Bucket=bucket, Key="long", Range="bytes=5-30000004")
    try:
        for r, size in ((whole, len(data)), (part, 30000000)):
            assert r["ContentLength"] == size
            assert len(r["Body"].read(1000)) == 1000
        gateway.kill()
        for r in (whole, part):
            with pytest.raises((IncompleteReadError, ResponseStreamingError)):
                r["Body"].read()
    finally:
        gateway.start()
    assert get(s3, bucket, "long") == data


def test_gateway_killed_under_load(three, bucket):
    gateway, kills = three.gateways[0], 20 if FULL else 3

    def harm():
        for _ in range(kills):
            time.sleep(1.5)
            gateway.kill()
            gateway.start()
        time.sleep(1)

    load = under_load(gateway, bucket, harm, attempts=30)
    assert max(w.broken for w in load) <= kills
    out = json.loads(gateway_admin(three, gateway, "verify").stdout)
    assert out["objects"] > 0 and out["bad"] == 0, out


def test_gateway_and_a_node_killed_together(three, bucket):
    gateway, rng = three.gateways[0], random.Random(11)
    kills = 10 if FULL else 2

    def harm():
        for _ in range(kills):
            time.sleep(1 + rng.random())
            both = [gateway, rng.choice(three.storages + three.trackers)]
            rng.shuffle(both)
            for p in both:
                p.kill()
            rng.shuffle(both)
            said = {p: os.path.getsize(p.log) for p in both}
            for p in both:
                p.start(wait=0)
            for p in both:
                p.wait_ready(60, said[p])
            three.wait_active(60)
        time.sleep(1)

    load = under_load(gateway, bucket, harm, attempts=30)
    assert max(w.broken for w in load) <= kills
    out = json.loads(gateway_admin(three, gateway, "verify", "--deep").stdout)
    assert out["objects"] > 0 and out["bad"] == 0, out
    three.verify()


# --- the index ---


def rebuild(gateway):
    """The index of @gateway, from its archive, where it stands itself."""
    cluster = gateway.cluster
    return subprocess.run(
        cluster.prefix(gateway.name)
        + [binary(), "admin", "rebuild", "index", gateway.dir]
        + ["--trackers", cluster.tracker_list],
        env=cluster.environ(),
        capture_output=True,
        timeout=60,
    )


def test_lost_directory_of_the_gateway(three):
    gateway = three.gateways[0]
    s3 = s3_of(gateway)
    s3.create_bucket(Bucket="kept-bucket")
    for i in range(30):
        s3.put_object(Bucket="kept-bucket", Key="k%d" % i, Body=body(i, 2000 + i))

    wait_archived(gateway)
    # Not beside one that lives
    twin = three.add_gateway("twin-of-a-living-one")
    three.gateways.remove(twin)
    done = rebuild(twin)
    assert done.returncode != 0 and b"stop it" in done.stderr, done
    s3.put_object(Bucket="kept-bucket", Key="k0", Body=body(0, 2000))
    wait_archived(gateway)
    gateway.kill()
    gateway.copy_to("old-gateway")
    gateway.wipe()
    # Not made anew
    said = refuses(gateway)
    assert "rebuild" in said, said
    done = rebuild(gateway)
    assert done.returncode == 0, done
    gateway.start()
    s3 = s3_of(gateway)
    for i in range(30):
        assert get(s3, "kept-bucket", "k%d" % i) == body(i, 2000 + i)
    s3.put_object(Bucket="kept-bucket", Key="new", Body=SMALL)
    # The old one comes back from the dead, time and again.
    old = three.add_gateway("old-gateway")
    try:
        for _ in range(4):
            said = refuses(old)
            assert "older copy" in said and "rebuild" in said, said
    finally:
        three.gateways.remove(old)
    s3.put_object(Bucket="kept-bucket", Key="new2", Body=SMALL)
    assert get(s3, "kept-bucket", "new") == SMALL


def test_one_gateway_to_a_cluster():
    """A second, blank one finds the first one's traces, and no index is begun."""
    args = ("--index-archive-interval", "1h")
    with Cluster(groups={"group1": 1}, gateways=1, gateway_args=args) as c:
        wait_for("announcement", lambda: c.status()["gateways"][0]["index"], 10)
        time.sleep(1.5)  # a map with it
        second = c.add_gateway("second")
        said = refuses(second)
        assert "one gateway to a cluster" in said, said
        assert not os.path.exists(os.path.join(second.dir, "index", "index.lmdb"))
        # With its archive there, for good.
        s3_of(c.gateways[0]).create_bucket(Bucket="bucket")
        c.gateways[0].stop()
        time.sleep(7)
        assert "rebuild" in refuses(second)


def test_directories_are_not_mixed_up(three):
    gateway, words = three.gateways[0], ["--address", "127.0.0.1:%d" % free_port()]
    other = {"CREEL_CLUSTER_SECRET": "the secret of quite another cluster"}
    foreign = ["gateway", gateway.dir, "--trackers", "127.0.0.1:1"] + words
    p = Process(three, "x", 0, foreign, other)
    assert "another cluster" in refuses(p)
    p = Process(three, "x", 0, ["gateway", three.storages[0].dir] + words)
    p.words += ["--trackers", three.tracker_list]
    assert "store path" in refuses(p)
    p = Process(three, "x", 0, ["server", gateway.dir] + words)
    assert "directory of a gateway" in refuses(p)
    assert not os.path.exists(os.path.join(gateway.dir, "creel.json"))


def test_two_gateways_on_one_index(three, bucket):
    first = three.gateways[0]
    s3_of(first).put_object(Bucket=bucket, Key="k", Body=SMALL)
    first.copy_to("twin")
    lock = os.path.join(three.dir, "twin", "index", "lock")
    assert os.path.exists(lock)
    twin = three.add_gateway("twin")
    try:
        twin.start()
        # It has taken the index: the first one notices and writes no more.
        s3 = s3_of(first)

        def is_refused():
            try:
                s3.put_object(Bucket=bucket, Key="x", Body=SMALL)
                s3.delete_object(Bucket=bucket, Key="no such thing")
            except ClientError as e:
                return e.response["ResponseMetadata"]["HTTPStatusCode"] == 503
            return False

        wait_for("refusal", is_refused, 10)
        with pytest.raises(ClientError):
            s3.delete_object(Bucket=bucket, Key="no such thing")
        assert "another gateway has taken the index over" in first.tail(20000)
        s3_of(twin).put_object(Bucket=bucket, Key="y", Body=SMALL)
        first.stop()
        assert "older copy" in refuses(first)
    finally:
        twin.stop()
        three.gateways.remove(twin)
        first.kill()
        # From here on the twin's is the newest.
        first.wipe()
        os.rename(twin.dir, first.dir)
        first.start()
    assert get(s3_of(first), bucket, "y") == SMALL


def test_a_copy_asks_every_group():
    """The original may live where the copy does not see it: a copied directory is
    begun with once each group has heard of it, a directory that stayed where it
    was with one group's majority."""
    with Cluster(groups={"group1": 1, "group2": 1}, gateways=1, gateway_args=ARGS) as c:
        first = c.gateways[0]
        s3 = s3_of(first, attempts=1)
        for group in c.groups:
            where = {"LocationConstraint": group}
            s3.create_bucket(Bucket="in-" + group, CreateBucketConfiguration=where)
            s3.put_object(Bucket="in-" + group, Key="k", Body=SMALL)
        c.storages[1].kill()
        first.stop()
        first.start()
        s3 = s3_of(first, attempts=1)
        s3.put_object(Bucket="in-group1", Key="k2", Body=SMALL)
        first.copy_to("twin")
        twin = c.add_gateway("twin")
        twin.start(wait=0)
        said = "is a copy of a gateway's directory"
        wait_for("its word", lambda: said in twin.tail(20000), 20)
        time.sleep(3)
        assert twin.process.poll() is None  # it waits
        s3.put_object(Bucket="in-group1", Key="k3", Body=SMALL)
        c.storages[1].start()
        wait_for("twin", lambda: "is ready" in twin.tail(20000), 30)
        taken = "another gateway has taken the index over"
        wait_for("an end", lambda: taken in first.tail(20000), 10)
        with pytest.raises(ClientError):
            s3.put_object(Bucket="in-group1", Key="k4", Body=SMALL)
        first.kill()
        # It is the original now.
        c.storages[1].kill()
        twin.stop()
        twin.start()
        s3 = s3_of(twin, attempts=1)
        s3.put_object(Bucket="in-group1", Key="k4", Body=SMALL)
        assert get(s3, "in-group1", "k2") == SMALL


# --- groups ---


def test_two_groups():
    with Cluster(groups={"group1": 2, "group2": 2}, gateways=1, gateway_args=ARGS) as c:
        s3 = s3_of(c.gateways[0], attempts=4)
        for group in ("group1", "group2"):
            s3.create_bucket(
                Bucket="in-" + group,
                CreateBucketConfiguration={"LocationConstraint": group},
            )
            before = {g: files_of(c, g) for g in c.groups}
            for i in range(30):
                s3.put_object(Bucket="in-" + group, Key="k%d" % i, Body=SMALL)
            wait_for(
                "files in " + group,
                lambda: files_of(c, group) >= before[group] + 60,
                20,
            )
        s3.create_bucket(
            Bucket="anywhere",
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        at = s3.get_bucket_location(Bucket="anywhere")["LocationConstraint"]
        assert at == "eu-central-1"
        s3.put_object(Bucket="anywhere", Key="k", Body=SMALL)
        # In turn, if trackers have it so.
        c.trackers[0].words += ["--store-lookup", "round_robin"]
        c.trackers[0].stop()
        c.trackers[0].start()
        c.wait_active(60)
        time.sleep(1.5)  # a map in which all are heard
        before = {g: files_of(c, g) for g in c.groups}
        for i in range(6):
            s3.create_bucket(Bucket="turn%d" % i)
            for k in range(5):
                s3.put_object(Bucket="turn%d" % i, Key="k%d" % k, Body=SMALL)
        # Three of them each, on two nodes; a busy moment may spill some. (By room
        # all would be in one.)
        for g in c.groups:
            wait_for("files in " + g, lambda: files_of(c, g) >= before[g] + 15, 10)
        # One of two is too few in group1: its bucket goes on in group2.
        c.storages[0].kill()
        for i in range(40):
            s3.put_object(Bucket="in-group1", Key="spilt%d" % i, Body=SMALL)
        for i in range(30):
            assert get(s3, "in-group1", "k%d" % i) == SMALL
        c.storages[1].kill()
        for i in range(40):
            assert get(s3, "in-group1", "spilt%d" % i) == SMALL
        c.storages[0].start()
        c.storages[1].start()
        c.wait_active(60)
        for i in range(30):
            assert get(s3, "in-group1", "k%d" % i) == SMALL


def test_cables():
    """Nothing refuses: packets are lost. A node that cannot be reached costs a
    request a second or two, once; trackers are not needed for what is known."""
    with Cluster(
        trackers=2, groups={"group1": 3}, gateways=1, gateway_args=ARGS, net=True
    ) as c:
        gateway = c.gateways[0]
        s3 = s3_of(gateway)
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=SMALL)

        def reads():
            slow = []
            for _ in range(20):
                start = time.monotonic()
                assert get(s3, "bucket", "k") == SMALL
                slow.append(time.monotonic() - start)
            return slow

        c.net.pull("s2")
        slow = reads()
        assert max(slow) < 3 and sorted(slow)[10] < 0.3, slow
        s3_of(gateway, 5).put_object(Bucket="bucket", Key="k2", Body=SMALL)
        c.net.plug("s2")
        c.wait_active(60)
        # Reached by the others, but not by the gateway
        c.net.cut("g1", "s1")
        slow = reads()
        assert max(slow) < 3 and sorted(slow)[10] < 0.3, slow
        s3_of(gateway, 5).put_object(Bucket="bucket", Key="k3", Body=body(3, 4 * MIB))
        c.net.heal("g1", "s1")
        for t in ("t1", "t2"):
            c.net.cut("g1", t)
        for i in range(5):
            time.sleep(1)
            assert max(reads()) < 3
            s3_of(gateway, 3).put_object(Bucket="bucket", Key="t%d" % i, Body=SMALL)
        for t in ("t1", "t2"):
            c.net.heal("g1", t)
        assert get(s3, "bucket", "k3") == body(3, 4 * MIB)
        c.verify()


def test_taken_over_behind_a_cut():
    """The old gateway reaches one node of one group, the new one all others: what
    the old one is still allowed to write is over in moments, in each group."""
    with Cluster(
        groups={"group1": 1, "group2": 3}, gateways=1, gateway_args=ARGS, net=True
    ) as c:
        old = c.gateways[0]
        new = c.add_gateway("g2")
        c.host("g2")
        s3 = s3_of(old, timeout=20)
        for group in ("group1", "group2"):
            s3.create_bucket(
                Bucket="in-" + group,
                CreateBucketConfiguration={"LocationConstraint": group},
            )
        s3.put_object(Bucket="in-group2", Key="k", Body=SMALL)

        wait_archived(old)
        # Where a group could go on for the other one nothing is taken over.
        for node in ("t1", "s1", "s2", "s3"):
            c.net.cut("g1", node)
        for node in ("s3", "s4"):
            c.net.cut("g2", node)
        time.sleep(6)  # until trackers believe the old one gone
        done = rebuild(new)
        assert done.returncode != 0 and b"group2" in done.stderr, done
        s3.put_object(Bucket="in-group2", Key="still", Body=SMALL)
        wait_archived(old)
        # Two of three, any two copies of which meet.
        c.net.heal("g2", "s3")
        wait_for("an index", lambda: rebuild(new).returncode == 0, 60)
        time.sleep(3)
        taken = []
        end = time.monotonic() + 4
        while time.monotonic() < end:
            try:
                s3.put_object(Bucket="in-group2", Key="late", Body=SMALL)
                taken.append("late")
            except ClientError as e:
                assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 503
            time.sleep(0.2)
        assert not taken
        assert "another gateway has taken the index over" in old.tail(20000)
        new.start(60)
        s3 = s3_of(new, 4)
        assert get(s3, "in-group2", "k") == SMALL
        assert get(s3, "in-group2", "still") == SMALL
        s3.put_object(Bucket="in-group2", Key="new", Body=SMALL)
        s3.put_object(Bucket="in-group1", Key="new", Body=SMALL)
        for node in ("t1", "s1", "s2", "s3"):
            c.net.heal("g1", node)
        c.net.heal("g2", "s4")
        assert get(s3, "in-group2", "new") == SMALL


def test_full_group_spills():
    args = ("--reserved-space", "1M")
    with Cluster(
        groups={"group1": 2, "group2": 2},
        gateways=1,
        gateway_args=ARGS,
        storage_args=args,
    ) as c:
        s3 = s3_of(c.gateways[0], 5)
        s3.create_bucket(
            Bucket="in-group1",
            CreateBucketConfiguration={"LocationConstraint": "group1"},
        )
        s3.put_object(Bucket="in-group1", Key="first", Body=SMALL)
        for p in c.groups["group1"]:
            p.stop()
            p.start(args=["--reserved-space", "60T"])

        def is_full(*ids):
            return not any(n["can_write"] for i, n in c.nodes().items() if i in ids)

        wait_for("full", lambda: is_full(1, 2), 20)
        before = files_of(c, "group2")
        for i in range(10):
            s3.put_object(Bucket="in-group1", Key="k%d" % i, Body=body(i, 5000))
            s3.put_object(Bucket="in-group1", Key="b%d" % i, Body=body(i, 2 * MIB))
        wait_for("files in group2", lambda: files_of(c, "group2") >= before + 40, 20)
        for i in range(10):
            assert get(s3, "in-group1", "k%d" % i) == body(i, 5000)
            assert get(s3, "in-group1", "b%d" % i) == body(i, 2 * MIB)
        assert get(s3, "in-group1", "first") == SMALL
        # What frees space goes on where there is none.
        s3.delete_object(Bucket="in-group1", Key="first")
        gateway_admin(c, c.gateways[0], "collect")
        for p in c.groups["group2"]:
            p.stop()
            p.start(args=["--reserved-space", "60T"])
        wait_for("full", lambda: is_full(1, 2, 3, 4), 20)
        with pytest.raises(ClientError) as e:
            s3_of(c.gateways[0]).put_object(Bucket="in-group1", Key="x", Body=SMALL)
        status = e.value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status in (503, 507), e.value.response
        assert get(s3, "in-group1", "k1") == body(1, 5000)


def test_s3_clients_see_no_difference():
    """tests/api against a gateway; CREEL_FULL: all of it."""
    words = [os.path.join(TOP, "tests", "api", "run"), "-q"]
    if not FULL:
        words += ["-k", "test_objects or test_multipart or test_copy or test_list"]
    done = subprocess.run(
        words,
        env=dict(os.environ, CREEL_TEST_CLUSTER="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, text[-5000:]
    assert "0 failed" in text and " 0 passed" not in text, text[-500:]


def test_all_nodes_gone():
    """Refused at once, and no worse; all is there when they are back."""
    with Cluster(groups={"group1": 2}, gateways=1, gateway_args=ARGS) as c:
        s3 = s3_of(c.gateways[0])
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=SMALL)
        for p in c.storages:
            p.kill()
        for call in (
            lambda: get(s3, "bucket", "k"),
            lambda: s3.put_object(Bucket="bucket", Key="x", Body=SMALL),
            lambda: s3.put_object(Bucket="bucket", Key="x", Body=body(1, 3 * MIB)),
        ):
            start = time.monotonic()
            with pytest.raises(ClientError) as e:
                call()
            assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
            assert time.monotonic() - start < 5
        # What needs no bytes is served.
        assert s3.head_object(Bucket="bucket", Key="k")["ContentLength"] == len(SMALL)
        for p in c.storages:
            p.start()
        c.wait_active(60)
        assert get(s3_of(c.gateways[0], 5), "bucket", "k") == SMALL
        s3_of(c.gateways[0], 5).put_object(Bucket="bucket", Key="x", Body=SMALL)


def test_gateway_ends_beside_frozen_nodes(three, bucket):
    gateway = three.gateways[0]
    s3_of(gateway).put_object(Bucket=bucket, Key="k", Body=SMALL)
    for p in three.storages:
        p.freeze()
    try:
        start = time.monotonic()
        assert gateway.stop(wait=30) == 0
        assert time.monotonic() - start < 10
        gateway.start(wait=0)
        time.sleep(1)
        assert gateway.stop(wait=5) == 0  # while it waits for the cluster
    finally:
        for p in three.storages:
            p.thaw()
    three.wait_active(60)
    gateway.start()
    assert get(s3_of(gateway, 5), bucket, "k") == SMALL


def test_gateway_waits_for_nodes():
    with Cluster(groups={"group1": 3}) as c:
        c.storages[1].kill()
        c.storages[2].kill()
        time.sleep(4)  # the tracker gives them up
        g = c.add_gateway("g1")
        g.start(wait=0)
        wait_for("reason", lambda: "majority" in g.tail(), 20)
        assert g.is_up
        url = "http://%s:%d" % g.address
        said = c.admin("health", "--endpoint", url, check=False)
        assert said.returncode == 1
        assert b"503: no group has a majority" in said.stderr
        c.storages[1].start()
        g.wait_ready(60)
        s3 = s3_of(g, 5)
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="k", Body=SMALL)
        assert get(s3, "bucket", "k") == SMALL


# --- a cluster of FastDFS ---


def test_fastdfs_behind():
    with Cluster(trackers=0) as c:
        tracker, storage = free_port(), free_port()
        mock = subprocess.Popen(
            [sys.executable, os.path.join(TOP, "tests", "fastdfs", "mock.py")]
            + ["--tport", str(tracker), "--sport", str(storage)],
            stdout=subprocess.DEVNULL,
        )
        try:
            c.tracker_list = "127.0.0.1:%d" % tracker
            c.gateway_args = ["--backend", "fastdfs"] + list(ARGS)
            g = c.add_gateway("g1")
            g.start()
            said = g.tail(10000)
            assert "can be lost" in said, said
            s3 = s3_of(g, 3)
            s3.create_bucket(Bucket="bucket")
            sizes = [0, 5, 70000, MIB, 3 * MIB + 1]
            for size in sizes:
                s3.put_object(Bucket="bucket", Key="k%d" % size, Body=body(size, size))
            for size in sizes:
                assert get(s3, "bucket", "k%d" % size) == body(size, size)
            s3.delete_object(Bucket="bucket", Key="k5")
            done = gateway_admin(c, g, "sweep", check=False)
            assert done.returncode != 0 and b"FastDFS" in done.stderr + done.stdout

            wait_archived(g)
            # The index alone can be made again from there.
            g.kill()
            os.rename(os.path.join(g.dir, "index"), os.path.join(g.dir, "lost"))
            assert "rebuild" in refuses(g)
            done = subprocess.run(
                [binary(), "admin", "rebuild", "index", g.dir, "--backend", "fastdfs"]
                + ["--trackers", c.tracker_list],
                env=c.environ(),
                capture_output=True,
                timeout=60,
            )
            assert done.returncode == 0, done
            g.start()
            assert get(s3_of(g, 3), "bucket", "k70000") == body(70000, 70000)
        finally:
            mock.kill()
            mock.wait()
