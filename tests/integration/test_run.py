# SPDX-License-Identifier: Apache-2.0
"""`spaceport run` and what looks after it: `ps`, `logs`, `stop`."""

import contextlib
import json
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
from program import is_sanitized

WEB = """FROM busybox:latest
COPY www /www
CMD ["httpd", "-f", "-p", "7860", "-h", "/www"]
"""
ENVIRONMENT = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
export UID_GID=$(id -u):$(id -g)
env
"""
COUNTER = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo visit >> /tmp/visits && wc -l < /tmp/visits
"""
STUBBORN = """FROM busybox:latest
CMD ["sh", "-c", "trap '' TERM; httpd -p 7860 -h /; while :; do sleep 1; done"]
"""


@pytest.fixture
def web(make_space):
    """A Space of busybox's httpd: /cgi-bin/env, /cgi-bin/count, /index.html."""
    def make(dockerfile=WEB, **how):
        return make_space(dockerfile, {
            "www/cgi-bin/env": ENVIRONMENT, "www/cgi-bin/count": COUNTER,
            "www/index.html": "<h1>here</h1>"}, **how)

    return make


def get(space, path="/"):
    answer = httpx.get(space.url + path, timeout=30, trust_env=False)
    answer.raise_for_status()
    return answer.text


def environment(space):
    lines = get(space, "/cgi-bin/env").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_prints_the_url_and_answers(running_space, web):
    with running_space(web()) as space:
        assert space.url.startswith("http://")
        assert "here" in get(space)
        assert space.process.lines == [space.url + "\n"]


def test_runs_as_user_1000_whatever_the_image_says(running_space, web):
    for user in ("", "USER 0\n", "USER 65534\n"):
        with running_space(web(WEB.replace("CMD", user + "CMD"))) as space:
            assert environment(space)["UID_GID"] == "1000:1000"


def test_gives_the_built_in_variables(running_space, web):
    with running_space(web(title="Some Title")) as space:
        env = environment(space)
    assert env["SPACE_TITLE"] == "Some Title"
    assert env["CPU_CORES"] == "2" and env["MEMORY"].startswith("16")
    assert env["ACCELERATOR"] == "none"
    author, name = env["SPACE_ID"].split("/")
    assert (author, name) == (env["SPACE_AUTHOR_NAME"], env["SPACE_REPO_NAME"])
    assert env["SPACE_HOST"] and "/" not in env["SPACE_HOST"]


def test_home_comes_from_the_image(running_space, web):
    with_user = "RUN echo 'someone:x:1000:1000::/home/someone:/bin/sh' >> /etc/passwd\n"
    for lines, home in (("", "/"), (with_user, "/home/someone"),
                        (with_user + "ENV HOME=/elsewhere\n", "/elsewhere")):
        with running_space(web(WEB.replace("CMD", lines + "CMD"))) as space:
            assert environment(space)["HOME"] == home


def test_starts_a_fresh_container_each_time(running_space, web):
    space_dir = web()
    for _ in range(2):
        with running_space(space_dir) as space:
            assert get(space, "/cgi-bin/count").strip() == "1"
            assert get(space, "/cgi-bin/count").strip() == "2"


def test_variables_and_secrets(running_space, web, folder):
    file = folder / "variables.env"
    file.write_text("# comment\nFROM_FILE=two words\n\nBOTH=file\n")
    args = ["-e", "GIVEN=value=with=signs", "--env-file", file, "-e", "BOTH=flag",
            "--secret", "TOKEN=s3cr3t-given", "--secret", "FROM_HOST"]
    with running_space(*args, web(), env={"FROM_HOST": "s3cr3t-of-the-host"}) as space:
        env = environment(space)
        log = space.log
    assert env["GIVEN"] == "value=with=signs" and env["FROM_FILE"] == "two words"
    assert env["BOTH"] == "flag"
    assert env["TOKEN"] == "s3cr3t-given" and env["FROM_HOST"] == "s3cr3t-of-the-host"
    assert "s3cr3t" not in log


def test_a_secret_that_the_environment_lacks(spaceport, web):
    spaceport("run", "--secret", "NOT_THERE", web()).failed(2, says=["NOT_THERE"])


def test_app_port_of_the_readme(running_space, web):
    with running_space(web(WEB.replace("7860", "9123"), port=9123)) as space:
        assert space.url.rstrip("/").endswith(":9123") and "here" in get(space)


