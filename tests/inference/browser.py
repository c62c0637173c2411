"""A headless Chromium, driven by the W3C WebDriver protocol alone."""

import base64
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import httpx

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers run it as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--use-fake-ui-for-media-stream",  # a microphone that beeps, and no question
    "--use-fake-device-for-media-stream",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # fixed by the standard
PATIENCE = 60  # [s]


def programs():
    """Paths of Chromium and its driver; None where they are absent."""
    found = (shutil.which("chromium"), shutil.which("chromedriver"))
    return found if all(found) else None


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@contextmanager
def driver():
    """Starts the driver: a client of its server."""
    port = free_port()
    _, path = programs()
    process = subprocess.Popen(
        [path, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE
        ) as client:
            wait(lambda: ask(client, "GET", "/status")["ready"])
            yield client
    finally:
        process.terminate()
        process.wait()


@contextmanager
def browser(client, width=760, height=900):
    """Opens a browser of its own, with cookies and all."""
    options = {"binary": programs()[0], "args": [*FLAGS]}
    wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
    session = ask(client, "POST", "/session", capabilities=wanted)["sessionId"]
    page = Browser(client, f"/session/{session}")
    try:
        page.post("/window/rect", width=width, height=height)
        yield page
    finally:
        ask(client, "DELETE", page.place)


class Browser:
    """One browser."""

    def __init__(self, client, place):
        self.client, self.place = client, place

    def post(self, path, **body):
        return ask(self.client, "POST", f"{self.place}{path}", **body)

    def open(self, url):
        self.post("/url", url=url)

    def run(self, script):
        return self.post("/execute/sync", script=script, args=[])

    def element(self, selector):
        found = self.post("/element", using="css selector", value=selector)
        return f"/element/{found[ELEMENT]}"

    def upload(self, path):
        self.post(f"{self.element('#file')}/value", text=str(path))

    def click(self, selector):
        self.post(f"{self.element(selector)}/click")

    def text(self):
        """The answer, once there is one."""

        def said():
            text = self.run("return document.getElementById('answer').innerText")
            return "" if text.startswith("reading ") else text

        return wait(said)

    def screenshot(self):
        return base64.b64decode(
            ask(self.client, "GET", f"{self.place}/screenshot"), validate=True
        )


def ask(client, method, path, **body):
    reply = client.request(method, path, json=body if method == "POST" else None)
    value = reply.json()["value"]
    assert reply.status_code == 200, value
    return value


def wait(ready):
    """Waits until it returns something, and returns that."""
    last = time.monotonic() + PATIENCE
    while True:
        try:
            found = ready()
        except httpx.TransportError:
            found = None
        if found:
            return found
        assert time.monotonic() < last, "it takes too long"
        time.sleep(0.1)
