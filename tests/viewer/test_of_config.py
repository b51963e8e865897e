"""From a config to what there is to see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.config.read import load_config
from magneton_tasks.errors import NoInputError
from magneton_tasks.viewer.of_config import View, view_of
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes

SIZES = np.array([0, 5, 40, 20, 900, 35])  # of the labels 0..5, in planes of one voxel height


def look(config: Path, attempt: Attempt | None = None, truth: str | None = None) -> View:
    return view_of(load_config(config), attempt, truth)


def write_segmentation(folder: Path, compress: str | None = "gzip") -> None:
    """Labels of the sizes `SIZES`, as 2^40 + label; the rest is 0."""
    flat = np.zeros(volumes.SHAPE, np.uint64).ravel()
    at = 0
    for label, size in enumerate(SIZES):
        flat[at : at + size] = (1 << 40) + label if label else 0
        at += size
    volumes.write_precomputed(
        folder / "segmentation",
        flat.reshape(volumes.SHAPE),
        layer_type="segmentation",
        compress=compress,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return volumes.make_volume(tmp_path, settings={"input.channels": "xyz", "input.invert": True})


def test_before_the_first_run(config: Path) -> None:
    view = look(config)
    assert [layer.name for layer in view.layers] == ["affinity"]
    assert any("no segmentation yet" in note for note in view.notes)
    (layer,) = view.layers
    assert layer.channels == (2, 1, 0)
    assert layer.invert
    # the middle of the central voxel
    assert view.position_vox == (27.5, 16.5, 332.5)
    assert view.voxel_size_nm == volumes.VOXEL_NM


def test_the_largest_objects_of_the_output_are_selected(config: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path)
    view = look(config)
    assert [layer.name for layer in view.layers] == ["affinity", "segmentation"]
    assert view.layers[1].selected == tuple((1 << 40) + label for label in (4, 2, 5, 3, 1))
    assert not view.notes


def test_of_an_output_with_meshes_ten_objects_are_seen(config: Path, tmp_path: Path) -> None:
    labels = volumes.cells().astype(np.uint64)
    volumes.write_precomputed(tmp_path / "segmentation", labels, layer_type="segmentation")
    (plain,) = look(config).layers[1:]
    assert (len(plain.selected), plain.solid) == (25, False)
    info = tmp_path / "segmentation" / "info"
    info.write_text(json.dumps({**json.loads(info.read_text()), "mesh": "mesh"}))
    (layer,) = look(config).layers[1:]
    assert (layer.selected, layer.solid, layer.listed) == (plain.selected[:10], True, False)


def test_while_apply_writes_missing_chunks_count_as_empty(config: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path)
    shutil.rmtree(tmp_path / "segmentation" / "8_8_16")
    assert look(config).layers[1].selected == ()  # none: all objects are shown


def test_pools_report_knows_the_largest(tmp_path: Path) -> None:
    """Also of an output whose first chunks aren't there yet."""
    run = volumes.run_pipeline(volumes.make_volume(tmp_path))
    labels = volumes.read_segmentation(run)
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    for mip in (tmp_path / "segmentation").glob("*_*_*"):
        shutil.rmtree(mip)
    selected = look(tmp_path / "volume.yaml", run.attempt).layers[1].selected
    assert 0 < len(selected) <= 50
    assert sorted(counts[np.searchsorted(ids, selected)]) == sorted(counts)[-len(selected) :]


def test_a_truth_stands_beside_the_result(config: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path)
    view = look(config, truth=f"file://{tmp_path}/truth")
    assert [layer.name for layer in view.layers] == ["affinity", "segmentation", "truth"]
    assert view.side_by_side
    assert view.layers[1].selected == ()  # all objects, as of the truth


def test_of_a_cut_out_its_middle_is_shown(tmp_path: Path) -> None:
    box = {"begin": [10, -10, 310], "end": [20, 10, 340]}
    view = look(volumes.make_volume(tmp_path, settings={"box": box}))
    assert view.position_vox == (15.5, 0.5, 325.5)
    assert view.shape_vox == (10, 20, 30)


def test_nothing_at_all(tmp_path: Path) -> None:
    config = volumes.write_config(tmp_path)
    with pytest.raises(NoInputError, match="nothing to see.*no segmentation yet.*affinity"):
        look(config)
