# SPDX-License-Identifier: Apache-2.0
"""`spaceport build`: results, the cache, failing steps, interruption, what a step sees."""

import json
import re
import signal
import time

import pytest
from program import NOT_IN_IMAGE, find

SCRATCH = "FROM scratch\nCOPY hello.txt /\nCMD [\"/hello.txt\"]\n"
# The sum is made by the step's shell, so "ran-42" stands in the story only if the step ran.
RAN = "echo ran-$((40+2))"


def test_scratch_needs_no_registry(fresh_spaceport, make_space, config_for):
    fresh_spaceport.config = config_for("http://127.0.0.1:9")
    space = make_space(SCRATCH, {"hello.txt": "hello"})
    first = fresh_spaceport.build(space).image
    assert fresh_spaceport.build(space).image == first


def test_everything_in_the_store_needs_no_network(fresh_spaceport, make_space, config_for):
    space = make_space("FROM busybox:latest\nRUN echo made > /made\n")
    first = fresh_spaceport.build(space).image
    fresh_spaceport.config = config_for("http://127.0.0.1:9")
    assert fresh_spaceport.build(space).image == first
    (space / "Dockerfile").write_text("FROM busybox:latest\nRUN echo other > /made\n")
    assert fresh_spaceport.build(space).image != first


def test_the_current_folder_is_the_default(spaceport, make_space):
    space = make_space(SCRATCH, {"hello.txt": "hello"})
    assert spaceport("build", cwd=space).image == spaceport.build(space).image


def test_tags_are_listed(spaceport, make_space):
    space = make_space(SCRATCH, {"hello.txt": "tagged"})
    image = spaceport.build(space, "-t", "spaceport.test/tagged:one").image
    listed = spaceport("images", "--json").json
    text = json.dumps(listed)
    assert image in text and "spaceport.test/tagged" in text
    assert "spaceport.test/tagged" in spaceport("images").ok().out
    assert find(spaceport("image", "inspect", "spaceport.test/tagged:one").json, "Cmd") \
        == ["/hello.txt"]
    spaceport("image", "rm", "spaceport.test/tagged:one").ok()
    assert "spaceport.test/tagged" not in spaceport("images").ok().out


def test_the_config_is_what_the_dockerfile_says(spaceport, make_space):
    space = make_space("""FROM busybox:latest
ENV A=1
LABEL who=me
USER 1000
WORKDIR /w
EXPOSE 7860
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["true"]
""")
    config = spaceport("image", "inspect", spaceport.build(space).image).json
    assert "A=1" in find(config, "Env")
    assert find(config, "Labels") == {"who": "me"}
    assert find(config, "User") == "1000"
    assert find(config, "WorkingDir") == "/w"
    assert "7860/tcp" in find(config, "ExposedPorts")
    assert find(config, "StopSignal") == "SIGINT"
    assert find(config, "Entrypoint") == ["/bin/sh", "-c"]
    assert find(config, "Cmd") == ["true"]


def test_another_file(spaceport, make_space):
    other = SCRATCH.replace("hello.txt", "other.txt")
    space = make_space(SCRATCH, {"hello.txt": "x", "docker/Other": other, "other.txt": "y"})
    image = spaceport.build(space, "-f", space / "docker/Other").image
    assert image != spaceport.build(space).image


