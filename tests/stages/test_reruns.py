"""What a rerun does again, and what it leaves alone; the same voxels whatever the way there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.precomputed.metadata import chunk_name
from magneton_tasks.stages import segment_overlap
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Outcome
from magneton_tasks.work.record_writer import Given
from tests.helpers import volumes
from tests.helpers.volumes import CHUNK, OFFSET, Array, Run

pytestmark = pytest.mark.usefixtures("childless")

ALL_BLOCKS = set(range(8))
Copy = Callable[..., Path]


def assert_same(run: Run, expected: list[Array]) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


def made(run: Run) -> dict[str, int]:
    """How many blocks and cells an attempt did, by stage; those that did nothing are left out."""
    found = {s: len(run.made(s)) for s in ("segment", "count", "pool", "apply")}
    return {s: n for s, n in found.items() if n}


# ------------------------------------------------------------------ the way there doesn't matter
@pytest.mark.parametrize("way", ["batches, reversed", "parts", "stage by stage"])
def test_the_way_there_changes_no_voxel(way: str, copy_of: Copy, expected: list[Array]) -> None:
    config = copy_of()
    if way == "batches, reversed":
        run = volumes.run_pipeline(config, workers=3, reverse=True)
        assert {s: w.batches for s, w in run.plan.work.items()} == {
            "segment": 3,
            "count": 3,
            "pool": 1,
            "apply": 2,
            "downsample": 0,
        }
    elif way == "parts":
        run = volumes.run_pipeline(config, parts=3, reverse=True)
        assert [r for r in sorted(results.read(run.attempt.paths)) if r.startswith("segment")] == [
            f"segment-0000-000{k}" for k in range(3)
        ]
    else:
        for stages in (("segment",), ("pool",), ("apply",)):
            run = volumes.run_pipeline(config, stages=stages)
            asked = {"segment": ["segment"], "pool": ["count", "pool"], "apply": ["apply"]}
            assert sorted(made(run)) == asked[stages[0]]
    assert_same(run, expected)
    for stage in ("segment", "count"):
        assert set(run.records(stage)) == ALL_BLOCKS


def test_a_stage_whose_input_isn_t_there_is_refused(copy_of: Copy) -> None:
    with pytest.raises(ConfigError, match="count needs segment, which isn't complete") as caught:
        volumes.plan_run(copy_of(), stages=("pool",))
    assert "add segment" in str(caught.value)


# ------------------------------------------------------------------ nothing to do
def test_a_rerun_does_nothing(finished: Run, expected: list[Array]) -> None:
    config = Path(finished.plan.config_path)
    before = {p: p.stat().st_mtime_ns for p in volumes.output_files(config) if p.suffix == ".gz"}
    run = volumes.run_pipeline(config)
    assert run.plan.nothing_to_do
    assert made(run) == {}
    assert run.attempt.paths.root.name == "2"  # an attempt of its own all the same
    after = {p: p.stat().st_mtime_ns for p in volumes.output_files(config) if p.suffix == ".gz"}
    assert after == before
    assert_same(run, expected)


def test_running_a_finished_attempt_again_does_nothing(finished: Run) -> None:
    again = volumes.run_stages(Run(finished.plan, finished.attempt, finished.draft))
    assert again.code == 0
    assert again.result("apply", 0)["skipped"] == len(finished.plan.geometry.cells)
    assert again.result("apply", 0)["done"] == 0


# ------------------------------------------------------------------ what changes, changes what depends on it
def test_another_input_version_redoes_every_block_but_not_what_came_out_the_same(
    finished: Run, expected: list[Array]
) -> None:
    run = volumes.run_pipeline(Path(finished.plan.config_path), {"input.version": "2"})
    # the labels are those of before, so what was made from them stays
    assert made(run) == {"segment": 8}
    assert_same(run, expected)


def test_another_rule_reuses_the_blocks(finished: Run) -> None:
    run = volumes.run_pipeline(Path(finished.plan.config_path), {"pool.min_frac": 0.6})
    assert made(run) == {"pool": 1, "apply": 2}


def test_going_back_to_the_rule_of_before_writes_the_output_anew(
    finished: Run, expected: list[Array]
) -> None:
    """The records of the first rule are still valid, but the output holds the second one's."""
    config = Path(finished.plan.config_path)
    other = volumes.run_pipeline(config, {"segment.min_size_vox": 6000})
    assert not np.array_equal(volumes.read_segmentation(other), expected[0])
    run = volumes.run_pipeline(config)
    assert made(run) == {"apply": 2}
    assert_same(run, expected)


