"""`magneton evaluate` over volumes of other voxel sizes, offsets and background ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Size3, Vec3
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.kernels.evaluate import ContingencyTable
from magneton_tasks.trials import evaluation
from magneton_tasks.trials.evaluation import score
from tests.helpers.calls import Caller

Ids = np.ndarray[Any, np.dtype[Any]]
FINE: Size3 = (40, 4, 4)


def quarters(shape: Vec3 = (8, 32, 32)) -> Ids:
    """Four objects."""
    made = np.zeros(shape, np.uint64)
    y, x = shape[1] // 2, shape[2] // 2
    made[:, :y, :x], made[:, :y, x:], made[:, y:, :x], made[:, y:, x:] = 1, 2, 3, 4
    return made


def written(path: Path, ids: Ids, size: Size3 = FINE, begin: Vec3 = (0, 0, 0)) -> str:
    url = f"file://{path}"
    write_volume(url, ids, size, begin, layer_type="segmentation")
    return url


def test_other_voxel_sizes_are_refused(tmp_path: Path) -> None:
    ours = written(tmp_path / "seg", quarters())
    truth = written(tmp_path / "truth", quarters((8, 16, 16)), (40, 8, 8))
    with pytest.raises(ConfigError) as caught:
        score(ours, truth)
    assert "40 x 4 x 4 nm" in str(caught.value)
    assert "40 x 8 x 8 nm" in str(caught.value)
    assert "--resample" in str(caught.value)


def test_boxes_that_are_equal_don_t_hide_it(tmp_path: Path) -> None:
    ours = written(tmp_path / "seg", quarters())
    with pytest.raises(ConfigError, match="voxels of"):
        score(ours, written(tmp_path / "truth", quarters(), (40, 8, 8)))


@pytest.mark.parametrize("edge", [256, 5])
@pytest.mark.parametrize("factor", [(1, 2, 2), (1, 4, 4), (2, 1, 4), (4, 2, 1)])
@pytest.mark.parametrize("coarse", ["truth", "segmentation"])
def test_the_same_objects_at_two_sizes_score_0(
    tmp_path: Path, factor: Vec3, coarse: str, edge: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "EDGE_VOX", edge)
    fine = quarters()
    z, y, x = factor
    size = (FINE[0] * z, FINE[1] * y, FINE[2] * x)
    less = written(tmp_path / "less", fine[::z, ::y, ::x], size)
    full = written(tmp_path / "full", fine)
    scores = score(*((full, less) if coarse == "truth" else (less, full)), resample=True)
    assert (scores["vi"], scores["arand"]) == pytest.approx((0, 0))
    assert scores["voxels"] == fine.size // (z * y * x if coarse == "truth" else 1)
    assert "at the centres of the truth's" in scores["notes"][-1]


def test_sizes_that_are_no_multiples(tmp_path: Path) -> None:
    """Along x, voxels of 6 nm have their centres at 3, 9, 15, 21 nm: in those of 4 nm 0, 2, 3, 5."""
    ours = written(tmp_path / "seg", np.array([[[1, 9, 2, 3, 9, 4]]], np.uint64))
    truth = written(tmp_path / "truth", np.array([[[1, 2, 3, 4]]], np.uint64), (40, 4, 6))
    assert score(ours, truth, resample=True)["vi"] == 0


@pytest.mark.parametrize("resample", [False, True])
def test_offsets_count_at_one_voxel_size(tmp_path: Path, resample: bool) -> None:
    ids = quarters()
    ours = written(tmp_path / "seg", ids, begin=(10, 20, 30))
    truth = written(tmp_path / "truth", ids[2:6, 8:, 4:28], begin=(12, 28, 34))
    scores = score(ours, truth, resample=resample)
    assert scores["vi"] == 0
    assert (scores["box"], scores["voxels"]) == ("12:16,28:52,34:58", 4 * 24 * 24)


def test_offsets_count_at_two_voxel_sizes(tmp_path: Path) -> None:
    """In nm: the coarse one begins at (400, 112, 128), in the fine one."""
    ids = quarters()
    ours = written(tmp_path / "seg", ids, begin=(10, 20, 30))
    truth = written(tmp_path / "truth", ids[:, 8::2, 2::2], (40, 8, 8), begin=(10, 14, 16))
    scores = score(ours, truth, resample=True)
    assert scores["vi"] == 0
    assert scores["box"] == "10:18,14:26,16:31"


def test_volumes_that_don_t_meet_in_space_are_refused(tmp_path: Path) -> None:
    """Their boxes of voxels would meet."""
    ours = written(tmp_path / "seg", quarters(), begin=(0, 100, 100))
    truth = written(tmp_path / "truth", quarters(), (40, 8, 8), begin=(0, 100, 100))
    with pytest.raises(ConfigError, match="don't meet"):
        score(ours, truth, resample=True)


def test_mips_of_one_size_are_named(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "seg", mode="w", zarr_format=2)
    datasets = []
    for mip, step in enumerate((1, 2)):
        group.create_array(str(mip), data=quarters()[:, ::step, ::step])
        scale = {"type": "scale", "scale": [40, 4 * step, 4 * step]}
        datasets.append({"path": str(mip), "coordinateTransformations": [scale]})
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    multiscales: Any = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["multiscales"] = multiscales
    truth = written(tmp_path / "truth", quarters((8, 16, 16)), (40, 8, 8))
    with pytest.raises(
        ConfigError, match="--mip 1 0 compares voxels of 40 x 8 x 8 nm; or --resample"
    ):
        score(str(tmp_path / "seg"), truth)
    assert score(str(tmp_path / "seg"), truth, (1, 0))["vi"] == 0


def test_without_a_voxel_size_voxels_are_compared_and_that_is_told(tmp_path: Path) -> None:
    zarr.create_array(store=tmp_path / "seg", data=quarters())
    truth = written(tmp_path / "truth", quarters())
    scores = score(str(tmp_path / "seg"), truth)
    assert scores["vi"] == 0
    assert "they are compared voxel by voxel" in scores["notes"][-1]
    with pytest.raises(ConfigError, match="doesn't say how large its voxels are"):
        score(str(tmp_path / "seg"), truth, resample=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64", "int8", "int64"])
def test_background_ids_are_not_scored(dtype: str) -> None:
    """The truth's last quarter is labelled with ids that mean background."""
    truth = np.repeat(np.array([1, 2, -1, -3]).astype(dtype), 4)
    ours = np.repeat(np.array([7, 8, 9, 10]), 4)
    ours[-1] = 7  # wrong, where nothing is known
    table = ContingencyTable(background=(2**64 - 3 if dtype[-2:] == "64" else -3, -1))
    table.add(ours, truth)
    scores = table.scores()
    assert (scores.voxels, scores.objects, scores.vi) == (8, 2, 0)


