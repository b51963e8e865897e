"""Segment properties of a segmentation: what Neuroglancer's list of segments shows, sorts and filters.

The format: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/segment_properties.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.files import FileInfo
from magneton_tasks.formats.objects import Objects

#: The folder, beside the ``info`` of the segmentation, which names it.
FOLDER = "segment_properties"
_MOST = np.iinfo(np.uint32).max


def content(
    ids: NDArray[np.uint64],
    labels: Sequence[str],
    numbers: Mapping[str, tuple[str, NDArray[Any]]],
    tags: Mapping[str, NDArray[np.bool_]],
) -> dict[str, Any]:
    """The ``info`` of segment properties.

    Parameters
    ----------
    ids
        uint64 (n,), ascending.
    labels
        (n,): the name of each.
    numbers
        By name: a description and a column (n,) of integers or floats.
    tags
        By name without spaces: which segments have it, bool (n,).
    """
    properties: list[dict[str, Any]] = [{"id": "label", "type": "label", "values": list(labels)}]
    for name, (description, column) in numbers.items():
        fits = column.dtype.kind in "iu" and column.max(initial=0) <= _MOST
        kind = "uint32" if fits else "float32"
        values = column.tolist() if fits else [float(f"{v:.7g}") for v in column.tolist()]
        properties.append(
            {
                "id": name,
                "type": "number",
                "data_type": kind,
                "description": description,
                "values": values,
            }
        )
    each = [[k for k, has in enumerate(row) if has] for row in zip(*tags.values(), strict=True)]
    properties.append({"id": "tags", "type": "tags", "tags": list(tags), "values": each})
    inline = {"ids": [str(i) for i in ids.tolist()], "properties": properties}
    return {"@type": "neuroglancer_segment_properties", "inline": inline}


def write(objects: Objects, given: Mapping[str, Any] | None) -> dict[str, FileInfo]:
    """Write segment properties, and name them in the segmentation's ``info``; None: name none.

    What is there already stays. The name follows the file: a viewer finds both or none. Returns the
    file, by its path.
    """
    name, written = f"{FOLDER}/info", dict[str, FileInfo]()
    if given is not None:
        text = json.dumps(given, separators=(",", ":")).encode()
        written[name] = FileInfo(len(text), crc32(text))
        if objects.get(name) != text:
            objects.put(name, text)
            objects.sync_directory(FOLDER)
    info = objects.get_json("info") or {}
    named = {k: v for k, v in info.items() if k != FOLDER}
    if given is not None:
        named[FOLDER] = FOLDER
    if named != info:
        objects.put_json("info", named)
    return written
