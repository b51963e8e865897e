"""What can't work is refused with what, where and what to do; before work starts where that's possible."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zarr

from magneton_tasks.base import files
from magneton_tasks.errors import (
    BadDataError,
    ConfigError,
    LeaseHeldError,
    MagnetonError,
    NoInputError,
    OutputError,
)
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.precomputed.metadata import chunk_name
from magneton_tasks.stages import child, segment_overlap
from magneton_tasks.stages.child import made_in_child
from magneton_tasks.stages.planning import draft as planning
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.job import Job
from tests.helpers import volumes
from tests.helpers.volumes import OFFSET, Array, Run

Copy = Callable[..., Path]


def refused(config: Path, kind: type[MagnetonError], sets: Any = None, **options: Any) -> str:
    """The message that plan ends with; no file was written but what plan has sampled."""
    before = {p for p in config.parent.rglob("*") if p.is_file()}
    with pytest.raises(kind) as caught:
        volumes.plan_run(config, sets, **options)
    after = {p for p in config.parent.rglob("*") if p.is_file() and p.name != "samples.json"}
    assert after - before == set()
    assert caught.value.exit_code == kind.exit_code
    return str(caught.value)


# ------------------------------------------------------------------ the input
def test_a_volume_that_isn_t_there_is_named(tmp_path: Path) -> None:
    text = refused(volumes.write_config(tmp_path), NoInputError)
    assert f"{tmp_path}/affinity" in text
    assert os.listdir(tmp_path) == ["volume.yaml"]


def test_metadata_that_is_garbled_is_named_by_file_and_line(copy_of: Copy, tmp_path: Path) -> None:
    config = copy_of()
    (tmp_path / "affinity" / "info").write_text('{"type": "image",\n "scales": [}')
    text = refused(config, BadDataError)
    assert "affinity/info" in text
    assert "line 2" in text


def test_a_missing_chunk_costs_the_blocks_that_read_it(
    copy_of: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = copy_of()
    box = next(iter(read_metadata(f"file://{tmp_path}/affinity").box.tiles((16, 32, 32))))
    next((tmp_path / "affinity").rglob(chunk_name(box) + "*")).unlink()
    assert chunk_name(box) in refused(config, NoInputError)  # plan has sampled it
    monkeypatch.setattr("magneton_tasks.stages.planning.sampling.SAMPLE_EDGE_VOX", 8)
    monkeypatch.setattr("magneton_tasks.stages.planning.sampling.SAMPLE_BOXES", 1)
    run = volumes.run_stages(volumes.plan_run(config))
    assert run.codes == {"segment": [66]}
    reading = {k for k in range(8) if not run.plan.geometry.grid.read(k).intersection(box).is_empty}
    assert run.made("segment") == set(range(8)) - reading
    failures = run.result("segment", 0)["failures"]
    assert {f["key"] for f in failures} == reading
    assert all(chunk_name(box) in f["cause"] and Path(f["log"]).exists() for f in failures)


def test_numbers_of_another_scale_are_refused_by_voxel(tmp_path: Path) -> None:
    """Floats 0 to 255: waterz would make one segment of them, silently."""
    affinity = volumes.affinities(volumes.cells()).astype(np.float32)
    text = refused(volumes.make_volume(tmp_path, affinity), BadDataError)
    assert f"{tmp_path}/affinity: affinity " in text
    assert "input.scale" in text


def test_a_map_that_looks_inverted_is_refused_or_warned_of(tmp_path: Path) -> None:
    affinity = 255 - volumes.affinities(volumes.cells(), noise=0)
    config = volumes.make_volume(tmp_path / "a", affinity)
    assert "set input.invert to the other value" in refused(config, BadDataError)
    (note,) = volumes.plan_run(config, {"input.doubtful": "warn"}).plan.notes
    assert "set input.invert to the other value" in note
    plain = volumes.make_volume(tmp_path / "b", 255 - affinity)
    assert volumes.plan_run(plain).plan.notes == ()


# ------------------------------------------------------------------ the places
@pytest.mark.parametrize(
    ("output", "work"),
    [
        ("place", "place"),  # the same
        ("place/output", "place"),  # work above
        ("place", "place/work"),  # work inside
    ],
)
def test_work_and_output_may_not_lie_in_one_another(
    output: str, work: str, copy_of: Copy, tmp_path: Path
) -> None:
    sets = {"paths.output": f"file://{tmp_path}/{output}", "paths.work": f"{tmp_path}/{work}"}
    assert "must not contain one another" in refused(copy_of(), ConfigError, sets)
    assert not (tmp_path / "place").exists()


def test_work_and_output_may_not_lie_in_the_input(copy_of: Copy, tmp_path: Path) -> None:
    config = copy_of()
    for key, value in (
        ("paths.work", f"{tmp_path}/affinity/work"),
        ("paths.output", f"file://{tmp_path}/affinity"),
    ):
        assert "must not contain one another" in refused(config, ConfigError, {key: value})


@pytest.mark.parametrize("name", ["work", "segmentation"])
def test_a_place_that_can_t_be_written_is_named(name: str, copy_of: Copy, tmp_path: Path) -> None:
    config = copy_of()
    (tmp_path / name).write_text("a file stands here")  # holds for root too
    assert f"{tmp_path}/{name}" in refused(config, OutputError)


def test_another_volume_s_output_is_refused_and_replaced_on_demand(
    finished: Run, tmp_path: Path, expected: list[Array]
) -> None:
    config = Path(finished.plan.config_path)
    # the cut-out of the same input is another volume
    box = {"begin": list(OFFSET), "end": [o + 30 for o in OFFSET]}
    text = refused(config, ConfigError, {"box": box})
    assert "belongs to another volume or config" in text
    assert "--overwrite-output" in text
    assert np.array_equal(volumes.read_segmentation(finished), expected[0])
    run = volumes.run_pipeline(config, {"box": box}, overwrite_output=True)
    assert volumes.read_segmentation(run).shape == (30, 30, 30)


def test_a_layer_that_isn_t_ours_is_refused(copy_of: Copy, tmp_path: Path) -> None:
    config = copy_of(work=True)
    volumes.write_precomputed(
        tmp_path / "segmentation", np.ones((8, 8, 8), np.uint64), layer_type="segmentation"
    )
    assert "a layer that Magneton didn't write" in refused(config, ConfigError)
    run = volumes.run_pipeline(config, overwrite_output=True)
    assert (volumes.read_segmentation(run) > 0).any()


def test_a_partition_that_wasn_t_given_is_asked_for(tmp_path: Path) -> None:
    config = volumes.write_config(tmp_path, output=f"file://{tmp_path}/{{partition}}/segmentation")
    assert "--partition" in refused(config, ConfigError)


# ------------------------------------------------------------------ too much
def test_too_many_files_are_refused_with_what_would_help(copy_of: Copy) -> None:
    text = refused(copy_of(), ConfigError, {"paths.max_files": 50, "apply.sharding": "off"})
    assert "67 files" in text
    assert "apply.sharding: on" in text


def test_a_disk_that_is_too_small_is_found_out_at_the_start(
    copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = copy_of()
    monkeypatch.setattr(files, "free_bytes", lambda _: 20_000)
    with pytest.raises(OutputError, match=r"has 19\.5 KiB free; about .* are needed") as caught:
        volumes.plan_run(config)
    assert "paths.work" in str(caught.value)
    assert not (config.parent / "work" / "runs").exists()


def test_blocks_that_don_t_fit_into_memory_are_refused_with_a_size_that_does(
    tmp_path: Path,
) -> None:
    shape = (3, 958, 958, 958)  # no chunk is written: all zeros
    zarr.create_array(f"{tmp_path}/affinity", shape=shape, dtype="u1", chunks=(1, 64, 64, 64))
    config = volumes.write_config(tmp_path)
    sets: dict[str, object] = {
        "input.doubtful": "warn",
        "block.size": [512] * 3,
        "block.overlap": [32] * 3,
        "local.memory": "2GiB",
    }
    text = refused(config, ConfigError, sets, stages=("segment",))
    assert "segment may need" in text
    assert "more than local.memory (2.0 GiB)" in text
    found = re.search(
        r"a block.size of about (\[\d+, \d+, \d+\]) fits; or raise local.memory", text
    )
    assert found
    sets["block.size"] = json.loads(found[1])
    assert volumes.plan_run(config, sets, stages=("segment",)).plan.work["segment"].todo


def test_the_shipped_default_config_passes_its_own_plan(tmp_path: Path) -> None:
    """All defaults: block size, merge function and memory fit one another, on this machine."""
    affinity = volumes.affinities(volumes.cells((32, 64, 64), n=20))
    affinity = np.tile(affinity, (1, 9, 5, 5))  # several blocks along each axis
    volumes.write_precomputed(
        tmp_path / "affinity", affinity, chunk_size=(64, 64, 64), compress=None
    )
    config = tmp_path / "volume.yaml"
    config.write_text(
        f"paths: {{input: 'file://{tmp_path}/affinity', output: 'file://{tmp_path}/s', work: '{tmp_path}/w'}}\n"
    )
    drafted = planning.draft(PlanRequest(config, "test", {}), write=False)
    assert len(drafted.plan.geometry.grid) == 8
    assert drafted.plan.memory["segment"].bound <= drafted.plan.memory_limit
    assert not (tmp_path / "w").exists()  # a dry run writes nothing


# ------------------------------------------------------------------ trouble on the way
def allocate(self: Any, key: int) -> dict[str, Any]:
    np.empty(2**32, np.uint8)  # less than the machine has
    raise AssertionError("4 GiB fitted")


def grow(self: Any, key: int) -> dict[str, Any]:
    """800 MiB: within what may be allocated, but more than may be resident."""
    held = np.ones(800 * 2**20, np.uint8)
    time.sleep(600)
    return {"held": held}


@pytest.mark.parametrize("greed", [allocate, grow])
def test_a_block_that_meets_its_memory_limit_says_so(
    greed: Callable[..., Any], finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = volumes.plan_run(Path(finished.plan.config_path), {"input.version": 2})
    plain = made_in_child
    own = psutil.Process().memory_info().rss  # what the child has from the start

    def limited(work: Callable[[], Any], log: Path, _: int) -> Any:
        return plain(work, log, own + 300 * 2**20)

    monkeypatch.setattr(child, "made_in_child", limited)
    one = segment_overlap.OverlapSegmentStage.one
    monkeypatch.setattr(
        segment_overlap.OverlapSegmentStage,
        "one",
        lambda self, key: greed(self, key) if key == 1 else one(self, key),
    )
    assert segment_overlap.run(Job(run.attempt, "segment", 0)) == 75
    failure = run.last("segment")[1].info
    assert "memory" in failure["cause"]
    hint = failure["hint"] or ""
    assert "block.size" in hint or "smaller blocks" in hint
    assert run.made("segment") == set(range(8)) - {1}


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("segment", errno.ENOSPC),
        ("count", errno.EDQUOT),
        ("pool", errno.ENOSPC),
        ("apply", errno.EDQUOT),
    ],
)
def test_a_disk_full_in_the_middle_ends_with_74_and_is_gone_on_from(
    stage: str, code: int, copy_of: Copy, expected: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ["segment", "count", "pool", "apply"]
    config = copy_of(work=True, only=stages[: stages.index(stage)])
    run = volumes.plan_run(config)
    assert [s for s in stages if run.plan.work[s].todo] == stages[stages.index(stage) :]
    plain, calls = files._write_all, 0

    def full(descriptor: int, pieces: Any) -> Any:
        nonlocal calls
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        calls += "results" not in path
        if calls > (2 if stage == "segment" else 1) and "results" not in path:
            raise OSError(code, os.strerror(code))
        return plain(descriptor, pieces)

    monkeypatch.setattr(files, "_write_all", full)
    volumes.run_stages(run, stages=[stage])
    assert run.codes[stage] == [74]
    failures = run.result(stage, None if stage == "pool" else 0)["failures"]
    assert len(failures) == 1  # the next block would meet the same
    assert os.strerror(code) in failures[0]["cause"]
    assert "free space" in failures[0]["hint"]
    monkeypatch.undo()
    left = [p for p in config.parent.rglob(".*") if p.is_file()]
    assert left == []
    again = volumes.run_stages(Run(run.plan, run.attempt, run.draft))
    assert again.code == 0
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(again), expected, strict=True))


def test_a_disk_so_full_that_not_even_a_record_fits_ends_with_74(
    copy_of: Copy, expected: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = volumes.plan_run(copy_of())
    plain, calls = os.write, 0

    def full(descriptor: int, data: Any) -> int:
        nonlocal calls
        if str(run.attempt.work.work) in os.readlink(f"/proc/self/fd/{descriptor}"):
            calls += 1
            if calls > 9:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"):  # its result can't be written either
        segment_overlap.run(Job(run.attempt, "segment", 0))
    monkeypatch.undo()
    assert len(run.made("segment")) > 0
    assert np.array_equal(volumes.read_segmentation(volumes.run_stages(run)), expected[0])


# ------------------------------------------------------------------ two at once
def test_a_second_run_on_the_volume_waits_its_turn(copy_of: Copy) -> None:
    config = copy_of()
    run = volumes.plan_run(config, run="first")
    text = refused(config, LeaseHeldError, run="second")
    assert "in use by run 'first'" in text
    # the same output from another work directory is no way around it
    refused(config, LeaseHeldError, {"paths.work": f"{config.parent}/other"}, run="second")
    assert volumes.plan_run(config, run="first").plan.attempt == 2  # the same run may plan anew
    volumes.release(run)
    volumes.plan_run(config, run="second")
