"""``magneton view``: how long the ten largest meshes of the sample take until they are drawn."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil
from playwright.sync_api import Browser, sync_playwright

from benchmarks.measure import MAGNETON, ROOT, Row, magneton, row
from benchmarks.view import link_of

#: As `make run` makes it.
SHAPE = (128, 384, 384)
CHROMIUM = "/usr/bin/chromium"
#: WebGL drawn by software; no sandbox, for containers.
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
TIMES = 5
#: Longer than this, and something else is wrong.
PATIENCE_MS = 120_000
#: Neuroglancer's own word for "all that the 3D panel is to draw is here", and that these are meshes.
_DRAWN = """() => {
  const layer = window.viewer?.layerManager?.getLayerByName("segmentation")?.layer;
  if (!layer?.renderLayers?.some((l) => l.source?.fragmentSource?.chunks.size > 0)) return false;
  viewer.chunkQueueManager.flushPendingChunkUpdates();
  const panel = [...viewer.display.panels].find((p) => "sliceViews" in p);
  return !!panel?.isReady();
}"""
#: The same of all panels.
_ALL = "viewer.isReady()"
_SELECTED = """viewer.layerManager.getLayerByName("segmentation").layer
  .displayState.segmentationGroupState.value.visibleSegments.size"""


def run(full: bool = False) -> list[Row]:
    """From opening the link to the drawing, in a browser that has seen none of it before."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        magneton("sample", root / "sample", "--shape", *SHAPE)
        config = root / "sample" / "volume.yaml"
        magneton("run", config)
        with open(root / "log", "w+") as log:
            process = subprocess.Popen(
                [*MAGNETON, "view", str(config)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            try:
                port, path = link_of(root / "log", process)
                return _rows(f"http://127.0.0.1:{port}{path}")
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)


def _rows(link: str) -> list[Row]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        found = [_once(browser, link) for _ in range(TIMES)]
        browser.close()
    times, cpu, whole, received, selected = zip(*found, strict=True)
    title = f"view: the {selected[0]} largest meshes drawn"
    return [
        row(title, median(times), "s", most=5, each=times),
        row("  the slowest", max(times), "s"),
        row("  CPU of browser and viewer", median(cpu), "s"),
        row("  their files", median(received) / 1e6, "MB"),
        row("  sections drawn, too", median(whole), "s", each=whole),
    ]


def _once(browser: Browser, link: str) -> tuple[float, float, float, int, int]:
    """Seconds and CPU seconds of meshes, seconds of all, bytes of meshes, and objects selected."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    page, received = context.new_page(), [0]

    def count(length: str | None) -> None:
        received[0] += int(length or 0)

    page.on(
        "response",
        lambda r: count(r.headers.get("content-length")) if "/mesh/" in r.url else None,
    )
    began, worked = time.perf_counter(), _cpu_s()
    page.goto(link)
    page.wait_for_function(_DRAWN, polling=50)
    seconds, worked = time.perf_counter() - began, _cpu_s() - worked
    page.wait_for_function(_ALL, polling=50)
    whole = time.perf_counter() - began
    selected: int = page.evaluate(_SELECTED)
    context.close()
    return seconds, worked, whole, received[0], selected


def _cpu_s() -> float:
    """Of all processes that this one has started and that live."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total
