# SPDX-License-Identifier: Apache-2.0
"""The test infrastructure itself: the base images, the registry, the leak check."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import urllib.error
import urllib.request

import leaks
import oci
import pytest

IMAGES = {"library/debian": "trixie-slim", "library/python": "3.13-slim",
          "library/busybox": "latest", "astral-sh/uv": "0.11.18"}
ANY_MANIFEST = ", ".join([oci.INDEX, oci.MEDIA["oci"]["manifest"], oci.MEDIA["docker"]["manifest"]])


@pytest.fixture
def fetch(registry):
    def get(path, headers=None):
        request = urllib.request.Request(registry + path, headers=headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return answer.read(), answer

    return get


@pytest.fixture
def document(fetch):
    """A manifest or index, its digest checked."""
    def get(repository, reference):
        data, answer = fetch(f"/v2/{repository}/manifests/{reference}", {"Accept": ANY_MANIFEST})
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        assert answer.headers["Docker-Content-Digest"] == digest
        value = json.loads(data)
        assert answer.headers["Content-Type"] == value["mediaType"]
        return value

    return get


@pytest.fixture
def manifest(document):
    """The manifest of an image for this machine."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]

    def get(repository):
        top = document(repository, IMAGES[repository])
        if top["mediaType"] != oci.INDEX:
            return top
        fits = [entry for entry in top["manifests"] if entry["platform"]["architecture"] == arch]
        return document(repository, fits[0]["digest"])

    return get


@pytest.fixture
def layer(fetch):
    """The tar file of a layer, size and digest checked."""
    def get(repository, descriptor):
        data, _ = fetch(f"/v2/{repository}/blobs/{descriptor['digest']}")
        assert len(data) == descriptor["size"]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
        unpack = ["zstd" if descriptor["mediaType"].endswith("zstd") else "gzip", "-dc"]
        plain = subprocess.run(unpack, input=data, capture_output=True, check=True).stdout
        return tarfile.open(fileobj=io.BytesIO(plain))

    return get


def test_busybox_is_an_index_of_two_platforms(document):
    index = document("library/busybox", "latest")
    assert index["mediaType"] == oci.INDEX
    assert {entry["platform"]["architecture"] for entry in index["manifests"]} == {"amd64", "arm64"}


def test_python_has_an_attestation_beside_the_image(document):
    index = document("library/python", "3.13-slim")
    assert [entry["platform"]["os"] for entry in index["manifests"]] == ["linux", "unknown"]


def test_uv_is_an_image_of_dockers_media_types(document):
    top = document("astral-sh/uv", "0.11.18")
    kinds = [top["mediaType"], top["config"]["mediaType"], top["layers"][0]["mediaType"]]
    assert kinds == [oci.MEDIA["docker"][part] for part in ("manifest", "config", "gzip")]


def test_python_stands_on_debians_layer(manifest):
    debian, python = manifest("library/debian"), manifest("library/python")
    assert python["layers"][0] == debian["layers"][0]
    kinds = [entry["mediaType"] for entry in python["layers"]]
    assert kinds == [oci.MEDIA["oci"]["gzip"], oci.MEDIA["oci"]["zstd"]]


@pytest.mark.parametrize("repository", IMAGES)
def test_layers_are_what_the_config_says(fetch, manifest, layer, repository):
    found = manifest(repository)
    config = json.loads(fetch(f"/v2/{repository}/blobs/{found['config']['digest']}")[0])
    assert config["os"] == "linux"
    diff_ids = []
    for descriptor in found["layers"]:
        tar = layer(repository, descriptor)
        tar.fileobj.seek(0)
        diff_ids.append("sha256:" + hashlib.file_digest(tar.fileobj, "sha256").hexdigest())
    assert diff_ids == config["rootfs"]["diff_ids"]


