"""Results at several thresholds side by side, from one set of blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.config.read import load_config
from magneton_tasks.plan.stage_table import ROUNDS
from magneton_tasks.viewer.of_config import view_of
from tests.helpers import side_by_side, volumes


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return side_by_side.write(tmp_path)


def test_results_at_several_thresholds_stand_side_by_side(config: Path, tmp_path: Path) -> None:
    found = {}
    for n, threshold in enumerate((0.3, 0.25, 0.6)):
        run = volumes.run_pipeline(config, {"segment.threshold": threshold}, run=f"at-{n}")
        assert run.attempt.config.paths.output == f"file://{tmp_path}/at {threshold}/segmentation"
        found[threshold] = volumes.read_segmentation(run)
        if n:  # from the blocks of the first one
            assert not {"segment", "faces", *ROUNDS} & {
                s for s, codes in run.codes.items() if codes
            }
    objects = {t: len(np.unique(v[v > 0])) for t, v in found.items()}
    assert objects[0.25] <= objects[0.3] < objects[0.6]
    for threshold, voxels in found.items():  # none wrote over another
        url = f"file://{tmp_path}/at {threshold}/segmentation"
        np.testing.assert_array_equal(volumes.read_segmentation(url), voxels)
    (tmp_path / "at noon").mkdir()
    view = view_of(load_config(config), None)
    assert [layer.name for layer in view.layers] == [
        "affinity", "segmentation 0.25", "segmentation 0.3", "segmentation 0.6",
    ]  # fmt: skip
    assert view.side_by_side
    assert [len(layer.selected) for layer in view.layers[1:]] == [
        min(objects[t], 50) for t in (0.25, 0.3, 0.6)
    ]


def test_before_the_first_result_the_view_says_so(config: Path) -> None:
    view = view_of(load_config(config), None)
    assert [layer.name for layer in view.layers] == ["affinity"]
    assert any("no segmentation yet" in note for note in view.notes)
    assert not view.side_by_side
