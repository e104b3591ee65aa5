"""Take the screenshots of the guide in headless Chromium: screenshots.py RUN REPORT.html FOLDER.

`make figures` calls it. RUN is a run on fashion_mnist, REPORT.html its report.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver

from dlworkflow import data
from dlworkflow.data.images.pixels import to_pil

COLOURS = 256  # of a screenshot, for files below 200 KB
HEIGHT = 1200  # pixels of a report that are shown at once
SHOWN = """
const images = [...document.images];
return document.querySelectorAll('.thumb').length === 4 && images.every(x => x.complete && x.naturalWidth > 0)
"""


def main(run: str, report: str, folder: str) -> None:
    """Write serve_page.png, serve_page_phone.png, report.png and report_scores.png."""
    out = Path(folder)
    shown = images(Path())
    browser = chromium()
    server = subprocess.Popen(
        [sys.executable, "-m", "dlworkflow", "serve", run, "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.]+:\d+", line)))
        for name, width, dark in (("serve_page", 960, False), ("serve_page_phone", 360, True)):
            look(browser, width, dark=dark)
            browser.get(address)
            wait(browser, "return document.querySelector('#images:not([hidden])')")
            browser.find_element("id", "files").send_keys("\n".join(map(str, shown)))
            wait(browser, "return document.getElementById('status').textContent === '4 predicted.'")
            wait(browser, SHOWN)
            save(browser, out / f"{name}.png")
        look(browser, 960)
        browser.get(Path(report).resolve().as_uri())
        save(browser, out / "report.png", height=HEIGHT)
        [scores] = browser.find_elements("xpath", "//h2[text()='Scores']")
        save(browser, out / "report_scores.png", top=scores.location["y"] - 20, height=HEIGHT)
    finally:
        browser.quit()
        server.terminate()
        server.wait()


def images(folder: Path) -> list[Path]:
    """Write some images of the test split into a folder; return their files."""
    test = data.load("fashion_mnist").test
    files = [folder.resolve() / f"test_{index}.png" for index in range(4)]
    for index, file in enumerate(files):
        to_pil(test.images[index]).save(file)
    return files


def chromium() -> webdriver.Chrome:
    """Start Debian's Chromium; nothing is downloaded."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def look(browser: webdriver.Chrome, width: int, *, dark: bool = False) -> None:
    """Set the width of the page and whether the system is dark."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def wait(browser: webdriver.Chrome, script: str) -> None:
    """Wait until a script returns something."""
    end = time.monotonic() + 60
    while not browser.execute_script(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


def save(browser: webdriver.Chrome, path: Path, *, top: int = 0, height: int | None = None) -> None:
    """Write the page, or `height` pixels of it from `top` on."""
    width, whole = browser.execute_script("const e = document.documentElement; return [e.clientWidth, e.scrollHeight]")
    clip = {"x": 0, "y": top, "width": width, "height": min(whole - top, height or whole), "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
