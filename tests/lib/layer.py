"""Runs a folder of pytest files as a layer of ./check."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET


def pytest_layer(name, folder, arguments=()):
    """Prints `NAME: N passed, N failed` last; returns the exit status. A
    skipped test is a failed one: nothing may go unseen."""
    with tempfile.TemporaryDirectory() as tmp:
        report = os.path.join(tmp, "report.xml")
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--junit-xml", report, folder] + list(arguments)
        code = subprocess.run(command, env=env, stdin=subprocess.DEVNULL).returncode
        passed = failed = 0
        if os.path.exists(report):
            for suite in ET.parse(report).getroot().iter("testsuite"):
                total = int(suite.get("tests", 0))
                bad = sum(
                    int(suite.get(k, 0)) for k in ("failures", "errors", "skipped")
                )
                passed += total - bad
                failed += bad
        if code not in (0, 1) and failed == 0:
            failed = 1
    sys.stdout.flush()
    print(f"{name}: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
