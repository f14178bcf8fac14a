# SPDX-License-Identifier: Apache-2.0
"""Times of commands and of answers, in seconds."""

import contextlib
import ctypes
import os
import signal
import socket
import time

POLL_SECONDS = 0.003
ANSWER_SECONDS = 180


class NoAnswer(Exception):
    pass


class Running:
    """A command in a process group of its own, its output in files."""

    def __init__(self, command, env, folder):
        self.command, self.folder = [str(word) for word in command], folder
        self.status = None
        files = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        for number, name in ((1, "stdout"), (2, "stderr")):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            files.append((os.POSIX_SPAWN_OPEN, number, str(folder / name), flags, 0o600))
        self.started = time.perf_counter()
        self.pid = os.posix_spawnp(self.command[0], self.command, env, file_actions=files,
                                   setpgroup=0)

    def out(self):
        return (self.folder / "stdout").read_text()

    def story(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def wait(self):
        """Waits for the end; returns the time that the command took."""
        try:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except BaseException:
            self.kill()
            raise
        seconds = time.perf_counter() - self.started
        if self.status != 0:
            self.fail(f"exited with {self.status}")
        return seconds

    def fail(self, what):
        raise SystemExit(f"bench: {' '.join(self.command)} {what}:\n{self.story()[-4000:]}")

    def interrupt(self):
        os.kill(self.pid, signal.SIGINT)
        self.wait()

    def kill(self):
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.status = -signal.SIGKILL


LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def network_of(pid):
    """Sockets made in this context are in the network namespace of a process."""
    with open("/proc/self/ns/net") as ours, open(f"/proc/{pid}/ns/net") as theirs:
        if LIBC.setns(theirs.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            LIBC.setns(ours.fileno(), 0)


def fetch(port):
    """The answer of port to `GET /`, or b"" where there is none yet."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as link:
            link.sendall(request)
            while piece := link.recv(1 << 16):
                answer += piece
    except OSError:
        pass
    return answer


def until_answer(port, text, is_over=lambda: False):
    """Waits until `GET /` answers with `text`; returns the moment. is_over() tells that
    there is nothing more to wait for."""
    end = time.monotonic() + ANSWER_SECONDS
    while text.encode() not in (answer := fetch(port)):
        if is_over() or time.monotonic() > end:
            shown = answer[-300:].decode(errors="replace")
            raise NoAnswer(f"did not answer on port {port} with “{text}”; last answer: {shown}")
        time.sleep(POLL_SECONDS)
    return time.perf_counter()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
