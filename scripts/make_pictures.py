"""Remakes the pictures in docs/ with the tool itself: ``python scripts/make_pictures.py``.

Needs the extras compute, view and dev, and Chromium (Debian: apt-get install chromium).
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parents[1] / "docs"
#: Voxels of the sample that is shown.
SHAPE = (96, 320, 480)
CHROMIUM = "/usr/bin/chromium"
#: WebGL drawn by software; no sandbox, for containers.
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
#: How long Neuroglancer may take to load and draw, in milliseconds.
DRAWING_MS = 15_000


def magneton(*arguments: str) -> None:
    """Run a command of this project."""
    subprocess.run([sys.executable, "-m", "magneton_tasks", *arguments], check=True)


def main() -> None:
    """Make a sample, segment it, and take its pictures."""
    with tempfile.TemporaryDirectory() as directory:
        sample = Path(directory) / "sample"
        magneton("sample", str(sample), "--shape", *map(str, SHAPE))
        magneton("run", str(sample / "volume.yaml"))
        take_preview(sample)
        take_view(sample)


def take_preview(sample: Path) -> None:
    """``sample.png``: the middle section of the run's preview."""
    (preview,) = sample.glob("work/runs/*/*/preview.png")
    with Image.open(preview) as picture:
        _, height, width = SHAPE
        save(picture.crop((0, height, 2 * width, 2 * height)), "sample.png")


def take_view(sample: Path) -> None:
    """``view.png``: what ``magneton view`` shows."""
    with viewing(sample / "volume.yaml") as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(link)
        page.wait_for_timeout(DRAWING_MS)
        with Image.open(io.BytesIO(page.screenshot())) as picture:
            save(picture, "view.png")
        browser.close()


@contextmanager
def viewing(config: Path) -> Iterator[str]:
    """The link of a viewer that runs meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "magneton_tasks", "view", str(config)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.search(r"http://127\.0\.0\.1:\S+", line):
                yield match[0]
                return
        raise RuntimeError("magneton view ended before it served")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def save(picture: Image.Image, name: str) -> None:
    """Into docs/, in few colours: these files lie in the repository."""
    few = picture.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
    few.save(DOCS / name, optimize=True)


if __name__ == "__main__":
    main()
