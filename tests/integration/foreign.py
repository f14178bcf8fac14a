# SPDX-License-Identifier: Apache-2.0
"""Docker and podman of the tests' own, and an image that has one of everything, with a program
that tells what it sees."""

import contextlib
import os
import subprocess
from pathlib import Path

import exported
import oci

DOCKER = "/usr/bin/docker"
PROBE = Path(__file__).parents[1] / "engine/probe.c"
SPARSE_BYTES = 8 << 20
# vfs_cap_data, version 2: cap_net_bind_service, permitted and effective.
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
ATTRIBUTE = b"\0\xff=value"
LONG = "n" * 255

DOCKERFILE = """FROM foreign-base:1
COPY --from=busybox:latest /bin /bin
COPY probe make.sh /bin/
RUN mkdir -p /tree/gone/deep /tree/opaque/old /tree/kept && cd /tree && \\
 touch gone/deep/file gone-file kept/gone kept/stays opaque/old/file
RUN cd /tree && rm -r gone gone-file kept/gone opaque && mkdir opaque && echo new > opaque/new
RUN sh -eu /bin/make.sh
ENV SIMPLE=1 QUOTED="a  b=c '$HOME' ü" EMPTY=
LABEL org.example.one="1" two="a \\"b\\" ü"
HEALTHCHECK --interval=7s --timeout=3s --start-period=2s --retries=4 CMD ["true", "or false"]
EXPOSE 7860/tcp
STOPSIGNAL SIGUSR1
WORKDIR /tree/kept
USER 1000:1001
ENTRYPOINT ["/bin/probe"]
CMD ["one", "two words"]
"""

MAKE = f"""cd /tree
printf content > file
ln file kept/hard
ln -s ../bin/probe soft
ln -s /no/where dangling
touch attributes
probe --set attributes user.spaceport {ATTRIBUTE.hex()}
printf capable > capable
chmod 755 capable
probe --set capable security.capability {CAPABILITY.hex()}
printf owned > owned
chown 1234:5678 owned
printf setuid > setuid
chmod 4755 setuid
mkdir shared
chmod 3777 shared
mkfifo -m 600 fifo
printf end | dd of=sparse bs=1 seek={SPARSE_BYTES - 3}
printf long > {LONG}
printf odd > 'ünï
'
touch -d @1000000000 file
"""


def row(mode, content=b"", owner=(0, 0), target="", **attributes):
    """An entry as Seen has it; `attributes` have _ for the dot in their names."""
    return (mode, *owner, target, content, {name.replace("_", "."): value
                                            for name, value in attributes.items()})


TREE = {
    "": row(0o40755),
    "/kept": row(0o40755),
    "/kept/hard": row(0o100644, b"content"),
    "/kept/stays": row(0o100644),
    "/opaque": row(0o40755),
    "/opaque/new": row(0o100644, b"new\n"),
    "/shared": row(0o43777),
    "/attributes": row(0o100644, user_spaceport=ATTRIBUTE),
    "/capable": row(0o100755, b"capable", security_capability=CAPABILITY),
    "/hidden": row(0o40755),
    "/hidden/new": row(0o100644, b"new"),
    "/dangling": row(0o120777, target="/no/where"),
    "/fifo": row(0o10600),
    "/file": row(0o100644, b"content"),
    f"/{LONG}": row(0o100644, b"long"),
    "/owned": row(0o100644, b"owned", owner=(1234, 5678)),
    "/setuid": row(0o104755, b"setuid"),
    "/soft": row(0o120777, target="../bin/probe"),
    "/sparse": row(0o100644, bytes(SPARSE_BYTES - 3) + b"end"),
    "/ünï\n": row(0o100644, b"odd"),
}


ENV = {"SIMPLE": "1", "QUOTED": "a  b=c '' ü", "EMPTY": ""}
LABELS = {"org.example.one": "1", "two": 'a "b" ü'}
HEALTHCHECK = {"Test": ["CMD", "true", "or false"], "Interval": 7_000_000_000,
               "Timeout": 3_000_000_000, "StartPeriod": 2_000_000_000, "Retries": 4}


class Seen:
    """What probe.c prints, read."""

    def __init__(self, text):
        self.args, self.env, self.tree, self.inodes, self.times = [], {}, {}, {}, {}
        for line in text.splitlines():
            key, *words = line.split(" ")
            getattr(self, f"read_{key}")(*(bytes.fromhex(word[1:]) if word[0] == "x" else word
                                           for word in words))

    def read_arg(self, arg):
        self.args.append(arg.decode())

    def read_env(self, entry):
        name, _, value = entry.decode().partition("=")
        self.env[name] = value

    def read_cwd(self, cwd):
        self.cwd = cwd.decode()

    def read_ids(self, uid, gid):
        self.ids = (int(uid), int(gid))

    def read_entry(self, path, mode, uid, gid, inode, time, target, zeros, rest, *attributes):
        name = path.decode().removeprefix("/tree")
        self.inodes[name], self.times[name] = inode, int(time)
        self.tree[name] = (
            int(mode, 8), int(uid), int(gid), target.decode(), bytes(int(zeros)) + rest,
            {key.decode(): value for key, value in zip(*[iter(attributes)] * 2, strict=True)})


