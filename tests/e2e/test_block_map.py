"""The block map, the page of volumes and Neuroglancer in a real Airflow and a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.e2e.airflow import Airflow, HeldChunk, wait_until
from tests.e2e.rest import RefusedError
from tests.helpers import volumes
from tests.helpers.tiny_volume import OBJECTS, chunk_file

SignIn = Callable[..., Page]
#: How long a page may take to show what is there, in milliseconds.
SOON_MS = 60_000


def tab(name: str, run_id: str) -> str:
    """The block map's tab of a run, in the web interface."""
    return f"/dags/instance_segmentation.{name}/runs/{quote(run_id)}/plugin/block-map"


def frame(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[title='Block map'], iframe[title='Volumes']")


def pixel(page: Page, selector: str) -> str:
    """A digest of what a canvas shows."""
    shown: str = page.locator(selector).evaluate("canvas => canvas.toDataURL()")
    return shown


def test_the_map_follows_a_run(airflow: Airflow, sign_in: SignIn) -> None:
    """To verified, without a reload; a block is held up meanwhile."""
    name = "followed"
    airflow.write_volume(name, "local: {workers: 1}\n", sizes="many")
    airflow.wait_for_dag(name)
    run_id = airflow.trigger(name)
    airflow.wait_planned(name)
    chunk = HeldChunk(airflow.volumes / name / "affinity", (0, 0, 0))
    page = sign_in("viewer")
    page.goto(airflow.address + tab(name, run_id))
    inner = frame(page)
    segment = inner.locator('tr[data-stage="segment"]')
    expect(segment).to_contain_text("1 running", timeout=4 * SOON_MS)
    expect(inner.locator("#state")).to_have_text("Running")
    expect(inner.locator("#map-legend")).to_contain_text("running: 1", timeout=SOON_MS)
    expect(inner.locator("#map-legend")).to_contain_text("queued: 5")
    expect(inner.locator("#running-list")).to_contain_text("segment 0, for")
    chunk.release()
    expect(inner.locator("#state")).to_have_text("Verified: complete", timeout=8 * SOON_MS)
    expect(segment).to_contain_text("18 of 18")
    expect(inner.locator("#figures")).to_contain_text(f"Objects{OBJECTS}")
    assert airflow.wait_for_run(name, run_id) == "success"


@pytest.fixture(scope="module")
def failed(airflow: Airflow) -> tuple[str, str]:
    """A run in which block 0 fails, for a chunk of its input is cut short after plan looked at it."""
    name = "damaged"
    airflow.write_volume(name)
    airflow.wait_for_dag(name)
    run_id = airflow.trigger(name)
    airflow.wait_planned(name)
    chunk = chunk_file(airflow.volumes / name / "affinity", (0, 0, 0))
    chunk.write_bytes(chunk.read_bytes()[:100])
    assert airflow.wait_for_run(name, run_id) == "failed"
    return name, run_id


def test_a_failed_block_tells_why(
    airflow: Airflow, sign_in: SignIn, failed: tuple[str, str]
) -> None:
    page = sign_in("viewer", colours="dark")
    page.goto(airflow.address + tab(*failed))
    inner = frame(page)
    expect(inner.locator("#state")).to_have_text("Failed in segment", timeout=SOON_MS)
    # every block that reads that chunk
    expect(inner.locator("#map-legend")).to_contain_text("failed: 4", timeout=SOON_MS)
    cause = inner.locator("#failure-rows .cause").first
    expect(cause).to_contain_text("a raw chunk of 100 bytes")
    # By the keys alone: the first square, then all of it.
    inner.locator("#map").focus()
    inner.locator("#map").press("ArrowRight")
    expect(inner.locator("#map-block")).to_contain_text("Block 0")
    expect(inner.locator("#map-block")).to_contain_text("failed")
    inner.locator("#map").press("Enter")
    detail = inner.locator("#detail")
    expect(detail).to_contain_text("segment, block 0")
    expect(detail.locator("td.bad").first).to_have_text("failed")
    told = cause.text_content() or "?"
    expect(detail).to_contain_text(told)
    # The link leaves the frame, which may not send its parent elsewhere by itself.
    detail.get_by_role("link", name=re.compile("task in Airflow")).click()
    page.wait_for_url(re.compile(r"/tasks/segment/mapped/0"), timeout=SOON_MS)


def test_plan_that_failed_says_why(airflow: Airflow, sign_in: SignIn) -> None:
    airflow.write_volume("unplanned")
    airflow.wait_for_dag("unplanned")
    (airflow.volumes / "unplanned" / "affinity").rename(airflow.volumes / "unplanned" / "away")
    run_id, state = airflow.run("unplanned")
    assert state == "failed"
    page = sign_in("viewer")
    page.goto(airflow.address + tab("unplanned", run_id))
    expect(frame(page).locator("#nothing-title")).to_contain_text("Plan failed", timeout=SOON_MS)
    expect(frame(page).locator("#nothing-log")).to_contain_text("affinity doesn't exist")


@pytest.fixture(scope="module")
def exact(airflow: Airflow) -> tuple[str, str]:
    """A verified run of the exact method without Airflow: the pages read its files alone."""
    config = airflow.write_volume("exactly", method="exact")
    airflow.wait_for_dag("exactly")
    volumes.run_pipeline(config, run="by_hand")
    return "exactly", "by_hand"


def test_stages_of_the_exact_method(
    airflow: Airflow, sign_in: SignIn, exact: tuple[str, str]
) -> None:
    page = sign_in("viewer")
    page.goto(airflow.address + airflow.map_path(*exact))
    expect(page.locator("#state")).to_have_text("Verified: complete", timeout=SOON_MS)
    stages = ["segment", "faces", "round0", "pool", "cut", "apply", "verify"]
    rows = page.locator("#stage-rows tr")
    expect(rows).to_have_count(len(stages), timeout=SOON_MS)
    assert [row.get_attribute("data-stage") for row in rows.all()] == stages
    first = pixel(page, "#map")
    page.locator("#map-measure").select_option("seconds")
    assert pixel(page, "#map") != first
    page.locator("#map-layer").fill("0")
    expect(page.locator("#map-layer-text")).to_contain_text("1 of 2")
    page.locator('tr[data-stage="round0"] button').click()
    expect(page.locator("#map-block")).to_contain_text("Point at a group")
    page.locator('tr[data-stage="apply"] button').click()
    expect(page.locator("#map-block")).to_contain_text("Point at a cell")


def test_it_stops_while_nobody_sees_it(
    airflow: Airflow, sign_in: SignIn, exact: tuple[str, str]
) -> None:
    page = sign_in("viewer")
    page.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => window.away === true})"
    )
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    page.goto(airflow.address + airflow.map_path(*exact))
    expect(page.locator("#state")).to_have_text("Verified: complete", timeout=SOON_MS)
    expect(page.locator("#map-layer-text")).to_contain_text(" of ", timeout=SOON_MS)
    page.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(500)
    before = len(asked)
    page.wait_for_timeout(12_000)
    assert len(asked) == before
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#looked")).to_be_visible()
    page.wait_for_timeout(2_000)
    assert len(asked) > before, "it looks again as soon as it is seen"


