"""Starts a Creel server for tests: a data folder, a free port, known keys."""

import os
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


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`with Server() as s:` or start()/stop(). The data folder goes with it
    unless one was given."""

    def __init__(
        self, data=None, args=(), env=None, port=None, tls=None, prefix=()
    ):
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
