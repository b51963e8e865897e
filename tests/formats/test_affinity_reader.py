"""Affinities of any stored convention come out in ours; what looks wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.mask import MaskReader
from magneton_tasks.formats.precomputed import write as precomputed
from magneton_tasks.formats.zarr import read as zarr_volumes
from magneton_tasks.kernels import doubts
from magneton_tasks.kernels.conventions import channel_statistics
from magneton_tasks.stages.planning.statistics import examine

OFFSET: Vec3 = (10, 20, 30)
BOX = Box.of_shape((20, 30, 40), OFFSET)
INNER = Box((13, 20, 35), (29, 47, 70))
DATA = Path(__file__).parents[3] / "shared" / "data"


def _stored(dtype: str = "uint8") -> Any:
    rng = np.random.default_rng(4)
    if dtype.startswith("float"):
        return rng.random((3, *BOX.shape)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (3, *BOX.shape), endpoint=True).astype(dtype)


def _write(path: Path, array: Any, offset: Vec3 = OFFSET) -> str:
    zarr_volumes.write_volume(str(path / "v"), array, (40, 8, 8), offset, (16, 16, 16))
    return str(path / "v")


def _shift(affs: Any) -> Any:
    """From ``v and v - e_d`` to ``v and v + e_d``: what was at v + e_d goes to v."""
    return np.stack([np.roll(affs[d], -1, axis=d) for d in range(3)])


# ---------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("dtype", "one"), [("uint8", 255), ("uint16", 65535), ("float16", 1), ("float32", 1)]
)
def test_values_are_stored_over_scale(tmp_path: Path, dtype: str, one: float) -> None:
    stored = _stored(dtype)
    read = AffinityReader(_write(tmp_path, stored)).read(INNER)
    assert read.dtype == np.float32
    assert read.shape == (3, *INNER.shape)
    assert read.flags.c_contiguous
    expected = stored[(slice(None), *INNER.slices(OFFSET))].astype(np.float32) / np.float32(one)
    np.testing.assert_array_equal(read, expected)


def test_of_uint8_255_is_exactly_one(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8).repeat(3, axis=0)
    read = AffinityReader(_write(tmp_path, values)).read(Box.of_shape((4, 8, 8), OFFSET))
    expected = (np.arange(256) / 255).astype(np.float32)
    np.testing.assert_array_equal(read[0].ravel(), expected)
    assert read.max() == 1


def test_scale_and_invert(tmp_path: Path) -> None:
    stored = _stored()
    url = _write(tmp_path, stored)
    scaled = AffinityReader(url, scale=100).read(BOX)
    np.testing.assert_array_equal(scaled, stored.astype(np.float32) / np.float32(100))
    inverted = AffinityReader(url, invert=True).read(BOX)
    np.testing.assert_array_equal(inverted, 1 - stored.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("channels", "order"),
    [("zyx", [0, 1, 2]), ("xyz", [2, 1, 0]), ("yxz", [2, 0, 1]), ([2, 0, 1], [2, 0, 1])],
)
def test_channel_order(tmp_path: Path, channels: Any, order: list[int]) -> None:
    """``yxz``: channel 0 is y's, 1 is x's, 2 is z's."""
    stored = _stored("float32")
    read = AffinityReader(_write(tmp_path, stored), channels=channels).read(BOX)
    np.testing.assert_array_equal(read, stored[order])


def test_three_of_more_channels(tmp_path: Path) -> None:
    stored = np.concatenate([_stored("float32"), _stored("float32")[::-1]])
    url = _write(tmp_path, stored)
    np.testing.assert_array_equal(
        AffinityReader(url, channels=[5, 1, 3]).read(BOX), stored[[5, 1, 3]]
    )
    with pytest.raises(ConfigError, match=r"6 channels, and input\.channels is 'zyx'"):
        AffinityReader(url)


# ---------------------------------------------------------------------------- offset sign


