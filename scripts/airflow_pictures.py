"""Remakes the pictures of the trigger form and of the backfill form in docs/, from a real Airflow.

Part of ``make pictures``. Needs the extras airflow and dev, and Chromium.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from magneton_tasks.airflow.service import database as databases
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.config import places
from magneton_tasks.config.roots import ROOTS_VARIABLE
from scripts.make_pictures import browser, magneton, save_bytes

DAG = "instance_segmentation.daily"
#: How long the web interface may take to show something, in milliseconds.
PATIENCE_MS = 120_000
#: Pixels of the page: a form is drawn as far as the page reaches.
HEIGHT = 2000
#: How long it moves after a click, in milliseconds.
SETTLE_MS = 1500


def main() -> None:
    """Start an Airflow with one volume, and photograph its forms."""
    with tempfile.TemporaryDirectory() as directory, browser() as page:
        folder = Path(directory)
        magneton("sample", str(folder / "sample"), "--shape", "64", "128", "128")
        configs = folder / "configs"
        configs.mkdir()
        text = (folder / "sample" / "volume.yaml").read_text()
        for name in ("affinity", "segmentation", "work"):
            text = text.replace(f"{folder}/sample/{name}", f"/data/{name}/{{partition}}")
        (configs / "daily.yaml").write_text(f'schedule: "0 3 * * *"\n{text}')
        os.environ |= {places.CONFIGS_VARIABLE: str(configs), ROOTS_VARIABLE: "/data"}
        os.environ.pop(databases.VARIABLE, None)
        home = folder / "airflow"
        home.mkdir(mode=0o700)
        services = Services(home, homes.project_root())
        try:
            services.start()
            take_forms(page, services)
        finally:
            services.stop()


def take_forms(page: Page, services: Services) -> None:
    """``trigger-form.png`` and ``backfill.png``."""
    page.set_default_timeout(PATIENCE_MS)
    page.set_viewport_size({"width": 1280, "height": HEIGHT})
    page.context.add_cookies(
        [{"name": "_token", "value": token(services), "url": services.address}]
    )
    while page.goto(f"{services.address}/dags/{DAG}") and not page.get_by_text(DAG).count():
        page.wait_for_timeout(SETTLE_MS)
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.get_by_text("Segmentation: ").first.wait_for()
    shoot(page, form, "trigger-form.png")
    form.get_by_text("Backfill", exact=True).first.click()
    shoot(page, form, "backfill.png")


def shoot(page: Page, what: Locator, name: str) -> None:
    """A picture of what doesn't move any more."""
    page.wait_for_timeout(SETTLE_MS)
    save_bytes(what.screenshot(), name)


def token(services: Services) -> str:
    """Of the user admin, once the DAG is known."""
    asked = {"username": "admin", "password": services.password()}
    found: str = _ask(services, "/auth/token", asked, None)["access_token"]
    while DAG not in [d["dag_id"] for d in _ask(services, "/api/v2/dags", None, found)["dags"]]:
        time.sleep(1)
    return found


def _ask(services: Services, path: str, data: dict[str, str] | None, bearer: str | None) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
    request = urllib.request.Request(
        services.address + path,
        data=None if data is None else json.dumps(data).encode(),
        headers=headers,
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
