"""Power cuts: a server starts on whatever a cut may leave, and every write that
was acknowledged before it reads back whole (P1, P2, P4).

test_power_cut     many random cuts of one trace.
test_every_sync    the same with one call site of a sync ignored, for each call
                   site: some cut then has to lose something. A sync that no
                   cut misses is either useless or not tested.
"""

import bisect
import os
import random
import shutil
import signal
import subprocess
import tempfile

import pytest

import powercut
from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, Server, binary
from workload import Load

HERE = os.path.dirname(os.path.abspath(__file__))
# Small, so that a short trace holds many of everything: volumes, segments of
# the log, flushes into LMDB, archived pieces.
SETTINGS = {
    "CREEL_VOLUME_SIZE": "1MiB",
    "CREEL_MAX_CONNECTIONS": "16",  # few threads: starts sooner
    "CREEL_SMALL_FILE_LIMIT": "64KiB",
    "CREEL_INDEX_TABLE_MAX": "64KiB",
    "CREEL_INDEX_LOG_SEGMENT": "64KiB",
    "CREEL_INDEX_ARCHIVE_INTERVAL": "1s",
}
# For each sync to be missed: the archive keeps segments of the log for longer
# than they are needed, and frequent flushes make up for one another.
SPARSE = dict(
    SETTINGS,
    CREEL_INDEX_TABLE_MAX="256KiB",
    CREEL_INDEX_ARCHIVE_INTERVAL="0s",
)
FULL = bool(os.environ.get("CREEL_FULL"))


class Recording:
    def __init__(self, folder, settings):
        self.folder, self.settings = folder, settings
        self.trace = os.path.join(folder, "trace")
        self.data = os.path.join(folder, "data")
        os.mkdir(self.data)
        lib = os.path.join(folder, "powercut.so")
        subprocess.run(
            ["cc", "-std=gnu17", "-O2", "-g", "-shared", "-fPIC", "-D_GNU_SOURCE"]
            + ["-o", lib, os.path.join(HERE, "powercut.c"), "-ldl"],
            check=True,
        )
        env = dict(settings)
        env.update(
            LD_PRELOAD=lib,
            CREEL_POWERCUT_ROOT=self.data,
            CREEL_POWERCUT_TRACE=self.trace,
        )
        server = Server(data=self.data, env=env)
        self.load = Load(
            lambda: Client("127.0.0.1", server.port, ACCESS_KEY, SECRET),
            lambda: os.stat(self.trace).st_size,
            seed=11,
            sizes=[0, 1, 300, 1000, 4096, 4096, 20000, 70000],
            rare=0.01,
        )
        # One more that is long enough to be written directly, beside the rest.
        self.load.LARGE = Load.LARGE + [9 * 1024 * 1024 + 5]
        try:
            server.start()
            self.start = os.stat(self.trace).st_size
            self.load.create_bucket()
            self.load.run(6, 400 if FULL else 200)
            status = server.stop()
        finally:
            server.cleanup()
        assert status == 0, "the recorder, or the server, gave up"
        assert not self.load.errors, self.load.errors[:5]
        assert self.load.acknowledged > 200
        self.records = list(powercut.records(self.trace))
        self.positions = [pos for pos, _ in self.records]
        self.acks = sorted(
            op.end for ops in self.load.history.values() for op in ops if op.end
        )

    def next_sync_end(self, pos):
        """Where the next sync of the file that record `pos` is about ends, if it
        began after that record; else the end of the trace."""
        i = bisect.bisect_left(self.positions, pos)
        ino, sync = self.records[i][1][6], None
        for at, record in self.records[i + 1 :]:
            if record[6] != ino:
                continue
            if record[0] == powercut.SYNC_BEGIN and sync is None:
                sync = record[7]
            elif record[0] == powercut.SYNC_END and sync == record[7]:
                # not of the very sync that is looked at
                return at
        return self.positions[-1]

    def try_cuts(self, cuts, ignore=None):
        """cuts: sorted [(position, data chance, name chance, seed)]. Yields
        (cut, complaints)."""
        disk = powercut.Disk(ignore)
        cuts = list(cuts)
        for pos, record in self.records:
            while cuts and cuts[0][0] < pos:
                cut = cuts.pop(0)
                yield cut, self.try_image(disk, cut)
            disk.step(pos, record)
        for cut in cuts:
            yield cut, self.try_image(disk, cut)

    def try_image(self, disk, cut):
        pos, data_chance, name_chance, seed = cut
        folder = tempfile.mkdtemp(dir=self.folder, prefix="image-")
        server = Server(data=folder, env=self.settings)
        try:
            disk.image(folder, random.Random(seed), data_chance, name_chance)
            try:
                server.start(wait=15)
            except RuntimeError as e:
                return ["does not start: %s" % e]
            client = Client("127.0.0.1", server.port, ACCESS_KEY, SECRET)
            try:
                bad = self.load.verify(client, pos)
                r = client.put("/crash/after", b"new")
                if r.status not in (200, 404):
                    bad.append("no write after the cut: %r" % r)
            except (OSError, EOFError) as e:
                bad = ["died: %s %s" % (e, server.tail())]
            client.close()
            return bad
        finally:
            server.cleanup()
            shutil.rmtree(folder)


