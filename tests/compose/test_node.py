"""compose.yaml: one node, started, used, stopped, started again."""

import json
import os
import re
import subprocess
import time

import pytest

from conftest import TOP, Client
from engine import Stack, sh, until
from lib.server import free_port

PAIR = {"MINIO_ROOT_USER": "compose-admin", "MINIO_ROOT_PASSWORD": "compose-secret"}


def test_image(engine, image):
    about = engine.inspect(image)
    assert about["Size"] < 160 * 1000 * 1000, about["Size"]
    assert about["Config"]["User"] == "creel"
    assert about["Config"]["Entrypoint"] == ["creel"]
    assert about["Config"]["Healthcheck"]["Test"][0] == "CMD"
    run = ["run", "--rm", "--network", "none"]
    shell = run + ["--entrypoint", "/bin/sh", image, "-c"]
    assert engine.docker(*run, image, "--version").startswith("creel ")
    assert engine.docker(*shell, "id -u; id -g").split() == ["10001", "10001"]
    # No compiler, no sources, nothing that the user could write to but its own.
    code, text = engine.docker(
        *shell, "command -v cc cmake git; ls -d /src /build", check=False
    )
    assert code != 0 and not re.search("^/", text, re.M), text
    text = engine.docker(
        *shell, "find / -xdev -not -path '/proc/*' -not -path '/dev/*' "
        "-writable -not -type l 2>/dev/null || :"
    )  # fmt: skip
    allowed = {"/data", "/secret", "/tmp", "/var/tmp", "/run/lock"}
    assert set(text.split()) <= allowed, text


def test_build_without_mirror(engine, image):
    """third_party/ beside the sources serves a build that cannot fetch: the
    stage that builds, without a network, with and without the archives."""
    stage = image + "-build"
    engine.docker(
        "build", "--network", "host", "--target", "build", "-t", stage,
        "-f", TOP + "/compose/Dockerfile", TOP, timeout=600,
    )  # fmt: skip
    configure = "cmake -S /src -B /tmp/b -G Ninja -DCREEL_TESTS=OFF"
    run = ["run", "--rm", "--network", "none", "-e", "CREEL_CACHE_DIR=/tmp/c"]
    run += [stage, "/bin/sh", "-c"]
    try:
        code, text = engine.docker(*run, configure, check=False)
        assert code != 0 and "no archive" in text, text
        hand_in = "mkdir /src/third_party && cp ~/.cache/creel/*.tar.* /src/third_party"
        text = engine.docker(*run, hand_in + " && " + configure)
        assert "civetweb: /src/third_party/" in text, text
        assert "lmdb: /src/third_party/" in text, text
    finally:
        engine.docker("image", "rm", stage, check=False)


def test_node(engine, image, version, tree, tmp_path):
    """MinIO's names and command; healthy; data outlives down and up."""
    port = free_port()
    env = dict(PAIR, CREEL_PORT=str(port))
    client = Client(port, PAIR["MINIO_ROOT_USER"], PAIR["MINIO_ROOT_PASSWORD"], tmp_path)
    with Stack(engine, version, ["compose.yaml"], env, image) as stack:
        stack("up", "-d", "--no-build")
        stack.wait_healthy("creel")
        about = engine.inspect(stack.container("creel"))
        command = about["Config"]["Cmd"]
        assert command == ["server", "/data", "--console-address", ":9001"]
        assert about["HostConfig"]["ReadonlyRootfs"]
        pid = about["State"]["Pid"]
        with open("/proc/%d/status" % pid) as f:
            status = f.read()
        assert re.search(r"^Uid:\s+10001\s+10001", status, re.M), status
        assert re.search(r"^CapEff:\s+0+$", status, re.M), status
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M), status

        client.s3("mb", "s3://composed")
        client.s3("cp", "--quiet", "--recursive", tree, "s3://composed/t")
        begun = time.monotonic()
        stack("stop")
        assert time.monotonic() - begun < 10
        state = stack.state("creel")
        assert state["ExitCode"] == 0 and not state["OOMKilled"], state

        stack("down")
        stack("up", "-d", "--no-build")
        stack.wait_healthy("creel")
        client.s3("cp", "--quiet", "--recursive", "s3://composed/t", tmp_path / "back")
        sh(["diff", "-r", tree, tmp_path / "back"])


