"""Files of ours that are damaged or gone: named, invalidated, and made again by the rerun."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.work.record import Info
from magneton_tasks.work.record_writer import Given
from magneton_tasks.work.stores import label_store, segmentation, table_dir
from tests.helpers import volumes
from tests.helpers.volumes import Array, Run

pytestmark = pytest.mark.usefixtures("childless")

Copy = Callable[..., Path]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for k in range(len(data) // 3, len(data) // 3 + 30):
        data[k] ^= 0xFF
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


DAMAGE = pytest.mark.parametrize("damage", [truncate, flip, remove])


def mended(config: Path, expected: list[Array], **sets: Any) -> Run:
    """The rerun, its voxels as expected."""
    run = volumes.run_pipeline(config, **sets)
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))
    return run


@DAMAGE
@pytest.mark.parametrize("kind", ["labels", "sizes"])
def test_damaged_labels_of_a_block(
    damage: Callable[[Path], None], kind: str, copy_of: Copy, expected: list[Array]
) -> None:
    """Segment again: that block alone; nothing that it read before is trusted."""
    config = copy_of(work=True, settings={"pool.min_frac": 0.5})
    other = {"segment.min_size_vox": 1}  # nothing is left out, but count's users have to do again
    run = volumes.plan_run(config, other)
    store = label_store(run.attempt)
    at = run.plan.geometry.grid.index3(3)
    path = store.shard_path(at) if kind == "labels" else store.sizes_path(at)
    damage(path)
    # apply reads labels; only count reads sizes
    if kind == "sizes":
        run.attempt.invalidate("count", dict.fromkeys(range(8), "to be counted again"))
        run = volumes.plan_run(config, other)
    volumes.run_stages(run)
    volumes.release(run)
    code = 75 if damage is remove else 65
    stage = "apply" if kind == "labels" else "count"
    assert run.codes[stage] == [code]
    failures = run.result(stage, 0)["failures"]
    assert all(str(path) in f["cause"] and "block 3" in f["cause"] for f in failures)
    assert "rerun" in failures[0]["hint"]
    assert run.last("segment")[3].state == "invalid"
    again = mended(config, expected, sets=other, run="again")
    assert again.made("segment") == {3}


@DAMAGE
def test_damaged_pairs(
    damage: Callable[[Path], None], copy_of: Copy, expected: list[Array]
) -> None:
    config = copy_of(work=True, settings={"pool.min_frac": 0.51})  # pool anew
    run = volumes.plan_run(config)
    path = next(run.attempt.stage_dir("count").glob("pairs-*"))
    damage(path)
    volumes.run_stages(run)
    volumes.release(run)
    assert run.codes["pool"] == [75 if damage is remove else 65]
    failure = run.result("pool")["failures"][0]
    assert str(path) in failure["cause"]
    assert "counted again" in failure["hint"]
    again = volumes.run_pipeline(config, run="again")
    assert again.made("count") == set(range(7))  # the last block has no rows: nobody comes after it
    assert volumes.same_partition(volumes.read_segmentation(again), expected[0])


@DAMAGE
def test_a_damaged_pool_table(
    damage: Callable[[Path], None], copy_of: Copy, expected: list[Array]
) -> None:
    config = copy_of(work=True)
    run = volumes.plan_run(config)
    directory = table_dir(run.attempt, run.records("pool")[0].input or "")
    damage(next(directory.glob("pool-*.parquet")))
    volumes.run_stages(run)
    volumes.release(run)
    assert run.codes["apply"] == [75 if damage is remove else 65]
    assert str(directory) in run.result("apply", 0)["failures"][0]["cause"]
    again = mended(config, expected, run="again")
    assert again.made("pool") == {0}


@DAMAGE
@pytest.mark.parametrize("mip", [0, 1])
def test_a_damaged_chunk_of_the_output_is_found_by_the_next_run(
    damage: Callable[[Path], None], mip: int, finished: Run, expected: list[Array]
) -> None:
    config = Path(finished.plan.config_path)
    output = segmentation(finished.attempt)
    box = list(output.scales[mip].box.tiles(output.scales[mip].chunk_size))[3]
    path = output.objects.path(output.chunk_path(mip, box))
    damage(path)
    run = volumes.run_pipeline(config, expect=65)  # nothing to do, but verify looks
    assert run.plan.nothing_to_do
    failure = run.result("verify")["failures"][0]
    assert path.name in failure["cause"]
    assert "rerun" in failure["hint"]
    again = mended(config, expected)
    assert len(again.made("apply")) == 1  # the cell with the chunk


def test_an_output_that_was_deleted_is_written_anew(finished: Run, expected: list[Array]) -> None:
    config = Path(finished.plan.config_path)
    shutil.rmtree(config.parent / "segmentation")
    assert mended(config, expected).made("apply") == {0, 1}


def test_a_pool_table_of_too_few_labels_never_turns_green(
    finished: Run, expected: list[Array]
) -> None:
    """A label without a global id is an error, never a hole."""
    records = finished.attempt.manifest("segment")
    last = finished.records("segment")[2]
    with records.writer("test", "segment", 0) as writer:
        more = last.info | Info(n=last.info["n"] + 1)
        given = Given(input=last.input, output=last.output, info=more)
        writer.add(2, "done", after=records.read()[2], **given)
    run = volumes.run_pipeline(Path(finished.plan.config_path), expect=65)
    assert "block 2" in run.result("verify")["failures"][0]["cause"]
    assert run.last("pool")[0].state == "invalid"


def test_a_torn_record_doesn_t_count(finished: Run, expected: list[Array]) -> None:
    for path in finished.attempt.manifest("segment").directory.glob("*.jsonl"):
        whole = path.read_bytes()
        path.write_bytes(whole[: whole.rindex(b'"state"')])
    run = mended(Path(finished.plan.config_path), expected)
    assert run.made("segment") == {7}  # the last one


def test_a_cell_written_with_another_pool_isn_t_taken_for_this_one(finished: Run) -> None:
    manifest = finished.attempt.manifest("apply")
    last = finished.records("apply")[1]
    with manifest.writer("test", "apply", 0) as writer:
        info = last.info | {"pool": "0123456789abcdef"}
        writer.add(1, "done", after=manifest.read()[1], input=last.input, info=info)
    # the plan says so, without any verify
    again = volumes.plan_run(Path(finished.plan.config_path))
    assert again.plan.work["apply"].todo == [(1, 2)]


def test_the_report_tells_what_the_pool_did(base: Run) -> None:
    report = json.loads((base.attempt.stage_dir("pool") / "report.json").read_text())
    result = base.result("verify")
    assert (report["labels"], report["objects"]) == (result["labels"], result["objects"])
    assert report["joins"] == result["joins"]
    assert report["warning"] is None
