# SPDX-License-Identifier: Apache-2.0
"""Cache mounts that are grafted into a step, and the caches that tools have by themselves."""

import os
import signal
import threading
import time
import uuid

import pytest
from wheels import wheel

UV = """FROM python:3.13-slim
COPY --from=ghcr.io/astral-sh/uv:0.11.18 /uv /bin/
"""
# The guide's Dockerfile, with few and small packages.
GUIDE = """FROM python:3.13-slim
COPY --from=ghcr.io/astral-sh/uv:0.11.18 /uv /uvx /bin/
RUN useradd -m -u 1000 user
USER user
ENV HOME=/home/user \\
    PATH=/home/user/.local/bin:$PATH \\
    UV_COMPILE_BYTECODE=1 \\
    UV_LINK_MODE=copy
WORKDIR $HOME/app
COPY --chown=user pyproject.toml uv.lock ./
RUN uv sync --frozen --no-install-project --no-dev
COPY --chown=user . .
RUN {network}uv sync --frozen --no-dev
EXPOSE 7860
CMD ["uv", "run", "--frozen", "python", "app.py"]
"""
PROJECT = """[project]
name = "app"
version = "0.1.0"
requires-python = ">=3.12"
dependencies = ["idna==3.10", "certifi==2025.1.31"]
"""


def locked(name, version, path, digest):
    """The entry of a package in a lock file."""
    url = f"https://files.pythonhosted.org/packages/{path}/{name}-{version}-py3-none-any.whl"
    return f"""
[[package]]
name = "{name}"
version = "{version}"
source = {{ registry = "https://pypi.org/simple" }}
wheels = [
    {{ url = "{url}", hash = "sha256:{digest}" }},
]
"""


LOCK = """version = 1
revision = 3
requires-python = ">=3.12"

[[package]]
name = "app"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "certifi" },
    { name = "idna" },
]

[package.metadata]
requires-dist = [
    { name = "certifi", specifier = "==2025.1.31" },
    { name = "idna", specifier = "==3.10" },
]
""" + locked("certifi", "2025.1.31",
             "38/fc/bce832fd4fd99766c04d1ee0eead6b0ec6486fb100ae5e74c1d91292b982",
             "ca78db4565a652026a4db2bcdf68f2fb589ea80d0be70e03929ed730746b84fe") \
  + locked("idna", "3.10",
           "76/c6/c88e154df9c4e1a2a66ccf0005a88dfb2650c1dffb6f5ce603dfbd452ce3",
           "946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3")


def layer_files(program, name):
    """Every file of that name that a step put into a layer; pip has some in the base image."""
    return sorted(path for path in program.data.rglob(f"layers/*/fs/**/{name}")
                  if "/dist-packages/pip/" not in str(path))


def caches(program):
    return [path for path in program.data.rglob("caches/*/fs")]


def logs(result, word):
    return [line for line in result.err.splitlines() if word in line]


def salt():
    """A line that makes a Dockerfile's steps new."""
    return f"ENV SALT={uuid.uuid4().hex}\n"


def big_wheel(**more):
    return wheel("big", {"big/__init__.py": b"VALUE = 1\n", "big/data.bin": b"x" * 200000, **more})


