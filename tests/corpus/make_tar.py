#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of tests/corpus/tar: one archive for each thing an unpacker can get wrong.

Run it in tests/corpus; what a fuzzer found later is kept beside them under other names.
"""
import pathlib

OUT = pathlib.Path(__file__).parent / "tar"


def header(name, kind="0", size=0, mode=0o644, uid=0, gid=0, link="", raw_size=None,
           magic=b"ustar\x0000"):
    h = bytearray(512)

    def put(at, text):
        h[at : at + len(text)] = text

    put(0, name.encode("utf-8", "surrogateescape")[:100])
    put(100, b"%07o\0" % mode)
    put(108, b"%07o\0" % uid)
    put(116, b"%07o\0" % gid)
    put(124, raw_size or b"%011o\0" % size)
    put(136, b"%011o\0" % 1000000000)
    put(148, b" " * 8)
    put(156, kind.encode())
    put(157, link.encode("utf-8", "surrogateescape")[:100])
    put(257, magic)
    put(148, b"%06o\0 " % sum(h))
    return bytes(h)


def padded(data):
    return data + b"\0" * (-len(data) % 512)


def record(key, value):
    body = b" " + key.encode() + b"=" + value + b"\n"
    n = len(body)
    while len(str(n)) + len(body) != n:
        n = len(str(n)) + len(body)
    return str(n).encode() + body


def entry(name, kind="0", data=b"", pax=(), **fields):
    out = b""
    if pax:
        records = b"".join(record(k, v) for k, v in pax)
        out += header("PaxHeader", "x", len(records)) + padded(records)
    fields.setdefault("size", len(data))
    return out + header(name, kind, **fields) + padded(data)


def gnu_long(kind, text):
    data = text + b"\0"
    return header("././@LongLink", kind, len(data), magic=b"ustar  \0") + padded(data)


def sparse_1_0(name):
    data = b"2\n65536\n4\n131072\n0\n".ljust(512, b"\0") + b"DATA"
    pax = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", name),
        ("GNU.sparse.realsize", b"131072"),
    ]
    return entry("GNUSparseFile.0/x", data=data, pax=pax)


CAP = bytes.fromhex("0100000200040000000000000000000000000000")
END = b"\0" * 1024

SEEDS = {
    "ordinary": entry("./", "5", mode=0o755)
    + entry("usr/bin/", "5", mode=0o755)
    + entry("usr/bin/su", data=b"su", mode=0o4755)
    + entry("usr/bin/sudo", "1", link="usr/bin/su")
    + entry("bin", "2", link="usr/bin")
    + entry("bin/sh", data=b"sh", mode=0o755)
    + entry("fifo", "6"),
    "parent": entry("../beside/x", data=b"x"),
    "parent-within": entry("a/../../beside/x", data=b"x"),
    "absolute": entry("/etc/passwd", data=b"x"),
    "link-then-file": entry("l", "2", link="/tmp") + entry("l/x", data=b"x"),
    "link-up-then-file": entry("l", "2", link="../beside") + entry("l/x", data=b"x"),
    "link-dangling": entry("l", "2", link="/none/at/all") + entry("l/x/y", data=b"x"),
    "link-loop": entry("a", "2", link="b") + entry("b", "2", link="a") + entry("a/x", data=b"x"),
    "link-replaced": entry("l", "2", link="/tmp") + entry("l", data=b"x")
    + entry("l/", "5", mode=0o755),
    "hardlink-out": entry("h", "1", link="../../../etc/passwd"),
    "hardlink-absolute": entry("h", "1", link="/etc/passwd"),
    "hardlink-through-link": entry("l", "2", link="/etc") + entry("h", "1", link="l/passwd"),
    "hardlink-itself": entry("a", data=b"x") + entry("a", "1", link="a"),
    "hardlink-with-data": entry("a", data=b"x")
    + entry("h", "1", link="a", data=b"new", pax=[("mtime", b"1")]),
    "device": entry("null", "3", mode=0o666) + entry("sda", "4"),
    "dev-as-link": entry("dev", "2", link="/etc") + entry("dev/passwd", data=b"x")
    + entry("proc", data=b"x"),
    "whiteouts": entry(".wh.a") + entry("a/b", data=b"x") + entry("c/", "5") + entry(".wh.c")
    + entry("d/.wh.e"),
    "whiteout-below": entry(".wh.a") + entry("a/b/c/d", data=b"x") + entry("a/b/.wh..wh..opq"),
    "whiteout-of-parent": entry("d/.wh..."),
    "whiteout-of-self": entry("d/.wh.."),
    "whiteout-of-nothing": entry(".wh."),
    "opaque-late": entry("d/own", data=b"x") + entry("d/.wh.gone") + entry("d/.wh..wh..opq"),
    "opaque-root": entry(".wh..wh..opq") + entry(".wh.x"),
    "aufs": entry(".wh..wh.plnk/1.2", data=b"x") + entry(".wh..wh.aufs"),
    "root-as-link": entry(".", "2", link="/etc"),
    "root-as-file": entry("/", data=b"x"),
    "file-below-file": entry("f", data=b"x") + entry("f/g", data=b"x"),
    "dir-to-file": entry("d/x", data=b"x") + entry("d", data=b"y") + entry("d/z", data=b"z"),
    "owner-large": entry("f", uid=0o7777777, gid=65536),
    "owner-negative": entry("f", pax=[("uid", b"-1"), ("gid", b"-2")]),
    "size-negative": entry("f", data=b"hello", pax=[("size", b"-5")]),
    "size-long": entry("f", data=b"hello", pax=[("size", b"99999999999")]),
    "size-short": entry("f", data=b"hello", pax=[("size", b"2")]),
    "size-base256": entry("f", data=b"hello", raw_size=b"\xff" * 12),
    "size-base256-big": entry("f", data=b"hello", raw_size=b"\x80" + b"\x7f" * 11),
    "pax-length-lie": header("PaxHeader", "x", 14) + padded(b"99 path=../xx\n") + entry("f"),
    "pax-global": header("PaxGlobal", "g", 12) + padded(b"12 path=../x") + entry("f"),
    "pax-huge": header("PaxHeader", "x", 1 << 21) + entry("f"),
    "pax-nul": entry("f", pax=[("path", b"a\0../b")]),
    "pax-utf8": entry("x", pax=[("path", "caf\u00e9".encode()), ("linkpath", b"caf\xe9")]),
    "pax-binary": entry("x", pax=[("hdrcharset", b"BINARY"), ("path", b"caf\xe9")]),
    "times": entry("f", pax=[("mtime", b"-1.5"), ("atime", b"99999999999999999999.5")]),
    "xattrs": entry(
        "f",
        data=b"x",
        pax=[
            ("SCHILY.xattr.user.a", b"v\0w"),
            ("SCHILY.xattr.security.capability", CAP),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("LIBARCHIVE.xattr.user.b", b"dmFsdWU"),
        ],
    )
    + entry("d/", "5", pax=[("SCHILY.xattr.trusted.overlay.redirect", b"/etc")]),
    "gnu-long": gnu_long("L", b"n" * 120) + header("n", magic=b"ustar  \0")
    + gnu_long("K", b"t" * 200) + header("l", "2", link="t", magic=b"ustar  \0"),
    "gnu-long-parent": gnu_long("L", b"../" * 50 + b"x") + header("x", magic=b"ustar  \0"),
    "sparse": sparse_1_0(b"sparse"),
    "sparse-parent": sparse_1_0(b"../beside/x"),
    "sparse-map-lie": entry("f", data=b"9999999999\n1\n", pax=[("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9223372036854775807")]),
    "sparse-0-1": entry("f", data=b"DATA", pax=[("GNU.sparse.map", b"1000,4"),
        ("GNU.sparse.size", b"2000")]),
    "unknown-type": entry("f", "Z", data=b"x"),
    "old-v7": header("f", "\0", size=1, magic=b"") + padded(b"x") + header("d/", "\0", magic=b""),
    "deep": entry("/".join("d" * 40), data=b"x"),
    "component-long": entry("x", pax=[("path", b"n" * 300)]),
    "many": b"".join(entry(f"f{i}") for i in range(40)),
    "duplicate-end": entry("a") + END + entry("b"),
}


def main():
    OUT.mkdir(exist_ok=True)
    for name, data in SEEDS.items():
        (OUT / f"{name}.tar").write_bytes(data + END)
    ordinary = SEEDS["ordinary"]
    (OUT / "cut-header.tar").write_bytes(ordinary[:700])
    (OUT / "cut-data.tar").write_bytes(entry("f", data=b"x" * 2000)[:1000])
    (OUT / "checksum.tar").write_bytes(ordinary + ordinary[:512].replace(b"ustar", b"vstar") + END)
    (OUT / "empty.tar").write_bytes(b"")
    (OUT / "zeros.tar").write_bytes(END)
    (OUT / "text.tar").write_bytes(b"this is no archive at all\n")


if __name__ == "__main__":
    main()
