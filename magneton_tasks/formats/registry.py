"""The formats that are read: one entry each. A new one is an entry here and a folder of its own.

The folder has ``metadata.py``, whose functions stand here, light enough for a DAG, and ``read.py``,
whose ``open_volume(info, fill_missing)`` makes a `volume.Volume`: `volume` finds it by the folder's
name, so that nobody imports a library for a format that isn't read. the contract in pyproject.toml lists each ``metadata.py`` as light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.location import Location
from magneton_tasks.formats.hdf5 import metadata as hdf5
from magneton_tasks.formats.info import Given, VolumeInfo
from magneton_tasks.formats.n5 import metadata as n5
from magneton_tasks.formats.precomputed import metadata as precomputed
from magneton_tasks.formats.zarr import metadata as zarr


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes
    ----------
    folder
        In this room; also what a prefix of an address names (`base.location.PREFIXES`).
    names
        Of `VolumeInfo.format`.
    read
        Metadata at (url, location, mip, what a person says of it); None where there is no volume of
        this format. Of what a person says it takes the axes, and the voxel size where its own is
        none; `metadata` does the rest.
    chunk_names
        Names of the files of a chunk, at an index of the chunk grid.
    suffixes
        What may stand behind these names, in the order in which it is looked for.
    only_file
        The file that holds all of a volume, where that is one.
    check_free
        Refuses a volume that a process writes to; a note where nobody can tell. Asked by plan.
    """

    folder: str
    names: tuple[str, ...]
    read: Callable[[str, Location, int, Given | None], VolumeInfo | None]
    chunk_names: Callable[[VolumeInfo, Vec3], Iterator[str]]
    suffixes: tuple[str, ...] = ("",)
    only_file: Callable[[VolumeInfo], Path] | None = None
    check_free: Callable[[VolumeInfo], str | None] = lambda _: None


#: In the order in which an address without a prefix is tried; HDF5's tells by its file.
FORMATS = (
    Format(
        "hdf5",
        ("hdf5",),
        hdf5.read,
        hdf5.chunk_names,
        only_file=hdf5.only_file,
        check_free=hdf5.check_free,
    ),
    Format(
        "precomputed",
        ("precomputed",),
        precomputed.read,
        precomputed.chunk_names,
        precomputed.SUFFIXES,
    ),
    Format("zarr", ("zarr2", "zarr3"), zarr.read, zarr.chunk_names),
    Format("n5", ("n5",), n5.read, n5.chunk_names),
)


def format_of(info: VolumeInfo) -> Format:
    """The format of a volume whose metadata was read."""
    return next(known for known in FORMATS if info.format in known.names)
