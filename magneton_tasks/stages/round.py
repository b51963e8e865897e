"""Stages round0, round1, ... of the exact method: merge what a group of blocks holds, send the rest on.

Round 0 begins with blocks and faces, each later one with what the round before sent. Which groups
there are stands in the round's plan; a task finds all that it reads by that alone.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from magneton_tasks.base.heap import give_back_early
from magneton_tasks.base.units import several
from magneton_tasks.kernels.exact.rounds.curve_rows import CurveRows, to_rows
from magneton_tasks.kernels.exact.rounds.finish import RoundResult
from magneton_tasks.kernels.exact.rounds.look_up import locate
from magneton_tasks.kernels.exact.rounds.places import PlaceRows, Places
from magneton_tasks.kernels.exact.rounds.round_step import first_round, later_round
from magneton_tasks.kernels.exact.rounds.tables import (
    HalfEdges,
    Int64,
    Names,
    Nodes,
    blocks_of,
)
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.rounds import blocks_within, reach_of
from magneton_tasks.plan.stage_table import ROUND_SLOTS, round_of
from magneton_tasks.runners.memory_advice import require_memory
from magneton_tasks.stages.loop import Batch
from magneton_tasks.stages.open_blocks import OpenBlocks
from magneton_tasks.stages.planning import group_work as planning
from magneton_tasks.stages.planning.group_rows import SentRows
from magneton_tasks.stages.planning.group_work import most_names
from magneton_tasks.stages.slicing import (
    Made,
    Rows,
    SliceReader,
    digest_of,
    groups_of,
    into_slices,
)
from magneton_tasks.work import group_work, round_chain, round_plan
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome

#: What a group leaves: names, which cuts need as well, and what it sends, which the next round alone
#: reads.
NAMES, SENT = "names", "sent"
KINDS = {NAMES: (Names, CurveRows, PlaceRows), SENT: (Nodes, HalfEdges)}


def run(job: Job) -> int:
    """Work one batch of groups of a round; returns the exit code.

    In the last slot there is one batch, which goes on with further rounds until nothing is open.
    """
    code = _run(job)
    number = round_of(job.stage)
    assert number is not None
    while code == 0 and number >= ROUND_SLOTS - 1:
        number += 1
        stage = f"round{number}"
        if not planning.prepare(job.attempt, stage).batches:
            break
        code = _run(Job(job.attempt, stage, check=job.check))
    return code


def _run(job: Job) -> int:
    give_back_early()
    stage = RoundStage(job.attempt, job.stage, job.keys())
    directory = job.attempt.stage_dir(job.stage)
    return Batch(job).run(
        into_slices(directory, KINDS, stage.one, lambda: stage.source), stage.expected
    )


class RoundStage:
    """Works groups, one after another."""

    def __init__(self, attempt: Attempt, stage: str, keys: list[int]) -> None:
        self.attempt, self.stage, self._keys = attempt, stage, keys
        last = group_work.read(attempt.paths, stage, attempt.wait_s).plan
        self.plans = round_plan.chain(planning.rounds_dir(attempt), last)
        self.plan = self.plans[-1]
        self.settings = attempt.exact_settings
        self.places = Places.of(attempt.plan.geometry.grid)

    @cached_property
    def source(self) -> OpenBlocks | Sent:
        """What groups are read from."""
        if len(self.plans) == 1:
            return OpenBlocks(self.attempt, {b for key in self._keys for b in self._near(key)})
        return Sent(self.attempt, self.plans[-2], self.plan)

    def expected(self, group: int) -> str:
        return round_chain.group_input(self.plan, group)

    def one(self, group: int) -> Made:
        """Work a group."""
        info = Info()
        if isinstance(self.source, OpenBlocks):
            result = self._first(self.source, group, info)
        else:
            result = self._later(self.source, group, info)
        fine = self.plan.fine
        to = groups_of(fine, result.nodes.at.astype(np.int64))
        half_to = groups_of(fine, result.half_at)
        curve = to_rows(result.curve)
        rows = [Rows(NAMES, result.names), Rows(NAMES, curve), Rows(NAMES, result.places)]
        if result.nodes.name.size:
            rows += [Rows(SENT, result.nodes, to), Rows(SENT, result.half, half_to)]
        info["rows"] = info.get("rows", {}) | {
            "regions": int(result.nodes.name.size), "edges": int(result.half.u.size),
        }  # fmt: skip
        info |= Info(
            n=int(result.names.old.size),
            merges=result.merges,
            sends=int(result.nodes.name.size),
            sent=counted(to, half_to),
        )
        if result.half.u.size:
            info["hub"] = hub_of(result)
        output = digest_of(result.names, curve, result.places, result.nodes, result.half)
        summary = f"{several(info['n'], 'region')}, {info['sends']:,} go on"
        return Made(Outcome("done", self.expected(group), output, info, summary), rows)

    def _first(self, source: OpenBlocks, group: int, info: Info) -> RoundResult:
        numbers = self.plan.groups.blocks_of(group)
        near = self._near(group)
        rows = source.rows(numbers, near)
        alone = len(self.plan.groups) == 1
        self._check_memory(cost_exact.first_rows(rows, alone=alone), group)
        faces = source.faces(numbers)
        info["faces"] = source.count_faces(numbers)
        info["rows"] = {"contacts": int(faces.contacts.a.size)}
        undecided = source.undecided(near)
        room = faces.contacts.a.size + undecided.crossings.a.size
        return first_round(
            source.blocks(numbers, room),
            np.array(numbers, np.int64),
            [faces],
            [undecided],
            self.settings,
            self.places,
        )

    def _near(self, group: int) -> list[int]:
        """Blocks whose small basins may reach into a group."""
        grid = self.attempt.plan.geometry.grid
        return blocks_within(grid, self.plan.groups, group, reach_of(self.settings))

    def _later(self, source: Sent, group: int, info: Info) -> RoundResult:
        self._check_memory(source.rows(group), group, source.most_names)
        nodes, half = source.read(group)
        fine = self.plan.fine
        to = groups_of(fine, nodes.at.astype(np.int64))
        order = np.argsort(nodes.name)
        of_half = order[locate(nodes.name[order], half.u)[0]] if half.u.size else order[:0]
        info["read"] = counted(to, to[of_half])
        return later_round(
            nodes,
            half,
            source.owner_of,
            source.names,
            self.plan.groups.blocks_of(group)[0],
            self.settings,
            self.places,
        )

    def _check_memory(self, rows: int, group: int, names: int = 0) -> None:
        what = f"group {group} of {self.stage}, of {several(rows, 'row')},"
        require_memory(self.attempt, self.stage, cost_exact.round_bytes(rows, names), what)


class Sent:
    """What the round before sent, and the names that it gave."""

    def __init__(
        self, attempt: Attempt, before: round_plan.RoundPlan, plan: round_plan.RoundPlan
    ) -> None:
        self.before, self.plan = before, plan
        stage = f"round{before.round}"
        self.records = attempt.require_round(before)
        directory = attempt.stage_dir(stage)
        self._reader = SliceReader(attempt, stage, self.records, directory)
        self._held: tuple[int, Names] | None = None
        #: rows of the largest table of names
        self.most_names = most_names(self.records)
        self._sent = SentRows.of(self.records)

    def rows(self, group: int) -> int:
        """That were sent to a group."""
        return int(self._sent.at(self._fine(group)).rows.sum())

    def read(self, group: int) -> tuple[Nodes, HalfEdges]:
        """What was sent to a group."""
        fine = self._fine(group)
        senders = np.unique(self._sent.at(fine).sender).tolist()
        nodes, half = self._reader.read(SENT, (Nodes, HalfEdges), senders, to=fine)
        return nodes, half

    def owner_of(self, blocks: Int64) -> Int64:
        """The groups of the round before that blocks were in."""
        return groups_of(self.before.groups, blocks)

    def names(self, group: int) -> Names:
        """What became of the regions of a group of the round before; one is held at a time."""
        if self._held is None or self._held[0] != group:
            self._held = None
            (found,) = self._reader.read(NAMES, (Names,), [group])
            self._held = group, found
        return self._held[1]

    def _fine(self, group: int) -> list[int]:
        """The fine groups that a group is made of."""
        found = {self.plan.fine.group_of(block) for block in self.plan.groups.blocks_of(group)}
        return sorted(found)


def hub_of(result: RoundResult) -> list[int]:
    """Half-edges of the region that has most of those sent on, its voxels, and a block of it."""
    names, counts = np.unique(result.half.u, return_counts=True)
    name = names[counts.argmax()]
    (row,) = np.flatnonzero(result.nodes.name == name)
    return [int(counts.max()), int(result.nodes.size[row]), int(blocks_of(name))]


def counted(nodes: Int64, half: Int64) -> dict[str, list[int]]:
    """Rows of both by fine group, as a record has them."""
    found: dict[str, list[int]] = {}
    for k, groups in enumerate((nodes, half)):
        for group, n in zip(*np.unique(groups, return_counts=True), strict=True):
            found.setdefault(str(group), [0, 0])[k] = int(n)
    return found
