"""A precomputed layer that is being written: its chunks, or shards of them, each written atomically.

Arrays and boxes are (z, y, x); the format's x, y, z, c stays in this room. The chunk grid of each mip
is anchored at the volume's begin::

    begin      begin+64   begin+128  end
    |----------|----------|-----|
     chunk 0    chunk 1    chunk 2 (cut at the end)

On ``file://`` a chunk compressed with gzip is called ``<name>.gz``: that is cloud-files' (and so
cloud-volume's) convention. On gs:// and s3:// cloud-files sets the content encoding instead. In a
sharded layer chunks are compressed inside their file (`shards`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box, ceil_div, negative, vec3
from magneton_tasks.formats.inflating import decompress, most_encoded
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import chunks as codec
from magneton_tasks.formats.precomputed import shards
from magneton_tasks.formats.precomputed.info import Scale
from magneton_tasks.formats.precomputed.metadata import chunk_name

Array = npt.NDArray[np.generic]

#: Threads that write and sync files; they wait for the disk, not for the CPU.
_WRITERS = 8


@dataclass(frozen=True)
class PrecomputedStore:
    """A precomputed layer that is being written; one instance per process will do.

    Attributes
    ----------
    url
        As given, e.g. ``file:///data/segmentation``.
    scales
        Mip 0 first.
    encoding, compress
        ``raw`` | ``compressed_segmentation`` | ``crackle``; None | ``gzip``.
    """

    url: str
    scales: tuple[Scale, ...]
    encoding: str
    dtype: str
    channels: int
    compress: str | None
    objects: Objects = field(repr=False, kw_only=True)

    def expected_chunks(self, mip: int) -> Iterator[tuple[Box, str]]:
        """Box and file name of every chunk of a mip that isn't sharded, in raster order (z slowest)."""
        scale = self.scales[mip]
        for box in scale.box.tiles(scale.chunk_size):
            yield box, chunk_name(box) + self.suffix

    def chunk_path(self, mip: int, box: Box) -> str:
        """Path of a chunk's file below the layer: ``<key>/<name>``, with its suffix on file://."""
        return f"{self.scales[mip].key}/{chunk_name(box)}{self.suffix}"

    def file_names(self, mip: int, box: Box) -> Iterator[str]:
        """Names of the files that hold ``box``, in the order of `MipWriter.finish`; a million a second.

        ``box``: whole chunks of the mip; of one that is sharded whole shards.
        """
        sharding = self.scales[mip].sharding
        if sharding is not None:
            return (name for name, _ in sharding.shards_in(self.chunks_of(mip, box)))
        z, y, x = (
            [f"{i}-{min(i + size, end)}" for i in range(begin, end, size)]
            for begin, end, size in zip(
                box.begin, box.end, self.scales[mip].chunk_size, strict=True
            )
        )
        suffix = self.suffix
        return (f"{i}_{j}_{k}{suffix}" for k, j, i in product(z, y, x))

    def file_boxes(self, mip: int, box: Box) -> Iterator[Box]:
        """What each of `file_names` holds, in voxels of the mip."""
        scale = self.scales[mip]
        if scale.sharding is None:
            yield from box.tiles(scale.chunk_size)
            return
        for _, held in scale.sharding.shards_in(self.chunks_of(mip, box)):
            yield self._voxels(mip, held)

    def chunks_of(self, mip: int, box: Box) -> Box:
        """A box of whole chunks in places of the grid of chunks."""
        begin, size = self.scales[mip].box.begin, self.scales[mip].chunk_size
        corners = (
            vec3(ceil_div(c - b, s) for c, b, s in zip(corner, begin, size, strict=True))
            for corner in (box.begin, box.end)
        )
        return Box(*corners)

    def _voxels(self, mip: int, chunks: Box) -> Box:
        """The inverse of `chunks_of`."""
        volume, size = self.scales[mip].box, self.scales[mip].chunk_size
        corners = (
            vec3(b + at * s for b, at, s in zip(volume.begin, corner, size, strict=True))
            for corner in (chunks.begin, chunks.end)
        )
        return Box(*corners).intersection(volume)

    @property
    def suffix(self) -> str:
        """Of a chunk's file."""
        return codec.SUFFIXES[self.compress] if self.objects.is_local else ""

    def write(
        self, mip: int, box: Box, array: Array, ids: npt.NDArray[np.uint64] | None = None
    ) -> list[FileInfo]:
        """Write the chunks of ``box``, of a mip that is sharded its shards; see `MipWriter`."""
        writer = self.writer(mip)
        writer.write(box, array, ids)
        return writer.finish()

    def writer(self, mip: int) -> MipWriter:
        """Writes a part of a mip, piece by piece."""
        return MipWriter(self, mip)

    def decode(self, data: bytes, box: Box) -> Array:
        """The voxels of a chunk's file, (c, z, y, x).

        Raises
        ------
        BadDataError
            It is truncated or damaged.
        """
        packed = chunk_name(box) + codec.SUFFIXES[self.compress]
        shape = (self.channels, *box.shape)
        most = most_encoded(shape, self.dtype, self.encoding, codec.CSEG_BLOCK)
        return codec.decode_chunk(decompress(data, packed, most), self.encoding, shape, self.dtype)

    def sizes_on_disk(self, mip: int) -> dict[str, int]:
        """Name -> size in bytes of every file of a mip, by one pass over its directory."""
        return self.objects.sizes(self.scales[mip].key)

    def read(self, mip: int, box: Box) -> Array:
        """The voxels of ``box``, (z, y, x); a missing chunk is an error, as in `open_volume`."""
        from magneton_tasks.formats.volume import open_volume

        found: Array = open_volume(self.url, mip).read(box)[0]
        return found


