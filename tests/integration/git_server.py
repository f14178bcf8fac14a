# SPDX-License-Identifier: Apache-2.0
"""Git repositories, made on the spot and served over HTTP by git http-backend."""

import contextlib
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BACKEND = "/usr/lib/git-core/git-http-backend"
ENVIRONMENT = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent",
               "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
               "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}


class Repository:
    def __init__(self, path):
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *args, env=None, **how):
        return subprocess.run(["git", *args], cwd=self.path, env=ENVIRONMENT | (env or {}),
                              check=True, capture_output=True, text=True, **how).stdout.strip()

    def commit(self, files, *, links=None, message="a change"):
        """Writes the files ({NAME: CONTENT}; #! is executable), returns the commit."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        for name, target in (links or {}).items():
            (self.path / name).symlink_to(target)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


class Handler(BaseHTTPRequestHandler):
    server: "GitServer"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        path, _, query = self.path.partition("?")
        self.server.requests.append(path)
        authorization = self.headers.get("Authorization")
        self.server.authorizations.append(authorization)
        if self.server.wants and authorization != self.server.wants:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        env = ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": "127.0.0.1"}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = subprocess.run([BACKEND], input=body, env=env, capture_output=True,
                             check=False).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class GitServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root, certificate=None):
        """certificate: a PEM file with the key in it, for HTTPS."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = Path(root)
        self.url = f"http://127.0.0.1:{self.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        self.requests, self.authorizations, self.wants = [], [], None
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def shutdown_request(self, request):
        if isinstance(request, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                request.unwrap()  # clients insist on a proper end
        super().shutdown_request(request)

    def repository(self, name="r"):
        """NAME, served as URL/NAME.git."""
        made = Repository(self.root / f"{name}.work")
        (self.root / f"{name}.git").symlink_to(made.path / ".git")
        return made

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.shutdown()
        self.server_close()
