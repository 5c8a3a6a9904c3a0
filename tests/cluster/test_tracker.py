"""A tracker by itself, with storage nodes and gateways that are played."""

import os
import struct
import time

import pytest

import fdfs
import kit
import rpc

SECRET = kit.CLUSTER_SECRET.encode()
GROUP_ID = b"G" * 16


@pytest.fixture
def cluster():
    with kit.Cluster(trackers=2) as c:
        yield c


class Fake:
    """A storage node that only announces itself."""

    def __init__(
        self, server_id, group="group1", members=(1, 2, 3), group_id=GROUP_ID, **more
    ):
        self.server_id, self.group, self.more = server_id, group, more
        self.ident = self.id_of(server_id)
        self.members = [(self.id_of(m), m, self.at(m)) for m in members]
        self.group_id = group_id if members else bytes(16)

    def id_of(self, server_id):
        return ("%s/%d" % (self.group, server_id)).encode().ljust(16, b"-")[:16]

    @staticmethod
    def at(server_id):
        return ("127.0.1.%d" % server_id, 23000)

    def connect(self, tracker):
        return rpc.Rpc(
            tracker.address, SECRET, rpc.NODE, self.ident, self.group, self.server_id
        )

    open = {}  # connections stay: without any a node is dead

    def kept(self, tracker):
        key = (tracker.process.pid, self.ident)
        if key not in Fake.open:
            Fake.open[key] = self.connect(tracker)
        return Fake.open[key]

    def die(self, tracker):
        Fake.open.pop((tracker.process.pid, self.ident)).close()

    def announce(self, tracker, **more):
        args = rpc.node(
            self.ident,
            self.group,
            self.group_id,
            self.server_id,
            self.at(self.server_id),
            self.members,
            **dict(self.more, **more)
        )
        return self.kept(tracker).call(rpc.ANNOUNCE, args)[1]

    def found(self, tracker):
        with self.connect(tracker) as r:
            r.call(rpc.FOUND)


def admin(tracker):
    return rpc.Rpc(tracker.address, SECRET, rpc.ADMIN)


def everybody(cluster, **more):
    for t in cluster.trackers:
        for i in (1, 2, 3):
            Fake(i).announce(t, **more)


def test_nobody_there(cluster):
    a = cluster.trackers[0].address
    name = fdfs.group16("group1") + b"M00/00/00/" + b"A" * 34
    assert fdfs.status(a, 101) == fdfs.EAGAIN
    assert fdfs.status(a, 104, fdfs.group16("group1")) == fdfs.EAGAIN
    assert fdfs.status(a, 102, name) == fdfs.EAGAIN
    kit.wait_for("no such group", lambda: fdfs.status(a, 101) == fdfs.ENOENT, 10)
    assert fdfs.status(a, 104, fdfs.group16("group1")) == fdfs.ENOENT
    assert fdfs.status(a, 102, name) == fdfs.ENOENT
    assert fdfs.ask(a, 91) == b""


def test_uploads_and_downloads(cluster):
    everybody(cluster)
    a = cluster.trackers[1].address
    seen = set()
    for _ in range(6):
        group, found, path = fdfs.servers(fdfs.ask(a, 101), True)
        assert group == "group1" and path == 0
        seen.add(found[0])
    assert seen == {Fake.at(i) for i in (1, 2, 3)}
    assert len(fdfs.servers(fdfs.ask(a, 106), True)[1]) == 3
    for command in (102, 103, 105):
        body = fdfs.group16("group1") + b"M00/00/00/" + b"A" * 34
        assert fdfs.servers(fdfs.ask(a, command, body), False)[1][0] in seen
    body = fdfs.ask(a, 92, fdfs.group16("group1"))
    assert len(body) == 3 * 487
    assert [body[i] for i in (0, 487, 974)] == [7, 7, 7]


