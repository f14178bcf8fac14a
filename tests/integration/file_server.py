# SPDX-License-Identifier: Apache-2.0
"""A server of files for ADD, which misbehaves as a path says."""

import hashlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
MODIFIED_SECONDS = 784111777


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "FileServer"

    def log_message(self, *args):
        pass

    def reply(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("http://"):  # asked as a proxy
            self.server.proxied.append(path)
            path = "/" + path.split("/", 3)[3]
        self.server.requests.append(path)
        fault = getattr(self, "fault_" + path.split("/")[1].replace("-", "_"), None)
        if fault:
            return fault()
        body = self.server.files.get(path)
        if body is None:
            return self.reply(404)
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        told = {"Last-Modified": self.server.modified}
        if self.server.use_etag:
            told["ETag"] = etag
            same = self.headers.get("If-None-Match") == etag
        else:
            same = self.headers.get("If-Modified-Since") == self.server.modified
        if same:
            self.server.unchanged += 1
            return self.reply(304, **told)
        return self.reply(200, body, **told)

    def fault_to(self):
        """/to/REST leads to /REST."""
        self.reply(302, Location="/" + self.path.split("/", 2)[2])

    def fault_loop(self):
        self.reply(302, Location="/loop")

    def fault_to_file(self):
        self.reply(302, Location="file:///etc/passwd")

    def fault_lies(self):
        """Promises more than it sends."""
        self.reply(200, b"short", Content_Length="1000000")
        self.close_connection = True

    def fault_endless(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    def fault_slow(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.close_connection = True
        while not self.server.is_over.wait(0.2):
            try:
                self.wfile.write(b"x")
            except OSError:
                return


class FileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate=None):
        """certificate: a PEM file with the key in it, for HTTPS."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        self.files, self.requests, self.unchanged = {}, [], 0
        self.modified, self.use_etag, self.proxied = MODIFIED, True, []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.is_over.set()
        self.shutdown()
        self.server_close()

    def forget(self):
        self.requests.clear()
        self.unchanged = 0