def test_background_of_the_segmentation_is_one_object_with_0() -> None:
    table = ContingencyTable(background=(-1,))
    table.add(np.array([0, -1, 0, -1]), np.array([5, 5, 5, 5]))
    assert (table.scores().vi, table.scores().segments) == (0, 1)


def test_negative_ids_that_nobody_named_are_refused() -> None:
    with pytest.raises(BadDataError, match=r"negative ids, the smallest is -3\n.*--ignore-ids"):
        ContingencyTable(background=(-1,)).add(np.array([1, 1]), np.array([-1, -3]))


def test_the_command_takes_both(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cli = Caller(capfd)
    labels = quarters((8, 16, 16))
    labels[labels == 4] = 2**64 - 3
    ours = written(tmp_path / "seg", quarters())
    truth = written(tmp_path / "truth", labels, (40, 8, 8))
    refused = cli("evaluate", ours, truth)
    assert refused.code == 78
    ignored = cli(
        "evaluate", ours, truth, "--resample", "--ignore-ids", "-1,18446744073709551613", "--json"
    ).json
    assert (ignored["vi"], ignored["voxels"]) == (0, labels.size * 3 // 4)
    assert "note   voxels of 40 x 4 x 4 nm" in cli("evaluate", ours, truth, "--resample").out
    for wrong in ("a", "1,", str(2**64)):
        done = cli("evaluate", ours, truth, "--ignore-ids", wrong)
        assert done.code == 64
        assert "is not an id" in done.err