def test_who_is_silent_gets_nothing(cluster):
    everybody(cluster)
    t = cluster.trackers[0]
    end = time.monotonic() + 5
    while time.monotonic() < end:
        Fake(2).announce(t)
        time.sleep(0.2)
    for _ in range(6):
        assert fdfs.servers(fdfs.ask(t.address, 101), True)[1] == [Fake.at(2)]
    # The other tracker has heard nobody for long: again, not "no such group".
    assert fdfs.status(cluster.trackers[1].address, 101) == fdfs.EAGAIN
    body = fdfs.ask(t.address, 92, fdfs.group16("group1"))
    assert [body[i] for i in (0, 487, 974)] == [5, 7, 5]


def test_who_dies_gets_nothing_at_once(cluster):
    everybody(cluster)
    t = cluster.trackers[0]
    Fake(1).die(t)
    kit.wait_for(
        "seen",
        lambda: Fake.at(1) not in fdfs.servers(fdfs.ask(t.address, 106), True)[1],
        1,
        0.01,
    )
    with Fake(2).connect(t):
        pass  # one of its two connections
    time.sleep(0.2)
    assert Fake.at(2) in fdfs.servers(fdfs.ask(t.address, 106), True)[1]
    Fake(1).announce(t)
    assert Fake.at(1) in fdfs.servers(fdfs.ask(t.address, 106), True)[1]


def test_full(cluster):
    everybody(cluster, avail=100 << 20)
    assert fdfs.status(cluster.trackers[0].address, 101) == fdfs.ENOSPC


def test_restart_keeps_the_groups(cluster):
    everybody(cluster)
    t = cluster.trackers[0]
    time.sleep(0.6)
    t.kill()
    t.start()
    # Long after the time of listening it still is "again".
    end = time.monotonic() + 7
    while time.monotonic() < end:
        assert fdfs.status(t.address, 104, fdfs.group16("group1")) == fdfs.EAGAIN
        assert fdfs.status(t.address, 104, fdfs.group16("group2")) in (11, 2)
        time.sleep(0.2)
    assert fdfs.status(t.address, 104, fdfs.group16("group2")) == fdfs.ENOENT
    Fake(3).announce(t)
    assert fdfs.servers(fdfs.ask(t.address, 101), True)[1] == [Fake.at(3)]


def test_a_damaged_file_is_set_aside(cluster):
    everybody(cluster)
    t = cluster.trackers[0]
    time.sleep(0.6)
    t.stop()
    path = os.path.join(t.dir, "groups")
    with open(path, "r+b") as f:
        f.seek(20)
        f.write(b"\xff")
    t.start()
    assert "checksum" in t.tail()
    Fake(1).announce(t)
    assert fdfs.status(t.address, 101) == 0


def test_founding(cluster):
    t, u = cluster.trackers
    for tracker in (t, u):
        kit.wait_for("listened", lambda: founded(tracker, 1), 10)
    with pytest.raises(rpc.RpcError) as e:
        Fake(2, members=()).found(t)
    assert e.value.name == "BUSY"
    Fake(1, members=()).found(t)  # asked again
    Fake(1, members=(1,)).announce(t)
    with pytest.raises(rpc.RpcError) as e:
        Fake(2, members=()).found(t)
    assert e.value.name == "EXISTS"


def founded(tracker, server_id):
    try:
        Fake(server_id, members=()).found(tracker)
        return True
    except rpc.RpcError as e:
        assert e.name == "RETRY", e
        return False


def test_announcing_for_another(cluster):
    t = cluster.trackers[0]
    args = rpc.node(b"x" * 16, "group1", GROUP_ID, 1, Fake.at(1), [])
    with Fake(1).connect(t) as r, pytest.raises(rpc.RpcError) as e:
        r.call(rpc.ANNOUNCE, args)
    assert e.value.name == "INVALID"
    with Fake(1).connect(t) as r, pytest.raises(rpc.RpcError) as e:
        r.call(rpc.ANNOUNCE, args[:60])
    assert e.value.name == "INVALID"
    with Fake(1).connect(t) as r:
        with pytest.raises(rpc.RpcError):
            r.call(rpc.FORGET, rpc.pack_text("group1") + struct.pack("<I", 0))