def test_changed_chunks_redo_just_the_blocks_that_read_them(copy_of: Copy, tmp_path: Path) -> None:
    config = copy_of(settings={"input.identity": "chunks"})
    first = volumes.run_pipeline(config)
    assert volumes.run_pipeline(config).plan.nothing_to_do
    changed = volumes.affinities(volumes.cells())
    changed[:, 33:, :24, :24] = 0
    fresh = volumes.make_volume(tmp_path / "fresh", changed)
    # one chunk is all that differs; the blocks of the lower half end below it
    begin = (OFFSET[0] + 32, *OFFSET[1:])
    chunk = Box(begin, (begin[0] + 8, begin[1] + CHUNK[1], begin[2] + CHUNK[2]))
    source = next((tmp_path / "fresh" / "affinity").rglob(chunk_name(chunk) + ".gz"))
    shutil.copy(source, tmp_path / source.relative_to(tmp_path / "fresh"))
    grid = first.plan.geometry.grid
    reading = {k for k in ALL_BLOCKS if not grid.read(k).intersection(chunk).is_empty}
    assert reading == {4, 5, 6, 7}
    before = {k: r.output for k, r in first.records("segment").items()}
    run = volumes.run_pipeline(config)
    assert run.made("segment") == reading
    other = {k for k, r in run.records("segment").items() if r.output != before[k]}
    assert other == {4}
    assert run.made("count") == {k for k in ALL_BLOCKS if other & {k, *grid.later_neighbours(k)}}
    assert run.made("pool") == {0}
    voxels = volumes.read_segmentation(run)
    assert (voxels[34:, :23, :23] == 0).all()
    # a volume that was like that from the beginning looks the same
    assert np.array_equal(voxels, volumes.read_segmentation(volumes.run_pipeline(fresh)))


def test_a_block_counts_with_its_neighbours_labels(copy_of: Copy) -> None:
    """Labels that change redo the counts of the blocks before, which count with them."""
    run = volumes.run_pipeline(copy_of(work=True))
    last = run.records("segment")[7]
    manifest = run.attempt.manifest("segment")
    with manifest.writer("other", "segment", 0) as writer:
        given = Given(input=last.input, output="other", info=last.info)
        writer.add(7, "done", after=manifest.read()[7], **given)
    again = volumes.plan_run(Path(run.plan.config_path))
    assert again.plan.work["segment"].todo == []
    assert again.plan.work["count"].todo == [(0, 8)]  # block 7 meets them all
    assert again.plan.work["pool"].todo == [(0, 1)]


# ------------------------------------------------------------------ restart
@pytest.mark.parametrize(
    ("stages", "redone"),
    [
        (("segment", "pool", "apply"), {"segment": 8, "count": 8, "pool": 1, "apply": 2}),
        (("pool",), {"count": 8, "pool": 1}),
        (("apply",), {"apply": 2}),
    ],
)
def test_restart_does_the_stages_asked_for_anew(
    stages: tuple[str, ...], redone: dict[str, int], finished: Run, expected: list[Array]
) -> None:
    # as Airflow names its runs: with characters that no file name should have
    name = "manual__2024-05-01T00:00:00+00:00"
    run = volumes.run_pipeline(
        Path(finished.plan.config_path), run=name, restart=True, stages=stages
    )
    assert made(run) == redone
    assert_same(run, expected)


def test_a_retry_in_a_restarted_attempt_keeps_what_the_first_try_did(finished: Run) -> None:
    run = volumes.plan_run(Path(finished.plan.config_path), run="again:1", restart=True, workers=2)
    volumes.run_stages(run, stages=["segment"])
    again = volumes.run_stages(Run(run.plan, run.attempt, run.draft), stages=["segment"])
    assert again.result("segment", 0)["skipped"] == 4
    assert again.result("segment", 1)["skipped"] == 4


