"""Fixtures: a server over http and one over https, a tree of files, and a way
to run a client that fails loudly."""

import hashlib
import os
import random
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests"))

from lib.server import ACCESS_KEY, SECRET, Server  # noqa: E402

MIB = 1024 * 1024


def make_certificate(folder):
    """A CA and a certificate for 127.0.0.1 and localhost."""
    run = lambda *a: subprocess.run(  # noqa: E731
        a, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("openssl", "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt",
        "-days", "2", "-subj", "/CN=test CA", "-addext",
        "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    run("openssl", "req", *curve, "-keyout", "server.key", "-out", "server.csr",
        "-subj", "/CN=localhost")  # fmt: skip
    with open(os.path.join(folder, "san"), "w") as f:
        f.write("subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1\n")
    run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey",
        "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san", "-out",
        "server.crt")  # fmt: skip
    return [os.path.join(folder, n) for n in ("ca.crt", "server.crt", "server.key")]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(str(tmp_path_factory.mktemp("tls")))


class Endpoint:
    """A started server and how clients are told of it."""

    def __init__(self, server, ca):
        self.server, self.ca = server, ca
        self.url = server.endpoint
        self.tls = self.url.startswith("https:")
        self.address = self.url.split("//")[1]
        self.key, self.secret = ACCESS_KEY, SECRET
        self.count = 0

    def bucket_name(self, who):
        self.count += 1
        return "%s-%d" % (who, self.count)

    def env(self, home, **more):
        env = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "AWS_MAX_ATTEMPTS": "1",
        }
        if self.tls:
            env.update(
                AWS_CA_BUNDLE=self.ca,
                CURL_CA_BUNDLE=self.ca,
                SSL_CERT_FILE=self.ca,
                NODE_EXTRA_CA_CERTS=self.ca,
            )
        env.update(more)
        return env


@pytest.fixture(scope="session", params=["http", "https"])
def endpoint(request, certificate):
    ca, crt, key = certificate
    with Server(tls=(crt, key) if request.param == "https" else None) as s:
        yield Endpoint(s, ca)


def sh(command, env, check=True, timeout=180, **kw):
    """Output as text; a client that fails shows all that it said."""
    done = subprocess.run(
        [str(a) for a in command],
        env=env,
        stdin=kw.pop("stdin", None) or subprocess.DEVNULL
        if "input" not in kw
        else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        **kw,
    )
    text = done.stdout.decode("utf-8", "replace")
    if check and done.returncode != 0:
        pytest.fail(
            "%s\nexit %d\n%s" % (" ".join(map(str, command)), done.returncode, text)
        )
    return text if check else (done.returncode, text)


def fill(folder, seed=1):
    """A tree with the names and sizes that break clients and servers."""
    r = random.Random(seed)
    files = {
        "empty": b"",
        "one byte": b"x",
        "plus+and%25percent&amp;": r.randbytes(1000),
        "deep/er/and/er/file.txt": b"deep\n" * 500,
        "uml\u00e4ut/\u65e5\u672c\u8a9e.bin": r.randbytes(65536),
        "block-1": r.randbytes(65535),
        "block": r.randbytes(65536),
        "block+1": r.randbytes(65537),
        "mib+1": r.randbytes(MIB + 1),
        "multipart": r.randbytes(17 * MIB + 12345),
        "quote'and\"double": b"quotes",
        "semi;colon,comma=equals": b"punctuation",
    }
    for i in range(40):
        files["many/%03d" % i] = r.randbytes(r.randrange(5000))
    for name, data in files.items():
        path = os.path.join(str(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
    return folder


def digest(folder):
    """{relative name: sha256} of all files below."""
    found = {}
    for where, _, names in os.walk(str(folder)):
        for n in names:
            path = os.path.join(where, n)
            with open(path, "rb") as f:
                found[os.path.relpath(path, str(folder))] = hashlib.sha256(
                    f.read()
                ).hexdigest()
    return found


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("tree"))
