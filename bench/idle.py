#!/usr/bin/python3
"""What an idle daemon costs: threads, wakeups, CPU, memory, descriptors.

usage: bench/idle.py [--seconds N] [--settle N] [--threads] [ROLE...]
Roles: server cluster1 cluster3 (default: all)

Each is measured some seconds after its start, and again after a burst of
requests: PUT and GET, from 64 connections at once, by S3 (to a storage node,
also by FastDFS's protocol). A wakeup is a voluntary context switch of one of the
process's threads, from /proc/PID/task/*/status; CPU time is from schedstat, in
nanoseconds. --threads tells which threads wake.
"""

import argparse
import collections
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.join(os.path.dirname(HERE), "tests")
sys.path[:0] = [TESTS, os.path.join(TESTS, "cluster")]

from kit import Cluster  # noqa: E402
from lib.s3raw import Client  # noqa: E402
from lib.server import ACCESS_KEY, SECRET, Server  # noqa: E402

CONNECTIONS, REQUESTS = 64, 20


def fields(path):
    with open(path) as f:
        return dict(line.split(":", 1) for line in f if ":" in line)


def threads(pid):
    """Thread ID -> (name, voluntary switches, CPU ns)."""
    found = {}
    for tid in os.listdir("/proc/%d/task" % pid):
        task = "/proc/%d/task/%s/" % (pid, tid)
        try:
            status = fields(task + "status")
            with open(task + "schedstat") as f:
                cpu = int(f.read().split()[0])
        except FileNotFoundError:
            continue  # it has ended
        switches = int(status["voluntary_ctxt_switches"])
        found[tid] = (status["Name"].strip(), switches, cpu)
    return found


def measure(pids, seconds):
    """PID -> (wakeups/s, CPU s/hour, Counter of wakeups by thread's name)."""
    before = {pid: threads(pid) for pid in pids}
    begin = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begin
    result = {}
    for pid in pids:
        woken, cpu = collections.Counter(), 0
        for tid, (name, switches, ns) in threads(pid).items():
            old = before[pid].get(tid, (name, 0, 0))
            woken[name] += switches - old[1]
            cpu += ns - old[2]
        result[pid] = (sum(woken.values()) / took, cpu / 1e9 * 3600 / took, woken)
    return result


def show(what, processes, options):
    time.sleep(options.settle)
    seen = measure([pid for _, pid in processes], options.seconds)
    for name, pid in processes:
        status = fields("/proc/%d/status" % pid)

        def mib(key):
            return int(status[key].split()[0]) / 1024

        wakeups, cpu, woken = seen[pid]
        print(
            "%-12s %-6s %8.2f wakeups/s %7.1f s CPU/h %5d threads  RssAnon %5.1f"
            "  VmSize %7.0f  VmPTE %4.1f MiB  %4d fds"
            % (
                name,
                what,
                wakeups,
                cpu,
                int(status["Threads"]),
                mib("RssAnon"),
                mib("VmSize"),
                mib("VmPTE"),
                len(os.listdir("/proc/%d/fd" % pid)),
            ),
            flush=True,
        )
        if options.threads:
            for thread, n in woken.most_common():
                if n:
                    print("    %-16s %7.2f" % (thread, n / options.seconds))


def together(fn):
    runs = [threading.Thread(target=fn, args=(i,)) for i in range(CONNECTIONS)]
    for t in runs:
        t.start()
    for t in runs:
        t.join()


def by_s3(port):
    Client("127.0.0.1", port, ACCESS_KEY, SECRET).put("/bucket")

    def one(i):
        c = Client("127.0.0.1", port, ACCESS_KEY, SECRET)
        for n in range(REQUESTS):
            key = "/bucket/%d-%d" % (i, n)
            assert c.put(key, body=bytes(4096)).status == 200
            assert c.get(key).status == 200

    together(one)


def by_fastdfs(cluster):
    def one(_):
        c = cluster.client()
        for _ in range(REQUESTS):
            c.download(c.upload(bytes(4096)))

    together(one)


def server(options):
    with Server() as s:
        processes = [("server", s.process.pid)]
        show("start", processes, options)
        by_s3(s.port)
        show("load", processes, options)


def cluster(options, nodes):
    with Cluster(groups={"group1": nodes}, gateways=1) as c:
        processes = [("tracker", c.trackers[0].process.pid)]
        for s in c.storages:
            processes.append(("storage/%d" % nodes, s.process.pid))
        processes.append(("gateway", c.gateways[0].process.pid))
        show("start", processes, options)
        by_s3(c.gateways[0].port)
        by_fastdfs(c)
        show("load", processes, options)


ROLES = {
    "server": server,
    "cluster1": lambda options: cluster(options, 1),
    "cluster3": lambda options: cluster(options, 3),
}


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--settle", type=float, default=10)
    p.add_argument("--threads", action="store_true")
    p.add_argument("roles", nargs="*")
    options = p.parse_args()
    for role in options.roles or ROLES:
        ROLES[role](options)


if __name__ == "__main__":
    main()
