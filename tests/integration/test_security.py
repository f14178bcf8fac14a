# SPDX-License-Identifier: Apache-2.0
"""What images, contexts and steps must not be able to do to the machine they are on."""

import json
import os
import socket
import stat
import subprocess
import tarfile
import threading

import httpx
import oci
import pytest
from bad_registry import BadRegistry
from hostile import CANARY, up

PEEK = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"


@pytest.fixture
def evil(fresh_spaceport, layout, tmp_path, config_for):
    """evil(FILL, …): the program with an empty store and a mirror that has one image, "evil",
    whose layers are busybox and then, for each FILL, what it puts into a LayerTar."""
    registries = []

    def make(*fills, base=True, config=None):
        arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        new = oci.Layout(tmp_path / f"layout-{len(registries)}")
        layers = [new.layer(busybox_tar(layout, tmp_path))] if base else []
        for fill in fills:
            layer = oci.LayerTar()
            made = fill(layer)
            layers.append(made(new) if callable(made) else new.layer(layer.done()))
        new.tag("docker.io/library/evil:latest", new.image(
            arch, layers, {"Cmd": ["sh"], "Env": ["PATH=/bin"]} | (config or {})))
        new.save()
        registries.append(BadRegistry(new.root).__enter__())
        fresh_spaceport.config = config_for(registries[-1].url)
        return fresh_spaceport

    yield make
    for registry in registries:
        registry.__exit__()


def busybox_tar(layout, tmp_path):
    """The busybox layer, the largest of its index, as a plain tar file."""
    with BadRegistry(layout) as registry:
        top = registry.manifests["library/busybox", "latest"]["digest"]
        layers = [json.loads(registry.read(child["digest"]))["layers"][0]
                  for child in json.loads(registry.read(top))["manifests"]]
        blob = registry.read(max(layers, key=lambda layer: layer["size"])["digest"])
    (tmp_path / "busybox.tar.gz").write_bytes(blob)
    plain = open(tmp_path / "busybox.tar", "w+b")
    subprocess.run(["gzip", "-dc", tmp_path / "busybox.tar.gz"], stdout=plain, check=True)
    plain.seek(0)
    return plain


