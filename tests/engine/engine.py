# SPDX-License-Identifier: Apache-2.0
"""A Docker engine of the bench's or a test's own: the machine's dockerd below one folder, gone
without a trace at the end. The bench's containers are on a bridge, as with any Docker; where
iptables does not work they use the host's network."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import processes

BRIDGE, BRIDGE_ADDRESS = "spaceportbench0", "172.31.253.1/24"
START_SECONDS, STOP_SECONDS = 60, 60
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


class Firewall:
    """What iptables says now, to be made so again."""

    TABLES = ("filter", "nat")

    def __init__(self):
        self.before = {table: self.rules(table) for table in self.TABLES}

    @staticmethod
    def rules(table):
        return run("iptables", "-w", "-t", table, "-S").splitlines()

    @staticmethod
    def change(table, *rule):
        run("iptables", "-w", "-t", table, *rule, check=False)

    def restore(self, is_ours):
        """Takes back the rules and chains that are new and is_ours(rule)."""
        for table in self.TABLES:
            new = [rule.split() for rule in self.rules(table)
                   if rule not in self.before[table] and is_ours(rule)]
            chains = [rule[1] for rule in new if rule[0] == "-N"]
            for rule in new:
                if rule[0] == "-A" and rule[1] not in chains:
                    self.change(table, "-D", *rule[1:])
            for flag in ("-F", "-X"):
                for name in chains:
                    self.change(table, flag, name)
            for rule in self.before[table]:
                if rule.startswith("-P"):
                    self.change(table, *rule.split())


class Network:
    """A bridge for the engine, and what it needs of the host's firewall. Where another
    engine runs, dockerd is kept from the chains that both would use."""

    def __init__(self):
        self.firewall, self.forwarding = Firewall(), FORWARDING.read_text()
        self.is_alone = not processes.named("dockerd")
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", BRIDGE_ADDRESS, "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        if not self.is_alone:
            FORWARDING.write_text("1")
            self.firewall.change("nat", "-A", "POSTROUTING", "-s", BRIDGE_ADDRESS, "!", "-o",
                                 BRIDGE, "-j", "MASQUERADE")
            for flag in ("-i", "-o"):
                self.firewall.change("filter", "-I", "FORWARD", flag, BRIDGE, "-j", "ACCEPT")

    @staticmethod
    def mtu():
        """That of the interface with the default route; a bridge's own may be too large."""
        routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
        name = next((route[0] for route in routes if route[1] == "00000000"), "lo")
        return Path(f"/sys/class/net/{name}/mtu").read_text().strip()

    def arguments(self):
        alone = [] if self.is_alone else ["--iptables=false"]
        return ["--bridge", BRIDGE, "--mtu", self.mtu(), *alone]

    def remove(self):
        self.firewall.restore(lambda rule: self.is_alone or BRIDGE in rule)
        run("ip", "link", "del", BRIDGE, check=False)
        if self.is_alone:
            FORWARDING.write_text(self.forwarding)

    def __str__(self):
        return "bridge" if self.is_alone else "bridge (beside another engine: no rules of dockerd)"


def firewall_works():
    return shutil.which("iptables") and subprocess.run(
        ["iptables", "-w", "-t", "nat", "-S"], capture_output=True, check=False).returncode == 0


def traces():
    """Empty folders that dockerd leaves: its cgroups, and one for sockets of plugins."""
    cgroups = Path("/sys/fs/cgroup")
    return {place for place in (*cgroups.glob("docker"), *cgroups.glob("*/docker"),
                                Path("/run/docker")) if place.exists()}


class Failed(Exception):
    """dockerd did not come up; the text has the end of its log."""


class Engine:
    def __init__(self, folder, mark, is_bridged=True):
        """Below `folder`; `mark` is a variable, {name: value}, that tells its processes."""
        self.folder, self.mark, self.is_bridged = folder / "docker", mark, is_bridged
        self.socket = self.folder / "sock"
        self.network = self.process = None
        self.traces = traces()

    def __enter__(self):
        self.folder.mkdir()
        (self.folder / "daemon.json").write_text(json.dumps(
            {"deprecated-key-path": str(self.folder / "key.json"), "log-level": "warn"}))
        try:
            if self.is_bridged and firewall_works():
                self.network = Network()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        if self.network:
            self.network.remove()
        for top in traces() - self.traces:
            for place, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):  # in use again
                    os.rmdir(place)

    def arguments(self):
        own = self.network.arguments() if self.network else ["--bridge=none", "--iptables=false"]
        # Its mounts are its own: they would get into every namespace that is made meanwhile.
        return ["unshare", "--mount", "--propagation", "slave", "dockerd",
                "--config-file", self.folder / "daemon.json", "--data-root", self.folder / "data",
                "--exec-root", self.folder / "exec", "--host", f"unix://{self.socket}",
                "--pidfile", self.folder / "pid", *own]

    def start(self):
        env = dict(os.environ, **self.mark)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env, start_new_session=True)
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"dockerd did not come up:\n{self.log()}")
            time.sleep(0.05)

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(self.socket))
                link.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b"200" in link.recv(64)
        except OSError:
            return False

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        processes.kill_all(processes.marked(self.mark))
        unmount_below(self.folder)
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)

    def reset(self):
        """An engine with an empty store."""
        self.stop()
        self.start()


def unmount_below(folder):
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted(mounts, reverse=True):
        if place.startswith(f"{folder}/"):
            run("umount", "-l", place, check=False)