class TestCache:
    DOCKERFILE = f"FROM busybox:latest\nRUN {RAN}-first\nCOPY app.py /\nRUN {RAN}-second\n"

    def ran(self, program, space, *args):
        result = program.build(space, "--progress", "plain", *args)
        assert result.image
        return re.findall(r"ran-42-(\w+)", result.err)

    def test_unchanged_runs_nothing(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE, {"app.py": "1"})
        assert self.ran(fresh_spaceport, space) == ["first", "second"]
        assert self.ran(fresh_spaceport, space) == []

    def test_an_edit_runs_what_comes_after_it(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE, {"app.py": "1"})
        self.ran(fresh_spaceport, space)
        (space / "app.py").write_text("2")
        assert self.ran(fresh_spaceport, space) == ["second"]

    def test_an_edit_taken_back_runs_nothing(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE, {"app.py": "1"})
        self.ran(fresh_spaceport, space)
        (space / "app.py").write_text("2")
        self.ran(fresh_spaceport, space)
        (space / "app.py").write_text("1")
        assert self.ran(fresh_spaceport, space) == []

    def test_a_same_size_edit_in_the_same_second_is_seen(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE, {"app.py": "1"})
        images = set()
        for text in "1234":
            (space / "app.py").write_text(text)
            images.add(fresh_spaceport.build(space).image)
        assert len(images) == 4

    def test_only_contents_and_modes_count(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE, {"app.py": "1"})
        self.ran(fresh_spaceport, space)
        (space / "app.py").touch()
        (space / "other.txt").write_text("not copied")
        assert self.ran(fresh_spaceport, space) == []
        (space / "app.py").chmod(0o755)
        assert self.ran(fresh_spaceport, space) == ["second"]

    def test_what_dockerignore_names_does_not_count(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE.replace("app.py", "."),
                           {"app.py": "1", ".dockerignore": "*.log\n"})
        self.ran(fresh_spaceport, space)
        (space / "new.log").write_text("x")
        assert self.ran(fresh_spaceport, space) == []

    def test_no_cache_runs_everything(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE, {"app.py": "1"})
        self.ran(fresh_spaceport, space)
        assert self.ran(fresh_spaceport, space, "--no-cache") == ["first", "second"]

    def test_build_args_count_where_they_are_declared(self, fresh_spaceport, make_space):
        space = make_space(f"FROM busybox:latest\nRUN {RAN}-first\nARG A\nRUN {RAN}-second\n")
        self.ran(fresh_spaceport, space, "--build-arg", "A=1")
        assert self.ran(fresh_spaceport, space, "--build-arg", "A=2") == ["second"]

    def test_plan_runs_nothing_and_tells_what_is_cached(self, fresh_spaceport, make_space):
        space = make_space(self.DOCKERFILE, {"app.py": "1"})
        assert self.ran(fresh_spaceport, space) == ["first", "second"]
        (space / "app.py").write_text("2")
        for args in (["--plan"], ["--plan"]):
            planned = fresh_spaceport.build(space, *args).ok()
            assert "ran-42" not in planned.err and "COPY app.py" in planned.out
            assert "cached" in planned.out.lower()
        steps = json.dumps(fresh_spaceport.build(space, "--plan", "--json").json)
        assert "COPY app.py" in steps and "cached" in steps
        assert self.ran(fresh_spaceport, space) == ["second"]