class TestGraft:
    def test_links_from_a_mounted_cache(self, spaceport, make_space):
        name, data = big_wheel()
        space = make_space(UV + salt() + f"""COPY {name} /w/
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --system --no-index /w/{name}
RUN test -z "$(ls -A /root/.cache 2>/dev/null)" && test ! -e /root/.cache
RUN test "$(stat -c %h /usr/local/lib/python3*/*-packages/big/data.bin)" = 2
""", {name: data})
        spaceport.build(space, "--progress", "plain").ok()

    def test_a_step_that_may_edit_gets_copies(self, spaceport, make_space):
        name, data = big_wheel()
        space = make_space(UV + salt() + f"""COPY {name} /w/
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --target /t --no-index /w/{name} \\
 && awk 'BEGIN {{}}'
RUN test "$(stat -c %h /t/big/data.bin)" = 1 && test ! -e /root/.cache
""", {name: data})
        spaceport.build(space).ok()

    @pytest.mark.parametrize("target, setup, mounted", [
        ("/c", "", False),
        ("/deep/er/c", "", False),
        ("/link/c", "RUN mkdir /real && ln -s /real /link\n", False),
        ("/real/c", "RUN mkdir -p /real/c && touch -d 2020-01-01 /real/c/hidden /real/c /real\n",
         False),
        ("/etc/c", "", True),
        ("/run/c", "", True),
    ])
    def test_is_a_directory_of_the_tree_where_it_can(self, spaceport, make_space, target, setup,
                                                     mounted):
        space = make_space(f"""FROM busybox:latest
{salt()}{setup}RUN --mount=type=cache,target={target},id={uuid.uuid4().hex} echo kept >/dev/null \\
 && test ! -e {target}/hidden && ls -ld {target} && {"" if mounted else "! "}grep -q " {target} " \\
 /proc/self/mounts
""")
        spaceport.build(space).ok()

    def test_times_of_the_directories_around_it_are_kept(self, spaceport, make_space):
        space = make_space(f"""FROM busybox:latest
{salt()}RUN mkdir -p /a/b && touch -d 2020-01-02 /a/b && touch -d 2020-01-01 /a
RUN --mount=type=cache,target=/a/b mkdir /a/b/x
RUN --mount=type=cache,target=/a/c/d mkdir /a/c/d/x
RUN --mount=type=cache,target=/etc/e/f mkdir /etc/e/f/x
RUN test "$(stat -c %y /a | cut -c1-10)" = 2020-01-01 \\
 && test "$(stat -c %y /a/b | cut -c1-10)" = 2020-01-02 && test ! -e /a/c && test ! -e /etc/e
RUN --mount=type=cache,target=/a/c/d mkdir /a/c/keep
RUN test -d /a/c/keep && test ! -e /a/c/d
""")
        spaceport.build(space).ok()

    def test_what_the_step_removed_is_gone(self, spaceport, make_space):
        cache = uuid.uuid4().hex
        space = make_space(f"""FROM busybox:latest
{salt()}RUN mkdir -p /a/c && touch /a/c/lower
RUN --mount=type=cache,target=/a/c,id={cache} mkdir /a/c/x
RUN --mount=type=cache,target=/a/c,id={cache} test -d /a/c/x && test ! -e /a/c/lower
RUN test -e /a/c/lower
RUN --mount=type=cache,target=/a/c,id={cache} rm -rf /a
RUN test ! -e /a
RUN --mount=type=cache,target=/a/c,id={cache} test ! -e /a/c/x
""")
        spaceport.build(space).ok()

    def test_one_cache_at_two_places(self, spaceport, make_space):
        cache = uuid.uuid4().hex
        space = make_space(f"""FROM busybox:latest
{salt()}RUN --mount=type=cache,target=/a,id={cache} --mount=type=cache,target=/b,id={cache},ro \\
 mkdir /a/x && test -d /b/x && ! mkdir /b/y
RUN --mount=type=cache,target=/a,id={cache},sharing=locked \\
 --mount=type=cache,target=/b,id={cache},sharing=locked mkdir /a/z && test -d /b/z
RUN --mount=type=cache,target=/a,id={cache}1 --mount=type=cache,target=/a/b,id={cache}2 \\
 mkdir /a/x /a/b/x
RUN test ! -e /a
""")
        spaceport.build(space).ok()

    @pytest.mark.parametrize("sharing", ["shared", "private", "locked"])
    def test_two_builds_at_once(self, spaceport, make_space, sharing):
        cache = uuid.uuid4().hex
        spaces = [make_space(f"""FROM busybox:latest
{salt()}RUN --mount=type=cache,target=/c,id={cache},sharing={sharing} \\
 mkdir /c/{name} && sleep 2 && test -d /c/{name} && rmdir /c/{name}
RUN test ! -e /c
""") for name in ("one", "two")]
        results = {}
        began = time.monotonic()
        threads = [threading.Thread(target=lambda s=s: results.update({s: spaceport.build(s)}))
                   for s in spaces]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [result.ok().code for result in results.values()] == [0, 0]
        assert (time.monotonic() - began >= 4) or sharing != "locked"

    def test_first_content_from_a_stage(self, spaceport, make_space):
        cache = uuid.uuid4().hex
        space = make_space(f"""FROM busybox:latest AS seed
{salt()}RUN mkdir -p /seed/sub && echo one >/seed/sub/file && chown 5:6 /seed/sub/file
FROM busybox:latest
RUN --mount=type=cache,target=/c,id={cache},from=seed,source=/seed \\
 test "$(cat /c/sub/file)" = one && test "$(stat -c %u:%g /c/sub/file)" = 5:6 && echo two >/c/new
RUN --mount=type=cache,target=/c,id={cache},from=seed,source=/seed test "$(cat /c/new)" = two
RUN --mount=type=cache,target=/c,id={cache} test ! -e /c/sub
""")
        spaceport.build(space).ok()


    def test_other_first_content_is_another_cache_and_another_step(self, spaceport, make_space):
        cache = uuid.uuid4().hex
        for content in ("one", "two"):
            space = make_space(f"""FROM busybox:latest AS seed
RUN mkdir /seed && echo {content} >/seed/file
FROM busybox:latest
RUN --mount=type=bind,from=seed,source=/seed,target=/b \\
 --mount=type=cache,target=/c,id={cache},from=seed,source=/seed cat /c/file | tee /got && ls /b
RUN test "$(cat /got)" = {content}
""")
            spaceport.build(space).ok()


