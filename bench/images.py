# SPDX-License-Identifier: Apache-2.0
"""Base images that Spaceport and Docker pull alike: those of tests/images, with what
Docker 20.10 cannot read left out (zstd layers), and with the host's certificate
authorities in a layer of their own, since only Spaceport would bring them along."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/images"))
import oci  # noqa: E402

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
TRUST = [f"{name}=/{BUNDLE}" for name in
         ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")]


class Source:
    """The layout that tests/images/make has made."""

    def __init__(self, root):
        self.blobs = Path(root) / "blobs/sha256"
        index = json.loads((Path(root) / "index.json").read_text())
        self.images = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry
                       for entry in index["manifests"]}

    def blob(self, descriptor):
        return self.blobs / descriptor["digest"].removeprefix("sha256:")

    def json(self, descriptor):
        return json.loads(self.blob(descriptor).read_text())

    def manifest(self, descriptor):
        """The manifest of this machine's platform."""
        document = self.json(descriptor)
        for entry in document.get("manifests", []):
            if entry["platform"]["architecture"] == ARCH:
                return self.json(entry)
        return document


def copy_layer(source, layout, descriptor, diff_id):
    """A layer as gzip; returns what Layout.image() takes."""
    if descriptor["mediaType"].endswith("zstd"):
        with tempfile.TemporaryFile() as tar:
            subprocess.run(["zstd", "-dqc", source.blob(descriptor)], stdout=tar, check=True)
            tar.seek(0)
            return layout.layer(tar)
    shutil.copy(source.blob(descriptor), layout.blobs)
    return dict(descriptor, mediaType=oci.MEDIA["oci"]["gzip"]), diff_id


def trust_layer(layout):
    """The certificate authorities of this host, where Debian keeps them."""
    bundle = Path(os.environ.get("SSL_CERT_FILE") or f"/{BUNDLE}")
    layer = oci.LayerTar()
    for name in ("etc", "etc/ssl", "etc/ssl/certs"):
        layer.dir(name)
    layer.add(BUNDLE, data=bundle.read_bytes())
    return layout.layer(layer.done())


def derive(source, folder):
    """Writes the layout with the images to be pulled."""
    layout = oci.Layout(folder)
    trust = trust_layer(layout)
    for reference, descriptor in source.images.items():
        manifest = source.manifest(descriptor)
        config = source.json(manifest["config"])
        layers = [copy_layer(source, layout, *pair) for pair in
                  zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)]
        settings = config["config"]
        if "library/python:" in reference:
            layers.append(trust)
            settings["Env"] += TRUST
        layout.tag(reference, layout.image(ARCH, layers, settings))
    layout.save()
    return layout


class Registry:
    """Debian's docker-registry with storage of its own, below `folder`."""

    def __init__(self, folder):
        self.env = dict(os.environ, SPACEPORT_TEST_CACHE=str(folder / "registry"))
        self.folder = folder

    def tool(self, action):
        return subprocess.run([ROOT / "tools/registry", action], env=self.env, check=True,
                              stdout=subprocess.PIPE, text=True).stdout.strip()

    def __enter__(self):
        made = subprocess.run([ROOT / "tests/images/make"], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.strip()
        layout = derive(Source(made), self.folder / "images")
        url = self.tool("start")
        self.host = url.removeprefix("http://")
        self.names = {}
        for reference, _ in oci.push(layout.root, url):
            short = reference.removeprefix("docker.io/").removeprefix("library/")
            self.names[short] = f"{self.host}/{reference.partition('/')[2]}"
        return self

    def __exit__(self, *_):
        self.tool("stop")

    def rename(self, dockerfile):
        """A Dockerfile's text with the base images taken from this registry."""
        def place(match):
            return match[1] + self.names.get(match[2], match[2])

        text = re.sub(r"(?im)^(FROM\s+(?:--platform=\S+\s+)?)(\S+)", place, dockerfile)
        return re.sub(r"(--from=|,from=)([^\s,]+)", place, text)
