"""What the report says of objects is what is in the volume, between the curve's levels too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.kernels.exact.map_threshold import LEVELS
from magneton_tasks.outcome.report_facts import pool_report
from tests.helpers import volumes
from tests.stages.test_exact_pipeline import make, tissue

pytestmark = pytest.mark.usefixtures("childless")

#: Between two levels; and voxels below which objects are left out, between two classes of sizes.
THRESHOLD, SMALL = 0.7571, 100


def sizes_of(run: volumes.Run) -> dict[int, int]:
    ids, voxels = np.unique(volumes.read_segmentation(run), return_counts=True)
    return {int(i): int(n) for i, n in zip(ids, voxels, strict=True) if i}


def test_the_report_counts_what_is_there_and_what_was_left_out(tmp_path: Path) -> None:
    assert THRESHOLD not in LEVELS
    config = make(tmp_path, tissue(4), [12, 14, 18], segment__threshold=THRESHOLD)
    all_sizes = sizes_of(volumes.run_pipeline(config, run="all"))
    run = volumes.run_pipeline(config, {"segment.min_size_vox": SMALL}, run="large")
    sizes = sizes_of(run)
    assert sizes == {i: n for i, n in all_sizes.items() if n >= SMALL}
    assert 10 < len(sizes) < len(all_sizes)

    found: dict[str, Any] = pool_report(run.attempt) or {}
    assert found["objects"] == len(sizes)
    assert found["left_out"] == len(all_sizes) - len(sizes)
    assert found["foreground_vox"] == sum(sizes.values())
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert [(o["global_id"], o["voxels"]) for o in found["largest"]] == largest
    assert found["largest_of_foreground"] == largest[0][1] / sum(sizes.values())
    classes = np.bincount([n.bit_length() - 1 for n in sizes.values()])
    assert found["sizes"]["objects"] == classes.tolist()
    assert len(found["curve"]["objects"]) == len(LEVELS)
