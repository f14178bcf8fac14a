# SPDX-License-Identifier: Apache-2.0
"""Pulling from registries, good and bad: nothing wrong gets into the store, and what can
be mended by asking again is mended."""

import base64
import gzip
import hashlib
import json
import signal
import threading
import time
import urllib.parse

import pytest
from bad_registry import BadRegistry

BUSYBOX = "FROM busybox:latest\nRUN true\n"


@pytest.fixture
def bad(layout, fresh_spaceport, config_for):
    """A misbehaving registry that mirrors everything for an empty store."""
    with BadRegistry(layout) as registry:
        fresh_spaceport.config = config_for(registry.url)
        yield registry


@pytest.fixture
def pull(fresh_spaceport):
    def run(name="busybox:latest", **how):
        return fresh_spaceport("image", "pull", name, timeout=120, **how)

    return run


def largest_layer(registry, name, tag):
    """The descriptor of the largest layer below a name, whatever its platform."""
    def layers(descriptor):
        document = json.loads(registry.read(descriptor["digest"]))
        found = list(document.get("layers", []))
        for child in document.get("manifests", []):
            found += layers(child)
        return found

    return max(layers(registry.manifests[name, tag]), key=lambda layer: layer["size"])


def once(fault):
    """A fault that happens only the first time."""
    lock, done = threading.Lock(), []

    def first(request, body):
        with lock:
            if done or len(body) < 10_000:
                return None
            done.append(1)
        return fault(request, body)

    return first


def corrupt(body):
    return body[:-20] + bytes([body[-20] ^ 1]) + body[-19:]


class TestGood:
    def test_all_images(self, bad, pull, fresh_spaceport):
        for name in ("busybox:latest", "python:3.13-slim", "debian:trixie-slim",
                     "ghcr.io/astral-sh/uv:0.11.18"):
            pull(name).ok()
        assert "python" in fresh_spaceport("images").ok().out

    def test_a_shared_layer_is_pulled_once(self, bad, pull):
        pull("debian:trixie-slim").ok()
        pull("python:3.13-slim").ok()
        shared = largest_layer(bad, "library/debian", "trixie-slim")
        assert len([r for r in bad.asked_for(shared["digest"]) if r[0] == "GET"]) == 1

    def test_by_digest(self, bad, pull):
        digest = bad.manifests["library/busybox", "latest"]["digest"]
        pull(f"busybox@{digest}").ok()

    def test_only_this_platform_is_pulled(self, bad, pull):
        pull().ok()
        index = json.loads(bad.read(bad.manifests["library/busybox", "latest"]["digest"]))
        assert len([d for d in index["manifests"] if bad.asked_for(d["digest"])]) == 1

    def test_pull_flag_asks_again(self, bad, fresh_spaceport, make_space):
        space = make_space(BUSYBOX)
        fresh_spaceport.build(space).ok()
        before = len(bad.asked_for("manifests/latest"))
        fresh_spaceport.build(space).ok()
        assert len(bad.asked_for("manifests/latest")) == before
        fresh_spaceport.build(space, "--pull").ok()
        assert len(bad.asked_for("manifests/latest")) > before


