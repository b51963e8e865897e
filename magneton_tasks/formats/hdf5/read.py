"""Arrays of HDF5 files, read by box; without HDF5's lock, which plan has asked for."""

from __future__ import annotations

import os
from typing import Any

import h5py

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Box
from magneton_tasks.base.location import locate
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.hdf5 import file as files
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.stored import Array, read_box


def open_volume(info: VolumeInfo, fill_missing: bool) -> Hdf5Volume:
    """The volume of this metadata; a chunk that was never written is the array's fill value."""
    return Hdf5Volume(info)


class Hdf5Volume:
    """An array of an HDF5 file as a volume; see `formats.volume.Volume`."""

    def __init__(self, info: VolumeInfo) -> None:
        self.info = info
        self.decoded_bytes = 0
        path = locate(info.url).path
        found = None if path is None else files.split(path)
        if found is None:
            raise BadDataError(f"{info.url} isn't in an HDF5 file any more")
        self._file, self._path = found
        self._opened: tuple[int, Any] = (0, None)

    def read(self, box: Box, channels: slice = slice(None)) -> Array:
        """As `formats.volume.Volume.read`."""
        info = self.info
        info.check_inside(box)
        where = f"{info.url}, box {box} (z, y, x)"
        with telling(where, decodes=True):
            found = read_box(self._dataset(), info, box, channels)
        self.decoded_bytes += info.chunk_bytes(box, channels)
        return found

    def _dataset(self) -> Any:
        """Opened anew in each process."""
        process, dataset = self._opened
        if process != os.getpid():
            dataset = h5py.File(self._file, "r", locking=False)[self._path]
            self._opened = os.getpid(), dataset
        return dataset