@pytest.fixture
def folder():
    folder = tempfile.mkdtemp(prefix="creel-powercut-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_recorder_and_images(folder):
    lib = os.path.join(folder, "powercut.so")
    subprocess.run(
        ["cc", "-std=gnu17", "-O2", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", lib]
        + [os.path.join(HERE, "powercut.c"), "-ldl"],
        check=True,
    )
    subprocess.run(["/usr/bin/python3", os.path.join(HERE, "powercut.py"), lib], check=True)


def test_power_cut(folder):
    recording = Recording(folder, SETTINGS)
    rng = random.Random(3)
    cuts = []
    for i in range(400 if FULL else 80):
        if i % 4 == 0:
            pos = rng.choice(recording.acks)  # right after an answer
        else:
            pos = rng.choice(recording.positions)
        cuts.append((pos,) + powercut.chances(rng) + (rng.random(),))
    cuts.append((recording.positions[-1], 0, 0, 1))
    for cut, bad in recording.try_cuts(sorted(cuts)):
        assert not bad, "cut %s: %s" % (cut, "\n".join(bad[:8]))


def test_power_cut_of_the_first_start(folder):
    """Each moment of it: what is made then is whole, or is made again."""
    recording = Recording(folder, SETTINGS)
    rng = random.Random(5)
    kinds = [(0.5, 1), (0.5, 0.5), (0, 1), (0.9, 0.9)]
    cuts = []
    for i, pos in enumerate(p for p in recording.positions if p <= recording.start):
        for chances in kinds if FULL else [kinds[i % len(kinds)]]:
            cuts.append((pos + 1,) + chances + (rng.random(),))
    assert len(cuts) > 50
    for cut, bad in recording.try_cuts(cuts):
        assert not bad, "cut %s: %s" % (cut, "\n".join(bad[:8]))


# Functions that only pass a sync on; the call site is who called them.
PASSING = {"fs_fdatasync", "fs_fsync", "fs_sync_dir", "fdatasync", "fsync"}


def call_sites(recording):
    """{frames: readable name} of all syncs in the trace, LMDB's too."""
    stacks = {
        record[2]
        for _, record in recording.records
        if record[0] == powercut.SYNC_BEGIN or (record[0] == powercut.WRITE and record[1] & 1)
    }
    addresses = sorted({a for frames in stacks for a in frames})
    out = subprocess.run(
        ["addr2line", "-a", "-f", "-i", "-e", binary()] + [hex(a) for a in addresses],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    names, current = {}, None
    for line in out:
        if line.startswith("0x"):
            current = names.setdefault(int(line, 16), [])
            wants_name = True
        else:
            if wants_name:
                current.append(line)
            wants_name = not wants_name
    sites = {}
    for frames in stacks:
        chain = [n for a in frames for n in names.get(a, []) if n != "??"]
        chain = [n for n in chain if n not in PASSING]
        sites[frames] = " < ".join(chain[:3]) or "?"
    return sites


# Syncs that a cut need not miss, because another one covers them or because
# what they guard is made again. (Start of the site's name, reason.)
EXPLAINED = [
    ("fs_sync_parent < fs_write_file < find_token", "no data: a new token is made"),
    (
        "fs_sync_parent < fs_write_file < save_one",
        "make_dirs syncs the same folder before anything is answered",
    ),
    (
        "make_dirs < path_open",
        "the index lies in the same folder, which it syncs too",
    ),
    (
        "fs_sync_parent < lmdb_make < tree_open",
        "making the log's folder syncs the same folder",
    ),
    (
        "fs_sync_parent < lmdb_make < findex_open",
        "no file index: it is made again, the volumes are replayed",
    ),
    (
        "mdb_env_sync < mdb_txn_commit < open_dbs",
        "an empty index; the log holds all until the next commit",
    ),
    (
        "mdb_env_write_meta < mdb_txn_commit < open_dbs",
        "an empty index; the log holds all until the next commit",
    ),
    (
        "mdb_env_write_meta < mdb_txn_commit < open_tables",
        "an empty file index: the volumes are replayed",
    ),
    (
        "mdb_env_sync < mdb_txn_commit < open_tables",
        "an empty file index: the volumes are replayed",
    ),
    (
        "mdb_env_write_meta < mdb_txn_commit < findex_commit",
        "the older view is there: the volumes are replayed from it",
    ),
    (
        "segment_make < ilog_recover",
        "the next segment, made ahead, syncs the same folder",
    ),
    (
        "write_header < segment_make < ilog_recover",
        "the first commit syncs the whole segment",
    ),
    ("open_raw < segment_make", "the first commit syncs the whole segment"),
    ("write_new < vol_create", "the first batch syncs the whole volume"),
]


def test_every_sync(folder):
    recording = Recording(folder, SPARSE)
    sites = call_sites(recording)
    rng = random.Random(5)
    table, wrong = [], []
    for site in sorted(set(sites.values())):
        stacks = {frames for frames, name in sites.items() if name == site}
        times = [pos for pos, record in recording.records if record[2] in stacks]
        # Right after an answer that followed such a sync, and at the end; with
        # nothing, or only the names, or only the data of the rest surviving.
        first = [a for a in recording.acks if a >= times[0]][:2]
        later = [a for a in recording.acks if a >= times[0]] or recording.acks
        some = set(first + rng.sample(later, min(6, len(later))))
        for t in rng.sample(times, min(5, len(times))):
            some.add(min((a for a in recording.acks if a >= t), default=times[-1]))
            # The last moment before another sync of the same file makes up for it.
            some.add(recording.next_sync_end(t) - 1)
        some.add(recording.positions[-1])
        cuts = sorted(
            (pos,) + chance + (rng.random(),)
            for pos in some
            for chance in ((0, 0), (0, 1), (1, 0))
        )
        reason = next((why for name, why in EXPLAINED if site.startswith(name)), None)
        if reason is not None:
            cuts = sorted(rng.sample(cuts, min(9, len(cuts))))
        caught = None
        # And where losing all of a file is harmless: with a part of it.
        parts = sorted((pos, 0.5, 1, rng.random()) for pos in some for _ in range(4))
        for more in [cuts] if reason else [cuts, parts]:
            for _, bad in recording.try_cuts(more, lambda frames: frames in stacks):
                if bad and caught is None:
                    caught = bad[0]
                    break
            if caught:
                break
        verdict = caught or (reason and "explained: " + reason) or "UNNOTICED"
        table.append("%-64s %5d times: %s" % (site, len(times), verdict[:90]))
        if caught is None and reason is None:
            wrong.append(site)
    print("\n".join(table))
    assert not wrong, "syncs that nothing misses: %s" % wrong
