"""What to say of an address at which there is no volume: what is there instead."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from magneton_tasks.base.location import Location
from magneton_tasks.errors import NoInputError

#: How deep groups are looked through, how many folders, and how many arrays are named.
_DEPTH, _MOST_FOLDERS, _MOST_NAMED = 3, 1000, 20
#: Metadata of an array, and the member that tells it from a group's.
_OF_ARRAYS = {
    ".zarray": "shape",
    "zarr.json": "shape",
    "attributes.json": "dimensions",
    "info": "scales",
}


def missing(location: Location) -> NoInputError:
    """The error for a URL at which there is no volume."""
    if location.path is None:
        return NoInputError(
            f"{location.url}: no precomputed, Zarr or N5 volume there",
            "check the bucket, the path and your rights",
        )
    path = location.path
    file = next((p for p in (path, *path.parents) if os.path.exists(p)), path)
    if os.path.isfile(file):
        return NoInputError(
            f"{file} is a file of a format that isn't read",
            "give a precomputed, Zarr, OME-Zarr or N5 volume, which are folders, or an HDF5 file; convert others to one of them",
        )
    if not path.exists():
        parent = next((p for p in path.parents if p.is_dir()), Path("/"))
        names = _some_names(parent)
        return NoInputError(
            f"{location.url}: {path} doesn't exist; the nearest directory that does is {parent}"
            + (f", with {names}" if names else ", and it is empty"),
            "check the path; on a worker or in a container, check that it is mounted",
        )
    hint = what_it_holds(location)
    if hint is not None:
        return NoInputError(f"{location.url}: a folder or group, not an array", hint)
    names = _some_names(path)
    return NoInputError(
        f"{location.url}: no volume there: none of info, zarr.json, .zarray, .zgroup, attributes.json in {path}"
        + (f", which holds {names}" if names else ", which is empty"),
        "give the directory that holds one of them; if this is the array itself, that file of it is missing: copy it, too",
    )


def what_it_holds(location: Location) -> str | None:
    """A sentence with the arrays below a folder, and how to give one; None where none is found."""
    if location.path is None:
        return None
    names = sorted(_arrays_below(location.path))[:_MOST_NAMED]
    if not names:
        return None
    best = next((n for n in names if "aff" in n.lower()), names[0])
    return f"it holds {', '.join(names)}: use {location.url}/{best}"


def _arrays_below(top: Path) -> Iterator[str]:
    """Paths of arrays of three axes or more in a group, which hold no others."""
    waiting, looked = [(top, 0)], 0
    while waiting and looked < _MOST_FOLDERS:
        folder, depth = waiting.pop(0)
        looked += 1
        if depth and _is_array(folder):
            yield str(folder.relative_to(top))
        elif depth < _DEPTH:
            try:
                names = sorted(e.name for e in os.scandir(folder) if e.is_dir())
            except OSError:
                continue
            waiting += [(folder / name, depth + 1) for name in names]


def _is_array(folder: Path) -> bool:
    for name, member in _OF_ARRAYS.items():
        try:
            content = json.loads((folder / name).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and len(content.get(member) or ()) >= (
            1 if name == "info" else 3
        ):
            return True
    return False


def _some_names(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError:
        return ""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
