#!/usr/bin/python3
"""Raw-socket HTTP cases from text files, against any server.

    run.py HOST:PORT [--echo] [--tls] [FILE...]        a running server
    run.py --server PATH/http_echo_server [--tls] [FILE...]
                                            starts it, implies --echo

A case in a file:

    === name
    echo                      only against the echo server (handler's answers)
    plain                     not over TLS (so is every case with `shut`)
    > GET / HTTP/1.1\\r\\n     bytes to send; escapes \\r \\n \\t \\0 \\xNN \\\\ and
                              {{text*1000}} for repetition; \\H is host:port
    pause 300                 milliseconds before what follows is sent
    shut                      end of our side (half-close)
    await 100                 waits for an interim answer before going on
    < status 200 403          final statuses, in order (a|b: either)
    < open                    the connection stays open (default: not checked)
    < close                   the connection is closed
    < cut                     closed or reset, with or without an answer
    < body REGEX              found in all that was received
    < not REGEX               not found
    < within 2000             milliseconds until all of this is so
"""
import argparse
import glob
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def unescape(text, where):
    def repeat(m):
        return m.group(1) * int(m.group(2))

    text = re.sub(r"\{\{(.*?)\*(\d+)\}\}", repeat, text)
    out = bytearray()
    i = 0
    while i < len(text):
        c = text[i]
        if c != "\\":
            out += c.encode()
            i += 1
            continue
        c = text[i + 1]
        i += 2
        if c == "x":
            out.append(int(text[i : i + 2], 16))
            i += 2
        elif c == "H":
            out += where.encode()
        else:
            table = {"r": 13, "n": 10, "t": 9, "0": 0, "\\": 92}
            out.append(table[c])
    return bytes(out)


class Case:
    def __init__(self, name, file):
        self.name, self.file = name, file
        self.steps = []  # ("send", text), ("pause", ms), ("shut",), ("await", n)
        self.status, self.end = None, None
        self.body, self.absent = [], []
        self.within = 5000
        self.echo = self.plain = False


def load(path):
    cases = []
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        if not line or line.startswith("#"):
            continue
        if line.startswith("=== "):
            cases.append(Case(line[4:], os.path.basename(path)))
            continue
        case = cases[-1]
        word, _, rest = line.partition(" ")
        if word == ">":
            case.steps.append(("send", rest))
        elif word == "pause":
            case.steps.append(("pause", int(rest)))
        elif word == "shut":
            case.steps.append(("shut",))
            case.plain = True  # TLS has no half-close in Python
        elif word == "await":
            case.steps.append(("await", int(rest)))
        elif word == "echo":
            case.echo = True
        elif word == "plain":
            case.plain = True
        elif word == "<":
            key, _, value = rest.partition(" ")
            if key == "status":
                case.status = value.split()
            elif key in ("open", "close", "cut"):
                case.end = key
            elif key == "body":
                case.body.append(value)
            elif key == "not":
                case.absent.append(value)
            elif key == "within":
                case.within = int(value)
            else:
                raise SystemExit(f"{path}:{number}: {line}")
        else:
            raise SystemExit(f"{path}:{number}: {line}")
    return cases


class Answers:
    """Complete answers in what was received: [(status, header, body)]. What
    cannot be complete yet is not looked at again and again: a test that is
    slow to read looks like a client that has gone."""

    def __init__(self):
        self.found, self.final = [], 0
        self.at, self.need = 0, 1  # taken up to here; not before so much is there

    def take(self, data, methods):
        while len(data) >= self.need:
            answer = self.one(data, methods)
            if answer is None:
                break
            self.found.append(answer)
            self.final += answer[0] >= 200
        return self.found

    def one(self, data, methods):
        self.need = len(data) + 1
        end = data.find(b"\r\n\r\n", self.at)
        if end < 0:
            return None
        first, *lines = data[self.at : end].decode("latin-1").split("\r\n")
        m = re.match(r"HTTP/1\.1 (\d{3}) ", first)
        if not m:
            return None
        status, fields, body = int(m.group(1)), {}, b""
        for line in lines:
            key, _, value = line.partition(":")
            fields[key.lower()] = value.strip()
        end += 4
        method = methods[self.final] if self.final < len(methods) else b""
        if status < 200 or method == b"HEAD" or status in (204, 304):
            pass
        elif fields.get("transfer-encoding") == "chunked":
            size = -1
            while size != 0:
                eol = data.find(b"\r\n", end)
                if eol < 0:
                    return None
                size = int(data[end:eol], 16)
                end = eol + 2 + size + 2
                if len(data) < end:
                    return None
                body += bytes(data[eol + 2 : end - 2])
        elif "content-length" in fields:
            size = int(fields["content-length"])
            if len(data) < end + size:
                self.need = end + size
                return None
            body = bytes(data[end : end + size])
            end += size
        else:
            return None  # until close
        self.at, self.need = end, end + 1
        return status, fields, body


