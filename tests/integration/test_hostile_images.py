# SPDX-License-Identifier: Apache-2.0
"""Archives of images that mean harm, given to `spaceport image import`: refused with the place,
nothing of the host read, nothing in the store, nothing left."""

import hashlib
import json
import os
import shutil
import uuid

import archives
import exported
import pytest

CANARY = b"canary-of-the-host"
SECRET = "sha256:" + hashlib.sha256(CANARY).hexdigest()


@pytest.fixture
def place(folder, account):
    path = folder / f"hostile-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    (path / "canary").write_bytes(CANARY)
    yield path
    assert (path / "canary").read_bytes() == CANARY
    shutil.rmtree(path)


@pytest.fixture
def refused(fresh_spaceport, place, account):
    """refused(ARCHIVE, WORD, …): the import fails and says so; no image, no layer came in."""
    def run(archive, *says, codes=(1, 2)):
        account.owns(place)
        fresh_spaceport("image", "import", archive, timeout=120).failed(*codes, says=says)
        assert fresh_spaceport("images", "-q").ok().out == ""
        layers = fresh_spaceport.data / "store/layers"
        assert not layers.exists() or not os.listdir(layers)
        assert not fresh_spaceport.places_of(CANARY.decode())

    return run


@pytest.fixture
def layout(place):
    """A good layout of one image with one small layer, as a folder to spoil."""
    return exported.layout(place / "layout", archives.tar(("file", b"content")))


def change(path, **fields):
    document = json.loads(path.read_text())
    document.update(fields)
    path.write_text(json.dumps(document))


def store(layout, value):
    """A document as a blob; its descriptor's digest and size."""
    data = json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def manifest_of(layout):
    index = json.loads((layout / "index.json").read_text())
    entry = index["manifests"][0]
    return json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text()), index, entry


def respell(layout, manifest):
    """Puts a changed manifest in the place of the layout's."""
    _, index, entry = manifest_of(layout)
    entry.update(store(layout, manifest))
    (layout / "index.json").write_text(json.dumps(index))


def docker_archive(place, manifest, **files):
    path = place / "archive.tar"
    path.write_bytes(archives.tar(
        ("manifest.json", json.dumps(manifest).encode()),
        *((name.replace("__", "/"), data) for name, data in files.items())))
    return path


class TestPaths:
    @pytest.mark.parametrize("digest", [
        "sha256:../../../canary", "sha256:" + "../" * 21 + "x", "../canary", "/etc/passwd",
        "sha256:" + "A" * 64, "sha512:" + "a" * 128, "sha256:", ""])
    def test_a_digest_that_is_a_path(self, layout, refused, digest):
        index = json.loads((layout / "index.json").read_text())
        index["manifests"][0]["digest"] = digest
        (layout / "index.json").write_text(json.dumps(index))
        refused(layout, "digest")

    @pytest.mark.parametrize("part", ["config", "layer"])
    def test_the_same_inside_a_manifest(self, layout, refused, part):
        manifest, _, _ = manifest_of(layout)
        target = manifest["config"] if part == "config" else manifest["layers"][0]
        target["digest"] = "sha256:../../../canary"
        respell(layout, manifest)
        refused(layout, "digest")

    @pytest.mark.parametrize("target", ["../../../canary", "/etc/passwd", "/proc/self/environ"])
    def test_a_blob_that_is_a_link_out_of_the_folder(self, layout, refused, target):
        manifest, _, _ = manifest_of(layout)
        manifest["layers"][0].update(digest=SECRET, size=len(CANARY))
        respell(layout, manifest)
        (layout / "blobs/sha256" / SECRET[7:]).symlink_to(target)
        refused(layout, SECRET[7:])

    @pytest.mark.parametrize("name", ["../canary", "/etc/passwd", "", "blobs"])
    def test_files_that_docker_archives_name(self, place, refused, name):
        archive = docker_archive(place, [{"Config": name, "RepoTags": [], "Layers": []}])
        refused(archive)
        config = json.dumps({"os": "linux", "architecture": exported.ARCH,
                             "rootfs": {"type": "layers", "diff_ids": [SECRET]}}).encode()
        archive = docker_archive(place, [{"Config": "c", "RepoTags": [], "Layers": [name]}],
                                 c=config)
        refused(archive, "not in the archive")


