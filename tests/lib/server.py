"""Starts a Creel server for tests: a data folder, a free port, known keys."""

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
ACCESS_KEY = "TESTROOTUSER"
SECRET = "test-root-password"


def binary():
    return os.environ.get("CREEL_BIN") or os.path.join(TOP, "build", "creel")


_ports = {}  # port: True; the lock file: open


def free_port():
    """A port that no other test process is given while this one lives, below
    those that the kernel draws for clients: one of these may be taken at any
    time, also by a client while a server starts again."""
    if "lock" not in _ports:
        path = "creel-test-ports-" + os.environ.get("CREEL_TEST_UID", str(os.geteuid()))
        path = os.path.join(tempfile.gettempdir(), path)
        _ports["lock"] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        port = random.SystemRandom().randrange(20000, 32768)
        if port in _ports:
            continue
        try:
            fcntl.lockf(_ports["lock"], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            continue
        _ports[port] = True  # in use by somebody else: not asked again
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Server:
    """`with Server() as s:` or start()/stop(). The data folder goes with it
    unless one was given."""

    def __init__(self, data=None, args=(), env=None, port=None, tls=None, prefix=()):
        self.own_data = data is None
        self.data = data or tempfile.mkdtemp(prefix="creel-test-")
        self.args, self.env = list(args), dict(env or {})
        self.port = port or free_port()
        self.tls = tls  # (cert, key)
        self.prefix = list(prefix)  # command that the server is exec'ed by
        self.process = None
        self.log = os.path.join(
            tempfile.gettempdir(), "creel-test-%d-%d.log" % (os.getpid(), self.port)
        )

    @property
    def endpoint(self):
        scheme = "https" if self.tls else "http"
        return "%s://127.0.0.1:%d" % (scheme, self.port)

    def start(self, wait=30):
        env = dict(os.environ)
        env.update(CREEL_ROOT_USER=ACCESS_KEY, CREEL_ROOT_PASSWORD=SECRET)
        env.update(self.env)
        args = self.prefix + [binary(), "server", self.data]
        args += ["--address", "127.0.0.1:%d" % self.port]
        if self.tls:
            args += ["--tls-cert", self.tls[0], "--tls-key", self.tls[1]]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                args + self.args,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(
                    "server ended with %d:\n%s" % (self.process.returncode, self.tail())
                )
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return self
            except OSError:
                time.sleep(0.01)
        self.kill()
        raise RuntimeError("server not ready in %d s:\n%s" % (wait, self.tail()))

    def tail(self, size=3000):
        with open(self.log, "rb") as f:
            return f.read()[-size:].decode("utf-8", "replace")

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, wait=20):
        """SIGTERM; returns the exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError("server did not stop:\n" + self.tail())
        self.process = None
        return status

    def cleanup(self):
        self.kill()
        if self.own_data:
            shutil.rmtree(self.data, ignore_errors=True)
        if os.path.exists(self.log) and not os.environ.get("CREEL_KEEP_LOGS"):
            os.unlink(self.log)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.cleanup()
            raise

    def __exit__(self, *_):
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            self.cleanup()