def test_next_free_port_where_app_port_is_taken(running_space, web):
    with socket.create_server(("127.0.0.1", 9223)), \
            running_space(web(WEB.replace("7860", "9223"), port=9223)) as space:
        port = int(space.url.rstrip("/").rpartition(":")[2])
        assert port > 9223 and "here" in get(space)


def test_the_port_that_is_asked_for(running_space, spaceport, web):
    with running_space("-p", "9323", web()) as space:
        assert space.url.rstrip("/").endswith(":9323") and "here" in get(space)
    with socket.create_server(("127.0.0.1", 9323)):
        spaceport("run", "-p", "9323", web()).failed(2, 3, says=["9323"])


def test_runs_an_image_that_was_built(running_space, spaceport, web):
    image = spaceport.build(web(), "-t", "spaceport.test/web:1").image
    for name in (image, "spaceport.test/web:1"):
        with running_space(name) as space:
            assert "here" in get(space)
    with running_space("--rm-image", image):
        pass
    assert image not in spaceport("images", "--json").ok().out


def test_exec_form_and_shell_form(running_space, web):
    for command in ('CMD ["httpd", "-f", "-p", "7860", "-h", "/www"]',
                    "CMD httpd -f -p $PORT -h /www",
                    'ENTRYPOINT ["httpd", "-f"]\nCMD ["-p", "7860", "-h", "/www"]'):
        dockerfile = "FROM busybox:latest\nENV PORT=7860\nCOPY www /www\n" + command + "\n"
        with running_space(web(dockerfile)) as space:
            assert "here" in get(space)


def test_the_log_is_followed(running_space, make_space):
    talks = "FROM busybox:latest\nCOPY talk.sh /\nCMD [\"/talk.sh\"]\n"
    script = "#!/bin/sh\necho first line\necho to stderr >&2\nexec httpd -f -v -p 7860 -h /\n"
    with running_space(make_space(talks, {"talk.sh": script})) as space:
        for text in ("first line", "to stderr"):
            space.process.wait_for(lambda text=text: text in space.log, text)
        httpx.get(space.url + "/talk.sh", trust_env=False)
        space.process.wait_for(lambda: "response:200" in space.log, "line about the visit")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_app(spaceport, example, number):
    """hello-c says good-bye when it is told to end."""
    process = spaceport.start("run", example("hello-c"))
    process.wait_for(lambda: "\n" in process.out, "URL")
    process.signal(number)
    process.wait().ok()
    assert "good-bye" in process.err


def test_an_app_that_ignores_the_signal_is_ended(running_space, make_space):
    with running_space(make_space(STUBBORN)):
        began = time.monotonic()
    assert time.monotonic() - began < 15


def test_ps_logs_and_stop(spaceport, running_space, web):
    with running_space(web(WEB.replace("CMD", "LABEL a=ps\nCMD"))) as space:
        listed = spaceport("ps", "--json").json
        assert space.url.rstrip("/").rpartition(":")[2] in json.dumps(listed)
        table = spaceport("ps").ok().out.splitlines()
        assert len(table) == 2
        name = table[1].split()[0]
        spaceport("logs", name).ok()
    assert len(spaceport("ps").ok().out.splitlines()) <= 1
    process = spaceport.start("run", web())
    process.wait_for(lambda: "\n" in process.out, "URL")
    name = spaceport("ps").ok().out.splitlines()[1].split()[0]
    spaceport("stop", name).ok()
    process.wait().ok()
    spaceport("stop", name).failed(1, 2, says=[name])


def resident_kib(process):
    """What the process and those of its descendants that are the same program have in memory."""
    status = Path(f"/proc/{process}/status").read_text()
    if not status.startswith("Name:\tspaceport\n"):
        return 0
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(status.split("VmRSS:")[1].split()[0]) + sum(map(resident_kib, children))


@pytest.mark.may_skip
def test_stays_under_15_mb(running_space, spaceport, web):
    if is_sanitized(spaceport.binary):
        pytest.skip("an ASan build says nothing about memory")
    with running_space(web()) as space:
        get(space)
        parent = space.process.popen.pid
        both = resident_kib(parent)
        assert Path(f"/proc/{parent}/task/{parent}/children").read_text(), "no box"
        assert both < 15 * 1024


