# SPDX-License-Identifier: Apache-2.0
"""Bad input and machines that lack something: a clear error with place and remedy, the
right exit code, and nothing left running (which the fixture of every test checks)."""

import contextlib
import os
import shutil
import subprocess

import pytest

SCRATCH = "FROM scratch\nCOPY Dockerfile /\nCMD [\"/Dockerfile\"]\n"


def front_matter(text):
    return f"---\n{text}---\n"


class TestFolder:
    def test_no_dockerfile(self, spaceport, make_space):
        spaceport.build(make_space(None)).failed(1, 2, says=["Dockerfile"])

    def test_no_folder(self, spaceport):
        spaceport("build", "/no/such/folder").failed(1, 2, says=["/no/such/folder"])

    def test_a_file_for_a_folder(self, spaceport, make_space):
        file = make_space(SCRATCH) / "Dockerfile"
        spaceport("build", file).failed(1, 2, says=[str(file)])

    def test_no_readme(self, spaceport, make_space):
        spaceport("run", make_space(SCRATCH, {"README.md": None})).failed(1, 2, says=["README.md"])

    def test_an_empty_dockerfile(self, spaceport, make_space):
        spaceport.build(make_space("")).failed(1, says=["Dockerfile"])

    def test_a_dockerfile_that_is_a_folder(self, spaceport, make_space):
        spaceport.build(make_space(None, {"Dockerfile/x": ""})).failed(1, 2, says=["Dockerfile"])

    @pytest.mark.parametrize("more", [
        "# a comment\n" * 100_000,
        ("LABEL a=b\n" + "# more\n" * 30) * 5000,
        "LABEL a=" + "\\\n" * 500_000 + "b\n",
    ], ids=["comments", "labels", "continuations"])
    def test_a_dockerfile_of_a_megabyte(self, spaceport, make_space, more):
        """Long, but right."""
        space = make_space("FROM scratch\nCOPY Dockerfile /\n" + more)
        assert spaceport.build(space, timeout=60).image

    def test_a_megabyte_of_mistakes(self, spaceport, make_space):
        many = "FROM scratch\n" + "# a comment\n" * 100_000 + "RUM x\n" * 1000
        result = spaceport.build(make_space(many), timeout=60)
        result.failed(1, says=["Dockerfile:100002", "RUM", "RUN"])
        assert len(result.err) < 10_000

    def test_a_megabyte_of_steps(self, spaceport, make_space):
        many = "FROM busybox:latest\n" + "RUN true\n" * 100_000
        spaceport.build(make_space(many), timeout=60).failed(1, says=["Dockerfile:", "10000"])

    def test_a_dockerfile_beyond_measure(self, spaceport, make_space):
        many = "FROM scratch\n" + "# a comment\n" * 500_000
        spaceport.build(make_space(many), timeout=60).failed(1, says=["Dockerfile", "4194304"])

    def test_a_line_without_end(self, spaceport, make_space):
        long = "FROM busybox:latest\nRUN true " + "x" * 70_000 + "\n"
        spaceport.build(make_space(long)).failed(1, says=["Dockerfile:2"])

    def test_a_dockerfile_of_zero_bytes(self, spaceport, make_space):
        spaceport.build(make_space(bytes(1000))).failed(1, says=["Dockerfile:1"])

    def test_names_that_are_not_utf8(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nCOPY . /ctx\nRUN ls /ctx | grep -c caf\n",
                           {"caf\udce9.txt": "x"})
        assert spaceport.build(space).image

    def test_files_that_are_no_files(self, spaceport, make_space, account):
        space = make_space("FROM busybox:latest\nCOPY . /ctx\nRUN test -p /ctx/fifo\n")
        os.mkfifo(space / "fifo")
        account.owns(space)
        result = spaceport.build(space, timeout=60)
        assert result.code == 0 or "fifo" in result.failed(1).err

    @pytest.mark.may_skip
    def test_a_file_that_may_not_be_read(self, spaceport, make_space, account):
        if account.is_root:
            pytest.skip("root may read everything")
        space = make_space("FROM scratch\nCOPY . /\n", {"closed": "x"})
        (space / "closed").chmod(0)
        spaceport.build(space).failed(1, says=["closed", "permission denied"])

    def test_a_context_of_100_000_files(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nCOPY many /many\n"
                           "RUN test $(find /many -type f | wc -l) = 100000\n")
        for folder in range(100):
            place = space / f"many/{folder}"
            place.mkdir(parents=True)
            for file in range(1000):
                (place / str(file)).touch()
        assert spaceport.build(space).image


