# SPDX-License-Identifier: Apache-2.0
"""Pushing to a real registry, and getting back what was pushed."""

import base64
import hashlib
import json
import re
import signal
import subprocess
import time
import uuid

import pytest
from bad_registry import BadRegistry
from conftest import remove_store
from program import Program
from push_registry import PASSWORD, USER, PushRegistry, Wire

DOCKERFILE = """FROM {base}
ENV GREETING="hello there"
LABEL maker=us
COPY big text /data/
RUN ln /data/text /data/again && ln -s text /data/link && chmod 4755 /data/text \\
    && mkdir -p /data/empty && chown 1234:4321 /data/empty && rm -r /bin/[
RUN rm /data/big && head -c 1000 /dev/zero > /data/zeros
WORKDIR /data
USER 1000
CMD ["true"]
"""
CHECK = """FROM {image}
USER root
RUN set -e; cd /data; test ! -e big; test ! -e "/bin/["; test "$GREETING" = "hello there"; \\
    test "$(stat -c %a-%h text)" = 4755-2; test "$(readlink link)" = text; \\
    test "$(stat -c %u:%g empty)" = 1234:4321; test "$(pwd)" = /data; \\
    test "$(sha256sum < again | cut -c1-64)" = {digest}; test "$(stat -c %s zeros)" = 1000
"""
DIGEST = re.compile(r"^(\S+): digest: (sha256:[0-9a-f]{64}) size: (\d+)\n$")
BIG = 20 << 20  # several chunks, and more than fits into the registry's buffers


def incompressible(size):
    return hashlib.shake_256(b"push").digest(size)


@pytest.fixture(scope="module")
def target(folder):
    with PushRegistry(folder / f"registry-{uuid.uuid4().hex[:8]}") as running:
        yield running


@pytest.fixture(scope="module")
def closed(folder):
    """The same, with a login."""
    with PushRegistry(folder / f"closed-{uuid.uuid4().hex[:8]}", login=True) as running:
        yield running


@pytest.fixture
def repository():
    """A name that no other test has used."""
    return f"team/app-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def base(target, layout):
    """The base image, in the registry that is pushed to."""
    skopeo("copy", f"oci:{layout}:{busybox_of(layout)}", f"docker://{target.host}/base/busybox:1")
    return f"{target.host}/base/busybox:1"


def busybox_of(layout):
    index = json.loads((layout / "index.json").read_text())
    names = [entry["annotations"]["org.opencontainers.image.ref.name"]
             for entry in index["manifests"]]
    return next(name for name in names if "library/busybox:" in name)


