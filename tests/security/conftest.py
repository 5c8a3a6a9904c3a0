import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))

from kit import Site  # noqa: E402


@pytest.fixture(scope="session")
def site():
    with Site() as s:
        yield s


@pytest.fixture(scope="session")
def root(site):
    return site.root


@pytest.fixture()
def bucket(site):
    """A new bucket's name, with `old` and `src` in it."""
    return site.filled_bucket()
