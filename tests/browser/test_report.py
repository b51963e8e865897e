"""``report.html`` in a real browser, from its file: it draws, answers to hands and keys, asks for nothing."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from magneton_tasks.outcome import report
from magneton_tasks.outcome.page import frozen
from tests.helpers import many_blocks, volumes

pytestmark = pytest.mark.browser

NewPage = Callable[..., Page]
#: Number of different colours of the map's canvas, and how many of its pixels aren't transparent.
LOOK = """() => {
  const canvas = document.getElementById("map"), copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true }); // or Chromium warns
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  let drawn = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3]) { drawn++; colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]); }
  }
  return { colours: colours.size, drawn: drawn / (data.length / 4), sum: data.reduce((a, b) => (a * 31 + b) % 1000003, 0) };
}"""
#: Contrast (WCAG 2) of the text of all elements that have some of their own; the lowest, and whose.
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const level = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const e of document.body.querySelectorAll("*")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.tagName === "SCRIPT") continue;
    const colour = getComputedStyle(e)[e.ownerSVGElement ? "fill" : "color"];
    const [a, b] = [level(rgb(colour)), level(behind(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < worst[0]) worst = [contrast, `${e.tagName} ${e.className.baseVal ?? e.className}: ${e.textContent.trim().slice(0, 40)}`];
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> volumes.Run:
    return volumes.run_pipeline(volumes.make_volume(tmp_path_factory.mktemp("verified")))


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> volumes.Run:
    """One corner without foreground, NaN in the opposite one; some blocks are never reached."""
    folder = tmp_path_factory.mktemp("failed")
    affinity = (volumes.affinities(volumes.cells()) / 255).astype(np.float32)
    affinity[:, :32, :48, :48] = 0
    config = volumes.make_volume(folder, affinity)
    run = volumes.plan_run(config)
    affinity[:, 39, 63, 63] = np.nan
    volumes.write_precomputed(folder / "affinity", affinity)
    volumes.release(volumes.run_stages(run))
    report.write_report(run.attempt)
    return run


class Visit:
    """A page that was opened from its file, and all that happened meanwhile."""

    def __init__(self, new_page: NewPage, path: Path, **options: Any) -> None:
        self.page = new_page(**options)
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.locator("#map-legend span").first.wait_for()

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(LOOK)
        return found

    def block(self) -> dict[str, str]:
        """What is said of the chosen block."""
        names, values = (
            self.page.locator(f"#map-block {t}").all_inner_texts() for t in ("dt", "dd")
        )
        return {
            "title": self.page.locator("#map-block h3").inner_text(),
            **dict(zip(names, values, strict=True)),
        }

    def hover(self, key: int, shape: tuple[int, int, int]) -> dict[str, str]:
        """Point at a block of the layer that is shown."""
        canvas = self.page.locator("#map")
        box = canvas.bounding_box()
        assert box is not None
        y, x = divmod(key % (shape[1] * shape[2]), shape[2])
        at = {"x": (x + 0.5) * box["width"] / shape[2], "y": (y + 0.5) * box["height"] / shape[1]}
        canvas.hover(position=at)  # type: ignore[arg-type]
        return self.block()

    def quiet(self) -> None:
        """No message, no request but for the file; what lies in it isn't one."""
        assert self.said == []
        assert [u for u in self.requests if not u.startswith("data:")] == [self.requests[0]]
        assert self.requests[0].startswith("file://")


def test_the_map_draws_and_answers(new_page: NewPage, verified: volumes.Run) -> None:
    visit = Visit(new_page, verified.attempt.paths.page)
    page, records = visit.page, verified.records("segment")
    look = visit.look()
    assert look["drawn"] > 0.9 and look["colours"] >= 4
    assert page.locator("#map-layer-text").inner_text().startswith("2 of 2: z ")
    found = visit.hover(5, (2, 2, 2))
    assert (found["title"], found["grid"]) == ("Block 5", "1, 0, 1 (z, y, x)")
    core = verified.plan.geometry.grid.core(5)
    assert found["core x"] == f"{core.begin[2]} to {core.end[2]}"
    assert found["labels"] == str(records[5].info["n"])
    assert found["peak memory"] == f"{(records[5].peak_bytes or 0) / 2**20:.0f} MiB"
    assert (found["state"], found["host"]) == ("done", records[5].host)
    page.locator("#map-layer").fill("0")
    assert page.locator("#map-layer-text").inner_text().startswith("1 of 2: z 7 to ")
    assert visit.block()["title"] == "Block 1"
    assert visit.look()["sum"] != look["sum"]
    page.locator("#map").press("ArrowLeft")
    page.locator("#map").press("PageDown")
    assert visit.block()["title"] == "Block 4"
    visit.quiet()


