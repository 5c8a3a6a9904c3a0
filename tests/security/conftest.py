import os
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))

from kit import Site  # noqa: E402


@pytest.fixture(scope="session")
def site():
    # The index's archive is files in the storage too: it would be counted.
    with Site(args=["--index-archive-interval", "0"]) as s:
        yield s


@pytest.fixture(scope="session")
def root(site):
    return site.root


@pytest.fixture()
def bucket(site):
    """A new bucket's name, with `old` and `src` in it."""
    return site.filled_bucket()


@pytest.fixture(autouse=True)
def nothing_left(site):
    """No test leaves a temporary file behind (what is under way may end)."""
    yield
    tmp = os.path.join(site.server.data, "tmp")
    end = time.monotonic() + 5
    while os.listdir(tmp) and time.monotonic() < end:
        time.sleep(0.01)
    assert os.listdir(tmp) == []
