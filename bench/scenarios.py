# SPDX-License-Identifier: Apache-2.0
"""What is measured.

nothing  a build with nothing changed: the command from its start to its end
edit     app.py is changed; from there until the port answers with the new content. Docker:
         `docker build` and `docker run`; Spaceport: `spaceport run`. Nothing runs before.
         The overhead is that time less what the Space itself takes (own.py): the medians of
         its RUN steps behind the last COPY and of its app's start, measured in the same
         rounds with neither of the two, and the same for both.
package  one more small package in pyproject.toml and uv.lock: the build. As the Dockerfile
         is, and with a cache mount for uv's downloads. Each round adds another package to
         the lock file as it was, so no build has been seen before.
wheel    the same with a lock that holds a large wheel (a stand-in for torch: --wheel-megabytes,
         --wheel-files), all wheels being in the base image: as the Dockerfile is, and with a
         cache mount. Both have built the lock without the small package before.
memory   resident memory while the Space runs, without the processes of the container: of
         `spaceport run` and of the tools it started (pasta); of dockerd with all it started
context  a build context of 100,000 files, of which nothing changed: the build
export   an image with one layer of 1.5 GB in 15,000 files, incompressible, to an archive on
         disk: `docker save` and `spaceport image export`. Neither compresses. The first time:
         nothing of the layer's archive is known before; and once more
cold     the store is empty: pull and build. The network has been used before.
"""

import os
import shutil
import statistics
import sys
import time

import large
import report
from own import Own
from report import Table, Target
from sides import TAG, Docker, Spaceport
from space import Space
from wheels import BASE, MOUNT, Wheels

SETTLE_SECONDS = 3

NOTHING = (Target("≤ 10 ms", lambda ours, theirs: ours <= 0.010),
           Target("≥ 20 ×", lambda ours, theirs: theirs >= 20 * ours))