def test_each_stage_by_each_measure(new_page: NewPage, verified: volumes.Run) -> None:
    visit = Visit(new_page, verified.attempt.paths.page)
    page, seen = visit.page, {}
    for stage in page.locator("#map-stage option").all_inner_texts():
        page.locator("#map-stage").select_option(label=stage)
        seen[stage] = page.locator("#map-measure option").all_inner_texts()
        for measure in seen[stage]:
            page.locator("#map-measure").select_option(label=measure)
            assert visit.look()["drawn"] > 0.8, (stage, measure)
            legend = page.locator("#map-legend").inner_text()
            assert ("done: " if measure == "state" else f"{measure}: ") in legend
            if measure == "peak memory":
                assert "MiB" in legend
    assert seen["segment"] == ["state", "time", "CPU time", "peak memory", "labels"]
    assert list(seen) == ["segment", "count", "apply"]
    visit.quiet()


def test_what_failed_can_be_told_without_colour(new_page: NewPage, failed: volumes.Run) -> None:
    visit = Visit(new_page, failed.attempt.paths.page)
    last = failed.last("segment")
    bad = {k for k, r in last.items() if r.state == "failed"}
    empty = {k for k, r in last.items() if r.state == "empty"}
    assert bad and empty
    found = visit.block()  # the first that failed is chosen, in its layer
    assert (found["title"], found["state"]) == (f"Block {min(bad)}", "failed")
    assert found["cause"] == last[min(bad)].info["cause"]
    legend = visit.page.locator("#map-legend").inner_text()
    upper = {k for k in bad if k >= 4}
    in_all = f", {len(bad)} in all layers" if len(bad) > len(upper) else ""
    assert f"failed: {len(upper)}{in_all}" in legend
    visit.page.locator("#map-layer").fill("0")
    assert f"empty (no foreground): {len(empty)}" in visit.page.locator("#map-legend").inner_text()
    assert visit.hover(min(empty), (2, 2, 2))["state"] == "empty (no foreground)"
    assert visit.page.locator("#failures tbody tr").count() == len(bad)
    grey = "() => { document.body.style.filter = 'grayscale(1)'; }"
    visit.page.evaluate(grey)
    visit.hover(3, (2, 2, 2))  # the frame of the block that is pointed at lies elsewhere
    shot = visit.page.locator("#map").screenshot()
    cell = np.asarray(Image.open(io.BytesIO(shot)).convert("L")).astype(int)[:56, :56]
    frame, inside, middle = cell[1, 8:20].mean(), cell[8, 8:20].mean(), cell[20:36, 20:36]
    assert abs(frame - inside) > 20 and middle.std() > 20  # a frame and a letter
    visit.quiet()