def skopeo(*args):
    tls = {"copy": ["--src-tls-verify=false", "--dest-tls-verify=false"],
           "inspect": ["--tls-verify=false"]}[args[0]]
    done = subprocess.run(["skopeo", args[0], *tls, *map(str, args[1:])], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def image(fresh_spaceport, make_space, base):
    """An image with a large layer, in a store of its own: its name there."""
    text = b"a line of text\n" * 10_000
    space = make_space(DOCKERFILE.format(base=base), {"big": incompressible(BIG), "text": text})
    fresh_spaceport.build(space, "-t", "built:1").ok()
    return "built:1"


@pytest.fixture
def small(fresh_spaceport, make_space):
    """An image from nothing, with one small layer."""
    fresh_spaceport.build(make_space("FROM scratch\nCOPY f /\n", {"f": "f"}), "-t", "small:1").ok()
    return "small:1"


@pytest.fixture
def push(fresh_spaceport):
    def run(*args, **how):
        return fresh_spaceport("image", "push", *args, timeout=120, **how)

    return run


@pytest.fixture
def second(binary, account, folder, config_file, mark):
    """The program with another empty store."""
    program = Program(binary, account, folder / f"second-{uuid.uuid4().hex[:8]}", config_file, mark)
    yield program
    remove_store(program)


class TestThereAndBack:
    @pytest.mark.parametrize("form", ["gzip", "zstd"])
    def test_what_is_pushed_is_pulled(self, target, repository, image, push, second, make_space,
                                      tmp_path, form):
        to = f"{target.host}/{repository}"
        result = push("--compression", form, image, f"{to}:2").ok()
        tag, digest, size = DIGEST.match(result.out).groups()
        manifest = skopeo("inspect", "--raw", f"docker://{to}:2")
        assert tag == "2" and int(size) == len(manifest)
        assert digest == "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()
        layers = json.loads(manifest)["layers"]
        assert {layer["mediaType"].rpartition("+")[2] for layer in layers[1:]} == {form}
        # skopeo verifies blobs against the manifest, and decompresses them for the diff IDs.
        skopeo("copy", f"docker://{to}:2", f"oci:{tmp_path}/copy:2")
        config = json.loads(skopeo("inspect", "--config", f"docker://{to}:2"))
        assert config["config"]["Labels"] == {"maker": "us"} and config["config"]["User"] == "1000"
        assert len(config["rootfs"]["diff_ids"]) == len(layers)
        assert len([step for step in config["history"] if not step.get("empty_layer")]) \
            == len(layers)
        # And so does this program, before it publishes a layer.
        check = CHECK.format(image=f"{to}:2", digest=hashlib.sha256(
            b"a line of text\n" * 10_000).hexdigest())
        second.build(make_space(check)).ok()
        pulled = second("image", "inspect", f"{to}@{digest}").json
        assert pulled["rootfs"] == config["rootfs"]

    def test_again_sends_no_blob(self, target, repository, image, push, fresh_spaceport):
        to = f"{target.host}/{repository}:latest"
        first = push(image, to).ok()
        uploads = target.uploads(repository)
        again = push(image, to).ok()
        assert again.out == first.out and target.uploads(repository) == uploads
        digest = DIGEST.match(first.out).group(2)
        assert f"{to.rpartition(':')[0]}@{digest}" in \
            fresh_spaceport("image", "inspect", image).json["image"]["digests"]

    def test_another_store_pushes_the_same(self, target, repository, small, push, second,
                                           make_space):
        """Layers are packed and compressed the same everywhere."""
        first = push("--quiet", small, f"{target.host}/{repository}:1").ok()
        assert not first.err and re.fullmatch(r"sha256:[0-9a-f]{64}\n", first.out)
        uploads = target.uploads(repository)
        second("image", "pull", f"{target.host}/{repository}:1").ok()
        again = second("image", "push", "-q", f"{target.host}/{repository}:1").ok()
        assert again.out == first.out and target.uploads(repository) == uploads

    def test_without_a_destination(self, target, repository, make_space, push, fresh_spaceport):
        name = f"{target.host}/{repository}:3"
        fresh_spaceport.build(make_space("FROM scratch\nCOPY f /\n", {"f": "3"}), "-t", name).ok()
        assert DIGEST.match(push(name).ok().out)
        assert skopeo("inspect", f"docker://{name}")

    def test_json(self, target, repository, image, push):
        to = f"{target.host}/{repository}:j"
        told = push("--json", "--progress", "json", image, to).ok()
        pushed = json.loads(told.out)
        assert pushed["reference"] == to and pushed["digest"].startswith("sha256:")
        assert [layer["how"] for layer in pushed["layers"]][0] == "mounted"
        assert set(layer["how"] for layer in pushed["layers"][1:]) == {"uploaded"}
        events = [json.loads(line) for line in told.err.splitlines()]
        assert {event["phase"] for event in events if event["event"] == "push"} >= \
            {"resolve", "upload", "done", "mounted"}


class TestMount:
    def test_a_base_image_is_not_sent(self, target, repository, image, push):
        """Its layers are in the registry, where they were pulled from."""
        push(image, f"{target.host}/{repository}").ok()
        mounts = target.requests("POST", f"/{repository}/blobs/uploads/?mount=")
        assert mounts and {status for _, _, status in mounts} == {201}
        assert all("from=base%2Fbusybox" in path for _, path, _ in mounts)
        manifest = json.loads(skopeo("inspect", "--raw", f"docker://{target.host}/{repository}"))
        # One upload for each layer, the configuration in the place of the base image's.
        assert len(target.uploads(repository)) == len(manifest["layers"])

    def test_from_where_it_was_pushed_to(self, target, repository, image, push):
        push(image, f"{target.host}/{repository}").ok()
        push(image, f"{target.host}/{repository}-two").ok()
        # Only the configuration, which is cheaper to send than to ask for.
        assert len(target.uploads(f"{repository}-two")) == 1
        assert skopeo("inspect", f"docker://{target.host}/{repository}-two")

    def test_what_went_there_is_sent_again(self, target, repository, small, push):
        to = f"{target.host}/{repository}"
        first = push(small, to).ok()
        target.lose(repository)
        assert push(small, to).ok().out == first.out
        assert skopeo("inspect", f"docker://{to}")


class TestMended:
    def test_a_cut_connection_is_resumed(self, target, repository, image, push):
        with Wire(target.port) as wire:
            wire.cut_after = BIG // 2
            result = push(image, f"{wire.host}/{repository}:1").ok()
            assert wire.cuts == 1
            # Less than what was left and one chunk went once more.
            assert wire.sent < BIG * 1.5 + (9 << 20)
        looked = [path for _, path, _ in target.requests("GET", f"{repository}/blobs/uploads/")]
        assert looked
        digest = DIGEST.match(result.out).group(2)
        assert push("-q", image, f"{target.host}/{repository}:2").ok().out == digest + "\n"
        assert skopeo("inspect", f"docker://{target.host}/{repository}:1")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ends_within_a_second(self, target, repository, image, push, fresh_spaceport, number):
        with Wire(target.port) as wire:
            wire.stop_after = BIG // 2
            process = fresh_spaceport.start("image", "push", image, f"{wire.host}/{repository}")
            process.wait_for(wire.stopped.is_set, "half a layer")
            began = time.monotonic()
            process.signal(number)
            assert process.wait().code not in (0, 4)
            assert time.monotonic() - began < 1.0
        push(image, f"{target.host}/{repository}").ok()


class TestLogin:
    @pytest.fixture
    def credentials(self, folder, closed, account):
        def make(text):
            place = folder / f"docker-push-{account.name}"
            place.mkdir(exist_ok=True)
            (place / "config.json").write_text(json.dumps({"auths": {
                closed.host: {"auth": base64.b64encode(text.encode()).decode()}}}))
            account.owns(place)
            return {"DOCKER_CONFIG": str(place)}

        return make

    def test_with_a_password(self, closed, repository, small, push, credentials, fresh_spaceport):
        to = f"{closed.host}/{repository}"
        result = push(small, to, env=credentials(f"{USER}:{PASSWORD}")).ok()
        encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        for secret in (PASSWORD, encoded):
            assert secret not in result.err and not fresh_spaceport.places_of(secret)

    def test_without_one(self, closed, repository, small, push):
        push(small, f"{closed.host}/{repository}").failed(1, says=[closed.host, "docker login"])
        assert not closed.requests("PUT", repository)

    def test_with_a_wrong_one(self, closed, repository, small, push, credentials):
        result = push(small, f"{closed.host}/{repository}", env=credentials(f"{USER}:wr0ng"))
        result.failed(1, says=[closed.host, "access denied", "docker login"])
        assert "wr0ng" not in result.err


class TestRefused:
    def test_no_such_image(self, target, push):
        push("nothing:1", f"{target.host}/x:1").failed(1, says=["no such image: nothing:1"])

    def test_a_digest_for_a_destination(self, target, small, push):
        push(small, f"{target.host}/x@sha256:{'0' * 64}").failed(2, says=["tag"])

    def test_a_name_that_is_none(self, small, push):
        push(small, "Not/A/Name").failed(2, says=["Not/A/Name"])

    def test_nobody_answers(self, small, push):
        push(small, "127.0.0.1:9/x:1").failed(1, says=["127.0.0.1:9"])

    def test_mirrors_are_not_pushed_to(self, layout, small, push, fresh_spaceport, folder):
        with BadRegistry(layout) as mirror:
            fresh_spaceport.config = folder / f"mirror-{uuid.uuid4().hex[:8]}.yaml"
            fresh_spaceport.config.write_text(
                f'registries:\n  "127.0.0.1:9": {{ mirror: "{mirror.url}" }}\n')
            push(small, "127.0.0.1:9/x:1").failed(1, says=["127.0.0.1:9"])
            assert not mirror.requests
