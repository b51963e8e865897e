"""Joins of simulated residuals: CPU seconds and bytes an edge, up to 10^8 edges.

The volume is a block of real affinities (pub128 reflected, else the sample) repeated without end. So
one block step yields what every block leaves open, and one face of each axis all contacts: names and
positions of another place in the grid are those of the first block plus a constant. Nothing else is
made up. A group of blocks that was joined repeats just as well, which makes a tree of any height.

Bytes are resident memory above what the process had before it made the children: they, the contacts
and the result are among them. Each join runs in a forked child, after one that loads the code. The
C library is told to give arrays of a MiB back as soon as they go (`_give_back_early`): by default it
keeps a child's columns of a few MB for later use.
"""

from __future__ import annotations

import ctypes
import os
import resource
import time
from dataclasses import fields
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import Row, forked, row
from benchmarks.volumes import reflected, source
from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import segment_block_exact
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.join import Joined, join
from magneton_tasks.kernels.exact.residual import Contacts, Residual, concatenate, empty

#: Voxels of a block along each axis. The block of the tree is smaller, that it has more levels.
EDGE, TREE_EDGE = 256, 64
#: Blocks along each axis of the flat joins: about 10^6, 10^7 and 10^8 edges.
FLAT: tuple[Vec3, ...] = ((1, 1, 2), (2, 3, 4), (6, 6, 6))
LEVELS = 4
MOST_US, MOST_BYTES = 0.5, 96.0
#: Smaller joins are little above what loaded code takes.
LEAST_EDGES = 5_000_000
SETTINGS = ExactSettings(threshold=0.3)
#: The grid that positions and block indices count over.
BLOCKS: Vec3 = (64, 64, 64)


class Group(NamedTuple):
    """What a group of blocks at the grid's origin leaves open, and contacts across its three faces."""

    shape: Vec3
    """Blocks per axis."""
    residual: Residual
    contacts: tuple[Contacts, Contacts, Contacts]
    """Of one block, at the grid's origin, with the one behind it."""
    edge: int
    """Voxels of a block along each axis."""


def run(*, full: bool = False) -> list[Row]:
    """Measure flat joins, and levels of a tree of 2 x 2 x 2; ``full`` adds that of 10^8 edges."""
    _give_back_early()
    first = one_block(EDGE)
    _warm(first)
    rows = []
    for shape in FLAT if full else FLAT[:-1]:
        rows += _measured("flat", first, shape, outer=False)
    return [*rows, *_tree()]


