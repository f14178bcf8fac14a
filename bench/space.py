# SPDX-License-Identifier: Apache-2.0
"""The Space that is built: a copy whose base images come from the bench's registry, and
the changes made to it."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Small and pure Python: what is added to a lock file, one at a time.
PACKAGES = ("iniconfig", "tabulate", "zipp", "toml", "pluggy", "wcwidth", "colorama",
            "itsdangerous", "docopt", "termcolor", "xmltodict", "blinker", "shortuuid",
            "inflection", "humanize")
CACHE_MOUNT = "RUN --mount=type=cache,target={home}/.cache/uv,uid=1000,gid=1000 uv sync"


@dataclass
class Instruction:
    line: int  # of the Dockerfile, from 0
    word: str
    text: str


def instructions(dockerfile):
    """The instructions of a Dockerfile without heredocs."""
    found, text, start = [], "", 0
    for number, line in enumerate(dockerfile.splitlines()):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        start = start if text else number
        text += line.removesuffix("\\")
        if not line.endswith("\\"):
            word, _, rest = text.strip().partition(" ")
            found.append(Instruction(start, word.upper(), rest.strip()))
            text = ""
    return found


class Space:
    def __init__(self, original, registry, folder):
        self.original, self.folder = Path(original), folder / "space"
        shutil.copytree(original, self.folder,
                        ignore=shutil.ignore_patterns(".venv", "__pycache__", ".git"))
        self.dockerfile = registry.rename(self.read("Dockerfile"))
        self.write("Dockerfile", self.dockerfile)
        port = re.search(r"(?m)^app_port:\s*(\d+)", self.read("README.md"))
        self.port = int(port[1]) if port else 7860
        self.app = self.read("app.py")

    def read(self, name):
        return (self.folder / name).read_text()

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def write_all(self, files):
        for name, text in files.items():
            self.write(name, text)

    def edit(self, old, new):
        """The app says `new` where it said `old`."""
        if old not in self.app:
            raise SystemExit(f"bench: app.py has no “{old}”; name a text that it shows with --text")
        self.write("app.py", self.app.replace(old, new))

    def restore(self):
        self.write("app.py", self.app)
        self.write("Dockerfile", self.dockerfile)

    # ---- Steps that follow an edit ----

    def after_edit(self):
        """The RUN steps behind the last COPY, which every edit runs again, as commands;
        and the Dockerfile up to them."""
        steps = instructions(self.dockerfile)
        copies = [i for i, step in enumerate(steps) if step.word in ("COPY", "ADD")]
        runs = [step for step in steps[copies[-1] + 1:] if step.word == "RUN"]
        commands = [re.sub(r"^(--\S+\s+)*", "", step.text) for step in runs]
        end = runs[0].line if runs else None
        return commands, "\n".join(self.dockerfile.splitlines()[:end]) + "\n"

    # ---- Packages ----

    def with_cache_mount(self):
        """The Dockerfile whose `uv sync` keeps its downloads in a cache mount, or None."""
        home = re.search(r"\bHOME=(/\S+)", self.dockerfile)
        if not home or "RUN uv sync" not in self.dockerfile:
            return None
        return self.dockerfile.replace("RUN uv sync", CACHE_MOUNT.format(home=home[1]))

    def lock_with(self, package, uv, folder):
        """{file name: contents} of a lock file with one more package; that package
        is downloaded on the way, so that whoever installs it finds the network warm."""
        place = folder / f"lock-{package}"
        place.mkdir()
        names = ("pyproject.toml", "uv.lock")
        for name in names:
            shutil.copy(self.folder / name, place)
        env = dict(os.environ, UV_CACHE_DIR=str(folder / "uv-cache"))
        subprocess.run([uv, "add", "--quiet", "--project", place, package], env=env, check=True)
        return {name: (place / name).read_text() for name in names}

    def locks(self, count, uv, folder):
        if not (self.folder / "uv.lock").exists():
            return []
        lock = self.read("uv.lock")
        new = [name for name in PACKAGES if f'name = "{name}"' not in lock]
        return [self.lock_with(name, uv, folder) for name in new[:count]]