# README blocks that are refused: the line of the mistake, and what must be named.
BLOCKS = {
    "a tab": ("title: A\n\tsdk: docker\n", 3, ["tab"]),
    "a key twice": ("title: A\nsdk: docker\ntitle: B\n", 4, ["title"]),
    "an unclosed quote": ("title: \"A\nsdk: docker\n", None, []),
    "an unclosed list": ("title: A\nsdk: docker\ntags: [a, b\n", None, []),
    "brackets without end": ("title: " + "[" * 200_000 + "\n", 2, []),
    "an alias bomb": ("a: &a [x, x, x, x, x, x, x, x]\n"
                      + "".join(f"{n}: &{n} [{', '.join(['*' + m] * 8)}]\n"
                                for m, n in zip("abcdefgh", "bcdefghi", strict=True))
                      + "sdk: docker\n", None, []),
    "a list for a block": ("- title\n- sdk\n", 2, []),
    "app_port: a word": ("sdk: docker\napp_port: web\n", 3, ["app_port", "web"]),
    "app_port: out of range": ("sdk: docker\napp_port: 70000\n", 3, ["app_port", "70000"]),
    "app_port: zero": ("sdk: docker\napp_port: 0\n", 3, ["app_port"]),
    "another sdk": ("sdk: gradio\n", 2, ["sdk", "gradio", "docker"]),
    "no sdk": ("title: A\n", None, ["sdk"]),
    "a color that is none": ("sdk: docker\ncolorFrom: turquoise\n", 3, ["colorFrom", "turquoise"]),
    "a long description": ("sdk: docker\nshort_description: " + "x" * 61 + "\n", 3,
                           ["short_description", "60"]),
    "unknown hardware": ("sdk: docker\nsuggested_hardware: t5-huge\n", 3, ["t5-huge"]),
    "a header nobody may set": ("sdk: docker\ncustom_headers:\n  x-frame-options: DENY\n", 4,
                                ["x-frame-options"]),
    "a base path without a slash": ("sdk: docker\nbase_path: app\n", 3, ["base_path", "/"]),
    "a duration that is none": ("sdk: docker\nstartup_duration_timeout: soon\n", 3, ["soon"]),
    "bytes that are no text": ("sdk: docker\ntitle: \udcff\udcfe\n", None, []),
}


class TestReadme:
    @pytest.mark.parametrize("name", BLOCKS)
    def test_refused_with_place(self, spaceport, make_space, name):
        text, line, says = BLOCKS[name]
        block = front_matter(text).encode(errors="surrogateescape")
        space = make_space(SCRATCH, readme=block)
        place = f"README.md:{line}" if line else "README.md"
        result = spaceport("run", space, timeout=30).failed(1, 2, says=[place, *says])
        assert len(result.err) < 10_000

    @pytest.mark.parametrize("text", ["", "no block at all\n", "---\nsdk: docker\n", "\n---\n---\n",
                                      "---\n---\n"])
    def test_no_block(self, spaceport, make_space, text):
        spaceport("run", make_space(SCRATCH, readme=text)).failed(1, 2, says=["README.md"])

    def test_a_caret_points_at_the_mistake(self, spaceport, make_space):
        space = make_space(SCRATCH, readme=front_matter("sdk: docker\napp_port: web\n"))
        lines = spaceport("run", space).failed(1, 2).err.splitlines()
        source = next(i for i, line in enumerate(lines) if "app_port: web" in line)
        caret = lines[source + 1]
        assert "^" in caret
        assert lines[source].index("web") <= caret.index("^") < lines[source].index("web") + 3


class TestUsage:
    @pytest.mark.parametrize("args", [
        ["no-such-command"], ["build", "--no-such-flag"], ["build", "a", "b"],
        ["build", "--build-arg"], ["run", "-p", "web"], ["run", "-p", "0x50"],
        ["run", "-p", "70000"], ["run", "--hardware", "abacus"], ["run", "--timeout", "soon"],
        ["run", "-e", "=x"], ["run", "--env-file", "/no/such/file"], ["image"],
        ["image", "no-such-verb"], ["build", "-t", "UPPER case", "."],
    ], ids=" ".join)
    def test_wrong_usage(self, spaceport, make_space, args):
        result = spaceport(*args, cwd=make_space(SCRATCH)).failed(2)
        assert result.err and result.out == ""

    def test_help_is_the_result(self, spaceport):
        for args in (["--help"], ["build", "--help"], ["run", "--help"], ["help"]):
            assert "spaceport" in spaceport(*args).ok().out

    def test_version(self, spaceport):
        assert spaceport("--version").ok().out.startswith("spaceport ")

    def test_unknown_names(self, spaceport):
        for args in (["run", "sha256:" + "0" * 64], ["stop", "nobody"], ["logs", "nobody"],
                     ["image", "inspect", "nobody:here"], ["image", "rm", "nobody:here"]):
            spaceport(*args).failed(1, 2, says=[args[-1][:20]])


