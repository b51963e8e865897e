from __future__ import annotations

from math import prod
from typing import Any

import pytest

from magneton_tasks import __version__
from magneton_tasks.base.geometry import Box
from magneton_tasks.base.grid import ranges_len
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import MAX_CELL_VOXELS, check_files, count_files, make_geometry
from magneton_tasks.plan.memory import Density, project_memory
from magneton_tasks.plan.plan import Fingerprints, Plan, ThresholdChoice
from magneton_tasks.plan.stage_plan import START_S, StagePlan, make_stage
from tests.helpers.plans import a_config, a_volume

#: segment, count, pool, apply, downsample of `fingerprints()`
GOLDEN = (
    "3fce9c68004a0fbf",
    "85e76f3561d6efb3",
    "7056543eac117f27",
    "ab9325999d8f06ad",
    "d439924a24bc13b2",
)
TAKEN = ThresholdChoice(0.3, "map", 0.1, 0.9, ("look at it: try another",))
BASE: dict[str, Any] = {"block.size": [96, 96, 96], "block.overlap": [16, 16, 16]}


def fingerprints(**sets: Any) -> Fingerprints:
    config = a_config(BASE | {k.replace("__", "."): v for k, v in sets.items()})
    return make_fingerprints(config, make_geometry(config, a_volume()))


@pytest.mark.parametrize(
    ("sets", "changed"),
    [
        # what decides the results of a stage changes it, and those after it
        ({"segment__threshold": 0.6}, "segment"),
        ({"segment__merge_function": "mean"}, "segment"),
        ({"input__invert": True}, "segment"),
        ({"paths__input": "file:///elsewhere"}, "segment"),
        ({"mask__path": "file:///mask"}, "segment"),
        ({"block__size": [128, 96, 96]}, "segment"),
        ({"box": {"begin": [0, 0, 0], "end": [200, 256, 256]}}, "segment"),
        ({"segment__min_size_vox": 10}, "pool"),
        ({"pool__rule": "any"}, "pool"),
        ({"pool__min_frac": 0.4}, "pool"),
        ({"apply__chunk_size": [32, 32, 32]}, "apply"),
        ({"apply__encoding": "raw"}, "apply"),
        ({"apply__mips": 1}, "apply"),
        ({"paths__output": "file:///elsewhere"}, "apply"),
        # what doesn't, doesn't: content is the business of digests
        ({"input__version": 2}, None),
        ({"input__identity": "chunks"}, None),
        ({"paths__work": "/elsewhere"}, None),
        ({"paths__max_files": 400_000}, None),
        ({"paths__visibility_wait_s": 7}, None),
        ({"local__memory": "9GiB"}, None),
        ({"local__workers": 3}, None),
        ({"pool__largest_object_warning": 0.2}, None),
        ({"schedule": "@daily"}, None),
        # other names of the same thing
        ({"segment__merge_function": "aff50_his256_ran255"}, None),
        ({"segment__threshold": 0.70}, None),
    ],
)  # fmt: skip
def test_a_setting_changes_its_stage_and_those_after(
    sets: dict[str, Any], changed: str | None
) -> None:
    before, after = fingerprints(), fingerprints(**sets)
    stages = ["segment", "count", "pool", "apply", "downsample"]
    first = stages.index(changed) if changed else len(stages)
    differ = [s for s in stages if before.of(s) != after.of(s)]
    assert differ == stages[first:]


def test_fingerprints_are_stable() -> None:
    """Golden: a change here recomputes everybody's blocks; it must be meant (see versions.py)."""
    assert fingerprints() == Fingerprints(*GOLDEN)


def test_kernel_versions_are_in_the_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprints()
    monkeypatch.setattr("magneton_tasks.kernels.versions.POOLING", 999)
    after = fingerprints()
    assert (after.segment, after.count) == (before.segment, before.count)
    assert after.pool != before.pool
    assert after.apply != before.apply


# ------------------------------------------------------------------ geometry
def test_mips_follow_the_voxel_size() -> None:
    geometry = make_geometry(a_config({"apply.mips": 3}), a_volume(begin=(5, -3, 1)))
    assert geometry.factors == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert geometry.cumulative[3] == (2, 8, 8)
    assert geometry.mip_box(3) == Box((2, -1, 0), (130, 31, 32))
    assert geometry.coarse_cells is None


