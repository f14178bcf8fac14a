# SPDX-License-Identifier: Apache-2.0
"""Pages as a person sees them: headless Chromium, driven over its DevTools protocol.

    with Browser("/usr/bin/chromium") as browser:
        browser.open(url).wait_for("some text")"""

import base64
import contextlib
import itertools
import json
import subprocess
import tempfile
import time
from pathlib import Path

from websockets.sync.client import connect

START_SECONDS = 30
# No sandbox, since the tests run as root; and no traffic of the browser's own.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-proxy-server", "--remote-debugging-port=0", "--window-size=1200,800")


class BrowserError(Exception):
    """The browser's own refusal, for example while a page is on its way."""


class Page:
    def __init__(self, browser, url):
        self.browser, self.url = browser, url
        target = browser.call("Target.createTarget", {"url": url})["targetId"]
        self.session = browser.call("Target.attachToTarget",
                                    {"targetId": target, "flatten": True})["sessionId"]

    def evaluate(self, script):
        """The value of a JavaScript expression in the page."""
        answer = self.browser.call("Runtime.evaluate", {
            "expression": script, "returnByValue": True, "awaitPromise": True}, self.session)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    @property
    def text(self):
        """What the page shows; nothing while it is still on its way."""
        try:
            return self.evaluate("document.body ? document.body.innerText : ''")
        except BrowserError:
            return ""

    def wait_for(self, text, seconds=30):
        """Waits until the page shows `text`; returns the page."""
        end = time.monotonic() + seconds
        while text not in self.text:
            if time.monotonic() > end:
                raise AssertionError(f"{self.url} does not show {text!r}, but:\n{self.text}")
            time.sleep(0.1)
        return self

    def screenshot(self, path):
        data = self.browser.call("Page.captureScreenshot", {"format": "png"}, self.session)["data"]
        Path(path).write_bytes(base64.b64decode(data))


class Browser:
    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.numbers = itertools.count(1)
        self.connection = contextlib.ExitStack()
        self.socket = self.connection.enter_context(
            connect(self.address(), max_size=None, proxy=None))

    def address(self):
        file, end = Path(self.profile.name, "DevToolsActivePort"), time.monotonic() + START_SECONDS
        while not file.exists() or len(file.read_text().split()) < 2:
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError("chromium does not start")
            time.sleep(0.05)
        port, path = file.read_text().split()
        return f"ws://127.0.0.1:{port}{path}"

    def call(self, method, params, session=None):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}
                                    | ({"sessionId": session} if session else {})))
        while True:
            message = json.loads(self.socket.recv(60))
            if message.get("id") == number:
                if "error" in message:
                    raise BrowserError(message["error"]["message"])
                return message["result"]

    def open(self, url):
        return Page(self, url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()