class TestConfiguration:
    @pytest.mark.parametrize("text, says", [
        ("registires:\n  docker.io: { mirror: \"http://127.0.0.1:1\" }\n",
         ["registires", "registries"]),
        ("registries: 5\n", ["registries"]),
        ("registries:\n  docker.io: { miror: x }\n", ["miror", "mirror"]),
        ("registries:\n\tdocker.io: {}\n", [":2"]),
        ("registries: " + "[" * 60_000, [":1", "brackets"]),
        ("[" * 200_000, ["65536 bytes"]),
    ], ids=["unknown key", "wrong kind", "unknown inner key", "tab", "nesting", "size"])
    def test_mistakes(self, spaceport, make_space, folder, text, says):
        file = folder / "broken.yaml"
        file.write_text(text)
        env = {"SPACEPORT_CONFIG": str(file)}
        result = spaceport.build(make_space(SCRATCH), env=env, timeout=30)
        result.failed(2, says=["broken.yaml", *says])
        file.unlink()

    def test_a_file_that_is_not_there(self, spaceport, make_space):
        spaceport.build(make_space(SCRATCH), env={"SPACEPORT_CONFIG": "/no/such.yaml"}) \
            .failed(2, says=["/no/such.yaml"])

    @pytest.mark.may_skip
    def test_a_store_that_may_not_be_written(self, spaceport, make_space, account):
        if account.is_root:
            pytest.skip("root may write everywhere")
        spaceport.build(make_space(SCRATCH), env={"SPACEPORT_DATA": "/usr/share/spaceport-none"}) \
            .failed(2, 3, says=["/usr/share/spaceport-none"])


@pytest.mark.usefixtures("root_only")
class TestMachine:
    """What the machine lacks is named, with the command that repairs it: exit code 3."""

    @pytest.fixture
    def space(self, make_space):
        return make_space("FROM busybox:latest\nRUN true\n")

    def test_no_tun_device(self, spaceport, space):
        spaceport.build(space, "--no-cache", prepare="mount -t tmpfs none /dev/net") \
            .failed(3, says=["/dev/net/tun"])

    @pytest.mark.may_skip
    def test_no_subordinate_ids(self, fresh_spaceport, space, account):
        if account.is_root:
            pytest.skip("root needs none")
        prepare = "mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid"
        fresh_spaceport.build(space, prepare=prepare).failed(
            3, says=["/etc/subuid", account.name, "usermod --add-subuids"])

    @pytest.mark.parametrize("program, package", [("crun", "crun"), ("pasta", "passt")])
    def test_a_missing_program(self, spaceport, space, program, package):
        prepare = f"mount --bind /dev/null {os.path.realpath(shutil.which(program))}"
        spaceport.build(space, "--no-cache", prepare=prepare).failed(3, says=[program, package])

    def test_doctor_tells(self, spaceport):
        whole = spaceport("doctor")
        assert whole.code in (0, 3)
        lacking = spaceport("doctor", prepare="mount -t tmpfs none /dev/net").failed(3)
        assert "/dev/net/tun" in lacking.out + lacking.err

    def test_a_full_disk(self, fresh_spaceport, make_space, account):
        """A store of 40 MB: the error names the lack of space, what is in the store stays
        whole, and with more space the same build goes through."""
        data = fresh_spaceport.data
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=40m,uid={account.uid},mode=700",
                        "none", data], check=True)
        try:
            small = make_space("FROM busybox:latest\nRUN true\n")
            first = fresh_spaceport.build(small).image
            large = make_space("FROM busybox:latest\nRUN dd if=/dev/zero of=/big bs=1M count=60\n")
            fresh_spaceport.build(large).failed(1, says=["Dockerfile:2", "disk", "is full"])
            copied = make_space("FROM busybox:latest\nCOPY big /\n", {"big": bytes(60 << 20)})
            fresh_spaceport.build(copied).failed(1, says=["Dockerfile:2", "big", "free space"])
            fresh_spaceport("image", "pull", "debian:trixie-slim").failed(
                1, says=["debian:trixie-slim", "No space left", "free space"])
            assert fresh_spaceport.build(small).image == first
            with contextlib.suppress(OSError), open(data / "fill", "wb", buffering=0) as fill:
                while fill.write(bytes(1 << 12)):
                    pass
            result = fresh_spaceport("run", make_space("FROM busybox:latest\n"), timeout=60)
            result.failed(1, says=["No space left", "free space"])
            (data / "fill").unlink()
            subprocess.run(["mount", "-o", "remount,size=400m", data], check=True)
            assert fresh_spaceport.build(large).image
        finally:
            subprocess.run(["umount", "-l", data], check=True)
