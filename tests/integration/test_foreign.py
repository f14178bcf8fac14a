# SPDX-License-Identifier: Apache-2.0
"""What is exported runs under docker and podman, and what docker saves comes back the same.
What skopeo makes of it is in test_export.py."""

import json
import os
import shutil
import uuid

import engine
import exported
import foreign
import leaks
import pytest

NAME = "foreign/everything:1.0"
FULL = f"docker.io/{NAME}"
FORMS = ["none", "gzip", "zstd"]


def place(folder):
    path = folder / f"foreign-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def built(spaceport, folder, account):
    """A folder for archives, in the store the image NAME."""
    top = place(folder)
    context = foreign.make_context(top / "context")
    base = foreign.make_base(top / "base")
    account.owns(top)
    spaceport("image", "import", base).ok()
    spaceport.build(context, "--tag", NAME).ok()
    yield top
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def archive(spaceport, built):
    """archive(FORM, FLAG…): what `image export` writes."""
    def export(form="none", *flags):
        path = built / ("-".join([form, *flags]) + ".tar")
        if not path.exists():
            spaceport("image", "export", NAME, "--compression", form, *flags, "-o", path).ok()
        return path

    return export


@pytest.fixture(scope="module")
def docker(folder, mark):
    """Docker with an engine of its own, gone without a trace at the end."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")
    top, own = place(folder), {"SPACEPORT_TEST_ENGINE": f"{mark}-docker"}
    traces = engine.traces()
    with foreign.watched(leaks.Watch(folder, mark)):
        with engine.Engine(top, own, is_bridged=False) as running:
            yield foreign.Docker(running)
        assert engine.traces() == traces
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def podman(folder, mark):
    if os.geteuid() != 0:
        pytest.skip("only root can give podman mounts of its own")
    top = place(folder)
    with foreign.watched(leaks.Watch(folder, mark)):
        yield foreign.Podman(top, {"SPACEPORT_TEST_ENGINE": f"{mark}-podman"})
    shutil.rmtree(top)


def history(archive):
    """What made the layers, the uppermost first."""
    return [entry.get("created_by", "") for entry in
            reversed(exported.Exported(archive).config["history"])]


def check_back(program, archive, saved):
    """What another program saved is, imported and exported, the archive that it was: the same
    configuration and trees."""
    program("image", "import", saved).ok()
    again = saved.with_suffix(".again.tar")
    program("image", "export", NAME, "-o", again).ok()
    assert exported.Exported(again).files == exported.Exported(archive).files


def test_the_archive_has_what_is_to_be_seen(archive):
    """Else a foreign program could see the right tree for a wrong reason."""
    made = exported.Exported(archive())
    layers = [made.layer(number) for number in range(len(made.diff_ids))]
    assert "tree/hidden/old" in layers[0] and "tree/hidden/.wh..wh..opq" in layers[1]
    assert any({"tree/.wh.gone", "tree/.wh.gone-file", "tree/kept/.wh.gone",
                "tree/opaque/.wh.old"} <= set(layer) for layer in layers)
    assert [name for layer in layers for name, entry in layer.items()
            if name.startswith("tree/") and entry.islnk()] == ["tree/kept/hard"]
    assert len(history(archive())) > len(made.diff_ids)


class TestDocker:
    @pytest.mark.parametrize("form", FORMS)
    def test_loads_and_runs(self, docker, archive, form):
        if form == "zstd" and docker.version < 23:
            docker.refuses("load", "--input", archive(form), says="Error processing tar file")
            return
        assert docker("load", "--input", archive(form)).strip() == f"Loaded image: {NAME}"
        try:
            foreign.check_seen(docker.run(NAME))
        finally:
            docker("image", "rm", NAME)

    @pytest.fixture
    def loaded(self, docker, archive):
        docker("load", "--input", archive())
        yield docker
        docker("image", "rm", NAME)

    def test_shows_the_configuration(self, loaded, archive):
        shown = json.loads(loaded("image", "inspect", NAME))[0]
        foreign.check_config(shown["Config"])
        assert shown["Config"]["Healthcheck"] == foreign.HEALTHCHECK
        assert shown["RootFS"]["Layers"] == exported.Exported(archive()).diff_ids
        lines = loaded("history", "--no-trunc", "--format", "{{json .CreatedBy}}", NAME)
        assert [json.loads(line) for line in lines.splitlines()] == history(archive())

    def test_entry_point_and_arguments_are_replaced(self, loaded):
        assert foreign.Seen(loaded.run(NAME, "three")).args == ["three"]
        assert loaded("run", "--rm", "--network", "none", "--entrypoint", "cat", NAME,
                      "/tree/kept/hard") == "content"

    def test_what_it_saves_comes_back(self, fresh_spaceport, loaded, archive, built, account):
        saved = built / "saved.tar"
        loaded("save", "--output", saved, NAME)
        check_back(fresh_spaceport, archive(), account.owns(saved))

    def test_several_images(self, docker, spaceport, built):
        spaceport("image", "pull", "busybox:latest").ok()
        several = built / "several.tar"
        spaceport("image", "export", NAME, "busybox:latest", "-o", several).ok()
        try:
            assert docker("load", "--input", several).splitlines() == [
                f"Loaded image: {NAME}", "Loaded image: busybox:latest"]
            assert docker.run("busybox:latest", "echo", "here") == "here\n"
        finally:
            docker("image", "rm", NAME, "busybox:latest")


class TestPodman:
    @pytest.mark.parametrize("how", [*((form,) for form in FORMS), ("none", "--format", "oci")],
                             ids=[*FORMS, "oci"])
    def test_loads_and_runs(self, podman, archive, how):
        podman("load", "--quiet", "--input", archive(*how))
        try:
            foreign.check_seen(podman.run(FULL))
            shown = json.loads(podman("image", "inspect", FULL))[0]
            foreign.check_config(shown["Config"])
            assert shown["RootFS"]["Layers"] == exported.Exported(archive()).diff_ids
            lines = json.loads(podman("history", "--format", "json", FULL))
            assert [line["CreatedBy"] for line in lines] == history(archive())
        finally:
            podman("image", "rm", "--force", FULL)

    def test_what_it_saves_comes_back(self, fresh_spaceport, podman, archive, built, account):
        podman("load", "--quiet", "--input", archive())
        saved = built / "saved-by-podman.tar"
        podman("save", "--quiet", "--format", "oci-archive", "--output", saved, FULL)
        podman("image", "rm", FULL)
        check_back(fresh_spaceport, archive(), account.owns(saved))


def test_no_container_is_left(docker, podman):
    assert docker("ps", "--all", "--quiet") == ""
    assert podman("ps", "--all", "--quiet") == ""
