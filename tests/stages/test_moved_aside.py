"""What lies in the way of a file of ours: named, moved aside with all it holds, and the rerun goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.work.stores import label_store, segmentation, table_dir
from tests.helpers import volumes
from tests.helpers.volumes import Array, Run

Copy = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
#: nothing is left out with it, but labels are made anew
OTHER = {"segment.min_size_vox": 1}


def as_folder(path: Path) -> None:
    """A directory with somebody's file, where a file of ours belongs."""
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)
    (path / "notes.txt").write_text("mine")


def aside(path: Path) -> Path:
    """What was moved aside of ``path``: one thing, beside it."""
    found = [n for n in os.listdir(path.parent) if n.startswith(f"{path.name}.aside-")]
    assert len(found) == 1, found
    return path.parent / found[0]


def check_aside(path: Path, capfd: Capture) -> None:
    assert (aside(path) / "notes.txt").read_text() == "mine"
    out = capfd.readouterr().out
    assert f"MOVED ASIDE: {path} is now {aside(path)}" in out
    assert path.is_file()


def check_result(run: Run, expected: list[Array]) -> None:
    assert run.code == 0
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


def test_a_directory_in_place_of_a_chunk(
    copy_of: Copy, expected: list[Array], capfd: Capture
) -> None:
    config = copy_of(work=True)
    run = volumes.run_pipeline(config)
    store = segmentation(run.attempt)
    _, name = next(store.expected_chunks(0))
    path = store.objects.path(f"{store.scales[0].key}/{name}")
    as_folder(path)
    found = volumes.run_pipeline(config, expect=65)
    assert found.code == 65  # verify says which, and that a rerun mends it
    assert name in found.result("verify")["failures"][0]["cause"]
    check_result(volumes.run_pipeline(config), expected)
    check_aside(path, capfd)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]"])
def test_an_info_of_ours_that_cannot_be_read(
    content: bytes, copy_of: Copy, expected: list[Array], capfd: Capture
) -> None:
    config = copy_of(work=True)
    run = volumes.run_pipeline(config)
    path = segmentation(run.attempt).objects.path("info")
    path.write_bytes(content)
    check_result(volumes.run_pipeline(config), expected)
    assert aside(path).read_bytes() == content
    assert f"MOVED ASIDE: {path}" in capfd.readouterr().out


def test_a_directory_in_place_of_info(copy_of: Copy, expected: list[Array], capfd: Capture) -> None:
    config = copy_of(work=True)
    path = segmentation(volumes.run_pipeline(config).attempt).objects.path("info")
    as_folder(path)
    check_result(volumes.run_pipeline(config), expected)
    check_aside(path, capfd)


@pytest.mark.parametrize("kind", ["labels", "sizes"])
def test_a_directory_in_place_of_labels(
    kind: str, copy_of: Copy, expected: list[Array], capfd: Capture
) -> None:
    config = copy_of(work=True)
    run = volumes.plan_run(config, OTHER)
    store, at = label_store(run.attempt), run.plan.geometry.grid.index3(3)
    path = store.shard_path(at) if kind == "labels" else store.sizes_path(at)
    as_folder(path)
    if kind == "sizes":  # only count reads them
        run.attempt.invalidate("segment", {3: "to be segmented again"})
    volumes.run_stages(run)
    volumes.release(run)
    check_result(volumes.run_pipeline(config, sets=OTHER), expected)
    check_aside(path, capfd)


def test_an_array_description_that_is_damaged(copy_of: Copy, expected: list[Array]) -> None:
    config = copy_of(work=True)
    run = volumes.run_pipeline(config)
    path = label_store(run.attempt).path / "zarr.json"
    path.write_text("{")
    run.attempt.invalidate("segment", {3: "to be segmented again"})
    check_result(volumes.run_pipeline(config), expected)
    assert aside(path).read_text() == "{"


def test_a_directory_in_place_of_a_pool_table(
    copy_of: Copy, expected: list[Array], capfd: Capture
) -> None:
    config = copy_of(work=True)
    run = volumes.run_pipeline(config)
    pool = run.attempt.require("pool", {0})[0]
    path = next(table_dir(run.attempt, pool.input or "").glob("pool-*.parquet"))
    as_folder(path)
    run.attempt.invalidate("pool", {0: "to be done again"})
    check_result(volumes.run_pipeline(config), expected)
    check_aside(path, capfd)


@pytest.mark.parametrize("stage", ["segment", "count", "pool", "apply"])
def test_a_directory_in_place_of_records(
    stage: str, copy_of: Copy, expected: list[Array], capfd: Capture
) -> None:
    config = copy_of(work=True)
    run = volumes.run_pipeline(config)
    path = run.attempt.manifest(stage).directory / f"x-{stage}-0-0-host-1-0a1b2c3d.jsonl"
    as_folder(path)
    check_result(volumes.run_pipeline(config), expected)
    assert (aside(path) / "notes.txt").read_text() == "mine"
    assert f"MOVED ASIDE: {path}" in capfd.readouterr().out
