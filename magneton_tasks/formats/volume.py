"""Volumes opened for reading, whatever their format: ``open_volume(url, mip).read(box)``."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

import numpy.typing as npt

from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.info import Given, VolumeInfo
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.registry import format_of

Array = npt.NDArray[Any]


class Volume(Protocol):
    """A volume at one mip, for reading; may be opened before a fork and read after it."""

    info: VolumeInfo
    decoded_bytes: int
    """Of all chunks decoded so far, whole: what was read of them may be less."""

    def read(self, box: Box, channels: slice = slice(None)) -> Array:
        """The voxels of a box as (c, z, y, x), C order, in the volume's dtype.

        Parameters
        ----------
        channels
            Those to read; consecutive.

        Raises
        ------
        ConfigError
            The box reaches outside the volume.
        NoInputError
            A chunk is missing (precomputed) or can't be read.
        BadDataError
            A chunk is truncated or can't be decoded.
        TemporaryError
            The connection or the file system failed.
        MemoryError
            Memory ran out while chunks were decoded.
        """


def open_volume(
    url: str, mip: int = 0, given: Given | None = None, *, fill_missing: bool = False
) -> Volume:
    """Open a volume at one mip.

    Parameters
    ----------
    url, mip, given
        As `formats.metadata.read_metadata`.
    fill_missing
        Precomputed: a missing chunk is read as zeros instead of raising NoInputError. A missing
        Zarr chunk is the fill value, by Zarr's own rules.

    Raises
    ------
    NoInputError, BadDataError, ConfigError, TemporaryError
        As `formats.metadata.read_metadata`.
    """
    info = read_metadata(url, mip, given)
    folder = import_module(f"{__package__}.{format_of(info).folder}.read")
    return cast(Volume, folder.open_volume(info, fill_missing))
