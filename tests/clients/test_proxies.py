"""A proxy in front: the samples of docs/proxies with only their addresses
changed, and nginx's own defaults (HTTP/1.0 to the upstream, both directions
buffered, its own 100 Continue)."""

import os
import re
import socket
import subprocess
import time

import pytest

from conftest import ACCESS_KEY, HERE, MIB, SECRET, TOP, Server, digest, sh
from lib.s3raw import Client
from lib.server import free_port
from test_boto3 import NEW

NGINX_DEFAULTS = """
server {
    listen 127.0.0.1:%(port)d;
    client_max_body_size 0;
    location / {
        proxy_pass http://127.0.0.1:%(upstream)d;
        proxy_set_header Host $http_host;
    }
}
"""


def sample(name, *replaced):
    """The documented file with only its addresses changed."""
    with open(os.path.join(TOP, "docs/proxies", name)) as f:
        text = f.read()
    for old, new in replaced:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def nginx(folder, port, text):
    temp = ""
    for kind, name in (
        ("client_body", "body"),
        ("proxy", "proxy"),
        ("fastcgi", "fastcgi"),
        ("uwsgi", "uwsgi"),
        ("scgi", "scgi"),
    ):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        temp += "    %s_temp_path %s/%s;\n" % (kind, folder, name)
    config = (
        "pid %s/pid;\nerror_log %s/error.log;\nworker_processes 1;\n"
        "daemon off;\nuser root;\nevents { worker_connections 256; }\n"
        "http {\n%s    access_log off;\n%s\n}\n" % (folder, folder, temp, text)
    )
    return ["/usr/sbin/nginx", "-p", folder, "-c"], config


def nginx_sample(folder, port, upstream):
    return nginx(folder, port, sample(
        "nginx.conf",
        ("server 127.0.0.1:9000;", "server 127.0.0.1:%d;" % upstream),
        ("listen 80;", "listen 127.0.0.1:%d;" % port),
        ("server_name s3.example.com *.s3.example.com;", "server_name _;"),
    ))  # fmt: skip


def nginx_defaults(folder, port, upstream):
    return nginx(folder, port, NGINX_DEFAULTS % {"port": port, "upstream": upstream})


def haproxy(_, port, upstream):
    return ["/usr/sbin/haproxy", "-db", "-f"], sample(
        "haproxy.cfg",
        ("bind :80", "bind 127.0.0.1:%d" % port),
        ("server one 127.0.0.1:9000", "server one 127.0.0.1:%d" % upstream),
    )


def caddy(_, port, upstream):
    """Over http: which certificates Caddy would get is not ours."""
    text = sample(
        "Caddyfile",
        ("s3.example.com, *.s3.example.com {", "http://:%d {" % port),
        ("reverse_proxy 127.0.0.1:9000 {", "reverse_proxy 127.0.0.1:%d {" % upstream),
    )
    run = ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config"]
    return run, "{\n\tadmin off\n}\n" + text


class Proxy:
    """Runs what one of the functions above returned: a command that the name
    of the configuration file is added to, and the file."""

    def __init__(self, make, folder, port, upstream):
        self.port = port
        command, text = make(str(folder), port, upstream)
        config = os.path.join(str(folder), "config")
        with open(config, "w") as f:
            f.write(text)
        self.log = os.path.join(str(folder), "log")
        self.command = command + [config]
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
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
        with open(self.log, errors="replace") as f:
            raise RuntimeError("the proxy did not start: " + f.read()[-2000:])

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(params=[nginx_sample, nginx_defaults, haproxy, caddy])
def proxied(request, tmp_path):
    """A server and a proxy before it."""
    port = free_port()
    with Server(args=["--trusted-proxies", "127.0.0.1"]) as server:
        with Proxy(request.param, tmp_path, port, server.port) as proxy:
            proxy.make, proxy.server = request.param, server
            yield proxy


def test_clients(proxied, tree, tmp_path):
    url = "http://127.0.0.1:%d" % proxied.port
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    if proxied.make is caddy:
        env["HEADER_NAMES_RECASED"] = "1"
    aws = ["/usr/bin/aws", "--endpoint-url", url, "s3"]
    sh(aws + ["mb", "s3://proxied"], env)
    sh(aws + ["cp", "--recursive", tree, "s3://proxied/t"], env)
    sh(aws + ["cp", "--recursive", "s3://proxied/t", tmp_path / "back"], env)
    assert digest(tmp_path / "back") == digest(tree)
    # 1.37 sends bodies aws-chunked with a checksum behind them.
    for version in ("1.26", "1.37") if proxied.make is nginx_sample else ("1.37",):
        if version == "1.37":
            env["PYTHONPATH"] = NEW
        out = sh(
            ["/usr/bin/python3", os.path.join(HERE, "boto3_scenario.py"), url,
             "boto3-" + version.replace(".", "-"), tree, version],
            env,
        )  # fmt: skip
        assert out.strip().endswith("all good"), out


