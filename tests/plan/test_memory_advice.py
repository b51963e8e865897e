"""What messages advise where memory runs out does help: held against projections, or the kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import ExactSettings, SegmentSettings
from magneton_tasks.config.model import RunConfig
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import segment_block_exact
from magneton_tasks.kernels.overlap.segment import segment_block
from magneton_tasks.plan.geometry import make_geometry
from magneton_tasks.plan.memory import TYPICAL, project_memory
from magneton_tasks.runners import memory_advice, this_machine
from tests.helpers import volumes
from tests.helpers.plans import a_config, a_volume
from tests.helpers.volumes import Array

GIB = 2**30
VOLUME = a_volume((1024, 1024, 1024), voxel_size_nm=(8.0, 8.0, 8.0))
STAGES = ("segment", "count", "faces", "pool", "apply", "downsample")


def projected(config: RunConfig, stage: str) -> int:
    """The bound of a stage, in bytes; 0 where there is no such stage."""
    memory = project_memory(config, make_geometry(config, VOLUME), TYPICAL)
    return memory[stage].bound if stage in memory else 0


CONFIGS: dict[str, dict[str, Any]] = {
    "overlap, histogram": {"method": "overlap", "segment.merge_function": "aff50_his256"},
    "overlap, mean": {"method": "overlap", "segment.merge_function": "mean"},
    "exact": {"method": "exact", "block.size": [256] * 3},
    "small chunks": {"method": "exact", "apply.chunk_size": [32] * 3, "apply.mips": 2},
    "many mips": {"method": "exact", "apply.chunk_size": [128] * 3, "apply.mips": 4},
    "no mips": {"method": "exact", "apply.mips": 0},
}


def ways(config: RunConfig, stage: str) -> list[memory_advice.Way]:
    return list(memory_advice.ways(config, stage, VOLUME))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", CONFIGS)
def test_whoever_follows_advice_needs_less(name: str, stage: str) -> None:
    sets = CONFIGS[name]
    config = a_config(sets)
    if stage == ("faces" if config.method == "overlap" else "count"):
        return  # there is none
    for way in ways(config, stage):
        if stage == "pool":
            continue  # by the kernels, below: the projection takes labels a voxel as given
        after = a_config({**sets, **way.sets})
        assert projected(after, stage) < 0.97 * projected(config, stage), way.text


def test_each_stage_has_the_advice_that_is_true_of_it() -> None:
    def keys(name: str, stage: str) -> list[str]:
        return [key for way in ways(a_config(CONFIGS[name]), stage) for key in way.sets]

    assert keys("overlap, histogram", "segment") == ["block.size", "segment.merge_function"]
    assert keys("overlap, mean", "segment") == ["block.size"]
    assert keys("exact", "segment") == ["block.size"]
    assert keys("exact", "faces") == ["block.size"]
    assert keys("exact", "round1") == ["block.size"]
    assert keys("no mips", "apply") == []
    assert "apply.mips" in keys("many mips", "apply")


# ------------------------------------------------------------------ what only the kernels know
def blocks_of(edge: int, settings: ExactSettings) -> tuple[int, int]:
    """(labels, open edges) of all blocks of a made-up tissue of 64^3."""
    affinity = tissue()
    grid = Grid.of_blocks(Box.of_shape((64,) * 3), (edge,) * 3, (0, 0, 0))
    labels = edges = 0
    for key in range(len(grid)):
        core = grid.core(key)
        block = np.ascontiguousarray(affinity[(slice(None), *core.slices((0, 0, 0)))])
        high: Any = tuple(
            np.ascontiguousarray(
                affinity[
                    (
                        d,
                        *(
                            min(core.end[d], 63) if a == d else slice(core.begin[a], core.end[a])
                            for a in range(3)
                        ),
                    )
                ]
            )
            for d in range(3)
        )
        found = segment_block_exact(block, high, Place.of(grid, key), settings)
        labels += found.n_labels
        edges += len(found.residual.edges.u)
    return labels, edges


def tissue() -> Array:
    affinity = volumes.affinities(volumes.cells((64,) * 3, 60), noise=0.4)
    return np.minimum(affinity.astype(np.uint16) * 5 // 4, 255).astype(np.uint8)  # many are 255


def test_larger_blocks_make_fewer_labels_and_leave_less_open() -> None:
    settings = ExactSettings(0.5)
    small, large = blocks_of(16, settings), blocks_of(32, settings)
    assert large[0] < 0.8 * small[0]
    assert large[1] < 0.8 * small[1]


def test_t_high_255_leaves_less_open_than_256() -> None:
    usual = ExactSettings(0.5, t_high=255)
    assert blocks_of(32, usual)[1] < 0.8 * blocks_of(32, replace(usual, t_high=256))[1]
    config = a_config({"method": "exact", "exact.advanced.t_high": 256})
    (way,) = [w for w in memory_advice.ways(config, "round1", None) if "block.size" not in w.sets]
    assert way.sets == {"exact.advanced.t_high": 255}


def test_a_lower_threshold_makes_fewer_labels_of_overlapping_blocks() -> None:
    affinity = np.divide(tissue(), np.float32(255), dtype=np.float32)
    config = a_config(CONFIGS["overlap, mean"] | {"segment.threshold": 0.8})
    (way,) = ways(config, "pool")
    lower = way.sets["segment.threshold"]
    before, after = (
        segment_block(affinity.copy(), SegmentSettings(t, "mean"))[1] for t in (0.8, lower)
    )
    assert after < 0.9 * before


# ------------------------------------------------------------------ more memory
@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({}, "a machine with more memory"),
        ({"local.memory": "2GiB"}, "raise local.memory"),
        ({"local.memory": "64GiB"}, "a machine with more memory"),  # there are no 64
        ({"runner.offered": ["docker"], "runner.default": "docker"}, "the engine's machine"),
        (
            {"runner.offered": ["docker"], "runner.default": "docker", "docker.max_memory": "2GiB"},
            "raise docker.max_memory",
        ),
        ({"runner.offered": ["slurm"], "runner.default": "slurm"}, "slurm.slurm_partition"),
        (
            {"runner.offered": ["slurm"], "runner.default": "slurm", "slurm.max_memory": "2GiB"},
            "raise slurm.max_memory",
        ),
    ],
)
def test_a_key_is_only_to_be_raised_where_there_is_more(
    sets: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(this_machine, "memory_bytes", lambda: 24 * GIB)
    assert said in memory_advice.advice(a_config(sets), "segment")


def test_no_other_module_advises_about_memory_by_itself() -> None:
    """Words that were wrong for most stages: one module knows which stage they are true of."""
    root = Path(memory_advice.__file__).parents[1]
    told = [
        root / "base/failures.py",
        root / "work/attempt.py",
        *(root / "stages").glob("*.py"),
    ]
    told += [p for p in (root / "runners").rglob("*.py") if p.name != "memory_advice.py"]
    for path in told:
        text = path.read_text()
        for words in ("smaller block", "block.size", "merge_function mean", "raise exact.s2"):
            assert words not in text, path