def connect(host, port, tls):
    if not tls:
        s = socket.create_connection((host, port), timeout=10)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s
    ctx = ssl.create_default_context()
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    for left in reversed(range(10)):
        s, begun = connect(host, port, False), time.monotonic()
        try:
            return ctx.wrap_socket(s)
        except (ssl.SSLError, ConnectionError):
            s.close()
            # Shaking hands is timed too (header_ms): not in time on a machine
            # that did not let this side run is no answer to anything.
            if left == 0 or time.monotonic() - begun < 0.9:
                raise


def run(case, host, port, tls):
    """None, or what is wrong."""
    where = f"{host}:{port}"
    s = connect(host, port, tls)
    received, closed, sent = bytearray(), False, b""
    parsed = Answers()
    began = time.monotonic()

    def left():
        return case.within / 1000 - (time.monotonic() - began)

    def pull(seconds):
        nonlocal closed
        if closed:
            return False
        if not (tls and s.pending()):
            if not select.select([s], [], [], max(0, seconds))[0]:
                return False
        try:
            s.settimeout(0)  # what is readable may be TLS's own
            part = s.recv(65536)
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except (ConnectionError, ssl.SSLError):
            part = b""
        finally:
            s.settimeout(10)
        closed = part == b""
        received.extend(part)
        return True

    def answers():
        methods = re.findall(rb"^([A-Z]+) [^\r\n]* HTTP/1", sent, re.M)
        return parsed.take(received, methods)

    for step in case.steps:
        if step[0] == "send":
            data = unescape(step[1], where)
            sent += data
            try:
                s.sendall(data)
            except OSError:
                pass
        elif step[0] == "pause":
            end = time.monotonic() + step[1] / 1000
            while time.monotonic() < end and not closed:
                pull(end - time.monotonic())
        elif step[0] == "shut":
            try:
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        else:
            while not any(a[0] == step[1] for a in answers()):
                if closed or left() <= 0:
                    return f"no {step[1]}; received {bytes(received)!r}"
                pull(left())
    want = len(case.status or [])
    while left() > 0 and not closed:
        final = [a for a in answers() if a[0] >= 200]
        if len(final) >= want and case.end not in ("close", "cut"):
            break
        pull(left())
    if case.end == "open":
        pull(0.1)
        if closed:
            return f"closed; received {bytes(received[-300:])!r}"
    if case.end in ("close", "cut") and not closed:
        return f"still open; received {bytes(received[-300:])!r}"
    final = [str(a[0]) for a in answers() if a[0] >= 200]
    if case.status is not None:
        same = len(final) == len(case.status) and all(
            got in want.split("|") for got, want in zip(final, case.status)
        )
        if not same:
            return f"statuses {final}, not {case.status}: {bytes(received[-400:])!r}"
    text = received.decode("latin-1")
    for pattern in case.body:
        if not re.search(pattern.replace("\\H", re.escape(where)), text):
            return f"no /{pattern}/ in {text[-800:]!r}"
    for pattern in case.absent:
        if re.search(pattern, text):
            return f"/{pattern}/ in {text[-800:]!r}"
    s.close()
    return None


def make_certificate(folder):
    cert, key = os.path.join(folder, "c.pem"), os.path.join(folder, "k.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
        + ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost"]
        + ["-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return [f"cert={cert}", f"key={key}"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("where", nargs="?")
    p.add_argument("files", nargs="*")
    p.add_argument("--server", help="echo server to start")
    p.add_argument("--echo", action="store_true")
    p.add_argument("--tls", action="store_true")
    p.add_argument("-v", action="store_true")
    a = p.parse_args()
    files, process = list(a.files), None
    if a.server:
        if a.where:
            files.insert(0, a.where)
        command = [a.server, "header_ms=1000", "keepalive_ms=1500", "idle_ms=1000"]
        if a.tls:
            temporary = tempfile.TemporaryDirectory()
            command += make_certificate(temporary.name)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        a.where, a.echo = process.stdout.readline().strip(), True
    elif not a.where:
        p.error("HOST:PORT or --server")
    host, _, port = a.where.rpartition(":")
    files = files or sorted(glob.glob(os.path.join(HERE, "cases", "*.txt")))
    ran = failed = 0
    try:
        for file in files:
            for case in load(file):
                if (case.echo and not a.echo) or (case.plain and a.tls):
                    continue
                ran += 1
                wrong = run(case, host.strip("[]"), int(port), a.tls)
                if wrong:
                    failed += 1
                    print(f"FAIL {case.file}: {case.name}: {wrong}")
                elif a.v:
                    print(f"ok   {case.file}: {case.name}")
    finally:
        if process:
            process.send_signal(signal.SIGTERM)
            if process.wait(20) != 0:
                failed += 1
                print(f"FAIL the server ended with {process.returncode}")
    print(f"{ran} cases, {failed} failed")
    return 1 if failed or ran == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
