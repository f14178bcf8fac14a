# SPDX-License-Identifier: Apache-2.0
"""Registries that mean harm: documents of two minds, digests that are none, answers that lead
astray. What a registry merely does wrong is in test_registry.py."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from bad_registry import BadRegistry

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def bad(layout, fresh_spaceport, config_for):
    with BadRegistry(layout) as registry:
        fresh_spaceport.config = config_for(registry.url)
        yield registry


@pytest.fixture
def pull_fails(bad, fresh_spaceport):
    """The pull fails and says so; nothing of it is in the store."""
    def check(*says, name="debian:trixie-slim"):
        result = fresh_spaceport("image", "pull", name, timeout=120).failed(1, says=says)
        assert fresh_spaceport("images", "--json").json == []
        return result

    return check


def change(**fields):
    """A fault that puts these fields into every document."""
    def fault(request, body):
        return json.dumps(json.loads(body) | fields).encode()

    return fault


class TestMediaTypes:
    """CVE-2021-41190: a document that one reader takes for a manifest and another for an index."""

    def test_manifest_and_index_at_once(self, bad, pull_fails):
        other = {"mediaType": MANIFEST, "digest": "sha256:" + "0" * 64, "size": 7}
        bad.manifest_fault = change(manifests=[other])
        pull_fails("manifest")

    def test_header_and_document_disagree(self, bad, pull_fails):
        bad.manifest_fault = change(mediaType=INDEX)
        pull_fails("calls itself")

    def test_no_type_at_all_in_the_document(self, bad, pull_fails):
        """Then the header has to fit the fields."""
        def fault(request, body):
            value = json.loads(body)
            value.pop("mediaType", None)
            request.reply(200, json.dumps(value).encode(), {"Content-Type": INDEX})
            return True

        bad.manifest_fault = fault
        pull_fails("manifest")

    def test_a_configuration_that_is_called_a_layer(self, bad, pull_fails):
        def fault(request, body):
            value = json.loads(body)
            value["layers"] = [value["config"]] + value["layers"]
            return json.dumps(value).encode()

        bad.manifest_fault = fault
        pull_fails()


class TestDigests:
    """CVE-2024-3727: digests become names of files, so nothing passes for one that is none."""

    BAD = ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "A" * 64,
           "sha256:" + "0" * 62 + "/x", "sha512:" + "0" * 128, "md5:" + "0" * 32,
           "../../../../tmp/x", "sha256:..%2f..%2f" + "0" * 54, "sha256:" + "0" * 63 + "\u0660",
           "sha256:" + "0" * 63 + "\n", 7, None, ["sha256:" + "0" * 64]]

    @pytest.mark.parametrize("where", ["config", "layers"])
    def test_no_digest(self, bad, pull_fails, where):
        for digest in self.BAD:
            def fault(request, body, digest=digest):
                value = json.loads(body)
                place = value["config"] if where == "config" else value["layers"][0]
                place["digest"] = digest
                return json.dumps(value).encode()

            bad.manifest_fault = fault
            result = pull_fails("digest")
            assert not any(ord(letter) < 32 for letter in result.err.replace("\n", ""))

    def test_no_size(self, bad, pull_fails):
        for size in (-1, 1.5, "7", 1 << 63, None):
            def fault(request, body, size=size):
                value = json.loads(body)
                value["layers"][0]["size"] = size
                return json.dumps(value).encode()

            bad.manifest_fault = fault
            pull_fails()


class Liar(BaseHTTPRequestHandler):
    """To every request what the test says: (status, headers, body)."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        status, headers, body = self.server.says(self)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = answer


@pytest.fixture
def liar():
    """liar(says): a server that answers so."""
    running = []

    def start(says):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
        server.says, server.asked = says, []
        server.host = f"127.0.0.1:{server.server_address[1]}"
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


class TestPush:
    @pytest.fixture
    def push_fails(self, fresh_spaceport, make_space):
        fresh_spaceport.build(make_space("FROM scratch\nCOPY f /\n", {"f": "f"}), "-t", "x:1").ok()

        def check(host, *says, **how):
            return fresh_spaceport("image", "push", "x:1", f"{host}/x:1", timeout=60,
                                   **how).failed(1, says=says)

        return check

    def test_a_message_with_control_characters(self, liar, push_fails):
        text = json.dumps({"errors": [{"code": "DENIED", "message":
                                       "no\x1b]0;owned\x07\r\n\x1b[2Jsuccess"}]}).encode()
        server = liar(lambda request: (200 if request.command == "GET" else 403, {}, text))
        result = push_fails(server.host, "access denied", "owned")
        assert not any(ord(letter) < 32 for letter in result.err.replace("\n", ""))

    def test_a_session_on_another_host(self, liar, push_fails, folder, account):
        """Bytes go there, a password does not."""
        other = liar(lambda request: (500 if request.command == "PUT" else 404, {}, b""))

        def says(request):
            if request.headers.get("Authorization") is None:
                return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
            if request.command == "POST":
                return 202, {"Location": f"http://{other.host}/take?it=1"}, b""
            return 200 if request.path == "/v2/" else 404, {}, b""

        server = liar(says)
        place = folder / f"docker-liar-{account.name}"
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text(json.dumps({"auths": {
            server.host: {"username": "me", "password": "s3cr3t"}}}))
        push_fails(server.host, other.host, env={"DOCKER_CONFIG": str(account.owns(place))})
        assert other.asked
        assert not [1 for _, _, headers in other.asked if "Authorization" in headers]

    def test_a_login_elsewhere_over_http(self, liar, push_fails):
        """A token realm of another scheme gets no credentials (RFC 6750, 5.3)."""
        server = liar(lambda request: (401, {"WWW-Authenticate":
                                             'Bearer realm="ftp://127.0.0.1/token"'}, b""))
        push_fails(server.host, "not https")

    def test_a_circle(self, liar, push_fails):
        server = liar(lambda request: (307, {"Location": request.path}, b"")
                      if request.command == "POST" else (200 if request.path == "/v2/" else 404,
                                                         {}, b""))
        push_fails(server.host, "redirects")
        assert len(server.asked) < 30

    def test_a_body_without_end(self, liar, push_fails):
        server = liar(lambda request: (202, {"Location": "/u"}, b"x" * (64 << 20))
                      if request.command == "POST" else (200 if request.path == "/v2/" else 404,
                                                         {}, b""))
        push_fails(server.host, "bytes expected")