def test_pythons_layer_has_whiteouts_and_an_opaque_directory(manifest, layer):
    top = layer("library/python", manifest("library/python")["layers"][1])
    names = top.getnames()
    assert "var/cache/debconf/.wh..wh..opq" in names
    gone = [name for name in names if "/.wh.debian-archive" in name]
    below = layer("library/debian", manifest("library/debian")["layers"][0]).getnames()
    assert gone and all(name.replace(".wh.", "") in below for name in gone)


def test_python_is_laid_out_as_in_the_official_image(manifest, layer):
    top = layer("library/python", manifest("library/python")["layers"][1])
    for name in ("python", "python3", "python3.13", "pip"):
        assert top.getmember(f"usr/local/bin/{name}").issym()
    assert not [name for name in top.getnames() if name.endswith("EXTERNALLY-MANAGED")]
    below = layer("library/debian", manifest("library/debian")["layers"][0]).getnames()
    assert "usr/sbin/useradd" in below


def test_busybox_has_hard_links_and_users(manifest, layer):
    only = layer("library/busybox", manifest("library/busybox")["layers"][0])
    assert only.getmember("bin/sh").islnk()
    assert only.getmember("tmp").mode == 0o1777
    assert b"nobody:" in only.extractfile("etc/passwd").read()


def test_uv_image_has_two_programs_and_nothing_else(manifest, layer):
    only = layer("astral-sh/uv", manifest("astral-sh/uv")["layers"][0])
    assert only.getnames() == ["uv", "uvx"]


def test_registry_resumes_a_blob(fetch, manifest):
    blob = manifest("library/debian")["layers"][0]
    data, answer = fetch(f"/v2/library/debian/blobs/{blob['digest']}", {"Range": "bytes=100-"})
    assert answer.status == 206
    assert len(data) == blob["size"] - 100


def test_registry_has_nothing_else(fetch):
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch("/v2/library/nothing/manifests/latest")
    assert caught.value.code == 404


def test_leak_check_finds_each_kind_of_leak(tmp_path, root_only):
    """A leak check that cannot fail would be worth nothing."""
    mark = "spaceport-leak-check-of-the-leak-check"
    (tmp_path / "user/tmp").mkdir(parents=True)
    watch = leaks.Watch(tmp_path, mark)
    script = f"mount -t tmpfs none {tmp_path} && echo up && exec sleep 60"
    kept = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE)
    marked = subprocess.Popen(["sleep", "60"], env={leaks.__name__: mark})
    try:
        assert kept.stdout.readline() == b"up\n"
        (tmp_path / "user/tmp/file").touch()
        subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "user"], check=True)
        left = "\n".join(watch.leaks())
        for process in (kept, marked):
            assert f"process: {process.pid} sleep" in left
        assert "mount: " in left
        subprocess.run(["umount", tmp_path / "user"], check=True)
        assert "temporary file: " in "\n".join(watch.leaks())
    finally:
        for process in (kept, marked):
            process.kill()
            process.wait()
    (tmp_path / "user/tmp/file").unlink()
    # A box that another test made while the mount was there keeps a copy of it.
    ours = [f"process: {process.pid} " for process in (kept, marked)]
    assert not [leak for leak in watch.leaks()
                if not leak.startswith("process: ") or leak.startswith(tuple(ours))]


def test_leak_check_knows_whose_a_control_group_is(monkeypatch):
    """Ids of processes come round: a group is not ours because we once had its id."""
    mark = "spaceport-leak-check-of-the-leak-check"
    other = subprocess.Popen(["sleep", "60"])
    marked = subprocess.Popen(["sleep", "60"], env={leaks.__name__: mark})
    monkeypatch.setattr(leaks, "started", {other.pid, marked.pid})
    try:
        assert not leaks.is_ours(other.pid, mark)
        assert leaks.is_ours(marked.pid, mark)
    finally:
        for process in (other, marked):
            process.kill()
            process.wait()
    assert leaks.is_ours(other.pid, mark)