def one_block(edge: int) -> Group:
    """The block step of the block that is repeated."""
    affinity = reflected(source(), (edge, edge, edge))
    # The border of the source, where no edges are, shall not lie on that of the block.
    affinity = np.ascontiguousarray(np.roll(affinity, (edge // 3,) * 3, (1, 2, 3)))
    planes = tuple(affinity[d].take(0, axis=d) for d in range(3))
    volume = vec3(edge * n for n in BLOCKS)
    place = Place(0, (0, 0, 0), volume, ((True, True),) * 3)
    found = segment_block_exact(affinity, planes, place, SETTINGS)
    z, y, x = (
        face_contacts(
            found.faces[axis, 1],
            found.faces[axis, 0],
            axis,
            (0, _step(axis)),
            vec3(edge * (d == axis) for d in range(3)),
            volume,
            SETTINGS,
        )
        for axis in range(3)
    )
    return Group((1, 1, 1), found.residual, (z, y, x), edge)


def join_group(group: Group, shape: Vec3, *, outer: bool) -> tuple[Joined, float, dict[str, int]]:
    """Join copies of a group side by side.

    Parameters
    ----------
    shape
        Copies along each axis.
    outer
        Whether faces of the joined group stay open, or there is nothing behind them.

    Returns
    -------
    Joined, CPU seconds of the join itself, and figures
    """
    whole = vec3(n * g for n, g in zip(shape, group.shape, strict=True))
    before = _resident_bytes()
    children = [
        moved(group.residual, vec3(p * g for p, g in zip(at, group.shape, strict=True)), group.edge)
        for at in product(*map(range, shape))
    ]
    sides = outer_sides(whole) if outer else {}
    blocks = np.array(sorted(sides), np.uint32)
    outer_bits = np.array([sides[b] for b in blocks.tolist()], np.uint8)
    held = [closing_contacts(group, shape)]
    contacts = held[0].sum.size
    prepared = _resident_bytes()
    began = time.process_time()
    joined = join(children, held.pop(), blocks, outer_bits, SETTINGS)
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {
        "inputs": prepared - before,
        "peak": peak - before,
        "contacts": contacts,
        "open": joined.residual.edges.u.size,
        "open_regions": joined.residual.regions.block.size,
        **joined.counts,
    }
    return joined, spent, figures


# ------------------------------------------------------------------ other places in the grid
def _step(axis: int) -> int:
    """How much a block's index grows along an axis."""
    return prod(BLOCKS[axis + 1 :])


def _shifts(by: Vec3, edge: int) -> tuple[np.uint32, int]:
    """What to add to block indices and to positions, by blocks along each axis."""
    volume = [edge * n for n in BLOCKS]
    position = 3 * sum(edge * b * prod(volume[d + 1 :]) for d, b in enumerate(by))
    return np.uint32(sum(b * _step(d) for d, b in enumerate(by))), position


def moved(residual: Residual, by: Vec3, edge: int) -> Residual:
    """The residual of the group that lies so many blocks further."""
    block, position = _shifts(by, edge)
    copy = Residual(*(_copied(getattr(residual, f.name)) for f in fields(Residual)))
    known = copy.regions.closed_key > 0
    copy.regions.closed_key[known] -= position
    copy.regions.closed_block[known] += block
    copy.basins.key[copy.basins.key > 0] -= position
    for column, shift in (
        (copy.regions.block, block),
        (copy.face_basins.block, block),
        (copy.edges.last, position),
        (copy.edges.key, -position),
        (copy.pairs.key, -position),
    ):
        column += shift
    return copy


def _copied(table: Any) -> Any:
    return type(table)(*(column.copy() for column in table))


def closing_contacts(group: Group, shape: Vec3) -> Contacts:
    """Over all faces between copies of a group."""
    whole = vec3(n * g for n, g in zip(shape, group.shape, strict=True))
    found = [empty(Contacts)]
    for axis, contacts in enumerate(group.contacts):
        for at in product(*map(range, whole)):
            behind = at[axis] + 1
            if behind < whole[axis] and behind % group.shape[axis] == 0:
                block, position = _shifts(vec3(at), group.edge)
                found.append(
                    contacts._replace(
                        block_a=contacts.block_a + block,
                        block_b=contacts.block_b + block,
                        last=contacts.last + position,
                        key=contacts.key - position,
                    )
                )
    return concatenate(found)  # type: ignore[no-any-return]


def outer_sides(shape: Vec3) -> dict[int, int]:
    """Sides of blocks on the border of a group at the grid's origin."""
    found = {}
    for at in product(*map(range, shape)):
        sides = 0
        for axis in range(3):
            sides |= (at[axis] == 0) << 2 * axis
            sides |= (at[axis] == shape[axis] - 1) << 2 * axis + 1
        if sides:
            found[sum(n * _step(d) for d, n in enumerate(at))] = sides
    return found


# ------------------------------------------------------------------ measuring
_LIBC = ctypes.CDLL(None)
_M_MMAP_THRESHOLD = -3  # malloc.h


def _give_back_early() -> None:
    """Have freed arrays of 1 MiB and more leave the process, whatever was freed before."""
    _LIBC.mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _resident_bytes() -> int:
    """Without what was freed before, which new arrays would take again unseen."""
    _LIBC.malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _warm(group: Group) -> None:
    join_group(group, (1, 1, 1), outer=True)


def _measured(name: str, group: Group, shape: Vec3, *, outer: bool) -> list[Row]:
    """Rows of one join, made in a child."""

    def work() -> tuple[float, dict[str, Any]]:
        _, spent, figures = join_group(group, shape, outer=outer)
        return spent, figures

    (spent, figures), _ = forked(work)
    edges = figures["edges"]
    label = f"{name} join of {prod(shape)} x {prod(group.shape)} blocks of {group.edge}"
    return [
        row(
            f"{label}, {edges:,} edges, {figures['contacts']:,} contacts",
            spent / edges * 1e6,
            "CPU us/edge",
            most=MOST_US,
        ),
        row(
            "  at the peak, inputs included",
            figures["peak"] / edges,
            "bytes/edge",
            most=MOST_BYTES if edges > LEAST_EDGES else None,
        ),
        row("  of which inputs", figures["inputs"] / edges, "bytes/edge"),
        row(
            "  of all edges take part in the linkages",
            figures["active_edges"] / figures["graph_edges"],
            "",
        ),
        row("  merges a region", figures["merges"] / figures["regions"], ""),
    ]


def _tree() -> list[Row]:
    """Level by level; what stays open per voxel of an outer face."""
    group = one_block(TREE_EDGE)
    rows = [_open_row(group, "a block")]
    for level in range(1, LEVELS + 1):
        rows += _measured(f"level {level}:", group, (2, 2, 2), outer=True)
        joined, _, _ = join_group(group, (2, 2, 2), outer=True)
        group = group._replace(shape=vec3(2 * n for n in group.shape), residual=joined.residual)
        rows.append(_open_row(group, f"level {level}"))
    return rows


def _open_row(group: Group, what: str) -> Row:
    faces = 6 * (group.shape[0] * group.edge) ** 2
    regions, edges = group.residual.regions.block.size, group.residual.edges.u.size
    return row(
        f"  {what} leaves open, per face voxel: {regions / faces:.3f} regions, and edges",
        edges / faces,
        "",
    )
