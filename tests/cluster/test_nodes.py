"""A group of storage nodes behind trackers, asked through FastDFS's protocol, while
something happens to it."""

import os
import random
import shutil
import struct
import time

import pytest

import fdfs
import kit
import rpc
from kit import FULL


@pytest.fixture
def cluster():
    with kit.Cluster(trackers=2, groups={"group1": 3}) as c:
        yield c


def put_files(client, n, at=None, size=2000, seed=1):
    r = random.Random(seed)
    files = {}
    for _ in range(n):
        data = r.randbytes(size)
        files[client.upload(data, at=at)] = data
    return files


def everywhere(cluster, files, deleted=()):
    """Each node by itself has all of it."""
    for p in cluster.storages:
        if p.is_up:
            kit.check_files(cluster.client(), files, deleted, at=p.address)


def test_each_node_has_all(cluster):
    client, files = cluster.client(), {}
    for p in cluster.storages:
        files.update(put_files(client, 10, p.address, seed=p.server_id))
    for size in (0, 1, 65536, 1 << 20, 5 << 20):
        files.update(put_files(client, 1, size=size, seed=size))
    everywhere(cluster, files)
    gone = list(files)[::3]
    for name in gone:
        client.delete(name)
        del files[name]
    everywhere(cluster, files, gone)
    cluster.verify()


def test_uploads_of_an_epoch_that_is_over(cluster):
    """What a killed gateway had under way takes no place: the next one's epoch
    ends it."""
    index = os.urandom(16)

    def begin(r, epoch):
        args = b"\1" + index + struct.pack("<Q", epoch) + os.urandom(16)
        args += rpc.pack_text("") * 2 + struct.pack("<QBI", 4 << 20, 0, 0)
        return r.call(rpc.STORE_BEGIN, args)[0][:8]

    def send(r, stream, off=0):
        args = stream + struct.pack("<QBI", off, 0, 0)
        r.call(rpc.STORE_DATA, args, bytes((1 << 20) + 1))

    kit.wait_for("a group", lambda: cluster.client().upload(b"x"))
    at = cluster.storages[0].address
    with rpc.Rpc(at, cluster.secret.encode(), rpc.GATE) as r:
        old = [begin(r, 1) for _ in range(160)]
        for stream in old[:64]:
            send(r, stream)
        with pytest.raises(rpc.RpcError) as e:
            begin(r, 1)
        assert e.value.name == "BUSY"
        r.call(rpc.FENCE, index + struct.pack("<Q", 2))
        with pytest.raises(rpc.RpcError) as e:
            send(r, old[0], (1 << 20) + 1)
        assert e.value.name == "NOT_FOUND"
        send(r, begin(r, 2))
        stream = begin(r, 2)
        send(r, stream)
        send(r, stream, (1 << 20) + 1)


def test_killed_under_load(cluster):
    r = random.Random(int(time.time()))
    with kit.load(cluster):
        for i in range(20 if FULL else 4):
            time.sleep(1)
            # The first three times a storage node, then whatever comes.
            everything = cluster.storages + (cluster.trackers if i > 2 else [])
            p = r.choice(everything)
            print("killing", p.name)
            p.kill()
            time.sleep(r.random() * 4)
            p.start()
            cluster.wait_active()
    cluster.verify()


def test_node_lost_with_its_disk(cluster):
    """50 acknowledged uploads, kill -9 and no disk: 50 of 50."""
    client, p = cluster.client(), cluster.storages[0]
    files = put_files(client, 50, p.address)
    p.kill()
    p.wipe()
    kit.check_files(client, files)
    p.start()  # under its old server ID
    cluster.wait_active()
    kit.check_files(client, files, at=p.address)
    everywhere(cluster, files)
    cluster.verify()


def test_one_of_two_lost():
    with kit.Cluster(trackers=1, groups={"group1": 2}) as c:
        client, p = c.client(), c.storages[1]
        files = put_files(client, 20)
        p.kill()
        p.wipe()
        kit.check_files(client, files)
        p.start()
        c.wait_active()
        everywhere(c, files)
        c.verify()


def test_stopped_node(cluster):
    """SIGSTOP: a node that takes connections and answers nothing."""
    for p in (cluster.storages[0], cluster.storages[2]):
        with kit.load(cluster, timeout=2):
            time.sleep(1)
            p.freeze()
            time.sleep(7)
            p.thaw()
            time.sleep(1)
    cluster.verify()


