"""Memory and CPU time of the exact method, before any block is read; standard library only.

The block step's memory follows from voxels and from the regions and edges that a sample box has
once its basins are cleaned up. What a round's task and cut take follows from the rows that are really
there.

The constants were measured by ``benchmarks/exact.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

MIB = 1 << 20

#: Bytes resident in a worker that has its libraries and compiled kernels, and what of it a forked
#: child has resident too.
WORKER_BASE_BYTES = 300 * MIB
FORKED_BASE_BYTES = 140 * MIB
#: Block step: bytes per voxel, per region (after clean-up) and per edge of theirs at the peak. Of the
#: voxel, 3 are the input and 4 its label; the rest, and 23 of an edge, are the 9 bytes of each voxel
#: edge between two regions, of which there are about .35 per voxel and 2.6 per edge.
BYTES_PER_VOXEL = 10.2
BYTES_PER_REGION = 25
BYTES_PER_EDGE = 63
#: Regions and edges per voxel of independent uniform uint8 noise, once small basins have joined.
NOISE_DENSITY = (0.1, 0.65)
#: As `plan.cost_overlap.SAMPLE_SPREAD`.
SAMPLE_SPREAD = 2.0
BOUND_MARGIN = 1.15

#: Later rounds: bytes at the peak of a task for each row (region, half-edge) that it reads, and for
#: each row of the largest table of names that it opens (61, as unpacked with its look-up). Measured in
#: forked children, on 10^5 to 6 x 10^6 rows of mouse cortex and uniform noise: 105 to 125 a row; on
#: made-up rows that all lead to other groups, of which nothing merges: 145 to 177.
ROUND_BYTES_PER_ROW = 180
ROUND_BYTES_PER_NAME = 65
#: Round 0: bytes at the peak for each row that a group reads; and what an edge or a contact takes
#: beside that where there are other groups, to which what stays open is sent from both of its ends.
#: Measured in forked children on 10^5 to 6 x 10^6 rows: made-up ones take up to .97 of this (all merge
#: by mean .97, all stay open .86 to .95, nothing merges or all are small .5), tissue .44 to .72 in one
#: group and .48 to .86 in several, noise .4 to .71.
FIRST_BYTES = {"regions": 200, "edges": 130, "basins": 10, "contacts": 120, "undecided": 70}
SENT_BYTES = 100
#: Cut: bytes at the peak for each supervoxel of a group that follows its names through round 0; then,
#: of groups that are cut together, for each supervoxel, and for each region that its group has sent on.
#: Measured: 9.8 MiB of 12.2 for 124,000 supervoxels, 49.5 of 56 for 615,000 (most of it for 295,000 sent).
CUT_BYTES_PER_SUPERVOXEL = 100
CUT_HELD_BYTES, CUT_SENT_BYTES = 36, 120
#: Groups that lie near each other are cut together up to this many bytes, or to what a task may take.
#: Measured on mouse cortex in 512 and 4,096 blocks of 32^3, rounds of 60,000 rows: rows of names that are
#: opened for each supervoxel 1.65 (all together) and 2.46.
CUT_TOGETHER = 128 * MIB
#: A worker that has its libraries, and has read next to nothing.
ROUND_BASE_BYTES = 300 * MIB
#: Edges of the largest sample box, in voxels.
SAMPLED_EDGE_VOX = 79

#: CPU s per voxel of the block step (reading and writing included), and per residual edge; per row
#: of a round, and per voxel of cut.
BLOCK_S_PER_VOXEL = 0.13e-6
BLOCK_S_PER_EDGE = 0.5e-6
ROUND_S_PER_ROW = 1.0e-6
CUT_S_PER_VOXEL = 0.003e-6


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


def round_bytes(rows: int, names: int = 0) -> int:
    """Resident bytes that a round's task never exceeds whose largest group reads this many rows.

    Of round 0 as `first_rows` counts them. ``names``: rows of the largest table of names that it opens.
    """
    return ROUND_BASE_BYTES + ROUND_BYTES_PER_ROW * rows + ROUND_BYTES_PER_NAME * names


def first_bytes(*, alone: bool) -> dict[str, int]:
    """Bytes at the peak of a task of round 0 for each row that its group reads, by table.

    ``alone``: there is no other group.
    """
    sends = dict.fromkeys(("edges", "contacts"), 0 if alone else SENT_BYTES)
    return {table: taken + sends.get(table, 0) for table, taken in FIRST_BYTES.items()}


def first_rows(rows: Mapping[str, int], *, alone: bool) -> int:
    """What a group of round 0 reads, in rows of later rounds that take as much memory.

    ``rows``: by the names of `FIRST_BYTES`.
    """
    each = first_bytes(alone=alone)
    return -(-sum(each[table] * count for table, count in rows.items()) // ROUND_BYTES_PER_ROW)


def round_rows(limit: int, names: int = 0) -> int:
    """Rows that a task may read that may take ``limit`` bytes; at least one."""
    return max((limit - round_bytes(0, names)) // ROUND_BYTES_PER_ROW, 1)


def cut_held_bytes(supervoxels: int, sent: int) -> int:
    """Bytes that a group takes while others are cut together with it.

    ``sent``: regions that it has sent on in round 0.
    """
    return CUT_HELD_BYTES * supervoxels + CUT_SENT_BYTES * sent


def cut_together_bytes(limit: int, supervoxels: int, names: int) -> int:
    """Bytes that groups may take together, as `cut_held_bytes`, in a task of ``limit`` bytes.

    At most `CUT_TOGETHER`; ``supervoxels``, ``names`` as `cut_bytes`.
    """
    return min(max(limit - cut_bytes(supervoxels, 0, names), 0), CUT_TOGETHER)


def cut_bytes(supervoxels: int, held: int, names: int) -> int:
    """Resident bytes that cut never exceeds.

    Parameters
    ----------
    supervoxels
        Of the largest group.
    held
        `cut_held_bytes` of all groups that are cut together.
    names
        Rows of the largest table of names.
    """
    return round_bytes(0, names) + CUT_BYTES_PER_SUPERVOXEL * supervoxels + held


def _block_bytes(voxels: int, regions: float, edges: float) -> int:
    return int(BYTES_PER_VOXEL * voxels + BYTES_PER_REGION * regions + BYTES_PER_EDGE * edges)
