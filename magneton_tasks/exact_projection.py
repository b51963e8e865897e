"""Memory and CPU time of the exact method, before any block is read; standard library only.

The block step's memory follows from voxels and from the regions and edges that a sample box has
once its basins are cleaned up. What a join holds follows from the faces: regions and basins stay
open near a face with a neighbour behind it, so plan counts them per voxel of such a face, on
sample boxes that are cut out as if each face had one (`FaceDensity`).

A larger block leaves more per face voxel, for what is open reaches further in: of pub128 .22
regions at a block of 64, .25 to .27 at groups of 128 to 1024; samples are smaller than blocks.

The constants were measured by ``benchmarks/exact.py`` and ``benchmarks/join.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

MIB = 1 << 20

#: Bytes resident in a worker that has its libraries and compiled kernels, and what of it a forked
#: child has resident too.
WORKER_BASE_BYTES = 300 * MIB
FORKED_BASE_BYTES = 140 * MIB
#: Block step: bytes a voxel, a region (after clean-up) and an edge of theirs at the peak. Of the
#: voxel, 3 are the input and 4 its label; the rest, and 23 of an edge, are the 9 bytes of each voxel
#: edge between two regions, of which there are about .35 a voxel and 2.6 an edge.
BYTES_PER_VOXEL = 10.2
BYTES_PER_REGION = 25
BYTES_PER_EDGE = 63
#: Regions and edges per voxel of independent uniform uint8 noise, once small basins have joined.
NOISE_DENSITY = (0.1, 0.65)
#: As `projection.SAMPLE_SPREAD`.
SAMPLE_SPREAD = 2.0
BOUND_MARGIN = 1.15
#: The rows of a join may be this many times those of mean and densest sample together, halved.
JOIN_SPREAD = 1.4

#: A join: bytes at its peak a row that it reads; of all but edges the rows themselves. Together they
#: are some 80 B an edge, measured up to 10^8 edges.
JOIN_BYTES = {"edges": 66, "regions": 28, "basins": 20, "pairs": 16, "contacts": 49}
JOIN_BASE_BYTES = 300 * MIB
#: How much more a face voxel leaves open when the block's edge doubles, and where samples stand.
GROWTH_PER_DOUBLING = 0.08
SAMPLED_EDGE_VOX = 79

#: CPU s a voxel of the block step (reading and writing included), and a residual edge of a join.
BLOCK_S_PER_VOXEL = 0.13e-6
BLOCK_S_PER_EDGE = 0.5e-6
JOIN_S_PER_EDGE = 0.5e-6


@dataclass(frozen=True, slots=True)
class FaceDensity:
    """What stays open per voxel of a face with a neighbour behind it; contacts per closed face voxel."""

    regions: float
    edges: float
    basins: float
    pairs: float
    contacts: float

    def scaled(self, factor: float) -> FaceDensity:
        """All of them times ``factor``; basins and contacts don't grow with the block."""
        return FaceDensity(
            self.regions * factor, self.edges * factor, self.basins, self.pairs, self.contacts
        )


#: Where nothing was sampled: mouse cortex (pub128).
TYPICAL_FACES = FaceDensity(0.3, 1.2, 0.4, 0.2, 0.6)


def growth(edge_vox: float) -> float:
    """What a block of this edge leaves open per face voxel, over what a sample box does."""
    return max(1.0 + GROWTH_PER_DOUBLING * log2(max(edge_vox, 1.0) / SAMPLED_EDGE_VOX), 0.5)


def block_expected_bytes(voxels: int, regions: float, edges: float) -> int:
    """Resident bytes at the peak of a forked child that segments one block of these densities."""
    return FORKED_BASE_BYTES + _block_bytes(voxels, regions * voxels, edges * voxels)


def block_bound_bytes(voxels: int, densest: tuple[float, float] | None) -> int:
    """Resident bytes that segmenting one block never exceeds.

    Parameters
    ----------
    densest
        (regions, edges) per voxel of the densest sample box; None: those of noise.
    """
    regions, edges = (
        NOISE_DENSITY
        if densest is None
        else (min(d * SAMPLE_SPREAD, n) for d, n in zip(densest, NOISE_DENSITY, strict=True))
    )
    block = _block_bytes(voxels, regions * voxels, edges * voxels)
    return WORKER_BASE_BYTES + int(block * BOUND_MARGIN)


def block_cpu_s(voxels: int, edges: float) -> float:
    """Expected CPU seconds of the block step with reading and writing."""
    return voxels * (BLOCK_S_PER_VOXEL + edges * BLOCK_S_PER_EDGE)


def join_bytes(counts: dict[str, float]) -> int:
    """Resident bytes at the peak of a join that reads so many rows of each table."""
    return JOIN_BASE_BYTES + int(sum(JOIN_BYTES[table] * n for table, n in counts.items()))


def _block_bytes(voxels: int, regions: float, edges: float) -> int:
    return int(BYTES_PER_VOXEL * voxels + BYTES_PER_REGION * regions + BYTES_PER_EDGE * edges)
