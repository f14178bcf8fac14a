# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the registry with the base images, the program as root and as a user,
Spaces made on the spot, and the check that nothing is left behind."""

import getpass
import os
import random
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import leaks
import pytest
from browser import Browser
from hostile import CANARY
from program import Account, Program

ROOT = Path(__file__).resolve().parents[2]
TEST_USER = "spaceport-test"

README = """---
title: {title}
emoji: 🚀
colorFrom: blue
colorTo: gray
sdk: docker
app_port: {port}
---
"""


def pytest_configure(config):
    if not config.option.markexpr:
        config.option.markexpr = "not guide_full"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Under SPACEPORT_MUST_RUN=1 a test that would be skipped has failed."""
    report = (yield).get_result()
    must_run = os.environ.get("SPACEPORT_MUST_RUN") == "1"
    if report.skipped and must_run and not item.get_closest_marker("may_skip") \
            and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{item.nodeid} must run: {reason}"


@pytest.fixture(scope="session")
def folder():
    """The tests' own folder, which every account may enter."""
    os.umask(0o022)
    path = Path(tempfile.mkdtemp(prefix="spaceport-it-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # what an ordinary user's containers wrote belongs to his range of ids
        subprocess.run(["unshare", "--map-auto", "--map-root-user", "rm", "-rf", path], check=False)


@pytest.fixture(scope="session")
def mark():
    return f"spaceport-{uuid.uuid4().hex}"


def tool(*command):
    done = subprocess.run([str(ROOT / command[0]), *command[1:]], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout


@pytest.fixture(scope="session")
def layout():
    """The OCI layout with the base images."""
    return Path(tool("tests/images/make").strip())


@pytest.fixture(scope="session")
def registry():
    """Address of a real registry on loopback that has the base images."""
    holder = subprocess.Popen([ROOT / "tools/registry", "hold"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              start_new_session=True)
    address = holder.stdout.readline().strip()
    if not address:
        pytest.fail(f"tools/registry hold:\n{holder.communicate()[1]}")
    tool("tests/images/make", "--push", address)
    yield address
    holder.communicate()
    assert holder.returncode == 0


def write_config(path, mirror):
    path.write_text("registries:\n" + "".join(
        f'  {host}: {{ mirror: "{mirror}" }}\n' for host in ("docker.io", "ghcr.io")))
    return path


@pytest.fixture(scope="session")
def config_file(registry, folder):
    return write_config(folder / "spaceport.yaml", registry)


@pytest.fixture
def config_for(folder):
    """config_for(address): a configuration whose registries are all mirrored there."""
    made = []

    def make(mirror):
        made.append(folder / f"config-{uuid.uuid4().hex}.yaml")
        return write_config(made[-1], mirror)

    yield make
    for path in made:
        path.unlink()


@pytest.fixture(scope="session")
def binary(folder):
    """The program, copied to where an ordinary user can start it."""
    built = Path(os.environ.get("SPACEPORT_BIN") or ROOT / "build/spaceport")
    if not built.exists():
        pytest.fail(f"{built} is missing; run make")
    return Path(shutil.copy2(built, folder / "spaceport"))


def account_names():
    return ["root", "user"] if os.geteuid() == 0 else ["user"]


@pytest.fixture(scope="session", params=account_names())
def account(request):
    if os.geteuid() != 0:
        return Account.named(getpass.getuser())
    if request.param == "root":
        return Account("root", 0, 0)
    try:
        return Account.named(TEST_USER)
    except KeyError:
        pytest.fail(f"no user {TEST_USER}; run tools/setup test")


@pytest.fixture(scope="session")
def spaceport(binary, account, folder, config_file, mark):
    """The program as root and then as an ordinary user, with a store that tests share."""
    return Program(binary, account, folder / account.name, config_file, mark)


@pytest.fixture
def fresh_spaceport(binary, account, folder, config_file, mark):
    """The same with an empty store that no other test sees."""
    program = Program(binary, account, folder / f"fresh-{uuid.uuid4().hex[:8]}", config_file, mark)
    yield program
    remove_store(program)


def remove_store(program):
    """Layers of an ordinary user hold files of subordinate ids, which root may remove, and
    which the user may remove only inside a namespace with those ids."""
    if os.geteuid() == 0:
        shutil.rmtree(program.folder)
    else:
        subprocess.run(["unshare", "--map-auto", "--map-root-user", "rm", "-rf", program.folder],
                       check=True)


@pytest.fixture
def running_space(spaceport):
    """with running_space(DIR, *ARGS) as space: `spaceport run`, up and answering."""
    return spaceport.space


@pytest.fixture
def make_space(folder, account):
    """make_space(DOCKERFILE, {NAME: CONTENTS}): a folder with a Space, for one test. A file
    whose contents begin with #! is executable."""
    made = []

    def make(dockerfile, files=None, readme=None, title="Test", port=7860):
        space = folder / f"space-{uuid.uuid4().hex[:8]}"
        block = README.format(title=title, port=port) if readme is None else readme
        contents = {"README.md": block, "Dockerfile": dockerfile, **(files or {})}
        for name, text in contents.items():
            if text is None:
                continue
            path = space / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            path.chmod(0o755 if path.read_bytes().startswith(b"#!") else 0o644)
        made.append(space)
        return account.owns(space)

    yield make
    for space in made:
        shutil.rmtree(space)


@pytest.fixture
def example(folder, account):
    """example(NAME): a copy of an example Space, for one test, made as its README says."""
    made = []

    def copy(name):
        made.append(folder / f"{name}-{uuid.uuid4().hex[:8]}")
        shutil.copytree(ROOT / "examples" / name, made[-1],
                        ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        if (made[-1] / "Makefile").exists():
            subprocess.run(["make", "-s", "-C", made[-1]], check=True)
        return account.owns(made[-1])

    yield copy
    for space in made:
        shutil.rmtree(space)


@pytest.fixture(autouse=True)
def nothing_left(folder, mark):
    """Every test leaves the machine as it was."""
    watch = leaks.Watch(folder, mark)
    leaks.began = time.time()
    yield
    left = watch.leaks()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
def outside(folder, account):
    """A folder of the host beside the store: one file in it, and so it must stay."""
    place = folder / f"outside-{account.name}"
    place.mkdir(exist_ok=True)
    (place / "canary").write_text(CANARY)
    account.owns(place)
    yield place
    assert [path.name for path in place.iterdir()] == ["canary"]
    assert (place / "canary").read_text() == CANARY
    assert (place / "canary").stat().st_nlink == 1
    (place / "canary").unlink()
    place.rmdir()


@pytest.fixture
def moments():
    """By chance, but a failing run names the seed that repeats them."""
    number = int(os.environ.get("SPACEPORT_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"SPACEPORT_TEST_SEED={number}")
    return random.Random(number)


@pytest.fixture
def root_only():
    if os.geteuid() != 0:
        pytest.skip("only root can make a machine that lacks something")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: browser.open(URL)."""
    program = shutil.which("chromium") or pytest.skip("no chromium on this machine")
    with Browser(program) as running:
        yield running
