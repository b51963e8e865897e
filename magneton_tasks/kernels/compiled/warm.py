"""Call every compiled kernel once, with arrays of each type that it meets in a run.

numba compiles a function for the types of its arguments: dtype, dimensions, memory order, and
whether an array may be written to. So one call a type is enough, however small the arrays are.
`magneton warm` keeps what this compiles (see ``magneton_tasks.kernels.compiled.cache``).

A new kernel gets its call here, in the function of its room. Whoever forgets it is told: a process
that compiles something although the cache is warm says so, and so do the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import ExactSettings, Rule, SegmentSettings, Supervoxels
from magneton_tasks.kernels import byte_planes
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.kernels.cseg import encode
from magneton_tasks.kernels.downsample import mode_pool
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import segment_block_exact
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.exact_sweep import exact_segmentations
from magneton_tasks.kernels.exact.rounds.block import BlockSupervoxels, segment_supervoxels
from magneton_tasks.kernels.exact.rounds.blocks_table import Blocks
from magneton_tasks.kernels.exact.rounds.cut import Group, cut_blocks
from magneton_tasks.kernels.exact.rounds.face_step import decide_face, parts_of
from magneton_tasks.kernels.exact.rounds.finish import RoundResult
from magneton_tasks.kernels.exact.rounds.name_table import number_names, numbers_of
from magneton_tasks.kernels.exact.rounds.places import Places
from magneton_tasks.kernels.exact.rounds.round_step import first_round, later_round
from magneton_tasks.kernels.exact.rounds.supervoxels import describe
from magneton_tasks.kernels.exact.rounds.tables import FaceTables, stack
from magneton_tasks.kernels.exact.threshold_sums import threshold_sums
from magneton_tasks.kernels.global_ids import Pooling
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.measure import Measured
from magneton_tasks.kernels.mesh.levels import Levels
from magneton_tasks.kernels.overlap.density import graph_density
from magneton_tasks.kernels.overlap.grid_sweep import cut_block, score_blocks
from magneton_tasks.kernels.overlap.overlap import count_overlaps
from magneton_tasks.kernels.overlap.pool_rules import MATCH_COLUMNS, match
from magneton_tasks.kernels.overlap.segment import segment_block
from magneton_tasks.kernels.overlap.sweep import sweep
from magneton_tasks.kernels.relabel import relabel_into, table_of_ids

Arrays = NDArray[Any]

#: Voxels along each axis of the arrays.
_SIDE = 6


def compile_all() -> None:
    """Call all rooms."""
    for room in ROOMS:
        room()


def overlap_method() -> None:
    """Segment a block with each kind of supervoxels, with a mask and without."""
    affinity = (_affinity() / 255).astype(np.float32)
    mask = np.ones(affinity.shape[1:], np.bool_)
    for supervoxels in get_args(Supervoxels):
        settings = SegmentSettings(0.5, "mean", supervoxels, min_distance=1)
        labels, count = segment_block(affinity.copy(), settings, mask)
        label_sizes(labels, (slice(None),) * 3, count)
        graph_density(affinity, settings)
    with suppress(BadAffinityError):
        segment_block(2 * affinity, settings)  # where it is wrong is found by a kernel
    list(sweep(affinity, settings, [0.9, 0.5]))
    thresholds, one = (
        [0.9, 0.5],
        Grid.of_cells(Box.of_shape(vec3(labels.shape)), vec3(labels.shape)),
    )
    score_blocks(one, [cut_block(affinity, settings, thresholds)], thresholds, labels, Rule())


def counting() -> None:
    """Count where two blocks overlap."""
    labels = _labels()
    sizes = np.bincount(labels.ravel())[1:].astype(np.uint32)
    count_overlaps(labels, labels, sizes, sizes)


def pooling() -> None:
    """Match the pairs of two blocks, and give the labels their ids."""
    one = np.ones(1, np.uint32)
    match(dict.fromkeys(MATCH_COLUMNS, one), Rule("mutual"))
    joining = Pooling(np.array([1, 1]))
    joining.add(one - 1, one, one, one)
    pool = joining.finish()
    for block, sizes in enumerate((one, _read_only(one))):
        pool.add_sizes(block, sizes)
    pool.report(2)


def writing() -> None:
    """Relabel blocks into a cell of the output, all of it or a part, make its mips, encode them."""
    labels = _labels()
    table, luts = table_of_ids({0: np.arange(_SIDE**3, dtype=np.uint64)})
    out = np.zeros(labels.shape, np.uint32)
    for given, target in product(_whole_and_part(labels), _whole_and_part(out)):
        relabel_into(target, given, luts[0])
    encode(mode_pool(out, (1, 1, 1)), Box.of_shape(vec3(out.shape)), table)
    mode_pool(table[out], (2, 2, 2))
    for edge in (1, 1 << 16):
        Measured(table, Box.of_shape((1, 1, edge))).add(out, (0, 0, 0))


#: A part a block.
_PLACES = Places(
    (2, 1, 1), (np.arange(2, dtype=np.uint8), np.zeros(1, np.uint8), np.zeros(1, np.uint8))
)


def exact_method() -> None:
    """Segment two blocks, work the face between them, two rounds, and cut."""
    settings = ExactSettings(0.5, s2=20, s_min=3)
    volume = (2 * _SIDE, _SIDE, _SIDE)
    places = [_exact_place(i, volume) for i in range(2)]
    planes = tuple(_affinity()[axis, 0] for axis in range(3))
    blocks = [segment_supervoxels(_affinity(), planes, place, settings) for place in places]
    segment_block_exact(_affinity(), planes, places[0], settings)
    for block, place in zip(blocks, places, strict=True):
        describe(block.supervoxels, block.sizes, block.labels, place.inner)
    low, high = (block.faces for block in blocks)
    contacts = face_contacts(low[0, 1], high[0, 0], 0, (0, 1), (_SIDE, 0, 0), volume, settings)
    parts = [parts_of(i, block.residual, block.regions.size) for i, block in enumerate(blocks)]
    face = decide_face(parts[0], parts[1], 0, contacts, settings)
    _rounds(blocks, face, settings)
    list(exact_segmentations(_affinity(), settings, [0.9, 0.5]))
    threshold_sums(_affinity(), settings)


def _rounds(blocks: list[BlockSupervoxels], face: FaceTables, settings: ExactSettings) -> None:
    """Two groups of a block each, then one of both; then a cut."""
    first = [_first_round(i, block, face, settings) for i, block in enumerate(blocks)]
    sent = stack([r.nodes for r in first]), stack([r.half for r in first])
    last = later_round(*sent, lambda at: at, lambda task: first[task].names, 0, settings, _PLACES)
    numbers_of(number_names(blocks[0].regions.name), blocks[0].regions.name)
    tables = [(i, b.supervoxels, b.sizes, b.regions.name.size) for i, b in enumerate(blocks)]
    groups = [
        Group(lambda at: at, lambda task: first[task].names),
        Group(np.zeros_like, lambda _: last.names),
    ]
    cut_blocks(tables, groups, 0)


def _first_round(
    number: int, block: BlockSupervoxels, face: FaceTables, settings: ExactSettings
) -> RoundResult:
    residual = block.residual
    rows = [(block.regions, residual.edges, residual.basins.region)]
    room = face.contacts.a.size + face.crossings.a.size
    group = Blocks.of(rows, block.regions.name.size, residual.edges.u.size, room)
    return first_round(group, np.array([number]), [face], [face], settings, _PLACES)


def storing() -> None:
    """Columns of each width as byte planes, and back."""
    for dtype in (np.uint8, np.uint32, np.int64):
        values = np.ones(1, dtype)
        base, size, steps = byte_planes.measure(values)
        planes = np.zeros((size, 1), np.uint8)
        byte_planes.split(values, int(base), bool(steps), planes)
        byte_planes.merge(_read_only(planes), int(base), bool(steps), values)


def meshing() -> None:
    """Surfaces in a node, with fewer triangles."""
    levels = Levels((_SIDE - 1,) * 3, (1.0, 1.0, 1.0), (0.1, 0.3))
    labels = _labels() // 20
    finest = levels.finest(labels, np.ones(labels.max() + 1, np.bool_), (0, 0, 0), (False,) * 3)
    levels.unit(finest, (False,) * 3)


ROOMS: tuple[Callable[[], None], ...] = (
    overlap_method,
    counting,
    pooling,
    writing,
    storing,
    exact_method,
    meshing,
)


def _affinity() -> NDArray[np.uint8]:
    """Noise, (3, z, y, x): everything that may happen does."""
    return np.random.default_rng(0).integers(0, 256, (3, _SIDE, _SIDE, _SIDE), np.uint8)


def _labels() -> NDArray[np.uint32]:
    return np.arange(_SIDE**3, dtype=np.uint32).reshape(_SIDE, _SIDE, _SIDE)


def _whole_and_part(array: Arrays) -> tuple[Arrays, Arrays]:
    """Two arrays of one shape: a contiguous one, and one that lies in a larger one."""
    part = array[:, :, 1:]
    return np.ascontiguousarray(part), part


def _read_only(array: Arrays) -> Arrays:
    """As parquet gives columns."""
    view = array.view()
    view.flags.writeable = False
    return view


def _exact_place(index: int, volume: Vec3) -> Place:
    """Of the lower or the upper of two blocks."""
    inner = ((index == 1, index == 0), (False, False), (False, False))
    return Place(index, (index * _SIDE, 0, 0), volume, inner)
