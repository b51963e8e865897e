"""What makes the geometry of objects: of meshes one maker, of skeletons another.

A maker works each cell apart, into **pieces** of objects; then all pieces of an object are joined.
It knows neither files nor records, dust nor shards: `cells` and `shards` do::

    cell   labels of a box, and a plane more where the volume goes on  ->  a piece of each object
    shard  the pieces of an object, of all cells                       ->  the object's bytes

The file ``stages/objects/<kind>_maker.py`` has ``make(config, space) -> Maker``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Size3, Vec3


@dataclass(frozen=True, slots=True)
class Space:
    """Where objects are worked: the volume at the mip of the section.

    Attributes
    ----------
    box
        Of the volume, in voxels of the mip.
    voxel_size_nm
        Of the mip, (z, y, x).
    cell
        The largest cell, in voxels of the mip; cells are counted from the volume's begin.
    """

    box: Box
    voxel_size_nm: Size3
    cell: Vec3


@dataclass(frozen=True, slots=True)
class CellLabels:
    """What a cell holds.

    Attributes
    ----------
    box
        In voxels of the mip, without the planes that it shares with cells behind its high faces.
    numbers
        uint32 (z, y, x): 0 for the background, else place in ``ids`` + 1. It is ``box`` and one plane
        more on each high side where the volume goes on. Where the volume ends, nothing is added.
    ids
        uint64 (n,), ascending: global ids.
    low, high
        int64 (3, n): the box of each in ``numbers``, half-open, (z, y, x).
    wanted
        bool (n,): of which a piece is asked for. The others are dust for certain.
    """

    box: Box
    numbers: NDArray[np.uint32]
    ids: NDArray[np.uint64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    wanted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Piece:
    """What a cell keeps of an object, in the maker's own form; ``data`` may be empty."""

    id: int
    data: bytes


class StoredPiece(Protocol):
    """A piece of an object, where its cell has put it.

    Attributes
    ----------
    box
        Of the cell, as in `CellLabels`.
    size
        In bytes.
    """

    @property
    def box(self) -> Box: ...

    @property
    def size(self) -> int: ...

    def read(self) -> bytes:
        """The piece's data; read anew each time, so that nobody has to hold them."""
        ...


@dataclass(frozen=True, slots=True)
class Joined:
    """An object.

    Attributes
    ----------
    value
        What is stored under its id: a manifest, a skeleton.
    figures
        What a shard's record adds up, such as the number of faces.
    """

    value: bytes
    figures: Mapping[str, int] = field(default_factory=dict)


class Maker(Protocol):
    """Makes pieces, and objects of them; the same in, the same out, bit by bit."""

    def pieces(self, cell: CellLabels) -> Iterator[Piece]:
        """A piece of each object of the cell that is wanted, each once, in any order."""
        ...

    def join(self, global_id: int, pieces: Sequence[StoredPiece]) -> Generator[bytes, None, Joined]:
        """Join the pieces of an object, which come in the order of cells (raster, z slowest).

        Yields
        ------
        bytes
            What stands before the value in the shard, and in no index: fragments of a mesh.

        Returns
        -------
        Joined
            Its value, once all before it has been taken.
        """
        ...

    def info(self, sharding: Mapping[str, Any]) -> dict[str, Any]:
        """The content of the folder's ``info``; ``sharding`` is its member of that name."""
        ...
