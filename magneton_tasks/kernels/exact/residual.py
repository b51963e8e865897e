"""What a block leaves open: regions that may still grow at its faces.

A block knows all about a region that lies wholly inside it, and that no better partner beyond a
face can claim. All other regions stay *open*: the edges between them and the basins on the faces
make up the residual that faces and rounds go on from.

Indices of regions and basins count from 1; 0 stands for none. Keys are those of voxel edges
(`exact_settings.KEY_BITS`), 0 for none; positions count over the whole volume, so both mean the
same in every block. Bytes are those in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
UInt32 = NDArray[np.uint32]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Edges(NamedTuple):
    """Edges between open regions, each pair once, 40 B each."""

    u: UInt32
    v: UInt32
    sum: Int64
    """Of the affinities of the voxel edges between the two."""
    count: Int64  # type: ignore[assignment]  # hides tuple.count, which nobody needs
    """Of voxel edges."""
    last: Int64
    """Their largest position: breaks ties of the score."""
    key: Int64
    """Their largest key."""


class Basins(NamedTuple):
    """Basins on outer faces, 21 B each; `faces.Face.basins` and contacts count them from 1."""

    region: UInt32
    size: UInt32
    """Voxels so far, at most s_min."""
    key: Int64
    """Best edge to a basin that is on no outer face; 0: none, or size >= s_min."""
    target: UInt32
    """Region of the basin behind that edge; 0: none."""
    sides: UInt8
    """Bit 2 * axis + side (0 low, 1 high) for each outer face that it lies on."""


class BasinPairs(NamedTuple):
    """Voxel edges between two basins on outer faces, one of them small so far, 16 B each.

    Both may turn out to be parts of one basin, so these don't count as outgoing yet.
    """

    a: UInt32
    b: UInt32
    key: Int64


@dataclass(frozen=True, slots=True)
class Residual:
    """What stays open; empty tables where nothing does."""

    opens: int
    """Regions 1..opens are open."""
    edges: Edges
    basins: Basins
    pairs: BasinPairs

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each table: what a join of it will take follows from them."""
        return {
            "regions": self.opens,
            "edges": len(self.edges.u),
            "basins": len(self.basins.region),
            "pairs": len(self.pairs.a),
        }


class Contacts(NamedTuple):
    """Voxel edges over the face between two blocks, summed up for each pair of basins, 49 B each.

    Block a lies on the low side. Sorted by (basin_a, basin_b).
    """

    block_a: UInt32
    block_b: UInt32
    basin_a: UInt32
    basin_b: UInt32
    sum: UInt32
    count: UInt32  # type: ignore[assignment]
    last: Int64
    key: Int64
    joined: Mask
    """Either side picked the other, or an affinity is t_high or more: one basin."""


#: dtype of each column of each table
DTYPES: dict[type, tuple[type[Any], ...]] = {
    Edges: (np.uint32, np.uint32, np.int64, np.int64, np.int64, np.int64),
    Basins: (np.uint32, np.uint32, np.int64, np.uint32, np.uint8),
    BasinPairs: (np.uint32, np.uint32, np.int64),
    Contacts: (
        np.uint32, np.uint32, np.uint32, np.uint32, np.uint32, np.uint32, np.int64, np.int64, np.bool_,
    ),
}  # fmt: skip


def empty(table: type[Any]) -> Any:
    """A table without rows."""
    return table(*(np.zeros(0, dtype) for dtype in DTYPES[table]))


def empty_residual() -> Residual:
    """Nothing is open: of an empty block, or of the whole volume."""
    return Residual(0, empty(Edges), empty(Basins), empty(BasinPairs))