class TestFailingStep:
    def test_names_place_step_and_exit_code(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN true\nRUN echo last words; exit 7\nRUN true\n")
        result = spaceport.build(space).failed(1, says=["Dockerfile:3", "exited with 7",
                                                        "last words", "RUN echo last words", "^"])
        assert result.out == ""

    def test_names_the_program_that_is_not_there(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN [\"/no/such/program\"]\n")
        spaceport.build(space).failed(1, says=["Dockerfile:2", "/no/such/program"])

    def test_shows_only_the_end_of_a_long_log(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN seq 1 5000; echo the-end; exit 1\n")
        result = spaceport.build(space).failed(1, says=["the-end"])
        tail = result.err[result.err.rindex("Dockerfile:2"):]
        assert "\n4999\n" not in result.err or tail.count("\n") < 200

    def test_what_it_made_is_not_kept(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN touch /half && exit 1\n")
        spaceport.build(space).failed(1)
        (space / "Dockerfile").write_text("FROM busybox:latest\nRUN test ! -e /half\n")
        assert spaceport.build(space).image

    def test_the_steps_before_it_stay_in_the_cache(self, fresh_spaceport, make_space):
        space = make_space(f"FROM busybox:latest\nRUN {RAN}\nRUN exit 1\n")
        assert "ran-42" in fresh_spaceport.build(space, "--progress", "plain").failed(1).err
        assert "ran-42" not in fresh_spaceport.build(space, "--progress", "plain").failed(1).err


class TestProgress:
    def test_plain_has_no_control_characters(self, spaceport, make_space):
        space = make_space(f"FROM busybox:latest\nRUN {RAN}-{time.time()}\n")
        story = spaceport.build(space, "--progress", "plain", env={"NO_COLOR": "1"}).ok().err
        assert "ran-42" in story and not re.search("[\x00-\x08\x0b-\x1f\x7f]", story)

    def test_json_is_one_object_a_line(self, spaceport, make_space):
        space = make_space(f"FROM busybox:latest\nRUN {RAN}-{time.time()}\n")
        story = spaceport.build(space, "--progress", "json").ok().err
        events = [json.loads(line) for line in story.splitlines()]
        assert all(isinstance(event, dict) for event in events)
        assert "ran-42" in json.dumps(events)

    def test_nonsense_is_wrong_usage(self, spaceport, make_space):
        space = make_space(SCRATCH, {"hello.txt": ""})
        spaceport.build(space, "--progress", "fancy").failed(2, says=["fancy", "plain"])


class TestStepEnvironment:
    def test_authorities_reach_a_step_and_stay_out(self, spaceport, make_space, folder):
        bundle = folder / "company-ca.pem"
        bundle.write_text("-----BEGIN CERTIFICATE-----\nY29tcGFueS1hdXRob3JpdHk=\n"
                          "-----END CERTIFICATE-----\n")
        bundle.chmod(0o644)
        space = make_space("""FROM busybox:latest
RUN grep -q "Y29tcGFueS1h""dXRob3JpdHk=" "$SSL_CERT_FILE"
RUN for name in REQUESTS_CA_BUNDLE PIP_CERT NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE; do \\
    eval test -f "\\$$name" || exit 1; done
FROM busybox:latest
COPY --from=0 / /image
""" + NOT_IN_IMAGE.format(text='Y29tcGFueS1h""dXRob3JpdHk='))
        image = spaceport.build(space, "--target", "0", env={"SSL_CERT_FILE": str(bundle)}).image
        assert "/dev/spaceport" not in json.dumps(spaceport("image", "inspect", image).json)
        assert spaceport.build(space, env={"SSL_CERT_FILE": str(bundle)}).image
        assert not spaceport.places_of("Y29tcGFueS1hdXRob3JpdHk=")

    def test_proxy_reaches_a_step_and_stays_out_of_the_image(self, spaceport, make_space):
        env = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "localhost"}
        space = make_space("""FROM busybox:latest
RUN test "$HTTPS_PROXY" = "http://proxy"".example:3128" && test "$https_proxy" = "$HTTPS_PROXY"
RUN test "$NO_PROXY" = localhost
""")
        image = spaceport.build(space, env=env).image
        assert "proxy.example" not in json.dumps(spaceport("image", "inspect", image).json)

    def test_nothing_else_of_the_host_reaches_a_step(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN ! env | grep -v =/dev/spaceport/ "
                           "| grep -i -E 'spaceport|stranger'\n")
        assert spaceport.build(space, "--no-cache", env={"STRANGER": "1"}).image

    def test_a_step_reaches_the_network(self, spaceport, make_space):
        """A real package from a real index, with uv as in the guide."""
        space = make_space("""FROM python:3.13-slim
COPY --from=ghcr.io/astral-sh/uv:0.11.18 /uv /bin/
RUN uv pip install --system --no-cache six && python -c 'import six'
""")
        assert spaceport.build(space, "--no-cache").image


class TestInterruption:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ends_every_process_within_a_second(self, spaceport, make_space, number):
        space = make_space(f"FROM busybox:latest\nRUN {RAN}; sleep 300 & sleep 300\n")
        process = spaceport.start("build", "--no-cache", "--progress", "plain", space)
        process.wait_for(lambda: "ran-42" in process.err, "step")
        began = time.monotonic()
        process.signal(number)
        result = process.wait()
        assert time.monotonic() - began < 1.0
        assert result.code != 0 and result.out == ""

    def test_ends_within_a_second_while_it_reads_the_context(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY big /\n")
        with open(space / "big", "wb") as file:
            file.truncate(16 << 30)
        process = spaceport.start("build", "--no-cache", space)
        time.sleep(1)
        began = time.monotonic()
        process.signal(signal.SIGINT)
        assert process.wait().code == 130
        assert time.monotonic() - began < 1.0

    def test_two_builds_of_one_space_at_once(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN sleep 1; echo made > /made\nCOPY . /ctx\n")
        both = [fresh_spaceport.start("build", space) for _ in range(2)]
        images = {process.wait(120).image for process in both}
        assert len(images) == 1
