"""Blocks of the exact method are read as if the whole volume were there, and chunks once."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats import exact_reader
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.exact_reader import ExactReader, high_plane
from magneton_tasks.formats.mask import MaskReader
from magneton_tasks.formats.precomputed import write as precomputed
from magneton_tasks.formats.zarr import read as zarr_volumes
from tests.helpers.examples import examples

OFFSET: Vec3 = (10, -20, 30)
SHAPE: Vec3 = (12, 14, 16)
BOX = Box.of_shape(SHAPE, OFFSET)
INNER = Box((13, -20, 35), (20, -9, 46))


def _random(dtype: str = "uint8", shape: Vec3 = SHAPE, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return rng.random((3, *shape)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (3, *shape), endpoint=True).astype(dtype)


def _zarr(path: Path, array: Any, chunk: Vec3 = (4, 4, 4)) -> str:
    """A volume of which each channel has chunks of its own."""
    url = str(path / f"volume-{len(list(path.iterdir()))}")
    zarr_volumes.write_volume(url, array, (40, 8, 8), OFFSET, chunk)
    return url


def _precomputed(path: Path, array: Any, chunk: Vec3 = (4, 4, 4)) -> str:
    """A volume whose chunks have all channels."""
    url = str(path / f"volume-{len(list(path.iterdir()))}")
    precomputed.write_volume(url, array, (40, 8, 8), OFFSET, chunk)
    return url


def _in_ours(stored: Any, sign: int, invert: bool = False, scale: float = 255) -> Any:
    """uint8 affinities of a whole stored volume, in Magneton's convention."""
    affinity = stored.astype(np.float32) / np.float32(scale)
    affinity = np.rint(255 * (1 - affinity if invert else affinity)).astype(np.uint8)
    if sign == 1:
        for axis in range(3):
            affinity[axis] = np.roll(affinity[axis], 1, axis)
            np.moveaxis(affinity[axis], axis, 0)[0] = 0
    return affinity


# ------------------------------------------------------------------ affinities as uint8
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize(
    ("dtype", "one"), [("uint8", 255), ("uint16", 65535), ("float16", 1), ("float32", 1)]
)
def test_affinities_are_quantised_voxel_by_voxel(
    tmp_path: Path, dtype: str, one: float, invert: bool, sign: int
) -> None:
    stored = _random(dtype)
    reader = AffinityReader(_zarr(tmp_path, stored, (6, 7, 8)), offset_sign=sign, invert=invert)
    ours = _in_ours(stored, sign, invert, one)
    for box in (BOX, INNER):
        found = reader.read_uint8(box)
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous and found.flags.writeable
        np.testing.assert_array_equal(found, ours[(slice(None), *box.slices(OFFSET))])
        values = np.rint(255 * reader.read(box))
        np.testing.assert_array_equal(found, values)


def test_stored_uint8_stays_as_it_is(tmp_path: Path) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8).repeat(3, axis=0)
    reader = AffinityReader(_zarr(tmp_path, stored))
    np.testing.assert_array_equal(reader.read_uint8(Box.of_shape((4, 8, 8), OFFSET)), stored)


@pytest.mark.parametrize("channels", ["xyz", [2, 0, 1]])
def test_channels_are_put_in_order(tmp_path: Path, channels: Any) -> None:
    stored = _random()
    reader = AffinityReader(_zarr(tmp_path, stored), channels=channels)
    order = [2, 1, 0] if channels == "xyz" else channels
    np.testing.assert_array_equal(reader.read_uint8(BOX), stored[order])


@pytest.mark.parametrize("value", [np.nan, -0.01, 1.01, np.inf])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("at", [(0, 0, 0), (3, 0, 5), (6, 10, 9)])
def test_what_is_not_an_affinity_is_refused_and_placed(
    tmp_path: Path, value: float, sign: int, at: Vec3
) -> None:
    stored = _random("float32")
    after = vec3(b + a - o for b, a, o in zip(INNER.begin, at, OFFSET, strict=True))
    stored[(2, *after)] = value
    reader = AffinityReader(_zarr(tmp_path, stored, (6, 7, 8)), offset_sign=sign)
    # with +1, the edge of the voxel after, which may lie beyond the box
    wanted = (at[0], at[1], at[2] + (sign == 1))
    with pytest.raises(
        BadDataError, match=rf"at voxel \({', '.join(map(str, wanted))}\).*channel 2"
    ):
        reader.read_uint8(INNER)


