# SPDX-License-Identifier: Apache-2.0
"""`spaceport gc` and `spaceport df`: what goes, what stays, and what it takes of the disk."""

import os
import random
import signal
import subprocess
import threading
import time

import pytest
from file_server import FileServer

BIG = "RUN dd if=/dev/urandom of=/big bs=1M count={mb} 2>/dev/null\n"


def layers(program):
    """Keys of the layers in the store."""
    return set(os.listdir(program.data / "store/layers"))


def collect(program, *args, **how):
    return program("gc", "--json", *args, **how).json


def kinds(collected):
    return [item["kind"] for item in collected["deleted"]]


def disk(program):
    """What du says of the state directory, as whoever may look into all of it."""
    return int(subprocess.run(["du", "-s", "--block-size=1", program.data], check=True,
                              capture_output=True, text=True).stdout.split()[0])


def usage(program, *args):
    return program("df", "--json", *args).json


def grow_old(program, age=48 * 3600):
    """All layers, as if they had been made and used long ago."""
    for meta in (program.data / "store/layers").glob("*/meta"):
        old = int(time.time()) - age
        text = "".join(f"created {old}\n" if line.startswith("created ") else line
                       for line in meta.read_text().splitlines(keepends=True))
        meta.write_text(text)
        os.utime(meta, (old, old))


def wants_root():
    if os.geteuid() != 0:
        pytest.skip("only root can look into what an ordinary user's containers wrote")


