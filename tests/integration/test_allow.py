# SPDX-License-Identifier: Apache-2.0
"""What steps get only when it is allowed: the host's network, and all rights of the box."""

import http.server
import threading
import uuid

import pytest

HOST = "FROM busybox:latest\nARG ONCE\nRUN --network=host {}\n"
INSECURE = "FROM busybox:latest\nARG ONCE\nRUN --security=insecure {}\n"


@pytest.fixture
def loopback():
    """A server that only the host's own loopback leads to."""
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from the host\n")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def build(spaceport, make_space):
    def run(text, *args, **how):
        space = make_space(text)
        return spaceport.build(space, "--build-arg", f"ONCE={uuid.uuid4().hex}", *args, **how)
    return run


@pytest.mark.parametrize("text, name", [(HOST, "network.host"), (INSECURE, "security.insecure")])
def test_not_without_being_allowed(build, text, name):
    other = "network.host" if name != "network.host" else "security.insecure"
    for args in ((), ("--allow", other)):
        build(text.format("true"), *args).failed(
            1, says=["Dockerfile:3", f"{name} is not allowed", f"--allow {name}"])
    # Only what is built is asked.
    build(text.format("true") + "FROM busybox:latest\n").ok()


def test_an_unknown_name(build):
    build("FROM scratch\n", "--allow", "network.hosts").failed(2, says=["network.hosts"])


def test_the_network_of_the_host(build, loopback):
    ask = f"wget -qO- http://127.0.0.1:{loopback}/"
    built = build(HOST.format(f"{ask} && test -d /sys/class/net && test ! -e /sys/fs/cgroup/* "
                              "&& test -e /etc/hosts"), "--allow", "network.host").ok()
    assert "from the host" in built.err
    build(f"FROM busybox:latest\nARG ONCE\nRUN {ask}\n", "--allow", "network.host").failed(1)


def test_other_steps_are_still_not_in_it(build, loopback):
    """Before and after a step with the host's network, and in a stage at the same time."""
    not_here = f"! wget -T 3 -qO- http://127.0.0.1:{loopback}/"
    ask = f"wget -qO- http://127.0.0.1:{loopback}/"
    build(f"""FROM busybox:latest AS a
ARG ONCE
RUN {not_here}
RUN --network=host {ask} > /a
RUN {not_here}
RUN --network=none {not_here} && test "$(ls /sys/class/net)" = lo
FROM busybox:latest AS b
ARG ONCE
RUN {not_here}
RUN --network=host {ask} > /b
FROM a
COPY --from=b /b /b
RUN {not_here} && cmp /a /b
""", "--allow", "network.host").ok()


def test_all_rights_of_the_box(build):
    build(INSECURE.format("grep -qx 'CapEff:.*01ffffffffff' /proc/self/status "
                          "&& grep -qx 'Seccomp:.0' /proc/self/status "
                          "&& mkdir /m && mount -t tmpfs none /m && umount /m && rmdir /m "
                          "&& test $(cat /proc/self/mountinfo | grep -c ' /proc/') = 0"),
          "--allow", "security.insecure").ok()
    build("FROM busybox:latest\nARG ONCE\nRUN mkdir /m && ! mount -t tmpfs none /m\n",
          "--allow", "security.insecure").ok()


def test_root_is_nobody_on_the_host(build):
    """Neither devices nor what belongs to the host's root."""
    build(INSECURE.format("! mknod /disk b 8 0 && ! dmesg -n 1 "
                          "&& ! sh -c 'echo 1 > /proc/sys/kernel/panic'"),
          "--allow", "security.insecure").ok()


def test_the_mode_is_part_of_the_key(spaceport, make_space):
    once = uuid.uuid4().hex
    images = {spaceport.build(make_space(f"FROM busybox:latest\nRUN {flag}: {once}; "
                                         "cat /proc/sys/kernel/random/uuid > /r\n"),
                              "--allow", "security.insecure", "--allow", "network.host").image
              for flag in ("", "--security=insecure ", "--network=host ", "--network=none ")}
    assert len(images) == 4


def test_allowed_by_the_settings(spaceport, make_space, folder):
    space = make_space(INSECURE.format("true"))
    spaceport.build(space, env={"SPACEPORT_BUILD_ALLOW": "network.host"}).failed(1)
    spaceport.build(space, env={"SPACEPORT_BUILD_ALLOW": "network.host,security.insecure"}).ok()
    config = folder / f"allow-{uuid.uuid4().hex}.yaml"
    config.write_text(spaceport.config.read_text() +
                      "build:\n  allow: [network.host, security.insecure]\n")
    space = make_space(HOST.format(f": {uuid.uuid4().hex}"))
    spaceport.build(space, env={"SPACEPORT_CONFIG": str(config)}).ok()
    config.unlink()