def test_light_and_dark_differ_and_can_be_read(
    new_page: NewPage, verified: volumes.Run, failed: volumes.Run
) -> None:
    papers, sums = [], []
    for colours in ("light", "dark"):
        for run in (verified, failed):
            visit = Visit(new_page, run.attempt.paths.page, colours=colours)
            for details in visit.page.locator("details:not([open]) summary").all():
                details.click()
            contrast, where = visit.page.evaluate(CONTRAST)
            assert contrast >= 4.5, (colours, contrast, where)
        papers.append(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        sums.append(visit.look()["sum"])
    light, dark = (sum(map(int, re.findall(r"\d+", p))) for p in papers)
    assert light > 700 and dark < 150
    assert sums[0] != sums[1]


def test_paper_is_white_whatever_the_screen(new_page: NewPage, verified: volumes.Run) -> None:
    visit = Visit(new_page, verified.attempt.paths.page, colours="dark")
    dark = visit.look()["sum"]
    visit.page.emulate_media(media="print", color_scheme="dark")
    assert (
        visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    visit.page.wait_for_function(f"() => ({LOOK})().sum !== {dark}")
    assert visit.page.pdf(format="A4").startswith(b"%PDF")
    assert visit.page.locator("details:not([open])").count() == 0


def test_the_page_shows_what_its_data_say(new_page: NewPage, verified: volumes.Run) -> None:
    """All that a person looks for in a report, beside the map."""
    visit = Visit(new_page, verified.attempt.paths.page)
    text, plan = visit.page.locator("body").inner_text(), verified.plan
    titles = visit.page.evaluate("[...document.querySelectorAll('[title]')].map((e) => e.title)")
    assert visit.page.locator("#state").inner_text() == "Verified: complete"
    assert f"{plan.geometry.box.voxels:,} voxels" in titles
    peak = max(r.peak_bytes or 0 for r in verified.records("segment").values())
    assert f"{peak:,} bytes" in titles
    for words in (
        f"magneton view {plan.config_path}",
        f"precomputed://{verified.attempt.config.paths.output}",
        "8 (2 × 2 × 2), each reads at most 28 × 40 × 40 voxels, neighbours overlap by 8 × 16 × 16",
        "16 × 8 × 8 nm (z, y, x): 0.64 × 0.512 × 0.512 µm",
        "Largest objects",
        "Slowest blocks",
        "As planned",
        "Given: differs from the default (14)",
        f"To write it again: magneton report {plan.config_path}",
    ):
        assert words in text, words
    rows = visit.page.locator("#stage-rows th").all_inner_texts()
    assert rows == ["segment", "count", "pool", "apply", "verify"]
    assert visit.page.locator("#slowest tbody tr").count() == 8
    assert visit.page.locator("#objects-body svg[role=img]").count() == 2
    assert visit.page.locator("#preview-image").is_visible()
    memory = visit.page.locator("tr", has_text="local.memory")
    assert "8 GiB" in memory.inner_text()


def test_texts_from_a_run_stay_text(new_page: NewPage, failed: volumes.Run, tmp_path: Path) -> None:
    """Markup in causes, hosts and settings is shown, not obeyed."""
    evil = "<img src=x onerror='document.title=`obeyed`'>"
    data = frozen.data_of(failed.attempt.paths.page)
    assert data is not None
    segment = data["summary"]["stages"][0]
    for failure in segment["failures"]:
        failure |= {"cause": evil, "hint": evil, "log": evil, "host": evil}
    data["summary"] |= {"notes": [evil], "hosts": [evil]}
    data["facts"]["settings"][0]["meaning"] = evil
    page = tmp_path / "report.html"
    page.write_text(frozen.render(data))
    visit = Visit(new_page, page)
    assert visit.page.locator("body").inner_text().count(evil) >= 6
    assert visit.page.locator("img").count() == 1
    assert "obeyed" not in visit.page.title()
    visit.quiet()


def test_the_slowest_block_is_shown_where_it_lies(new_page: NewPage, verified: volumes.Run) -> None:
    visit = Visit(new_page, verified.attempt.paths.page)
    link = visit.page.locator("#slowest button").first
    key = int(link.inner_text())
    link.click()
    expect(visit.page.locator("#map-block h3")).to_have_text(f"Block {key}")
    expect(visit.page.locator("#map-layer-text")).to_contain_text(f"{key // 4 + 1} of 2")
    visit.page.locator('tr[data-stage="apply"] button').click()
    expect(visit.page.locator("#map-block")).to_contain_text("Point at a cell")
    visit.quiet()


def test_a_narrow_window_needs_no_sideways_scrolling(
    new_page: NewPage, failed: volumes.Run
) -> None:
    visit = Visit(new_page, failed.attempt.paths.page, width=390)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_control_has_a_name(new_page: NewPage, verified: volumes.Run) -> None:
    page = Visit(new_page, verified.attempt.paths.page).page
    for name in ("Stage", "Colour", "Layer"):
        assert page.get_by_label(name, exact=False).first.is_visible(), name
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator('svg:not([aria-label]):not([aria-hidden="true"])').count() == 0
    levels = [
        int(t[1])
        for t in page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => e.tagName)")
    ]
    assert levels[0] == 1 and all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_a_hundred_thousand_blocks(new_page: NewPage, tmp_path: Path) -> None:
    run = many_blocks.plan_many(tmp_path, (10, 100, 100))
    many_blocks.write_records(
        run.attempt,
        "segment",
        99_000,
        lambda k: (
            {"state": "failed", "info": {"cause": "torn", "hint": "", "exit_code": 65}}
            if k == 31_416
            else {}
        ),
    )
    report.write_report(run.attempt)
    visit = Visit(new_page, run.attempt.paths.page)
    assert (visit.block()["title"], visit.block()["cause"]) == ("Block 31,416", "torn")
    assert visit.page.locator("#map-layer-text").inner_text().startswith("4 of 10")
    assert visit.look()["colours"] > 50
    assert visit.hover(31_417, (10, 100, 100))["title"] == "Block 31,417"
    visit.page.locator("#map-layer").fill("9")
    assert visit.hover(99_500, (10, 100, 100))["state"] == "missing"
    visit.quiet()
