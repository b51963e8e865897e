"""Chunks that inflate to more than a chunk can have are damage, found before memory is taken."""

from __future__ import annotations

import gzip
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.inflating import decompress, most_encoded
from magneton_tasks.formats.precomputed import chunks as codec
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.formats.volume import open_volume
from tests.helpers import bombs

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux"
)
SHAPE = (32, 32, 32)
#: compressed_segmentation holds these two alone
ENCODED = [
    *product(("raw", "crackle"), (np.uint8, np.uint16, np.uint32, np.uint64)),
    *product(("compressed_segmentation",), (np.uint32, np.uint64)),
]
CORNER = Box((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize("encoding", codec.ENCODINGS)
@pytest.mark.parametrize("kind", bombs.KINDS)
def test_a_bomb_is_damage(tmp_path: Path, kind: str, encoding: str) -> None:
    labels = np.ones(SHAPE, np.uint64)
    url = f"file://{tmp_path}/volume"
    write_volume(
        url, labels, (8, 8, 8), chunk_size=SHAPE, encoding=encoding, layer_type="segmentation"
    )
    volume = open_volume(url)
    assert volume.read(CORNER).item() == 1
    (chunk,) = (tmp_path / "volume" / "8_8_8").iterdir()
    bombs.replace_chunk(chunk, kind)
    with (
        bombs.little_memory(100),
        pytest.raises(BadDataError, match=r"0-32_0-32_0-32.*can't be decompressed"),
    ):
        volume.read(CORNER)


@pytest.mark.parametrize("shards", [None, SHAPE])
@pytest.mark.parametrize("codec", [GzipCodec(level=1), ZstdCodec(), BloscCodec()])
def test_a_bomb_in_zarr_is_damage(tmp_path: Path, codec: Any, shards: Any) -> None:
    """What was written as one chunk of 64 MiB stands where one of 32 KiB should be."""

    def write(name: str, shape: tuple[int, ...], value: int, shards: Any) -> Path:
        array = zarr.create_array(
            tmp_path / name,
            shape=shape,
            chunks=shape,
            dtype="uint8",
            compressors=codec,
            shards=shards,
        )
        array[...] = value
        return tmp_path / name / "c" / "0" / "0" / "0"

    chunk = write("volume", SHAPE, 1, shards)
    volume = open_volume(str(tmp_path / "volume"))
    assert volume.read(CORNER).item() == 1
    bomb = write("bomb", (1 << 26, 1, 1), 3, shards and (1 << 26, 1, 1))
    bomb.replace(chunk)
    with bombs.little_memory(50), pytest.raises(BadDataError, match="more than the"):
        volume.read(CORNER)


@pytest.mark.parametrize(("encoding", "dtype"), ENCODED)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 7, 9, 11), (1, 32, 32, 32)])
def test_the_worst_that_an_encoding_makes_is_read(
    shape: tuple[int, int, int, int], dtype: Any, encoding: str
) -> None:
    """Noise: each voxel has its own label, and nothing compresses."""
    noise = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    encoded = codec.encode_chunk(noise, encoding)
    most = most_encoded(shape, dtype, encoding, codec.CSEG_BLOCK)
    assert len(encoded) <= most
    unpacked = decompress(gzip.compress(encoded), "0-1_0-1_0-1.gz", most)
    assert np.array_equal(codec.decode_chunk(unpacked, encoding, shape, dtype), noise)
    assert most < 30 * noise.nbytes + 2**17, "and no bomb is let through"