@pytest.mark.parametrize("change", [False, True])
def test_stopped_leader(cluster, change):
    """What only the leader can say or do waits for the next one, no longer."""
    client = cluster.client()
    name = client.upload(b"begin;", ext="log", appender=True)
    p = cluster.leader()
    other = [s for s in cluster.storages if s is not p][0]
    # Connections and leader are known there.
    client.append(name, b"1;", at=other.address)
    p.freeze()
    begin = time.monotonic()
    if change:
        client.append(name, b"2;", at=other.address)
    else:
        assert client.download(name, at=other.address) == b"begin;1;"
    took = time.monotonic() - begin
    p.thaw()
    print("it took %.1f s, the slowest" % took)
    assert took < 5
    want = b"begin;1;2;" if change else b"begin;1;"
    for s in cluster.storages:
        assert client.download(name, at=s.address) == want


def test_wrong_secret(cluster):
    files = put_files(cluster.client(), 10)
    p = cluster.add_storage("group1", 9)
    p.env["CREEL_CLUSTER_SECRET"] = "another secret than theirs"
    p.start(wait=0)
    time.sleep(4)
    assert 9 not in cluster.nodes()
    assert "secret" in p.tail()
    p.kill()
    cluster.storages.remove(p)
    cluster.groups["group1"].remove(p)
    everywhere(cluster, files)
    put_files(cluster.client(), 10, seed=2)


def test_all_trackers_restarted(cluster):
    client = cluster.client()
    files = put_files(client, 20)
    for t in cluster.trackers:
        t.kill()
    for t in cluster.trackers:
        t.start()
    name = next(iter(files))
    begin = time.monotonic()
    while time.monotonic() < begin + 8:
        for t in cluster.trackers:
            for command, body in (
                (101, b""),
                (104, fdfs.group16("group1")),
                (102, fdfs.split(name)),
            ):
                status = fdfs.status(t.address, command, body)
                assert status in (0, fdfs.EAGAIN), (command, status)
                if time.monotonic() > begin + 5:
                    assert status == 0, command
        time.sleep(0.1)
    kit.check_files(client, files)
    put_files(client, 10, seed=2)


def test_deleted_while_a_node_is_away(cluster):
    client, p = cluster.client(), cluster.storages[2]
    files = put_files(client, 40)
    everywhere(cluster, files)
    p.kill()
    gone = list(files)[:20]
    for name in gone:
        kit.wait_for("deleted", lambda: client.delete(name) or True, 10)
        del files[name]
    p.start()
    cluster.wait_active()
    everywhere(cluster, files, gone)
    cluster.verify()
    time.sleep(2)
    everywhere(cluster, files, gone)


def test_disk_put_back(cluster):
    """A node is started from an old copy of its disk."""
    client, p = cluster.client(), cluster.storages[1]
    files = put_files(client, 30)
    everywhere(cluster, files)
    assert p.stop() == 0
    p.copy_to("old")
    p.start()
    cluster.wait_active()
    gone = list(files)[:10]
    for name in gone:
        client.delete(name)
        del files[name]
    files.update(put_files(client, 30, seed=2))
    files.update(put_files(client, 10, p.address, seed=3))
    p.kill()
    p.put_back("old")
    p.start()
    cluster.wait_active()
    everywhere(cluster, files, gone)
    files.update(put_files(client, 10, p.address, seed=4))
    everywhere(cluster, files, gone)
    cluster.verify()


@pytest.mark.parametrize("rest", ["identity", "index", "everything else"])
def test_bytes_lost_under_the_same_identity(cluster, rest):
    """A node that lost what it held and still has its identity, or the index of its
    files too, or its place in the group: it finds that out, and refills."""
    client, p = cluster.client(), cluster.storages[1]
    files = put_files(client, 60, p.address)
    files.update(put_files(client, 1, p.address, 3 << 20, seed=2))
    name = client.upload(b"log;", ext="log", appender=True, at=p.address)
    everywhere(cluster, files)
    gone = list(files)[::6]
    for one in gone:
        client.delete(one)
        del files[one]
    p.stop()  # which writes the index
    for folder in os.listdir(p.dir):
        kept = {
            "identity": ["creel.json"],
            "index": ["creel.json", "cluster"],
            "everything else": ["creel.json", "cluster", "findex"],
        }[rest]
        path = os.path.join(p.dir, folder)
        if folder not in kept and os.path.isdir(path):
            shutil.rmtree(path)
    p.start()
    cluster.wait_active()
    client.append(name, b"more;", at=p.address)
    everywhere(cluster, files, gone)
    # Not only read through: with the others gone it has all of it.
    wait = 100 if rest == "everything else" else 30

    def is_refilled():
        held = sum(n["files"] for n in cluster.nodes()[2]["paths"])
        return held >= len(files) and not lost_bytes(p)

    kit.wait_for("refilled", is_refilled, wait, 0.5)
    cluster.verify()
    for s in cluster.storages:
        if s is not p:
            s.kill()
    kit.check_files(client, files, gone, at=p.address)


