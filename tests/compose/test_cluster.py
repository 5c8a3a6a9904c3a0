"""cluster.yaml: two trackers, two groups of three nodes, a gateway; used while
containers are killed."""

import hashlib
import json
import os
import time

from conftest import Client
from engine import Stack, sh, until
from lib.server import free_port

PAIR = {"MINIO_ROOT_USER": "compose-admin", "MINIO_ROOT_PASSWORD": "compose-secret"}
TRACKERS = ["tracker1", "tracker2"]
GROUPS = {
    "group1": ["storage1", "storage2", "storage3"],
    "group2": ["storage4", "storage5", "storage6"],
}
NODES = sum(GROUPS.values(), [])
BUCKETS = ["composed-%d" % i for i in range(4)]


class Cluster(Stack):
    def __init__(self, engine, version, image, home, trees=(), beside=(), more={}):
        self.trees = dict(zip(BUCKETS, trees))
        port = free_port()
        env = dict(PAIR, CREEL_PORT=str(port), **more)
        files = ["cluster.yaml", *beside]
        super().__init__(engine, version, files, env, image)
        key, secret = PAIR["MINIO_ROOT_USER"], PAIR["MINIO_ROOT_PASSWORD"]
        self.s3 = Client(port, key, secret, home).s3

    def up(self):
        self("up", "-d", "--no-build", timeout=180)
        self.wait_healthy(*TRACKERS, *NODES, "gateway", seconds=120)
        self.wait_active(NODES)

    def nodes(self):
        """{service: what its tracker says of it}."""
        text = self("exec", "-T", "tracker2", "creel", "admin", "cluster",
                    "status", "--json")  # fmt: skip
        found = {}
        for group in json.loads(text[text.index("{") :])["groups"]:
            for n in group["nodes"]:
                found["storage%d" % n["server_id"]] = dict(n, group=group["group"])
        return found

    def wait_active(self, services):
        """ACTIVE, taking writes, and with nothing missing that is known of."""

        def is_so():
            nodes = self.nodes()
            return all(
                s in nodes
                and nodes[s]["state"] == "ACTIVE"
                and nodes[s]["can_write"]
                and nodes[s]["lag_bytes"] == nodes[s]["lag_files"] == 0
                for s in services
            )

        until(
            is_so,
            90,
            lambda: "%s active: %s\n%s"
            % (services, self.nodes(), self.logs(services[0])),
        )

    def kill(self, service):
        self.engine.docker("kill", self.container(service))

    def start(self, service):
        self.engine.docker("start", self.container(service))

    def put(self, name):
        for b, tree in self.trees.items():
            self.s3("cp", "--quiet", "--recursive", tree, "s3://%s/%s" % (b, name))

    def same(self, name, into):
        for b, tree in self.trees.items():
            to = into / b / name
            self.s3("cp", "--quiet", "--recursive", "s3://%s/%s" % (b, name), to)
            sh(["diff", "-r", tree, to])
            sh(["rm", "-rf", to])


def secret_of(stack):
    read = ["exec", "-T", "tracker1", "cat", "/secret/cluster"]
    text = stack(*read).strip()
    assert len(bytes.fromhex(text)) == 32
    return hashlib.sha256(text.encode()).hexdigest()


def test_cluster(engine, image, tree, small, tmp_path):
    with Cluster(engine, "v2", image, tmp_path, [tree, tree, small, small]) as c:
        c.up()
        assert {s: n["group"] for s, n in c.nodes().items()} == {
            s: g for g, services in GROUPS.items() for s in services
        }
        assert c.state("secret")["ExitCode"] == 0
        for b in BUCKETS:
            c.s3("mb", "s3://" + b)
        c.put("whole")
        c.same("whole", tmp_path)
        used = {n["group"] for n in c.nodes().values() if n["paths"][0]["bytes"] > 0}
        assert used == set(GROUPS), c.nodes()

        # One node of each group is gone: nothing is lost, nothing stops.
        for s in ("storage1", "storage5"):
            c.kill(s)
        c.same("whole", tmp_path)
        c.put("fewer")
        c.same("fewer", tmp_path)

        # They catch up; then they can stand in for others.
        for s in ("storage1", "storage5"):
            c.start(s)
        c.wait_active(NODES)
        for s in ("storage2", "storage6"):
            c.kill(s)
        c.same("fewer", tmp_path)
        for s in ("storage2", "storage6"):
            c.start(s)

        # A tracker and the gateway.
        c.kill("tracker1")
        c.put("one-tracker")
        c.same("one-tracker", tmp_path)
        os.kill(c.state("gateway")["Pid"], 9)
        c.start("tracker1")
        c.wait_healthy("gateway")
        c.same("one-tracker", tmp_path)
        c.wait_active(NODES)
        c("exec", "-T", "gateway", "creel", "admin", "cluster", "verify")

        # With the trackers gone, their names unknown and no name server that
        # answers, a node still stops in Docker's time.
        for s in TRACKERS:
            c.kill(s)
        c.same("one-tracker", tmp_path)
        time.sleep(2)
        engine.docker("stop", "-t", "10", c.container("storage3"))
        state = c.state("storage3")
        assert state["ExitCode"] == 0, (state, c.logs("storage3"))


def test_cluster_down_and_up(engine, image, version, small, tmp_path):
    """All of it stops cleanly in Docker's time and comes back as it was, from
    its volumes, with the same secret."""
    with Cluster(engine, version, image, tmp_path, [small] * 4) as c:
        c.up()
        secret = secret_of(c)
        for b in BUCKETS:
            c.s3("mb", "s3://" + b)
        c.put("whole")
        c("stop", "-t", "10")
        for s in TRACKERS + NODES + ["gateway"]:
            state = c.state(s)
            assert state["ExitCode"] == 0, (s, state, c.logs(s))
        c("down")
        c.up()
        assert secret_of(c) == secret
        c.same("whole", tmp_path)


def test_fastdfs_from_outside(engine, image, tmp_path):
    """fastdfs.yaml: a client on the host, by the trackers' ports there."""
    networks = "172.16.0.0/12,192.168.0.0/16,10.0.0.0/8"  # Docker's
    more = {"CREEL_HOST": "192.0.2.1", "CREEL_ALLOW_HOSTS": networks}
    for i in range(1, 3):
        more["CREEL_TRACKER%d_PORT" % i] = str(free_port())
    for i in range(1, 7):
        more["CREEL_STORAGE%d_PORT" % i] = str(free_port())
    trackers = "127.0.0.1:%(CREEL_TRACKER1_PORT)s,127.0.0.1:%(CREEL_TRACKER2_PORT)s"
    client = ["run", "--rm", "--network", "host", "-v", "%s:/t" % tmp_path]
    client += ["--user", "0", "-e", "CREEL_TRACKERS=" + trackers % more, image]
    client += ["admin", "fdfs"]
    (tmp_path / "sent").write_bytes(os.urandom(300000))
    with Cluster(engine, "v2", image, tmp_path, (), ["fastdfs.yaml"], more) as c:
        c.up()
        for s, n in c.nodes().items():
            port = more["CREEL_STORAGE%s_PORT" % s[-1]]
            assert n["outer_address"] == "192.0.2.1:" + port, n
        for group in GROUPS:
            upload = ["upload", "/t/sent", "--group", group]
            name = engine.docker(*client, *upload).strip()
            assert name.startswith(group + "/M00/"), name
            c.kill(GROUPS[group][0])
            engine.docker(*client, "download", name, "/t/back")
            assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()
            (tmp_path / "back").unlink()
