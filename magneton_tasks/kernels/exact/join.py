"""Join what neighbouring blocks, or groups of blocks, leave open.

One function for a flat join of all blocks and for each level of a tree of joins::

    children's tables -> basins become whole, regions with them      join_basins   9a to 9c
                      -> edges between these regions                 join_edges    9d
                      -> size-limited linkage, mean linkage          _link         9e
                      -> what closes: names and dust; what stays     _settle       9e, 11

Nodes are the open regions of all children, numbered through in their order: none is renumbered
until the end, and a set of them is called by its smallest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.dust import best_neighbours
from magneton_tasks.kernels.exact.fixed_point import least_key, least_score
from magneton_tasks.kernels.exact.join_basins import JoinedBasins, join_basins
from magneton_tasks.kernels.exact.join_edges import joined_edges, open_edges, rename, set_aside
from magneton_tasks.kernels.exact.join_tables import rows_of, take_tables
from magneton_tasks.kernels.exact.mean_linkage import mean_linkage
from magneton_tasks.kernels.exact.position_ranks import rank_positions
from magneton_tasks.kernels.exact.region_graph import aggregate
from magneton_tasks.kernels.exact.residual import (
    Contacts,
    Edges,
    Int64,
    Joins,
    Mask,
    Regions,
    Residual,
    UInt8,
    UInt32,
)
from magneton_tasks.kernels.exact.size_limited_linkage import size_limited
from magneton_tasks.kernels.union_find import number_roots

#: Bump when the same residuals and contacts give other joins.
KERNEL_VERSION = versions.EXACT_JOIN


@dataclass(frozen=True, slots=True)
class Joined:
    """What a join makes of its children.

    Attributes
    ----------
    residual
        What stays open; empty where the group has no outer face.
    joins
        A row for each child's region that gave up its name, and for each that became part of
        another as dust.
    counts
        For the log: ``regions``, ``edges`` and ``contacts`` that came in, ``graph_edges`` once they
        were joined, ``active_edges`` of them that could merge something, ``merges``.
    """

    residual: Residual
    joins: Joins
    counts: dict[str, int]


def join(
    children: list[Residual],
    contacts: Contacts,
    outer_blocks: UInt32,
    outer_sides: UInt8,
    settings: ExactSettings,
) -> Joined:
    """Join groups of blocks that lie side by side.

    Peak: about 80 B an edge of the children, they and all that comes with these edges included
    (`benchmarks.join`), if memory that is freed leaves the process at once.

    Parameters
    ----------
    children
        In the order of their blocks or groups. **The list is emptied**, so that their columns can
        go one by one; they are not written to.
    contacts
        Over all faces between blocks that lie in different children, in any order.
    outer_blocks
        uint32 (blocks,), rising: the blocks that have faces to blocks outside the group.
    outer_sides
        uint8 (blocks,): these faces, bits as in `residual.FaceBasins.sides`.
    settings
        The same as those of the blocks.

    Raises
    ------
    BadDataError
        If contacts don't belong to these children, a sum of affinities reaches
        `region_graph.MAX_SUM`, or there are too many rows for 32 bits.
    """
    tables = take_tables(children)
    counts = {
        "regions": tables.regions.block.size - 1,
        "edges": tables.edges.rows,
        "contacts": contacts.sum.size,
    }
    basins = join_basins(tables, contacts, outer_blocks, outer_sides, settings)
    roots, open_ = basins.roots, basins.open_
    edges = joined_edges(tables.edges, contacts, basins.contact_a, basins.contact_b, roots)
    regions = tables.regions
    del contacts, tables
    basins = basins._replace(contact_a=_NONE, contact_b=_NONE)
    counts["graph_edges"] = edges.u.size
    linked = _link(edges, roots, _sizes(regions.size, roots), open_, settings)
    del edges
    counts |= {"active_edges": linked.active, "merges": linked.merges}
    residual, joins = _settle(regions, linked.parts, basins, settings)
    return Joined(residual, joins, counts)


_NONE = np.zeros(0, np.uint32)


class _Linked(NamedTuple):
    parts: list[Edges]
    """First the edges that linkage worked on (ends 0: gone), then those that it had no use for."""
    active: int
    merges: int


def _link(
    edges: Edges, roots: UInt32, sizes: Int64, open_: Mask, settings: ExactSettings
) -> _Linked:
    """Both linkages; writes to all its arrays, ``roots`` and ``open_`` being the result too."""
    n = roots.size - 1
    active, parts = _split(edges, open_)
    count = active.u.size
    small = size_limited(n, active, sizes, open_, settings)
    small_merges = _count_merged(small)
    if small_merges:
        rename(active.u, small)
        rename(active.v, small)
        active = aggregate(n, *active)
        rename(roots, small)
    active, more = _split(active, open_)  # opens have spread
    parts += more
    rank = rank_positions(active.last)
    linkage = mean_linkage(n, active, rank, open_, least_score(settings.threshold))
    active.u[:] = linkage.u
    active.v[:] = linkage.v
    active.last[:] = active.last[rank]
    rename(roots, linkage.roots)
    return _Linked([active, *parts], count, small_merges + linkage.merges)


def _split(edges: Edges, open_: Mask) -> tuple[Edges, list[Edges]]:
    """Edges that may merge something, and the others."""
    count = set_aside(*edges, open_)
    return rows_of(edges, slice(count)), [rows_of(edges, slice(count, None))]


def _settle(
    regions: Regions, parts: list[Edges], basins: JoinedBasins, settings: ExactSettings
) -> tuple[Residual, Joins]:
    """Names of what has merged, dust of what has closed, and what stays open.

    Parameters
    ----------
    regions
        Of the children. **Written to**.
    parts
        Of `_Linked`. **Emptied**.
    basins
        Its roots and opens are those after the linkages.
    """
    roots, open_ = basins.roots, basins.open_
    sizes = _sizes(regions.size, roots)
    cap = settings.size_cap
    _add_closed(roots, regions.closed_key, regions.closed_block, regions.closed_label)
    active = parts[0]
    best, neighbour = best_neighbours(
        active.u, active.v, active.key, sizes, open_, settings.dust, least_key(settings.t_size)
    )
    _offer_neighbours(sizes, settings.dust, best, neighbour, *regions)
    del active, best, neighbour
    joins = _joins(regions, roots, open_)
    numbers, kept, _ = number_roots(roots, open_)
    rows = np.flatnonzero(open_ & (roots == np.arange(roots.size, dtype=np.uint32)))
    open_regions = rows_of(regions, rows)
    open_regions.size[:] = np.minimum(sizes[rows], cap)
    numbers[numbers > kept] = 0
    table = basins.basins
    table = table._replace(region=numbers[table.region], target=numbers[table.target])
    residual = Residual(
        open_regions, open_edges(parts, open_, numbers), table, basins.pairs, basins.face_basins
    )
    return residual, joins


# ------------------------------------------------------------------ over all regions
@njit(nogil=True)
def _sizes(size: UInt32, roots: UInt32) -> Int64:
    """int64 (n + 1,), by root: voxels of its set; not capped."""
    sizes = np.zeros(roots.size, np.int64)
    for i in range(1, roots.size):
        sizes[roots[i]] += size[i]
    return sizes


@njit(nogil=True)
def _count_merged(roots: UInt32) -> int:
    merged = 0
    for i in range(roots.size):
        merged += roots[i] != i
    return merged


@njit(nogil=True)
def _add_closed(
    roots: UInt32, closed_key: Int64, closed_block: UInt32, closed_label: UInt32
) -> None:
    """Each root gets the best closed neighbour of its set, in place."""
    for i in range(1, roots.size):
        r = roots[i]
        if closed_key[i] > closed_key[r]:
            closed_key[r] = closed_key[i]
            closed_block[r] = closed_block[i]
            closed_label[r] = closed_label[i]


@njit(nogil=True)
def _offer_neighbours(
    sizes: Int64,
    dust: int,
    best: Int64,
    neighbour: UInt32,
    block: UInt32,
    label: UInt32,
    size: UInt32,
    closed_key: Int64,
    closed_block: UInt32,
    closed_label: UInt32,
) -> None:
    """Neighbours that dust may join, by name: of an open region those that close now; in place."""
    for i in range(1, sizes.size):
        if sizes[i] >= dust:
            closed_key[i] = 0
            closed_block[i] = 0
            closed_label[i] = 0
        elif best[i] > closed_key[i]:
            closed_key[i] = best[i]
            closed_block[i] = block[neighbour[i]]
            closed_label[i] = label[neighbour[i]]


def _joins(regions: Regions, roots: UInt32, open_: Mask) -> Joins:
    """What is one with what, by names; 16 B a row, 4 B a row above."""
    nodes = np.arange(roots.size, dtype=np.uint32)
    merged = np.flatnonzero(roots != nodes)
    dust = np.flatnonzero((roots == nodes) & ~open_ & (regions.closed_key > 0))
    into = roots[merged]
    return Joins(
        np.concatenate([regions.block[merged], regions.block[dust]]),
        np.concatenate([regions.label[merged], regions.label[dust]]),
        np.concatenate([regions.block[into], regions.closed_block[dust]]),
        np.concatenate([regions.label[into], regions.closed_label[dust]]),
    )
