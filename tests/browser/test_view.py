"""``magneton view`` in a real browser: what Neuroglancer draws, pixel by pixel."""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.routing import Mount

from magneton_tasks.viewer.layers import Layer, resolve
from tests.helpers import volumes
from tests.helpers.chromium import PATIENCE_S, NewPage
from tests.helpers.viewing import link_of, started, view
from tests.helpers.zarr_layers import ome_group, plain_array
from tests.viewer.conftest import TOKEN, app_of, serving

pytestmark = pytest.mark.browser

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
#: Share of a panel's pixels that coloured objects take, at least, when a small volume is drawn.
COLOURED = 0.15


@dataclass
class Seen:
    """A page, and what went wrong in it."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)
        self.page.on("request", lambda request: self.asked.add(request.url))

    def _failed(self, request: Any) -> None:
        # Of a HEAD, Chromium says so whenever nobody reads the body that isn't there.
        if request.method != "HEAD":
            self.wrong.append(f"failed: {request.method} {request.url} {request.failure}")

    def _answered(self, response: Any) -> None:
        if response.status == 404 and "/data/" in response.url:
            self.missing.append(response.url.rpartition("/data/")[2])
        elif response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url}")

    def panels(self) -> list[Pixels]:
        """The pixels (height, width, 3) of each panel of the data."""
        whole = np.array(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        boxes = self.page.evaluate(
            """() => [...document.querySelectorAll('.neuroglancer-rendered-data-panel')].map(e => {
                const r = e.getBoundingClientRect();
                return [r.y, r.bottom, r.x, r.right].map(Math.round); })"""
        )
        return [whole[y0:y1, x0:x1] for y0, y1, x0, x1 in boxes]

    def wait(self, good: Callable[[list[Pixels]], bool]) -> list[Pixels]:
        """Look until the panels are as they should be."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            panels = self.panels()
            if panels and good(panels):
                return panels
            assert time.monotonic() < deadline, self.page.evaluate("document.body.innerText")
            self.page.wait_for_timeout(300)

    def text(self) -> str:
        found: str = self.page.evaluate("document.body.innerText")
        return found


def coloured(panel: Pixels) -> float:
    """Share of pixels that are neither grey nor Neuroglancer's own lines (pure red, yellow, ...)."""
    low, high = panel.min(axis=-1).astype(int), panel.max(axis=-1).astype(int)
    return float(((high - low > 40) & (low > 10)).mean())


