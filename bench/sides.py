# SPDX-License-Identifier: Apache-2.0
"""The two that are compared, behind one interface:

    build(space)          seconds of a build
    export()              seconds of writing the image built last to an archive on disk
    serve(space, text)    builds and starts: seconds until the port answers with `text`;
                          use it as a context, it stops at the end
    memory()              of its own processes, while a Space runs
    reset()               empties its store
    version()
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import clock
import processes

TAG = "spaceport-bench:latest"
# Debian's own client; a newer one in /usr/local would ask for a buildx plugin.
DOCKER = "/usr/bin/docker"
# What a machine behind a proxy says about its network.
PROXIES = [name for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
                             "no_proxy") if name in os.environ]
PASSED_ON = ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", *PROXIES]


def environment(**more):
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | more


class Side:
    def __init__(self, folder, mark):
        self.mark, self.folder = mark, folder / f"{self.name}-output"
        self.folder.mkdir()
        self.archive = folder / f"{self.name}.tar"

    def timed(self, *command):
        self.last = clock.Running(command, self.env, self.folder)
        return self.last.wait()

    def memory(self):
        return processes.own_memory(self.mark)


class Docker(Side):
    """docker build under BuildKit, docker run."""

    name = "Docker"

    def __init__(self, folder, engine):
        super().__init__(folder, engine.mark)
        self.engine = engine
        config = folder / "docker-config"
        config.mkdir()
        self.env = environment(HOME=str(folder), DOCKER_BUILDKIT="1", DOCKER_CONFIG=str(config),
                               DOCKER_HOST=f"unix://{engine.socket}")

    def ask(self, *command):
        """A command that is not measured; returns what it prints."""
        self.timed(DOCKER, *command)
        return self.last.out().strip()

    def build_command(self, tag, *more):
        network = [] if self.engine.network else ["--network=host"]
        proxies = [f"--build-arg={name}" for name in PROXIES]
        return [DOCKER, "build", "--progress=plain", f"--tag={tag}", *network, *proxies, *more]

    def build(self, space):
        return self.timed(*self.build_command(TAG, space.folder))

    def export(self):
        return self.timed(DOCKER, "save", f"--output={self.archive}", TAG)

    def build_base(self, tag, folder):
        self.timed(*self.build_command(tag, folder))

    @contextlib.contextmanager
    def serve(self, space, text):
        # On the host's network the app has its port, and nothing passes it on.
        bridged = self.engine.network is not None
        port = clock.free_port() if bridged else space.port
        ports = [f"--publish=127.0.0.1:{port}:{space.port}"] if bridged else ["--network=host"]
        started = time.perf_counter()
        self.build(space)
        self.timed(DOCKER, "run", "--detach", "--rm", *ports, TAG)
        container = self.last.out().strip()
        try:
            yield clock.until_answer(port, text) - started
        except clock.NoAnswer as error:
            self.last.fail(f"{error}\n{self.ask('logs', container)}")
        finally:
            self.ask("rm", "--force", container)

    def config(self, tag):
        return json.loads(self.ask("image", "inspect", tag))[0]["Config"]

    def layers(self, tag):
        """The folders of an image's layers, the uppermost first."""
        data = json.loads(self.ask("image", "inspect", tag))[0]["GraphDriver"]["Data"]
        return [data["UpperDir"], *data.get("LowerDir", "").split(":")]

    def reset(self):
        self.engine.reset()

    def version(self):
        server = json.loads(self.ask("version", "--format={{json .Server}}"))
        parts = {part["Name"]: part["Version"] for part in server["Components"]}
        return f"{server['Version']} (BuildKit; containerd {parts['containerd']}, " \
               f"runc {parts['runc']})"


class Spaceport(Side):
    """spaceport build, spaceport run."""

    name = "Spaceport"

    def __init__(self, folder, mark, program):
        super().__init__(folder, mark)
        self.program, self.data = program, folder / "spaceport-data"
        config = folder / "spaceport.yaml"
        config.write_text("network: pasta\n")
        self.env = environment(HOME=str(folder), SPACEPORT_DATA=str(self.data),
                               SPACEPORT_CONFIG=str(config), **mark)

    def build(self, space):
        return self.timed(self.program, "build", "--progress=plain", f"--tag={TAG}", space.folder)

    def export(self):
        return self.timed(self.program, "image", "export", f"--output={self.archive}", TAG)

    def build_base(self, tag, folder):
        self.timed(self.program, "build", "--progress=plain", f"--tag={tag}", folder)

    @contextlib.contextmanager
    def serve(self, space, text):
        port = clock.free_port()
        self.last = clock.Running([self.program, "run", "--progress=plain", f"--port={port}",
                                   space.folder], self.env, self.folder)
        try:
            yield clock.until_answer(port, text, self.last.ended) - self.last.started
            self.last.interrupt()
        except clock.NoAnswer as error:
            self.last.fail(error)
        finally:
            self.last.kill()

    def reset(self):
        shutil.rmtree(self.data, ignore_errors=True)

    def version(self):
        own = subprocess.run([self.program, "--version"], env=self.env, check=True,
                             stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        crun = subprocess.run(["crun", "--version"], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.split()[2]
        return f"{own} ({Path(self.program).stat().st_size >> 10} KiB; crun {crun})"
