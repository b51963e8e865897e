"""Zarr volumes: any version, axis order and codec gives (c, z, y, x)."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import BadDataError, ConfigError, TemporaryError
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.formats.zarr import read as zarr_volumes

OFFSET = (10, 20, 30)
BOX = Box.of_shape((20, 40, 70), OFFSET)
INNER = Box((15, 21, 47), (16, 60, 99))


def _array(dtype: str = "uint8", channels: int = 3) -> Any:
    rng = np.random.default_rng(3)
    shape = (channels, *BOX.shape) if channels else BOX.shape
    return rng.integers(0, 120, shape).astype(dtype)


@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize("version", [2, 3])
def test_what_we_write_is_read(tmp_path: Path, version: Any, channels: int) -> None:
    array = _array(channels=channels)
    zarr_volumes.write_volume(
        str(tmp_path / "v"), array, (40, 8, 8), OFFSET, (16, 16, 16), zarr_format=version
    )
    volume = open_volume(str(tmp_path / "v"))
    expected = array if channels else array[np.newaxis]
    np.testing.assert_array_equal(volume.read(BOX), expected)
    inner = volume.read(INNER)
    np.testing.assert_array_equal(inner, expected[(slice(None), *INNER.slices(OFFSET))])
    assert inner.flags.c_contiguous


@pytest.mark.parametrize("dtype", [">u2", "<f2", "float32", "uint64", "bool"])
def test_dtypes_are_native(tmp_path: Path, dtype: str) -> None:
    array = _array(dtype, 0)
    stored = zarr.create_array(
        str(tmp_path / "v"), shape=array.shape, dtype=dtype, chunks=(16, 16, 16), zarr_format=2
    )
    stored[...] = array
    volume = open_volume(str(tmp_path / "v"))
    read = volume.read(volume.info.box)
    np.testing.assert_array_equal(read[0], array)
    assert read.dtype == np.dtype(dtype).newbyteorder("=") == np.dtype(volume.info.dtype)


@pytest.mark.parametrize("axes", ["zyxc", "xyzc", "cxyz", "tczyx", "yxz"])
def test_axes_in_any_order(tmp_path: Path, axes: str) -> None:
    array = _array() if "c" in axes else _array(channels=1)
    at = {"t": np.newaxis} | dict(zip("czyx", range(4), strict=True))
    order = [at[a] for a in axes if a != "t"]
    moved = array.transpose(order if "c" in axes else [0, *order])
    moved = moved if "c" in axes else moved[0]
    moved = moved[np.newaxis] if "t" in axes else moved
    stored = zarr.create_array(
        str(tmp_path / "v"),
        shape=moved.shape,
        dtype="uint8",
        chunks=(8,) * moved.ndim,
        dimension_names=list(axes),
    )
    stored[...] = moved
    volume = open_volume(str(tmp_path / "v"))
    box = Box((1, 2, 3), (17, 40, 69))
    expected = array[(slice(None), *box.slices())]
    np.testing.assert_array_equal(volume.read(box), expected)


def test_chunks_that_were_never_written_are_the_fill_value(tmp_path: Path) -> None:
    stored = zarr.create_array(
        str(tmp_path / "v"), shape=(32, 32, 32), dtype="uint8", chunks=(16,) * 3, fill_value=7
    )
    stored[:16] = 1
    read = open_volume(str(tmp_path / "v")).read(Box.of_shape((32, 32, 32)))
    assert (read[0, :16] == 1).all()
    assert (read[0, 16:] == 7).all()


def test_shards(tmp_path: Path) -> None:
    array = _array(channels=0)
    stored = zarr.create_array(
        str(tmp_path / "v"), shape=array.shape, dtype="uint8", shards=(16, 32, 32), chunks=(8,) * 3
    )
    stored[...] = array
    box = Box((3, 5, 7), (19, 39, 68))
    read = open_volume(str(tmp_path / "v")).read(box)
    np.testing.assert_array_equal(read[0], array[box.slices()])


def test_a_volume_opened_before_a_fork_is_read_after_it(tmp_path: Path) -> None:
    zarr_volumes.write_volume(str(tmp_path / "v"), _array(), (40, 8, 8), OFFSET)
    volume = open_volume(str(tmp_path / "v"))
    before = volume.read(BOX)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(volume.read, (BOX,)).get(timeout=300)
        pool.close()
        pool.join()  # ended by itself: a signal may reach another thread than the one that waits
    np.testing.assert_array_equal(found, before)


@pytest.mark.parametrize("version", [2, 3])
def test_a_truncated_chunk_is_bad_data(tmp_path: Path, version: Any) -> None:
    url = str(tmp_path / "v")
    zarr_volumes.write_volume(url, _array(), (40, 8, 8), OFFSET, zarr_format=version)
    chunk = tmp_path / "v" / "0" / ("c/1/0/0/0" if version == 3 else "1/0/0/0")
    chunk.write_bytes(chunk.read_bytes()[:500])
    with pytest.raises(BadDataError, match="box 10:30,20:60,30:100"):
        open_volume(url).read(BOX)


def test_a_box_outside_is_refused(tmp_path: Path) -> None:
    zarr_volumes.write_volume(str(tmp_path / "v"), _array(), (40, 8, 8), OFFSET)
    with pytest.raises(ConfigError, match="outside"):
        open_volume(str(tmp_path / "v")).read(Box((0, 20, 30), (12, 22, 32)))


def test_an_io_error_is_worth_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr_volumes.write_volume(str(tmp_path / "v"), _array(), (40, 8, 8), OFFSET)
    volume = open_volume(str(tmp_path / "v"))

    def failing(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zarr.Array, "__getitem__", failing)
    with pytest.raises(TemporaryError, match="Input/output error"):
        volume.read(BOX)


def test_an_array_is_not_written_over_another(tmp_path: Path) -> None:
    zarr_volumes.write_volume(str(tmp_path / "v"), _array(), (40, 8, 8), OFFSET)
    with pytest.raises(ConfigError, match="isn't empty"):
        zarr_volumes.write_volume(str(tmp_path / "v"), _array(), (40, 8, 8), OFFSET)