def test_raw(proxied, tree):
    """What a proxy could change on the way: names, framing, Expect, Host."""
    c = Client("127.0.0.1", proxied.port, ACCESS_KEY, SECRET)
    assert c.put("/raw").status == 200

    # The target that is signed, and other forms of it that clients send.
    for key, *forms in (
        ("a%20b",),
        ("plus%2Band", "plus+and"),
        ("%E6%97%A5%E6%9C%AC", "%e6%97%a5%E6%9C%AC"),
        ("two//slashes", "two/%2Fslashes", "two//sl%61shes"),
        ("trailing/",),
        ("tilde~%21%24%26%27%28%29%2A%2C%3B%3D%3A%40", "tilde%7E!$&'()*,;=:@"),
        ("percent%25", "perc%65nt%25"),
        ("question%3Fmark",),
        ("quotes%22%3C%3E%5C%5E%60%7B%7C%7D",),
    ):
        path = "/raw/" + key
        for form in (key, *forms):

            def as_form(method, _, headers, body):
                return method, "/raw/" + form, headers, body

            r = c.put(path, form.encode(), tamper=as_form)
            assert r.status == 200, (form, r)
            r = c.get(path, tamper=as_form)
            assert (r.status, r.body) == (200, form.encode()), (form, r)
            r = c.get(path)
            assert (r.status, r.body) == (200, form.encode()), (form, r)
    r = c.get("/raw?list-type=2&prefix=two//&delimiter=%2F&x=a;b")
    assert r.status == 200 and b"two//" in r.body, r

    # Signed chunks, with a trailer; larger than any buffer on the way.
    body = bytes(range(256)) * 4096 * 20
    chunks = [body[i : i + MIB] for i in range(0, len(body), MIB)]
    headers = [
        ("Host", c.host_header),
        ("x-amz-decoded-content-length", str(len(body))),
        ("Content-Encoding", "aws-chunked"),
    ]
    seed = c.sign_v4(
        "PUT", "/raw/chunked", headers, payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    )
    framed = c.chunked_body(chunks, seed)
    headers.append(("Content-Length", str(len(framed))))
    r = c.raw(c.encode("PUT", "/raw/chunked", headers, framed), "PUT")
    assert r.status == 200, r
    assert c.get("/raw/chunked").body == body
    r = c.get("/raw/chunked", [("Range", "bytes=5-70000")])
    assert r.status == 206 and r.body == body[5:70001]
    r = c.head("/raw/chunked")
    assert r["content-length"] == str(len(body)) and r["etag"], r.headers

    # The answer to Expect, then the body; and a refusal instead of it.
    for secret, statuses in ((SECRET, (200,)), ("wrong", (403,))):
        signer = Client("127.0.0.1", proxied.port, ACCESS_KEY, secret)
        headers = [("Host", c.host_header), ("Content-Length", "5")]
        signer.sign_v4("PUT", "/raw/expect", headers, payload="UNSIGNED-PAYLOAD")
        headers.append(("Expect", "100-continue"))
        with c.connect() as connection:
            connection.send(c.encode("PUT", "/raw/expect", headers))
            r = connection.head()
            if r.status == 100:
                connection.send(b"hello")
                r = connection.response("PUT")
            elif proxied.make is not nginx_defaults:
                assert secret != SECRET, r
            assert r.status in statuses, r
    assert c.get("/raw/expect").body == b"hello"

    # Virtual-host style.
    r = c.get("/expect", [("Host", "raw.localhost:%d" % proxied.port)])
    assert (r.status, r.body) == (200, b"hello"), r

    # The client's address is the proxy's word, not the client's.
    r = c.get("/raw/expect", [("X-Forwarded-For", "203.0.113.9")])
    assert r.status == 200, r
    proxied.server.stop()
    lines = proxied.server.tail().splitlines()
    seen = [n.split()[1] for n in lines if '"/raw/expect"' in n]
    if proxied.make is nginx_defaults:  # does not set it: must not be trusted
        assert seen[-1] == "203.0.113.9"
    else:
        assert len(seen) >= 3 and set(seen) == {"127.0.0.1"}, lines


def test_refused_before_the_body(proxied, tree):
    answer = sh(["curl", "-sSi", "http://127.0.0.1:%d/" % proxied.port, "-H",
                 "Expect: 100-continue", "-T", tree / "block"],
                {"PATH": "/usr/bin:/bin"})  # fmt: skip
    assert re.search(r"^HTTP/1.1 40[35]", answer, re.M), answer
