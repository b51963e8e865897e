"""Skeletons by all stages, over many cells: what a user finds in the output."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import label

from magneton_tasks.base.location import locate
from magneton_tasks.cli.run.summary import print_summary
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.skeletons import Skeletons, StoredSkeleton
from magneton_tasks.plan import geometry as geometries
from tests.helpers import volumes
from tests.helpers.volumes import Run
from tests.stages.test_exact_pipeline import EXACT

pytestmark = pytest.mark.usefixtures("childless")

SHAPE, OFFSET, VOXEL_NM = (16, 20, 60), (6, -14, 302), (20, 8, 8)
SETTINGS: Mapping[str, Any] = {
    **EXACT, "block": {"size": [16, 20, 30]}, "segment": {"threshold": 0.6},
    "apply": {"chunk_size": [4, 8, 8], "mips": 1, "sharding": "on"},
    "skeleton": {"mip": 1, "dust_um3": 0.0004, "const_nm": 50, "tick_nm": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Eight cells, or more, of a volume that doesn't begin at 0; a file in it says what was made."""
    folder = tmp_path_factory.mktemp("skeletons")
    array = volumes.affinities(volumes.cells(SHAPE, 20, 3), noise=0.3, seed=3)
    affinity = {"voxel_size_nm": VOXEL_NM, "voxel_offset": OFFSET}
    volumes.write_precomputed(folder / "affinity", array, **affinity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometries, "MAX_CELL_VOXELS", 4096)
        yield volumes.run_pipeline(volumes.write_config(folder, SETTINGS))


def stored(run: Run) -> Skeletons:
    found = Skeletons.of(Objects(locate(output(run))))
    assert found is not None
    return found


def output(run: Run) -> str:
    return f"file://{Path(run.plan.config_path).parent}/segmentation"


def trees(skeleton: StoredSkeleton) -> int:
    return len(skeleton.vertices) - len(skeleton.edges)  # of a forest


def test_each_object_above_dust_has_one_in_its_own_voxels(run: Run) -> None:
    labels, begin = volumes.read_segmentation(run, 1), run.plan.geometry.mip_box(1).begin
    size = np.multiply(VOXEL_NM, run.plan.geometry.cumulative[1])
    ids, voxels = np.unique(labels[labels > 0], return_counts=True)
    skeletons, found = stored(run), 0
    assert len(run.records("skeleton")) >= 8
    for one, n in zip(ids.tolist(), voxels.tolist(), strict=True):
        skeleton = skeletons.get(one)
        assert (skeleton is not None) == (n * np.prod(size) >= 0.0004e9), one
        if skeleton is None:
            continue
        found += 1
        at = skeleton.vertices[:, ::-1] / size - 0.5 - begin
        assert np.allclose(at, at.round(), atol=1e-3)
        assert (labels[tuple(at.round().astype(int).T)] == one).all()
        assert (skeleton.radii >= size.min()).all()
        assert trees(skeleton) == label(labels == one, np.ones((3, 3, 3)))[1]
    told = run.result("verify")["skeleton"]
    assert (told["objects"], told["dust"]) == (found, len(ids) - found) and found > 5


def test_the_summary_tells_of_them(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    told = run.result("verify")["skeleton"]
    print_summary(run.attempt.paths.root)
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("skeletons"))
    assert f"{told['objects']}, " in line and "mm of cable" in line
    assert f"(dust: {told['dust']} object" in line and told["thinned"] == 0


def test_cloud_volume_shows_what_is_stored(run: Run) -> None:
    from cloudvolume import CloudVolume

    volume: Any = CloudVolume(output(run), progress=False)
    labels = volumes.read_segmentation(run, 1)
    largest = int(np.bincount(np.unique(labels, return_inverse=True)[1].ravel())[1:].argmax())
    one = int(np.unique(labels)[1:][largest])
    theirs, ours = volume.skeleton.get(one), stored(run).get(one)
    assert ours is not None
    assert theirs.vertices.tolist() == ours.vertices.tolist()
    assert theirs.edges.tolist() == ours.edges.tolist()
    assert theirs.radius.tolist() == ours.radii.tolist()


def test_other_settings_redo_skeletons_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", 4096)
    again = volumes.run_pipeline(Path(run.plan.config_path), {"skeleton.const_nm": 10.0})
    todo = {stage for stage, work in again.plan.work.items() if work.todo}
    assert todo == {"skeleton", "skeleton_shards"}
    info = json.loads((Path(run.plan.config_path).parent / "segmentation/info").read_text())
    assert info["skeletons"] == "skeletons"
