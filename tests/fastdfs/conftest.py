import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(TOP, "tests", "cluster"))
sys.path.insert(0, os.path.join(TOP, "tests"))

from kit import Cluster  # noqa: E402
from lib.server import free_port  # noqa: E402


class Node(Cluster):
    """One tracker and @n storage nodes, the first with file URLs."""

    def __init__(self, n=1, more=()):
        super().__init__(groups={"group1": n})
        self.http = free_port()
        self.storages[0].words += ["--http-address", "127.0.0.1:%d" % self.http]
        self.storages[0].words += list(more)

    @property
    def at(self):
        return self.storages[0].address


@pytest.fixture(scope="session")
def node():
    with Node() as n:
        yield n


@pytest.fixture(scope="session")
def three():
    with Node(3) as n:
        yield n


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
def cluster(request):
    """For what has to be the same on every size of a group."""
    return request.getfixturevalue("node" if request.param == 1 else "three")
