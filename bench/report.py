# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them, and the table."""

import os
import platform
import statistics
from pathlib import Path


def seconds(value):
    return f"{value * 1000:.1f} ms" if abs(value) < 0.1 else \
        f"{value * 1000:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"


def megabytes(value):
    return f"{value / 1e6:.1f} MB"


def spread(values, unit=seconds):
    """Median, least and greatest."""
    if len(values) == 1:
        return unit(values[0])
    return f"{unit(statistics.median(values))} ({unit(min(values))} – {unit(max(values))})"


class Target:
    """A limit that a row is held to: `test` of (Spaceport's median, Docker's median)."""

    def __init__(self, text, test):
        self.text, self.test = text, test

    def verdict(self, ours, theirs):
        return f"{self.text}: {'met' if self.test(ours, theirs) else 'MISSED'}"


class Table:
    HEAD = ("", "runs", "Spaceport", "Docker", "ratio", "target")

    def __init__(self):
        self.rows, self.numbers = [], {}

    def add(self, name, ours, theirs, targets=(), unit=seconds):
        """A row of two lists of numbers."""
        self.numbers[name] = {"spaceport": ours, "docker": theirs}
        middle = statistics.median(ours), statistics.median(theirs)
        ratio = f"{middle[1] / middle[0]:.1f} ×" if middle[0] > 0 else "–"
        self.rows.append((name, str(len(ours)), spread(ours, unit), spread(theirs, unit), ratio,
                          "; ".join(target.verdict(*middle) for target in targets)))

    def add_shared(self, name, values):
        """A row of what is the same for both."""
        self.numbers[name] = values
        both = spread(values)
        self.rows.append((name, str(len(values)), both, both, "", ""))

    def __str__(self):
        rows = [self.HEAD, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.HEAD))]
        padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
                  for row in rows)
        lines = ["  ".join(row).rstrip() for row in padded]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def file_system(path):
    """The type of the file system that `path` is on."""
    best = ("", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if Path(path).is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def machine(work):
    memory = int(Path("/proc/meminfo").read_text().split()[1]) >> 20
    return f"{len(os.sched_getaffinity(0))} cores ({processor()}), {memory} GiB, " \
           f"Linux {platform.release()}, {file_system(work)}, " \
           f"load {os.getloadavg()[0]:.1f} at the start"
