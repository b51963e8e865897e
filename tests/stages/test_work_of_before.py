"""A volume that the release before began goes on: its blocks are read as they are, none is done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import segment_block_exact
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.stages.segment_exact import ExactSegmentStage
from magneton_tasks.stages.segmented import segmented
from magneton_tasks.work import residual_tables
from magneton_tasks.work.inputs import input_digest
from magneton_tasks.work.record import Info, Outcome, files_info
from tests.helpers import volumes
from tests.helpers.calls import Caller

SETTINGS = {"method": "exact", "block": {"size": [20, 32, 32]}, "segment": {"threshold": 0.5}}


def write_as_before(stage: ExactSegmentStage, key: int, affinity: Any, high: Any) -> Outcome:
    """A block as 0.2.0 wrote it: the sizes in a file of their own, which its record names."""
    found = segment_block_exact(affinity, high, Place.of(stage.grid, key), stage.settings)
    shape = found.labels.shape
    sizes = label_sizes(
        found.labels, (slice(shape[0]), slice(shape[1]), slice(shape[2])), found.n_labels
    ).core
    at, members = stage.grid.index3(key), residual_tables.residual_members(found.residual)
    faces = ("faces", residual_tables.encode_faces(found.faces))
    written = {
        "labels": stage.store.write(at, found.labels),
        "sizes": stage.store.write_sizes(at, sizes, sizes),
        "residual": stage.residuals._write(key, [*members, faces]),
    }
    files, rows = files_info(written), found.residual.rows
    return segmented(
        input_digest(stage.attempt, key), Info(n=found.n_labels, files=files, rows=rows)
    )


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Blocks that the release before segmented; nothing was counted yet."""
    config = volumes.make_volume(tmp_path, settings=SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(ExactSegmentStage, "one", write_as_before)
        run = volumes.run_stages(volumes.plan_run(config, run="before"), stages=["segment"])
    volumes.release(run)
    assert run.code == 0
    assert len(list((tmp_path / "work").glob("segment-*/sizes/0000/*.npy"))) == 8
    return config


def test_it_goes_on_without_segmenting_a_block_again(begun: Path, tmp_path: Path) -> None:
    run = volumes.run_pipeline(begun, run="now")
    assert run.made("segment") == set() and len(run.made("count")) == 8
    (tmp_path / "fresh").mkdir()
    paths = {"input": f"file://{tmp_path}/affinity"}
    fresh = volumes.run_pipeline(volumes.write_config(tmp_path / "fresh", SETTINGS, **paths))
    np.testing.assert_array_equal(volumes.read_segmentation(run), volumes.read_segmentation(fresh))
    assert not list((tmp_path / "fresh").glob("work/segment-*/sizes"))


def test_its_files_are_checked_and_those_that_are_made_again_are_of_today(
    begun: Path, cli: Caller
) -> None:
    (sizes,) = begun.parent.glob("work/segment-*/sizes/0000/5.npy")
    content = bytearray(sizes.read_bytes())
    content[-1] ^= 1
    sizes.write_bytes(content)
    found = cli("status", begun, "--check", "--json").json["stages"][0]["damage"]
    assert [(d["key"], d["file"]) for d in found] == [(5, str(sizes))]
    run = volumes.run_pipeline(begun, run="damaged", expect=None)
    assert run.code == 65
    run = volumes.run_pipeline(begun, run="mended")
    assert run.made("segment") == {5}
    assert "sizes" not in run.records("segment")[5].info["files"]


def test_clean_knows_its_files(begun: Path, cli: Caller) -> None:
    volumes.run_pipeline(begun, run="now")
    assert "not known" not in cli("clean", begun, "--what", "cache", "--yes").out
    assert not list(begun.parent.glob("work/segment-*/sizes"))
