"""Docker's engine for the tests, and a compose stack on it."""

import glob
import json
import os
import shutil
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get("CREEL_CACHE_DIR") or os.path.expanduser("~/.cache/creel")
BASE = "debian:bookworm-slim"
COMPOSE = {
    "v1": "/usr/bin/docker-compose",
    "v2": os.path.join(TOP, "tests/.cache/compose-2/docker-compose"),
}


class Failed(AssertionError):
    pass


def sh(command, env=None, check=True, timeout=120, **kw):
    """Output of both streams; (status, output) without check."""
    done = subprocess.run(
        [str(a) for a in command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        **kw,
    )
    text = done.stdout.decode("utf-8", "replace")
    if check and done.returncode != 0:
        raise Failed(
            "%s\nexit %d\n%s" % (" ".join(map(str, command)), done.returncode, text)
        )
    return text if check else (done.returncode, text)


def until(what, seconds, message):
    """Waits for what() to be true; returns it."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed("not in %d s: %s" % (seconds, message()))
        time.sleep(0.2)


class Engine:
    """The engine that runs, or one of our own: its data in the cache, so that
    a second run finds base and packages, its socket in a folder of its own.
    It leaves the host's packet filter and bridges alone."""

    def __init__(self):
        self.env = dict(os.environ, LC_ALL="C.UTF-8", DOCKER_BUILDKIT="0")
        self.env["PATH"] = "/usr/bin:/bin:/usr/sbin:/sbin"
        for name in list(self.env):
            if name.startswith(("MINIO_", "CREEL_", "COMPOSE_", "AWS_")):
                del self.env[name]
        self.process = self.folder = None
        if sh(["docker", "info"], self.env, check=False)[0] != 0:
            self.start()

    def start(self):
        self.folder = tempfile.mkdtemp(prefix="creel-docker-")
        data = os.path.join(CACHE, "docker")
        os.makedirs(data, exist_ok=True)
        self.env["DOCKER_HOST"] = "unix://%s/sock" % self.folder
        self.log = self.folder + "/log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/dockerd", "--data-root", data, "--pidfile", data + "/pid",
                 "--exec-root", self.folder + "/exec", "--iptables=false",
                 "--bridge=none", "-H", self.env["DOCKER_HOST"]],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )  # fmt: skip

        def answers():
            if self.process.poll() is not None:
                raise Failed("dockerd ended: " + self.tail())
            return sh(["docker", "info"], self.env, check=False)[0] == 0

        try:
            until(answers, 60, self.tail)
        except BaseException:
            self.stop()
            raise

    def tail(self):
        with open(self.log, errors="replace") as f:
            return f.read()[-3000:]

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        if self.folder is not None:
            # The engine leaves its own network namespace mounted.
            for mounted in glob.glob(self.folder + "/exec/netns/*"):
                subprocess.run(["umount", mounted], stderr=subprocess.DEVNULL)
            shutil.rmtree(self.folder, ignore_errors=True)

    def docker(self, *arguments, **kw):
        return sh(("docker",) + arguments, self.env, **kw)

    def has_image(self, name):
        return self.docker("image", "inspect", name, check=False)[0] == 0

    def inspect(self, what):
        return json.loads(self.docker("inspect", what))[0]

    def need_base(self):
        """No hub has to be asked for the image that the Dockerfile names."""
        if not self.has_image(BASE):
            archive = os.path.join(CACHE, "bookworm-base.tar")
            assert os.path.exists(archive), "run ./check compose: it makes " + archive
            self.docker("import", "--change", 'CMD ["bash"]', archive, BASE)


class Stack:
    """`with Stack(engine, "v1", ["compose.yaml"], env, image) as s:`; everything of it,
    volumes too, is gone afterwards."""

    count = 0

    def __init__(self, engine, version, files, env, image):
        Stack.count += 1
        self.engine = engine
        self.project = "creel-check-%d-%d" % (os.getpid(), Stack.count)
        self.env = dict(engine.env, CREEL_IMAGE=image, **env)
        self.command = [COMPOSE[version], "-p", self.project]
        for file in files:
            self.command += ["-f", os.path.join(TOP, "compose", file)]

    def __call__(self, *arguments, **kw):
        return sh(self.command + list(arguments), self.env, **kw)

    def container(self, service):
        found = self.engine.docker(
            "ps", "-aq",
            "--filter", "label=com.docker.compose.project=" + self.project,
            "--filter", "label=com.docker.compose.service=" + service,
        ).split()  # fmt: skip
        assert len(found) == 1, (service, found)
        return found[0]

    def state(self, service):
        return self.engine.inspect(self.container(service))["State"]

    def wait_healthy(self, *services, seconds=60):
        for service in services:
            until(
                lambda: self.state(service)["Health"]["Status"] == "healthy",
                seconds,
                lambda: "%s is healthy; %s\n%s"
                % (service, self.state(service), self.logs(service)),
            )

    def logs(self, service):
        return self("logs", "--no-color", "--tail", "40", service, check=False)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self("down", "-v", "-t", "3", "--remove-orphans", check=False)
