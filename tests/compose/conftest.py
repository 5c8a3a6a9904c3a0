"""Fixtures: the engine, the image built once, both versions of compose."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))

from engine import BASE, COMPOSE, TOP, Engine, sh  # noqa: E402,F401

IMAGE = "creel-check:%d" % os.getpid()


@pytest.fixture(scope="session")
def engine():
    e = Engine()
    yield e
    e.stop()


@pytest.fixture(scope="session")
def image(engine):
    """Built from this tree, as `docker-compose build` does it, or the one that
    CREEL_COMPOSE_IMAGE names."""
    if os.environ.get("CREEL_COMPOSE_IMAGE"):
        yield os.environ["CREEL_COMPOSE_IMAGE"]
        return
    engine.need_base()
    command = [COMPOSE["v1"], "-f", TOP + "/compose/compose.yaml", "-f"]
    command += [HERE + "/build.yaml", "build"]
    text = sh(command, dict(engine.env, CREEL_IMAGE=IMAGE), timeout=1200)
    assert "Successfully tagged " + IMAGE in text, text
    yield IMAGE
    if not os.environ.get("CREEL_COMPOSE_KEEP"):
        engine.docker("image", "rm", IMAGE, check=False)


@pytest.fixture(params=["v1", "v2"])
def version(request):
    return request.param


class Client:
    """aws against 127.0.0.1:PORT."""

    def __init__(self, port, key, secret, home):
        self.url = "http://127.0.0.1:%d" % port
        self.env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
        }

    def s3(self, *arguments, **kw):
        command = ["/usr/bin/aws", "--endpoint-url", self.url, "s3"]
        return sh(command + list(arguments), self.env, **kw)


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """Small, large and empty files; the largest in several extents."""
    top = tmp_path_factory.mktemp("tree")
    (top / "deep/er").mkdir(parents=True)
    for name, size in (
        ("empty", 0),
        ("deep/er/small", 4321),
        ("block", 65536),
        ("large", 9 * 1024 * 1024 + 7),
        ("extents", 70 * 1024 * 1024 + 1),
    ):
        (top / name).write_bytes(os.urandom(size))
    return top


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Small and empty files, and one of its own file in the storage."""
    top = tmp_path_factory.mktemp("small")
    (top / "deep/er").mkdir(parents=True)
    for name, size in (("empty", 0), ("deep/er/s", 999), ("own", 1200 * 1024)):
        (top / name).write_bytes(os.urandom(size))
    return top
