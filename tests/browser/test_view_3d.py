"""``magneton view`` of an output with meshes, in a real browser: the 3D panel, and the list of objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.outcome.report_facts import pool_report
from magneton_tasks.outcome.shapes.shape import colour_of
from tests.browser.test_view import Pixels, Seen, open_view
from tests.helpers import volumes
from tests.helpers.chromium import NewPage
from tests.helpers.solids import ball, write_meshes
from tests.helpers.viewing import view

pytestmark = pytest.mark.browser

#: Neuroglancer's own word for "all that is to be drawn is here".
READY = "() => !!window.viewer?.isReady?.() && viewer.layerManager.managedLayers.length === 2"


def objects_of(config: Path) -> list[int]:
    """A small volume's ten largest objects; each gets a ball for a mesh, on a lattice in the volume."""
    run = volumes.run_pipeline(config)
    ids = [o["global_id"] for o in (pool_report(run.attempt) or {})["largest"]]
    size, begin = np.array(volumes.VOXEL_NM[::-1]), np.array(volumes.OFFSET[::-1])
    extent = np.array(volumes.SHAPE[::-1])
    shapes = []
    for k, object_id in enumerate(ids):  # those beyond the tenth would stand in the way
        share = np.array([(k % 4 + 0.5) / 4, (k // 4 % 3 + 0.5) / 3, 0.5 if k < 10 else 0.1])
        middle = (begin + share * extent) * size
        shapes.append(ball(middle.tolist(), 55, object_id=object_id))
    write_meshes(config.parent / "segmentation", shapes, volumes.VOXEL_NM)
    return ids[:10]


def share_of(panel: Pixels, object_id: int) -> float:
    """Share of a panel's pixels that have an object's colour, brighter or darker."""
    pixels, colour = panel.astype(float), np.array(colour_of(object_id))
    light = pixels.max(axis=-1, keepdims=True)
    return float(
        ((np.abs(pixels - light * colour).max(axis=-1) < 10) & (light[..., 0] > 60)).mean()
    )


def test_the_ten_largest_objects_in_3d_and_a_click_hides_one(
    tmp_path: Path, new_page: NewPage
) -> None:
    config = volumes.make_volume(tmp_path, settings={"apply": {"sharding": "on"}})
    ids = objects_of(config)
    with view(config) as (_, lines):
        seen: Seen = open_view(new_page, lines)
        seen.page.wait_for_function(READY)
        panels = seen.wait(lambda p: len(p) == 2 and min(share_of(p[1], i) for i in ids) > 0.002)
        assert min(share_of(panels[0], i) for i in ids[:1]) > 0  # and in the section, a little
        # the list of objects is open, the largest first, and its rows choose what is seen in 3D
        rows = seen.page.locator(".neuroglancer-segment-list-entry", has_text=str(ids[2]))
        listed = seen.page.locator(".neuroglancer-segment-list-entry-id").all_inner_texts()
        assert [text for text in listed if text.isdigit()][:10] == [str(i) for i in ids]
        rows.last.locator(".neuroglancer-segment-list-entry-visible-checkbox").click()
        before, others = share_of(panels[1], ids[2]), ids[:2] + ids[3:]
        seen.wait(lambda p: share_of(p[1], ids[2]) < before / 4)  # another's may be like it
        assert min(share_of(seen.panels()[1], i) for i in others) > 0.002
        assert not seen.wrong
        assert not seen.missing
        assert all(url.startswith(("http://127.0.0.1:", "blob:", "data:")) for url in seen.asked)