def test_few_mips_don_t_make_tiny_cells() -> None:
    geometry = make_geometry(a_config({"apply.mips": 0}), a_volume((600, 600, 600)))
    assert geometry.cells.largest_read == (256, 256, 256)


def test_cells_that_grow_too_large_leave_mips_to_downsample() -> None:
    config = a_config({"apply.mips": 5})
    geometry = make_geometry(config, a_volume((1000, 9000, 9000)))
    assert 0 < geometry.cell_mips < 5
    assert prod(geometry.cells.largest_read) <= MAX_CELL_VOXELS
    assert geometry.coarse_cells is not None
    # together they make each mip once
    last = geometry.mip_box(5)
    boxes = [geometry.cell_box("downsample", k, 5) for k in range(len(geometry.coarse_cells))]
    assert sum(b.voxels for b in boxes) == last.voxels


def test_blocks_side_by_side_need_an_overlap() -> None:
    with pytest.raises(ConfigError, match=r"block\.overlap is 0 along y, but 4 blocks"):
        make_geometry(
            a_config({"block.size": [256, 64, 256], "block.overlap": [0, 0, 32]}), a_volume()
        )
    # one block along the axis joins with nobody
    make_geometry(a_config({"block.size": [256, 64, 256], "block.overlap": [0, 8, 0]}), a_volume())


def test_a_box_outside_the_volume_is_refused_with_what_there_is() -> None:
    config = a_config({"box": {"begin": [0, 0, 0], "end": [10, 300, 10]}})
    with pytest.raises(ConfigError, match="0:256,0:256,0:256"):
        make_geometry(config, a_volume())


# ------------------------------------------------------------------ files, batches, memory
def test_files_are_counted_at_all_mips() -> None:
    config = a_config({"apply.mips": 1, "apply.chunk_size": [64, 64, 64]})
    geometry = make_geometry(config, a_volume((65, 256, 256), voxel_size_nm=(8.0, 8.0, 8.0)))
    # 2 x 4 x 4 chunks, then 33 x 128 x 128 voxels in 1 x 2 x 2; info, owner, objects and their list
    assert count_files(geometry, (64, 64, 64)) == 32 + 4 + 5


@pytest.mark.parametrize(
    ("shape", "sharding", "found", "way_out"),
    [
        ((512, 512, 512), "off", "517 files", "apply.sharding: on, with an output that doesn't exist yet, makes 13"),
        ((4096, 4096, 4096), "on", "4,101 files", "raise paths.max_files"),
    ],
)  # fmt: skip
def test_too_many_files_are_refused_and_what_makes_fewer_is_named_with_its_number(
    shape: tuple[int, int, int], sharding: str, found: str, way_out: str
) -> None:
    sets = {"apply.mips": 0, "paths.max_files": 100, "apply.sharding": sharding}
    config = a_config(sets)
    geometry = make_geometry(config, a_volume(shape))
    with pytest.raises(ConfigError, match=found) as caught:
        check_files(config, geometry, count_files(geometry, (64, 64, 64)))
    assert way_out in str(caught.value)


def test_large_outputs_are_sharded_and_an_output_keeps_its_form() -> None:
    small, large = a_volume((512, 512, 512)), a_volume((17_000, 17_000, 17_000))
    config = a_config({"method": "exact"})
    assert not make_geometry(config, small).sharded
    assert make_geometry(config, large).sharded
    assert make_geometry(config, small, sharded=True).sharded
    assert not make_geometry(config, large, sharded=False).sharded
    assert not make_geometry(a_config({"apply.sharding": False}), large, sharded=True).sharded
    assert make_geometry(a_config({"apply.sharding": True}), small, sharded=False).sharded
    # 625 GB of chunks in fewer files than most quotas have
    assert count_files(make_geometry(config, large), (64, 64, 64)) <= 200_000


@pytest.mark.parametrize(
    ("blocks", "cpu_s", "workers", "batches"),
    [
        (0, 0, 4, 0),  # nothing to do: no task
        (3, 10, 4, 3),  # never more batches than blocks
        (100, 10, 4, 4),  # a batch for each worker at least
        (100_000, 6000, 4, 20),  # minutes each
        (10**6, 10**7, 4, 256),  # never more than 256
    ],
)
def test_batches(blocks: int, cpu_s: float, workers: int, batches: int) -> None:
    stage = make_stage(blocks, [(0, blocks)] if blocks else [], cpu_s, workers)
    assert stage.batches == batches
    shares = [stage.batch(k) for k in range(batches)]
    assert sum(e - b for b, e in shares) == blocks == ranges_len(stage.todo)