@pytest.mark.parametrize(
    "box",
    [
        BOX,
        INNER,
        Box((10, 21, 31), (11, 22, 32)),  # one voxel: all of it is first along z
        Box((10, 25, 30), (30, 26, 31)),
    ],
)
@pytest.mark.parametrize("channels", ["zyx", "xyz"])
def test_the_other_offset_sign(tmp_path: Path, box: Box, channels: str) -> None:
    """Where the plane before lies in the volume it's read, so blocks agree on shared edges."""
    ours = _stored("float32")
    for axis in range(3):
        np.moveaxis(ours[axis], axis, 0)[0] = 0  # no edge leaves the volume
    stored = _shift(ours) if channels == "zyx" else _shift(ours)[::-1]
    reader = AffinityReader(_write(tmp_path, stored), channels=channels, offset_sign=1)
    expected = ours[(slice(None), *box.slices(OFFSET))]
    np.testing.assert_array_equal(reader.read(box), expected)


def test_at_the_volumes_begin_there_is_no_edge(tmp_path: Path) -> None:
    stored = np.full((3, *BOX.shape), 255, np.uint8)
    for invert in (False, True):
        url = str(tmp_path / "v")
        if not invert:
            _write(tmp_path, stored)
        read = AffinityReader(url, offset_sign=1, invert=invert).read(BOX)
        assert [read[d].take(0, axis=d).max() for d in range(3)] == [0, 0, 0]
        assert read[:, 1:, 1:, 1:].min() == (0 if invert else 1)


