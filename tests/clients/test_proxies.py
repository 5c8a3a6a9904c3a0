"""nginx in front: the sample of docs/proxies, and nginx's own defaults (HTTP/1.0
to the upstream, both directions buffered, its own 100 Continue)."""

import os
import re
import socket
import subprocess
import time

import pytest

from conftest import ACCESS_KEY, HERE, SECRET, TOP, Server, digest, sh
from lib.server import free_port

DEFAULTS = """
server {
    listen 127.0.0.1:%(port)d;
    client_max_body_size 0;
    location / {
        proxy_pass http://127.0.0.1:%(upstream)d;
        proxy_set_header Host $http_host;
    }
}
"""


def sample(port, upstream):
    """The documented file with only its addresses changed."""
    with open(os.path.join(TOP, "docs/proxies/nginx.conf")) as f:
        text = f.read()
    for old, new in (
        ("server 127.0.0.1:9000;", "server 127.0.0.1:%d;" % upstream),
        ("listen 80;", "listen 127.0.0.1:%d;" % port),
        ("server_name s3.example.com *.s3.example.com;", "server_name _;"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Nginx:
    def __init__(self, folder, text, port):
        self.folder, self.port = str(folder), port
        for n in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            os.makedirs(os.path.join(self.folder, n), exist_ok=True)
        temp = "".join(
            "    %s_temp_path %s/%s;\n" % (k, self.folder, d)
            for k, d in (
                ("client_body", "body"),
                ("proxy", "proxy"),
                ("fastcgi", "fastcgi"),
                ("uwsgi", "uwsgi"),
                ("scgi", "scgi"),
            )
        )
        self.config = os.path.join(self.folder, "nginx.conf")
        with open(self.config, "w") as f:
            f.write(
                "pid %s/pid;\nerror_log %s/error.log;\nworker_processes 1;\n"
                "daemon off;\nuser root;\nevents { worker_connections 256; }\n"
                "http {\n%s    access_log off;\n%s\n}\n"
                % (self.folder, self.folder, temp, text)
            )

    def __enter__(self):
        self.process = subprocess.Popen(
            ["/usr/sbin/nginx", "-c", self.config, "-p", self.folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("nginx did not start: %r" % self.process.stderr.read())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


@pytest.mark.parametrize("which", ["sample", "defaults"])
def test_nginx(which, tree, tmp_path):
    port = free_port()
    with Server(args=["--trusted-proxies", "127.0.0.1"]) as server:
        if which == "sample":
            text = sample(port, server.port)
        else:
            text = DEFAULTS % {"port": port, "upstream": server.port}
        with Nginx(tmp_path, text, port):
            url = "http://127.0.0.1:%d" % port
            env = {
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
                "LC_ALL": "C.UTF-8",
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1",
            }
            aws = ["/usr/bin/aws", "--endpoint-url", url, "s3"]
            sh(aws + ["mb", "s3://proxied"], env)
            sh(aws + ["cp", "--recursive", tree, "s3://proxied/t"], env)
            sh(aws + ["cp", "--recursive", "s3://proxied/t", tmp_path / "back"], env)
            assert digest(tmp_path / "back") == digest(tree)
            out = sh(
                ["/usr/bin/python3", os.path.join(HERE, "boto3_scenario.py"), url,
                 "boto3", tree, "1.26"],
                env,
            )  # fmt: skip
            assert out.strip().endswith("all good"), out
            if which == "sample":
                answer = sh(["curl", "-sSi", url + "/", "-H", "Expect: 100-continue",
                             "-T", tree / "block"], env)  # fmt: skip
                assert re.search(r"^HTTP/1.1 40[35]", answer, re.M), answer