class MipWriter:
    """Writes a part of a mip, piece by piece; on file:// each file appears whole and synced.

    Chunks of a shard are kept, compressed, until all of them are there.

    Raises
    ------
    OutputError
        Disk full, quota, permission, I/O error; by each call.
    """

    def __init__(self, store: PrecomputedStore, mip: int) -> None:
        self._store, self._mip = store, mip
        self._scale = store.scales[mip]
        self._written: list[tuple[str, FileInfo]] = []
        self._kept: dict[str, dict[int, bytes]] = {}

    def write(self, box: Box, array: Array, ids: npt.NDArray[np.uint64] | None = None) -> None:
        """Write a piece.

        Parameters
        ----------
        box
            In voxels of the mip; begins on the chunk grid and ends on it or at the volume's end.
        array
            (z, y, x), or (c, z, y, x), of the layer's dtype.
        ids
            uint64 (n,), ascending; where given, ``array`` is uint32 (z, y, x), C order: indices into it.

        Raises
        ------
        ValueError
            Box or array don't fit: a bug of the caller.
        """
        data = array if array.ndim == 4 else array[np.newaxis]
        self._check(box, data, self._store.dtype if ids is None else "uint32")
        encoded = (
            (tile, self._packed(tile, box, data, ids)) for tile in box.tiles(self._scale.chunk_size)
        )
        if self._scale.sharding is None:
            named = ((chunk_name(tile) + self._store.suffix, [packed]) for tile, packed in encoded)
            self._put(named, self._store.compress)
            return
        for (chunk_id, _), (_, packed) in zip(
            self._scale.sharding.ids(self._store.chunks_of(self._mip, box)), encoded, strict=True
        ):
            self._kept.setdefault(self._scale.sharding.place(chunk_id)[0], {})[chunk_id] = packed

    def finish(self) -> list[FileInfo]:
        """Size and checksum of each file that was written, in the order of `PrecomputedStore.file_names`."""
        if self._scale.sharding is not None:
            whole, self._kept = sorted(self._kept.items()), {}
            self._put(
                ((name, shards.pieces(held, self._scale.sharding)) for name, held in whole), None
            )
        self._store.objects.sync_directory(self._scale.key)
        return [info for _, info in self._written]

    def _packed(
        self, tile: Box, box: Box, data: Array, ids: npt.NDArray[np.uint64] | None
    ) -> bytes:
        """A chunk, encoded and compressed."""
        encoding = self._store.encoding
        if ids is None:
            chunk = data[(slice(None), *tile.slices(box.begin))]
            encoded: files.Buffer = codec.encode_chunk(chunk, encoding)
        else:
            encoded = codec.encode_indexed(
                data[0], tile.translate(negative(box.begin)), ids, encoding
            )
        return codec.compress(encoded, self._store.compress)

    def _put(self, named: Iterator[tuple[str, Sequence[bytes]]], compress: str | None) -> None:
        key, objects = self._scale.key, self._store.objects
        with ThreadPoolExecutor(_WRITERS) as pool:
            pending = [
                (name, pool.submit(objects.put, f"{key}/{name}", data, compress))
                for name, data in named
            ]
            self._written += [(name, task.result()) for name, task in pending]

    def _check(self, box: Box, data: Array, dtype: str) -> None:
        volume, chunk = self._scale.box, self._scale.chunk_size
        if box.is_empty or not volume.contains(box):
            raise ValueError(f"box {box} isn't in mip {self._mip}, {volume}")
        for b, e, vb, ve, size in zip(
            box.begin, box.end, volume.begin, volume.end, chunk, strict=True
        ):
            if (b - vb) % size or ((e - vb) % size and e != ve):
                raise ValueError(f"box {box} isn't aligned to chunks {chunk} of {volume}")
        if data.shape != (self._store.channels, *box.shape) or data.dtype != dtype:
            raise ValueError(
                f"array {data.shape} {data.dtype} for box {box}, "
                f"{self._store.channels} channel(s) of {dtype}"
            )