def test_at_the_begin_of_the_volume_a_bad_value_is_placed_too(tmp_path: Path) -> None:
    stored = _random("float32")
    stored[1, 3, 0, 4] = np.nan
    reader = AffinityReader(_zarr(tmp_path, stored), offset_sign=1)
    with pytest.raises(BadDataError, match=r"voxel \(3, 1, 4\) .*channel 1"):
        reader.read_uint8(BOX)


def test_a_scale_below_the_values_is_refused(tmp_path: Path) -> None:
    url = _zarr(tmp_path, _random("uint16"))
    AffinityReader(url, scale=65535).read_uint8(BOX)
    with pytest.raises(BadDataError, match=r"input\.scale"):
        AffinityReader(url, scale=255).read_uint8(BOX)


def test_a_scale_that_binary_fractions_only_nearly_hit(tmp_path: Path) -> None:
    """float32(0.1) is a little more than 0.1, and yet it is all of it."""
    stored = np.full((3, *SHAPE), 0.1, np.float32)
    reader = AffinityReader(_zarr(tmp_path, stored), scale=0.1)
    assert (reader.read_uint8(BOX) == 255).all()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_of_one_channel_decodes_nothing_else(
    tmp_path: Path, sign: int, dtype: str, axis: int
) -> None:
    stored = _random(dtype)
    url = _zarr(tmp_path, stored)
    reader = AffinityReader(url, offset_sign=sign, channels=[2, 0, 1])
    plane = high_plane(Box.of_shape((7, 6, 9), OFFSET), axis)
    expected = reader.read_uint8(plane)[axis]
    before = reader.decoded_bytes
    found = reader.read_plane(plane, axis)
    np.testing.assert_array_equal(found, expected)
    chunks = [-(-s // 4) for d, s in enumerate((7, 6, 9)) if d != axis]
    assert reader.decoded_bytes - before == chunks[0] * chunks[1] * 4**3 * stored.itemsize


# ------------------------------------------------------------------ blocks
class Whole(NamedTuple):
    """Affinities of a segmented box and of one plane more, in our convention; masked."""

    affinity: Any
    volume: Box

    def block(self, core: Box) -> tuple[Any, list[Any]]:
        planes = [
            np.take(self.affinity[axis][high_plane(core, axis).slices(self.volume.begin)], 0, axis)
            for axis in range(3)
        ]
        return self.affinity[(slice(None), *core.slices(self.volume.begin))], planes


def _whole(ours: Any, mask: Any, volume: Box) -> Whole:
    """Cut out of a whole map; ``mask``: of all of it, or None."""
    inside = ours[(slice(None), *volume.slices(OFFSET))].copy()
    counts = np.ones(volume.shape, bool) if mask is None else mask[volume.slices(OFFSET)]
    for axis in range(3):
        before = np.roll(counts, 1, axis)
        np.moveaxis(before, axis, 0)[0] = False
        inside[axis][~(counts & before)] = 0
    return Whole(np.pad(inside, [(0, 0), (0, 1), (0, 1), (0, 1)]), volume)


def _assert_block(reader: ExactReader, whole: Whole, core: Box) -> None:
    affinity, planes = reader.read(core)
    expected, beyond = whole.block(core)
    for found, wanted in zip((affinity, *planes), (expected, *beyond), strict=True):
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous and found.flags.writeable
        np.testing.assert_array_equal(found, wanted)
        found[...] = 77  # nobody else sees it


@st.composite
def _cuts(draw: st.DrawFn, begin: int, end: int) -> list[int]:
    inner = draw(st.sets(st.integers(begin + 1, end - 1), max_size=3)) if end > begin + 1 else set()
    return [begin, *sorted(inner), end]


@examples(30, 500)
@given(data=st.data(), sign=st.sampled_from([-1, 1]), masked=st.booleans(), kept=st.booleans())
def test_in_any_order_blocks_are_what_the_whole_volume_holds(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    sign: int,
    masked: bool,
    kept: bool,
) -> None:
    """A cut-out, or all, of a volume; any grid; some blocks more than once."""
    path = tmp_path_factory.mktemp("any")
    shape = vec3(data.draw(st.tuples(*[st.integers(1, 6)] * 3)))
    box = Box.of_shape(shape, OFFSET)
    volume = box
    if data.draw(st.booleans()):
        ends = [sorted(data.draw(st.tuples(*[st.integers(0, s)] * 2))) for s in shape]
        begin = vec3(o + min(a, s - 1) for o, (a, _), s in zip(OFFSET, ends, shape, strict=True))
        end = vec3(max(o + b, a + 1) for o, (_, b), a in zip(OFFSET, ends, begin, strict=True))
        volume = Box(begin, end)
    cuts = [data.draw(_cuts(b, e)) for b, e in zip(volume.begin, volume.end, strict=True)]
    spans = product(*(pairwise(c) for c in cuts))
    cores = [Box(vec3(b for b, _ in at), vec3(e for _, e in at)) for at in spans]
    order = data.draw(st.permutations(cores)) + data.draw(st.lists(st.sampled_from(cores)))

    stored = _random(shape=shape, seed=data.draw(st.integers(0, 99)))
    affinity = AffinityReader(_precomputed(path, stored, (2, 3, 4)), offset_sign=sign)
    mask = reader = None
    if masked:
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        mask = rng.random(shape) < data.draw(st.sampled_from([0, 0.1, 0.7, 1]))
        reader = MaskReader(_precomputed(path, mask.astype(np.uint8)), 0, affinity.info)
    exact, whole = (
        ExactReader(affinity, reader, volume),
        _whole(_in_ours(stored, sign), mask, volume),
    )
    with pytest.MonkeyPatch.context() as patch:
        if not kept:
            patch.setattr(exact_reader, "KEPT_BYTES", data.draw(st.integers(0, 40)))
        for core in order:
            _assert_block(exact, whole, core)
        assert sum(p.nbytes for p in exact._kept.values()) == exact._kept_bytes
        assert exact._kept_bytes <= exact_reader.KEPT_BYTES


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("write", [_zarr, _precomputed])
def test_every_chunk_of_neighbouring_blocks_is_decoded_once(
    tmp_path: Path, write: Any, sign: int
) -> None:
    stored = _random(shape=(16, 16, 24))
    affinity = AffinityReader(write(tmp_path, stored), offset_sign=sign)
    volume = affinity.info.box
    grid = Grid(((10, 18, 26), (-20, -12, -4), (30, 38, 46, 54)))
    reader, whole = (
        ExactReader(affinity, None, volume),
        _whole(_in_ours(stored, sign), None, volume),
    )
    for block in reader.in_order(range(len(grid))):
        _assert_block(reader, whole, grid.core(block))
    assert reader.decoded_bytes == stored.nbytes
    # every block's planes: 8 x 8 voxels each
    assert reader.needed_bytes == stored.nbytes + 12 * 3 * 64
    assert not reader._kept  # all were used

    again = ExactReader(AffinityReader(affinity.info.url, offset_sign=sign), None, volume)
    for block in reversed(reader.in_order(range(len(grid)))):
        _assert_block(again, whole, grid.core(block))
    assert again.decoded_bytes > 1.2 * stored.nbytes


def test_bytes_are_those_of_the_maps_dtype(tmp_path: Path) -> None:
    stored = _random("float32")
    reader = ExactReader(AffinityReader(_precomputed(tmp_path, stored, SHAPE)), None, BOX)
    reader.read(BOX)
    assert reader.decoded_bytes == stored.nbytes
    planes = 12 * 14 + 12 * 16 + 14 * 16
    assert reader.needed_bytes == stored.nbytes + 4 * planes


def test_blocks_without_a_voxel_that_counts_are_not_read(tmp_path: Path) -> None:
    stored = _random(shape=(16, 16, 24))
    counts = np.zeros((16, 16, 24), np.uint8)
    counts[:8] = 1
    affinity = AffinityReader(_precomputed(tmp_path, stored))
    mask = MaskReader(_precomputed(tmp_path, counts), 0, affinity.info)
    grid = Grid(((10, 18, 26), (-20, -4), (30, 38, 46, 54)))
    reader = ExactReader(affinity, mask, affinity.info.box)
    whole = _whole(stored, counts > 0, affinity.info.box)
    for block in reader.in_order(range(len(grid))):
        _assert_block(reader, whole, grid.core(block))
    assert reader.decoded_bytes == stored.nbytes // 2


@pytest.mark.parametrize(("sign", "at", "said"), [(-1, 5, (2, 5, 3)), (1, 4, (2, 4, 3))])
def test_a_bad_value_in_the_plane_beyond_is_placed_from_the_core(
    tmp_path: Path, sign: int, at: int, said: Vec3
) -> None:
    """With +1, the core's own voxel leads there."""
    stored = _random("float32")
    stored[1, 2, at, 3] = 2
    affinity = AffinityReader(_zarr(tmp_path, stored), offset_sign=sign)
    reader = ExactReader(affinity, None, BOX)
    with pytest.raises(BadDataError, match=rf"2 at voxel \({', '.join(map(str, said))}\)"):
        reader.read(Box.of_shape((4, 5, 4), OFFSET))