class TestLayers:
    """Layers that mean harm: refused with the entry's name, or taken as the image's own."""

    @pytest.mark.parametrize("prefix", ["", "./", "a/"])
    def test_names_that_lead_out(self, evil, outside, prefix):
        name = prefix + up(outside / "new")
        program = evil(lambda layer: layer.add(name, data=b"x"))
        program("image", "pull", "evil").failed(1, says=["evil", ".."])

    def test_absolute_names_stay_inside(self, evil, outside, make_space):
        program = evil(lambda layer: layer.add(str(outside / "new"), data=b"x"))
        result = program.build(make_space(f"FROM evil\nRUN test -f {outside}/new\n"))
        assert result.code in (0, 1)

    def test_through_a_symlink(self, evil, outside):
        def fill(layer):
            layer.symlink("link", str(outside))
            layer.add("link/new", data=b"x")

        assert evil(fill)("image", "pull", "evil").code in (0, 1)

    def test_through_a_symlink_of_a_lower_layer(self, evil, outside):
        program = evil(lambda layer: layer.symlink("link", str(outside)),
                       lambda layer: layer.add("link/new", data=b"x"))
        assert program("image", "pull", "evil").code in (0, 1)

    def test_over_a_symlink(self, evil, outside):
        """A file entry replaces a symlink of that name; it must not write through it."""
        def fill(layer):
            layer.symlink("link", str(outside / "canary"))
            layer.add("link", data=b"x")

        assert evil(fill)("image", "pull", "evil").code in (0, 1)

    @pytest.mark.parametrize("form", [str, up])
    def test_hard_links_to_the_outside(self, evil, outside, form):
        program = evil(lambda layer: layer.hardlink("got", form(outside / "canary")))
        program("image", "pull", "evil").failed(1, says=["evil", "canary"])

    def test_hard_links_through_a_symlink(self, evil, outside):
        def fill(layer):
            layer.symlink("link", str(outside))
            layer.hardlink("got", "link/canary")

        evil(fill)("image", "pull", "evil").failed(1, says=["evil"])

    def test_absolute_symlinks_are_legitimate(self, evil, make_space):
        program = evil(lambda layer: layer.symlink("etc/mtab", "/proc/mounts"))
        space = make_space("FROM evil\nRUN test \"$(readlink /etc/mtab)\" = /proc/mounts\n")
        assert program.build(space).image

    @pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
    def test_device_nodes(self, evil, kind):
        def fill(layer):
            info = tarfile.TarInfo("device")
            info.type, info.mode, info.devmajor, info.devminor = kind, 0o666, 1, 5
            layer.tar.addfile(info)

        program = evil(fill)
        assert program("image", "pull", "evil").code in (0, 1)
        assert not devices(program.data)

    def test_the_overlay_whiteout_as_a_device(self, evil, make_space):
        """A 0:0 character device would hide the file below in the kernel's own terms."""
        def fill(layer):
            info = tarfile.TarInfo("bin/sh")
            info.type, info.mode = tarfile.CHRTYPE, 0o666
            layer.tar.addfile(info)

        result = evil(fill).build(make_space("FROM evil\nRUN true\n"))
        assert result.code == 0 or "bin/sh" in result.err

    @pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "bin/.wh.", "bin/.wh..",
                                      "bin/.wh...", "bin/../.wh.etc", up("/.wh.tmp")])
    def test_whiteouts_of_parents(self, evil, name):
        program = evil(lambda layer: layer.add(name))
        program("image", "pull", "evil").failed(1, says=["evil", ".wh."])

    def test_a_whiteout_through_a_symlink(self, evil, outside):
        program = evil(lambda layer: layer.symlink("link", str(outside)),
                       lambda layer: layer.add("link/.wh.canary"))
        assert program("image", "pull", "evil").code in (0, 1)

    def test_a_root_that_is_no_folder(self, evil, outside):
        program = evil(lambda layer: layer.symlink("./", str(outside)), base=False)
        program("image", "pull", "evil").failed(1, says=["evil"])

    @pytest.mark.parametrize("name", ["user.overlay.opaque", "trusted.overlay.opaque",
                                      "user.overlay.redirect", "trusted.overlay.redirect"])
    def test_overlay_attributes(self, evil, make_space, name):
        def fill(layer):
            info = tarfile.TarInfo("bin")
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            info.pax_headers = {f"SCHILY.xattr.{name}": "y" if "opaque" in name else "/etc"}
            layer.tar.addfile(info)

        assert evil(fill).build(make_space("FROM evil\nRUN true\n")).image

    def test_a_bomb(self, evil, folder):
        """Two gigabytes of zeros in a few hundred kilobytes."""
        def fill(layer):
            info = tarfile.TarInfo("zeros")
            info.size = 2 << 30
            layer.file.write(info.tobuf(tarfile.PAX_FORMAT))
            layer.file.truncate(layer.file.tell() + info.size + 1024)
            layer.file.seek(0)
            return lambda new: new.layer(layer.file, "zstd")

        program = evil(fill)
        program("image", "pull", "evil", timeout=300).failed(1, says=["evil", "200 times"])

    @pytest.mark.parametrize("what", ["name", "attribute"])
    def test_headers_without_measure(self, evil, what):
        def fill(layer):
            info = tarfile.TarInfo("a" * (64 << 20) if what == "name" else "a")
            if what == "attribute":
                info.pax_headers = {"SCHILY.xattr.user.a": "b" * (64 << 20)}
            layer.tar.addfile(info)

        evil(fill)("image", "pull", "evil").failed(1, says=["evil"])

    def test_a_tar_that_ends_early(self, evil):
        def fill(layer):
            info = tarfile.TarInfo("short")
            info.size = 1 << 20
            layer.file.write(info.tobuf(tarfile.PAX_FORMAT) + b"only this")
            layer.file.seek(0)
            return lambda new: new.layer(layer.file)

        evil(fill)("image", "pull", "evil").failed(1, says=["evil"])

    def test_a_size_below_zero(self, evil):
        def fill(layer):
            info = tarfile.TarInfo("negative")
            header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
            header[124:136] = b"\xff" * 12
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            layer.file.write(bytes(header) + bytes(1024))
            layer.file.seek(0)
            return lambda new: new.layer(layer.file)

        evil(fill)("image", "pull", "evil").failed(1, says=["evil"])


def devices(top):
    """Device nodes below a folder, but for 0:0, which is how overlayfs marks a whiteout."""
    found = []
    for folder, _, files in os.walk(top):
        for name in files:
            info = os.lstat(os.path.join(folder, name))
            if (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)) and info.st_rdev != 0:
                found.append(name)
    return found


