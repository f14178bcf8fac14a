# SPDX-License-Identifier: Apache-2.0
"""What `spaceport image export` wrote, read with Python's tarfile; and images to import."""

import hashlib
import io
import json
import os
import tarfile

import oci

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


class Entry(tarfile.TarInfo):
    """An entry of a tar with its content."""

    data = None


class Exported:
    """An archive, its documents checked against each other and all blobs against their names."""

    def __init__(self, path):
        self.path = path
        with tarfile.open(path) as archive:
            self.files = {entry.name: archive.extractfile(entry).read()
                          for entry in archive if entry.isfile()}
        for name, data in self.files.items():
            if name.startswith("blobs/"):
                assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
        self.index = json.loads(self.files["index.json"])
        self.manifests = [self.blob(entry) for entry in self.index["manifests"]]
        self.manifest = json.loads(self.manifests[0])
        self.config = json.loads(self.blob(self.manifest["config"]))
        assert self.files["oci-layout"] == b'{"imageLayoutVersion":"1.0.0"}'

    def blob(self, descriptor):
        data = self.files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
        assert len(data) == descriptor["size"]
        return data

    @property
    def diff_ids(self):
        return self.config["rootfs"]["diff_ids"]

    @property
    def docker(self):
        return json.loads(self.files["manifest.json"])

    def layer(self, number):
        """A layer's entries by name, with their data, in their order; -1 is the topmost."""
        data = self.blob(self.manifest["layers"][number])
        assert "sha256:" + hashlib.sha256(data).hexdigest() == self.diff_ids[number]
        with tarfile.open(fileobj=io.BytesIO(data), tarinfo=Entry) as tar:
            entries = {}
            for entry in tar:
                assert entry.name not in entries
                entry.data = tar.extractfile(entry).read() if entry.isfile() else None
                entries[entry.name] = entry
            return entries


def layout(folder, *tars):
    """An OCI layout with one image whose layers are these tars' bytes."""
    made = oci.Layout(folder)
    layers = [made.layer(io.BytesIO(data)) for data in tars]
    made.tag("docker.io/library/handmade:latest", made.image(ARCH, layers, {"Env": ["PATH=/bin"]}))
    made.save()
    return folder
