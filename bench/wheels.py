# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a large wheel (a tensor library's), and small ones to add to it: an image
with the wheels in it, and a folder whose lock file names the large one and more and more of
the small ones."""

import base64
import hashlib
import os
import zipfile
from pathlib import Path

BASE = "spaceport-bench-wheels:latest"
LARGE_FILES = 4  # what most of the bytes are in
HOUSE = """FROM python:3.13-slim
COPY --from=ghcr.io/astral-sh/uv:0.11.18 /uv /bin/
COPY wheels /wheels
"""
# As the guide has it: bytes are compiled by nobody here, since that is the same on both sides.
DOCKERFILE = """FROM {base}
RUN useradd --create-home --uid 1000 user
USER user
ENV HOME=/home/user UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR $HOME/app
COPY --chown=user requirements.lock ./
RUN {mount}uv venv && uv pip sync --no-index --find-links /wheels requirements.lock
"""
MOUNT = "--mount=type=cache,target=/home/user/.cache/uv,uid=1000,gid=1000 "


def write_wheel(folder, name, files):
    """files: {path: bytes}, made one after the other."""
    info, lines = f"{name}-1.0.dist-info", []
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        def add(path, data):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{path},sha256={digest},{len(data)}")
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), data)

        for path, data in files:
            add(path, data)
        add(f"{info}/METADATA", metadata)
        add(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))


def large_files(megabytes, count):
    small = 2000
    for i in range(LARGE_FILES):
        yield f"large/lib{i}.so", os.urandom((megabytes * 1_000_000 - count * small) // LARGE_FILES)
    for i in range(count - LARGE_FILES):
        yield f"large/part{i % 100}/module{i}.py", os.urandom(small // 2).hex().encode()


class Wheels:
    def __init__(self, folder, registry, megabytes, files, small):
        self.house, self.folder = folder / "wheelhouse", folder / "locked"
        wheels = self.house / "wheels"
        wheels.mkdir(parents=True)
        self.folder.mkdir()
        write_wheel(wheels, "large", large_files(megabytes, files))
        self.names = [f"small{i}" for i in range(small)]
        for name in self.names:
            write_wheel(wheels, name, [(f"{name}.py", b"VALUE = 1\n")])
        (self.house / "Dockerfile").write_text(registry.rename(HOUSE))
        self.lock([])

    def use(self, mount):
        (self.folder / "Dockerfile").write_text(DOCKERFILE.format(base=BASE, mount=mount))

    def lock(self, names):
        lines = [f"{name}==1.0" for name in ["large", *names]]
        Path(self.folder / "requirements.lock").write_text("\n".join([*lines, ""]))