class TestImages:
    """Images whose files are laid out against whoever starts a container from them."""

    @pytest.mark.parametrize("name", ["dev", "proc", "sys", "run", "etc/resolv.conf", "etc/hosts"])
    def test_mount_points_that_are_symlinks(self, evil, outside, make_space, name):
        def fill(layer):
            layer.whiteout(name)
            layer.symlink(name, str(outside))

        program = evil(fill)
        space = make_space("FROM evil\nRUN --mount=type=secret,id=S true\n")
        assert program.build(space, "--secret", "id=S,env=HOME").code in (0, 1)

    @pytest.mark.parametrize("kind", ["fifo", "endless", "outside"])
    def test_passwd_that_is_no_file(self, evil, outside, make_space, kind):
        def fill(layer):
            if kind == "fifo":
                layer.add("etc/passwd", tarfile.FIFOTYPE)
            else:
                target = "/dev/zero" if kind == "endless" else str(outside / "canary")
                layer.symlink("etc/passwd", target)

        space = make_space("FROM evil\nCOPY --chown=someone Dockerfile /\n")
        result = evil(fill).build(space, timeout=60).failed(1, says=["someone"])
        assert CANARY not in result.err

    def test_a_working_directory_in_proc(self, spaceport, outside, make_space):
        for number in range(3, 12):
            space = make_space(f"FROM busybox:latest\nWORKDIR /proc/self/fd/{number}\n"
                               f"RUN cat {up(outside / 'canary')}; ls -la; true\n")
            assert CANARY not in spaceport.build(space, "--progress", "plain").err

    def test_a_running_space_with_a_working_directory_in_proc(self, spaceport, make_space):
        for number in (3, 7):
            space = make_space(f"FROM busybox:latest\nWORKDIR /proc/self/fd/{number}\n"
                               'CMD ["ls", "-la", "/proc/self/cwd/"]\n')
            result = spaceport("run", "--timeout", "30s", space).failed(1)
            assert "canary" not in result.err and "layers" not in result.err

    def test_a_configuration_that_leads_out(self, evil, outside, make_space):
        """Paths of the image's own configuration are paths inside of it."""
        program = evil(config={"WorkingDir": "/" + up(outside), "User": "0:../../etc",
                               "Volumes": {up(outside): {}}})
        space = make_space("FROM evil\nUSER 0\nCOPY Dockerfile copied\n"
                           f"RUN touch made && test -f {outside}/made -a -f {outside}/copied\n")
        program.build(space).ok()

    @pytest.mark.parametrize("user, says", [
        ("nobody-here", 'user "nobody-here"'), ("0:../../etc", 'group "../../etc"'),
        ("4294967296", "4294967296"), ("-1", '"-1"'), ("a\nb", 'user "a'),
    ])
    def test_a_user_that_is_none(self, evil, make_space, user, says):
        program = evil(config={"User": user})
        program.build(make_space("FROM evil\nRUN true\n")).failed(1, says=[says])

    def test_setuid_files_of_a_layer(self, evil, make_space):
        """They are the image's own, and nobody of the host reaches them."""
        program = evil(lambda layer: layer.add("bin/s", data=b"#!/bin/sh\n", mode=0o4755))
        space = make_space("FROM evil\nRUN test -u /bin/s -a ! -g /bin/s\n")
        assert program.build(space).image
        assert_setuid_closed(program)

    def test_the_store_is_closed_to_other_users(self, spaceport, make_space):
        """Layers hold setuid programs of other users' making."""
        assert spaceport.build(make_space(
            "FROM busybox:latest\nRUN cp /bin/busybox /s && chmod 4755 /s\n")).image
        assert_setuid_closed(spaceport)


def assert_setuid_closed(program):
    setuid = [path for path in program.store_files() if path.stat().st_mode & stat.S_ISUID]
    assert setuid
    for path in setuid:
        parents = [parent for parent in path.parents if parent.is_relative_to(program.data)]
        assert any(not parent.stat().st_mode & 0o001 for parent in parents)


class TestContext:
    def test_a_symlink_out_of_the_context(self, spaceport, outside, make_space):
        for source, link in (("leak", outside / "canary"), ("leak/", outside),
                             ("leak/canary", outside)):
            space = make_space(f"FROM busybox:latest\nCOPY {source} /copied/\n"
                               "RUN cat /copied/*; true\n")
            (space / "leak").symlink_to(link)
            result = spaceport.build(space, "--no-cache", "--progress", "plain")
            assert result.code in (0, 1) and CANARY not in result.err

    def test_symlinks_within_a_copied_folder_are_kept(self, spaceport, outside, make_space):
        space = make_space("FROM busybox:latest\nCOPY tree /tree\n"
                           f"RUN test \"$(readlink /tree/leak)\" = {outside}/canary\n")
        (space / "tree").mkdir()
        (space / "tree/leak").symlink_to(outside / "canary")
        assert spaceport.build(space).image

    def test_mount_sources_stay_in_their_stage(self, spaceport, outside, make_space):
        space = make_space(f"FROM busybox:latest AS other\nRUN ln -s {outside} /link\n"
                           "FROM busybox:latest\n"
                           "RUN --mount=type=bind,from=other,source=/link,target=/x "
                           "! cat /x/canary\n")
        result = spaceport.build(space, "--progress", "plain")
        assert result.code in (0, 1) and CANARY not in result.err

    def test_cache_ids_are_no_paths(self, spaceport, outside, make_space):
        space = make_space("FROM busybox:latest\n"
                           f"RUN --mount=type=cache,target=/c,id={up(outside)} touch /c/new\n")
        assert spaceport.build(space).code in (0, 1)


