"""The page of a run in a real browser, live: Airflow's own web application answers, without a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import create_app, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from playwright.sync_api import Page, Route, expect

from magneton_tasks.airflow.pages.keeper import Keeper
from magneton_tasks.airflow.plugin import URL_PREFIX
from magneton_tasks.config import places
from magneton_tasks.outcome import report
from tests.airflow.test_pages import Site
from tests.helpers import volumes
from tests.helpers.chromium import browser, new_page
from tests.helpers.many_blocks import plan_many, write_records

__all__ = ["browser", "new_page"]

pytestmark = pytest.mark.browser

NewPage = Callable[..., Page]
GRID = (3, 4, 5)
ADDRESS = "http://airflow"
RUN = "/runs/instance_segmentation.volume/test/"
#: Width and height that the web interface leaves to a tab of a run, in a window of 1440 x 900.
FRAME = (1064, 626)
#: What is there in the page and in report.html alike.
SAME = (
    "#figures",
    "#stage-rows",
    "#commands",
    "#run-list",
    "#cost-list",
    "#slowest",
    "#histograms",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[volumes.Run]:
    """60 blocks, one of which has failed and one runs; the run before had another threshold."""
    folder = tmp_path_factory.mktemp("live") / "many"
    before = plan_many(folder, GRID, run="before")
    volumes.release(before)
    made = volumes.plan_run(Path(before.plan.config_path), {"segment.threshold": 0.45})
    log = made.attempt.paths.block_log("segment", 27)
    log.parent.mkdir(exist_ok=True)
    log.write_text("what block 27 said\n")

    def record(key: int) -> dict[str, Any]:
        told = {"cause": "<b>boom</b>", "hint": "mend it", "exit_code": 65, "log": str(log)}
        others: dict[int, dict[str, Any]] = {
            27: {"state": "failed", "info": told},
            50: {"state": "started"},
        }
        return others.get(key, {})

    write_records(made.attempt, "segment", 51, record)
    yield made
    volumes.release(made)


@pytest.fixture
def live(
    run: volumes.Run, database: Path, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Page]]:
    """Opens the page, and tells what the browser complained of."""
    (config,) = Path(run.plan.config_path).parent.glob("volume.yaml")
    monkeypatch.setenv(places.CONFIGS_VARIABLE, str(config.parent))
    purge_cached_app()
    site, said = Site(create_app()), list[str]()
    # The answers come from a loop of their own, beside the one that drives the browser.
    with ThreadPoolExecutor(1) as threads:

        def answer(route: Route) -> None:
            path = route.request.url.removeprefix(ADDRESS + URL_PREFIX)
            found = threads.submit(site.get, path).result()
            route.fulfill(status=found.status_code, headers=dict(found.headers), body=found.content)

        def opened(*, whole: bool = True, at: str = RUN, **options: object) -> Page:
            page = new_page(**options)
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("console", lambda message: said.append(message.text))
            page.route(f"{ADDRESS}/**", answer)
            page.goto(f"{ADDRESS}{URL_PREFIX}{at}")
            if whole:
                page.locator("#map-legend span").first.wait_for()
            return page

        yield opened
    assert said == []


def test_a_run_that_goes_on(live: Callable[..., Page]) -> None:
    page = live()
    expect(page.locator("#state")).to_have_text("Running")
    expect(page.locator("#running-list")).to_contain_text("segment 50, for")
    expect(page.locator("#map-layer-text")).to_contain_text("2 of 3")  # where something failed
    expect(page.locator("#map-legend")).to_contain_text("failed: 1")
    page.locator("#map-layer").fill("2")
    expect(page.locator("#map-legend")).to_contain_text("queued: 9")
    segment = page.locator('tr[data-stage="segment"]')
    expect(segment).to_contain_text("49 of 60")
    expect(segment).to_contain_text("1 running")
    expect(segment).to_contain_text("9 queued")


def test_the_map_is_seen_without_scrolling(live: Callable[..., Page]) -> None:
    """In the frame that a window of 1440 x 900 leaves to the tab; failures and warnings take a line each."""
    page = live(width=FRAME[0], height=FRAME[1])
    expect(page.locator("#alerts")).to_contain_text("segment 27: <b>boom</b>")
    expect(page.locator("#alerts")).to_contain_text("warning")
    boxes = {name: page.locator(name).bounding_box() for name in ("#map", "#map-legend", "#stages")}
    top, bottom = boxes["#map"], boxes["#map-legend"]
    assert top and bottom and boxes["#stages"]
    assert top["height"] >= 190
    assert bottom["y"] + bottom["height"] <= FRAME[1], "all of the layer, and what its colours mean"
    assert boxes["#stages"]["y"] > bottom["y"], "the table follows"
    page.locator("#alerts a").first.click()
    expect(page.locator("#failures")).to_be_in_viewport()


def test_the_head_says_what_is_made_how(live: Callable[..., Page]) -> None:
    page = live()
    expect(page.locator("#figures")).to_contain_text("Methodoverlap")
    expect(page.locator("#figures")).to_contain_text("Threshold0.45 set for this run")
    expect(page.locator("#differs")).to_have_text(
        "Differs from run before, attempt 1: segment.threshold: 0.5 -> 0.45"
    )
    expect(page.locator("#figures")).to_contain_text("Time left, about")


def test_verify_is_a_row_from_the_beginning(live: Callable[..., Page]) -> None:
    row = live().locator('tr[data-stage="verify"]')
    expect(row).to_contain_text("0 of 1")
    expect(row).to_contain_text("1 queued")


def test_something_is_said_before_the_records_are_read(
    live: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large map takes seconds: how the run stands, and what is made how, needs none of it."""
    monkeypatch.setattr(Keeper, "look", lambda *_: (None, None))
    page = live(whole=False, java_script_enabled=False)
    expect(page.locator("#state")).to_have_text("Loading")
    page = live(whole=False)
    expect(page.locator("#state")).to_have_text("Running")
    expect(page.locator("#lead")).to_contain_text("Method overlap, threshold 0.45")
    expect(page.locator("#lead")).to_contain_text("Reading the records of 60 blocks")
    expect(page.locator("#differs")).to_contain_text("segment.threshold: 0.5 -> 0.45")
    expect(page.locator("#content")).to_be_hidden()


