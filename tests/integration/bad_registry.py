# SPDX-License-Identifier: Apache-2.0
"""A registry that serves an OCI layout, and misbehaves as a test tells it to.

    with BadRegistry(layout) as registry:
        registry.blob_fault = lambda request, body: …

A fault is called with the request's handler and the true answer; it answers
itself and returns True, or returns bytes to be sent instead, or None."""

import base64
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "BadRegistry"

    def log_message(self, *args):
        pass

    def reply(self, code, body=b"", headers=None):
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def cut_after(self, body, count, declared=None):
        """Promises the whole body, sends `count` bytes, and hangs up."""
        self.send_response(200)
        self.send_header("Content-Length", str(declared or len(body)))
        self.end_headers()
        self.wfile.write(body[:count])
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()
        return True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        path = urllib.parse.urlsplit(self.path).path
        if path == "/token":
            return self.token()
        bearer = "Bearer " + self.server.bearer
        if self.server.login and self.headers.get("Authorization") != bearer:
            return self.ask_for_token(path)
        if path == "/v2/":
            return self.reply(200, b"{}")
        name, kind, reference = path.removeprefix("/v2/").rsplit("/", 2)
        return self.manifest(name, reference) if kind == "manifests" else self.blob(reference)

    def ask_for_token(self, path):
        repository = path.removeprefix("/v2/").rsplit("/", 2)[0]
        realm = f'Bearer realm="{self.server.url}/token",service="test",' \
                f'scope="repository:{repository}:pull"'
        return self.reply(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}',
                          {"WWW-Authenticate": realm})

    def token(self):
        user = self.server.login
        wanted = "Basic " + base64.b64encode(user.encode()).decode()
        if user != "anonymous" and self.headers.get("Authorization") != wanted:
            return self.reply(401, b'{"details":"incorrect username or password"}')
        return self.reply(200, json.dumps({"token": self.server.bearer}).encode())

    def manifest(self, name, reference):
        descriptor = self.server.manifests.get((name, reference))
        if not descriptor and reference.startswith("sha256:"):
            descriptor = self.server.described.get(reference)
        if not descriptor:
            return self.reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        body = self.server.read(descriptor["digest"])
        return self.answer(body, self.server.manifest_fault,
                           {"Content-Type": descriptor["mediaType"]})

    def blob(self, digest):
        body = self.server.read(digest)
        if body is None:
            return self.reply(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
        return self.answer(body, self.server.blob_fault,
                           {"Content-Type": "application/octet-stream"})

    def answer(self, body, fault, headers):
        if fault:
            changed = fault(self, body)
            if changed is True:
                return True
            body = body if changed is None else changed
        headers["Docker-Content-Digest"] = "sha256:" + hashlib.sha256(body).hexdigest()
        wanted = self.headers.get("Range")
        if not wanted:
            return self.reply(200, body, headers)
        start = int(wanted.removeprefix("bytes=").split("-")[0])
        place = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return self.reply(206, body[start:], headers | place)


class BadRegistry(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, layout):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.host = self.url.removeprefix("http://")
        self.layout, self.requests = Path(layout), []
        self.login = ""  # "" for none, "anonymous", or NAME:PASSWORD for a token
        self.bearer = "t0ken-" + "x" * 40
        self.manifest_fault = self.blob_fault = None
        self.changed = {}  # bodies that stand in for those of the layout
        self.manifests, self.described = {}, {}
        for descriptor in json.loads((self.layout / "index.json").read_text())["manifests"]:
            name, _, tag = descriptor["annotations"][REF_NAME].partition("/")[2].rpartition(":")
            self.manifests[name, tag] = descriptor
            self.describe(descriptor)

    def describe(self, descriptor):
        self.described[descriptor["digest"]] = descriptor
        for child in json.loads(self.read(descriptor["digest"])).get("manifests", []):
            self.describe(child)

    def read(self, digest):
        if digest in self.changed:
            return self.changed[digest]
        path = self.layout / "blobs/sha256" / digest.removeprefix("sha256:")
        return path.read_bytes() if path.exists() else None

    def asked_for(self, part):
        """The requests whose path has `part`, as (method, path, headers)."""
        return [request for request in self.requests if part in request[1]]

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the game

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