class TestSteps:
    def test_root_of_a_step_is_not_root_of_the_host(self, spaceport, make_space):
        space = make_space("""FROM busybox:latest
RUN ! mknod /device c 1 5
RUN ! mount -t tmpfs none /mnt 2> /dev/null
RUN ! echo spaceport-test > /proc/sys/kernel/hostname
""")
        assert spaceport.build(space, "--no-cache").image

    def test_no_descriptor_of_the_program(self, spaceport, make_space):
        """ls has one more than it was given: that of the folder it lists."""
        space = make_space('FROM busybox:latest\nRUN test "$(ls /proc/self/fd | wc -l)" = 4\n')
        assert spaceport.build(space, "--no-cache").image

    def test_control_sequences_of_a_step(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\n"
                           "RUN printf '\\033]0;title\\007\\033[2Jran-%d\\n' 42\n")
        for progress in ("plain", "auto"):
            result = spaceport.build(space, "--no-cache", "--progress", progress).ok()
            assert "ran-42" in result.err
            assert "\033" not in result.err and "\007" not in result.err

    def test_processes_without_end(self, spaceport, make_space):
        """Far more than a build needs, and few enough that a missing limit ends no machine."""
        space = make_space("FROM busybox:latest\nRUN i=0; while [ $i -lt 12000 ]; do "
                           "sleep 120 & i=$((i+1)); done\n")
        spaceport.build(space, timeout=120).failed(1, says=["Dockerfile:2", "fork"])

    def test_what_a_step_leaves_running_is_ended(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN setsid sleep 300 > /dev/null 2>&1 & true\n")
        assert spaceport.build(space, "--no-cache", timeout=60).image


@pytest.fixture
def host_service():
    """A service on every address of the host, loopback included: its port, and the greetings
    it has given. It greets with the canary."""
    greeted = []
    server = socket.create_server(("::", 0), family=socket.AF_INET6,
                                  dualstack_ipv6=True)

    def greet():
        while True:
            try:
                visitor, _ = server.accept()
            except OSError:
                return
            greeted.append(1)
            with visitor:
                visitor.sendall(CANARY.encode() + b"\n")

    threading.Thread(target=greet, daemon=True).start()
    yield server.getsockname()[1], greeted
    server.shutdown(socket.SHUT_RDWR)
    server.close()


# Every way to the host that a container can think of: its own loopback, the gateway, and
# its own addresses, which pasta takes over from the host.
REACH = """#!/bin/sh
gateway=$(ip route | awk '/^default/ { print $3 }')
own=$(ip -o addr | awk '{ sub("/.*", "", $4); print $4 }')
for address in 127.0.0.1 127.1.2.3 ::1 0.0.0.0 169.254.1.1 $gateway $own; do
    echo "trying $address"
    timeout 2 nc "$address" PORT < /dev/null
done
echo tried-$((40+2))
"""


class TestHostLoopback:
    def test_from_a_step(self, spaceport, make_space, host_service):
        port, greeted = host_service
        space = make_space("FROM busybox:latest\nCOPY reach.sh /\nRUN /reach.sh\n",
                           {"reach.sh": REACH.replace("PORT", str(port))})
        result = spaceport.build(space, "--no-cache", "--progress", "plain").ok()
        assert "tried-42" in result.err and CANARY not in result.err and not greeted

    def test_from_a_running_space(self, running_space, make_space, host_service):
        port, greeted = host_service
        script = PEEK + REACH.removeprefix("#!/bin/sh\n").replace("PORT", str(port))
        space_dir = make_space('FROM busybox:latest\nCOPY www /www\n'
                               'CMD ["httpd", "-f", "-p", "7860", "-h", "/www"]\n',
                               {"www/cgi-bin/reach": script})
        with running_space(space_dir) as space:
            answer = httpx.get(space.url + "/cgi-bin/reach", timeout=60, trust_env=False).text
        assert "tried-42" in answer and CANARY not in answer and not greeted


def test_a_running_space_has_no_privilege(running_space, make_space):
    script = PEEK + "cat /proc/self/status; test -s /proc/kcore && echo KCORE\n"
    space_dir = make_space('FROM busybox:latest\nCOPY www /www\n'
                           'CMD ["httpd", "-f", "-p", "7860", "-h", "/www"]\n',
                           {"www/cgi-bin/status": script})
    with running_space(space_dir) as space:
        answer = httpx.get(space.url + "/cgi-bin/status", trust_env=False).text
    fields = dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2"
    assert "KCORE" not in answer
