"""Faces, rounds and cuts in memory, cut into blocks and groups in any way: the stages without files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.map_threshold import ThresholdSums
from magneton_tasks.kernels.exact.rounds.block import BlockSupervoxels, segment_supervoxels
from magneton_tasks.kernels.exact.rounds.blocks_table import Blocks
from magneton_tasks.kernels.exact.rounds.curve import Curve, sums_of_contacts
from magneton_tasks.kernels.exact.rounds.curve_rows import added_up
from magneton_tasks.kernels.exact.rounds.cut import Group, cut_blocks
from magneton_tasks.kernels.exact.rounds.face_step import BlockParts, decide_face, parts_of
from magneton_tasks.kernels.exact.rounds.finish import RoundResult
from magneton_tasks.kernels.exact.rounds.places import ONE, PartSums, Places
from magneton_tasks.kernels.exact.rounds.round_step import first_round, later_round
from magneton_tasks.kernels.exact.rounds.tables import (
    FaceTables,
    HalfEdges,
    Int64,
    Nodes,
    stack,
    take,
)
from tests.helpers.exact.whole import Affinity, Cuts, Grid, blocks_and_planes, masked

Face = tuple[int, int]
"""The block on the low side, and the axis."""
Span = Vec3 | int
"""Blocks per axis of each group; or boxes of any lengths, others in each round, drawn by this seed."""
Spans = Sequence[Span]


class Layout:
    """Which blocks, faces and groups there are."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.positions = np.array(grid.positions())
        self.shape = np.array(grid.shape)
        self._strides = np.append(np.cumprod(self.shape[:0:-1])[::-1], 1)

    def groups(self, span: Span, number: int = 0) -> Int64:
        """The group of each block, in a round."""
        if isinstance(span, int):
            random = np.random.default_rng((span, number))
            begins = [random.random(n) < random.random() for n in self.shape]
            of_axis = [np.cumsum(b)[at] for b, at in zip(begins, self.positions.T, strict=True)]
            return np.asarray(np.ravel_multi_index(of_axis, self.shape + 1))
        counts = -(-self.shape // span)
        return np.asarray(np.ravel_multi_index((self.positions // span).T, counts))

    def block(self, position: npt.NDArray[np.int64]) -> int:
        return int(position @ self._strides)

    def behind(self, face: Face) -> int:
        block, axis = face
        return self.block(self.positions[block] + (np.arange(3) == axis))

    def faces(self, blocks: Sequence[int]) -> list[Face]:
        """All inner faces of some blocks."""
        found = set()
        for block, axis in product(blocks, range(3)):
            position = self.positions[block]
            if position[axis] + 1 < self.shape[axis]:
                found.add((int(block), axis))
            if position[axis] > 0:
                found.add((self.block(position - (np.arange(3) == axis)), axis))
        return sorted(found)

    def within(self, blocks: Sequence[int], voxels: int) -> list[int]:
        """Blocks within so many voxels of the box around some."""
        low, high = self.positions[blocks].min(axis=0), self.positions[blocks].max(axis=0)
        ranges = []
        for axis, cuts in enumerate(self.grid.cuts):
            begin, end = cuts[low[axis]] - voxels, cuts[high[axis] + 1] + voxels
            ranges.append(
                [i for i in range(len(cuts) - 1) if cuts[i + 1] > begin and cuts[i] < end]
            )
        return [self.block(np.array(p)) for p in product(*ranges)]


@dataclass
class Run:
    """A run: what its tasks left."""

    layout: Layout
    blocks: list[BlockSupervoxels]
    places: Places = ONE
    faces: dict[Face, FaceTables] = field(default_factory=dict)
    groups: list[Int64] = field(default_factory=list)
    """Of each round: the group of each block."""
    rounds: list[dict[int, RoundResult]] = field(default_factory=list)

    def cut(self, score: int, span: Vec3 = (1, 1, 1)) -> npt.NDArray[np.int64]:
        """The volume at a threshold, cut by groups of some blocks."""
        return self.cut_and_sizes(score, span)[0]

    def cut_and_sizes(
        self, score: int, span: Vec3 = (1, 1, 1)
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of each voxel its object, and the voxels of that."""
        out, voxels = np.zeros((2, *self.layout.grid.volume), np.int64)
        rounds = [
            Group(groups.__getitem__, lambda task, tasks=tasks: tasks[task].names)  # type: ignore[misc]
            for groups, tasks in zip(self.groups, self.rounds, strict=True)
        ]
        cells = self.layout.groups(span)
        for cell in np.unique(cells):
            numbers = np.flatnonzero(cells == cell)
            blocks = [
                (
                    int(n),
                    self.blocks[n].supervoxels,
                    self.blocks[n].sizes,
                    self.blocks[n].regions.name.size,
                )
                for n in numbers
            ]
            for number, found in zip(numbers, cut_blocks(blocks, rounds, score), strict=True):
                core = self.layout.grid.core(vec3(self.layout.positions[number]))
                out[core.slices()] = found.objects[self.blocks[number].labels]
                voxels[core.slices()] = found.voxels[self.blocks[number].labels]
        return out, voxels


def run_rounds(
    affinity: Affinity,
    cuts: Cuts,
    settings: ExactSettings,
    first_span: Span = (2, 2, 2),
    later_spans: Spans = ((4, 4, 4), (1 << 20,) * 3),
    places: Places = ONE,
) -> Run:
    """Segment a volume; the last of ``later_spans`` holds for all rounds that follow."""
    run = run_blocks(affinity, cuts, settings, places)
    return with_rounds(run, settings, first_span, later_spans)


def run_blocks(
    affinity: Affinity, cuts: Cuts, settings: ExactSettings, places: Places = ONE
) -> Run:
    """Segment the blocks of a volume, and work their faces."""
    layout = Layout(Grid(cuts))
    blocks = [
        segment_supervoxels(inside, high, place, settings)
        for inside, high, place in blocks_and_planes(affinity, layout.grid)
    ]
    run = Run(layout, blocks, places)
    run.faces = _faces(run, settings)
    return run


def with_rounds(run: Run, settings: ExactSettings, first_span: Span, later_spans: Spans) -> Run:
    """Go on from blocks and faces, which stay as they are; as `run_rounds`."""
    run = Run(run.layout, run.blocks, run.places, run.faces)
    run.groups.append(run.layout.groups(first_span))
    run.rounds.append(_first_round(run, settings))
    while any(result.nodes.name.size for result in run.rounds[-1].values()):
        span = later_spans[min(len(run.rounds), len(later_spans)) - 1]
        run.groups.append(run.layout.groups(span, len(run.rounds)))
        run.rounds.append(_later_round(run, settings))
        assert len(run.rounds) < 200
    return run


def segment_whole(
    affinity: Affinity,
    cuts: Cuts,
    settings: ExactSettings,
    spans: Spans = ((1 << 20,) * 3,),
    mask: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """Segment a volume block by block, at the settings' threshold.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x).
    spans
        Blocks per axis of the groups of each round; the last one holds for all that follow.
    mask
        bool (z, y, x), False: not to be segmented.
    """
    return next(segmentations(masked(affinity, mask), cuts, settings, [spans]))


def segmentations(
    affinity: Affinity, cuts: Cuts, settings: ExactSettings, ways: Sequence[Spans]
) -> Iterator[npt.NDArray[np.int64]]:
    """What comes of the same blocks, whichever their groups are; ``ways`` as ``spans`` above."""
    blocks = run_blocks(affinity, cuts, settings)
    for spans in ways:
        run = with_rounds(blocks, settings, spans[0], spans[1:] or spans)
        yield run.cut(least_score(settings.threshold))


def _faces(run: Run, settings: ExactSettings) -> dict[Face, FaceTables]:
    parts = [
        parts_of(number, block.residual, block.regions.size)
        for number, block in enumerate(run.blocks)
    ]
    return {
        face: _face(run, parts, face, settings) for face in run.layout.faces(range(len(run.blocks)))
    }


def _face(run: Run, parts: Sequence[BlockParts], face: Face, settings: ExactSettings) -> FaceTables:
    low, axis = face
    high = run.layout.behind(face)
    grid = run.layout.grid
    contacts = face_contacts(
        run.blocks[low].faces[axis, 1],
        run.blocks[high].faces[axis, 0],
        axis,
        (low, high),
        grid.place(high).origin,
        grid.volume,
        settings,
    )
    return decide_face(parts[low], parts[high], axis, contacts, settings)


def _first_round(run: Run, settings: ExactSettings) -> dict[int, RoundResult]:
    found = {}
    for group in np.unique(run.groups[0]):
        numbers = np.flatnonzero(run.groups[0] == group)
        within = run.layout.within(numbers.tolist(), max(settings.s_min - 1, 1))
        own = [run.faces[face] for face in run.layout.faces(numbers.tolist())]
        near = [run.faces[face] for face in run.layout.faces(within)]
        room = sum(f.contacts.a.size for f in own) + sum(f.crossings.a.size for f in near)
        blocks = _stacked(run, numbers, room)
        found[int(group)] = first_round(blocks, numbers, own, near, settings, run.places)
    return found


def _stacked(run: Run, numbers: Int64, room: int) -> Blocks:
    blocks = [run.blocks[n] for n in numbers]
    return Blocks.of(
        [(b.regions, b.residual.edges, b.residual.basins.region) for b in blocks],
        sum(b.regions.name.size for b in blocks),
        sum(b.residual.edges.u.size for b in blocks),
        room,
    )


def _later_round(run: Run, settings: ExactSettings) -> dict[int, RoundResult]:
    groups, before = run.groups[-1], run.rounds[-1]
    inbox: dict[int, list[tuple[Nodes, HalfEdges]]] = {}
    for result in before.values():
        to_nodes, to_half = groups[result.nodes.at], groups[result.half_at]
        for group in np.unique(to_nodes):
            inbox.setdefault(int(group), []).append(
                (take(result.nodes, to_nodes == group), take(result.half, to_half == group))
            )
    return {
        group: later_round(
            stack([nodes for nodes, _ in sent]),
            stack([half for _, half in sent]),
            run.groups[-2].__getitem__,
            lambda task: before[task].names,
            int(np.flatnonzero(groups == group)[0]),
            settings,
            run.places,
        )
        for group, sent in sorted(inbox.items())
    }


def curve_of(run: Run) -> Curve:
    """What all tasks add up to."""
    results = [result.curve for tasks in run.rounds for result in tasks.values()]
    return added_up([*(curve for _, curve in _curves_of_blocks(run)), *results])


def parts_of_map(run: Run) -> list[ThresholdSums]:
    """What all tasks add up to, over each part of the volume."""
    sums = PartSums(run.places)
    for block, curve in _curves_of_blocks(run):
        sums.add_block(block, curve.rule)
    for tasks in run.rounds:
        for result in tasks.values():
            sums.add_rows(result.places)
    return sums.sums()


def _curves_of_blocks(run: Run) -> Iterator[tuple[int, Curve]]:
    """Of blocks, and of the faces behind them."""
    for number, block in enumerate(run.blocks):
        yield number, block.curve
    for (number, _), face in run.faces.items():
        between = int(face.contacts.sum.sum()), int(face.contacts.count.sum())
        yield number, sums_of_contacts(between, between)
