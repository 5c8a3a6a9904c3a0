"""Network namespaces: each process of a cluster on a host of its own, on one
bridge, so that links can be cut while nobody is told. Needs root."""

import os
import random
import subprocess


def ip(*words, ns=None, check=True):
    command = ["ip"] + (["-n", ns] if ns else []) + list(words)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check:
        assert done.returncode == 0, (command, done.stdout)
    return done.returncode == 0


class Net:
    def __init__(self):
        assert os.geteuid() == 0, "network namespaces need root"
        for _ in range(100):
            self.number = random.randrange(1, 250)
            self.bridge = "creel%d" % self.number
            if ip("link", "add", self.bridge, "type", "bridge", check=False):
                break
        else:
            raise AssertionError("no bridge")
        self.hosts = {}  # name -> (namespace, address, our end of the cable)
        ip("addr", "add", self._address(254) + "/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")

    def _address(self, n):
        return "10.213.%d.%d" % (self.number, n)

    def add(self, name):
        """The new host's address."""
        n = len(self.hosts) + 1
        ns, address = "creel%d-%d" % (self.number, n), self._address(n)
        cable = "creel%d.%d" % (self.number, n)
        ip("netns", "add", ns)
        self.hosts[name] = (ns, address, cable)
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", ns)
        ip("link", "set", cable, "master", self.bridge)
        ip("link", "set", cable, "up")
        ip("link", "set", "lo", "up", ns=ns)
        ip("addr", "add", address + "/24", "dev", "eth0", ns=ns)
        ip("link", "set", "eth0", "up", ns=ns)
        return address

    def prefix(self, name):
        return ["ip", "netns", "exec", self.hosts[name][0]]

    def pull(self, name):
        """The cable is out."""
        ip("link", "set", self.hosts[name][2], "down")

    def plug(self, name):
        ip("link", "set", self.hosts[name][2], "up")

    def cut(self, a, b):
        """These two do not reach each other; both reach everybody else."""
        for here, there in ((a, b), (b, a)):
            address = self.hosts[there][1] + "/32"
            ip("route", "add", "blackhole", address, ns=self.hosts[here][0])

    def heal(self, a, b):
        for here, there in ((a, b), (b, a)):
            address = self.hosts[there][1] + "/32"
            ip("route", "del", "blackhole", address, ns=self.hosts[here][0])

    def close(self):
        for ns, _, cable in self.hosts.values():
            ip("link", "del", cable, check=False)
            ip("netns", "del", ns, check=False)
        ip("link", "del", self.bridge, check=False)