# ------------------------------------------------------------------ retries
def test_a_lost_record_costs_its_block_alone(finished: Run, expected: list[Array]) -> None:
    records = finished.attempt.manifest("segment").directory
    for path in records.glob("*.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if json.loads(line)["key"] != 3))
    run = volumes.run_pipeline(Path(finished.plan.config_path))
    assert run.made("segment") == {3}
    assert made(run) == {"segment": 1}  # it came out the same
    assert_same(run, expected)


def test_bad_data_isn_t_tried_again_in_this_attempt_but_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    affinity = volumes.affinities(volumes.cells()).astype(np.float32) / 255
    affinity[0, 35, 10, 50] = np.nan  # in block 5 alone, and not where plan samples
    monkeypatch.setattr("magneton_tasks.stages.planning.sampling.SAMPLE_EDGE_VOX", 16)
    monkeypatch.setattr("magneton_tasks.stages.planning.sampling.SAMPLE_BOXES", 1)
    config = volumes.make_volume(tmp_path, affinity)
    run = volumes.plan_run(config, run="run:1")
    tries = []
    for _ in range(2):
        volumes.run_stages(run, stages=["segment"])
        tries.append((run.codes["segment"], run.result("segment", 0)))
    assert [codes for codes, _ in tries] == [[65], [65]]
    assert [(r["done"], r["skipped"], r["failed"]) for _, r in tries] == [(7, 0, 1), (0, 7, 1)]
    failure = tries[1][1]["failures"][0]
    assert failure["key"] == 5
    voxel = tuple(o + v for o, v in zip(OFFSET, (35, 10, 50), strict=True))
    assert failure["cause"].startswith(
        f"block 5: affinity nan at voxel {voxel} (z, y, x), channel 0"
    )
    starts = [
        1
        for p in run.attempt.manifest("segment").directory.glob("*")
        for line in p.read_text().splitlines()
        if '"key":5,"state":"started"' in line
    ]
    assert len(starts) == 1
    # mended data and a new plan: that block alone
    shutil.rmtree(tmp_path / "affinity")
    affinity[0, 35, 10, 50] = 0.9
    volumes.write_precomputed(tmp_path / "affinity", affinity)
    assert volumes.run_pipeline(config, run="run:1").made("segment") == {5}


def test_a_temporary_failure_is_tried_again_in_the_same_attempt(
    finished: Run, children: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = volumes.plan_run(Path(finished.plan.config_path), {"input.version": 2})
    plain = segment_overlap.OverlapSegmentStage.one

    def crash(self: Any, key: int) -> Outcome:
        if key in (2, 6):
            os.abort()
        return plain(self, key)

    monkeypatch.setattr(segment_overlap.OverlapSegmentStage, "one", crash)
    job = Job(run.attempt, "segment", 0)
    assert segment_overlap.run(job) == 75
    assert run.made("segment") == ALL_BLOCKS - {2, 6}  # the crash of one block costs one block
    assert "SIGABRT" in run.last("segment")[2].info["cause"]
    monkeypatch.undo()
    assert segment_overlap.run(job) == 0
    assert run.result("segment", 0)["done"] == 2


# ------------------------------------------------------------------ versions
def test_a_plan_of_another_version_is_refused(finished: Run) -> None:
    path = finished.attempt.paths.plan
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"version": "0.0.1"}))
    with pytest.raises(ConfigError, match=r"was planned by Magneton 0\.0\.1") as caught:
        Attempt.open(finished.attempt.paths.root)
    assert caught.value.exit_code == 78


def test_the_config_is_frozen_with_the_attempt(finished: Run) -> None:
    config = Path(finished.plan.config_path)
    config.write_text(config.read_text().replace("threshold: 0.5", "threshold: 0.9"))
    assert Attempt.open(finished.attempt.paths.root).config.segment.threshold == 0.5