def lost_bytes(p):
    """Of its volumes nothing is there."""
    folder = os.path.join(p.dir, "volumes")
    return not os.path.isdir(folder) or not os.listdir(folder)


def test_too_few_copies(cluster):
    """One of three takes no writes; what it has can be read."""
    client = cluster.client()
    files = put_files(client, 10)
    everywhere(cluster, files)
    left = cluster.storages[0]
    for p in cluster.storages[1:]:
        p.kill()
    end = time.monotonic() + 6
    while time.monotonic() < end:
        with pytest.raises((OSError, fdfs.FdfsError)):
            client.upload(b"too few", at=left.address)
        time.sleep(0.3)
    assert fdfs.status(cluster.trackers[0].address, 101) == fdfs.EAGAIN
    kit.check_files(client, files)
    cluster.storages[1].start()
    kit.wait_for("writes", lambda: client.upload(b"two again"), 15)
    cluster.storages[2].start()
    cluster.wait_active()
    cluster.verify()


def test_appender_and_meta(cluster):
    """Changes go through the leader, whichever node is asked, and survive it."""
    client = cluster.client()
    name = client.upload(b"begin;", ext="log", appender=True)
    want = b"begin;"
    for i, p in enumerate(cluster.storages * 2):
        client.append(name, b"%d;" % i, at=p.address)
        want += b"%d;" % i
        client.set_meta(name, {"n": str(i)}, at=p.address)
    for p in cluster.storages:
        assert client.download(name, at=p.address) == want
        assert client.get_meta(name, at=p.address) == {"n": "5"}
    p = cluster.leader()
    p.kill()

    def append():
        client.append(name, b"end")
        return True

    kit.wait_for("appended without it", append, 10)
    got = kit.read(client, name)
    # An append whose answer was lost may have happened too.
    assert got.startswith(want) and set(got[len(want) :].split(b"end")) == {b""}
    p.start()
    cluster.wait_active()
    for p in cluster.storages:
        assert client.download(name, at=p.address) == got
    cluster.verify()


def test_added_and_removed(cluster):
    client = cluster.client()
    files = put_files(client, 30)
    p = cluster.add_storage("group1")
    p.start()
    cluster.wait_active()
    kit.check_files(client, files, at=p.address)
    cluster.verify()
    out = cluster.admin("cluster", "remove", "4").stdout
    assert b"no member" in out
    kit.wait_for("told to nobody", lambda: 4 not in members(cluster), 10)
    p.kill()
    p.start(wait=0)  # it stays out
    files.update(put_files(client, 10, seed=2))
    time.sleep(3)
    assert 4 not in members(cluster)
    p.kill()
    cluster.storages.remove(p)
    cluster.groups["group1"].remove(p)
    everywhere(cluster, files)
    cluster.verify()


def members(cluster):
    return {
        m["server_id"]
        for g in cluster.status()["groups"]
        for n in g["nodes"]
        if n["heard"] and n["server_id"] != 4
        for m in n["members"]
    }


@pytest.mark.parametrize("offset", [-3600, 3600])
def test_clock_an_hour_off(cluster, offset):
    """That of a node, and the other way round that of a tracker."""
    client, p = cluster.client(), cluster.storages[1]
    files = put_files(client, 10)
    for one, seconds in ((p, offset), (cluster.trackers[0], -offset)):
        one.stop()
        one.env["CREEL_TEST_CLOCK_OFFSET"] = str(seconds)
        one.start()
    cluster.wait_active()
    files.update(put_files(client, 10, p.address, seed=2))
    gone = list(files)[5:15]
    for name in gone:
        client.delete(name)
        del files[name]
    everywhere(cluster, files, gone)
    cluster.verify()


