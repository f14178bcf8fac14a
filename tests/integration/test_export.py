# SPDX-License-Identifier: Apache-2.0
"""spaceport image export: the archive, where it goes, and who takes it."""

import hashlib
import json
import os
import pty
import signal
import subprocess
import tarfile
import uuid

import exported
import oci
import pytest

DOCKERFILE = """FROM busybox:latest
LABEL one=1
ENV TWO=2
RUN mkdir -p /data/deep && echo hi > /data/deep/file && ln /data/deep/file /data/link && \
 rm /bin/wget && chown 5:6 /data/link && mkfifo /data/fifo && ln -s deep /data/soft
WORKDIR /w
USER 1000
CMD ["cat", "/data/deep/file"]
"""


@pytest.fixture
def built(spaceport, make_space):
    """The name of an image of several layers."""
    name = f"built-{uuid.uuid4().hex[:8]}:1"
    spaceport.build(make_space(DOCKERFILE), "--tag", name).ok()
    return name


@pytest.fixture
def place(folder, account):
    """A folder that the account may write to, empty at the end but for what the test removes."""
    path = folder / f"place-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    account.owns(path)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


def read(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestArchive:
    def test_every_way_out_has_the_same_bytes(self, spaceport, built, place):
        """The first knows no digest, the others all; a file and a pipe."""
        first = spaceport("image", "export", built, "--output", place / "first.tar").ok()
        assert first.err.count("done") == 3
        assert all(line.startswith(f"export docker.io/library/{built}: ")
                   for line in first.err.splitlines())
        spaceport("image", "save", built, "-o", place / "second.tar").ok()
        (place / "third.tar").write_bytes(spaceport.bytes("image", "export", built))
        assert read(place / "first.tar") == read(place / "second.tar") == read(place / "third.tar")
        assert first.out.strip() == exported.Exported(
            place / "first.tar").index["manifests"][0]["digest"]

    @pytest.mark.parametrize("form, media", [("gzip", "tar+gzip"), ("zstd", "tar+zstd")])
    def test_compressed(self, spaceport, built, place, form, media):
        flags = ("image", "export", built, "--compression", form)
        spaceport(*flags, "-o", place / "one.tar").ok()
        (place / "two.tar").write_bytes(spaceport.bytes(*flags))
        assert read(place / "one.tar") == read(place / "two.tar")
        made = exported.Exported(place / "one.tar")
        for layer, diff_id in zip(made.manifest["layers"], made.diff_ids, strict=True):
            assert layer["mediaType"] == f"application/vnd.oci.image.layer.v1.{media}"
            plain = subprocess.run([form, "-dc"], input=made.blob(layer), capture_output=True,
                                   check=True).stdout
            assert "sha256:" + hashlib.sha256(plain).hexdigest() == diff_id

    def test_documents(self, spaceport, built, place):
        spaceport("image", "export", built, "-o", place / "a.tar").ok()
        made = exported.Exported(place / "a.tar")
        full = f"docker.io/library/{built}"
        assert made.index["manifests"][0]["annotations"] == {
            "io.containerd.image.name": full, "org.opencontainers.image.ref.name": "1"}
        assert made.docker == [{
            "Config": "blobs/sha256/" + made.manifest["config"]["digest"][7:],
            "RepoTags": [built],
            "Layers": ["blobs/sha256/" + layer["digest"][7:]
                       for layer in made.manifest["layers"]]}]
        config = made.config
        assert config["config"]["Labels"] == {"one": "1"} and config["config"]["User"] == "1000"
        assert "TWO=2" in config["config"]["Env"]
        assert not [key for key in config if key.startswith("spaceport")]
        with_layer = [entry for entry in config["history"] if not entry.get("empty_layer")]
        assert len(with_layer) == len(made.diff_ids) == len(made.manifest["layers"]) == 3

    def test_oci_alone(self, spaceport, built, place):
        spaceport("image", "export", built, "--format", "oci", "-o", place / "a.tar").ok()
        assert "manifest.json" not in exported.Exported(place / "a.tar").files

    def test_several_images_and_names(self, spaceport, built, place):
        spaceport("image", "pull", "busybox:latest").ok()
        image = spaceport("image", "inspect", built).json["image"]["id"]
        spaceport("image", "export", built, "busybox:latest", image, "-o", place / "a.tar").ok()
        made = exported.Exported(place / "a.tar")
        assert [entry["RepoTags"] for entry in made.docker] == [[built], ["busybox:latest"]]
        assert made.docker[0]["Layers"][0] == made.docker[1]["Layers"][0]
        spaceport("image", "export", image, "-o", place / "a.tar").ok()
        made = exported.Exported(place / "a.tar")
        assert made.docker[0]["RepoTags"] == [] and "annotations" not in made.index["manifests"][0]

    def test_a_pulled_image_keeps_its_digests(self, spaceport, place):
        spaceport("image", "pull", "python:3.13-slim").ok()
        known = spaceport("image", "inspect", "python:3.13-slim").json
        spaceport("image", "export", "python:3.13-slim", "-o", place / "a.tar").ok()
        made = exported.Exported(place / "a.tar")
        assert made.diff_ids == known["rootfs"]["diff_ids"]
        assert made.manifest["config"]["digest"] == known["image"]["id"]

    def test_the_epoch_bounds_times(self, spaceport, make_space, place):
        space = make_space("FROM busybox:latest\nARG SOURCE_DATE_EPOCH\nRUN touch /x\n")
        image = spaceport.build(space, "--build-arg", "SOURCE_DATE_EPOCH=1000000000").image
        spaceport("image", "export", image, "-o", place / "a.tar").ok()
        made = exported.Exported(place / "a.tar")
        assert made.config["created"] == "2001-09-09T01:46:40Z"
        assert made.layer(-1)["x"].mtime == 1000000000
        assert max(entry.mtime for entry in made.layer(0).values()) > 1000000000


class TestRoundTrips:
    def test_back_into_another_store(self, spaceport, fresh_spaceport, built, place):
        """Its id, its tree and its configuration: exported once more it is the same archive."""
        spaceport("image", "export", built, "-o", place / "one.tar").ok()
        told = fresh_spaceport("image", "import", place / "one.tar").ok().err
        assert told and all(line.startswith("import ") for line in told.splitlines())
        fresh_spaceport("image", "export", built, "-o", place / "two.tar").ok()
        assert read(place / "one.tar") == read(place / "two.tar")
        layer = exported.Exported(place / "two.tar").layer(1)
        assert layer["data/fifo"].isfifo() and layer["data/soft"].linkname == "deep"
        assert (layer["data/deep/file"].uid, layer["data/deep/file"].gid) == (5, 6)
        assert layer["data/link"].linkname == "data/deep/file"

    @pytest.mark.parametrize("form", ["none", "gzip", "zstd"])
    def test_skopeo(self, spaceport, built, place, form):
        spaceport("image", "export", built, "--compression", form, "-o", place / "a.tar").ok()
        made = exported.Exported(place / "a.tar")
        forms = ["oci-archive"] if form == "zstd" else ["oci-archive", "docker-archive"]
        for name in forms:
            source = f"{name}:{place}/a.tar"
            seen = json.loads(subprocess.run(
                ["skopeo", "inspect", "--config", source], capture_output=True, check=True).stdout)
            assert seen["rootfs"]["diff_ids"] == made.diff_ids
            assert seen["config"]["Cmd"] == ["cat", "/data/deep/file"]
            subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source,
                            f"dir:{place}/{name}"], check=True)
            copied = json.loads((place / name / "manifest.json").read_text())
            assert len(copied["layers"]) == 3