class TestCrash:
    def test_a_killed_build_loses_nothing_of_the_cache(self, fresh_spaceport, make_space):
        """At every moment of a step, grafted or not, the cache is there for the next build."""
        dockerfile = """FROM busybox:latest
{salt}RUN --mount=type=cache,target=/c {command}
"""
        first = make_space(dockerfile.format(salt=salt(), command="mkdir -p /c/kept"))
        fresh_spaceport.build(first).ok()
        for moment in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
            command = "test -d /c/kept && sleep 9"
            victim = make_space(dockerfile.format(salt=salt(), command=command))
            process = fresh_spaceport.start("build", "--progress", "plain", victim)
            process.wait_for(lambda p=process: "2/2]" in p.err, "step")
            time.sleep(moment)
            os.killpg(process.popen.pid, signal.SIGKILL)
            process.popen.wait()
            process.join()
            after = make_space(dockerfile.format(salt=salt(), command="test -d /c/kept"))
            fresh_spaceport.build(after).ok()


class TestEdits:
    def test_edits_in_place_never_reach_a_finished_layer(self, fresh_spaceport, make_space):
        """A step that writes into a cached file whose inode an earlier layer has."""
        name, data = big_wheel()
        install = f"""COPY {name} /w/
RUN --mount=type=cache,target=/c uv pip install --cache-dir /c --target /t --no-index /w/{name}
"""
        honest = make_space(UV + install + "RUN grep -qx 'VALUE = 1' /t/big/__init__.py\n",
                            {name: data})
        fresh_spaceport.build(honest).ok()
        assert {os.stat(path).st_nlink for path in layer_files(fresh_spaceport, "data.bin")} == {2}
        editing = make_space(UV + """RUN --mount=type=cache,target=/c \\
 find /c -path '*big/__init__.py' | while read f; do echo 'VALUE = 2' > "$f"; done
""")
        told = fresh_spaceport.build(editing, "--progress", "plain").ok()
        assert logs(told, "wrote into files of the cache"), told.err
        again = fresh_spaceport.build(honest, "--progress", "plain")
        # The layer is made again, from the cache as it now is: by a copy.
        edited = [path for path in layer_files(fresh_spaceport, "data.bin") if "/big/" in str(path)]
        assert {os.stat(path).st_nlink for path in edited} == {1}, again.err

    def test_within_one_build(self, fresh_spaceport, make_space):
        name, data = big_wheel()
        space = make_space(UV + f"""COPY {name} /w/
RUN --mount=type=cache,target=/c uv pip install --cache-dir /c --target /t --no-index /w/{name}
RUN --mount=type=cache,target=/c \\
 find /c -path '*big/data.bin' | while read f; do echo edited >> "$f"; done
RUN test "$(stat -c %s /t/big/data.bin)" = 200000 || test "$(stat -c %h /t/big/data.bin)" = 1
""", {name: data})
        fresh_spaceport.build(space).failed(1, says=["wrote into files", "build again"])
        fresh_spaceport.build(space).ok()

    def test_owner_and_mode_are_put_back(self, fresh_spaceport, make_space):
        name, data = big_wheel()
        install = f"""COPY {name} /w/
RUN --mount=type=cache,target=/c uv pip install --cache-dir /c --target /t --no-index /w/{name}
"""
        fresh_spaceport.build(make_space(UV + install, {name: data})).ok()
        fresh_spaceport.build(make_space(
            UV + "RUN --mount=type=cache,target=/c chmod -R 0777 /c && chown -R 7:7 /c\n")).ok()
        check = "RUN test \"$(stat -c %a:%u:%g /t/big/data.bin)\" = 644:0:0\n"
        fresh_spaceport.build(make_space(UV + install + check, {name: data})).ok()


