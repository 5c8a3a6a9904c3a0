"""Changes while nodes die: each that was acknowledged is there, once; each that
was not, at most once."""

import collections
import threading
import time

import fdfs
import pytest
from conftest import Node
from test_commands import everywhere


class Writer(threading.Thread):
    """Appends numbered records through nodes that stay."""

    def __init__(self, client, name, nodes, no):
        super().__init__(daemon=True)
        self.client, self.name, self.nodes, self.no = client, name, nodes, no
        self.acked, self.unsure, self.halt, self.longest = [], [], threading.Event(), 0

    def run(self):
        i = 0
        while not self.halt.is_set():
            record = b"%d.%d;" % (self.no, i)
            begin = time.monotonic()
            try:
                self.client.append(self.name, record, at=self.nodes[i % len(self.nodes)])
                self.acked.append(record)
            except (OSError, fdfs.FdfsError) as e:
                self.unsure.append((record, e))
            self.longest = max(self.longest, time.monotonic() - begin)
            i += 1


def test_the_ordering_node_dies():
    with Node(3) as n:
        c = n.client(30)
        name = c.upload(b"", appender=True)
        dead = n.leader(10)
        rest = [s.address for s in n.storages if s is not dead]
        writers = [Writer(n.client(30), name, rest, no) for no in range(4)]
        for w in writers:
            w.start()
        for _ in range(2):
            time.sleep(1)
            dead.kill()
            time.sleep(4)
            dead.start()
            n.wait_active()
            # the others order changes now; let it be theirs for a while
        time.sleep(1)
        for w in writers:
            w.halt.set()
        for w in writers:
            w.join(60)
        data = c.download(name)
        everywhere(n, name, data)
        count = collections.Counter(r + b";" for r in data.split(b";")[:-1])
        for w in writers:
            lost = [r for r in w.acked if count[r] != 1]
            twice = [r for r, _ in w.unsure if count[r] > 1]
            assert not lost and not twice, (lost[:3], twice[:3])
            assert len(w.acked) > 50
            # waited for another one to order changes, and got through
            assert not w.unsure, w.unsure[:3]
            assert w.longest < 10
        n.verify()


def test_group_of_two_with_one_away():
    """Everything can be read from the other one; nothing can be changed, and the
    answer is to try again."""
    with Node(2) as n:
        c = n.client(30)
        files = {}
        for appender in (False, True):
            name = c.upload(b"content", appender=appender)
            c.set_meta(name, {"a": "b"})
            files[name] = b"content"
            if appender:
                c.append(name, b"+more")
                files[name] += b"+more"
        for away in n.storages:
            here = next(s for s in n.storages if s is not away)
            away.kill()
            for name, data in files.items():
                assert c.download(name, at=here.address) == data
                assert c.info(name, at=here.address)[0] == len(data)
                assert c.get_meta(name, at=here.address) == {"a": "b"}
            changes = [lambda: c.set_meta(name, {"c": "d"}, at=here.address)]
            changes.append(lambda: c.delete(name, at=here.address))
            with pytest.raises(fdfs.FdfsError) as e:
                changes[away is n.storages[0]]()
            assert e.value.status == fdfs.EAGAIN
            with pytest.raises(fdfs.FdfsError) as e:
                c.upload(b"new", at=here.address)
            assert e.value.status == fdfs.EAGAIN
            away.start()
            n.wait_active()
            for name, data in files.items():
                everywhere(n, name, data)
        for name in files:
            c.delete(name)
