"""Volume metadata of whatever format (`registry`), without cloud-volume, zarr or numpy.

plan and the DAGs stand on this: importing cloud-volume costs 3 CPU s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from magneton_tasks.base.geometry import Box, ceil_div, vec3
from magneton_tasks.base.location import Location, locate, probing
from magneton_tasks.config.model import RunConfig
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.given import of_config, with_given
from magneton_tasks.formats.info import Given, VolumeInfo
from magneton_tasks.formats.missing import missing
from magneton_tasks.formats.registry import FORMATS, Format, format_of

__all__ = [
    "VolumeInfo",
    "check_free",
    "chunk_identity",
    "read_input",
    "read_levels",
    "read_metadata",
]

#: Mips of a volume that are looked for.
_MOST_LEVELS = 32


def read_levels(url: str, given: Given | None = None) -> Iterator[VolumeInfo]:
    """All mips of a volume, the finest first.

    Raises
    ------
    MagnetonError
        As `read_metadata`; of a mip that the volume doesn't have: none, that is the end.
    """
    yield read_metadata(url, 0, given)
    for mip in range(1, _MOST_LEVELS):
        try:
            info = read_metadata(url, mip, given)
        except ConfigError:
            return
        yield info


def read_metadata(url: str, mip: int = 0, given: Given | None = None) -> VolumeInfo:
    """What a volume's metadata says of one mip.

    Parameters
    ----------
    url
        ``file:///path``, a plain path, gs://, s3:// or https://; may begin with a format
        (`base.location.PREFIXES`), else the files there tell it. An array in an HDF5 file is
        ``file.h5/path/of/the/array``.
    mip
        Index of the scale (precomputed) or of the dataset (OME-Zarr); 0 for a plain array.
    given
        What the config says of the affinity map (`of_config`); None: it's another volume.

    Raises
    ------
    NoInputError
        Nothing there, or it can't be read; names the nearest directory that exists.
    BadDataError
        The metadata isn't what its format says; with file and line.
    ConfigError
        A mip that doesn't exist, an unsupported dtype or axis, a URL that can't be right.
    TemporaryError
        The connection failed.
    """
    location = locate(url)
    with probing() as denied:
        found = _found(url, location, mip, given)
    if found is None:
        raise denied[0] if denied else missing(location)
    return found if given is None else with_given(found, given)


def _found(url: str, location: Location, mip: int, given: Given | None) -> VolumeInfo | None:
    for known in FORMATS:
        if location.format in (None, known.folder):
            found = known.read(url, location, mip, given)
            if found is not None:
                return found
    return None


def read_input(config: RunConfig) -> VolumeInfo:
    """The metadata of a config's affinity map, as the config has it.

    Raises
    ------
    MagnetonError
        As `read_metadata`.
    """
    return read_metadata(config.paths.input, config.input.mip, of_config(config))


def chunk_identity(url: str, mip: int, box: Box, info: VolumeInfo | None = None) -> str:
    """Digest of the names, sizes and modification times of the chunks that meet a box.

    For ``input.identity: chunks``: a chunk that is written anew, added or removed changes the
    digest of the blocks that read it, and of no other.

    Parameters
    ----------
    info
        The volume's metadata, where it's at hand; saves reading it again.

    Raises
    ------
    ConfigError
        The volume isn't on file://, or is sharded precomputed.
    """
    info = info or read_metadata(url, mip)
    format_ = format_of(info)
    if format_.only_file is not None:
        return _file_identity(info, format_.only_file(info))
    path = locate(info.url).path
    if path is None or info.file_size is None:
        kind = "sharded" if path is not None else "not on file://"
        raise ConfigError(
            f"input.identity: chunks doesn't work for {url}: it is {kind}",
            "use input.identity: metadata, and raise input.version when the input changes",
        )
    digest = hashlib.sha256(info.digest.encode())
    for name in _chunk_files(info, format_, box):
        for suffix in format_.suffixes:
            try:
                status = os.stat(path / info.array / (name + suffix))
            except (FileNotFoundError, NotADirectoryError):
                continue
            digest.update(f"{name}{suffix} {status.st_size} {status.st_mtime_ns}\n".encode())
            break
    return digest.hexdigest()


def _file_identity(info: VolumeInfo, file: Path) -> str:
    """As `chunk_identity`, where one file holds all chunks: a change of it counts for each block."""
    status = os.stat(file)
    told = f"{info.digest} {file.name} {status.st_size} {status.st_mtime_ns}\n"
    return hashlib.sha256(told.encode()).hexdigest()


def check_free(info: VolumeInfo) -> tuple[str, ...]:
    """Refuse a volume that a process writes to; notes where nobody can tell.

    Raises
    ------
    TemporaryError
    """
    note = format_of(info).check_free(info)
    return () if note is None else (note,)


def _chunk_files(info: VolumeInfo, format_: Format, box: Box) -> Iterator[str]:
    """Names of the files that hold voxels of ``box``, without compression's suffix."""
    assert info.file_size is not None
    box = box.intersection(info.box)
    spans = [
        range((b - vb) // size, ceil_div(e - vb, size))
        for b, e, vb, size in zip(box.begin, box.end, info.box.begin, info.file_size, strict=True)
    ]
    for index in product(*spans) if not box.is_empty else ():
        yield from format_.chunk_names(info, vec3(index))
