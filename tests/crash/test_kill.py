"""kill -9 under load, again and again: no acknowledged write is lost (P1), no
half object is seen (P4), and the server is ready again within a second (P7)."""

import os
import random
import time

from lib.s3raw import Client
from lib.server import ACCESS_KEY, SECRET, Server
from workload import Load


def test_kill_under_load():
    rounds = 40 if os.environ.get("CREEL_FULL") else 10
    rng = random.Random(7)
    server = Server(
        env={"CREEL_VOLUME_SIZE": "32MiB", "CREEL_INDEX_TABLE_MAX": "256KiB"}
    )
    load = Load(
        lambda: Client("127.0.0.1", server.port, ACCESS_KEY, SECRET), time.monotonic
    )
    slowest = 0
    try:
        server.start()
        load.create_bucket()
        for number in range(rounds):

            def kill(stop):
                time.sleep(rng.uniform(0.2, 1.2))
                server.kill()
                stop.set()

            load.run(8, 100000, on_running=kill)
            begun = time.monotonic()
            server.start()
            slowest = max(slowest, time.monotonic() - begun)
            client = Client("127.0.0.1", server.port, ACCESS_KEY, SECRET)
            bad = load.verify(client, time.monotonic(), settle=True)
            client.close()
            assert not bad, "round %d: %s" % (number, "\n".join(bad[:10]))
            assert not load.errors, load.errors[:5]
        assert load.acknowledged > rounds * 20, "the load did nothing"
        print(
            "%d acknowledged writes, slowest start %.2f s"
            % (load.acknowledged, slowest)
        )
    finally:
        server.cleanup()
