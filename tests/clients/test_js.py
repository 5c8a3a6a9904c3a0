"""The AWS SDK for JavaScript v3, from npm."""

import os
import shutil

from conftest import HERE, TOP, sh

MODULES = os.path.join(TOP, "tests", ".cache", "js")


def test_scenario(endpoint, tree, tmp_path):
    assert os.path.isdir(os.path.join(MODULES, "node_modules")), (
        "run ./check clients: it installs the SDK"
    )
    # Imports are looked up from where the script lies.
    script = os.path.join(MODULES, "scenario-%d.mjs" % os.getpid())
    shutil.copy(os.path.join(HERE, "js", "scenario.mjs"), script)
    try:
        out = sh(
            ["node", script, endpoint.url, endpoint.bucket_name("js"), tree],
            endpoint.env(tmp_path, PATH=os.environ["PATH"]),
        )
    finally:
        os.unlink(script)
    assert out.strip().endswith("all good"), out
