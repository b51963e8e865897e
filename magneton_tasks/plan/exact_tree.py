"""Which blocks the exact method joins with which: from projected memory; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from magneton_tasks.base import units
from magneton_tasks.base.geometry import Vec3, ceil_div, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan import cost_exact as projection
from magneton_tasks.plan.cost_exact import FaceDensity
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.join_tree import MAX_LEVELS, JoinTree

#: Up to this many blocks are joined at once where memory allows: more levels only cost time.
FLAT_BLOCKS = 64
#: Groups that one join takes, per axis: the largest that fits.
FAN_INS = (4, 3, 2)
#: What a bound may be off from the least memory that some tree fits into, as a share.
_PRECISION = 0.02


@dataclass(frozen=True, slots=True)
class JoinCost:
    """What the largest join of a level takes.

    ``edges``: of all joins of the level together.
    """

    memory: Memory
    edges: float


def choose_tree(grid: Grid, mean: FaceDensity, densest: FaceDensity, limit: int) -> JoinTree:
    """The tree with the largest groups whose every join's bound fits ``limit`` (bytes).

    Parameters
    ----------
    mean, densest
        Over the sample boxes, and of the densest one.

    Raises
    ------
    ConfigError
        Some join doesn't fit whatever the tree, or there would be more levels than slots; names the
        memory that is needed.
    """
    found = _tree(grid, mean, densest, limit)
    if found is not None:
        return found
    need = _least_limit(grid, mean, densest, limit)
    raise ConfigError(
        f"joining {len(grid):,} blocks may need {units.human_bytes(need)} per worker, more than "
        f"{units.human_bytes(limit)}, however they are grouped"
    )


def _tree(grid: Grid, mean: FaceDensity, densest: FaceDensity, limit: int) -> JoinTree | None:
    """As `choose_tree`; None where nothing fits."""
    flat = JoinTree.flat(grid.shape)
    if len(grid) <= FLAT_BLOCKS and join_cost(grid, flat, 1, mean, densest).memory.bound <= limit:
        return flat
    fan_in: list[Vec3] = []
    shape = grid.shape
    while not fan_in or shape != (1, 1, 1):
        if len(fan_in) == MAX_LEVELS:
            return None
        step = _largest_fan_in(grid, fan_in, shape, mean, densest, limit)
        if step is None:
            return None
        fan_in.append(step)
        shape = vec3(ceil_div(n, f) for n, f in zip(shape, step, strict=True))
    return JoinTree(grid.shape, tuple(fan_in))


def _largest_fan_in(
    grid: Grid, below: list[Vec3], shape: Vec3, mean: FaceDensity, densest: FaceDensity, limit: int
) -> Vec3 | None:
    for step in _steps(shape):
        rest = vec3(ceil_div(s, f) for s, f in zip(shape, step, strict=True))
        levels = (*below, step) if rest == (1, 1, 1) else (*below, step, rest)
        tree = JoinTree(grid.shape, levels)
        if join_cost(grid, tree, len(below) + 1, mean, densest).memory.bound <= limit:
            return step
    return None


def _steps(shape: Vec3) -> Iterator[Vec3]:
    """Ways to join groups, the largest first: alike along all axes, then two along some of them."""
    found = [vec3(min(n, s) for s in shape) for n in FAN_INS]
    twos = [
        vec3(min(n, s) for n, s in zip(step, shape, strict=True))
        for step in product((2, 1), repeat=3)
    ]
    found += sorted(twos, key=prod, reverse=True)
    # one group stays one: only a volume of one block has nothing to join
    yield from (s for s in Counter(found) if s != (1, 1, 1) or shape == (1, 1, 1))


def _least_limit(grid: Grid, mean: FaceDensity, densest: FaceDensity, low: int) -> int:
    """The least memory that some tree fits into, in bytes, from ``low`` on."""
    high = 2 * low
    while _tree(grid, mean, densest, high) is None:
        low, high = high, 2 * high
    while high > low * (1 + _PRECISION):
        middle = (low + high) // 2
        if _tree(grid, mean, densest, middle) is None:
            low = middle
        else:
            high = middle
    return high


def join_cost(
    grid: Grid, tree: JoinTree, level: int, mean: FaceDensity, densest: FaceDensity
) -> JoinCost:
    """Projected memory of the largest join of a level, and the edges of all of its joins."""
    bound = expected = edges = 0.0
    for group in _representatives(tree, level):
        rows, usual = _rows(grid, tree, level, group, mean)
        _, most = _rows(grid, tree, level, group, densest)
        expected = max(expected, projection.join_bytes(rows))
        # Many faces together are closer to the mean than one block is.
        spread = {k: projection.JOIN_SPREAD * (n + most[k]) / 2 for k, n in usual.items()}
        bound = max(bound, projection.join_bytes(spread, projection.JOIN_BASE_BOUND_BYTES))
        edges = max(edges, rows.get("edges", 0.0))
    return JoinCost(Memory(int(bound), int(expected)), edges * tree.groups(level))


def _representatives(tree: JoinTree, level: int) -> list[int]:
    """The first, a middle and the last group of a level: the middle one has most faces."""
    n, shape = tree.groups(level), tree.shape(level)
    middle = ((shape[0] // 2) * shape[1] + shape[1] // 2) * shape[2] + shape[2] // 2
    return sorted({0, middle, n - 1})


def _rows(
    grid: Grid, tree: JoinTree, level: int, group: int, density: FaceDensity
) -> tuple[dict[str, float], dict[str, float]]:
    """Rows of each table that a join reads: to be expected, and at most."""
    begin, end = tree.extent(level, group)
    outer = -_outer_voxels(grid, begin, end)
    found = ({"contacts": 0.0}, {"contacts": 0.0})
    sampled = prod(min(s, projection.SAMPLED_EDGE_VOX) for s in grid.largest_core) ** (1 / 3)
    for child in tree.children(level, group):
        begin, end = tree.extent(level - 1, child)
        voxels = prod(c[e] - c[b] for c, b, e in zip(grid.cuts, begin, end, strict=True))
        faces = _outer_voxels(grid, begin, end)
        outer += faces
        for rows, growth in zip(found, projection.growth(voxels ** (1 / 3), sampled), strict=True):
            for table, n in density.rows(faces, voxels, growth).items():
                rows[table] = rows.get(table, 0.0) + n
    for rows in found:
        rows["contacts"] = density.contacts * outer / 2
    return found


def _outer_voxels(grid: Grid, begin: Vec3, end: Vec3) -> int:
    """Voxels of the faces of blocks ``begin`` to ``end`` that have a neighbour behind them."""
    sides = vec3(c[e] - c[b] for c, b, e in zip(grid.cuts, begin, end, strict=True))
    total = 0
    for axis in range(3):
        behind = (begin[axis] > 0) + (end[axis] < grid.shape[axis])
        total += behind * prod(sides) // sides[axis]
    return total