def test_map_and_status(cluster):
    everybody(cluster, reason="", state=rpc.ACTIVE)
    Fake(2).announce(cluster.trackers[0], state=rpc.RECOVERY, reason="refills its disk")
    gate = rpc.Rpc(cluster.trackers[0].address, SECRET, rpc.GATE, b"g" * 16)
    gate.call(
        rpc.GATE_ANNOUNCE,
        b"i" * 16
        + struct.pack("<Q", 3)
        + rpc.pack_addr(("", 9000))
        + rpc.pack_text("0.1.0"),
    )
    _, body = gate.call(rpc.MAP)
    seq = body[:8]
    assert gate.call(rpc.MAP, seq)[1] == b""
    Fake(2).announce(cluster.trackers[0])
    assert gate.call(rpc.MAP, seq)[1] != b""
    assert gate.call(rpc.MAP, bytes(8) + rpc.pack_text("nogroup"))[1] != b""
    gate.close()
    Fake(2).announce(cluster.trackers[0], state=rpc.RECOVERY, reason="refills its disk")
    st = cluster.status()
    assert [g["group"] for g in st["groups"]] == ["group1"]
    assert st["groups"][0]["nodes"][1]["reason"] == "refills its disk"
    assert st["groups"][0]["nodes"][1]["state"] == "RECOVERY"
    assert st["gateways"][0]["address"] == "127.0.0.1:9000"
    assert len(st["trackers"]) == 2 and sum(t["self"] for t in st["trackers"]) == 1
    table = cluster.admin("cluster", "status").stdout.decode()
    assert "refills its disk" in table and "127.0.1.3:23000" in table


def test_a_dead_tracker_is_seen(cluster):
    def heard():
        return sorted(bool(t["heard"]) for t in cluster.status()["trackers"])

    kit.wait_for("both seen", lambda: heard() == [True, True], 10)
    cluster.trackers[0].kill()
    kit.wait_for("one is gone", lambda: heard() == [False, True], 10)


def test_forget(cluster):
    t = cluster.trackers[0]
    everybody(cluster)
    args = rpc.pack_text("group1") + struct.pack("<I", 0)
    with admin(t) as r:
        with pytest.raises(rpc.RpcError) as e:
            r.call(rpc.FORGET, args)
        assert e.value.name == "BUSY"
        time.sleep(3.5)
        r.call(rpc.FORGET, args)
    assert fdfs.status(t.address, 104, fdfs.group16("group1")) in (2, 11)
    with admin(t) as r, pytest.raises(rpc.RpcError) as e:
        r.call(rpc.FORGET, args)
    assert e.value.name == "NOT_FOUND"


def test_secret(cluster):
    t = cluster.trackers[0]
    # Another secret means another cluster ID; the same ID, and a wrong proof.
    with pytest.raises(fdfs.FdfsError) as e:
        rpc.Rpc(t.address, b"another secret than that one")
    assert e.value.status == fdfs.EACCES
    with pytest.raises((AssertionError, fdfs.FdfsError)):
        rpc.Rpc(t.address, b"another secret", cluster=rpc.derived_cluster_id(SECRET))
    # Half a handshake opens nothing.
    r = rpc.Rpc(t.address, SECRET, rpc.ADMIN, prove=False)
    with pytest.raises((fdfs.FdfsError, ConnectionError)):
        r.call(rpc.MAP)
    done = cluster.admin("cluster", "status")
    assert done.returncode == 0
    cluster.secret = "not the secret of this cluster"
    done = cluster.admin("cluster", "status", check=False)
    assert done.returncode == 1 and b"secret" in done.stderr