OVERHEAD = (Target("≥ 10 ×", lambda ours, theirs: theirs >= 10 * ours),)
WHEEL = (Target("≥ 10 ×", lambda ours, theirs: theirs >= 10 * ours),)
COLD = (Target("≤ 0.8 of Docker's", lambda ours, theirs: ours <= 0.8 * theirs),)
CONTEXT = (Target("≤ 0.3 s", lambda ours, theirs: ours <= 0.3),)
EXPORT = (Target("≥ 3 ×", lambda ours, theirs: theirs >= 3 * ours),)
RESIDENT = (Target("< 15 MB", lambda ours, theirs: ours < 15e6),)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, chosen, folder, registry, engine, mark):
        self.chosen, self.folder, self.registry = chosen, folder, registry
        self.space = Space(chosen.space, registry, folder)
        self.docker = Docker(folder, engine)
        self.spaceport = Spaceport(folder, mark, chosen.spaceport)
        self.table, self.remarks = Table(), []

    def run(self):
        for side in (self.docker, self.spaceport):
            say(f"first build with {side.name}: {report.seconds(side.build(self.space))}")
        for name in self.chosen.only:
            SCENARIOS[name](self)

    def rounds(self, what, count, measure, each=lambda: None):
        """([Spaceport's], [Docker's]) of measure(side, round), in turn and in changing order;
        each() goes before every round."""
        found = {self.spaceport: [], self.docker: []}
        for i in range(count):
            each()
            for side in list(found)[::-1 if i % 2 else 1]:
                os.sync()
                found[side].append(measure(side, i))
            last = ", ".join(f"{side.name} {report.seconds(found[side][-1])}" for side in found)
            say(f"{what} {i + 1}/{count}: {last}")
        return found[self.spaceport], found[self.docker]

    def nothing(self):
        times = self.rounds("nothing changed", self.chosen.runs,
                            lambda side, i: side.build(self.space))
        self.table.add("nothing changed: build", *times, NOTHING)

    # ---- edit ----

    def own(self):
        commands, before = self.space.after_edit()
        file, tag = self.folder / "Dockerfile.before", "spaceport-bench:before"
        file.write_text(before)
        self.docker.ask(*self.docker.build_command(tag, f"--file={file}", self.space.folder)[1:])
        own = Own(self.folder, self.docker, tag, TAG, commands)
        own.measure(self.space.port, self.chosen.text)
        return own

    def edit(self):
        own, text, taken = self.own(), self.chosen.text, []

        def measure(side, i):
            new = f"{text} {side.name}{i}"
            self.space.edit(text, new)
            with side.serve(self.space, new) as seconds:
                return seconds

        times = self.rounds("edit", self.chosen.runs, measure,
                            lambda: taken.append(own.measure(self.space.port, text)))
        self.space.restore()
        self.add_edit(times, *zip(*taken, strict=True))

    def add_edit(self, times, ran, started):
        own = statistics.median(ran) + statistics.median(started)
        self.table.add("app.py edited → answers: in all", *times)
        self.table.add_shared("  of it the RUN steps' own", ran)
        self.table.add_shared("  of it the app's own start", started)
        self.table.add("  the rest: overhead",
                       *([value - own for value in side] for side in times), OVERHEAD)

    # ---- package ----

    def package(self):
        locks = self.space.locks(self.chosen.runs, self.chosen.uv, self.folder)
        if not locks:
            self.remarks.append("No package added: the Space has no uv.lock.")
            return
        self.packages("one package added: build", locks)
        mounted = self.space.with_cache_mount()
        if not mounted:
            self.remarks.append("No row with a cache mount: no `RUN uv sync` to give one to.")
            return
        self.space.write("Dockerfile", mounted)
        for side in (self.docker, self.spaceport):
            side.build(self.space)
        self.packages("… with a cache mount", locks)
        self.space.restore()

    def packages(self, name, locks):
        before = {file: self.space.read(file) for file in locks[0]}

        def measure(side, i):
            self.space.write_all(locks[i])
            seconds = side.build(self.space)
            self.space.write_all(before)
            return seconds

        self.table.add(name, *self.rounds(name, len(locks), measure))

    # ---- memory ----

    def memory(self):
        held = {}
        for side in (self.spaceport, self.docker):
            with side.serve(self.space, self.chosen.text):
                time.sleep(SETTLE_SECONDS)
                held[side] = side.memory()
            parts = ", ".join(f"{part.name} {report.megabytes(part.rss)}" for part in held[side])
            self.remarks.append(f"Resident with {side.name}: {parts}.")
        ours, theirs = held[self.spaceport], held[self.docker]
        itself = [part for part in ours if part.name == self.spaceport.program.name]
        for name, processes, kind, targets in (
                ("resident: spaceport run itself", itself, "rss", RESIDENT),
                ("resident: with its tools", ours, "rss", ()),
                ("  shared pages divided (PSS)", ours, "pss", ())):
            both = ([sum(getattr(part, kind) for part in side)] for side in (processes, theirs))
            self.table.add(name, *both, targets, report.megabytes)

    # ---- large ----

    def context(self):
        space = large.many_files(self.folder / "context")
        for side in (self.docker, self.spaceport):
            say(f"first build of 100,000 files with {side.name}: "
                f"{report.seconds(side.build(space))}")
        times = self.rounds("100,000 files", self.chosen.runs, lambda side, i: side.build(space))
        self.table.add("100,000 files, nothing changed: build", *times, CONTEXT)

    def export(self):
        first, again = [], []
        for i in range(self.chosen.cold_runs):
            space = large.big_layer(self.folder / f"layer-{i}")
            for side in (self.docker, self.spaceport):
                side.build(space)
            shutil.rmtree(space.folder)
            first.append([times[0] for times in self.rounds(
                "export", 1, lambda side, _: side.export())])
            again.append([times[0] for times in self.rounds(
                "export again", 1, lambda side, _: side.export())])
        self.table.add("export of a 1.5 GB layer", *zip(*first, strict=True), EXPORT)
        self.table.add("… once more", *zip(*again, strict=True))

    # ---- wheel ----

    def wheel(self):
        chosen, count = self.chosen, self.chosen.wheel_runs
        say(f"making a wheel of {chosen.wheel_megabytes} MB")
        wheels = Wheels(self.folder, self.registry, chosen.wheel_megabytes, chosen.wheel_files,
                        2 * count)
        for side in (self.docker, self.spaceport):
            side.build_base(BASE, wheels.house)
        for name, mount, new in (("one package beside a large wheel: build", "",
                                  wheels.names[:count]),
                                 ("… with a cache mount", MOUNT, wheels.names[count:])):
            self.add_wheel(name, wheels, mount, new)

    def add_wheel(self, name, wheels, mount, new):
        wheels.use(mount)
        wheels.lock([])
        for side in (self.docker, self.spaceport):
            side.build(wheels)

        def measure(side, i):
            wheels.lock([new[i]])
            return side.build(wheels)

        self.table.add(name, *self.rounds(name, len(new), measure), WHEEL)

    # ---- cold ----

    def cold(self):
        def measure(side, _):
            side.reset()
            os.sync()
            return side.build(self.space)

        times = self.rounds("cold", self.chosen.cold_runs, measure)
        self.table.add("cold: pull and build", *times, COLD)

    def notes(self):
        return "\n".join(["Median (least – greatest); ratio: Docker's median by Spaceport's.",
                          *self.remarks])


SCENARIOS = {"nothing": Bench.nothing, "edit": Bench.edit, "package": Bench.package,
             "wheel": Bench.wheel, "memory": Bench.memory, "context": Bench.context,
             "export": Bench.export,
             "cold": Bench.cold}
