"""FastDFS's clients from npm: fdfs and fdfs-client, unmodified."""

import os
import shutil
import subprocess

from conftest import HERE, TOP

MODULES = os.path.join(TOP, "tests", ".cache", "fastdfs-js")


def test_npm(cluster, tmp_path):
    assert os.path.isdir(os.path.join(MODULES, "node_modules")), (
        "run ./check fastdfs: it installs the clients"
    )
    # Imports are looked up from where the script lies.
    script = os.path.join(MODULES, "scenario-%d.mjs" % os.getpid())
    shutil.copy(os.path.join(HERE, "js", "scenario.mjs"), script)
    try:
        done = subprocess.run(
            ["node", script, "127.0.0.1", str(cluster.trackers[0].port), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
    finally:
        os.unlink(script)
    assert done.returncode == 0 and done.stdout.strip().endswith(b"all good"), done.stdout