def test_neuroglancer_shows_the_result(
    airflow: Airflow, sign_in: SignIn, exact: tuple[str, str]
) -> None:
    """From the page of volumes with one click, in the web interface's own frame."""
    page = sign_in("viewer")
    refused: list[str] = []
    page.on("response", lambda r: refused.append(r.url) if r.status in (401, 403, 405) else None)
    page.goto(airflow.address + "/plugin/magneton-volumes")
    card = frame(page).locator("article", has_text="exactly")
    expect(card).to_contain_text("Verified", timeout=SOON_MS)
    card.get_by_role("link", name="Look at it").click()
    client = frame(page).frame_locator("iframe[title='Neuroglancer']")
    expect(client.get_by_text("segmentation").first).to_be_visible(timeout=2 * SOON_MS)
    canvas = client.locator("canvas").first

    def colours() -> int:
        """Different bright colours of a picture of the canvas."""
        import io

        import numpy as np
        from PIL import Image

        picture = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"))
        bright = picture[picture.max(axis=2) - picture.min(axis=2) > 60]
        return len(np.unique(bright // 16, axis=0))

    wait_until(lambda: colours() >= OBJECTS // 2, "objects in colours")
    assert not [url for url in refused if "/data/" in url]


# ------------------------------------------------------------------ who may
def statuses(airflow: Airflow, path: str) -> dict[str | None, int]:
    """What each user is answered; None: nobody is logged in."""
    found: dict[str | None, int] = {}
    for user in (None, "viewer", "admin"):
        try:
            airflow.call(path, user=user)
            found[user] = 200
        except RefusedError as error:
            found[user] = error.status
    return found


@pytest.mark.parametrize("rest", ["summary.json", "layer.json?stage=segment&z=0"])
def test_no_login_no_map(airflow: Airflow, exact: tuple[str, str], rest: str) -> None:
    airflow.wait_for_map(*exact)
    assert statuses(airflow, airflow.map_path(*exact) + rest) == {
        None: 401,
        "viewer": 200,
        "admin": 200,
    }


def test_a_viewer_may_look_but_not_trigger(airflow: Airflow, exact: tuple[str, str]) -> None:
    airflow.wait_for_map(*exact)
    assert (
        airflow.call(airflow.map_path(*exact) + "summary.json", user="viewer")["state"]
        == "verified"
    )
    with pytest.raises(RefusedError) as refusal:
        airflow.trigger(exact[0], user="viewer")
    assert refusal.value.status == 403