def test_the_volumes_say_how_they_are_made_and_list_their_runs(
    live: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow has stored no DAG in this database
    dags = {"instance_segmentation.volume"}
    monkeypatch.setattr(SimpleAuthManager, "get_authorized_dag_ids", lambda *_, **__: dags)
    page = live(whole=False, at="/volumes/")
    card = page.locator("article")
    expect(card).to_contain_text("Method")
    expect(card).to_contain_text("overlap, threshold 0.45 set for this run")
    expect(card).to_contain_text(
        "Differs from run before, attempt 1: segment.threshold: 0.5 -> 0.45"
    )
    card.get_by_text("All runs").click()
    rows = card.locator("table.runs tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("running")
    expect(rows.nth(1)).to_contain_text("stopped")
    link = card.get_by_role("link", name="CSV")
    assert link.get_attribute("download") == "volume-runs.csv"
    text = page.evaluate("async (a) => (await fetch(a)).text()", link.get_attribute("href"))
    lines = str(text).splitlines()
    assert lines[0].startswith("started,run,attempt,state,threshold,")
    assert [line.split(",")[1] for line in lines[1:]] == ["test", "before"]
    rows.nth(1).get_by_role("link", name="before").click()
    expect(page.locator("#lead")).to_contain_text("Run before, attempt 1")


def test_a_failed_block_tells_all(live: Callable[..., Page]) -> None:
    page = live(colours="dark")
    expect(page.locator("#failure-rows .cause")).to_have_text("<b>boom</b>")
    page.locator("#failure-rows button").click()
    expect(page.locator("#map-block")).to_contain_text("Block 27")
    detail = page.locator("#detail")
    expect(detail).to_contain_text("segment, block 27")
    expect(detail.locator("td.bad")).to_have_text("failed")
    expect(detail.locator("pre")).to_have_text("what block 27 said\n")
    link = detail.get_by_role("link", name=re.compile("task in Airflow"))
    assert str(link.get_attribute("href")).endswith("/tasks/segment/mapped/0")
    page.locator("#detail-close").click()
    expect(detail).to_be_hidden()
    page.locator("#map").press("ArrowLeft")
    expect(page.locator("#map-block")).to_contain_text("Block 26")
    page.locator("#map").press("Enter")
    expect(detail).to_contain_text("segment, block 26")


def test_the_report_is_the_same_page(
    live: Callable[..., Page], run: volumes.Run, new_page: NewPage
) -> None:
    volumes.release(run)  # nothing works on it any more: both show the same
    page = live()
    expect(page.locator("#state")).to_have_text("Failed in segment")
    report.write_report(run.attempt)
    frozen = new_page()
    frozen.goto(run.attempt.paths.page.as_uri())
    frozen.locator("#map-legend span").first.wait_for()
    for part in SAME:
        assert frozen.locator(part).inner_text() == page.locator(part).inner_text(), part
    for text in ("#content h2", "#settings summary", "#failure-rows", "#notes"):
        texts = (p.locator(text).all_inner_texts() for p in (frozen, page))
        assert next(texts) == next(texts), text
    assert frozen.locator("#slowest tbody tr").count() == 10


def test_the_web_interface_s_own_switch_wins(live: Callable[..., Page]) -> None:
    """Between light and dark; theme.js sets this attribute."""
    page = live()
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(paper) == "rgb(20, 23, 27)"