def test_two_groups():
    turns = ["--store-lookup", "round_robin"]
    groups = {"group1": 2, "group2": 2}
    with kit.Cluster(trackers=2, groups=groups, tracker_args=turns) as c:
        client = c.client()
        files = put_files(client, 40)
        assert {n.split("/")[0] for n in files} == {"group1", "group2"}
        # A group without enough nodes is left out; its files are still read.
        c.storages[0].kill()
        kit.wait_for(
            "group1 left out",
            lambda: not any(c.active(t, "group1") for t in c.trackers),
            20,
        )
        more = put_files(client, 20, seed=2)
        assert {n.split("/")[0] for n in more} == {"group2"}
        files.update(more)
        kit.check_files(client, files)
        c.storages[0].start()
        c.wait_active()
        c.verify()


def test_all_killed_at_once(cluster):
    """The power fails: everything at the same moment, in the middle of it all."""
    loads = [kit.Load(cluster, seed) for seed in range(3)]
    for one in loads:
        one.start()
    for _ in range(3 if FULL else 1):
        time.sleep(3)
        for p in cluster.storages + cluster.trackers:
            p.process.kill()
        for p in cluster.storages + cluster.trackers:
            p.kill()
        for p in cluster.trackers:
            p.start()
        for p in cluster.storages:
            p.start(wait=0)
        cluster.wait_active()
    for one in loads:
        one.read_errors.clear()  # there was nobody to read from
        one.finish()
        one.check(cluster.client())
        assert one.writes > 10, one.writes
    cluster.verify()


def test_dead_node_replaced(cluster):
    """A node that will not come back is taken out, another one takes its place."""
    client, dead = cluster.client(), cluster.storages[1]
    files = put_files(client, 30)
    dead.kill()
    dead.wipe()
    cluster.admin("cluster", "remove", str(dead.server_id))
    cluster.storages.remove(dead)
    cluster.groups["group1"].remove(dead)
    assert dead.server_id not in cluster.nodes()
    files.update(put_files(client, 10, seed=2))
    p = cluster.add_storage("group1", 8)
    p.start()
    cluster.wait_active()
    everywhere(cluster, files)
    cluster.verify()
    # With two of the three that there are now it goes on.
    cluster.storages[0].kill()
    name = kit.wait_for("upload", lambda: client.upload(b"two of three"), 10)
    assert kit.read(client, name) == b"two of three"


# --- cuts ---


@pytest.fixture
def apart():
    """The same on hosts of their own."""
    with kit.Cluster(trackers=2, groups={"group1": 3}, net=True) as c:
        yield c


def test_cable_pulled(apart):
    """One node is off the network for a while, and finds its way back."""
    with kit.load(apart, timeout=2):
        time.sleep(1)
        apart.net.pull("s2")
        time.sleep(8)
        apart.net.plug("s2")
        time.sleep(2)
    apart.verify()


def test_two_nodes_apart(apart):
    """Both reach the third and the trackers, not each other."""
    with kit.load(apart, timeout=3):
        time.sleep(1)
        apart.net.cut("s1", "s2")
        time.sleep(8)
        apart.net.heal("s1", "s2")
        time.sleep(1)
    apart.verify()


if FULL:  # a minute

    def test_change_under_way(apart):
        """A node dies with a change under way to the leader, in the kernel's buffers.
        The way opens after half a minute: what was acknowledged since is not
        followed by it any more."""
        client, leader = apart.client(), apart.leader()
        asked, rest = [s for s in apart.storages if s is not leader]
        name = client.upload(b"begin;", ext="log", appender=True)
        # There is a connection.
        client.append(name, b"1;", at=asked.address)
        apart.net.cut(asked.name, leader.name)
        with pytest.raises((OSError, fdfs.FdfsError)):
            apart.client(0.4).append(name, b"late;", at=asked.address)
        asked.kill()
        client.append(name, b"2;", at=rest.address)
        time.sleep(33)
        apart.net.heal(asked.name, leader.name)
        # TCP tries again after 51 s.
        for _ in range(30):
            time.sleep(1)
            got = client.download(name, at=leader.address)
            # Where the kill came late it went another way before.
            assert got in (b"begin;1;2;", b"begin;1;late;2;")


