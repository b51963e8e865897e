"""Which blocks the exact method joins with which: from projected memory; pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from magneton_tasks import exact_projection as projection
from magneton_tasks import units
from magneton_tasks.errors import ConfigError
from magneton_tasks.exact_projection import FaceDensity
from magneton_tasks.geometry import Vec3, vec3
from magneton_tasks.grid import Grid
from magneton_tasks.join_tree import MAX_LEVELS, JoinTree
from magneton_tasks.memory import Memory

#: Up to so many blocks are joined at once where memory allows: more levels only cost time.
FLAT_BLOCKS = 64
#: Groups that one join takes, per axis: the largest that fits.
FAN_INS = (4, 3, 2)


@dataclass(frozen=True, slots=True)
class JoinCost:
    """What the largest join of a level takes.

    ``edges``: of all joins of the level together.
    """

    memory: Memory
    edges: float


def choose_tree(grid: Grid, mean: FaceDensity, densest: FaceDensity, limit: int) -> JoinTree:
    """The tree with the fewest levels whose every join's bound fits ``limit`` (bytes).

    Parameters
    ----------
    mean, densest
        Over the sample boxes, and of the densest one.

    Raises
    ------
    ConfigError
        Some join doesn't fit whatever the tree, or there would be more levels than slots.
    """
    flat = JoinTree.flat(grid.shape)
    if len(grid) <= FLAT_BLOCKS and join_cost(grid, flat, 1, mean, densest).memory.bound <= limit:
        return flat
    fan_in: list[Vec3] = []
    shape = grid.shape
    while not fan_in or shape != (1, 1, 1):
        level = len(fan_in) + 1
        if level > MAX_LEVELS:
            raise ConfigError(
                f"joining {len(grid):,} blocks in {units.human_bytes(limit)} a worker takes more than {MAX_LEVELS} levels",
                "take larger blocks (block.size), or raise the runner's memory, so that more fit into one join",
            )
        step = _largest_fan_in(grid, fan_in, shape, mean, densest, limit)
        fan_in.append(step)
        shape = vec3(-(-n // f) for n, f in zip(shape, step, strict=True))
    return JoinTree(grid.shape, tuple(fan_in))


def _largest_fan_in(
    grid: Grid, below: list[Vec3], shape: Vec3, mean: FaceDensity, densest: FaceDensity, limit: int
) -> Vec3:
    level, need = len(below) + 1, 0
    for n in FAN_INS:
        step = vec3(min(n, s) for s in shape)
        rest = vec3(-(-s // f) for s, f in zip(shape, step, strict=True))
        levels = (*below, step) if rest == (1, 1, 1) else (*below, step, rest)
        need = join_cost(grid, JoinTree(grid.shape, levels), level, mean, densest).memory.bound
        if need <= limit:
            return step
    raise ConfigError(
        f"join level {level} may need {units.human_bytes(need)} a worker, more than {units.human_bytes(limit)}, even with 2 x 2 x 2 groups a join",
        "raise the runner's memory, lower segment.threshold (fewer regions stay open), or raise exact.s2; smaller blocks don't help at the upper levels",
    )


def join_cost(
    grid: Grid, tree: JoinTree, level: int, mean: FaceDensity, densest: FaceDensity
) -> JoinCost:
    """Projected memory of the largest join of a level, and the edges of all of its joins."""
    bound = expected = edges = 0.0
    for group in _representatives(tree, level):
        rows = _rows(grid, tree, level, group, mean)
        most = _rows(grid, tree, level, group, densest)
        expected = max(expected, projection.join_bytes(rows))
        # Many faces together are closer to the mean than one block is.
        spread = {k: projection.JOIN_SPREAD * (n + most[k]) / 2 for k, n in rows.items()}
        bound = max(bound, projection.join_bytes(spread))
        edges = max(edges, rows["edges"])
    return JoinCost(Memory(int(bound), int(expected)), edges * tree.groups(level))


def _representatives(tree: JoinTree, level: int) -> list[int]:
    """The first, a middle and the last group of a level: the middle one has most faces."""
    n, shape = tree.groups(level), tree.shape(level)
    middle = ((shape[0] // 2) * shape[1] + shape[1] // 2) * shape[2] + shape[2] // 2
    return sorted({0, middle, n - 1})


def _rows(
    grid: Grid, tree: JoinTree, level: int, group: int, density: FaceDensity
) -> dict[str, float]:
    """Rows of each table that a join reads."""
    rows = dict.fromkeys(("regions", "edges", "basins", "pairs", "contacts"), 0.0)
    open_voxels = 0
    for child in tree.children(level, group):
        begin, end = tree.extent(level - 1, child)
        sides = vec3(c[e] - c[b] for c, b, e in zip(grid.cuts, begin, end, strict=True))
        scaled = density.scaled(projection.growth(prod(sides) ** (1 / 3)))
        faces = _outer_voxels(grid, begin, end)
        for table in ("regions", "edges", "basins", "pairs"):
            rows[table] += getattr(scaled, table) * faces
        open_voxels += faces
    begin, end = tree.extent(level, group)
    outer = _outer_voxels(grid, begin, end)
    rows["contacts"] = density.contacts * (open_voxels - outer) / 2
    return rows


def _outer_voxels(grid: Grid, begin: Vec3, end: Vec3) -> int:
    """Voxels of the faces of blocks ``begin`` to ``end`` that have a neighbour behind them."""
    sides = vec3(c[e] - c[b] for c, b, e in zip(grid.cuts, begin, end, strict=True))
    total = 0
    for axis in range(3):
        behind = (begin[axis] > 0) + (end[axis] < grid.shape[axis])
        total += behind * prod(sides) // sides[axis]
    return total
