"""probe.py, which recorded what FastDFS 6.16.1 answers, against ours: length,
status and whether the server closed have to be FastDFS's."""

import os
import re
import subprocess

from conftest import HERE, TOP

VECTORS = os.path.join(TOP, "tests", "unit", "fdfs", "vectors", "vectors-6.16.1.txt")


def outcomes(text):
    found, label = [], None
    for line in text.splitlines():
        if line.startswith("== "):
            label = line[3 : line.index(" cmd=")]
            found.append([label, None, None, None])
        m = re.match(r"   resp len=(\d+) cmd=100 status=(\d+)", line)
        if m:
            found[-1][1:3] = int(m.group(1)), int(m.group(2))
        if "server closed connection" in line:
            found[-1][3] = line.endswith("True")
    return [tuple(f) for f in found]


# Where ours differs, and why: label -> (length, status, closed), None as FastDFS's.
DIFFERENT = {
    # a file without bytes can be read here
    "download empty file": (0, 0, False),
    # numbers are used for servers: what they are called has other lengths
    "fetch_storage_ids allow_empty": (33, 0, None),
    "get_server_id": (1, 0, None),
    "get_group_name": (0, 2, None),
    # the loopback address has other digits, the port too
    "get_leader": (15, None, None),
}


def test_probe(node):
    out = subprocess.run(
        ["/usr/bin/python3", os.path.join(HERE, "probe.py"), "127.0.0.1", str(node.trackers[0].port)],
        env=dict(os.environ, PROBE_WAIT="0.3"),
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    ).stdout.decode()
    with open(VECTORS) as f:
        want = outcomes(f.read())
    got = outcomes(out)
    assert [g[0] for g in got] == [w[0] for w in want]
    parameters = next(g for g in got if g[0] == "parameter_req")
    assert 0 < parameters[1] < 1024  # C clients' buffer; as many as it takes
    got = [g for g in got if g != parameters]
    want = [w for w in want if w[0] != "parameter_req"]
    wrong = []
    for g, w in zip(got, want):
        other = DIFFERENT.get(w[0], (None, None, None))
        w = (w[0],) + tuple(x if o is None else o for x, o in zip(w[1:], other))
        if g != w:
            wrong.append((g, w))
    assert not wrong, "\n".join("%s, not %s" % x for x in wrong)
    assert out.rstrip().endswith("quit -> b''")


