"""Neuroglancer precomputed output: ``info``, chunks and owner file, each written atomically.

Outside this room arrays and boxes are (z, y, x); the format's x, y, z, c stays in here and in
`chunks`. The chunk grid of each mip is anchored at the volume's begin::

    begin      begin+64   begin+128  end
    |----------|----------|-----|
     chunk 0    chunk 1    chunk 2 (cut at the end)

On ``file://`` a chunk compressed with gzip is called ``<name>.gz``: that is cloud-files' (and so
cloud-volume's) convention. On gs:// and s3:// cloud-files sets the content encoding instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box, Size3, Vec3, negative, vec3
from magneton_tasks.base.location import locate
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.inflating import decompress, most_encoded
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import chunks as codec
from magneton_tasks.formats.precomputed.info import Scale, build_info, make_scales
from magneton_tasks.formats.precomputed.metadata import chunk_name
from magneton_tasks.formats.precomputed.owner import OWNER_FILE

Array = npt.NDArray[np.generic]

#: Threads that write and sync chunks; they wait for the disk, not for the CPU.
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
    chunk_size
        (z, y, x) in voxels, the same for all mips.
    encoding, compress
        ``raw`` | ``compressed_segmentation`` | ``crackle``; None | ``gzip``.
    """

    url: str
    scales: tuple[Scale, ...]
    chunk_size: Vec3
    encoding: str
    dtype: str
    channels: int
    compress: str | None
    objects: Objects = field(repr=False, kw_only=True)

    def expected_chunks(self, mip: int) -> Iterator[tuple[Box, str]]:
        """Box and file name of every chunk of a mip, in raster order (z slowest)."""
        for box in self.scales[mip].box.tiles(self.chunk_size):
            yield box, chunk_name(box) + self._suffix

    def chunk_path(self, mip: int, box: Box) -> str:
        """Path of a chunk below the layer: ``<key>/<name>``, with its suffix on file://."""
        return f"{self.scales[mip].key}/{chunk_name(box)}{self._suffix}"

    def chunk_names(self, box: Box) -> Iterator[str]:
        """File names of the chunks of ``box`` in raster order: those of `chunk_path`, a million a second."""
        z, y, x = (
            [f"{i}-{min(i + size, end)}" for i in range(begin, end, size)]
            for begin, end, size in zip(box.begin, box.end, self.chunk_size, strict=True)
        )
        suffix = self._suffix
        return (f"{i}_{j}_{k}{suffix}" for k, j, i in product(z, y, x))

    @property
    def _suffix(self) -> str:
        return codec.SUFFIXES[self.compress] if self.objects.is_local else ""

    def write(
        self, mip: int, box: Box, array: Array, ids: npt.NDArray[np.uint64] | None = None
    ) -> list[FileInfo]:
        """Write the chunks of ``box``; on file:// each appears whole and synced.

        Parameters
        ----------
        mip
            Index into ``scales``.
        box
            In voxels of that mip; begins on the chunk grid and ends on it or at the volume's end.
        array
            (z, y, x), or (c, z, y, x), of the layer's dtype.
        ids
            uint64 (n,), ascending; where given, ``array`` is uint32 (z, y, x), C order: indices into it.

        Returns
        -------
        list of FileInfo
            Size and checksum of each chunk's file, in raster order (z slowest).

        Raises
        ------
        ValueError
            Box or array don't fit: a bug of the caller.
        OutputError
            Disk full, quota, permission, I/O error.
        """
        data = array if array.ndim == 4 else array[np.newaxis]
        self._check(mip, box, data, self.dtype if ids is None else "uint32")
        with ThreadPoolExecutor(_WRITERS) as pool:
            pending = []
            for tile in box.tiles(self.chunk_size):
                if ids is None:
                    chunk = data[(slice(None), *tile.slices(box.begin))]
                    encoded: files.Buffer = codec.encode_chunk(chunk, self.encoding)
                else:
                    inside = tile.translate(negative(box.begin))
                    encoded = codec.encode_indexed(data[0], inside, ids, self.encoding)
                packed = codec.compress(encoded, self.compress)
                name = self.chunk_path(mip, tile)
                pending.append(pool.submit(self.objects.put, name, packed, self.compress))
            written = [task.result() for task in pending]
        self.objects.sync_directory(self.scales[mip].key)
        return written

    def _check(self, mip: int, box: Box, data: Array, dtype: str) -> None:
        volume = self.scales[mip].box
        if box.is_empty or not volume.contains(box):
            raise ValueError(f"box {box} isn't in mip {mip}, {volume}")
        for b, e, vb, ve, size in zip(
            box.begin, box.end, volume.begin, volume.end, self.chunk_size, strict=True
        ):
            if (b - vb) % size or ((e - vb) % size and e != ve):
                raise ValueError(f"box {box} isn't aligned to chunks {self.chunk_size} of {volume}")
        if data.shape != (self.channels, *box.shape) or data.dtype != dtype:
            raise ValueError(
                f"array {data.shape} {data.dtype} for box {box}, "
                f"{self.channels} channel(s) of {dtype}"
            )

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


