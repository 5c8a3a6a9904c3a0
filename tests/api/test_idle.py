"""What a server costs that nobody asks: it sleeps, with few threads."""

import os
import time

from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, Server


def tasks(pid):
    """Thread ID -> how often it has gone to sleep."""
    found = {}
    for tid in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/status" % (pid, tid)) as f:
                fields = dict(line.split(":", 1) for line in f if ":" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile, as those that trim memory
        found[tid] = int(fields["voluntary_ctxt_switches"])
    return found


def wait_quiet(pid, seconds=90):
    """Until hardly a thread has woken for five seconds: one a second is too many."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = tasks(pid)
        time.sleep(5)
        after = tasks(pid)
        if sum(n - before.get(tid, 0) for tid, n in after.items()) < 5:
            return
    raise AssertionError("it wakes up all the time: %s, %s" % (before, after))


def test_few_threads_that_sleep():
    with Server() as s:
        pid = s.process.pid
        assert len(tasks(pid)) < 40
        wait_quiet(pid)
        c = Client("127.0.0.1", s.port, ACCESS_KEY, SECRET)
        assert c.put("/bucket").status == 200
        assert c.put("/bucket/key", body=b"1").status == 200
        assert c.get("/bucket/key").body == b"1"
        # Bytes that are given back once their volume is full, not before.
        assert c.put("/bucket/large", body=bytes(200000)).status == 200
        assert c.delete("/bucket/large").status == 204
        c.close()
        wait_quiet(pid)
        assert len(tasks(pid)) < 40
