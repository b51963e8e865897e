"""The objects of a volume, beside the output: numpy counts in the voxels that were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.kernels.measure import Measured
from magneton_tasks.kernels.object_sums import ObjectSums, merged, none
from magneton_tasks.plan import geometry as geometries
from magneton_tasks.stages import object_list
from magneton_tasks.work import cell_objects
from magneton_tasks.work.cell_objects import path_of
from tests.helpers import volumes
from tests.helpers.volumes import Array, Run
from tests.stages.test_exact_pipeline import EXACT

pytestmark = pytest.mark.usefixtures("childless")

SHAPE: Vec3 = (32, 32, 56)
OVERLAP = {"method": "overlap", "block": {"size": [32, 32, 32], "overlap": [4, 4, 8]}}
#: nm, zyx
VOXEL = (20.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def affinity(tmp_path_factory: pytest.TempPathFactory) -> str:
    array = volumes.affinities(volumes.cells(SHAPE, 120, 3), noise=0.1, seed=3)
    folder = tmp_path_factory.mktemp("map") / "affinity"
    return volumes.write_precomputed(folder, array, voxel_size_nm=VOXEL)


@pytest.fixture
def config(tmp_path: Path, affinity: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of several cells."""
    return config_of(tmp_path, affinity, monkeypatch, EXACT | {"block": {"size": [32, 32, 24]}})


def config_of(
    folder: Path, affinity: str, monkeypatch: pytest.MonkeyPatch, method: dict[str, Any]
) -> Path:
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", 4096)
    given = {**method, "segment": {"threshold": 0.6}, "apply": {"chunk_size": [4, 8, 8], "mips": 2}}
    return volumes.write_config(folder, given, input=affinity)


def output(config: Path) -> Path:
    return config.parent / "segmentation"


def table(config: Path) -> dict[str, Any]:
    return {n: c.to_numpy() for n, c in zip(*_columns(config), strict=True)}


def _columns(config: Path) -> tuple[list[str], list[Any]]:
    found = pq.read_table(output(config) / "objects.parquet")
    return found.column_names, found.columns


def listed(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output(config) / "segment_properties/info").read_text())
    inline: dict[str, Any] = found["inline"]
    return inline


def columns_of(found: dict[str, Any]) -> dict[str, Any]:
    return {p["id"]: p["values"] for p in found["properties"]}


def counted(labels: Array, begin: Vec3) -> dict[int, dict[str, Any]]:
    """What numpy counts."""
    found = {}
    for name in np.unique(labels[labels > 0]).tolist():
        at = np.argwhere(labels == name)
        low, high = at.min(0), at.max(0) + 1
        found[name] = {
            "voxels": len(at),
            "begin": (low + begin).tolist(),
            "end": (high + begin).tolist(),
            "centroid": at.mean(0) + begin + 0.5,
            "border": bool(((low == 0) | (high == labels.shape)).any()),
        }
    return found


def assert_told(config: Path, run: Run) -> None:
    rows, labels = table(config), volumes.read_segmentation(run)
    wanted = counted(labels, run.plan.geometry.box.begin)
    assert rows["id"].tolist() == sorted(wanted)
    for k, name in enumerate(rows["id"].tolist()):
        one = wanted[name]
        assert rows["voxels"][k] == one["voxels"]
        assert rows["um3"][k] == pytest.approx(one["voxels"] * np.prod(VOXEL) / 1e9)
        assert [rows[f"begin_{a}"][k] for a in "zyx"] == one["begin"]
        assert [rows[f"end_{a}"][k] for a in "zyx"] == one["end"]
        np.testing.assert_allclose([rows[f"centroid_{a}"][k] for a in "zyx"], one["centroid"])
        assert rows["touches_border"][k] == one["border"]
    assert {True, False} == set(rows["touches_border"].tolist())


@pytest.mark.parametrize("method", [EXACT | {"block": {"size": [32, 32, 24]}}, OVERLAP])
@pytest.mark.parametrize("least", [0, 400])
def test_the_table_holds_what_is_in_the_voxels(
    tmp_path: Path,
    affinity: str,
    monkeypatch: pytest.MonkeyPatch,
    method: dict[str, Any],
    least: int,
) -> None:
    config = config_of(tmp_path, affinity, monkeypatch, method)
    run = volumes.run_pipeline(config, {"segment.min_size_vox": least})
    assert len(run.plan.geometry.cells) > 1
    assert_told(config, run)


