# SPDX-License-Identifier: Apache-2.0
"""What is in layers: all that a layer's archive would say but times, read from the store.

    python trees.py LAYERS KEY...     prints a JSON object, key to description

Run as a program it works inside a namespace that has the ids of an ordinary user's store."""

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path


def content(path, info):
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(info.st_mode):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return str(info.st_rdev) if not stat.S_ISDIR(info.st_mode) else ""


def attributes(path):
    return {name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in sorted(os.listxattr(path, follow_symlinks=False))}


def describe(top):
    """A line for each entry: name, type and mode, owner, content, attributes, first name."""
    lines, names, base = [], {}, os.lstat(top).st_uid
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in [".", *sorted(folders + files)] if folder == top else sorted(folders + files):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            short = os.path.relpath(path, top)
            first = names.setdefault(info.st_ino, short) if info.st_nlink > 1 else short
            lines.append([short, oct(info.st_mode), info.st_uid - base, info.st_gid - base,
                          content(path, info), attributes(path),
                          first if not stat.S_ISDIR(info.st_mode) else short])
    return lines


def layers(program, image):
    """The layers of an image, bottom first, each as describe() has it."""
    keys = json.loads(program("image", "inspect", image).ok().out)["image"]["layers"]
    folder = program.data / "store/layers"
    if os.geteuid() == 0:
        return [describe(folder / key / "fs") for key in keys]
    done = subprocess.run(["unshare", "--map-auto", "--map-root-user", sys.executable, __file__,
                           folder, *keys], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return [found[key] for key in keys]


if __name__ == "__main__":
    print(json.dumps({key: describe(Path(sys.argv[1], key, "fs")) for key in sys.argv[2:]}))
