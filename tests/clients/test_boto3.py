"""boto3 of Debian 12 (1.26) and of Debian 13 (1.37): defaults of both."""

import os

import pytest

from conftest import HERE, TOP, sh

NEW = os.path.join(TOP, "tests/.cache/boto3-1.37/usr/lib/python3/dist-packages")


@pytest.mark.parametrize("version", ["1.26", "1.37"])
def test_scenario(endpoint, tree, tmp_path, version):
    env = endpoint.env(tmp_path)
    if version == "1.37":
        assert os.path.isdir(NEW), "run ./check clients: it unpacks boto3 1.37"
        env["PYTHONPATH"] = NEW
    out = sh(
        ["/usr/bin/python3", os.path.join(HERE, "boto3_scenario.py"), endpoint.url,
         endpoint.bucket_name("boto3"), tree, version],
        env,
    )  # fmt: skip
    assert out.strip().endswith("all good"), out
