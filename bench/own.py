# SPDX-License-Identifier: Apache-2.0
"""What the Space itself takes, whoever runs it: its RUN steps and the start of its app,
measured with neither Spaceport nor Docker.

The image's layers, as they are before the steps in question, are mounted as an overlay,
as they are in a container. In a chroot there, with the user and the environment that the
image asks for, the commands of the RUN steps run, and then the image's CMD until its port
answers. Both times begin when chroot is called. The network there has a loopback device and
nothing else."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import clock

SCRIPT = """
set -e
mount -t tmpfs none "$1/scratch"
mkdir "$1/scratch/upper" "$1/scratch/work"
cd "$2"
mount -t overlay none "$1/root" \
    -o "lowerdir=$3,upperdir=$1/scratch/upper,workdir=$1/scratch/work"
mount -t proc none "$1/root/proc"
mount --rbind /dev "$1/root/dev"
ip link set lo up
echo ready
set +e
while read -r command; do eval "$command"; echo "status $?"; done
"""


def user_ids(passwd, user):
    """"uid:gid" of a USER instruction, by the image's passwd file."""
    name, _, group = (user or "0").partition(":")
    for line in passwd.splitlines():
        fields = line.split(":")
        if name in (fields[0], fields[2]):
            return f"{fields[2]}:{group if group.isdigit() else fields[3]}"
    return f"{name}:{group or 0}"


class Own:
    """`before` is the image in front of the RUN steps `commands`, `after` the finished one;
    both are names known to docker."""

    def __init__(self, folder, docker, before, after, commands):
        self.folder = folder / "own"
        for place in (self.folder, self.folder / "root", self.folder / "scratch"):
            place.mkdir()
        self.layers = docker.layers(before)
        files = (Path(layer) / "etc/passwd" for layer in self.layers)
        self.passwd = next((file.read_text() for file in files if file.exists()), "")
        before, after = docker.config(before), docker.config(after)
        shell = before.get("Shell") or ["/bin/sh", "-c"]
        self.steps = [self.inside(before, [*shell, command]) for command in commands]
        words = [*(after["Entrypoint"] or []), *(after["Cmd"] or [])]
        self.app = self.inside(after, words) + f" >{self.folder}/log 2>&1 &"

    def inside(self, config, words):
        """A line for the script: runs `words` as a container of the image would."""
        place = config["WorkingDir"] or "/"
        return shlex.join(map(str, [
            "chroot", f"--userspec={user_ids(self.passwd, config['User'])}", self.folder / "root",
            "/usr/bin/env", "-i", "-C", place, *(config["Env"] or []), *words]))

    @contextlib.contextmanager
    def shell(self):
        # From their common folder, since a page is all that mount options may fill.
        top = os.path.commonpath(self.layers)
        lower = ":".join(os.path.relpath(layer, top) for layer in self.layers)
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c",
                   SCRIPT, "sh", self.folder, top, lower]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, start_new_session=True) as shell:
            try:
                self.expect(shell, "ready")
                yield shell
            finally:
                os.killpg(shell.pid, signal.SIGKILL)

    @staticmethod
    def expect(shell, wanted):
        """Reads the script's output up to the line `wanted`."""
        said = []
        for line in shell.stdout:
            said.append(line)
            if line.strip() == wanted:
                return
            if line.startswith("status "):
                break
        raise SystemExit("bench: a command of the Space failed:\n" + "".join(said)[-3000:])

    def run(self, shell, line):
        shell.stdin.write(line + "\n")
        shell.stdin.flush()
        self.expect(shell, "status 0")

    def measure(self, port, text):
        """(seconds of the RUN steps, seconds until the app answers with `text`)"""
        with self.shell() as shell:
            began = time.perf_counter()
            for step in self.steps:
                self.run(shell, step)
            ran = time.perf_counter()
            self.run(shell, self.app)
            try:
                with clock.network_of(shell.pid):
                    answered = clock.until_answer(port, text)
            except clock.NoAnswer as error:
                log = (self.folder / "log").read_text(errors="replace")
                raise SystemExit(f"bench: the app {error}\n{log[-3000:]}") from None
        return ran - began, answered - ran