def check_seen(text):
    """The program inside has seen what the Dockerfile says."""
    seen = Seen(text)
    assert seen.args == ["one", "two words"]
    assert seen.ids == (1000, 1001) and seen.cwd == "/tree/kept"
    assert {name: seen.env.get(name) for name in ENV} == ENV
    assert "/bin" in seen.env["PATH"].split(":")
    assert seen.tree == TREE
    assert seen.inodes["/file"] == seen.inodes["/kept/hard"]
    assert len(set(seen.inodes.values())) == len(TREE) - 1
    assert seen.times["/file"] == 1_000_000_000


def check_config(config):
    """A configuration as `docker image inspect` shows it."""
    assert config["User"] == "1000:1001" and config["WorkingDir"] == "/tree/kept"
    assert config["Entrypoint"] == ["/bin/probe"]
    assert config["Cmd"] == ["one", "two words"]
    assert {f"{name}={value}" for name, value in ENV.items()} <= set(config["Env"])
    assert config["Labels"] == LABELS
    assert list(config["ExposedPorts"]) == ["7860/tcp"] and config["StopSignal"] == "SIGUSR1"


def make_base(folder):
    """A layout with the base image: a layer, and one that hides a directory of it whole."""
    layout, layers = oci.Layout(folder), []
    for name in ("old", "new"):
        layer = oci.LayerTar()
        layer.dir("tree")
        layer.dir("tree/hidden")
        if layers:
            layer.opaque("tree/hidden")
        layer.add(f"tree/hidden/{name}", data=name.encode())
        layers.append(layout.layer(layer.done()))
    layout.tag("docker.io/library/foreign-base:1", layout.image(
        exported.ARCH, layers, {"Env": ["PATH=/bin"]}))
    layout.save()
    return folder


def make_context(folder):
    """The build context of the image."""
    folder.mkdir()
    subprocess.run(["cc", "-std=gnu17", "-static", "-O1", "-o", folder / "probe", PROBE],
                   check=True)
    for name, text in (("Dockerfile", DOCKERFILE), ("make.sh", MAKE),
                       ("README.md", "---\nsdk: docker\n---\n")):
        (folder / name).write_text(text)
    return folder


class Client:
    """A program's command line: self.env, and command(ARGUMENT…)."""

    def ask(self, *args):
        return subprocess.run(list(map(str, self.command(*args))), capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL, env=self.env, timeout=120)

    def __call__(self, *args):
        """What a command that must succeed prints."""
        done = self.ask(*args)
        assert done.returncode == 0, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refuses(self, *args, says):
        done = self.ask(*args)
        assert done.returncode != 0 and says in done.stderr, f"{done.stdout}{done.stderr}"


class Docker(Client):
    """The client of an engine."""

    def __init__(self, engine):
        config = engine.folder / "config"
        config.mkdir()
        self.env = {"PATH": os.environ["PATH"], "HOME": str(config), "DOCKER_CONFIG": str(config),
                    "DOCKER_HOST": f"unix://{engine.socket}", "LANG": "C.UTF-8"}

        self.version = int(self("version", "--format", "{{.Server.Version}}").partition(".")[0])

    @staticmethod
    def command(*args):
        return [DOCKER, *args]

    def run(self, image, *args):
        return self("run", "--rm", "--network", "none", image, *args)


class Podman(Client):
    """podman with all its data in one folder. Each command has its own mount namespace, where
    empty file systems cover the places that podman writes to wherever its data is, and where
    a hybrid of both versions of control groups looks like version 2: crun takes no hybrid."""

    PREPARE = """for place in /run /dev/shm /var/lib; do mount -t tmpfs none $place; done
    if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi
    exec "$@"
    """

    def __init__(self, folder, mark):
        self.folder = folder
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True)
        config = folder / "containers.conf"
        # podman would raise limits, which not every root may.
        config.write_text('[containers]\n'
                          'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
                          '[engine]\nlock_type = "file"\nevents_logger = "none"\n'
                          'cgroup_manager = "cgroupfs"\nruntime = "crun"\n')
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "LANG": "C.UTF-8",
                    "TMPDIR": str(folder / "tmp"), "CONTAINERS_CONF": str(config), **mark}

    def command(self, *args):
        own = ["--root", self.folder / "root", "--runroot", "/run/root", "--tmpdir", "/run/tmp",
               "--storage-driver", "overlay"]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", self.PREPARE,
                "sh", "podman", *own, *args]

    def run(self, image, *args):
        return self("run", "--rm", "--cgroups=disabled", "--network=none", image, *args)


@contextlib.contextmanager
def watched(watch):
    """Nothing may be left of what is done meanwhile."""
    yield
    left = watch.leaks()
    assert not left, "left behind:\n" + "\n".join(left)
