# SPDX-License-Identifier: Apache-2.0
"""A real registry of a test's own, whose access log says what was asked of it, and a way to it
that breaks.

    with PushRegistry(folder) as registry, Wire(registry.port) as wire:
        wire.cut_after = 1_000_000
"""

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

USER, PASSWORD = "someone", "s3cr3t-push-passw0rd"
# bcrypt of the password, as htpasswd -B prints it
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuua9hMiD0aY6FlNu80G0KBNsaSiREXQUi\n"

CONFIG = """version: 0.1
log: {{ level: error }}
storage:
  filesystem: {{ rootdirectory: {folder}/storage }}
http: {{ addr: "127.0.0.1:{port}" }}
"""
AUTH = "auth: {{ htpasswd: {{ realm: test, path: {folder}/htpasswd }} }}\n"
REQUEST = re.compile(r'"([A-Z]+) (/\S*) HTTP/1\.[01]" (\d+)')


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PushRegistry:
    def __init__(self, folder, login=False):
        self.folder, self.port = Path(folder), free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.folder.mkdir(parents=True)
        (self.folder / "htpasswd").write_text(HTPASSWD)
        text = CONFIG + (AUTH if login else "")
        (self.folder / "config.yml").write_text(text.format(folder=self.folder, port=self.port))
        self.log = self.folder / "log"
        self.process = None

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(self.folder / "config.yml")], cwd="/",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.__exit__()
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.02)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder / "storage", ignore_errors=True)

    def lose(self, repository):
        """The registry has nothing of a repository any more."""
        shutil.rmtree(self.folder / "storage/docker/registry/v2/repositories" / repository)

    def requests(self, method="", part=""):
        """(method, path, status) of what was asked so far, to a path that has `part`."""
        found = REQUEST.findall(self.log.read_text(errors="replace"))
        return [(verb, path, int(status)) for verb, path, status in found
                if verb.startswith(method) and part in path]

    def uploads(self, part=""):
        """Sessions that were opened for blobs."""
        return [path for _, path, status in self.requests("POST", part) if status == 202]


class Wire:
    """A loopback port that leads to another one, and breaks, or stops, as a test says."""

    def __init__(self, port):
        self.target, self.cuts, self.sent = port, 0, 0
        self.cut_after = None  # bytes towards the target, of all connections: then cut, once
        self.stop_after = None  # the same: then nothing goes on, until `go`
        self.stopped, self.go = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.go.set()
        self.listener.close()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for pair in ((near, far, True), (far, near, False)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def breaks(self, count):
        """Whether the wire breaks with these bytes."""
        with self.lock:
            self.sent += count
            if self.stop_after is not None and self.sent > self.stop_after:
                self.stopped.set()
                self.lock.release()
                self.go.wait(60)
                self.lock.acquire()
                return True
            if self.cut_after is None or self.cuts or self.sent <= self.cut_after:
                return False
            self.cuts += 1
            return True

    def carry(self, source, target, is_upload):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if is_upload and self.breaks(len(piece)):
                    target.sendall(piece[:len(piece) // 2])
                    break
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