def test_cut_from_the_leader(apart):
    """A node that reaches the third one alone has that pass its changes on: within
    2 s of the cut, and then at once."""
    client, leader = apart.client(), apart.leader()
    cut_off = next(s for s in apart.storages if s is not leader)
    name = client.upload(b"begin;", ext="log", appender=True, at=cut_off.address)
    gone = client.upload(b"gone", at=cut_off.address)
    want, took = b"begin;", []
    apart.net.cut(leader.name, cut_off.name)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        begin = time.monotonic()
        client.append(name, b"%d;" % len(took), at=cut_off.address)
        took.append(time.monotonic() - begin)
        want += b"%d;" % (len(took) - 1)
        assert client.download(name, at=cut_off.address) == want
    client.set_meta(name, {"n": "1"}, at=cut_off.address)
    assert client.get_meta(name, at=cut_off.address) == {"n": "1"}
    client.delete(gone, at=cut_off.address)
    print("%d appends, the slowest %.2f s" % (len(took), max(took)))
    assert max(took) < 2.5 and len([t for t in took if t > 1]) <= 2, took
    assert apart.leader() is leader
    apart.net.heal(leader.name, cut_off.name)
    time.sleep(2)
    for s in apart.storages:
        assert client.download(name, at=s.address) == want
        assert client.get_meta(name, at=s.address) == {"n": "1"}
        with pytest.raises(fdfs.FdfsError) as e:
            client.download(gone, at=s.address)
        assert e.value.status == fdfs.ENOENT
    apart.verify()


def test_one_alone(apart):
    """Two copies are needed: a node by itself, with clients that reach it,
    acknowledges nothing."""
    client, alone = apart.client(), apart.storages[0]
    files = put_files(client, 10)
    for other in ("s2", "s3"):
        apart.net.cut("s1", other)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        with pytest.raises((OSError, fdfs.FdfsError)):
            client.upload(b"alone", at=alone.address)
        for name in list(files)[:3]:
            assert client.download(name, at=alone.address) == files[name]
    # The other two go on, and the trackers send writers there.
    files.update(put_files(client, 10, seed=2))
    gone = list(files)[:5]
    for name in gone:
        kit.wait_for("deleted", lambda: client.delete(name) or True, 10)
        del files[name]
    for other in ("s2", "s3"):
        apart.net.heal("s1", other)
    apart.wait_active()
    apart.verify()
    everywhere(apart, files, gone)


# --- disks ---


def test_leaders_disk_fails(cluster):
    """The folder of the leader's store path is gone (its disk was unmounted): it can't
    begin another volume, and another node orders changes."""
    client, leader = cluster.client(timeout=5), cluster.leader()
    others = [s for s in cluster.storages if s is not leader]
    name = client.upload(b"", ext="log", appender=True, at=others[0].address)
    os.rename(leader.dir, leader.dir + ".gone")
    r, want = random.Random(5), b""
    end = time.monotonic() + 60
    while cluster.leader() is leader:
        assert time.monotonic() < end
        for s in others:
            client.upload(r.randbytes(1 << 20), at=s.address)
        for s in others:
            piece = r.randbytes(1000)
            client.append(name, piece, at=s.address)  # never an error
            want += piece
    assert "another node is to order changes" in leader.tail()
    for s in cluster.storages:
        client.append(name, b"on;", at=s.address)
        want += b"on;"
        assert client.download(name, at=s.address) == want
    leader.kill()
    shutil.rmtree(leader.dir, ignore_errors=True)
    os.rename(leader.dir + ".gone", leader.dir)
    leader.start()
    cluster.wait_active()
    for s in cluster.storages:
        assert client.download(name, at=s.address) == want
    cluster.verify()


def test_full_disk_on_one(cluster):
    """One node runs out of space: the others go on, nothing is lost, and what it
    lacks can be read through it."""
    p = cluster.add_storage("group1", args=["--reserved-space", "8M"])
    os.makedirs(p.dir)
    kit.small_disk(p.dir, "96M")
    try:
        p.start()
        cluster.wait_active()
        client = cluster.client()
        files = put_files(client, 20)
        r = random.Random(7)
        while sum(map(len, files.values())) < 120 << 20:
            data = r.randbytes(1 << 20)
            files[kit.wait_for("upload", lambda: client.upload(data), 10)] = data
        assert all(client.where_to_store()[0] != p.address for _ in range(20))
        with pytest.raises(fdfs.FdfsError) as e:
            client.upload(b"x" * (1 << 20), at=p.address)
        assert e.value.status in (fdfs.ENOSPC, fdfs.EAGAIN, fdfs.EBUSY)
        everywhere(cluster, files)  # read through where there was no room
        gone = list(files)[10:100]
        for name in gone:
            client.delete(name)
            del files[name]
        everywhere(cluster, files, gone)
        p.kill()
        p.start()
        everywhere(cluster, files, gone)
    finally:
        p.kill()
        kit.unmount(p.dir)