class TestMended:
    def test_a_cut_connection_is_resumed(self, bad, pull):
        bad.blob_fault = once(lambda request, body: request.cut_after(body, len(body) // 2))
        pull("debian:trixie-slim").ok()
        layer = largest_layer(bad, "library/debian", "trixie-slim")
        gets = [r for r in bad.asked_for(layer["digest"]) if r[0] == "GET"]
        ranges = [request[2].get("Range", "") for request in gets]
        assert len(ranges) == 2 and not ranges[0] and ranges[1].startswith("bytes=")
        assert int(ranges[1].removeprefix("bytes=").split("-")[0]) > 0

    def test_a_cut_connection_to_a_server_without_ranges(self, bad, pull):
        def whole(request, body):
            del request.headers["Range"]

        first = once(lambda request, body: request.cut_after(body, len(body) // 2))
        bad.blob_fault = lambda request, body: first(request, body) or whole(request, body)
        pull("debian:trixie-slim").ok()

    @pytest.mark.parametrize("code", [500, 502, 503, 429])
    def test_a_passing_error_is_tried_again(self, bad, pull, code):
        bad.blob_fault = once(lambda request, body: request.reply(code, b"", {"Retry-After": "0"}))
        pull("debian:trixie-slim").ok()

    def test_a_blob_elsewhere(self, layout, bad, pull):
        """A redirect is followed, and the token is not handed to the other server."""
        bad.login = "anonymous"
        with BadRegistry(layout) as other:
            other.url = bad.url
            bad.blob_fault = lambda request, body: request.reply(
                307, b"", {"Location": f"http://{other.host}{request.path}?signature=1"})
            pull().ok()
            assert other.requests
            assert not [r for r in other.requests if "Authorization" in r[2]]


class TestRefused:
    """Each fault fails the pull with exit code 1, and a later good pull works."""

    @pytest.fixture
    def refused(self, bad, pull):
        def check(*says, name="busybox:latest", mended=True):
            pull(name).failed(1, says=[name.split(":")[0], *says])
            bad.blob_fault = bad.manifest_fault = None
            bad.changed.clear()
            if mended:
                pull(name).ok()

        return check

    def test_unknown_image(self, bad, refused):
        refused("nothing-here", "not found", name="nothing-here:latest", mended=False)

    def test_unknown_tag(self, bad, refused):
        refused("no-such-tag", name="busybox:no-such-tag", mended=False)

    def test_nobody_answers(self, pull, fresh_spaceport, config_for):
        fresh_spaceport.config = config_for("http://127.0.0.1:9")
        pull().failed(1, says=["127.0.0.1:9", "busybox"])

    def test_wrong_digest_of_a_layer(self, bad, refused):
        bad.blob_fault = lambda request, body: corrupt(body) if len(body) > 10_000 else None
        refused("digest")

    def test_wrong_digest_of_the_config(self, bad, refused):
        bad.blob_fault = lambda request, body: corrupt(body) if len(body) < 10_000 else None
        refused("digest")

    def test_wrong_digest_of_a_manifest(self, bad, pull):
        digest = bad.manifests["library/busybox", "latest"]["digest"]
        bad.manifest_fault = lambda request, body: body + b" "
        pull(f"busybox@{digest}").failed(1, says=["digest", digest[:19]])

    def test_a_layer_shorter_than_its_descriptor(self, bad, refused):
        bad.blob_fault = lambda request, body: body[:-5] if len(body) > 10_000 else None
        refused("sent", "bytes")

    def test_a_layer_longer_than_its_descriptor(self, bad, refused):
        bad.blob_fault = lambda request, body: body + b"more!" if len(body) > 10_000 else None
        refused("size")

    def test_a_layer_without_end(self, bad, refused):
        """The size of the descriptor ends the download, not the server."""
        def endless(request, body):
            if len(body) < 10_000:
                return None
            request.send_response(200)
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            try:
                for _ in range(4096):
                    request.wfile.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            except OSError:
                pass
            request.close_connection = True
            return True

        bad.blob_fault = endless
        refused("size")

    def test_always_cut(self, bad, refused):
        bad.blob_fault = lambda request, body: request.cut_after(body, 100)
        refused()

    def test_not_json(self, bad, refused):
        bad.manifest_fault = lambda request, body: b"<html>sign in to the hotel's network</html>"
        refused("manifest")

    def test_a_manifest_of_100_mb(self, bad, refused):
        bad.manifest_fault = lambda request, body: b'{"a":"' + b"x" * (100 << 20) + b'"}'
        refused("manifest")

    def test_nesting_without_end(self, bad, refused):
        bad.manifest_fault = lambda request, body: b"[" * 200_000
        refused("manifest")

    def test_another_media_type_than_declared(self, bad, refused):
        def confuse(request, body):
            value = json.loads(body)
            value["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
            return json.dumps(value).encode() if "manifests" in value else None

        bad.manifest_fault = confuse
        refused("calls itself application/vnd")

    def test_an_index_whose_child_is_no_index(self, bad, pull):
        def mistake(request, body):
            value = json.loads(body)
            for child in value.get("manifests", []):
                child["mediaType"] = value["mediaType"]
            return json.dumps(value).encode()

        bad.manifest_fault = mistake
        pull().failed(1, says=["busybox"])

    def test_no_fitting_platform(self, bad, pull):
        def elsewhere(request, body):
            return body.replace(b'"amd64"', b'"s390x"').replace(b'"arm64"', b'"mips"')

        bad.manifest_fault = elsewhere
        pull().failed(1, says=["platform", "s390x"])

    def test_a_digest_that_is_a_path(self, bad, pull, folder):
        def path(request, body):
            value = json.loads(body)
            for layer in value.get("layers", []):
                layer["digest"] = "sha256:../../../../../../../../tmp/spaceport-escaped"
            return json.dumps(value).encode()

        bad.manifest_fault = lambda request, body: path(request, body) \
            if b'"layers"' in body else None
        pull("debian:trixie-slim").failed(1, says=["digest"])

    def test_another_diff_id(self, bad, pull):
        """A layer whose blob is right but whose contents are not those of the config."""
        descriptor = bad.manifests["library/debian", "trixie-slim"]
        manifest = json.loads(bad.read(descriptor["digest"]))
        config = json.loads(bad.read(manifest["config"]["digest"]))
        config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
        replace_config(bad, descriptor, manifest, config)
        pull("debian:trixie-slim").failed(1, says=["diff"])

    def test_fewer_diff_ids_than_layers(self, bad, pull):
        descriptor = bad.manifests["library/debian", "trixie-slim"]
        manifest = json.loads(bad.read(descriptor["digest"]))
        config = json.loads(bad.read(manifest["config"]["digest"]))
        config["rootfs"]["diff_ids"] = []
        replace_config(bad, descriptor, manifest, config)
        pull("debian:trixie-slim").failed(1, says=["layers"])

    def test_a_layer_that_is_not_compressed_as_declared(self, bad, pull):
        descriptor = bad.manifests["library/debian", "trixie-slim"]
        manifest = json.loads(bad.read(descriptor["digest"]))
        rubbish = gzip.compress(b"this is no tar file" * 1000, mtime=0)[:-10]
        put(bad, manifest["layers"][0], rubbish)
        put(bad, descriptor, json.dumps(manifest).encode())
        pull("debian:trixie-slim").failed(1, says=["layer"])


def put(registry, descriptor, body):
    """Serves `body` under the descriptor, which is changed to fit it."""
    descriptor["digest"] = "sha256:" + hashlib.sha256(body).hexdigest()
    descriptor["size"] = len(body)
    registry.changed[descriptor["digest"]] = body


def replace_config(registry, descriptor, manifest, config):
    put(registry, manifest["config"], json.dumps(config).encode())
    put(registry, descriptor, json.dumps(manifest).encode())


class TestInterruption:
    """A registry that sends half of a layer and then nothing more."""

    @pytest.fixture
    def stalled(self, bad):
        stalled, over = threading.Event(), threading.Event()

        def stall(request, body):
            if len(body) < 10_000:
                return None
            request.send_response(200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body[:len(body) // 2])
            request.wfile.flush()
            stalled.set()
            over.wait(60)
            request.close_connection = True
            return True

        bad.blob_fault = stall
        yield stalled
        over.set()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ends_within_a_second(self, bad, pull, fresh_spaceport, stalled, number):
        process = fresh_spaceport.start("image", "pull", "busybox")
        process.wait_for(stalled.is_set, "half a layer")
        began = time.monotonic()
        process.signal(number)
        assert process.wait().code not in (0, 4)
        assert time.monotonic() - began < 1.0
        bad.blob_fault = None
        pull().ok()

    def test_killed(self, bad, pull, fresh_spaceport, stalled):
        """The workers end with the program (the fixture of every test looks for them)."""
        process = fresh_spaceport.start("image", "pull", "busybox")
        process.wait_for(stalled.is_set, "half a layer")
        process.signal(signal.SIGKILL)
        process.popen.wait()
        bad.blob_fault = None
        pull().ok()


class TestLogin:
    @pytest.fixture
    def credentials(self, folder, bad, account):
        """A docker-style file with a password for the registry, and the environment for it."""
        def make(text):
            place = folder / f"docker-{account.name}"
            place.mkdir(exist_ok=True)
            (place / "config.json").write_text(json.dumps({"auths": {
                bad.host: {"auth": base64.b64encode(text.encode()).decode()}}}))
            account.owns(place)
            return {"DOCKER_CONFIG": str(place)}

        return make

    def test_an_anonymous_token(self, bad, pull):
        bad.login = "anonymous"
        pull().ok()
        asked = urllib.parse.unquote(bad.asked_for("/token")[0][1])
        assert "service=test" in asked and "scope=repository:library/busybox:pull" in asked

    def test_a_password_for_a_token(self, bad, pull, credentials):
        bad.login = "someone:s3cr3t-passw0rd"
        pull(env=credentials(bad.login)).ok()

    def test_a_wrong_password(self, bad, pull, credentials, fresh_spaceport):
        bad.login = "someone:right"
        result = pull(env=credentials("someone:s3cr3t-wrong")).failed(1, says=[
            "busybox", "credentials", "refused", "docker login"])
        encoded = base64.b64encode(b"someone:s3cr3t-wrong").decode()
        for text in ("s3cr3t-wrong", encoded):
            assert text not in result.err and not fresh_spaceport.places_of(text)

    def test_no_password(self, bad, pull):
        bad.login = "someone:right"
        pull().failed(1, says=["busybox", bad.host])

    def test_the_token_is_kept_nowhere(self, bad, pull, fresh_spaceport):
        bad.login = "anonymous"
        result = pull().ok()
        assert bad.bearer not in result.err and not fresh_spaceport.places_of(bad.bearer)