class TestGc:
    def test_named_images_and_newest_builds_stay(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN echo one > /one\n")
        fresh_spaceport.build(space, "-t", "named").ok()
        before = layers(fresh_spaceport)
        assert collect(fresh_spaceport)["deleted"] == []
        assert layers(fresh_spaceport) == before
        images = {name for image in fresh_spaceport("images", "--json").json
                  for name in image["names"]}
        assert "docker.io/library/named:latest" in images
        assert fresh_spaceport.build(space).ok()

    def test_what_was_replaced_goes(self, fresh_spaceport, make_space):
        first = make_space("FROM busybox:latest\nRUN echo one > /one\nRUN echo two > /two\n")
        old = fresh_spaceport.build(first, "-t", "app").image
        (first / "Dockerfile").write_text("FROM busybox:latest\nRUN echo other > /one\n")
        new = fresh_spaceport.build(first, "-t", "app").image
        told = collect(fresh_spaceport, "--dry-run")
        assert sorted(kinds(told)) == ["image", "layer", "layer"] and told["dry_run"]
        assert fresh_spaceport("image", "inspect", old).code == 0, "a dry run removes nothing"
        done = collect(fresh_spaceport)
        assert done["deleted"] == told["deleted"]
        assert done["reclaimed"] > 0
        assert fresh_spaceport("image", "inspect", old).code == 1
        assert fresh_spaceport("image", "inspect", new).code == 0
        assert os.listdir(fresh_spaceport.data / "store/trash") == []
        assert collect(fresh_spaceport)["deleted"] == []

    def test_dockers_words(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN echo one > /one\n")
        image = fresh_spaceport.build(space).image
        (space / "Dockerfile").write_text("FROM busybox:latest\n")
        fresh_spaceport.build(space).ok()
        told = fresh_spaceport("gc", "--dry-run").ok().out
        assert "Would delete images:\n" + image in told and "Total reclaimable space: " in told
        done = fresh_spaceport("gc").ok().out
        assert "Deleted images:\n" + image in done and "Deleted build cache:\n" in done
        assert "Total reclaimed space: " in done

    def test_an_image_can_be_removed_and_built_again(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN echo one > /one\n")
        fresh_spaceport.build(space, "-t", "app").ok()
        fresh_spaceport("image", "rm", "app").ok()
        fresh_spaceport("gc").ok()
        assert fresh_spaceport.build(space, "-t", "app").image

    def test_all(self, fresh_spaceport, make_space):
        """What can be pulled again goes, what was built and has a name stays."""
        space = make_space("FROM busybox:latest\nRUN echo one > /one\n")
        other = make_space("FROM debian:trixie-slim\n"
                           "RUN --mount=type=cache,target=/c,id=my-cache echo x > /c/x\n")
        fresh_spaceport.build(space, "-t", "app").ok()
        fresh_spaceport.build(other).ok()
        assert collect(fresh_spaceport)["deleted"] == []
        done = collect(fresh_spaceport, "--all")
        assert "my-cache" in [item["name"] for item in done["deleted"]]
        names = [name for image in fresh_spaceport("images", "--json").json
                 for name in image["names"]]
        assert names == ["docker.io/library/app:latest"]
        assert fresh_spaceport.build(space, "-t", "app").image
        assert fresh_spaceport.build(other).image

    def test_until_and_keep_storage(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\n" + BIG.format(mb=3))
        fresh_spaceport.build(space).ok()
        for text in ("a", "b"):
            (space / "Dockerfile").write_text(f"FROM busybox:latest\nRUN echo {text} > /x\n")
            fresh_spaceport.build(space).ok()
        assert collect(fresh_spaceport, "--until", "24h")["deleted"] == []
        assert collect(fresh_spaceport, "--keep-storage", "100MiB")["deleted"] == []
        # The large layer is the one that was not used for the longest time.
        done = collect(fresh_spaceport, "--keep-storage", "1MiB")
        assert sorted(kinds(done)) == ["image", "layer"] and done["reclaimed"] > 3 << 20
        assert "layer" in kinds(collect(fresh_spaceport))
        fresh_spaceport("gc", "--keep-storage", "much").failed(2, says=["--keep-storage"])

    def test_while_a_space_runs(self, fresh_spaceport, make_space):
        """Its image loses its name and its folder, and stays whole until it ends."""
        space = make_space('FROM busybox:latest\nRUN echo hello > /index.html\n'
                           'CMD ["httpd", "-f", "-p", "7860", "-h", "/"]\n')
        with fresh_spaceport.space(space):
            for image in fresh_spaceport("images", "--json").json:
                fresh_spaceport("image", "rm", "--force", image["id"]).ok()
            assert "layer" not in kinds(collect(fresh_spaceport, "--all"))
            assert len(layers(fresh_spaceport)) >= 2
            assert usage(fresh_spaceport)["running"]["active"] == 1
        assert "layer" in kinds(collect(fresh_spaceport, "--all"))
        assert layers(fresh_spaceport) == set()

    def test_while_a_build_runs(self, fresh_spaceport, make_space):
        """Neither its base nor the steps it has done go, not even of --all."""
        space = make_space("FROM busybox:latest\nRUN echo one > /one\n"
                           "RUN echo up-$((40+2)); sleep 6; test -e /one\nRUN test -e /one\n")
        process = fresh_spaceport.start("build", "--progress", "plain", space)
        process.wait_for(lambda: "up-42" in process.err, "step")
        assert "layer" not in kinds(collect(fresh_spaceport, "--all"))
        image = process.wait(120).image
        assert fresh_spaceport("image", "inspect", image).code == 0

    def test_a_killed_build_holds_nothing(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN echo up-$((40+2)); sleep 300\n")
        process = fresh_spaceport.start("build", "--progress", "plain", space)
        process.wait_for(lambda: "up-42" in process.err, "step")
        process.signal(signal.SIGKILL)
        process.popen.wait()
        end = time.monotonic() + 10
        while layers(fresh_spaceport) and time.monotonic() < end:
            fresh_spaceport("gc", "--all").ok()
        assert layers(fresh_spaceport) == set()
        assert os.listdir(fresh_spaceport.data / "store/leases") == []
        assert os.listdir(fresh_spaceport.data / "store/active") == []
        # Of an empty control group the next build rids us.
        assert fresh_spaceport.build(make_space("FROM busybox:latest\nRUN true\n")).image

    def test_interrupted_downloads_go_by_age(self, fresh_spaceport, make_space):
        fresh_spaceport.build(make_space("FROM busybox:latest\nRUN true\n")).ok()
        store = fresh_spaceport.data / "store"
        partial = store / "images/partial"
        partial.mkdir(exist_ok=True)
        for name in ("a" * 64, "b" * 64):
            (partial / name).write_bytes(b"x" * 100_000)
        long_ago = time.time() - 9 * 24 * 3600
        os.utime(partial / ("a" * 64), (long_ago, long_ago))
        for path in (partial, *partial.iterdir()):
            os.chown(path, store.stat().st_uid, store.stat().st_gid)
        assert usage(fresh_spaceport)["downloads"]["total"] == 2
        assert kinds(collect(fresh_spaceport)) == ["download"]
        assert os.listdir(partial) == ["b" * 64]
        assert "download" in kinds(collect(fresh_spaceport, "--all"))
        assert os.listdir(partial) == []

    def test_killed_at_any_moment(self, fresh_spaceport, make_space):
        """The next one finishes, and builds work in between."""
        number = int(os.environ.get("SPACEPORT_TEST_SEED") or time.time_ns() % 1_000_000)
        print(f"SPACEPORT_TEST_SEED={number}")
        moments = random.Random(number)
        space = make_space("")
        for turn in range(8):
            (space / "Dockerfile").write_text(
                f"FROM busybox:latest\nRUN mkdir /d; for i in $(seq {turn} 900); "
                "do echo $i > /d/$i; done\nRUN cp -r /d /e\n")
            fresh_spaceport.build(space, "-t", "app").ok()
            process = fresh_spaceport.start("gc", "--all")
            time.sleep(moments.uniform(0, 0.4))
            process.signal(signal.SIGKILL)
            process.popen.wait()
            assert fresh_spaceport.build(space, "-t", "app").image
        (space / "Dockerfile").write_text("FROM busybox:latest\nRUN echo last > /last\n")
        fresh_spaceport.build(space, "-t", "app").ok()
        fresh_spaceport("gc", "--all").ok()
        assert len(layers(fresh_spaceport)) == 2
        assert os.listdir(fresh_spaceport.data / "store/trash") == []

    def test_builds_and_collections_at_once(self, fresh_spaceport, make_space):
        """None of the builds fails because of a collection, and none finds half a layer."""
        spaces = [make_space("") for _ in range(2)]
        end = time.monotonic() + 12
        failures, counts = [], {"build": 0, "gc": 0}

        def builds(space):
            turn = 0
            while time.monotonic() < end:
                turn = (turn + 1) % 3
                (space / "Dockerfile").write_text(
                    f"FROM busybox:latest AS first\nRUN echo {turn} > /one\nRUN cp /one /two\n"
                    "FROM busybox:latest\nCOPY --from=first /two /\n"
                    f"RUN test $(cat /two) = {turn}\n")
                result = fresh_spaceport.build(space)
                counts["build"] += 1
                if result.code != 0:
                    failures.append(result.err)

        def collections(*args):
            while time.monotonic() < end:
                result = fresh_spaceport("gc", *args)
                counts["gc"] += 1
                if result.code != 0:
                    failures.append(result.err)

        threads = [threading.Thread(target=builds, args=(space,)) for space in spaces]
        threads += [threading.Thread(target=collections, args=args) for args in ((), ("--all",))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        assert min(counts.values()) >= 3, counts


class TestBudget:
    def test_it_is_kept_after_a_build(self, fresh_spaceport, make_space):
        """The least recently used goes, when a build has made something."""
        space = make_space("")
        budget = {"SPACEPORT_STORE_BUDGET": "5MiB"}
        for text in ("a", "b", "c"):
            (space / "Dockerfile").write_text(
                f"FROM busybox:latest\nRUN echo {text}\n" + BIG.format(mb=2))
            fresh_spaceport.build(space).ok()
        grow_old(fresh_spaceport)
        before = layers(fresh_spaceport)
        (space / "Dockerfile").write_text("FROM busybox:latest\nRUN echo last > /last\n")
        image = fresh_spaceport.build(space, env=budget).image
        gone = before - layers(fresh_spaceport)
        assert 1 <= len(gone) <= 4, gone
        cache = usage(fresh_spaceport)
        assert cache["build_cache"]["size"] <= 5 << 20
        assert fresh_spaceport("image", "inspect", image).code == 0

    def test_a_fresh_large_layer_survives(self, fresh_spaceport, make_space):
        """However small the budget is, what was just made is not thrown away."""
        space = make_space("FROM busybox:latest\n" + BIG.format(mb=8))
        tiny = {"SPACEPORT_STORE_BUDGET": "1MiB"}
        first = fresh_spaceport.build(space, env=tiny).image
        (space / "Dockerfile").write_text("FROM busybox:latest\nRUN echo x > /x\n")
        fresh_spaceport.build(space, env=tiny).ok()
        assert fresh_spaceport("image", "inspect", first).code == 0
        (space / "Dockerfile").write_text("FROM busybox:latest\n" + BIG.format(mb=8))
        again = fresh_spaceport.build(space, "--json", env=tiny).json
        assert again["steps"] == again["cached"], "the large layer was kept"

    def test_caches_have_their_own(self, fresh_spaceport, make_space):
        for name in ("one", "two"):
            fresh_spaceport.build(make_space(
                f"FROM busybox:latest\nRUN --mount=type=cache,id={name},target=/c "
                f"dd if=/dev/zero of=/c/{name} bs=1M count=4 2>/dev/null\n")).ok()
        assert usage(fresh_spaceport)["cache_mounts"]["total"] == 2
        small = {"SPACEPORT_STORE_CACHE_BUDGET": "5MiB"}
        assert [item["name"] for item in collect(fresh_spaceport, env=small)["deleted"]] == ["one"]
        assert usage(fresh_spaceport)["cache_mounts"]["total"] == 1


class TestDf:
    def test_it_agrees_with_du(self, fresh_spaceport, make_space):
        wants_root()
        fresh_spaceport.build(make_space("FROM debian:trixie-slim\n" + BIG.format(mb=5)),
                              "-t", "app").ok()
        other = make_space("FROM busybox:latest\nRUN --mount=type=cache,target=/c "
                           "dd if=/dev/zero of=/c/x bs=1M count=4 2>/dev/null\n")
        fresh_spaceport.build(other).ok()
        (other / "Dockerfile").write_text("FROM busybox:latest\nRUN mkdir /a\n")
        fresh_spaceport.build(other).ok()
        told, real = usage(fresh_spaceport)["size"], disk(fresh_spaceport)
        assert abs(told - real) < real * 0.02, (told, real)

    def test_details(self, fresh_spaceport, make_space):
        fresh_spaceport.build(make_space("FROM busybox:latest\n" + BIG.format(mb=2)),
                              "-t", "one").ok()
        fresh_spaceport.build(make_space("FROM busybox:latest\nRUN mkdir /a\n"), "-t", "two").ok()
        told = usage(fresh_spaceport, "--verbose")
        images = {row["name"]: row for row in told["details"] if row["type"] == "images"}
        one = images["docker.io/library/one:latest"]
        base = images["docker.io/library/busybox:latest"]
        # The base is shared, what was made on it is not.
        assert one["shared"] == base["size"] == base["shared"]
        assert one["size"] - one["shared"] >= 2 << 20
        text = fresh_spaceport("df", "--verbose").ok().out
        assert "RECLAIMABLE" in text and "\nImages:\n" in text and "busybox:latest" in text

    def test_built_images_have_a_size(self, fresh_spaceport, make_space):
        fresh_spaceport.build(make_space("FROM busybox:latest\n" + BIG.format(mb=2)),
                              "-t", "one").ok()
        sizes = {name: image["size"] for image in fresh_spaceport("images", "--json").json
                 for name in image["names"]}
        assert sizes["docker.io/library/one:latest"] >= \
            sizes["docker.io/library/busybox:latest"] + (2 << 20)

    def test_what_add_fetched(self, fresh_spaceport, make_space):
        """It is told, and goes with --all only."""
        as_host = {"SPACEPORT_BUILD_FETCH_NETWORK": "host"}
        with FileServer() as server:
            server.files = {"/big": os.urandom(2 << 20)}
            space = make_space(f"FROM busybox:latest\nADD {server.url}/big /big\n")
            fresh_spaceport.build(space, env=as_host).ok()
            assert usage(fresh_spaceport)["downloads"]["size"] >= 2 << 20
            assert "download" not in kinds(collect(fresh_spaceport))
            assert "download" in kinds(collect(fresh_spaceport, "--all", "--dry-run"))
            assert "download" in kinds(collect(fresh_spaceport, "--all"))
            assert usage(fresh_spaceport)["downloads"]["size"] < 1 << 20
            assert fresh_spaceport.build(space, env=as_host).image

    def test_runs_that_have_ended(self, fresh_spaceport, make_space):
        space = make_space('FROM busybox:latest\nCMD ["httpd", "-f", "-p", "7860", "-h", "/"]\n')
        with fresh_spaceport.space(space):
            fresh_spaceport("gc", "--all").ok()
            assert len(fresh_spaceport("ps", "--json").json) == 1
        fresh_spaceport("gc").ok()
        assert len(fresh_spaceport("ps", "--all", "--json").json) == 1
        fresh_spaceport("gc", "--all").ok()
        assert fresh_spaceport("ps", "--all", "--json").json == []

    def test_an_empty_store(self, fresh_spaceport):
        assert usage(fresh_spaceport)["images"]["total"] == 0
        assert collect(fresh_spaceport, "--all")["deleted"] == []
