"""Precomputed volumes, read by box.

Chunks on file:// in a common encoding are decoded here (no import of cloud-volume, 3 CPU s; no
copy: a chunk's memory is that of a C-ordered (c, z, y, x) array); everything else goes through
cloud-volume.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Box
from magneton_tasks.base.location import connection_errors, locate
from magneton_tasks.errors import BadDataError, ConfigError, NoInputError
from magneton_tasks.formats.inflating import decompress, most_encoded
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.precomputed import chunks as codec
from magneton_tasks.formats.precomputed.images import PICTURES
from magneton_tasks.formats.precomputed.metadata import chunk_name
from magneton_tasks.formats.precomputed.shards import ShardedChunks

Array = npt.NDArray[Any]


def open_volume(info: VolumeInfo, fill_missing: bool) -> FileVolume | CloudVolumeVolume:
    """The volume of this metadata; ``fill_missing`` as of `formats.volume.open_volume`."""
    path = locate(info.url).path
    is_found = info.file_size is not None or info.sharding is not None
    if path is not None and is_found and info.encoding in codec.DECODED:
        return FileVolume(info, path / info.array, fill_missing)
    return CloudVolumeVolume(info, fill_missing)


class FileVolume:
    """A precomputed volume on file://: chunks, or shards of them by the hash ``identity``."""

    def __init__(self, info: VolumeInfo, directory: Path, fill_missing: bool) -> None:
        self.info = info
        self.decoded_bytes = 0
        self._directory = directory
        self._fill_missing = fill_missing
        self._suffix = codec.SUFFIXES["gzip"]  # the one that was found last

    def read(self, box: Box, channels: slice = slice(None)) -> Array:
        """As `formats.volume.Volume.read`; holds the result and one chunk."""
        info = self.info
        info.check_inside(box)
        n = len(range(info.channels)[channels])
        out = np.empty((n, *box.shape), dtype=info.dtype)
        if info.sharding is None:
            load = self._load
        else:  # no longer than for this call: a file may be replaced
            load = ShardedChunks(info, info.sharding, self._directory).load
        for chunk in info.chunks(box):
            part = chunk.intersection(box)
            target = out[(slice(None), *part.slices(box.begin))]
            shape = (info.channels, *chunk.shape)
            most = most_encoded(shape, info.dtype, info.encoding, info.cseg_block)
            path = self._directory
            try:
                raw, path = load(chunk, most)
                if raw is None:
                    if not self._fill_missing:
                        raise self._missing(path, chunk, box)
                    target[...] = 0
                    continue
                voxels = codec.decode_chunk(raw, info.encoding, shape, info.dtype, info.cseg_block)
            except BadDataError as error:
                what = f"{path} (chunk {chunk}, read for box {box}): {error.what}"
                raise BadDataError(
                    what, "write this chunk again, or take it from a backup"
                ) from error
            self.decoded_bytes += voxels.nbytes
            target[...] = voxels[(channels, *part.slices(chunk.begin))]
        return out

    def _load(self, chunk: Box, most: int) -> tuple[bytes | None, Path]:
        """A chunk of ``most`` bytes, inflated, and its file (without suffix where it isn't there)."""
        name = chunk_name(self.info.as_stored(chunk))
        for suffix in sorted(codec.SUFFIXES.values(), key=lambda s: s != self._suffix):
            path = self._directory / (name + suffix)
            with telling(f"{path} can't be read"):
                try:
                    data = path.read_bytes()
                except FileNotFoundError:
                    continue
            self._suffix = suffix
            return decompress(data, path, most), path
        return None, self._directory / name

    def _missing(self, path: Path, chunk: Box, box: Box) -> NoInputError:
        other = ", nor with .gz, .br or .zstd" if self.info.sharding is None else ""
        return NoInputError(
            f"{self.info.url}: no file for chunk {chunk} (z, y, x), read for box {box}: "
            f"{path}{other}",
            "complete the input volume, or restrict box to what is there",
        )


#: What cloud-volume decodes.
_KNOWN = frozenset(
    {
        "raw",
        "compressed_segmentation",
        "crackle",
        "compresso",
        "fpzip",
        "zfpc",
        "jpeg",
        "jxl",
        "png",
    }
)


class CloudVolumeVolume:
    """A precomputed volume through cloud-volume: buckets, shards, and rarer encodings."""

    def __init__(self, info: VolumeInfo, fill_missing: bool) -> None:
        self.info = info
        self.decoded_bytes = 0
        self._fill_missing = fill_missing
        self._opened: tuple[int, Any] = (0, None)
        import cloudvolume  # noqa: F401  imported before a fork, once for all children

        _check_codec(info)

    def _volume(self) -> Any:
        """Opened anew in each process: connections don't survive a fork."""
        process, volume = self._opened
        if process != os.getpid():
            from cloudvolume import CloudVolume

            location = locate(self.info.url)
            url = location.url if location.path is None else f"file://{location.path}"
            volume = CloudVolume(
                f"precomputed://{url}",
                mip=self.info.mip,
                progress=False,
                cache=False,
                parallel=1,
                fill_missing=self._fill_missing,
                bounded=True,
                lru_bytes=0,
            )
            self._opened = os.getpid(), volume
        return volume

    def read(self, box: Box, channels: slice = slice(None)) -> Array:
        """As `formats.volume.Volume.read`."""
        self.info.check_inside(box)
        where = f"{self.info.url}, box {box} (z, y, x)"
        from cloudvolume.exceptions import EmptyVolumeException

        with connection_errors(where):
            volume = self._volume()
        # cloud-volume lets its codecs' exceptions through
        with telling(where, decodes=True):
            try:
                found = volume[self.info.as_stored(box).slices()[::-1]]
            except EmptyVolumeException as error:
                raise NoInputError(
                    f"{where}: a chunk is missing: {error}",
                    "complete the input volume, or restrict box to what is there",
                ) from error
        self.decoded_bytes += self.info.chunk_bytes(box)
        return np.ascontiguousarray(np.asarray(found).T[channels])


#: What decodes an encoding that isn't read with Magneton's own packages, and why it isn't one of them.
_NOT_BROUGHT = {
    "zfpc": ("zfpc", " (it is under the LGPL)"),
    "jxl": ("imagecodecs", " (it is large)"),
    "compresso": ("compresso", ""),
}
_NOT_READ = "copy the volume to one of the encodings raw, compressed_segmentation, fpzip and png"


def _check_codec(info: VolumeInfo) -> None:
    """Refuse an encoding that can't be decoded here, before the first chunk is fetched."""
    from cloudvolume.chunks import NEEDS_INSTALL

    encoding = "fpzip" if info.encoding == "kempressed" else info.encoding
    package = NEEDS_INSTALL.get(encoding)
    if package is not None:
        name, why = _NOT_BROUGHT.get(encoding, (package, ""))
        raise ConfigError(
            f"{info.url}: its encoding {info.encoding} needs the package {name}, which Magneton doesn't bring{why}"
            if encoding in _NOT_BROUGHT
            else f"{info.url}: its encoding {info.encoding} needs the package {name}",
            f"pip install {name}, wherever blocks are computed; or {_NOT_READ}",
        )
    if encoding not in _KNOWN:
        raise ConfigError(f"{info.url}: its encoding {info.encoding} isn't read", _NOT_READ)
    if encoding in (*PICTURES, "jxl") and info.channels > 1:
        raise ConfigError(
            f"{info.url}: {info.channels} channels in {info.encoding} are read from unsharded files only",
            "copy the volume to files, or to the encoding raw",
        )
