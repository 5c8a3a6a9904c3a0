#!/usr/bin/python3
"""Creel beside its yardsticks, in one run, as ratios.

usage: bench/compare.py [--seconds N] [--rounds N] [--fill N] [--big N]
                        [--json FILE] [PART...]
Parts: get put stream list bigput memory start cluster (default: all, in this
order)

Machines are noisy: each round measures creel and its yardstick one after the
other, and the median ratio over the rounds is what counts. CPU is utime+stime
of the server's processes from /proc, per request.

  get     GET 4 KiB and 1 MiB, presigned, 64 kept connections, against nginx
          with the same bytes as static files; access logs on for both (buffered).
  put     PUT 4 KiB signed, durable, 64 connections (rate) and 1 (median
          latency), in a bucket of --fill objects, against the bare loop
          `creel bench --baseline-log`: the same records appended to one file
          with group-committed fdatasync.
  stream  PUT 64 MiB on one connection against one core's digests, measured
          before and after each run.
  list    LIST of 1,000 keys of a big bucket against a small one, warm.
  bigput  put once more, in the big bucket.
  memory  RssAnon idle, and while streaming big objects both ways.
  start   until ready after kill -9, with the big bucket, and after a stop.
  cluster GET 4 KiB and 1 MiB through tracker, one storage node and a gateway on
          this host, against the same server in one process; 64 connections.

The big bucket has --big objects, which list, bigput and start fill where it is
not there yet: by bench/fill_bench, which opens the stopped server's directory
as the server does and puts each object (one byte, so that the disk holds them)
by the calls under PutObject: the same rows, files and synced logs, without HTTP
and signature in front. 10,000,000 take some ten minutes and 15 GB.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests"))

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests", "cluster"))

from lib.s3raw import Client  # noqa: E402
from lib.server import ACCESS_KEY, SECRET, Server, binary, free_port  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def status_kib(pid, name):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def children(pid):
    out = subprocess.run(
        ["pgrep", "-P", str(pid)], stdout=subprocess.PIPE, text=True
    ).stdout
    return [int(p) for p in out.split()]


def wrk(url, seconds, connections):
    """(requests/s, requests)"""
    out = subprocess.run(
        ["wrk", "-t2", "-c%d" % connections, "-d%ds" % seconds, url],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in out:
        raise RuntimeError(out)
    requests = int(out.split(" requests in ")[0].split()[-1])
    rate = float(out.split("Requests/sec:")[1].split()[0])
    return rate, requests


class Nginx:
    def __init__(self, root):
        self.folder = tempfile.mkdtemp(prefix="creel-nginx-")
        self.port = free_port()
        with open(self.folder + "/nginx.conf", "w") as f:
            f.write(
                """
