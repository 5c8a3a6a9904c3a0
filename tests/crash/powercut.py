#!/usr/bin/python3
"""Power cuts: what may be left on the disk, from a trace of powercut.so.

kill -9 does not show a missing sync, since the page cache survives it. Here the
trace of a loaded server is replayed up to a cut; what a completed sync covers
is kept, and of all the rest any subset survives: whole writes cut into 4 KiB
pages, pages torn at 512-byte sectors, directory changes one by one.

  D1  A write is durable once a sync of its file that began after it has ended.
  D2  A name (create, rename, unlink, mkdir) is durable once a sync of its
      directory that began after it has ended. Syncing a file is not enough.
  D3  Everything else may be there, in part, or not at all, in any combination;
      but a rename is atomic.
"""

import os
import random
import struct
import subprocess
import sys
import tempfile

RECORD = struct.Struct("<IBBHHHIQQQ")
(
    OPEN,
    WRITE,
    SYNC_BEGIN,
    SYNC_END,
    RENAME,
    UNLINK,
    MKDIR,
    RMDIR,
    TRUNCATE,
    ALLOCATE,
    PUNCH,
    LINK,
) = range(1, 13)
PAGE = 4096
SECTOR = 512


def records(path):
    """Yields (position after the record, fields) of a trace file."""
    data = open(path, "rb").read()
    pos = 0
    while pos + RECORD.size <= len(data):
        length, op, flags, n_frames, len1, len2, n, ino, a, b = RECORD.unpack_from(
            data, pos
        )
        if pos + length > len(data):
            break
        at = pos + RECORD.size
        frames = struct.unpack_from("<%dQ" % n_frames, data, at)
        at += n_frames * 8
        path1 = data[at : at + len1].decode("utf-8", "surrogateescape")
        at += len1
        path2 = data[at : at + len2].decode("utf-8", "surrogateescape")
        at += len2
        pos += length
        yield pos, (op, flags, frames, path1, path2, data[at : at + n], ino, a, b)


class File:
    def __init__(self):
        self.durable = bytearray()
        self.pending = []  # (position, kind, a, b/data)


class Dir:
    def __init__(self):
        self.live = {}
        self.durable = {}


def apply_data(content, op):
    _, kind, a, b = op
    if kind == "write":
        if len(content) < a + len(b):
            content.extend(bytes(a + len(b) - len(content)))
        content[a : a + len(b)] = b
    elif kind == "truncate":
        if a < len(content):
            del content[a:]
        else:
            content.extend(bytes(a - len(content)))
    elif kind == "grow":
        if len(content) < a:
            content.extend(bytes(a - len(content)))
    elif kind == "punch":
        end = min(a + b, len(content))
        if end > a:
            content[a:end] = bytes(end - a)


def apply_name(table, op):
    """table(dir) gives the entries to change. A change whose source is not
    there was not made either."""
    kind = op[1]
    if kind == "add":
        _, _, folder, name, node = op
        table(folder)[name] = node
    elif kind == "remove":
        _, _, folder, name, node = op
        if table(folder).get(name) is node:
            del table(folder)[name]
    else:
        _, _, from_dir, from_name, node, to_dir, to_name = op
        if table(from_dir).get(from_name) is not node:
            return
        del table(from_dir)[from_name]
        table(to_dir)[to_name] = node


def name_dirs(op):
    return (op[2],) if op[1] != "rename" else (op[2], op[5])


