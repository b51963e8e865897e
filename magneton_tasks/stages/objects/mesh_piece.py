"""What a cell keeps of the mesh of an object: fragments that are done, and units that wait for others.

An object that lies inside its cell is done there: its piece is the manifest and all fragments, as they
will stand in the shard. Of others, nodes that hold more cells are still to come (`kernels.mesh.levels`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.errors import CorruptFileError

#: A place of the octree: level, x, y, z. Of a unit, the node of the level below.
Place = tuple[int, int, int, int]
Part = tuple[Place, bytes]

#: faces of level 0, size of the manifest, number of fragments, number of units
_HEAD = struct.Struct("<QIII")


@dataclass(frozen=True)
class Parts:
    """What a piece holds, by place: begin and size of each in the piece.

    Attributes
    ----------
    faces
        Of level 0.
    manifest
        Of an object that is done; else empty.
    begin
        Where the bytes of an object begin that is done.
    """

    faces: int
    manifest: bytes
    begin: int
    fragments: dict[Place, tuple[int, int]]
    units: dict[Place, tuple[int, int]]


def whole(faces: int, manifest: bytes, fragments: Sequence[bytes]) -> bytes:
    """The piece of an object that is done."""
    return b"".join([_HEAD.pack(faces, len(manifest), 0, 0), manifest, *fragments])


def partial(faces: int, fragments: Sequence[Part], units: Sequence[Part]) -> bytes:
    """The piece of an object that goes on in other cells."""
    parts = [*fragments, *units]
    rows = np.array([(*place, len(data)) for place, data in parts], "<i8")
    head = _HEAD.pack(faces, 0, len(fragments), len(units))
    return b"".join([head, rows.tobytes(), *(data for _, data in parts)])


def read(data: bytes) -> Parts:
    """What a piece holds.

    Raises
    ------
    CorruptFileError
        It is cut off.
    """
    if len(data) < _HEAD.size:
        raise _cut_off(data)
    faces, manifest, fragments, units = _HEAD.unpack_from(data)
    if manifest:
        begin = _HEAD.size + manifest
        return Parts(faces, data[_HEAD.size : begin], begin, {}, {})
    count = fragments + units
    begin = _HEAD.size + 40 * count
    if len(data) < begin:
        raise _cut_off(data)
    rows = np.frombuffer(data, "<i8", 5 * count, _HEAD.size).reshape(count, 5)
    if begin + int(rows[:, 4].sum()) != len(data):
        raise _cut_off(data)
    places = _by_place(rows, begin)
    return Parts(faces, b"", begin, dict(places[:fragments]), dict(places[fragments:]))


def _by_place(rows: NDArray[np.int64], begin: int) -> list[tuple[Place, tuple[int, int]]]:
    begins = begin + np.cumsum(rows[:, 4]) - rows[:, 4]
    return [
        ((level, x, y, z), (at, size))
        for (level, x, y, z, size), at in zip(rows.tolist(), begins.tolist(), strict=True)
    ]


def _cut_off(data: bytes) -> CorruptFileError:
    return CorruptFileError(
        f"a piece of a mesh is cut off at {len(data)} bytes", "rerun: its cell is worked again"
    )
