"""Remakes the pictures of the block map, the volumes and Neuroglancer in docs/, from a real Airflow.

Part of ``make pictures``: segments a sample, and photographs what a person sees meanwhile. Needs
the extras compute, view, airflow and dev, and Chromium.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

from magneton_tasks.airflow.service import database as databases
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.config import places
from scripts.make_pictures import CHROMIUM, DRAWING_MS, FLAGS, magneton, save_bytes

#: Voxels of the sample, and blocks small enough that there are many of them.
SHAPE = (96, 288, 384)
BLOCKS = "method=overlap", "block.size=[48, 64, 64]", "block.overlap=[16, 16, 16]"
VOLUME = "cortex"
DAG = f"instance_segmentation.{VOLUME}"
#: Seconds between two looks at what Airflow does, and how long it may take to do it.
PAUSE_S, PATIENCE_S = 0.5, 1200


class Site:
    """Airflow with one volume, and a browser in which the administrator is logged in."""

    def __init__(self, services: Services, browser: Browser) -> None:
        self._services, self._browser = services, browser
        self._token = self.call(
            "/auth/token", {"username": "admin", "password": services.password()}
        )["access_token"]

    def call(self, path: str, data: dict[str, Any] | None = None) -> Any:
        """Airflow's answer."""
        headers = {"Content-Type": "application/json"}
        if data is None or "username" not in data:
            headers["Authorization"] = f"Bearer {self._token}"
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self._services.address + path, body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer:
            return json.load(answer)

    @contextmanager
    def page(self, path: str, dark: bool = False, height: int = 900) -> Iterator[Page]:
        """A page of the web interface."""
        context = self._browser.new_context(
            viewport={"width": 1440, "height": height}, color_scheme="dark" if dark else "light"
        )
        address = self._services.address
        context.add_cookies([{"name": "_token", "value": self._token, "url": address}])
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        page.goto(address + path)
        yield page
        context.close()


def main() -> None:
    """Segment the sample in Airflow, and take pictures of it."""
    root = Path(tempfile.gettempdir()) / "lab"  # it stands in the pictures
    root.mkdir(mode=0o700)
    try:
        config = make_volume(root)
        os.environ[places.CONFIGS_VARIABLE] = str(config.parent)
        os.environ.pop(databases.VARIABLE, None)
        home = root / "home"
        home.mkdir(mode=0o700)
        services = Services(home, homes.project_root())
        try:
            services.start()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
                take_all(Site(services, browser))
                browser.close()
        finally:
            services.stop()
    finally:
        shutil.rmtree(root)


def make_volume(root: Path) -> Path:
    """A sample of many small blocks, and its config."""
    sample = root / "sample"
    magneton("sample", str(sample), "--shape", *map(str, SHAPE))
    magneton("config", "set", str(sample / "volume.yaml"), *BLOCKS)
    config = root / "configs" / f"{VOLUME}.yaml"
    config.parent.mkdir()
    (sample / "volume.yaml").rename(config)
    return config


def take_all(site: Site) -> None:
    """A run's block map while it goes on and when it is over, Neuroglancer, all volumes."""
    wait_until(lambda: DAG in [d["dag_id"] for d in site.call("/api/v2/dags")["dags"]])
    run = site.call(f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"]
    tab = f"/dags/{DAG}/runs/{quote(run, safe='')}/plugin/block-map"
    here = f"/magneton/runs/{DAG}/{quote(run, safe='')}/"

    def share() -> float:
        stages = site.call(here + "summary.json").get("stages")
        return (stages[0]["done"] + stages[0]["empty"]) / stages[0]["total"] if stages else 0.0

    wait_until(lambda: share() > 0.4)
    with site.page(tab, height=1200) as page:
        inner = page.frame_locator("iframe[title='Block map']")
        inner.locator("#map-legend span").first.wait_for()
        inner.locator("#map").hover()
        page.wait_for_timeout(1000)
        save_bytes(page.screenshot(), "block-map.png")
    wait_until(lambda: site.call(here + "summary.json")["state"] == "verified")
    with site.page(here, dark=True, height=1500) as page:
        page.locator("#map-measure").select_option("seconds")
        page.locator("#map").click()
        page.locator("#detail").get_by_text("done").first.wait_for()
        page.wait_for_timeout(1000)
        save_bytes(page.screenshot(), "block-map-dark.png")
    with site.page(tab) as page:
        page.frame_locator("iframe[title='Block map']").locator("#look").click()
        page.wait_for_timeout(DRAWING_MS)
        save_bytes(page.screenshot(), "airflow-neuroglancer.png")
    with site.page("/plugin/magneton-volumes", height=480) as page:
        page.frame_locator("iframe").get_by_text("Verified").wait_for()
        save_bytes(page.screenshot(), "volumes.png")


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("Airflow took too long: see its logs")
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
