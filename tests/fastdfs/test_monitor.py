"""What FastDFS's monitoring tools read of tracker and nodes: every field says
what it is called."""

import struct
import time

import fdfs
from kit import wait_for

GROUPS, STORAGES, TRACKER_STAT, VOLUMES = 91, 92, 96, 98

COUNTS = "upload append modify truncate set_meta delete download get_meta link unlink".split()
BYTES = "upload_bytes append_bytes modify_bytes download_bytes sync_in sync_out".split()
FILES = ["open", "read", "write"]
TIMES = "last_source_update last_sync_update last_synced last_heartbeat".split()


def group_of(tracker):
    body = fdfs.ask(tracker.address, GROUPS)
    assert len(body) == 113
    names = "total free reserved trunk count port readable writable writer paths"
    numbers = struct.unpack(">12q", body[17:])
    return dict(zip((names + " subdirs trunk_file").split(), numbers))


def storages_of(tracker):
    """Server ID -> its record, with pairs (total, success) of the counters."""
    body = fdfs.ask(tracker.address, STORAGES, fdfs.group16("group1"))
    assert len(body) % 487 == 0
    found = {}
    for at in range(0, len(body), 487):
        b = body[at : at + 487]
        names = "joined started total free reserved priority paths subdirs path port"
        d = dict(zip(names.split(), struct.unpack(">10q", b[58:138])))
        d["state"], d["mode"] = b[0], b[1]
        d["conn"] = struct.unpack(">3i", b[138:150])
        v = struct.unpack(">42q", b[150:486])
        for i, name in enumerate(COUNTS + BYTES + FILES):
            d[name] = (v[2 * i], v[2 * i + 1])
        d.update(zip(TIMES, v[38:]))
        found[int(fdfs.text(b[2:18]))] = d
    return found


def total(nodes, name):
    return sum(d[name][1] for d in nodes.values())


def test_statistics(three):
    began = int(time.time())
    c, tracker = three.client(), three.trackers[0]
    before = storages_of(tracker)
    small = [c.upload(bytes([i]) * 1000) for i in range(30)]
    large = c.upload(b"large" * 500000)
    appender = c.upload(b"begin", appender=True)
    c.append(appender, b"end")
    c.set_meta(small[0], {"k": "v"})
    for file_id in small + [large]:
        c.download(file_id)
    c.delete(small[1])
    try:
        c.delete(small[1])
        raise AssertionError("deleted twice")
    except fdfs.FdfsError:
        pass

    # Each node tells its own: the sums, and what went out came in.
    sent = 30 * 1000 + len(b"large" * 500000)

    def grown():
        now = storages_of(tracker)
        more = {n: total(now, n) - total(before, n) for n in COUNTS + BYTES}
        failed = sum(d["delete"][0] - d["delete"][1] for d in now.values())
        failed -= sum(d["delete"][0] - d["delete"][1] for d in before.values())
        want = {"upload": 32, "append": 1, "set_meta": 1, "delete": 1, "download": 31}
        want.update(upload_bytes=sent + 5, append_bytes=3, download_bytes=sent)
        if any(more[n] != want[n] for n in want) or failed != 1:
            raise RuntimeError("%s, %d failed" % (more, failed))
        # Two other nodes hold each byte.
        if more["sync_in"] != more["sync_out"] or more["sync_in"] < 2 * sent:
            raise RuntimeError("synced: %s" % more)
        return now

    for d in wait_for("sums of what was done", grown, 20).values():
        assert d["state"] == 7 and d["mode"] == 6
        assert began - 600 < d["joined"] <= d["started"] + 1 <= time.time() + 1
        assert d["last_sync_update"] >= began and d["last_heartbeat"] >= began
        assert d["last_synced"] >= began
        for name in COUNTS + BYTES + FILES:
            assert d[name][0] >= d[name][1] >= 0, name
        for name in FILES:
            assert d[name][1] > 0, name
        alloc, current, most = d["conn"]
        assert alloc >= most >= current > 0


def test_room_is_told_alike(three):
    """Group, volume and nodes: one idea of what is reserved and left."""
    tracker = three.trackers[0]
    group, nodes = group_of(tracker), storages_of(tracker)
    assert group["count"] == group["readable"] == group["writable"] == len(nodes) == 3
    assert group["reserved"] == max(d["reserved"] for d in nodes.values()) > 0
    assert 0 < group["free"] <= group["total"]
    body = fdfs.ask(tracker.address, VOLUMES, bytes(4))
    free, reserved, available = struct.unpack(">3q", body[5 + 25 : 5 + 49])
    assert reserved == group["reserved"] and available == max(free - reserved, 0)


def test_tracker_counts_its_connections(three):
    body = fdfs.ask(three.trackers[0].address, TRACKER_STAT, bytes(3))
    assert body[0] == 1 and len(body) == 1 + 90
    alloc, current, most = struct.unpack(">3i", body[1 + 54 : 1 + 66])
    assert alloc >= most >= current > 0
    started, heard = struct.unpack(">2q", body[1 + 74 :])
    assert 0 < started <= heard <= time.time() + 1


def test_join_time_stays(node):
    """It is the disk's, not the process's."""
    tracker, at = node.trackers[0], node.storages[0]
    joined = storages_of(tracker)[1]["joined"]
    assert joined > 0
    began = time.time()
    at.kill()
    at.start()
    node.wait_active()
    restarted = wait_for(
        "the new start to be told",
        lambda: storages_of(tracker)[1]["started"] >= int(began) and storages_of(tracker)[1],
    )
    assert restarted["joined"] == joined
