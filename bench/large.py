# SPDX-License-Identifier: Apache-2.0
"""Spaces that are large in one way: many files in the build context, or one big layer."""

import os
from pathlib import Path

FILES, FILES_A_FOLDER = 100_000, 1000
LAYER_BYTES, LAYER_FILES = 1_500_000_000, 15_000
BIG_SHARE = 0.9  # of a layer's bytes are in few big files, as in PyTorch's wheel
BIG_FILES = 4


class Folder:
    """A build context that can be given to both sides."""

    def __init__(self, folder, dockerfile):
        self.folder = Path(folder)
        self.folder.mkdir()
        (self.folder / "Dockerfile").write_text(dockerfile)


def many_files(folder, count=FILES):
    space = Folder(folder, "FROM scratch\nCOPY . /context\n")
    for i in range(count):
        if i % FILES_A_FOLDER == 0:
            place = space.folder / f"part-{i // FILES_A_FOLDER:04}"
            place.mkdir()
        (place / f"file-{i:06}.txt").write_text(f"{i}\n" * (i % 40 + 1))
    return space


def noise(count):
    """Bytes that hardly compress, at the speed of memory."""
    block = os.urandom(1 << 20)
    return (block[i % 977:] + block[:i % 977] for i in range(count >> 20))


def big_layer(folder, size=LAYER_BYTES, files=LAYER_FILES):
    """Like a wheel of PyTorch: most bytes in few files, most files small."""
    space = Folder(folder, "FROM scratch\nCOPY tree /tree\n")
    tree = space.folder / "tree"
    tree.mkdir()
    for i in range(BIG_FILES):
        with open(tree / f"library-{i}.so", "wb") as file:
            file.writelines(noise(int(size * BIG_SHARE / BIG_FILES)))
    small = os.urandom(int(size * (1 - BIG_SHARE) / files))
    for i in range(files - BIG_FILES):
        if i % FILES_A_FOLDER == 0:
            place = tree / f"package-{i // FILES_A_FOLDER:04}"
            place.mkdir()
        (place / f"module_{i:05}.py").write_bytes(str(i).encode() + small)
    return space