class TestToolCaches:
    def space(self, make_space, network=""):
        return make_space(GUIDE.format(network=network), {
            "pyproject.toml": PROJECT, "uv.lock": LOCK, "app.py": f"print('{uuid.uuid4().hex}')"})

    def test_the_guides_image_has_no_second_copy(self, fresh_spaceport, make_space):
        fresh_spaceport.build(self.space(make_space), "--tag", "guide").ok()
        installed = [path for path in layer_files(fresh_spaceport, "idnadata.py")]
        assert len(installed) == 1, installed
        assert os.stat(installed[0]).st_nlink == 2  # the layer's and the cache's
        kept = fresh_spaceport.data.rglob("caches/*/fs/archive-v0/*/idna/idnadata.py")
        assert len(list(kept)) == 1
        assert not [path for path in fresh_spaceport.data.rglob("layers/*/fs/**/.cache")]

    def test_a_second_space_with_the_same_lock_needs_no_network(self, fresh_spaceport, make_space):
        fresh_spaceport.build(self.space(make_space)).ok()
        second = GUIDE.format(network="").replace(
            "RUN uv sync --frozen --no-install", "RUN --network=none uv sync --frozen --no-install")
        space = make_space("# another\n" + second, {
            "pyproject.toml": PROJECT, "uv.lock": LOCK, "app.py": "",
            "other.txt": "other"})
        told = fresh_spaceport.build(space, "--progress", "plain").ok()
        assert logs(told, "Installed 2 packages") and not logs(told, "Downloading"), told.err

    def test_without_it_the_image_is_as_docker_makes_it(self, fresh_spaceport, make_space):
        space = self.space(make_space)
        fresh_spaceport.build(space).ok()
        kept = fresh_spaceport.build(space, "--no-tool-cache", "--progress", "plain").ok()
        assert logs(kept, "Prepared 2 packages"), kept.err
        assert len(layer_files(fresh_spaceport, "idnadata.py")) == 3  # linked, copied, cached
        again = fresh_spaceport("build", "--json", space).json
        assert again["cached"] == again["steps"]

    def test_the_setting_turns_it_off(self, fresh_spaceport, make_space):
        space = make_space(UV + "RUN uv pip install --system idna==3.10\n"
                           "RUN test -d /root/.cache/uv/archive-v0\n")
        fresh_spaceport.build(space, env={"SPACEPORT_BUILD_TOOL_CACHE": "false"}).ok()

    @pytest.mark.parametrize("install, where", [
        ("uv pip install --system --no-cache idna==3.10", ""),
        ("UV_CACHE_DIR=/k uv pip install --system idna==3.10", "/k/archive-v0"),
        ("uv pip install --system idna==3.10 && touch /x", "/root/.cache/uv/archive-v0"),
        ("pip install --no-cache-dir idna==3.10", ""),
        ("PIP_CACHE_DIR=/k pip install idna==3.10 && mkdir -p /k/x && test ! -e /root/.cache",
         "/k/x"),
    ])
    def test_what_is_said_about_the_cache_wins(self, spaceport, make_space, install, where):
        check = f"test -d {where}" if where else "test ! -e /root/.cache"
        space = make_space(f"{UV}{salt()}RUN {install}\nRUN {check}\n")
        spaceport.build(space, "--progress", "plain").ok()

    def test_pips_own_cache(self, spaceport, make_space):
        """Whether there is something for pip to keep is the index's business: a directory is."""
        space = """RUN pip install idna==3.10 && mkdir {made}
RUN test ! -e /root/.cache
"""
        mark = f"/root/.cache/pip/{uuid.uuid4().hex}"
        spaceport.build(make_space(UV + salt() + space.format(made=mark))).ok()
        spaceport.build(make_space(UV + salt() + space.format(made="x") +
                                   f"RUN pip install idna==3.10 && test -d {mark}\n")).ok()

    def test_files_of_the_image_are_left_alone(self, spaceport, make_space):
        space = make_space(f"""{UV}{salt()}RUN mkdir -p /root/.cache/uv \\
 && touch /root/.cache/uv/mine
RUN uv pip install --system idna==3.10
RUN test -e /root/.cache/uv/mine && test -d /root/.cache/uv/archive-v0
""")
        spaceport.build(space).ok()

    def test_where_the_user_may_not_write_it_is_not(self, spaceport, make_space):
        space = make_space(f"""{UV}{salt()}USER 1234
RUN uv pip install --target /tmp/t idna==3.10
""")
        spaceport.build(space).failed(1, says=["permission denied"])

    def test_each_user_and_namespace_has_its_own(self, fresh_spaceport, make_space):
        root = UV + "RUN uv pip install --system idna==3.10\n"
        fresh_spaceport.build(make_space(root)).ok()
        fresh_spaceport.build(make_space(root + "# 2\n"), "--build-arg",
                              "BUILDKIT_CACHE_MOUNT_NS=other", "--no-cache").ok()
        fresh_spaceport.build(make_space(UV + """RUN useradd -m -u 1000 user
USER user
RUN uv pip install --target /home/user/t idna==3.10
""")).ok()
        owners = sorted(os.stat(path).st_uid for path in caches(fresh_spaceport))
        assert len(owners) == 3 and len(set(owners)) == 2

    def test_two_builds_at_once(self, fresh_spaceport, make_space):
        spaces = [self.space(make_space) for _ in range(2)]
        spaces[1].joinpath("Dockerfile").write_text("# 2\nARG X=1\n" + GUIDE.format(
            network="").replace("USER user\n", "USER user\nENV OTHER=1\n"))
        results = []
        threads = [threading.Thread(target=lambda s=s: results.append(fresh_spaceport.build(s)))
                   for s in spaces]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [result.ok().code for result in results] == [0, 0]
        assert not [path for path in fresh_spaceport.data.rglob("layers/*/fs/**/.cache")]