# ---------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": [0, 1, 3]}, "0 to 2"),
        ({"channels": [0, 1, 1]}, "three different"),
        ({"channels": [0, -1, 1]}, "three different"),
        ({"channels": "zzx"}, r"input\.channels is 'zzx'"),
        ({"offset_sign": 0}, r"input\.offset_sign"),
        ({"scale": 0}, r"input\.scale"),
        ({"scale": float("nan")}, r"input\.scale"),
        ({"mip": 1}, "no mip 1"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    url = _write(tmp_path, _stored())
    with pytest.raises(ConfigError, match=message):
        AffinityReader(url, **options)


def test_not_an_affinity_map(tmp_path: Path) -> None:
    url = _write(tmp_path, _stored()[:1])
    with pytest.raises(ConfigError, match=r"1 channel, and input\.channels.*\n.*right volume"):
        AffinityReader(url)
    labels = str(tmp_path / "labels")
    zarr_volumes.write_volume(labels, np.zeros((3, 8, 8, 8), np.uint32), (1, 1, 1))
    with pytest.raises(ConfigError, match="uint32"):
        AffinityReader(labels)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_box_outside(tmp_path: Path, sign: int) -> None:
    reader = AffinityReader(_write(tmp_path, _stored()), offset_sign=sign)
    with pytest.raises(ConfigError, match=r"9:12,20:30,30:40"):
        reader.read(Box((9, 20, 30), (12, 30, 40)))


# ---------------------------------------------------------------------------- masks


def _mask(
    path: Path, array: Any, voxel_size: tuple[float, float, float], begin: Vec3, name: str = "m"
) -> str:
    url = str(path / name)
    precomputed.write_volume(url, array, voxel_size, begin, (16, 16, 16))
    return url


def test_a_mask_of_the_same_shape(tmp_path: Path) -> None:
    info = AffinityReader(_write(tmp_path, _stored())).info
    values = np.random.default_rng(5).integers(0, 3, BOX.shape).astype(np.uint8)
    read = MaskReader(_mask(tmp_path, values, (40, 8, 8), OFFSET), 0, info).read(INNER)
    assert read.dtype == np.bool_
    np.testing.assert_array_equal(read, values[INNER.slices(OFFSET)] > 0)


@pytest.mark.parametrize(
    ("begin", "shape", "shift"),
    [
        ((10, 5, 7), (20, 8, 11), (0, 0, 0)),  # the frame's grid: 30 // 4 = 7 .. ceil(70 / 4) = 18
        ((10, 5, 7), (20, 8, 10), (0, 0, 2)),  # a grid from the volume's begin: 40 / 4 = 10
    ],
)
def test_a_coarser_mask(tmp_path: Path, begin: Vec3, shape: Vec3, shift: Vec3) -> None:
    info = AffinityReader(_write(tmp_path, _stored())).info
    values = np.random.default_rng(6).integers(0, 2, shape).astype(np.uint8)
    mask = MaskReader(_mask(tmp_path, values, (40, 32, 32), begin), 0, info)
    for box in (BOX, INNER):
        z, y, x = np.ogrid[box.slices()]
        expected = values[
            z - begin[0], (y - shift[1]) // 4 - begin[1], (x - shift[2]) // 4 - begin[2]
        ]
        np.testing.assert_array_equal(mask.read(box), expected > 0)


@pytest.mark.parametrize(
    ("shape", "size", "begin"),
    [
        ((20, 30, 41), (40, 8, 8), OFFSET),  # another shape
        ((20, 30, 40), (40, 8, 8), (10, 20, 31)),  # another offset
        ((20, 20, 27), (40, 12, 12), (10, 13, 20)),  # not a multiple
        ((20, 60, 80), (40, 4, 4), (10, 40, 60)),  # finer
        ((20, 4, 5), (40, 32, 32), (10, 5, 7)),  # part of the extent
    ],
)
def test_a_mask_that_does_not_fit(
    tmp_path: Path, shape: Vec3, size: tuple[float, float, float], begin: Vec3
) -> None:
    info = AffinityReader(_write(tmp_path, _stored())).info
    url = _mask(tmp_path, np.ones(shape, np.uint8), size, begin)
    with pytest.raises(ConfigError) as caught:
        MaskReader(url, 0, info)
    assert str(shape) in str(caught.value)
    assert str(BOX.shape) in str(caught.value)


def test_a_mask_without_voxel_size_fits_by_its_box(tmp_path: Path) -> None:
    info = AffinityReader(_write(tmp_path, _stored())).info
    url = _mask(tmp_path, np.ones(BOX.shape, np.uint8), (1, 1, 1), OFFSET)
    assert MaskReader(url, 0, info).read(BOX).all()


def test_images_are_no_masks(tmp_path: Path) -> None:
    info = AffinityReader(_write(tmp_path, _stored())).info
    with pytest.raises(ConfigError, match="float32"):
        MaskReader(_mask(tmp_path, np.ones(BOX.shape, np.float32), (40, 8, 8), OFFSET), 0, info)
    with pytest.raises(ConfigError, match="3 channels"):
        MaskReader(str(tmp_path / "v"), 0, info)


# ---------------------------------------------------------------------------- conventions


def _real(name: str) -> Any:
    path = DATA / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no test data at {path}")
    with np.load(path) as data:
        return data["affs"][:, :45, :90, :90]  # what is looked at, and a little more


def _cells() -> Any:
    """Affinities (our convention) of cells with blurred membranes: no outside data needed."""
    rng = np.random.default_rng(7)
    z, y, x = np.ogrid[:40, :80, :80]
    seeds = rng.random((24, 3)) * (40, 80, 80)
    distances = [(3 * (z - a)) ** 2 + (y - b) ** 2 + (x - c) ** 2 for a, b, c in seeds]
    labels = np.argmin(distances, axis=0)
    affs = np.ones((3, 40, 80, 80), np.float32)
    for axis in range(3):
        moved = np.moveaxis(labels, axis, 0)
        np.moveaxis(affs[axis], axis, 0)[1:] = moved[1:] == moved[:-1]
    return np.clip(255 * affs - 30 * rng.random(affs.shape), 0, 255).astype(np.uint8)


@pytest.fixture(params=["cells", "pub128", "real_gala_train"], scope="module")
def affs(request: pytest.FixtureRequest) -> Any:
    return _cells() if request.param == "cells" else _real(request.param)


def _warnings(path: Path, stored: Any, **options: Any) -> str:
    """What is said of the map, as it's stored, when read as declared."""
    url = str(path / "map")
    precomputed.write_volume(url, stored, (1, 1, 1), (5, 6, 7))
    reader = AffinityReader(url, **options)
    boxes = list(Box((7, 8, 9), (43, 84, 85)).tiles((18, 38, 38)))[::3]
    found = examine(reader, boxes).found
    return "\n".join(found.doubts + found.warnings)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("channels", ["zyx", "xyz"])
@pytest.mark.parametrize("invert", [False, True])
def test_no_warning_where_the_config_is_right(
    tmp_path: Path, affs: Any, sign: int, channels: str, invert: bool
) -> None:
    stored = affs if sign == -1 else _shift(affs)
    stored = stored if channels == "zyx" else stored[::-1]
    stored = 255 - stored if invert else stored
    options = {"offset_sign": sign, "channels": channels, "invert": invert}
    assert _warnings(tmp_path, stored, **options) == ""


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_wrong_sign_is_said(tmp_path: Path, affs: Any, sign: int) -> None:
    stored = affs if sign == 1 else _shift(affs)
    said = _warnings(tmp_path, stored, offset_sign=sign)
    assert f"input.offset_sign: {-sign}" in said
    assert "channels:" not in said


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_wrong_order_is_said(tmp_path: Path, affs: Any, sign: int) -> None:
    stored = affs if sign == -1 else _shift(affs)
    said = _warnings(tmp_path, stored[[1, 2, 0]], offset_sign=sign)
    assert "input.channels: [2, 0, 1] (yxz)" in said
    assert "offset_sign" not in said


def test_inversion_is_said_and_the_rest_is_seen_behind_it(tmp_path: Path, affs: Any) -> None:
    assert "input.invert" in _warnings(tmp_path, 255 - affs)
    precomputed_path = tmp_path / "second"
    said = _warnings(precomputed_path, 255 - _shift(affs)[::-1], channels=[0, 1, 2])
    assert "input.invert" in said
    assert "input.offset_sign: 1" in said
    assert "(xyz)" in said


def test_a_masked_map_does_not_look_inverted(tmp_path: Path, affs: Any) -> None:
    masked = affs.copy()
    masked[..., 35:] = 0
    assert _warnings(tmp_path, masked) == ""


def test_a_boundary_map_three_times_says_nothing_of_sign_or_order(
    tmp_path: Path, affs: Any
) -> None:
    assert _warnings(tmp_path, np.stack([affs.min(axis=0)] * 3)) == ""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a * 255, "input.scale"),
        (lambda a: a / 255, "input.scale"),
        (lambda a: np.zeros_like(a), "hold the value 0 and nothing else"),
        (lambda a: np.full_like(a, 0.5), "hold the value 0.5 and nothing else"),
        (lambda a: np.concatenate([a[:2], 0 * a[:1] + 1]), "channel x has one value"),
        (lambda a: np.where(a > 0.99, np.nan, a), "NaN"),
    ],
)
def test_values_that_cannot_be_meant(change: Any, word: str) -> None:
    sample = change(_cells() / np.float32(255)).astype(np.float32)
    found = doubts.find([sample], channel_statistics([sample]))
    assert word in "\n".join(found.doubts + found.warnings)


def test_statistics() -> None:
    sample = np.zeros((3, 4, 4, 4), np.float32)
    sample[1, ..., 1::2] = 1
    sample[2, 0, 0, 0] = np.nan
    z, y, x = channel_statistics([sample, sample])
    assert (z.axis, z.minimum, z.maximum, z.mean, z.fraction_zero) == ("z", 0, 0, 0, 1)
    assert (y.mean, y.fraction_zero, y.fraction_one, y.step) == (0.5, 0.5, 0.5, 1)
    assert (x.not_finite, x.maximum) == (2, 0)