def test_allow_hosts():
    c = kit.Cluster(trackers=1)
    i = c.trackers[0].words.index("--allow-hosts")
    del c.trackers[0].words[i : i + 2]
    conf = os.path.join(c.dir, "tracker.conf")
    with open(conf, "w") as f:
        f.write("allow_hosts = 10.1.2.3\n")
    c.trackers[0].words += ["--config", conf]
    with c:
        a = c.trackers[0].address
        for command, body in ((101, b""), (91, b""), (75, b""), (95, b"")):
            assert fdfs.status(a, command, body) == fdfs.EACCES
        assert fdfs.status(a, 111) == 0
        for i in (1, 2, 3):
            Fake(i).announce(c.trackers[0])  # Creel's own are let in
        with open(conf, "w") as f:
            f.write("allow_hosts = 127.0.0.0/8\nstore_server = first\n")
        c.trackers[0].hup()
        kit.wait_for("let in", lambda: fdfs.status(a, 101) == 0, 5)
        assert fdfs.servers(fdfs.ask(a, 101), True)[1] == [Fake.at(1)]
        # A wrong file changes nothing.
        with open(conf, "w") as f:
            f.write("allow_hosts = nonsense\n")
        c.trackers[0].hup()
        kit.wait_for("said", lambda: "nonsense" in c.trackers[0].tail(), 5)
        assert fdfs.status(a, 111) == 0 and fdfs.status(a, 91) == 0


def test_wide_port():
    port = kit.free_port()
    args = ["--tracker-wide-address", "127.0.0.1:%d" % port]
    with kit.Cluster(trackers=1, tracker_args=args) as c:
        for i in (1, 2, 3):
            Fake(i).announce(c.trackers[0])
        wide = ("127.0.0.1", port)
        assert len(fdfs.ask(wide, 101)) == 70
        assert len(fdfs.ask(c.trackers[0].address, 101)) == 40
        assert len(fdfs.ask(wide, 92, fdfs.group16("group1"))) == 3 * 517
        assert b"response_ip_addr_size=46" in fdfs.ask(wide, 75)


def test_cut_off():
    """A tracker whose cable is out hears nobody, and says so once it is back."""
    with kit.Cluster(trackers=2, net=True) as c:
        for t in c.trackers:
            for i in (1, 2, 3):
                Fake(i).announce(t)
        c.net.pull("t1")
        with pytest.raises(OSError):
            fdfs.ask(c.trackers[0].address, 101, timeout=1)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for i in (1, 2, 3):
                Fake(i).announce(c.trackers[1])
            assert fdfs.status(c.trackers[1].address, 101) == 0
            time.sleep(0.5)
        c.net.plug("t1")
        t = c.trackers[0].address
        kit.wait_for("there again", lambda: fdfs.status(t, 111) == 0, 5)
        assert fdfs.status(t, 101) == fdfs.EAGAIN
        Fake(2).announce(c.trackers[0])
        assert fdfs.servers(fdfs.ask(t, 101), True)[1] == [Fake.at(2)]


def test_one_process_a_directory(cluster):
    t = cluster.trackers[0]
    other = kit.Process(cluster, "t1", kit.free_port(), list(t.words))
    i = other.words.index("--tracker-address")
    other.words[i + 1] = "127.0.0.1:%d" % other.port
    other.start(wait=0)
    assert other.process.wait(10) == 1
    assert "in use by another process" in other.tail()


def test_stop(cluster):
    assert cluster.trackers[0].stop() == 0
    assert cluster.trackers[1].stop() == 0


def test_bad_requests(cluster):
    """Malformed bytes on the port cost nothing but an error."""
    a = cluster.trackers[0].address
    r = os.urandom
    for body in (b"", b"\0", r(15), r(16), r(40), r(500)):
        for command in (
            90,
            92,
            93,
            94,
            101,
            102,
            103,
            104,
            105,
            69,
            70,
            71,
            96,
            97,
            109,
            200,
            201,
        ):
            try:
                fdfs.ask(a, command, body)
            except (fdfs.FdfsError, ConnectionError):
                pass
    assert fdfs.status(a, 111) == 0
    assert cluster.trackers[0].is_up