class TestWhereItGoes:
    def test_not_to_a_terminal(self, spaceport, built):
        leader, terminal = pty.openpty()
        result = spaceport("image", "export", built, stdout=terminal)
        os.close(terminal)
        os.close(leader)
        result.failed(1, 2, says=["terminal", "--output"])

    def test_a_file_is_replaced_when_the_new_one_is_whole(self, spaceport, built, place):
        (place / "a.tar").write_text("old")
        spaceport("image", "export", "no-such-image", "-o", place / "a.tar").failed(
            1, says=["no such image: no-such-image"])
        assert (place / "a.tar").read_text() == "old"
        spaceport("image", "export", built, "-o", place / "a.tar").ok()
        assert tarfile.is_tarfile(place / "a.tar")
        assert [path.name for path in place.iterdir()] == ["a.tar"]

    @pytest.mark.parametrize("name", ["", "no/folder/a.tar", "folder", "a.tar/"])
    def test_bad_places(self, spaceport, built, place, account, name):
        (place / "folder").mkdir()
        account.owns(place)
        spaceport("image", "export", built, "-o", name, cwd=place).failed(1, 2)
        assert [path.name for path in place.iterdir()] == ["folder"]

    def test_a_full_disk_leaves_nothing(self, spaceport, built, place, account, root_only):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,uid={account.uid},mode=700",
                        "none", place], check=True)
        try:
            result = spaceport("image", "export", built, "-o", place / "a.tar")
            result.failed(1, says=["No space left", "free some space"])
            assert list(place.iterdir()) == []
        finally:
            subprocess.run(["umount", place], check=True)

    @pytest.fixture
    def stuck(self, spaceport, built, place):
        """An export into a pipe that is full, and so cannot end; the pipe's other end."""
        os.mkfifo(place / "pipe")
        (place / "pipe").chmod(0o666)
        end = os.open(place / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        process = spaceport.start("image", "export", built, "-o", place / "pipe")
        try:
            process.wait_for(lambda: self.has_come(end), "archive", 60)
            yield process, end
        finally:
            process.kill()
            os.close(end)

    @staticmethod
    def has_come(end):
        try:
            return os.read(end, 1) != b""
        except BlockingIOError:
            return False

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_stopped_it_leaves_nothing(self, stuck, place, number):
        process, _ = stuck
        process.signal(number)
        assert process.wait().code != 0
        assert [path.name for path in place.iterdir()] == ["pipe"]

    def test_a_reader_that_leaves(self, stuck):
        process, end = stuck
        with open("/dev/null", "rb") as null:
            os.dup2(null.fileno(), end)
        process.wait().failed(1, says=["Broken pipe"])


class TestNames:
    def test_names_that_mean_whiteouts(self, spaceport, make_space, place):
        image = spaceport.build(make_space("FROM busybox:latest\nRUN mkdir /d; touch /d/.wh.sh\n"))
        spaceport("image", "export", image.image, "-o", place / "a.tar").failed(
            1, says=["d: .wh.sh", "cannot be in an image"])
        assert list(place.iterdir()) == []

    def test_odd_names_survive(self, spaceport, fresh_spaceport, place, account):
        """Long, not ASCII, not UTF-8, with every byte that a name may have."""
        odd = ["n" * 255, "d/" * 60 + "f", "ünïcode", "line\nfeed", "blank and\ttab", "back\\slash"]
        layer = oci.LayerTar()
        for name in odd:
            layer.add(name, data=name.encode())
        made = oci.Layout(place / "layout")
        made.tag("docker.io/library/odd:1", made.image(
            exported.ARCH, [made.layer(layer.done())], {}))
        made.save()
        account.owns(place)
        fresh_spaceport("image", "import", place / "layout").ok()
        fresh_spaceport("image", "export", "odd:1", "-o", place / "a.tar").ok()
        entries = exported.Exported(place / "a.tar").layer(0)
        assert {name: entries[name].data.decode() for name in odd} == {name: name for name in odd}
