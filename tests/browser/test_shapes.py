"""The objects in 3D in ``report.html``, in a real browser: drawn, turned, hidden, printed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from magneton_tasks.outcome import report
from magneton_tasks.outcome.shapes import packed, still
from magneton_tasks.outcome.shapes.shape import colour_of
from tests.browser.test_report import CONTRAST
from tests.helpers import many_blocks
from tests.helpers.chromium import NewPage
from tests.helpers.solids import ball

pytestmark = pytest.mark.browser

Pixels = np.ndarray[Any, np.dtype[np.int64]]
#: Ids of the objects; JavaScript's numbers don't hold the last.
IDS = (4294967745, 38654705712, 2**60 + 12345)
#: Taken away before any script of the page runs.
NO_WEBGL = "HTMLCanvasElement.prototype.getContext = () => null;"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with three balls on a line that no axis is parallel to."""
    attempt = many_blocks.plan_many(tmp_path_factory.mktemp("shapes"), (2, 2, 2)).attempt
    shapes = [ball((1000 * k, 500 * k, 0), 600, object_id=i) for k, i in enumerate(IDS)]
    data, thin = packed.pack(shapes, 10**6, {"lod": 0, "lods": 3, "without": []})
    attempt.paths.shapes.write_bytes(data)
    attempt.paths.shapes_picture.write_bytes(still.draw(thin))
    report.write_report(attempt)
    return attempt.paths.page


def pixels_of(page: Page) -> Pixels:
    shot = page.locator("#shapes-canvas").screenshot()
    with Image.open(io.BytesIO(shot)) as image:
        return np.array(image.convert("RGB")).astype(np.int64)


def share_of(pixels: Pixels, object_id: int) -> float:
    """Share of the pixels that have an object's colour, brighter or darker."""
    colour = np.array(colour_of(object_id)) * 255
    light = pixels.max(axis=-1, keepdims=True) / colour.max()
    return float((np.abs(pixels - light * colour).max(axis=-1) < 12).mean())


def until(page: Page, good: Callable[[Pixels], bool]) -> Pixels:
    """The drawing, once it is as it should be: a frame may come late."""
    for _ in range(600):
        pixels = pixels_of(page)
        if good(pixels):
            return pixels
        page.wait_for_timeout(300)
    raise AssertionError("the drawing didn't become as it should be")


def test_objects_are_drawn_and_turned_by_keys_and_hand(new_page: NewPage, path: Path) -> None:
    page, wrong, asked = new_page(), list[str](), list[str]()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    first = until(page, lambda p: min(share_of(p, i) for i in IDS) > 0.02)
    assert not page.locator("#shapes-picture").is_visible()
    assert page.locator("#shapes-legend button").count() == 3
    contrast, where = page.evaluate(CONTRAST)
    assert contrast >= 4.5, where
    assert str(IDS[2]) in page.locator("#shapes-legend").inner_text()
    canvas = page.locator("#shapes-canvas")
    canvas.press("ArrowRight")
    turned = until(page, lambda p: bool((p != first).any()))
    canvas.press("ArrowLeft")
    until(page, lambda p: float((p == first).mean()) > 0.999)
    canvas.press("+")
    until(page, lambda p: share_of(p, IDS[1]) > 1.2 * share_of(first, IDS[1]))
    canvas.press("0")
    until(page, lambda p: bool((p == first).all()))
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 200)
    page.mouse.up()
    until(page, lambda p: bool((p != first).any() and (p != turned).any()))
    # the wheel zooms, because the drawing has been clicked
    before = pixels_of(page)
    page.mouse.wheel(0, -100)
    until(page, lambda p: bool((p != before).any()))
    assert not wrong
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


def test_a_click_hides_an_object_and_shows_it_again(new_page: NewPage, path: Path) -> None:
    page = new_page(colours="dark")
    page.goto(path.as_uri())
    first = until(page, lambda p: share_of(p, IDS[1]) > 0.02)
    button = page.locator("#shapes-legend button").nth(1)
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    without = until(page, lambda p: share_of(p, IDS[1]) == 0)
    contrast, where = page.evaluate(CONTRAST)
    assert contrast >= 4.5, where
    assert share_of(without, IDS[0]) >= share_of(first, IDS[0]) > 0.02
    button.click()
    until(page, lambda p: bool((p == first).all()))


def test_on_paper_and_without_webgl_there_is_a_picture(new_page: NewPage, path: Path) -> None:
    page = new_page()
    page.goto(path.as_uri())
    page.locator("#shapes.drawn").wait_for()
    picture, canvas = page.locator("#shapes-picture"), page.locator("#shapes-canvas")
    page.emulate_media(media="print")
    expect(picture).to_be_visible()
    expect(canvas).to_be_hidden()
    without = new_page(width=390)
    without.add_init_script(NO_WEBGL)
    without.goto(path.as_uri())
    expect(without.locator("#shapes-missing")).to_contain_text("it has no WebGL")
    assert without.locator("#shapes-picture").evaluate("e => e.naturalWidth") == still.WIDTH
    assert without.locator("#shapes-canvas").is_hidden()
    assert without.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_still_picture_is_the_first_drawing(new_page: NewPage, path: Path) -> None:
    page = new_page()
    page.goto(path.as_uri())
    drawn = until(page, lambda p: min(share_of(p, i) for i in IDS) > 0.02)
    with Image.open(path.with_name("objects-3d.png")) as image:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        picture = np.array(paper.convert("RGB").resize(drawn.shape[1::-1])).astype(np.int64)
    for object_id in IDS:
        assert share_of(picture, object_id) == pytest.approx(share_of(drawn, object_id), rel=0.1)
    near = np.abs(picture - drawn).max(axis=-1) < 40
    assert near.mean() > 0.97
