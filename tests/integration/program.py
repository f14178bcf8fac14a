# SPDX-License-Identifier: Apache-2.0
"""build/spaceport as the tests run it: as one account, with one store, for a limited time."""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import leaks

MARK = "SPACEPORT_TEST_MARK"
# What a company's or a laboratory's machine says about its network: passed on as it is.
PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT",
             "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
             "http_proxy", "https_proxy", "no_proxy",
             "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
STOP_SECONDS = 15
CLOCK_SECONDS = 2  # by which a file's times may be behind
# A step of a Dockerfile: no file below /image, a copy of busybox and more, has the text. All of
# busybox's names are one file, which is searched once.
NOT_IN_IMAGE = ('RUN ! find /image -type f "(" -links 1 -o -name sh ")" '
                '-exec grep -l "{text}" "{{}}" + | grep .\n')


@dataclass(frozen=True)
class Account:
    """Who runs the program: root, or an ordinary user."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name):
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, entry.pw_gid)

    @property
    def is_root(self):
        return self.uid == 0

    def owns(self, path):
        """Gives a file or a whole folder to this account."""
        if os.geteuid() == 0:
            for folder, folders, files in os.walk(path):
                for entry in [folder, *(os.path.join(folder, name) for name in folders + files)]:
                    os.lchown(entry, self.uid, self.gid)
            os.lchown(path, self.uid, self.gid)
        return path


@dataclass
class Result:
    """How a command ended. `out` is the result, `err` the story."""

    code: int
    out: str
    err: str

    def ok(self):
        assert self.code == 0, f"exit code {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        return self

    def failed(self, *codes, says=()):
        """The command failed with one of `codes`, and its story has each word of `says`."""
        story = f"stdout: {self.out}\nstderr: {self.err}"
        assert self.code in codes, f"exit code {self.code}, not one of {codes}\n{story}"
        missing = [word for word in says if word.lower() not in self.err.lower()]
        assert not missing, f"stderr does not say {missing}\n{story}"
        return self

    @property
    def image(self):
        """The image id that `build` printed, and nothing but that."""
        self.ok()
        line = self.out.removesuffix("\n")
        assert line.startswith("sha256:") and len(line) == 71 and "\n" not in line, self.out
        return line

    @property
    def json(self):
        return json.loads(self.ok().out)


class Process:
    """A running command whose output is collected as it comes."""

    def __init__(self, popen):
        self.popen = popen
        leaks.started.add(popen.pid)
        self.lines, self.story = [], []
        self.threads = [threading.Thread(target=self.collect, args=pair, daemon=True)
                        for pair in ((popen.stdout, self.lines), (popen.stderr, self.story))
                        if pair[0]]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def collect(stream, lines):
        for line in stream:
            lines.append(line)

    @property
    def out(self):
        return "".join(self.lines)

    @property
    def err(self):
        return "".join(self.story)

    def wait_for(self, condition, what, seconds=60):
        """Waits until condition() is true, which it must become while the process runs."""
        end = time.monotonic() + seconds
        while not condition():
            gone = self.popen.poll() is not None
            if gone and not condition():
                self.join()
                code = self.popen.returncode
                raise AssertionError(f"ended with {code} before {what}:\n{self.err}")
            if time.monotonic() > end:
                raise AssertionError(f"no {what} within {seconds} s:\n{self.out}\n{self.err}")
            time.sleep(0.02)

    def join(self):
        for thread in self.threads:
            thread.join(5)

    def signal(self, number):
        self.popen.send_signal(number)

    def kill_after(self, seconds):
        """Kills the program alone, not its group: its children must see to their own end."""
        time.sleep(seconds)
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def wait(self, seconds=STOP_SECONDS):
        """Waits for the end; a process that outlives its time is killed with its group."""
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            story = f"{self.out}\n{self.err}"
            raise AssertionError(f"still running after {seconds} s:\n{story}") from None
        self.join()
        return Result(self.popen.returncode, self.out, self.err)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.join()


@dataclass
class Space:
    """A Space that `spaceport run` has brought up."""

    url: str
    process: Process

    @property
    def log(self):
        return self.process.err


@dataclass
class Program:
    binary: Path
    account: Account
    folder: Path  # home, store and temporary files of this account
    config: Path
    mark: str

    def __post_init__(self):
        if self.folder.exists():  # pytest goes from account to account and back
            return
        for name in ("home", "tmp", "data"):
            (self.folder / name).mkdir(parents=True)
        self.account.owns(self.folder)

    @property
    def data(self):
        return self.folder / "data"

    def environment(self, more):
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env |= {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.folder / "home"),
                "TMPDIR": str(self.folder / "tmp"), "SPACEPORT_DATA": str(self.data),
                "SPACEPORT_CONFIG": str(self.config), MARK: self.mark}
        return env | (more or {})

    def command(self, args, prepare):
        """The command line. `prepare` is shell text that root runs first, in a mount
        namespace of its own: for tests of machines that lack something."""
        command = [str(self.binary), *map(str, args)]
        if not prepare:
            return command
        drop = f"setpriv --reuid {self.account.uid} --regid {self.account.gid} --clear-groups"
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                f'{prepare}\nexec {drop} "$@"', "sh", *command]

    def popen(self, args, cwd=None, env=None, prepare=None, **how):
        other = {}
        if not prepare and self.account.uid != os.geteuid():
            other = {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return subprocess.Popen(
            self.command(args, prepare), cwd=cwd or self.folder / "home",
            env=self.environment(env), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True, **how, **other)

    def start(self, *args, stdout=subprocess.PIPE, **how):
        return Process(self.popen(args, stdout=stdout, text=True, errors="surrogateescape", **how))

    def bytes(self, *args, timeout=300):
        """What a command that must succeed writes to its stdout, a pipe, as bytes."""
        popen = self.popen(args, stdout=subprocess.PIPE)
        leaks.started.add(popen.pid)
        out, err = popen.communicate(timeout=timeout)
        assert popen.returncode == 0, err.decode(errors="replace")
        return out

    def __call__(self, *args, timeout=300, **how):
        return self.start(*args, **how).wait(timeout)

    def build(self, space, *args, **how):
        return self("build", *args, space, **how)

    @contextlib.contextmanager
    def space(self, *args, timeout=300, **how):
        """`spaceport run` with these arguments, up and answering; stopped at the end."""
        process = self.start("run", *args, **how)
        try:
            process.wait_for(lambda: "\n" in process.out, "URL on stdout", timeout)
            yield Space(process.out.splitlines()[0], process)
            process.signal(signal.SIGINT)
            process.wait().ok()
        finally:
            process.kill()

    def store_files(self):
        """Every regular file of the store and of the temporary folder."""
        for top in (self.data, self.folder / "tmp", self.folder / "home"):
            for folder, _, files in os.walk(top):
                for name in files:
                    path = Path(folder, name)
                    if not path.is_symlink() and path.is_file():
                        yield path

    def places_of(self, secret):
        """The files of the store that hold `secret`, in their contents or their name. Those that
        have not changed since the test began, base images and what others built, are not read."""
        needle, since = secret.encode(), leaks.began - CLOCK_SECONDS
        return [path for path in self.store_files()
                if secret in str(path) or (path.stat().st_ctime >= since and holds(path, needle))]


def find(value, key):
    """The first value of `key` anywhere in a JSON value."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            found = find(item, key)
            if found is not None:
                return found
    return None


def is_sanitized(binary):
    return b"__asan_init" in Path(binary).read_bytes()


def holds(path, needle):
    """Whether a file's bytes have `needle`, read in pieces that overlap."""
    with open(path, "rb") as file:
        tail = b""
        while piece := file.read(1 << 20):
            if needle in tail + piece:
                return True
            tail = piece[-len(needle):]
    return False