class TestLies:
    @pytest.mark.parametrize("size", [0, 1, 10**6, -1, "7"])
    def test_sizes(self, layout, refused, size):
        manifest, _, _ = manifest_of(layout)
        manifest["layers"][0]["size"] = size
        respell(layout, manifest)
        refused(layout, "size")

    def test_another_media_type_of_the_manifest(self, layout, refused):
        _, index, entry = manifest_of(layout)
        entry["mediaType"] = "application/vnd.oci.image.index.v1+json"
        (layout / "index.json").write_text(json.dumps(index))
        refused(layout, "calls itself")

    def test_a_manifest_that_is_an_index_as_well(self, layout, refused):
        manifest, _, _ = manifest_of(layout)
        manifest["manifests"] = []
        respell(layout, manifest)
        refused(layout, "at once")

    def test_a_layer_that_is_not_compressed_as_it_says(self, layout, refused):
        manifest, _, _ = manifest_of(layout)
        manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
        respell(layout, manifest)
        refused(layout, "zstd")

    def test_another_diff_id(self, layout, refused):
        manifest, _, _ = manifest_of(layout)
        path = layout / "blobs/sha256" / manifest["config"]["digest"][7:]
        config = json.loads(path.read_text())
        config["rootfs"]["diff_ids"] = [SECRET]
        manifest["config"].update(store(layout, config))
        respell(layout, manifest)
        refused(layout, "diff id", SECRET)


class TestEntries:
    @pytest.mark.parametrize("name, what, says", [
        (".", b"a file", "root"), ("./", {"type": b"2", "linkname": "/etc"}, "root"),
        ("../out", b"x", ".."), ("a/../../out", b"x", ".."), (".wh..", b"", "whiteout"),
        (".wh...", b"", "whiteout"), ("x", {"type": b"1", "linkname": "/etc/passwd"}, "hard link"),
        ("x", {"type": b"1", "linkname": "../canary"}, ".."),
        ("n" * 256, b"x", "255"), ("d/" * 300 + "x", b"x", "256"),
    ], ids=str)
    def test_layers(self, place, refused, name, what, says):
        refused(exported.layout(place / "bad", archives.tar((name, what))), says)

    def test_names_with_control_characters(self, layout, fresh_spaceport, account, place):
        index = json.loads((layout / "index.json").read_text())
        index["manifests"][0]["annotations"] = {
            "io.containerd.image.name": "docker.io/library/x:\x1b[31mred\x07"}
        (layout / "index.json").write_text(json.dumps(index))
        account.owns(place)
        result = fresh_spaceport("image", "import", layout).failed(1, 2)
        assert "\x1b" not in result.err and "\x07" not in result.err


class TestMeasure:
    @pytest.mark.parametrize("text", [
        "[" * 100_000, '{"a":' * 100_000, "[" + "{}," * 2000 + "{}]", "", "null", "\x00" * 1000,
    ], ids=["deep-arrays", "deep-objects", "2000-images", "empty", "null", "zeros"])
    def test_documents(self, place, refused, text):
        path = place / "archive.tar"
        path.write_bytes(archives.tar(("manifest.json", text.encode())))
        refused(path, "manifest.json")

    def test_a_document_of_10_mb(self, place, refused):
        path = place / "archive.tar"
        path.write_bytes(archives.tar(("manifest.json", b"[" + b" " * (10 << 20) + b"]")))
        refused(path, "manifest.json", "larger")

    def test_entries_without_end(self, place, refused):
        path = place / "archive.tar"
        path.write_bytes(archives.tar(*((f"{i}", b"") for i in range(110_000))))
        refused(path, "entries")