def hues(panel: Pixels) -> int:
    """How many different colours have at least 30 pixels, in steps of 32."""
    low, high = panel.min(axis=-1).astype(int), panel.max(axis=-1).astype(int)
    steps = (panel[(high - low > 40) & (low > 10)] // 32).astype(int)
    _, counts = np.unique(steps @ [64, 8, 1], return_counts=True)
    return int((counts >= 30).sum())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a volume that the whole pipeline has gone through."""
    config = volumes.make_volume(tmp_path_factory.mktemp("finished"))
    volumes.run_pipeline(config)
    return config


@pytest.fixture
def volume(finished: Path, tmp_path: Path) -> Path:
    """The same, for a test that changes it: affinity map and output."""
    for name in ("affinity", "segmentation"):
        shutil.copytree(finished.parent / name, tmp_path / name)
    return volumes.write_config(tmp_path)


def open_view(new_page: NewPage, lines: list[str]) -> Seen:
    port, path = link_of(lines)
    seen = Seen(new_page())
    seen.page.goto(f"http://127.0.0.1:{port}{path}")
    return seen


def test_coloured_objects_over_the_affinity_map(finished: Path, new_page: NewPage) -> None:
    with view(finished) as (_, lines):
        seen = open_view(new_page, lines)
        drawn = seen.wait(lambda p: coloured(p[0]) > COLOURED and hues(p[0]) >= 5)
        assert len(drawn) == 4
        # the largest objects are selected: as many as pool's report names
        selected = seen.page.evaluate(
            "viewer.layerManager.getLayerByName('segmentation').layer"
            ".displayState.segmentationGroupState.value.visibleSegments.size"
        )
        assert 5 <= selected <= 50
        # in the middle, in the volume's voxels
        assert seen.page.evaluate("[...viewer.position.value]") == [332.5, 16.5, 27.5]
        assert seen.page.evaluate("[...viewer.coordinateSpace.value.scales].map(v => v * 1e9)") == [
            pytest.approx(v) for v in (8, 8, 16)
        ]
        # without the segmentation: the affinity map, in grey
        seen.page.evaluate("viewer.layerManager.getLayerByName('segmentation').setVisible(false)")
        seen.wait(lambda p: coloured(p[0]) < 0.01 and (p[0].min(axis=-1) > 100).mean() > COLOURED)
        # and back, by the key that a person presses
        seen.page.evaluate("viewer.layerManager.getLayerByName('segmentation').setVisible(true)")
        seen.wait(lambda panels: coloured(panels[0]) > COLOURED)
        assert not seen.wrong
        assert not seen.missing
        assert all(url.startswith(("http://127.0.0.1:", "blob:", "data:")) for url in seen.asked)


def test_a_sharded_segmentation(tmp_path: Path, new_page: NewPage) -> None:
    config = volumes.make_volume(tmp_path, settings={"apply": {"sharding": "on"}})
    volumes.run_pipeline(config)
    assert list((tmp_path / "segmentation").rglob("*.shard"))
    with view(config) as (_, lines):
        seen = open_view(new_page, lines)
        seen.wait(lambda p: coloured(p[0]) > COLOURED and hues(p[0]) >= 5)
        # the list of segments can be sorted and filtered by what is known of each
        known = seen.page.evaluate(
            "(() => { const map = viewer.layerManager.getLayerByName('segmentation').layer"
            ".displayState.segmentationGroupState.value.segmentPropertyMap.value;"
            " return {n: map.numericalProperties.map(p => p.id), ids: map.segmentPropertyMap"
            ".inlineProperties.ids.length, tags: map.tags.tags}; })()"
        )
        assert known["n"] == ["voxels", "um3", "extent_um"]
        assert known["ids"] > 5 and known["tags"] == ["touches-border"]
        assert not seen.wrong
        assert not seen.missing


def test_after_a_minute_it_is_still_connected(finished: Path, new_page: NewPage) -> None:
    with view(finished) as (process, lines):
        seen = open_view(new_page, lines)
        seen.wait(lambda panels: coloured(panels[0]) > COLOURED)
        for _ in range(13):
            seen.page.wait_for_timeout(5_000)
            status = seen.page.evaluate(
                "[...document.querySelectorAll('#neuroglancer-status-container li')]"
                ".filter(e => e.offsetParent !== null).map(e => e.innerText).join()"
            )
            assert "onnect" not in status + seen.text()
        assert not seen.wrong
        # the test would see it: without the server the banner does come
        process.kill()
        seen.page.wait_for_function("document.body.innerText.includes('Disconnected')")


def test_reloading_keeps_what_the_person_has_chosen(finished: Path, new_page: NewPage) -> None:
    with view(finished) as (_, lines):
        seen = open_view(new_page, lines)
        seen.wait(lambda panels: coloured(panels[0]) > COLOURED)
        seen.page.evaluate("viewer.position.value = Float32Array.of(320, 10, 20)")
        seen.page.wait_for_function("location.hash.includes('320')")
        seen.page.reload()
        seen.wait(lambda panels: coloured(panels[0]) > COLOURED)
        assert seen.page.evaluate("[...viewer.position.value]") == [320, 10, 20]


def test_while_apply_is_still_writing(volume: Path, new_page: NewPage) -> None:
    """What is missing isn't drawn; after a reload it is."""
    folder = volume.parent / "segmentation" / "8_8_16"
    aside = volume.parent / "aside"
    aside.mkdir()
    for chunk in [c for c in folder.iterdir() if "332" in c.name or int(c.name[:3]) > 330]:
        chunk.rename(aside / chunk.name)
    with view(volume) as (_, lines):
        seen = open_view(new_page, lines)
        looks: list[object] = []

        def settled(panels: list[Pixels]) -> bool:
            looks.append((len(seen.missing), panels[0].tobytes()))
            return (
                bool(seen.missing)
                and coloured(panels[0]) > COLOURED / 3
                and looks[-2:-1] == looks[-1:]
            )

        half = seen.wait(settled)[0]
        assert not seen.wrong
        assert all(name.startswith("1/8_8_16/") for name in seen.missing)
        for chunk in aside.iterdir():
            chunk.rename(folder / chunk.name)
        url = seen.page.url
        seen.page.goto("about:blank")  # what is under way is given up
        seen.missing.clear()
        seen.page.goto(url)
        seen.wait(lambda panels: coloured(panels[0]) > 1.3 * coloured(half))
        assert not seen.missing


# ------------------------------------------------------------------ the affinity map, exactly
def precomputed(path: Path) -> None:
    volumes.write_precomputed(path, volumes.affinities(volumes.cells()))


@pytest.mark.parametrize(
    "make",
    [
        precomputed,
        lambda path: plain_array(path, 2),
        lambda path: plain_array(path, 3, chunks=(3, 16, 16, 16), shards=(3, 48, 32, 32)),
        lambda path: plain_array(path, 3, dtype="float32"),
        lambda path: plain_array(path, 2, chunks=(1, 16, 32, 32)),
        lambda path: ome_group(path, 2),
        lambda path: ome_group(path, 3),
    ],
    ids=["precomputed", "v2", "v3-sharded", "v3-float32", "v2-chunk-a-channel", "ome-0.4", "ome-0.5"],
)  # fmt: skip
def test_each_voxel_of_the_map_is_where_it_belongs(
    tmp_path: Path, new_page: NewPage, make: Callable[[Path], None]
) -> None:
    """Its three channels, x red, y green, z blue; before the first run there is nothing else."""
    make(tmp_path / "affinity")
    stored = volumes.affinities(volumes.cells())
    with view(volumes.write_config(tmp_path)) as (_, lines):
        assert any("no segmentation yet" in line for line in lines)
        seen = open_view(new_page, lines)
        seen.page.wait_for_function("window.viewer && viewer.layerManager.managedLayers.length")
        seen.page.evaluate("viewer.showAxisLines.value = false")
        z = stored.shape[1] // 2
        expected = stored[::-1, z, 8:-8:3, 8:-8:3].transpose(1, 2, 0)

        def off(panels: list[Pixels]) -> int:
            panel = panels[0]
            scale = seen.page.evaluate("viewer.crossSectionScale.value")
            at = [np.arange(8, n - 8, 3) - n // 2 for n in stored.shape[2:]]
            y, x = (
                np.round(n / 2 + a / scale).astype(int)
                for n, a in zip(panel.shape[:2], at, strict=True)
            )
            drawn = panel[np.ix_(y, x)]
            return int(np.abs(drawn.astype(int) - expected).max())

        seen.wait(lambda panels: off(panels) <= 1)  # of 255
        space = seen.page.evaluate(
            "[viewer.coordinateSpace.value.names, [...viewer.coordinateSpace.value.bounds.lowerBounds],"
            " [...viewer.coordinateSpace.value.bounds.upperBounds]]"
        )
        ends = [o + n for o, n in zip(volumes.OFFSET, volumes.SHAPE, strict=True)]
        assert space == [["x", "y", "z"], list(volumes.OFFSET[::-1]), ends[::-1]]
        assert not seen.wrong


# ------------------------------------------------------------------ several, and below a prefix
def test_three_segmentations_side_by_side(tmp_path: Path, new_page: NewPage) -> None:
    """As `magneton try` shows them."""
    precomputed(tmp_path / "affinity")
    for n in (5, 15, 40):
        labels = volumes.cells(n=n).astype(np.uint64)
        volumes.write_precomputed(tmp_path / f"{n}", labels, layer_type="segmentation")
    script = (
        "import sys; from magneton_tasks.viewer.layers import Layer\n"
        "from magneton_tasks.viewer.serve import serve\n"
        "root = 'file://' + sys.argv[1] + '/'\n"
        "layers = [Layer('affinity', 'affinity', root + 'affinity')]\n"
        "layers += [Layer(n, 'segmentation', root + n) for n in ('5', '15', '40')]\n"
        "serve(layers, position_vox=(27.5, 16.5, 332.5), voxel_size_nm=(16, 8, 8),\n"
        "      shape_vox=(40, 64, 64), side_by_side=True)\n"
    )
    with started([sys.executable, "-c", script, str(tmp_path)]) as (_, lines):
        seen = open_view(new_page, lines)
        drawn = seen.wait(
            lambda p: (
                len(p) == 3
                and min(map(coloured, p)) > COLOURED
                and hues(p[0]) < hues(p[1]) < hues(p[2])
            )
        )
        # they move together
        seen.page.evaluate("viewer.position.value = Float32Array.of(340.5, 30.5, 40.5)")
        seen.wait(
            lambda panels: all(
                (a != b).any(axis=-1).mean() > 0.05 for a, b in zip(panels, drawn, strict=True)
            )
        )
        assert not seen.wrong


def test_below_a_prefix(finished: Path, new_page: NewPage) -> None:
    """As Airflow's web interface mounts it, perhaps behind a proxy."""
    folder = finished.parent
    shown, _ = resolve(
        [
            Layer("affinity", "affinity", f"file://{folder}/affinity"),
            Layer("segmentation", "segmentation", f"file://{folder}/segmentation"),
        ]
    )
    app = Starlette(routes=[Mount("/some/prefix", app=app_of(shown))])
    with serving(app) as client:
        seen = Seen(new_page())
        seen.page.goto(f"http://127.0.0.1:{client.port}/some/prefix/v/{TOKEN}")
        seen.wait(lambda panels: coloured(panels[0]) > 0.01 and hues(panels[0]) >= 5)
        seen.page.wait_for_timeout(3_000)
        assert "onnect" not in seen.text()
        assert not seen.wrong
        seen.page.goto("about:blank")  # closes the event stream
