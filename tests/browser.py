"""A real browser for the pages, driven through chromedriver with the standard library only."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "ArrowRight": "\ue014"}
_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",  # a camera that shows a moving pattern
    "--use-fake-ui-for-media-stream",
]


#: Gives the words that stand out less from their ground than WCAG 2.2 asks for small letters.
CONTRAST = """
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
    const ground = (element) => {
      const layers = [];
      for (let at = element; at; at = at.parentElement) {
        const layer = rgba(getComputedStyle(at).backgroundColor);
        layers.push(layer);
        if (layer[3] > 0.99) break;
      }
      return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const luminance = (colour) => {
      const [r, g, b] = colour.map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const each of document.querySelectorAll("details")) each.open = true;
    const faint = {};
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim()) continue;
      if (element.closest("script, style, dialog, option")) continue;
      if (!element.checkVisibility()) continue;
      const style = getComputedStyle(element);
      const behind = ground(element);
      const ink = rgba(element.closest("svg") ? style.fill : style.color);
      let opacity = 1;
      for (let at = element; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
      ink[3] *= opacity;
      const [a, b] = [luminance(over(ink, behind)), luminance(behind)].sort((x, y) => y - x);
      const contrast = (a + 0.05) / (b + 0.05);
      const name = `${element.tagName}.${element.className.baseVal ?? element.className} in ` +
        `${element.parentElement.className}`;
      if (contrast < 4.5) faint[name] = Math.min(faint[name] ?? 99, contrast.toFixed(2));
    }
    return faint;
"""


def require_names(browser: Any) -> None:
    """Every control says what it does, as a screen reader has it: in words, not only a sign."""
    nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    names = [
        node.get("name", {}).get("value", "").strip()
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value")
        in ("button", "link", "combobox", "slider", "searchbox", "DisclosureTriangle")
    ]
    assert names
    for name in names:
        assert sum(letter.isalpha() for letter in name) >= 3, name
        assert name not in ("Copy", "Show", "More", "Dark", "Light", "Close", "Next"), name


class Browser:
    """A few commands of the WebDriver protocol: open, run a script, press keys, read the logs."""

    def __init__(self, port: int, chromium: str, profile: Path) -> None:
        self._root = f"http://127.0.0.1:{port}"
        options = {"binary": chromium, "args": [*_FLAGS, f"--user-data-dir={profile}"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        started = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._root += f"/session/{started['sessionId']}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._root + path, data, {"Content-Type": "application/json"})
        request.method = method
        try:
            with urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(
        self, page: Path | str, *, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> None:
        """Open a file or an address at a size and colour scheme; what was logged is forgotten."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.devtools(
            "Emulation.setEmulatedMedia",
            media="",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self._send("POST", "/url", {"url": "about:blank"})
        self.console(), self.requests()
        self._send("POST", "/url", {"url": page if isinstance(page, str) else page.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys: str) -> None:
        """Press keys by name, or type text, at what has the focus."""
        actions = []
        for key in keys:
            for character in KEYS.get(key, key):
                actions += [{"type": kind, "value": character} for kind in ("keyDown", "keyUp")]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        self._send("POST", "/actions", body)

    def until(self, script: str, *arguments: Any, seconds: float = 60.0) -> Any:
        """Run a script until it returns something that is true, and give that."""
        end = time.monotonic() + seconds
        while True:
            found = self.run(script, *arguments)
            if found:
                return found
            assert time.monotonic() < end, f"not after {seconds:g} s: {script}"
            time.sleep(0.03)

    def drop(self, selector: str, files: Sequence[Path]) -> None:
        """Drop files from the disk on an element, as a person does."""
        place = self.run(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return {x: box.x + box.width / 2, y: box.y + box.height / 2};",
            selector,
        )
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.devtools("Input.dispatchDragEvent", type=kind, data=data, **place)

    def console(self) -> list[str]:
        """Warnings and errors of the page since the last call."""
        entries = self._send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """Addresses that the page fetched since the last call, pictures inside it apart.

        What the page's own policy refused was never fetched and is left out.
        """
        asked: dict[str, str] = {}
        for entry in self._send("POST", "/se/log", {"type": "performance"}):
            event = json.loads(entry["message"])["message"]
            parameters = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                asked[parameters["requestId"]] = parameters["request"]["url"]
            elif parameters.get("blockedReason") == "csp":
                asked.pop(parameters["requestId"], None)
        return [
            address for address in asked.values() if not address.startswith(("data:", "about:"))
        ]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(b64decode(shot["data"]))

    def quit(self) -> None:
        self._send("DELETE", "")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if driver is None or chromium is None:
        pytest.skip("needs Chromium and chromedriver")
    folder = tmp_path_factory.mktemp("browser")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "driver.log").open("wb") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                urlopen(f"http://127.0.0.1:{port}/status", timeout=5).close()
                break
            except (URLError, ConnectionError):
                time.sleep(0.1)
        session = Browser(port, chromium, folder / "profile")
        try:
            yield session
        finally:
            session.quit()
    finally:
        process.terminate()
        process.wait(timeout=20)
