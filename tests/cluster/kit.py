"""Starts the processes of a cluster on loopback ports, and harms them."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import fdfs
from lib.server import ACCESS_KEY, SECRET, TOP, binary, free_port  # noqa: F401

FULL = bool(os.environ.get("CREEL_FULL"))
CLUSTER_SECRET = "tests-of-the-cluster-have-this-secret"


def wait_for(what, fn, seconds=30, every=0.05):
    """What @fn returns once it is true; an OSError or FdfsError is not yet."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = fn()
            if value:
                return value
        except (OSError, fdfs.FdfsError, RuntimeError) as e:
            last = e
        if time.monotonic() > end:
            raise AssertionError("not in %g s: %s (%s)" % (seconds, what, last))
        time.sleep(every)


class Process:
    """One daemon, with a folder and a log of its own."""

    def __init__(self, cluster, name, port, words, env=None):
        self.cluster, self.name, self.port, self.words = cluster, name, port, words
        self.dir = os.path.join(cluster.dir, name)
        self.log = os.path.join(cluster.dir, name + ".log")
        self.env, self.process = dict(env or {}), None

    @property
    def address(self):
        return (self.cluster.host(self.name), self.port)

    @property
    def is_up(self):
        return self.process is not None and self.process.poll() is None

    def start(self, wait=30, args=()):
        assert not self.is_up, self.name
        begin = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        command = self.cluster.prefix(self.name) + [binary()] + self.words + list(args)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.cluster.environ(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_ready(wait, begin)
        return self

    def wait_ready(self, wait=30, begin=0):
        def is_ready():
            if self.process.poll() is not None:
                raise AssertionError(
                    "%s ended with %d:\n%s"
                    % (self.name, self.process.returncode, self.tail())
                )
            with open(self.log, "rb") as f:
                f.seek(begin)
                return b" is ready" in f.read()

        wait_for(self.name + " ready", is_ready, wait, 0.02)

    def tail(self, size=3000):
        with open(self.log, "rb") as f:
            return f.read()[-size:].decode("utf-8", "replace")

    def kill(self):
        """kill -9, stopped or not."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, wait=20):
        if self.process is None:
            return None
        self.process.terminate()
        try:
            code = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            tail = self.tail()
            self.kill()
            raise AssertionError("%s did not stop:\n%s" % (self.name, tail))
        self.process = None
        return code

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def hup(self):
        self.process.send_signal(signal.SIGHUP)

    def wipe(self):
        """Its disks are lost."""
        assert not self.is_up
        shutil.rmtree(self.dir, ignore_errors=True)

    def copy_to(self, name):
        """Stopped meanwhile, if it runs: files must not go while they are copied."""
        runs = self.process is not None and self.process.poll() is None
        if runs:
            self.freeze()
        try:
            shutil.copytree(self.dir, os.path.join(self.cluster.dir, name))
        finally:
            if runs:
                self.thaw()

    def put_back(self, name):
        """Its disks are those of copy_to() again."""
        self.wipe()
        shutil.copytree(os.path.join(self.cluster.dir, name), self.dir)


class Cluster:
    """`with Cluster(trackers=2, groups={"group1": 3}) as c:`

    c.trackers, c.storages (in the order of their server IDs, from 1), c.gateways
    are Processes; all are started and ready. With net=True each has a host of its
    own (net.py: c.net), else all are on the loopback."""

    def __init__(
        self,
        trackers=1,
        groups=None,
        gateways=0,
        secret=CLUSTER_SECRET,
        tracker_args=(),
        storage_args=(),
        gateway_args=(),
        env=None,
        net=False,
    ):
        self.dir = tempfile.mkdtemp(prefix="creel-cluster-")
        self.secret, self.env = secret, dict(env or {})
        self.trackers, self.storages, self.gateways = [], [], []
        self.net, self.hosts = None, {}
        if net:
            from net import Net

            self.net = Net()
        names = ["t%d" % (i + 1) for i in range(trackers)]
        ports = [free_port() for _ in names]
        self.tracker_list = ",".join(
            "%s:%d" % (self.host(n), p) for n, p in zip(names, ports)
        )
        self.tracker_args = list(tracker_args)
        self.storage_args, self.gateway_args = list(storage_args), list(gateway_args)
        for name, port in zip(names, ports):
            self._add_tracker(name, port)
        self.groups = {}
        for group, count in (groups or {}).items():
            for _ in range(count):
                self.add_storage(group)
        for i in range(gateways):
            self.add_gateway("g%d" % (i + 1))

    def host(self, name):
        if name not in self.hosts:
            self.hosts[name] = self.net.add(name) if self.net else "127.0.0.1"
        return self.hosts[name]

    def prefix(self, name):
        return self.net.prefix(name) if self.net else []

    def _add_tracker(self, name, port):
        words = ["tracker", os.path.join(self.dir, name)]
        words += ["--tracker-address", "%s:%d" % (self.host(name), port)]
        words += ["--trackers", self.tracker_list, "--allow-hosts", self.clients()]
        self.trackers.append(Process(self, name, port, words + self.tracker_args))

    def add_storage(self, group, server_id=None, args=()):
        """Not started."""
        server_id = server_id or len(self.storages) + 1
        name, port = "s%d" % server_id, free_port()
        words = ["storage", os.path.join(self.dir, name), "--group", group]
        words += ["--server-id", str(server_id)]
        words += ["--storage-address", "%s:%d" % (self.host(name), port)]
        words += ["--inner-address", "%s:%d" % (self.host(name), port)]
        words += ["--trackers", self.tracker_list, "--allow-hosts", self.clients()]
        # The test machine's disk may be small and shared.
        words += ["--volume-size", "16M", "--access-log", "off"]
        p = Process(self, name, port, words + self.storage_args + list(args))
        p.group, p.server_id = group, server_id
        self.storages.append(p)
        self.groups.setdefault(group, []).append(p)
        return p

    def add_gateway(self, name):
        port = free_port()
        words = ["gateway", os.path.join(self.dir, name)]
        words += ["--address", "%s:%d" % (self.host(name), port)]
        words += ["--trackers", self.tracker_list]
        words += ["--access-log", "off"]
        env = {"CREEL_ROOT_USER": ACCESS_KEY, "CREEL_ROOT_PASSWORD": SECRET}
        self.gateways.append(Process(self, name, port, words + self.gateway_args, env))
        return self.gateways[-1]

    def clients(self):
        return "10.213.0.0/16" if self.net else "127.0.0.1"

    def environ(self, more=()):
        env = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith("CREEL_") or k in ("CREEL_BIN", "CREEL_FULL")
        }
        env["CREEL_CLUSTER_SECRET"] = self.secret
        env.update(self.env)
        env.update(more)
        return env

    # --- life ---

    def start(self, wait=60):
        for p in self.trackers:
            p.start()
        for p in self.storages:
            p.start(wait=0)
        for p in self.storages:
            p.wait_ready(wait)
        if self.storages:
            self.wait_active(wait)
        for p in self.gateways:
            p.start(wait)
        return self

    def close(self):
        for p in self.gateways + self.storages + self.trackers:
            p.kill()
        if self.net:
            self.net.close()
        if os.environ.get("CREEL_KEEP_LOGS"):
            print("logs in", self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind, *_):
        processes = self.trackers + self.storages + self.gateways
        died = [p for p in processes if p.process and p.process.poll() is not None]
        text = ""
        for p in died or processes:
            if os.path.exists(p.log):
                text += "== %s\n%s\n" % (p.name, p.tail(4000))
        self.close()
        # A fixture does not hear how its test went: said always, shown on failure.
        print(text)
        assert not died, "ended by itself:\n" + text

    # --- asking ---

    def client(self, timeout=10):
        return fdfs.Client([t.address for t in self.trackers], timeout)

    def admin(self, *words, check=True, timeout=120):
        done = subprocess.run(
            [binary(), "admin"] + list(words) + ["--trackers", self.tracker_list],
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, done
        return done

    def status(self):
        return json.loads(self.admin("cluster", "status", "--json").stdout)

    def nodes(self):
        """Server ID -> what the first tracker that answers shows of it."""
        return {n["server_id"]: n for g in self.status()["groups"] for n in g["nodes"]}

    def leader(self, seconds=30):
        """The one node that orders changes (of one group), once there is one."""

        def one():
            found = [i for i, n in self.nodes().items() if n["leader"]]
            return found if len(found) == 1 else None

        found = wait_for("one leader", one, seconds)
        return next(p for p in self.storages if p.server_id == found[0])

    def wait_active(self, seconds=60, ids=None):
        """All nodes that should run are ACTIVE and take writes, to every tracker."""
        ids = set(ids or [p.server_id for p in self.storages if p.is_up])

        def all_are():
            for t in self.trackers:
                if not t.is_up:
                    continue
                for group in {p.group for p in self.storages if p.server_id in ids}:
                    if len(self.active(t, group) & ids) < len(
                        [p for p in self.groups[group] if p.server_id in ids]
                    ):
                        return False
            return True

        wait_for("nodes %s active" % sorted(ids), all_are, seconds, 0.1)

    @staticmethod
    def active(tracker, group):
        """Server IDs that LIST_STORAGES shows as ACTIVE and writable."""
        body = fdfs.ask(tracker.address, 92, fdfs.group16(group))
        assert len(body) % 487 == 0
        rows = [body[i : i + 487] for i in range(0, len(body), 487)]
        return {int(fdfs.text(r[2:18])) for r in rows if r[0] == 7 and r[1] == 6}

    def verify(self, group=None, seconds=60):
        """The replicas are the same, at the latest after @seconds."""
        words = ["cluster", "verify"] + (["--group", group] if group else [])
        end = time.monotonic() + seconds
        while True:
            done = self.admin(*words, check=False)
            if done.returncode == 0:
                return
            if time.monotonic() > end:
                raise AssertionError(done.stdout.decode() + done.stderr.decode())
            time.sleep(0.5)


class Load(threading.Thread):
    """Uploads, reads and deletes through FastDFS's protocol until finish(), and
    remembers what was acknowledged.

    A client here does what FastDFS's do: asks a tracker, talks to the node that it
    names, and on an error asks again. A read that still fails after READ_S, or is
    told that an acknowledged file is not there, is a failed read."""

    SIZES = (0, 1, 1000, 4096, 70000, 300000)
    READ_S = 5

    def __init__(self, cluster, seed, group=None, deletes=True, timeout=10):
        super().__init__(daemon=True)
        self.r, self.group, self.deletes = random.Random(seed), group, deletes
        self.client = cluster.client(timeout)
        self.files, self.deleted, self.unsure = {}, [], []
        self.logs = {}  # appenders: name -> [(piece, was it acknowledged)]
        self.read_errors, self.write_errors, self.wrong = [], [], []
        self.failing_since, self.longest_outage = None, 0
        self.reads = self.writes = 0
        self.halt, self.broken = threading.Event(), None

    def run(self):
        try:
            while not self.halt.is_set():
                what = self.r.random()
                if what < 0.4 or not self.files:
                    self._write()
                elif what < 0.5:
                    self._append()
                elif what < 0.9 or not self.deletes:
                    self._read()
                else:
                    self._delete()
        except BaseException as e:
            self.broken = e
            raise

    def finish(self):
        self.halt.set()
        self.join(90)
        assert not self.is_alive() and self.broken is None, self.broken
        if self.failing_since is not None:
            self._works_again()

    def _works_again(self):
        outage = time.monotonic() - self.failing_since
        self.longest_outage = max(self.longest_outage, outage)
        self.failing_since = None

    def _write(self):
        data = self.r.randbytes(self.r.choice(self.SIZES))
        begin = time.monotonic()
        try:
            name = self.client.upload(data, group=self.group)
        except (OSError, fdfs.FdfsError) as e:
            self.write_errors.append((time.strftime("%H:%M:%S"), repr(e)))
            if self.failing_since is None:
                self.failing_since = begin
            time.sleep(0.05)
            return
        assert name not in self.files
        self.files[name] = data
        self.writes += 1
        if self.failing_since is not None:
            self._works_again()

    def _append(self):
        """A new appender, or one piece more at the end of one."""
        begin = time.monotonic()
        try:
            if len(self.logs) < 3:
                self.logs[self.client.upload(b"", "log", self.group, True)] = []
                return
            name = self.r.choice(list(self.logs))
            piece = b"%09d;" % self.r.randrange(10**9)
            self.logs[name].append((piece, False))
            self.client.append(name, piece)
        except (OSError, fdfs.FdfsError) as e:
            self.write_errors.append((time.strftime("%H:%M:%S"), repr(e)))
            if self.failing_since is None:
                self.failing_since = begin
            time.sleep(0.05)
            return
        self.logs[name][-1] = (piece, True)
        self.writes += 1
        if self.failing_since is not None:
            self._works_again()

    def _check_logs(self, client, at):
        """What was acknowledged is there once, in its order; the rest at most
        once."""
        for name, said in self.logs.items():
            got = read(client, name, at) if said else b""
            pieces = [got[i : i + 10] for i in range(0, len(got), 10)]
            sure = [p for p, yes in said if yes]
            maybe = {p for p, yes in said if not yes}
            assert [p for p in pieces if p not in maybe] == sure, name
            assert len(set(pieces)) == len(pieces), name

    def _read(self):
        name = self.r.choice(list(self.files))
        try:
            got = read(self.client, name, seconds=self.READ_S)
        except (OSError, fdfs.FdfsError) as e:
            self.read_errors.append((name, repr(e)))
            return
        self.reads += 1
        if got != self.files[name]:
            self.wrong.append(name)

    def _delete(self):
        name = self.r.choice(list(self.files))
        del self.files[name]
        try:
            self.client.delete(name)
            self.deleted.append(name)
        except (OSError, fdfs.FdfsError):
            self.unsure.append(name)  # it may or may not have happened

    def check(self, client=None, at=None):
        """Everything acknowledged is there, nothing deleted is."""
        check_files(client or self.client, self.files, self.deleted, at)
        self._check_logs(client or self.client, at)
        assert not self.wrong, self.wrong[:5]
        assert not self.read_errors, self.read_errors[:5]


def read(client, name, at=None, seconds=5):
    """A download; tried again where a client may hope for another node."""
    end = time.monotonic() + (0 if at else seconds)
    while True:
        try:
            return client.download(name, at=at)
        except (OSError, fdfs.FdfsError) as e:
            gone = getattr(e, "status", 0) == fdfs.ENOENT
            if gone or time.monotonic() > end:
                raise
            time.sleep(0.02)


def check_files(client, files, deleted=(), at=None):
    wrong, lost, back = [], [], []
    for name, data in files.items():
        try:
            if read(client, name, at) != data:
                wrong.append(name)
        except (OSError, fdfs.FdfsError) as e:
            lost.append((name, repr(e)))
    for name in deleted:
        try:
            client.download(name, at=at)
            back.append(name)
        except fdfs.FdfsError as e:
            assert e.status == fdfs.ENOENT, (name, e)
    assert (
        not wrong and not lost and not back
    ), "%d wrong %s, %d lost %s, %d of %d back %s" % (
        len(wrong),
        wrong[:3],
        len(lost),
        lost[:3],
        len(back),
        len(deleted),
        back[:3],
    )


@contextlib.contextmanager
def load(cluster, threads=3, most_outage=5, **more):
    """A load while the block runs; then its checks."""
    loads = [Load(cluster, seed, **more) for seed in range(threads)]
    for one in loads:
        one.start()
    try:
        yield loads
    finally:
        for one in loads:
            one.halt.set()
    for one in loads:
        one.finish()
    cluster.wait_active()
    for one in loads:
        one.check(cluster.client())
        assert one.reads > 10 and one.writes > 10, (one.reads, one.writes)
    outage = max(one.longest_outage for one in loads)
    errors = [e for one in loads for e in one.write_errors]
    print(
        "%d writes, %d reads; %d writes failed, for %.1f s at the longest"
        % (
            sum(x.writes for x in loads),
            sum(x.reads for x in loads),
            len(errors),
            outage,
        ),
        *errors[:10],
        sep="\n  "
    )
    assert outage <= most_outage, (outage, errors[:3], errors[-3:])


def small_disk(folder, size):
    """A file system of its own (root, or a user namespace in which one is)."""
    command = ["mount", "-t", "tmpfs", "-o", "size=" + size, "creel-test", folder]
    subprocess.run(command, check=True)


def unmount(folder):
    subprocess.run(["umount", "-l", folder], check=True)


def port_is_open(address):
    try:
        with socket.create_connection(address, 1):
            return True
    except OSError:
        return False
