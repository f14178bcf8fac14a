# SPDX-License-Identifier: Apache-2.0
"""OCI images written and pushed with the standard library alone.

A Layout is an OCI image layout on disk (image-spec, image-layout.md). Layers
go in as tar files and come out as descriptors; the same input gives the same
digests. push() speaks the distribution-spec to a registry without a login.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"

# What each part of an image is called in the two dialects that registries speak.
MEDIA = {
    "oci": {
        "manifest": f"{OCI}.manifest.v1+json",
        "config": f"{OCI}.config.v1+json",
        "gzip": f"{OCI}.layer.v1.tar+gzip",
        "zstd": f"{OCI}.layer.v1.tar+zstd",
    },
    "docker": {
        "manifest": f"{DOCKER}.distribution.manifest.v2+json",
        "config": f"{DOCKER}.container.image.v1+json",
        "gzip": f"{DOCKER}.image.rootfs.diff.tar.gzip",
    },
}
INDEX = f"{OCI}.index.v1+json"
# Every image claims to be made at this moment, so that its digest says only what is in it.
MADE_AT = 1750000000
MADE_AT_TEXT = "2025-06-15T15:06:40Z"


def sha256_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LayerTar:
    """A layer being put together: a tar file with only what a layer needs to say."""

    def __init__(self):
        self.file = tempfile.TemporaryFile()
        self.tar = tarfile.open(fileobj=self.file, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, mode=0o644, data=b"", link="", uid=0, gid=0,
            mtime=MADE_AT):
        """One entry. `name` is relative, without a leading slash."""
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname = kind, mode, link
        info.uid, info.gid, info.mtime, info.size = uid, gid, mtime, len(data)
        self.tar.addfile(info, io.BytesIO(data))

    def dir(self, name, mode=0o755):
        self.add(name, tarfile.DIRTYPE, mode)

    def symlink(self, name, target):
        self.add(name, tarfile.SYMTYPE, 0o777, link=target)

    def hardlink(self, name, target):
        self.add(name, tarfile.LNKTYPE, 0o755, link=target)

    def whiteout(self, name):
        """Hides `name` of the layers below (image-spec, layer.md, Whiteouts)."""
        parent, _, base = name.rpartition("/")
        self.add(f"{parent}/.wh.{base}" if parent else f".wh.{base}")

    def opaque(self, name):
        """Hides everything that the layers below have in the directory `name`."""
        self.add(f"{name}/.wh..wh..opq")

    def done(self):
        """The finished tar, open at its beginning."""
        self.tar.close()
        self.file.seek(0)
        return self.file


class Layout:
    def __init__(self, root):
        self.root = Path(root)
        self.blobs = self.root / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        self.index = []
        (self.root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def json(self, media_type, value):
        """Stores a JSON document; returns its descriptor."""
        data = json.dumps(value, separators=(",", ":")).encode()
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def layer(self, tar_file, compression="gzip", dialect="oci"):
        """Compresses and stores an open tar file; returns (descriptor, diff ID)."""
        diff_id = hashlib.file_digest(tar_file, "sha256").hexdigest()
        tar_file.seek(0)
        packed = self.blobs / f"new-{diff_id}"
        with open(packed, "wb") as out:
            if compression == "zstd":
                subprocess.run(["zstd", "-q", "-9", "-c"], stdin=tar_file, stdout=out, check=True)
            else:
                with gzip.GzipFile("", "wb", 6, out, mtime=0) as zipped:
                    shutil.copyfileobj(tar_file, zipped, 1 << 20)
        digest = sha256_file(packed)
        packed.rename(self.blobs / digest)
        size = (self.blobs / digest).stat().st_size
        media_type = MEDIA[dialect][compression]
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}, \
            f"sha256:{diff_id}"

    def image(self, arch, layers, config, dialect="oci"):
        """Stores config and manifest of an image; returns the manifest's descriptor.

        `layers` are what layer() returned, lowest first; `config` is the object
        that holds Env, Cmd and so on."""
        media = MEDIA[dialect]
        stored_config = self.json(media["config"], {
            "architecture": arch, "os": "linux", "created": MADE_AT_TEXT, "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            "history": [{"created": MADE_AT_TEXT, "created_by": "tests/images/make"}
                        for _ in layers],
        })
        return self.json(media["manifest"], {
            "schemaVersion": 2, "mediaType": media["manifest"], "config": stored_config,
            "layers": [descriptor for descriptor, _ in layers],
        })

    def platforms(self, manifests):
        """Stores an index over [(descriptor, arch, annotations)]; returns its descriptor.

        An arch of "unknown" gives the platform unknown/unknown, as builders mark
        what is not an image."""
        return self.json(INDEX, {
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [dict(descriptor, platform={
                "architecture": arch, "os": "unknown" if arch == "unknown" else "linux",
            }, **({"annotations": annotations} if annotations else {}))
                for descriptor, arch, annotations in manifests],
        })

    def tag(self, reference, descriptor):
        """Gives the manifest or index a full name, such as docker.io/library/busybox:latest."""
        self.index.append(dict(
            descriptor, annotations={"org.opencontainers.image.ref.name": reference}))

    def save(self):
        (self.root / "index.json").write_text(json.dumps(
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.index}, indent=1))


class Registry:
    """A registry reached at `base`, for example http://127.0.0.1:5000."""

    def __init__(self, base):
        self.base = base.rstrip("/")

    def request(self, method, path, data=None, headers=None):
        url = urllib.parse.urljoin(self.base + "/", path)
        request = urllib.request.Request(url, data, headers or {}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(request, timeout=60)

    def has(self, path, headers=None):
        """The digest that the registry gives for `path`, or None where it has nothing."""
        try:
            with self.request("HEAD", path, headers=headers) as answer:
                return answer.headers.get("Docker-Content-Digest")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def put_blob(self, repository, layout, descriptor):
        digest = descriptor["digest"]
        if self.has(f"/v2/{repository}/blobs/{digest}"):
            return
        with self.request("POST", f"/v2/{repository}/blobs/uploads/") as answer:
            place = answer.headers["Location"]
        place += ("&" if "?" in place else "?") + urllib.parse.urlencode({"digest": digest})
        with open(layout / "blobs/sha256" / digest.removeprefix("sha256:"), "rb") as blob:
            headers = {"Content-Type": "application/octet-stream",
                       "Content-Length": str(os.fstat(blob.fileno()).st_size)}
            self.request("PUT", place, blob, headers).close()

    def put_manifest(self, repository, layout, descriptor, name):
        """Stores a manifest or index and everything it names, then `name` for it."""
        data = (layout / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        document = json.loads(data)
        for child in document.get("manifests", []):
            self.put_manifest(repository, layout, child, child["digest"])
        for blob in document.get("layers", []) + [document.get("config")]:
            if blob:
                self.put_blob(repository, layout, blob)
        self.request("PUT", f"/v2/{repository}/manifests/{name}", data,
                     {"Content-Type": descriptor["mediaType"]}).close()


def push(layout, base):
    """Pushes every name of the layout to the registry; returns [(reference, digest)].

    The name's host becomes the registry's address, its path and tag stay."""
    layout, registry, names = Path(layout), Registry(base), []
    for descriptor in json.loads((layout / "index.json").read_text())["manifests"]:
        reference = descriptor["annotations"]["org.opencontainers.image.ref.name"]
        repository, _, tag = reference.partition("/")[2].rpartition(":")
        accept = {"Accept": descriptor["mediaType"]}
        if registry.has(f"/v2/{repository}/manifests/{tag}", accept) != descriptor["digest"]:
            registry.put_manifest(repository, layout, descriptor, tag)
        names.append((reference, descriptor["digest"]))
    return names