worker_processes 2; pid %(d)s/pid; error_log %(d)s/error.log; daemon off;
events { worker_connections 2000; }
http {
  sendfile on; tcp_nodelay on; tcp_nopush on; keepalive_requests 1000000000;
  open_file_cache max=1000;
  access_log %(d)s/access.log combined buffer=64k flush=1s;
  client_body_temp_path %(d)s/b; proxy_temp_path %(d)s/p; fastcgi_temp_path %(d)s/f;
  uwsgi_temp_path %(d)s/u; scgi_temp_path %(d)s/s;
  server { listen 127.0.0.1:%(port)d; root %(root)s; }
}"""
                % {"d": self.folder, "port": self.port, "root": root}
            )
        os.chmod(self.folder, 0o755)
        self.process = subprocess.Popen(
            ["nginx", "-c", self.folder + "/nginx.conf", "-g", "user root;"]
            if os.getuid() == 0
            else ["nginx", "-c", self.folder + "/nginx.conf"],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.5)

    def pids(self):
        return [self.process.pid] + children(self.process.pid)

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


PARTS = ["get", "put", "stream", "list", "bigput", "memory", "start", "cluster"]
BYTES_PER_OBJECT = 1500  # volume, both indexes and the log, with room to spare


def fill_tool():
    """bench/fill_bench beside the server; built when it is not there."""
    build = os.path.dirname(os.path.realpath(binary()))
    path = os.path.join(build, "bench", "fill_bench")
    if os.path.exists(os.path.join(build, "CMakeCache.txt")):
        subprocess.run(
            ["cmake", "--build", build, "--target", "fill_bench"],
            stdout=subprocess.DEVNULL, check=True,
        )
    if not os.path.exists(path):
        raise RuntimeError("%s is not there (cmake --build)" % path)
    return path


class Bench:
    def __init__(self, args):
        self.args = args
        self.results = {}
        self.is_filled = False
        self.server = Server(
            env={"CREEL_ACCESS_LOG": tempfile.gettempdir() + "/creel-bench-access.log"}
        )
        self.server.start()
        self.client = Client("127.0.0.1", self.server.port, ACCESS_KEY, SECRET)
        assert self.client.put("/bench").status == 200

    def close(self):
        self.client.close()
        self.server.cleanup()

    @property
    def pid(self):
        return self.server.process.pid

    def tool(self, *args, endpoint=None, pids=None):
        """Runs `creel bench ... --json` against the server."""
        command = [binary(), "bench", "--endpoint", endpoint or self.server.endpoint]
        pids = ",".join(str(p) for p in pids or [self.pid])
        command += ["--bucket", "bench", "--json", "--pid", pids] + list(args)
        env = dict(
            os.environ, CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET
        )
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (command, done.stdout))
        return json.loads(done.stdout.strip().splitlines()[-1])

    def report(self, name, unit, ours, theirs, goal=None, higher=True):
        """@goal None: told, not judged."""
        ratio = statistics.median(o / t for o, t in zip(ours, theirs))
        good = goal is None or (ratio >= goal if higher else ratio <= goal)
        self.results[name] = {
            "unit": unit,
            "creel": statistics.median(ours),
            "yardstick": statistics.median(theirs),
            "ratio": ratio,
            "goal": goal,
            "reached": good,
        }
        print(
            "%-38s creel %12.2f  yardstick %12.2f %-7s ratio %.2f  %s"
            % (
                name,
                statistics.median(ours),
                statistics.median(theirs),
                unit,
                ratio,
                "no goal" if goal is None else "goal %s %.2f  %s" % (
                    ">=" if higher else "<=", goal, "ok" if good else "MISSED"
                ),
            ),
            flush=True,
        )

    def value(self, name, unit, value, goal=None):
        if goal is None:
            self.results[name + ", " + unit] = {"unit": unit, "creel": value}
            print("%-38s creel %12.2f %s" % (name, value, unit), flush=True)
            return
        good = value <= goal
        self.results[name] = {"unit": unit, "creel": value, "goal": goal, "reached": good}
        print(
            "%-38s creel %12.2f %-10s goal <= %.2f  %s"
            % (name, value, unit, goal, "ok" if good else "MISSED"),
            flush=True,
        )

    # -- parts --

    def cluster(self):
        from kit import Cluster

        with Cluster(groups={"group1": 1}, gateways=1) as c:
            gateway = c.gateways[0]
            ways = {
                "one": (self.server.endpoint, [self.pid]),
                "cluster": (
                    "http://127.0.0.1:%d" % gateway.port,
                    [gateway.process.pid, c.storages[0].process.pid],
                ),
            }
            for name, size, keys in (("4 KiB", "4K", 1000), ("1 MiB", "1M", 100)):
                rate, cpu = {w: [] for w in ways}, {w: [] for w in ways}
                for n in range(self.args.rounds):
                    for way, (endpoint, pids) in ways.items():
                        r = self.tool(
                            "get",
                            *("--size", size, "--keys", str(keys)),
                            *("--prefix", "cluster-%s/" % size),
                            *("--prefill", str(keys if n == 0 else 0)),
                            *("--concurrency", "64"),
                            *("--duration", "%ds" % self.args.seconds),
                            endpoint=endpoint,
                            pids=pids,
                        )
                        rate[way].append(r["ops_per_s"])
                        cpu[way].append(r["server_cpu_us_per_op"])
                self.report(
                    "GET %s, cluster / one" % name, "req/s", rate["cluster"], rate["one"], 0.5
                )
                self.report(
                    "GET %s CPU, cluster / one" % name, "us/req", cpu["cluster"], cpu["one"]
                )

    def get(self):
        root = tempfile.mkdtemp(prefix="creel-static-")
        os.chmod(root, 0o755)
        for name, size in (("4k", 4096), ("1m", 1024 * 1024)):
            body = os.urandom(size)
            with open(os.path.join(root, name), "wb") as f:
                f.write(body)
            assert self.client.put("/bench/" + name, body).status == 200
        nginx = Nginx(root)
        try:
            for name in ("4k", "1m"):
                ours, theirs, ours_rate, their_rate = [], [], [], []
                url = self.server.endpoint + self.client.presign(
                    "GET", "/bench/" + name, expires=86400
                )
                for _ in range(self.args.rounds):
                    for pids, u, cpu, rates in (
                        (nginx.pids(), "http://127.0.0.1:%d/%s" % (nginx.port, name), theirs, their_rate),
                        ([self.pid], url, ours, ours_rate),
                    ):
                        begun = cpu_seconds(pids)
                        rate, n = wrk(u, self.args.seconds, 64)
                        cpu.append((cpu_seconds(pids) - begun) / n * 1e6)
                        rates.append(rate)
                if name == "4k":
                    self.report("GET 4 KiB CPU", "us/req", ours, theirs, 2.0, False)
                    self.report("GET 4 KiB rate", "req/s", ours_rate, their_rate)
                else:
                    self.report("GET 1 MiB rate", "req/s", ours_rate, their_rate, 0.8)
                    self.report("GET 1 MiB CPU", "us/req", ours, theirs)
        finally:
            nginx.close()
            shutil.rmtree(root)

    def put(self):
        self.tool("put", "--size", "4096", "--concurrency", "64", "--count", str(self.args.fill))
        self.measure_put("", 0.5, 2.0)

    def bigput(self):
        self.fill_big()
        self.measure_put(", %d there" % self.args.big, None, None)

    def measure_put(self, where, goal, goal_one):
        seconds = "%ds" % self.args.seconds
        ours, theirs, one, bare_one, cpu = [], [], [], [], []
        log = os.path.join(self.server.data, "baseline.log")
        for _ in range(self.args.rounds):
            for c in ("64", "1"):
                size = ["--size", "4096", "--concurrency", c, "--duration", seconds]
                bare = self.tool("--baseline-log", log, *size)
                mine = self.tool("put", *size)
                if c == "64":
                    theirs.append(bare["ops_per_s"])
                    ours.append(mine["ops_per_s"])
                    cpu.append(mine["server_cpu_us_per_op"])
                else:
                    bare_one.append(bare["latency_ms"]["p50"])
                    one.append(mine["latency_ms"]["p50"])
        self.report("PUT 4 KiB, 64 conn." + where, "op/s", ours, theirs, goal)
        self.report("PUT 4 KiB, 1 conn., p50" + where, "ms", one, bare_one, goal_one, False)
        self.value("PUT 4 KiB, 64 conn." + where, "us CPU", statistics.median(cpu))

    def digests(self):
        """What one core does of MD5, and of MD5 and SHA-256 together, now."""
        out = subprocess.run(
            [binary(), "bench", "--digests", "--json"],
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout
        return json.loads(out.strip().splitlines()[-1])

    def stream(self):
        for name, flag, key in (
            ("PUT 64 MiB unsigned payload", "--unsigned", "md5_mb_per_s"),
            ("PUT 64 MiB signed payload", "--signed", "md5_sha256_mb_per_s"),
        ):
            ours, theirs = [], []
            for _ in range(self.args.rounds):
                before = self.digests()[key]
                ours.append(
                    self.tool(
                        "put", "--size", "67108864", "--concurrency", "1",
                        "--count", "12", flag,
                    )["mb_per_s"]
                )
                theirs.append((before + self.digests()[key]) / 2)
            self.report(name, "MB/s", ours, theirs, 0.85)

    def fill_big(self):
        """The small and the big bucket's keys below list/, once."""
        if self.is_filled:
            return
        self.is_filled = True
        tool = fill_tool()
        free = shutil.disk_usage(self.server.data).free
        if free < self.args.big * BYTES_PER_OBJECT:
            raise RuntimeError(
                "%s has %d GB free, %d objects want %d (TMPDIR chooses the place)"
                % (self.server.data, free // 10**9, self.args.big,
                   self.args.big * BYTES_PER_OBJECT // 10**9)
            )
        if self.client.head("/small").status != 200:
            assert self.client.put("/small").status == 200
        self.client.close()
        self.server.stop(wait=300)
        for bucket, n in (("small", 10000), ("bench", self.args.big)):
            done = subprocess.run(
                [tool, self.server.data, bucket, "list/", str(n), "512"],
                stdout=subprocess.PIPE, text=True, check=True,
            )
            print("filled %s: %s" % (bucket, done.stdout.strip()), flush=True)
        self.server.start(wait=300)

    def list(self):
        self.fill_big()
        for name, query in (
            ("LIST 1,000", "list-type=2&prefix=list/&max-keys=1000"),
            ("LIST 1,000 with a delimiter", "list-type=2&prefix=list/&delimiter=/&max-keys=1000"),
            ("LIST of one common prefix", "list-type=2&prefix=li&delimiter=/&max-keys=1000"),
        ):
            ours, theirs = [], []
            for _ in range(self.args.rounds):
                for bucket, times in (("small", theirs), ("bench", ours)):
                    for _ in range(20):
                        self.client.get("/%s?%s" % (bucket, query))
                    begun = cpu_seconds([self.pid])
                    for _ in range(500):
                        r = self.client.get("/%s?%s" % (bucket, query))
                        assert r.status == 200
                    times.append(max(0.01, cpu_seconds([self.pid]) - begun) / 500 * 1e6)
            self.report(name + " of %d / 10,000" % self.args.big, "us CPU", ours, theirs, 1.3, False)

    def memory(self):
        time.sleep(8)
        self.value("idle RssAnon", "MiB", status_kib(self.pid, "RssAnon") / 1024, 32)
        size = self.args.stream_gib * 1024**3
        body = os.urandom(1024 * 1024)
        peak = 0
        path = "/bench/large"
        headers = [("Host", self.client.host_header), ("Content-Length", str(size))]
        self.client.sign_v4("PUT", path, headers, payload="UNSIGNED-PAYLOAD")
        with self.client.connect() as c:
            c.send(self.client.encode("PUT", path, headers))
            for i in range(size // len(body)):
                c.send(body)
                if i % 64 == 0:
                    peak = max(peak, status_kib(self.pid, "RssAnon"))
            assert c.response("PUT").status == 200
        with self.client.connect() as c:
            c.send(
                self.client.encode(
                    "GET", self.client.presign("GET", path),
                    [("Host", self.client.host_header)],
                )
            )
            c.head()
            left = size
            buffer = bytearray(1024 * 1024)
            while left > 0:
                n = c.file.readinto(buffer)
                assert n > 0
                left -= n
                if (left // len(buffer)) % 64 == 0:
                    peak = max(peak, status_kib(self.pid, "RssAnon"))
        self.value("RssAnon streaming %d GiB" % self.args.stream_gib, "MiB", peak / 1024, 64)
        assert self.client.delete(path).status == 204

    def start(self):
        self.fill_big()
        for name, end in (
            ("start after kill -9", self.server.kill),
            ("start after a stop", lambda: self.server.stop(wait=300)),
        ):
            times = []
            for _ in range(self.args.rounds):
                # something for the logs to replay
                self.tool("put", "--size", "4096", "--concurrency", "64", "--count", "2000")
                self.client.close()
                end()
                begun = time.monotonic()
                self.server.start(wait=300)
                while self.client.get("/-/health/ready").status != 200:
                    time.sleep(0.005)
                times.append(time.monotonic() - begun)
            self.value("%s, %d there" % (name, self.args.big), "s", statistics.median(times), 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fill", type=int, default=100000, help="objects before put")
    parser.add_argument("--big", type=int, default=1000000, help="keys of the big bucket")
    parser.add_argument("--stream-gib", type=int, default=5)
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("parts", nargs="*")
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            parser.error("no part %s; there are %s" % (part, " ".join(PARTS)))
    bench = Bench(args)
    try:
        for part in args.parts or PARTS:
            getattr(bench, part)()
    finally:
        bench.close()
    if args.json:
        with open(args.json, "w") as f:
            json.dump(bench.results, f, indent=1)
    return 0 if all(r.get("reached", True) for r in bench.results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