class TestDoesNotComeUp:
    """Each reason is told apart and said."""

    def runs(self, spaceport, make_space, command, says, files=None, timeout="5s"):
        command = json.dumps(command)
        space = make_space(f"FROM busybox:latest\nCOPY . /files\nCMD {command}\n", files)
        result = spaceport("run", "--timeout", timeout, space).failed(1, says=says)
        assert result.out == ""

    def test_exits(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["sh", "-c", "echo last words; exit 3"],
                  ["exited", "3", "last words"])

    def test_exits_with_nothing_wrong(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["true"], ["exited", "0"])

    def test_is_not_there(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["/no/such/program"], ["/no/such/program"])

    def test_listens_on_another_port(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["httpd", "-f", "-p", "8080"], ["8080", "7860"])

    def test_listens_on_loopback_only(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["httpd", "-f", "-p", "127.0.0.1:7860"],
                  ["127.0.0.1", "0.0.0.0"])

    def test_stays_silent(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["sleep", "300"], ["7860", "5"])

    def test_accepts_but_never_answers(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["nc", "-ll", "-p", "7860", "-e", "sleep", "60"],
                  ["7860"])

    def test_cannot_write(self, spaceport, make_space):
        self.runs(spaceport, make_space, ["sh", "-c", "echo 1 > /files/data.txt"],
                  ["/files/data.txt", "1000"])

    def test_has_no_command(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY Dockerfile /\n")
        spaceport("run", space).failed(1, says=["CMD"])

    def test_build_fails(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN exit 9\n")
        spaceport("run", space).failed(1, says=["Dockerfile:2", "9"])

    @pytest.mark.may_skip
    def test_is_killed_for_memory(self, spaceport, make_space, account):
        if not account.is_root and not delegated():
            pytest.skip("limits of an ordinary user need a delegated control group")
        if available_gib() < 20:
            pytest.skip("the smallest flavor's 16 GB are not free on this machine")
        eat = "exec tail /dev/zero"
        self.runs(spaceport, make_space, ["sh", "-c", eat], ["memory"], timeout="120s")


def delegated():
    """Whether this login has a control group of its own with the memory controller."""
    with contextlib.suppress(OSError):
        place = Path("/proc/self/cgroup").read_text().split("::")[-1].strip()
        return "memory" in Path(f"/sys/fs/cgroup{place}/cgroup.controllers").read_text()
    return False


def available_gib():
    fields = Path("/proc/meminfo").read_text().split()
    return int(fields[fields.index("MemAvailable:") + 1]) >> 20


# ---- HEALTHCHECK ----

HEALTH = """FROM busybox:latest
COPY www /www
HEALTHCHECK --interval=300ms --timeout={timeout} --retries=2 CMD {check}
CMD ["httpd", "-f", "-p", "7860", "-h", "/www"]
"""


def health(spaceport, space):
    shown = {one["url"].rstrip("/"): one for one in spaceport("ps", "--json").ok().json}
    return shown[space.url.rstrip("/")]["health"]


def wait_for_health(spaceport, space, wanted):
    for _ in range(200):
        if (now := health(spaceport, space)) == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"{now!r} instead of {wanted!r}\n{space.process.err}")


def test_healthcheck_fails_and_the_app_goes_on(running_space, spaceport, web):
    check = "echo looked as $(id -u) in $PWD; false"
    with running_space(web(HEALTH.format(check=check, timeout="20s"))) as space:
        wait_for_health(spaceport, space, "unhealthy")
        assert "unhealthy: looked as 1000 in /" in space.process.err
        assert "here" in get(space)  # told, not killed


def test_healthcheck_recovers(running_space, spaceport, web):
    counter = ("read n < /tmp/n; echo $((n + 1)) > /tmp/n; "
               "test ${n:-0} -ge 3")
    with running_space(web(HEALTH.format(check=counter, timeout="20s"))) as space:
        wait_for_health(spaceport, space, "healthy")
        assert "unhealthy" in space.process.err
        assert "(healthy)" in spaceport("ps").ok().out


def test_healthcheck_that_hangs_is_ended(running_space, spaceport, web):
    check = '["sh", "-c", "echo asked; exec sleep 1000"]'
    with running_space(web(HEALTH.format(check=check, timeout="200ms"))) as space:
        wait_for_health(spaceport, space, "unhealthy")
        assert "took longer than" in space.process.err
        assert "here" in get(space)


def test_healthcheck_without_its_program(running_space, spaceport, web):
    check = '["/no/such/check"]'
    with running_space(web(HEALTH.format(check=check, timeout="5s"))) as space:
        wait_for_health(spaceport, space, "unhealthy")
        assert "/no/such/check" in space.process.err


def test_no_healthcheck_no_word_of_it(running_space, spaceport, web):
    with running_space(web()) as space:
        assert health(spaceport, space) == ""
    none = WEB.replace("CMD", "HEALTHCHECK NONE\nCMD")
    with running_space(web(none)) as space:
        assert health(spaceport, space) == ""
