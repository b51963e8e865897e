"""What a path of an array lies in: the file or the outermost folder that belongs to its volume."""

from __future__ import annotations

from pathlib import Path

#: Files that a group of Zarr or N5 has.
_OF_GROUPS = ("zarr.json", ".zgroup", ".zattrs", "attributes.json")


def outermost(path: Path) -> Path:
    """The HDF5 file, or the outermost group of Zarr or N5, around an array; else the path itself."""
    for part in (path, *path.parents):
        if part.is_file():
            return part
    while path != path.parent and any((path.parent / name).is_file() for name in _OF_GROUPS):
        path = path.parent
    return path
