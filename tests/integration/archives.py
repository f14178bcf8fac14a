# SPDX-License-Identifier: Apache-2.0
"""Archives made on the spot, good ones and bad ones, for ADD."""

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile


def tar(*entries, format=tarfile.PAX_FORMAT):
    """A tar of (name, data) or (name, TarInfo changes) pairs; data None is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, what in entries:
            info = tarfile.TarInfo(name)
            info.mtime = 1_000_000_000
            data = b""
            if what is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(what, bytes):
                data = what
            else:
                for key, value in what.items():
                    if key == "data":
                        data = value
                    else:
                        setattr(info, key, value)
            if info.isreg() and not info.size:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zstd(data):
    return subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout


PACKERS = {"plain": bytes, "gzip": lambda data: gzip.compress(data, mtime=0), "bzip2": bz2.compress,
           "xz": lzma.compress, "zstd": zstd}
