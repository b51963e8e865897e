"""Remakes the pictures in docs/ with the tool itself: ``make pictures``.

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
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).resolve().parents[1] / "docs"
#: Voxels of the sample that is shown.
SHAPE = (96, 320, 480)
CHROMIUM = "/usr/bin/chromium"
#: WebGL drawn by software; no sandbox, for containers.
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
#: How long Neuroglancer may take to load and draw, in milliseconds.
DRAWING_MS = 30_000
#: How long a page may take for what it is asked, on a busy machine.
PATIENCE_MS = 180_000
#: How long the report may take to draw once it has what it draws.
SETTLE_MS = 3_000
#: Pixels around what is cut out of the report, and of the head of the convention's picture.
MARGIN, HEAD = 20, 80


def magneton(*arguments: str) -> None:
    """Run a command of this project."""
    subprocess.run([sys.executable, "-m", "magneton_tasks", *arguments], check=True)


def main() -> None:
    """Make a sample, segment it, and take its pictures."""
    with tempfile.TemporaryDirectory() as directory, browser() as page:
        sample = Path(directory) / "sample"
        config = sample / "volume.yaml"
        magneton("sample", str(sample), "--shape", *map(str, SHAPE))
        magneton("run", str(config))
        take_preview(sample)
        take_view(page, config)
        take_report(page, sample)
        take_shapes(page, sample)
        take_convention(sample)
        take_curves(config, sample)


@contextmanager
def browser() -> Iterator[Page]:
    """A page of Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = chromium.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.set_default_timeout(PATIENCE_MS)
        yield page
        chromium.close()


def take_preview(sample: Path) -> None:
    """``sample.png``: the middle section of the run's preview."""
    with Image.open(of_run(sample, "preview.png")) as picture:
        _, height, width = SHAPE
        save(picture.crop((0, height, 2 * width, 2 * height)), "sample.png")


def take_view(page: Page, config: Path) -> None:
    """``view.png``: what ``magneton view`` shows, a section and the largest objects in 3D."""
    with viewing(config) as link:
        page.goto(link)
        page.wait_for_timeout(DRAWING_MS)
        page.wait_for_function("viewer.isReady()")  # all chunks and meshes of what is seen
        save_bytes(page.screenshot(), "view.png")


def take_report(page: Page, sample: Path) -> None:
    """``report.png``: the stages and the block map of the run's report."""
    page.goto(of_run(sample, "report.html").as_uri())
    page.locator("#map").hover()  # tells of a block
    page.evaluate("scrollTo(0, 0)")
    boxes = [page.locator(name).bounding_box() for name in ("#blocks", "#stages")]
    parts = [box for box in boxes if box is not None]
    assert len(parts) == len(boxes)
    left, upper = (min(box[at] for box in parts) - MARGIN for at in ("x", "y"))
    right = max(box["x"] + box["width"] for box in parts) + MARGIN
    lower = max(box["y"] + box["height"] for box in parts) + MARGIN
    picture = page.screenshot(
        full_page=True,
        clip={"x": left, "y": upper, "width": right - left, "height": lower - upper},
    )
    save_bytes(picture, "report.png")


def take_shapes(page: Page, sample: Path) -> None:
    """``report-3d.png``: the largest objects in the run's report."""
    page.goto(of_run(sample, "report.html").as_uri())
    page.locator("#shapes.drawn").wait_for()
    page.wait_for_timeout(SETTLE_MS)
    save_bytes(page.locator("#shapes").screenshot(), "report-3d.png")


def take_convention(sample: Path) -> None:
    """``convention.png``: what ``config new`` shows of the convention."""
    affinity = f"file://{sample / 'affinity'}"
    magneton("config", "new", str(sample / "new.yaml"), "--input", affinity, "--yes")
    with Image.open(sample / "new-convention.png") as picture:
        # without the head, which names the temporary directory
        save(picture.crop((0, HEAD, *picture.size)), "convention.png")


def take_curves(config: Path, sample: Path) -> None:
    """``tune.png``: the curves of ``magneton tune``."""
    plot = sample / "tune.png"
    functions = ("--scoring", "exact,mean,aff50_his256", "--plot", str(plot))
    magneton("tune", str(config), "--truth", f"file://{sample / 'truth'}", *functions)
    with Image.open(plot) as picture:
        save(picture.reduce(2), "tune.png")


def of_run(sample: Path, name: str) -> Path:
    """A file of the sample's one run."""
    (found,) = sample.glob(f"work/runs/*/*/{name}")
    return found


@contextmanager
def viewing(config: Path) -> Iterator[str]:
    """The link of a viewer that runs meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "magneton_tasks", "view", str(config)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
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


def save_bytes(png: bytes, name: str) -> None:
    """A screenshot, as `save`."""
    with Image.open(io.BytesIO(png)) as picture:
        save(picture, name)


def save(picture: Image.Image, name: str) -> None:
    """Into docs/, in few colours: these files lie in the repository."""
    few = picture.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    few.save(DOCS / name, optimize=True)


if __name__ == "__main__":
    main()
