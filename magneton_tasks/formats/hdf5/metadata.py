"""Metadata of arrays in HDF5 files. h5py is imported when a file is there that it can open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.location import Location, locate
from magneton_tasks.errors import BadDataError, ConfigError, NoInputError
from magneton_tasks.formats.hdf5 import file as files
from magneton_tasks.formats.info import Given, VolumeInfo, no_such_mip
from magneton_tasks.formats.space import StoredArray, attribute_space
from magneton_tasks.formats.stored_info import volume_info
from magneton_tasks.formats.tool_attributes import in_common_words

#: Edge of what is taken for a chunk where an array has none, and is stored as a whole.
_EDGE = 64
#: Arrays that a message names.
_MOST_NAMED = 20


def read(url: str, location: Location, mip: int, given: Given | None) -> VolumeInfo | None:
    """As `formats.metadata.read_metadata`; None where there is no HDF5 file."""
    if location.path is None:
        if any(f"{suffix}/" in f"{location.url.lower()}/" for suffix in files.SUFFIXES):
            raise ConfigError(
                f"{location.url}: HDF5 is read from file systems only",
                "copy the file, or convert it to Zarr, which is read from buckets",
            )
        return None
    found = files.split(location.path)
    if found is None:
        return None
    file, path = found
    with files.opening(file) as opened, _telling(file):
        dataset = _dataset(opened, file, path)
        where = f"{file}/{path}"
        files.check_filters(where, dataset)
        _check_sources(where, file, dataset)
        array = _stored(dataset, where)
    if mip != 0:
        raise no_such_mip(url, mip, [f"{array.shape} voxels, an array of HDF5"])
    info = volume_info(url, 0, "", array, attribute_space(array, f"{where}: its attributes", given))
    return replace(info, file_size=None)  # all of it lies in one file


def _telling(file: Path) -> Any:
    return telling(str(file), decodes=True)


def _dataset(opened: Any, file: Path, path: str) -> Any:
    import h5py

    found = opened if path == "." else opened.get(path)
    if isinstance(found, h5py.Dataset):
        return found
    if found is None:
        raise NoInputError(f"{file} holds no {path}", _what_it_holds(opened, file))
    raise ConfigError(
        f"{file}{'' if path == '.' else '/' + path} is {'a file' if path == '.' else 'a group'} of HDF5, not an array",
        _what_it_holds(found, file),
    )


def _what_it_holds(group: Any, file: Path) -> str:
    names = sorted(arrays_in(group))
    if not names:
        return "it holds no array of three axes or more"
    listed = ", ".join(names[:_MOST_NAMED])
    best = next((name for name in names if "aff" in name.lower()), names[0])
    return f"it holds {listed}: use {file}/{best}"


def arrays_in(group: Any) -> Iterator[str]:
    """Paths in the file of the arrays below a group that may be volumes."""
    import h5py

    found: list[str] = []

    def look(_: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and len(item.shape or ()) >= 3:
            found.append(item.name.lstrip("/"))
        return True if len(found) > _MOST_NAMED else None

    group.visititems(look)
    yield from found


def _stored(dataset: Any, where: str) -> StoredArray:
    shape = tuple(int(n) for n in dataset.shape or ())
    chunk = tuple(
        dataset.chunks or (*(1 for _ in shape[:-3]), *(min(n, _EDGE) for n in shape[-3:]))
    )
    filters = dataset.id.get_create_plist()
    names = [f"filter {filters.get_filter(n)[0]}" for n in range(filters.get_nfilters())]
    attributes = in_common_words(
        {k: _plain(v) for k, v in dataset.attrs.items()}, len(shape), where
    )
    labels = [dimension.label for dimension in dataset.dims]
    return StoredArray(
        format="hdf5",
        version="hdf5",
        dtype=str(dataset.dtype.name) if dataset.dtype.kind in "uifb" else str(dataset.dtype),
        shape=shape,
        chunk=chunk,
        file=chunk,
        encoding="+".join(names) or "raw",
        key=("", ""),
        names=labels if labels and all(labels) else None,
        attributes=attributes,
    )


def _plain(value: Any) -> Any:
    """An attribute as Python's own values."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _check_sources(where: str, file: Path, dataset: Any) -> None:
    """The files of a virtual array: what of them is missing would be read as the fill value."""
    sources: Sequence[Any] = dataset.virtual_sources() if dataset.is_virtual else ()
    for source in sources:
        name = source.file_name
        if name != "." and not os.path.exists(file.parent / name):
            raise NoInputError(
                f"{where} is put together from other files, of which {name} isn't there",
                f"put it where it belongs, relative to {file.parent}",
            )


def chunk_names(info: VolumeInfo, index: Vec3) -> Iterator[str]:
    """None: all chunks lie in one file."""
    yield from ()


def only_file(info: VolumeInfo) -> Path:
    """The file that holds the volume."""
    path = locate(info.url).path
    found = None if path is None else files.split(path)
    if found is None:
        raise BadDataError(f"{info.url} isn't in an HDF5 file any more")
    return found[0]


def check_free(info: VolumeInfo) -> str | None:
    """Refuse a file that a process writes to; a note where nobody can tell.

    Raises
    ------
    TemporaryError
    """
    file = only_file(info)
    if files.ask_lock(file):
        return None
    return f"{file}: its file system has no locks, so whether a process writes to it isn't known"