def test_pair_of_its_own(engine, image, version, tmp_path):
    """No pair given: one is made, printed by nobody, kept over a restart."""
    port = free_port()
    with Stack(engine, version, ["compose.yaml"], {"CREEL_PORT": str(port)}, image) as stack:
        stack("up", "-d", "--no-build")
        stack.wait_healthy("creel")
        read = ["exec", "-T", "creel", "cat", "/data/credentials.env"]
        made = dict(re.findall(r"(CREEL_ROOT_\w+)=(\S+)", stack(*read)))
        user, password = made["CREEL_ROOT_USER"], made["CREEL_ROOT_PASSWORD"]
        assert password not in stack.logs("creel")
        client = Client(port, user, password, tmp_path)
        client.s3("mb", "s3://of-its-own")
        stack("restart")
        stack.wait_healthy("creel")
        assert "of-its-own" in client.s3("ls")
        wrong = Client(port, "minioadmin", "minioadmin", tmp_path)
        assert wrong.s3("ls", check=False)[0] != 0
        # The commands of administration work in the container as they are.
        status = json.loads(stack("exec", "-T", "creel", "creel", "admin", "status", "--json"))
        assert status["state"], status


def test_stop_under_load(engine, image, tmp_path):
    """An upload that never ends does not keep the node from a clean stop
    within Docker's 10 s, and leaves nothing behind."""
    port = free_port()
    env = dict(PAIR, CREEL_PORT=str(port))
    client = Client(port, PAIR["MINIO_ROOT_USER"], PAIR["MINIO_ROOT_PASSWORD"], tmp_path)
    with Stack(engine, "v1", ["compose.yaml"], env, image) as stack:
        stack("up", "-d", "--no-build")
        stack.wait_healthy("creel")
        client.s3("mb", "s3://composed")
        url = stack(
            "exec", "-T", "-e", "CREEL_ENDPOINT=" + client.url, "creel",
            "creel", "presign", "--method", "PUT", "composed/slow",
        ).strip()  # fmt: skip
        (tmp_path / "zeros").write_bytes(bytes(32 << 20))
        upload = subprocess.Popen(
            ["curl", "-sS", "--limit-rate", "256K", "-T", tmp_path / "zeros", url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(1)
            assert upload.poll() is None
            begun = time.monotonic()
            engine.docker("stop", "-t", "10", stack.container("creel"))
            took = time.monotonic() - begun
            state = stack.state("creel")
            assert state["ExitCode"] == 0, (took, state, stack.logs("creel"))
            upload.wait(20)
        finally:
            upload.kill()
            upload.wait()
        stack("up", "-d", "--no-build")
        stack.wait_healthy("creel")
        assert client.s3("ls", "s3://composed", check=False)[1].strip() == ""


def test_restart_after_kill(engine, image, tmp_path):
    """kill -9 of the process inside: the engine starts it again, data whole."""
    port = free_port()
    env = dict(PAIR, CREEL_PORT=str(port))
    client = Client(port, PAIR["MINIO_ROOT_USER"], PAIR["MINIO_ROOT_PASSWORD"], tmp_path)
    with Stack(engine, "v2", ["compose.yaml"], env, image) as stack:
        stack("up", "-d", "--no-build")
        stack.wait_healthy("creel")
        (tmp_path / "x").write_bytes(b"x" * 100000)
        client.s3("mb", "s3://composed")
        client.s3("cp", "--quiet", tmp_path / "x", "s3://composed/x")
        pid = stack.state("creel")["Pid"]
        os.kill(pid, 9)
        until(
            lambda: stack.state("creel")["Pid"] not in (0, pid),
            30,
            lambda: "started again: %s" % stack.state("creel"),
        )
        stack.wait_healthy("creel")
        client.s3("cp", "--quiet", "s3://composed/x", tmp_path / "y")
        assert (tmp_path / "y").read_bytes() == b"x" * 100000


@pytest.mark.parametrize(
    "files", [["compose.yaml"], ["cluster.yaml"], ["cluster.yaml", "fastdfs.yaml"]]
)
def test_files_parse(engine, version, files):
    """No file needs a `version:` or anything that one of both does not know."""
    env = {"CREEL_HOST": "192.0.2.1", "CREEL_ALLOW_HOSTS": "192.0.2.0/24"}
    with Stack(engine, version, files, env, "creel:latest") as stack:
        text = stack("config")
        assert "creel:latest" in text
        assert not re.search("warn|obsolete|unsupported", text, re.I), text
        if len(files) == 2:
            allowed = re.findall("^ {6}CREEL_ALLOW_HOSTS: 192.0.2.0/24$", text, re.M)
            assert len(allowed) == 8
            assert "CREEL_OUTER_ADDRESS: 192.0.2.1:23006" in text


def test_all_files_are_tried():
    there = {n for n in os.listdir(TOP + "/compose") if n.endswith(".yaml")}
    assert there == {"compose.yaml", "cluster.yaml", "fastdfs.yaml"}