def test_the_largest_are_listed_and_another_threshold_lists_its_own(config: Path) -> None:
    sets = {"apply.listed_objects": 7}
    volumes.run_pipeline(config, sets)
    rows, found = table(config), listed(config)
    order = sorted(zip((-rows["voxels"]).tolist(), rows["id"].tolist(), strict=True))
    assert len(order) > 7
    ids = [int(i) for i in found["ids"]]
    assert ids == sorted(name for _, name in order[:7])
    assert all(i > 2**32 for i in ids)  # as text: a browser's numbers hold 53 bits
    columns, sizes = columns_of(found), {name: -minus for minus, name in order}
    ranks = {name: str(rank) for rank, (_, name) in enumerate(order[:7], 1)}
    assert columns["label"] == [ranks[i] for i in ids]
    assert columns["voxels"] == [sizes[i] for i in ids]
    (tags,) = [p for p in found["properties"] if p["type"] == "tags"]
    touches = dict(zip(rows["id"].tolist(), rows["touches_border"].tolist(), strict=True))
    assert tags["values"] == [[0] if touches[i] else [] for i in ids]
    info = json.loads((output(config) / "info").read_text())
    assert info["segment_properties"] == "segment_properties"
    other = volumes.run_pipeline(config, {**sets, "segment.threshold": 0.2})
    assert_told(config, other)
    assert set(columns_of(listed(config))["voxels"]) <= set(table(config)["voxels"].tolist())
    volumes.run_pipeline(config, {"apply.listed_objects": 0, "segment.threshold": 0.2})
    assert "segment_properties" not in json.loads((output(config) / "info").read_text())


def test_a_rerun_leaves_them_as_they_are(config: Path) -> None:
    volumes.run_pipeline(config)
    paths = [output(config) / n for n in ("info", "objects.parquet", "segment_properties/info")]
    before = [p.stat().st_mtime_ns for p in paths]
    assert volumes.run_pipeline(config).plan.nothing_to_do
    assert [p.stat().st_mtime_ns for p in paths] == before
    for path in paths[1:]:
        path.unlink()
    again = volumes.run_pipeline(config)
    assert not again.made("apply")
    assert_told(config, again)


def test_a_cell_whose_table_is_damaged_or_gone_is_written_again(config: Path) -> None:
    run = volumes.run_pipeline(config)
    path = path_of(run.attempt, 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    volumes.run_pipeline(config, expect=65)
    again = volumes.run_pipeline(config)
    assert again.made("apply") == {1}
    assert_told(config, again)


def test_objects_that_a_table_lacks_are_noticed(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = cell_objects.read

    def lossy(*arguments: Any) -> list[ObjectSums]:
        first, *others = plain(*arguments)
        return [ObjectSums._make(column[1:] for column in first), *others]

    monkeypatch.setattr(cell_objects, "read", lossy)
    run = volumes.run_pipeline(config, expect=65)
    (failure,) = run.result("verify")["failures"]
    assert "the table of objects has" in failure["cause"]


@pytest.mark.parametrize("rows", [5, 40])
def test_more_objects_than_are_held_at_once(
    config: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    volumes.run_pipeline(config, {"segment.threshold": 0.9})
    plain = {n: c.tolist() for n, c in table(config).items()}
    properties = (output(config) / "segment_properties/info").read_bytes()
    assert len(plain["id"]) > 2 * rows
    monkeypatch.setattr(object_list, "ROWS", rows)
    (output(config) / "objects.parquet").unlink()
    (output(config) / "segment_properties/info").unlink()
    volumes.run_pipeline(config, {"segment.threshold": 0.9})
    assert {n: c.tolist() for n, c in table(config).items()} == plain
    assert (output(config) / "segment_properties/info").read_bytes() == properties


@pytest.mark.parametrize("edge", [65_535, 70_000])
def test_objects_of_a_long_cell_are_measured(edge: int) -> None:
    cell = Box((5, -3, -7), (6, -1, edge - 7))
    indices = np.zeros(cell.shape, np.uint32)
    indices[0, 1, 10:] = 1
    measured = Measured(np.array([0, 9], np.uint64), cell)
    measured.add(indices, cell.begin)
    (found,) = np.stack(measured.sums((5, -3, -7)), 1).astype(np.int64).tolist()
    total = sum(range(10, edge))
    assert found == [9, edge - 10, 5, -2, 3, 6, -1, edge - 7, 0, edge - 10, total]


def test_no_objects_at_all() -> None:
    assert merged([none(), none()]).id.size == 0