@pytest.mark.parametrize(
    ("blocks", "cpu_s", "workers", "tasks"),
    [
        (16, 1, 2, 16),  # few
        (17, 17 * 9.9, 2, 2),  # short ones: a worker's start counts
        (17, 17 * 10, 2, 17),  # long ones
        (64, 64 * 10, 2, 64),
        (65, 65 * 100, 2, 22),  # many
        (5, 10**6, 8, 5),
        (0, 0, 4, 0),
    ],
)
def test_few_blocks_are_a_task_each_where_people_watch_them(
    blocks: int, cpu_s: float, workers: int, tasks: int
) -> None:
    todo = [(3, 3 + blocks)] if blocks else []
    assert make_stage(100, todo, cpu_s, workers, by_block=True).batches == tasks
    assert make_stage(100, todo, cpu_s, workers).batches <= max(workers, round(cpu_s / 300))


def test_memory_bounds_lie_above_what_is_expected() -> None:
    for merge in ("mean", "aff50_his256"):
        config = a_config({"segment.merge_function": merge, "apply.mips": 6})
        geometry = make_geometry(config, a_volume((2000, 8000, 8000)))
        memory = project_memory(config, geometry, Density(0.035, 0.15, (0.05, 0.2)))
        assert set(memory) == {"segment", "count", "pool", "apply", "downsample"}
        for stage, projected in memory.items():
            assert 0 < projected.expected <= projected.bound, stage


def a_plan(work: dict[str, StagePlan]) -> Plan:
    """For two workers."""
    config = a_config(BASE)
    geometry = make_geometry(config, a_volume())
    return Plan(
        version=__version__,
        run="r",
        attempt=2,
        created=1.5,
        config_path="/c.yaml",
        partition=None,
        restart=False,
        stages=("segment", "pool"),
        volume=a_volume(),
        input_digest="d",
        geometry=geometry,
        fingerprints=make_fingerprints(config, geometry),
        threshold=TAKEN,
        work=work,
        memory=project_memory(config, geometry, Density(0.03, 0.1, None)),
        memory_limit=5,
        workers=2,
        files=9,
        output_bytes=8,
        label_bytes=7,
        notes=("careful",),
    )


def test_a_plan_reads_back_as_it_was() -> None:
    plan = a_plan({"segment": StagePlan(27, [(0, 3), (5, 7)], 2, 1.0)})
    assert Plan.from_json(plan.to_json()) == plan


def test_the_expected_time_is_shared_by_the_workers_and_counts_their_start() -> None:
    segment = StagePlan(27, [(0, 27)], 5, 100.0)  # three rounds of two workers, and verify
    done = StagePlan(27, [], 0, 0.0)
    start = START_S
    expected_s = a_plan({"segment": segment, "count": done}).expected_s
    assert expected_s == pytest.approx(50.0 + 4 * start)
    assert a_plan({"segment": done}).expected_s == start


def test_a_plan_of_a_million_blocks_is_small() -> None:
    """Grid parameters and index ranges, never a list of blocks."""
    config = a_config({"paths.max_files": 10**9, "apply.chunk_size": [256, 256, 256]})
    geometry = make_geometry(config, a_volume((22400, 22400, 22400)))
    assert len(geometry.grid) == 10**6
    plan = Plan(
        version=__version__,
        run="r",
        attempt=1,
        created=0.0,
        config_path="",
        partition=None,
        restart=False,
        stages=("segment",),
        volume=a_volume(),
        input_digest="",
        geometry=geometry,
        fingerprints=make_fingerprints(config, geometry),
        threshold=TAKEN,
        work={"segment": StagePlan(10**6, [(0, 10**6)], 256, 1.0)},
        memory={},
        memory_limit=0,
        workers=1,
        files=0,
        output_bytes=0,
        label_bytes=0,
    )
    assert len(plan.to_json()) < 20_000


def test_a_plan_of_another_version_is_refused_before_it_is_read() -> None:
    """It may hold other keys, and lack those of now."""
    with pytest.raises(
        ConfigError, match=r"/work/runs/r/1 was planned by Magneton 0\.1\.0"
    ) as caught:
        Plan.from_json('{"version": "0.1.0", "run": "r", "surprise": 1}', "/work/runs/r/1")
    assert caught.value.exit_code == 78
    assert "clear the task plan (or rerun)" in str(caught.value)