class Disk:
    """State of the disk below one root while a trace is replayed."""

    def __init__(self, ignore_sync=None):
        self.root = Dir()
        self.inodes = {}
        self.names = []  # pending changes of names, in order
        self.begun = {}
        self.ignore_sync = ignore_sync or (lambda frames: False)

    def walk(self, path):
        node = self.root
        for part in [p for p in path.split("/") if p]:
            node = node.live.get(part) if isinstance(node, Dir) else None
            if node is None:
                return None
        return node

    def parent(self, path):
        folder, _, name = path.rpartition("/")
        node = self.walk(folder)
        assert isinstance(node, Dir), path
        return node, name

    def change_name(self, op):
        apply_name(lambda d: d.live, op)
        self.names.append(op)

    def step(self, pos, record):
        op, flags, frames, path1, path2, data, ino, a, b = record
        if op == OPEN:
            if path1 == "":
                self.inodes[ino] = self.root
                return
            folder, name = self.parent(path1)
            node = folder.live.get(name)
            if node is None:
                node = Dir() if flags & 2 else File()
                self.change_name((pos, "add", folder, name, node))
            self.inodes[ino] = node
            if flags & 4 and isinstance(node, File):
                node.pending.append((pos, "truncate", 0, 0))
        elif op == WRITE:
            node = self.inodes[ino]
            node.pending.append((pos, "write", a, data))
            # O_DSYNC: this write alone is durable when it returns.
            if flags & 1 and not self.ignore_sync(frames):
                apply_data(node.durable, node.pending.pop())
        elif op == TRUNCATE:
            self.inodes[ino].pending.append((pos, "truncate", a, 0))
        elif op == ALLOCATE:
            if not flags & 1:
                self.inodes[ino].pending.append((pos, "grow", a + b, 0))
        elif op == PUNCH:
            self.inodes[ino].pending.append((pos, "punch", a, b))
        elif op == SYNC_BEGIN:
            if not self.ignore_sync(frames):
                self.begun[a] = (pos, self.inodes[ino])
        elif op == SYNC_END:
            begin, node = self.begun.pop(a, (0, None))
            if node is None or b != 0:
                return
            if isinstance(node, File):
                while node.pending and node.pending[0][0] < begin:
                    apply_data(node.durable, node.pending.pop(0))
            else:
                rest = []
                for change in self.names:
                    if change[0] < begin and node in name_dirs(change):
                        apply_name(lambda d: d.durable, change)
                    else:
                        rest.append(change)
                self.names = rest
        elif op == RENAME:
            from_dir, from_name = self.parent(path1)
            to_dir, to_name = self.parent(path2)
            node = from_dir.live[from_name]
            self.change_name(
                (pos, "rename", from_dir, from_name, node, to_dir, to_name)
            )
        elif op in (UNLINK, RMDIR):
            folder, name = self.parent(path1)
            node = folder.live.get(name)
            if node is not None:
                self.change_name((pos, "remove", folder, name, node))
        elif op == MKDIR:
            folder, name = self.parent(path1)
            self.change_name((pos, "add", folder, name, Dir()))
        elif op == LINK:
            to_dir, to_name = self.parent(path2)
            self.change_name((pos, "add", to_dir, to_name, self.walk(path1)))

    # -- images --

    def image(self, target, rng, data_chance, name_chance):
        """Writes one disk that the cut may have left. The chances are those of
        an unsynced page, and of an unsynced name, to have survived."""
        tables = {}

        def table(folder):
            if folder not in tables:
                tables[folder] = dict(folder.durable)
            return tables[folder]

        for change in self.names:
            if rng.random() < name_chance:
                apply_name(table, change)
        seen = set()
        self._write(self.root, target, rng, data_chance, table, seen)

    def _write(self, node, path, rng, chance, table, seen):
        if isinstance(node, Dir):
            if node in seen:
                return
            seen.add(node)
            os.makedirs(path, mode=0o700, exist_ok=True)
            for name, child in table(node).items():
                self._write(
                    child, os.path.join(path, name), rng, chance, table, seen
                )
            return
        content = node.durable
        if node.pending:
            content = bytearray(content)
            for op in node.pending:
                self._maybe(content, op, rng, chance)
        with open(path, "wb") as out:
            # Long runs of zeros become holes, as preallocation leaves them.
            for at in range(0, len(content), 65536):
                piece = content[at : at + 65536]
                if piece.count(0) != len(piece):
                    out.seek(at)
                    out.write(piece)
            out.truncate(len(content))
        os.chmod(path, 0o600)

    @staticmethod
    def _maybe(content, op, rng, chance):
        pos, kind, a, b = op
        if kind != "write":
            if rng.random() < chance:
                apply_data(content, op)
            return
        end = a + len(b)
        at = a
        while at < end:
            stop = min(end, (at // PAGE + 1) * PAGE)
            if rng.random() < chance:
                apply_data(content, (pos, "write", at, b[at - a : stop - a]))
            elif 0 < chance < 1 and rng.random() < 0.2:
                for cut in range(at, stop, SECTOR):  # torn page
                    if rng.random() < 0.5:
                        piece = b[cut - a : min(cut + SECTOR, stop) - a]
                        apply_data(content, (pos, "write", cut, piece))
            at = stop


def chances(rng):
    """How a cut treats unsynced data and unsynced names."""
    return rng.choice(
        [(0, 0), (0, 1), (1, 0), (0.5, 0.5), (0.1, 0.1), (0.9, 0.9), (0, 0.5), (0.5, 1)]
    )


def record_script(lib, tmp, script):
    """Runs a Python script, whose sys.argv[1] is the root, with the recorder."""
    root, trace = tmp + "/root", tmp + "/trace"
    os.mkdir(root)
    subprocess.run(
        [sys.executable, "-c", script, root],
        check=True,
        env=dict(
            os.environ,
            LD_PRELOAD=lib,
            CREEL_POWERCUT_ROOT=root,
            CREEL_POWERCUT_TRACE=trace,
        ),
    )
    disk = Disk()
    for pos, record in records(trace):
        disk.step(pos, record)
    return disk


def self_test():
    here = os.path.dirname(os.path.abspath(__file__))
    lib = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "powercut.so")
    with tempfile.TemporaryDirectory() as tmp:
        script = (
            "import os,sys\n"
            "r=sys.argv[1]\n"
            "os.mkdir(r+'/d')\n"
            "f=os.open(r+'/d/tmp',os.O_CREAT|os.O_RDWR)\n"
            "os.pwrite(f,b'a'*9000,0)\n"
            "os.fdatasync(f)\n"
            "os.pwrite(f,b'b'*4096,4096)\n"
            "os.rename(r+'/d/tmp',r+'/d/name')\n"
            "d=os.open(r+'/d',os.O_RDONLY); os.fsync(d)\n"
        )
        disk = record_script(lib, tmp, script)
        disk.image(tmp + "/none", random.Random(1), 0, 0)
        # D2: the folder d itself was never synced in its parent
        assert not os.path.exists(tmp + "/none/d")
        disk.image(tmp + "/names", random.Random(1), 0, 1)
        got = open(tmp + "/names/d/name", "rb").read()
        assert got == b"a" * 9000, "synced bytes are there, unsynced are not"
        disk.image(tmp + "/all", random.Random(1), 1, 1)
        got = open(tmp + "/all/d/name", "rb").read()
        assert got == b"a" * 4096 + b"b" * 4096 + b"a" * 808
        assert not os.path.exists(tmp + "/all/d/tmp")
    with tempfile.TemporaryDirectory() as tmp:
        # R3: whoever finds a folder that another thread has just made
        script = (
            "import os,sys,threading\n"
            "r=sys.argv[1]\n"
            "def make(p):\n"
            "    try: os.mkdir(p)\n"
            "    except FileExistsError: pass\n"
            "def run(n):\n"
            "    for i in range(3000):\n"
            "        make('%s/%d'%(r,i)); make('%s/%d/%d'%(r,i,n))\n"
            "t=[threading.Thread(target=run,args=(n,)) for n in range(4)]\n"
            "[x.start() for x in t]; [x.join() for x in t]\n"
        )
        disk = record_script(lib, tmp, script)
        assert len(disk.root.live) == 3000
        assert all(len(d.live) == 4 for d in disk.root.live.values())


if __name__ == "__main__":
    self_test()
    print("ok")
