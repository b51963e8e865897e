"""Sample boxes in corners of blocks tell how many supervoxels these blocks hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.rounds.block import segment_supervoxels
from magneton_tasks.plan.cost_rest import pool_memory
from magneton_tasks.stages.planning.corners import corner, sample_counts
from magneton_tasks.stages.planning.sampling import sample_boxes
from tests.helpers import volumes
from tests.helpers.volumes import Array, plan_run, run_stages, write_config

SETTINGS = ExactSettings(0.5)
EDGE = 40
GRID = Grid.of_blocks(Box.of_shape((3 * EDGE, 2 * EDGE, EDGE)), (EDGE,) * 3, (0, 0, 0))


class Reader(AffinityReader):
    """Stands for the input's."""

    def __init__(self, affinity: Array) -> None:  # nothing is opened
        self.affinity = affinity

    def read_uint8(self, box: Box) -> Array:
        return np.ascontiguousarray(self.affinity[(slice(None), *box.slices((0, 0, 0)))])


def test_corners_lie_at_faces_that_have_neighbours() -> None:
    for number, near in enumerate(sample_boxes(GRID.box)):
        found = corner(GRID, near, number, 24)
        assert found.core.shape == (24, 24, 24)
        # one face along z and one along y, where there are several blocks; none along x
        assert [sum(sides) for sides in found.inner] == [1, 1, 0]
        for axis in (0, 1):
            low, high = found.inner[axis]
            assert not low or found.core.begin[axis] in GRID.cuts[axis][1:-1]
            assert not high or found.core.end[axis] in GRID.cuts[axis][1:-1]


def test_a_box_as_large_as_a_block_has_all_its_faces() -> None:
    found = corner(GRID, GRID.core(2), 0, 100)
    assert found.core == GRID.core(2)
    assert found.inner == ((True, True), (False, True), (False, False))


@pytest.mark.parametrize("has_seams", [False, True], ids=["even", "seams at the faces"])
def test_what_is_sampled_is_what_blocks_hold(has_seams: bool) -> None:
    """Also where the affinity map is another one at just the planes where blocks are cut."""
    affinity = volumes.affinities(volumes.cells(GRID.box.shape, 200), noise=0.4)
    if has_seams:
        for axis in (0, 1):
            for cut in GRID.cuts[axis][1:-1]:
                at: list[Any] = [slice(None)] * 3
                at[axis] = cut
                affinity[(axis, *at)] = 255
    true = 0
    for key in range(len(GRID)):
        core, place = GRID.core(key), Place.of(GRID, key)
        high: Any = tuple(_plane(affinity, core, axis) for axis in range(3))
        block = Reader(affinity).read_uint8(core)
        true += segment_supervoxels(block, high, place, SETTINGS).sizes.size - 1
    corners = [corner(GRID, box, k, 32) for k, box in enumerate(sample_boxes(GRID.box))]
    sampled = [sample_counts(Reader(affinity), c, SETTINGS).labels_per_voxel for c in corners]
    assert 0.7 < np.mean(sampled) / (true / GRID.box.voxels) < 1.5


def _plane(affinity: Array, core: Box, axis: int) -> Array:
    """Of the affinities just beyond a block's high face; zeros where the volume ends."""
    if core.end[axis] == affinity.shape[1 + axis]:
        return np.zeros([s for a, s in enumerate(core.shape) if a != axis], np.uint8)
    at = list(core.slices((0, 0, 0)))
    return np.ascontiguousarray(
        affinity[(axis, *(core.end[axis] if a == axis else at[a] for a in range(3)))]
    )


def test_the_pool_of_small_blocks_is_projected_though_the_middle_one_holds_little(
    tmp_path: Path,
) -> None:
    affs = np.random.default_rng(5).integers(0, 256, (3, 48, 48, 48), np.uint8)
    affs[:, 16:32, 16:32, 16:32] = 255  # the one block that lies in the middle is one object
    zarr.create_array(
        tmp_path / "affinity", data=affs, chunks=(3, 48, 48, 48), dimension_names=list("czyx")
    )
    settings = {
        "method": "exact",
        "block": {"size": [16] * 3},
        "segment": {"threshold": 0.5},
        "pool": {},
        "apply.mips": 0,
    }
    run = plan_run(write_config(tmp_path, settings))
    run_stages(run, stages=["segment"])
    blocks = run.attempt.manifest("segment").read(set(range(27)))
    labels = sum(b.valid.info["n"] for b in blocks.values() if b.valid is not None)
    assert labels > 5_000
    assert run.plan.memory["pool"].bound >= pool_memory(labels).bound
