"""A headless Chromium that opens reports, and what is looked at in them."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--force-device-scale-factor=1",
)  # fmt: skip
INSTALL = "apt-get install chromium chromium-driver"

# Text that is shown, with its colour against what lies behind it.
CONTRAST = """
const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = (colour) => {
  context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
};
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const found = rgb(getComputedStyle(at).backgroundColor);
    if (found[3] === 1) return found;
  }
  return [255, 255, 255, 1];
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const seen = [];
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest('script, style, .skip')) continue;
  const style = getComputedStyle(element);
  const colour = rgb(element instanceof SVGElement ? style.fill : style.color);
  const [a, b] = [light(colour), light(behind(element))];
  seen.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), texts.currentNode.data.trim().slice(0, 40)]);
}
return seen;
"""

# Texts of a chart that lie on each other or leave it, and how small the smallest is on the screen.
CROWDED = """
const wrong = [];
let smallest = 99, charts = 0;
for (const svg of document.querySelectorAll('svg.chart')) {
  if (!svg.checkVisibility()) continue;
  charts += 1;
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  const scale = frame.width / svg.viewBox.baseVal.width;
  boxes.forEach((a, i) => {
    smallest = Math.min(smallest, parseFloat(getComputedStyle(texts[i]).fontSize) * scale);
    const name = `${svg.getAttribute('aria-label').slice(0, 40)}: ${texts[i].textContent}`;
    if (a.left < frame.left - 1.5 || a.right > frame.right + 1.5 || a.top < frame.top - 1.5 || a.bottom > frame.bottom + 1.5)
      wrong.push(`${name} leaves the chart`);
    boxes.slice(i + 1).forEach((b, j) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 3) wrong.push(`${name} on ${texts[i + 1 + j].textContent}`);
    });
  });
}
return {wrong, smallest, charts};
"""


def program(name: str) -> str:
    """Where it is installed."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed, and reports are looked at in a real browser: {INSTALL}")
    return found


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile and no network."""
    options = webdriver.ChromeOptions()
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.binary_location = program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=program("chromedriver")))
    try:
        browser = Browser(driver)
        browser.command("Network.enable")
        nothing = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        browser.command("Network.emulateNetworkConditions", **nothing)
        yield browser
    finally:
        driver.quit()


class Browser:
    """One tab."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        found: dict[str, Any] = self.driver.execute_cdp_cmd(name, arguments)
        return found

    def show(
        self, file: Path, *, width: int = 1100, colours: str = "light", media: str = "screen", scripts: bool = True
    ) -> None:
        """Opens a file in a window of this width."""
        features = [{"name": "prefers-color-scheme", "value": colours}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)
        self.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        self.driver.get(file.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """What the console said since it was asked last."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that was asked for since it was asked last."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            str(event["params"]["request"]["url"])
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.command("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])
