# SPDX-License-Identifier: Apache-2.0
"""Every example is built and run as its README says, and used by real clients."""

import hashlib
import json
import shutil
import time
import urllib.parse

import gradio_client
import httpx
import pytest
from conftest import ROOT
from websockets.sync.client import connect


def test_hello_c(running_space, example):
    with running_space(example("hello-c")) as space:
        answer = httpx.get(space.url, trust_env=False)
        assert answer.status_code == 200 and "user 1000" in answer.text
        assert "Hello from C" in answer.text
        assert httpx.get(space.url + "/other", trust_env=False).status_code == 404


def test_sentiment(running_space, example, browser):
    with running_space(example("sentiment"), timeout=600) as space:
        client = gradio_client.Client(space.url, verbose=False)
        for sentence, mood in (("I love it, it works", "glad"), ("not good at all", "sad")):
            assert client.predict(sentence, api_name="/classify")["label"] == mood
        browser.open(space.url).wait_for("Glad or sad?")


def test_streamlit(running_space, example, browser):
    with running_space(example("streamlit"), timeout=600) as space:
        assert space.url.rstrip("/").endswith(":8501")
        assert httpx.get(space.url + "/_stcore/health", trust_env=False).text == "ok"
        browser.open(space.url).wait_for("How savings grow").wait_for("After 20 years")


@pytest.fixture(scope="module")
def wire(spaceport, folder):
    """The FastAPI example, running for all the tests of this module."""
    copy = folder / f"wire-{spaceport.account.name}"
    shutil.copytree(ROOT / "examples/fastapi", copy, ignore=shutil.ignore_patterns(".venv"))
    spaceport.account.owns(copy)
    with spaceport.space(copy, timeout=600) as space:
        yield space.url
    shutil.rmtree(copy)


class TestWire:
    """What a web app needs passes through."""

    def test_page(self, wire, browser):
        page = browser.open(wire).wait_for("runs as user 1000").wait_for("WebSocket: hello")
        assert page.evaluate("document.getElementById('event').textContent") != "none yet"

    def test_who(self, wire):
        who = httpx.get(wire + "/who", trust_env=False).json()
        assert (who["uid"], who["gid"], who["home"]) == (1000, 1000, "/home/user")
        assert who["title"] == "Wire Check"

    def test_websocket(self, wire):
        with connect("ws" + wire.removeprefix("http") + "/echo", max_size=1 << 25,
                     proxy=None) as socket:
            for message in ("text", b"\0bytes", "long " * 200_000, bytes(1 << 24)):
                socket.send(message)
                assert socket.recv(30) == message

    def test_websocket_stays_open(self, wire):
        with connect("ws" + wire.removeprefix("http") + "/echo", proxy=None) as socket:
            for _ in range(3):
                time.sleep(1)
                socket.ping().wait(5)
            socket.send("still there")
            assert socket.recv(5) == "still there"

    def test_events_come_one_by_one(self, wire):
        arrivals = []
        with httpx.stream("GET", wire + "/clock?ticks=4", timeout=10, trust_env=False) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    arrivals.append(time.monotonic())
        assert len(arrivals) == 4
        assert arrivals[-1] - arrivals[0] > 1.0, "all at once: something on the way collects them"

    def test_chunked_upload(self, wire):
        digest, pieces = hashlib.sha256(), 800
        piece = bytes(range(256)) * 256

        def body():
            for _ in range(pieces):
                digest.update(piece)
                yield piece

        answer = httpx.post(wire + "/sum", content=body(), timeout=120, trust_env=False).json()
        assert answer == {"bytes": pieces * len(piece), "sha256": digest.hexdigest()}

    def test_large_upload_with_a_length(self, wire):
        body = bytes(64 << 20)
        answer = httpx.post(wire + "/sum", content=body, timeout=120, trust_env=False).json()
        assert answer == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}

    def test_large_download(self, wire):
        total = 0
        url = wire + f"/bytes/{200 << 20}"
        with httpx.stream("GET", url, timeout=120, trust_env=False) as answer:
            for piece in answer.iter_raw():
                total += len(piece)
        assert total == 200 << 20

    def test_a_visitor_who_leaves_harms_nobody(self, wire):
        for _ in range(5):
            with httpx.stream("GET", wire + f"/bytes/{1 << 30}", trust_env=False) as answer:
                next(answer.iter_raw())
        assert httpx.get(wire + "/who", trust_env=False).status_code == 200

    def test_odd_paths_and_methods_arrive_as_sent(self, wire):
        for path in ("/%2e%2e/x", "/a//b", "/?" + urllib.parse.urlencode({"q": "ä b"})):
            assert httpx.get(wire + path, trust_env=False).status_code in (200, 404)
        assert httpx.request("DELETE", wire + "/who", trust_env=False).status_code == 405


def test_an_edit_installs_nothing_again(spaceport, example):
    """The second build of an edited app runs only the steps after its COPY."""
    space = example("fastapi")
    assert spaceport.build(space).image
    with open(space / "app.py", "a") as app:
        app.write(f"# edited at {time.time()}\n")
    story = spaceport.build(space, "--plan", "--json").ok().out
    steps = [step for step in flat(json.loads(story)) if "uv sync" in json.dumps(step)]
    cached = {"no-install-project" in json.dumps(step): step.get("cached") for step in steps}
    assert cached[True] is True


def flat(value):
    """Every object in a JSON value that holds no other object."""
    if isinstance(value, list):
        return [item for each in value for item in flat(each)]
    if isinstance(value, dict):
        inner = [item for each in value.values() for item in flat(each)]
        return inner or [value]
    return []
