"""Labels of all blocks: one Zarr v3 array, the read boxes laid side by side.

::

    labels.zarr/zarr.json
    labels.zarr/c/<z>/<y>/<x>      one shard per block, inner chunks of about 64 with a CRC32C each
    sizes/<k>/<block>.npy          voxels of each label, in the core and in the read box (overlap)

A block whose read box is smaller than the largest fills the low corner of its shard, the rest is
0. The array is for us and for whoever debugs: it isn't the volume, for blocks overlap.

Measured on 256^3 (2 cores, labels of 4,000 voxels; CPU s to write, to read, to read a slab of 32
planes, and bytes per voxel): zstd level 1 .17 / .10 / .022 / .21; lz4 with shuffle .17 / .09 /
.020 / .64; blosc zstd with shuffle .23 / .13 / .03 / .28; inner chunks of 32 cost 2-3 times that.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from magneton_tasks.base import files
from magneton_tasks.base.error_meanings import Kind, kind_of
from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.errors import (
    CorruptFileError,
    MagnetonError,
    NotVisibleError,
    OutputError,
)
from magneton_tasks.work import shards

Labels = npt.NDArray[np.uint32]

#: Inner chunks have at most this many voxels along an axis.
_INNER = 64
_PER_DIRECTORY = 2000


class LabelStore:
    """The labels of all blocks of one segment stage.

    Parameters
    ----------
    directory
        Of the stage; ``labels.zarr`` and ``sizes`` lie in it.
    grid_shape
        Blocks along z, y, x.
    block_shape
        The largest read box, in voxels.
    wait_s
        Seconds to look again for a file that a record names (``visibility_wait``).
    """

    def __init__(
        self, directory: Path, grid_shape: Vec3, block_shape: Vec3, wait_s: float = 120.0
    ) -> None:
        self.path = directory / "labels.zarr"
        self._sizes = directory / "sizes"
        self.grid_shape = grid_shape
        self.block_shape = block_shape
        self._wait_s = wait_s
        self._inner = vec3(ceil(size / ceil(size / _INNER)) for size in block_shape)
        self._shard = vec3(ceil(s / i) * i for s, i in zip(block_shape, self._inner, strict=True))
        self._metadata = _metadata(grid_shape, self._shard, self._inner)

    def create(self) -> None:
        """Write the array's metadata; any number of processes may, the result is the same.

        Raises
        ------
        CorruptFileError
            There's an array of another shape.
        OutputError
            It can't be written.
        """
        path = self.path / "zarr.json"
        found = path.read_bytes() if path.is_file() else None
        if found == self._metadata:
            return
        if found is not None:
            if _is_json(found):
                raise CorruptFileError(
                    f"{path} doesn't describe the blocks of this plan",
                    f"remove {self.path} and rerun: its blocks are computed again",
                )
            files.move_aside(path, "it isn't JSON")
        files.write_atomic(path, self._metadata, is_ours=True)

    def block_number(self, index: Vec3) -> int:
        """Raster number of a block."""
        return int(np.ravel_multi_index(index, self.grid_shape))

    def shard_path(self, index: Vec3) -> Path:
        """The file with a block's labels."""
        return self.path / "c" / str(index[0]) / str(index[1]) / str(index[2])

    def sizes_path(self, index: Vec3) -> Path:
        """The file with the voxels of a block's labels."""
        number = self.block_number(index)
        return self._sizes / f"{number // _PER_DIRECTORY:04d}" / f"{number}.npy"

    def write(self, index: Vec3, labels: Labels) -> FileInfo:
        """Write a block's labels, atomically and synced.

        Parameters
        ----------
        index
            Position of the block in the grid, zyx.
        labels
            uint32, the block's read box, zyx.

        Raises
        ------
        OutputError
            Disk full, quota, I/O error.
        """
        _require(labels.dtype == np.uint32, f"labels are {labels.dtype}, not uint32")
        fits = all(n <= most for n, most in zip(labels.shape, self.block_shape, strict=True))
        _require(fits, f"a block of {labels.shape} in a store of blocks of {self.block_shape}")
        if labels.shape != self._shard:
            whole = np.zeros(self._shard, np.uint32)
            whole[Box.of_shape(vec3(labels.shape)).slices()] = labels
            labels = whole
        data = shards.encode(labels, self._inner)
        return files.write_atomic(self.shard_path(index), data, is_ours=True)

    def read(self, index: Vec3, box: Box, info: FileInfo | None = None) -> Labels:
        """Read a part of a block; only the inner chunks that it touches are decoded.

        Parameters
        ----------
        box
            Relative to the block's read box.
        info
            What the block's record says of its file; without it any size will do.

        Raises
        ------
        NotVisibleError
            The file isn't there within ``wait_s``.
        CorruptFileError
            It is truncated or damaged.
        OutputError
            The file system failed.
        """
        with self._reading(index, box, info) as file:
            return shards.decode(file, self._shard, self._inner, box)

    def pieces(
        self, index: Vec3, box: Box, info: FileInfo | None = None
    ) -> Iterator[tuple[Box, Labels]]:
        """As `read`, but piece by piece: where each lies in the read box, and its labels, read-only."""
        with self._reading(index, box, info) as file:
            yield from shards.pieces(file, self._shard, self._inner, box)

    @contextmanager
    def _reading(self, index: Vec3, box: Box, info: FileInfo | None) -> Iterator[BinaryIO]:
        """A block's file, waited for; errors of what reads it are told."""
        _require(Box.of_shape(self.block_shape).contains(box), f"{box} lies outside the block")
        path = self.shard_path(index)
        files.await_file(path, info.size if info else None, self._wait_s)
        try:
            with files.open_read(path) as file:
                yield file
        except FileNotFoundError as error:
            raise NotVisibleError(f"{path} has just gone", "rerun") from error
        except OSError as error:
            raise OutputError(
                f"can't read {path}: {error.strerror}", "fix it, then rerun"
            ) from error
        except MagnetonError:
            raise
        except Exception as error:
            if kind_of(error, decodes=True) is not Kind.DAMAGED:
                raise
            raise _corrupt(path, error) from error

    def write_sizes(
        self, index: Vec3, core_sizes: npt.NDArray[Any], read_sizes: npt.NDArray[Any]
    ) -> FileInfo:
        """Write how many voxels each label has, in the core and in the read box.

        Parameters
        ----------
        core_sizes, read_sizes
            (n,) for labels 1..n.
        """
        pairs = np.stack([core_sizes, read_sizes], axis=1)
        _require(pairs.max(initial=0) < 2**32, "a label has more voxels than uint32 can count")
        content = io.BytesIO()
        np.save(content, pairs.astype(np.uint32), allow_pickle=False)
        return files.write_atomic(self.sizes_path(index), content.getbuffer(), is_ours=True)

    def read_sizes(self, index: Vec3, info: FileInfo | None = None) -> tuple[Labels, Labels]:
        """Voxels of the labels 1..n of a block: (core, read), each (n,) uint32.

        Raises
        ------
        NotVisibleError, CorruptFileError, OutputError
            As `read`.
        """
        path = self.sizes_path(index)
        if info is None:
            files.await_file(path, None, self._wait_s)
            info = FileInfo(files.stat_size(path) or 0, -1)
        crc32 = info.crc32 if info.crc32 >= 0 else None
        data = files.read_recorded(path, info.size, self._wait_s, crc32)
        try:
            pairs = np.load(io.BytesIO(data), allow_pickle=False)
            core, read = pairs.T
        except (ValueError, EOFError) as error:
            raise _corrupt(path, error) from error
        return core, read


def _corrupt(path: Path, error: Exception) -> CorruptFileError:
    return CorruptFileError(f"{path} is damaged ({error})", "rerun: the block is computed again")


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _metadata(grid_shape: Vec3, shard: Vec3, inner: Vec3) -> bytes:
    """``zarr.json``, the same bytes whatever the version of zarr."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    checksum = {"name": "crc32c"}
    zstd = {"name": "zstd", "configuration": {"level": shards.ZSTD_LEVEL, "checksum": False}}
    sharding = {
        "chunk_shape": inner,
        "codecs": [little, zstd, checksum],
        "index_codecs": [little, checksum],
        "index_location": "end",
    }
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [n * s for n, s in zip(grid_shape, shard, strict=True)],
        "data_type": "uint32",
        "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {"about": "labels of overlapping blocks, side by side"},
        "dimension_names": ["z", "y", "x"],
    }
    return json.dumps(metadata, indent=1).encode()