def create_segmentation(
    url: str,
    box: Box,
    voxel_size_nm: Size3,
    chunk_size: Vec3,
    encoding: str = "compressed_segmentation",
    mip_factors: Sequence[Vec3] = (),
    compress: str | None = "gzip",
    *,
    replace: bool = False,
    owner: Mapping[str, Any] | None = None,
    check_only: bool = False,
) -> PrecomputedStore:
    """Write the ``info`` of a uint64 segmentation (or find the same one) and return its store.

    Parameters
    ----------
    url
        ``file://``, ``gs://``, ``s3://`` or a plain path.
    box
        The whole volume at mip 0, in voxels.
    mip_factors
        Of each mip after 0, relative to mip 0: ``[(1, 2, 2), (1, 4, 4)]``.
    replace
        Replace an ``info`` that says something else, or that can't be read.
    owner
        Written before the ``info``: a layer without an owner isn't ours, whoever is killed when.
    check_only
        Write nothing; only refuse what can't be written.

    Raises
    ------
    ConfigError
        An encoding that can't be written, or an output with another ``info`` or compression.
    """
    return _create(
        url,
        box,
        voxel_size_nm,
        chunk_size,
        encoding,
        mip_factors,
        compress,
        dtype="uint64",
        channels=1,
        kind="segmentation",
        replace=replace,
        sync=True,
        owner=owner,
        check_only=check_only,
    )


def _create(
    url: str,
    box: Box,
    voxel_size_nm: Size3,
    chunk_size: Vec3,
    encoding: str,
    mip_factors: Sequence[Vec3],
    compress: str | None,
    *,
    dtype: str,
    channels: int,
    kind: str,
    replace: bool,
    sync: bool,
    owner: Mapping[str, Any] | None = None,
    check_only: bool = False,
) -> PrecomputedStore:
    codec.check_encoding(encoding, dtype)
    if compress not in (None, "gzip"):
        raise ConfigError(f"compress: {compress!r} can't be written", "use gzip or null")
    objects = Objects(locate(url), sync=sync)
    scales = make_scales(box, voxel_size_nm, mip_factors)
    store = PrecomputedStore(
        url, scales, chunk_size, encoding, dtype, channels, compress, objects=objects
    )
    info = build_info(scales, chunk_size, encoding, dtype, channels, kind)
    existing = None if replace else objects.get_json("info")
    if existing is not None:
        different = sorted(k for k in info if existing.get(k) != info[k])
        if different:
            raise ConfigError(
                f"{url} already holds a precomputed layer with another {', '.join(different)}",
                "choose another output, or replace it with --overwrite-output",
            )
    if existing is not None or replace:
        _check_suffixes(store)
    if check_only:
        return store
    if owner is not None:
        objects.put_json(OWNER_FILE, owner)
    if replace:
        existing = _readable_info(objects)
    if existing is None or owner is not None or existing | info != existing:
        objects.put_json("info", info)
    return store


def _readable_info(objects: Objects) -> dict[str, Any] | None:
    """The ``info``; one that isn't JSON is moved aside: it may be all that tells what happened to the disk."""
    try:
        return objects.get_json("info")
    except BadDataError:
        if objects.is_local:
            files.move_aside(objects.path("info"), "it isn't JSON")
        return None


def _check_suffixes(store: PrecomputedStore) -> None:
    """Refuse to put ``name.gz`` beside ``name``: a reader would take either one."""
    for scale in store.scales if store.objects.is_local else ():
        for name in store.objects.some_names(scale.key):
            box = codec.chunk_box(name)
            if box is not None and name != chunk_name(box) + store._suffix:
                raise ConfigError(
                    f"{store.url} holds chunks of another compression ({scale.key}/{name}) than "
                    f"{store.compress}",
                    "set apply.compress as it was, or choose another output",
                )


def write_volume(
    url: str,
    array: Array,
    voxel_size_nm: Size3,
    voxel_offset: Vec3 = (0, 0, 0),
    chunk_size: Vec3 = (64, 64, 64),
    encoding: str = "raw",
    layer_type: str = "image",
    compress: str | None = "gzip",
) -> None:
    """Write an array as a precomputed layer of one mip.

    Parameters
    ----------
    array
        (c, z, y, x), or (z, y, x) for one channel; any dtype that the encoding holds.
    layer_type
        ``image`` or ``segmentation``.

    Raises
    ------
    ConfigError
        Another layer lies there, or the encoding doesn't hold the dtype.
    """
    data = array if array.ndim == 4 else array[np.newaxis]
    box = Box.of_shape(vec3(data.shape[1:]), voxel_offset)
    store = _create(
        url,
        box,
        voxel_size_nm,
        chunk_size,
        encoding,
        (),
        compress,
        dtype=data.dtype.name,
        channels=len(data),
        kind=layer_type,
        replace=False,
        sync=False,
    )
    store.write(0, box, data)
