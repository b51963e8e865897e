"""Memory that really runs out, wherever it does, is out of memory and nothing else."""

from __future__ import annotations

import gzip
import resource
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import brotli
import numpy as np
import pyarrow as pa
import pytest
import zarr
import zstandard

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import BadDataError, OutOfMemoryError
from magneton_tasks.formats.inflating import decompress
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.stages.child import run_in_child
from magneton_tasks.work import parquet, tables
from magneton_tasks.work.labels import LabelStore

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux"
)
MIB = 2**20
SHAPE = (256, 256, 256)
#: one voxel of a chunk that takes 48 MiB
CORNER = Box((0, 0, 0), (1, 1, 1))


def affinities() -> Any:
    big = np.zeros((3, *SHAPE), np.uint8)
    big[:, ::7] = 255
    return big


def zarr_chunk(folder: Path) -> Callable[[], object]:
    big = affinities()
    path = folder / "a.zarr"
    zarr.create_array(store=path, shape=big.shape, dtype="u1", chunks=big.shape)[...] = big
    volume = open_volume(str(path))
    volume.read(CORNER)  # its threads run, and its codecs are imported
    return lambda: volume.read(CORNER)


def precomputed_chunk(folder: Path) -> Callable[[], object]:
    write_volume(f"file://{folder}/pre", affinities(), (8, 8, 8), chunk_size=SHAPE)
    volume = open_volume(f"file://{folder}/pre")
    return lambda: volume.read(CORNER)


def labels(folder: Path) -> Callable[[], object]:
    store = LabelStore(folder, (1, 1, 1), SHAPE, wait_s=0)
    store.create()
    store.write((0, 0, 0), np.arange(np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE) // 4000)
    store.read((0, 0, 0), CORNER)
    return lambda: store.read((0, 0, 0), Box.of_shape(SHAPE))


def table(folder: Path) -> Callable[[], object]:
    sizes = np.arange(5_000_000, dtype=np.uint32)
    path = folder / "sizes.parquet"
    info = tables.write_label_sizes(path, [(0, sizes, sizes)])
    columns = ("block", "core")
    return lambda: list(tables.iter_rows(path, info, [(0, len(sizes))], "sizes", 0, columns))


#: kinds of what is read, and the memory that it may take, in MiB: less than it needs
READ = [(zarr_chunk, 24), (precomputed_chunk, 16), (labels, 24), (table, 1)]


@pytest.mark.parametrize(("prepare", "mib"), READ)
def test_reading_without_enough_memory(
    prepare: Callable[[Path], Callable[[], object]], mib: int, tmp_path: Path
) -> None:
    # A process that has run other tests has memory of its own to give.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as new:
        told = new.submit(_read_within, prepare, mib, tmp_path).result(timeout=300)
    assert "memory ran out" in told


def _read_within(prepare: Callable[[Path], Callable[[], object]], mib: int, folder: Path) -> str:
    """What is said where there is too little memory; with enough of it nothing is damaged."""
    read = prepare(folder / "data")

    def limited() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        allowed = pages * resource.getpagesize() + mib * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, resource.RLIM_INFINITY))
        read()

    told = ""
    try:
        run_in_child(limited, folder / "log", 0)
    except OutOfMemoryError as error:
        told = str(error)
    run_in_child(lambda: bool(len(str(read()))), folder / "log", 0)
    return told


def test_what_arrow_cannot_have_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(MemoryError), parquet.told(tmp_path / "sizes.parquet"):
        pa.allocate_buffer(2**62)


# ------------------------------------------------------------------ damage that looks like it
def test_a_damaged_size_is_damage_and_no_want_of_memory() -> None:
    """4 GiB are told of in a file of 100 bytes: memory for them may not be had anywhere."""
    data = gzip.compress(bytes(1000))
    with pytest.raises(BadDataError, match="4,294,967,295 bytes"):
        decompress(data[:-4] + struct.pack("<I", 2**32 - 1), "0-1_0-1_0-1.gz", MIB)
    frame = zstandard.ZstdCompressor().compress(bytes(300))
    assert frame[4] == 0x60 and frame[5:7] == struct.pack("<H", 300 - 256)
    huge = frame[:4] + b"\xe0" + struct.pack("<Q", 2**40) + frame[7:]
    with pytest.raises(BadDataError, match="1,099,511,627,776 bytes"):
        decompress(huge, "0-1_0-1_0-1.zstd", MIB)


def test_the_best_that_compression_does_is_read() -> None:
    zeros = bytes(20 * MIB)
    for data, name in (
        (gzip.compress(zeros, 9), "x.gz"),
        (zstandard.ZstdCompressor(level=19).compress(zeros), "x.zstd"),
        (brotli.compress(zeros), "x.br"),
    ):
        assert decompress(data, name, len(zeros)) == zeros
