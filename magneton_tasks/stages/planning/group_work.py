"""Between two stages: which groups the next round (or cut) works, and in which batches.

A round's groups are as large as the rows that are really there allow (`plan.rounds`): what this
reads are counts in records, no tables. The plan of a round holds for all attempts that find the
same records; batches are an attempt's own.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path

from magneton_tasks.base.grid import Ranges, ranges_len, to_ranges
from magneton_tasks.errors import NotVisibleError
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.rounds import Groups, reach_of
from magneton_tasks.plan.stage_plan import StagePlan, all_of, make_stage
from magneton_tasks.plan.stage_table import AFTER_POOL, ROUND_SLOTS, round_of
from magneton_tasks.runners import resources, this_machine
from magneton_tasks.runners.arrays import limits as limits_of_cluster
from magneton_tasks.runners.registry import scheduler_of
from magneton_tasks.stages.planning import hubs, stage_work
from magneton_tasks.stages.planning.group_rows import Int64, first_rows, sent_rows
from magneton_tasks.stages.planning.grouping import fewest_groups
from magneton_tasks.work import group_work, round_chain, round_plan
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.group_work import GroupWork
from magneton_tasks.work.left_out import failed_before
from magneton_tasks.work.packed_records import PackedRecords
from magneton_tasks.work.record import Record
from magneton_tasks.work.round_chain import Chain, Step
from magneton_tasks.work.round_plan import RoundPlan
from magneton_tasks.work.states import VolumeStates
from magneton_tasks.work.validity import pool_key

#: Rows below which a round isn't split for more workers: to start one costs as much (cost_exact).
ROWS_WORTH_A_TASK = 4_000_000
#: How often records that lag behind are looked for, in seconds.
_LOOK_S = 1.0


def prepare(attempt: Attempt, stage: str) -> StagePlan:
    """Find out what a stage that works groups has to do, and write it down for its tasks.

    Raises
    ------
    NotVisibleError
        A stage before isn't complete.
    OutputError
        Disk full, quota, I/O error.
    """
    if attempt.plan.cuts and stage in AFTER_POOL:
        return _at_each(attempt, stage)
    if not group_work.is_wanted(attempt.plan, stage):
        return StagePlan(0)
    number = round_of(stage)
    chain = _complete(attempt, number)
    found = _cut(attempt, chain) if number is None else _round(attempt, chain, number)
    if found is None:
        return StagePlan(0)
    before = group_work.known(attempt.paths, stage)
    if before is not None and before.plan == found.plan:
        return before.work  # jobs of these batches may be at work
    group_work.write(attempt.paths, stage, found)
    return found.work


def _at_each(attempt: Attempt, stage: str) -> StagePlan:
    """As `prepare`, of several thresholds; one that has failed before has nothing to do."""
    found = []
    for each in attempt.each():
        work = StagePlan(0)
        if failed_before(each, stage) is None:
            work = prepare(each, stage)
        if not work.batches:  # tasks look for it, and find that there is nothing
            group_work.write(each.paths, stage, GroupWork("", work, Memory(0, 0)))
        found.append(group_work.read(each.paths, stage, attempt.wait_s))
    bounds = [one.memory.bound for one in found]
    memory = Memory(max(bounds), max(bounds))
    work = all_of([one.work for one in found])
    group_work.write(attempt.paths, stage, GroupWork(found[0].plan, work, memory))
    return work


def _complete(attempt: Attempt, number: int | None) -> Chain:
    """The rounds, waited for: what other machines have just recorded may not be visible yet."""
    until = time.monotonic() + attempt.wait_s
    while True:
        chain = VolumeStates(attempt, alive=True).chain
        is_known = number is not None and number < len(chain.steps)
        if is_known or chain.end or chain.next_read or time.monotonic() >= until:
            return chain
        time.sleep(_LOOK_S)


def _batches(attempt: Attempt, stage: str, total: int, todo: Ranges, cpu_s: float) -> StagePlan:
    """Batches for the attempt's workers; on a cluster job arrays."""
    plan = attempt.plan
    work = make_stage(total, todo, cpu_s, plan.workers, by_block=plan.by_block)
    scheduler, limits = scheduler_of(attempt.config), limits_of_cluster.read(attempt.paths.root)
    if scheduler is None or limits is None:
        return work
    return stage_work.as_arrays(stage, work, scheduler, limits)


# ------------------------------------------------------------------ rounds
def _round(attempt: Attempt, chain: Chain, number: int) -> GroupWork | None:
    """None: the rounds before have closed everything."""
    if chain.end is not None and number >= len(chain.steps):
        return None
    step = next_step(attempt, chain, number)
    is_open = chain.end is None or not chain.has_names  # or again, for whoever reads the names
    left = step.left(reads_sent=is_open)
    if number == ROUND_SLOTS - 1 and is_open:  # goes on with the rounds after it
        left = left or round_chain.groups_of(step.plan)
    total = ranges_len(step.plan.todo)
    share = len(left) / max(total, 1)
    cpu_s = share * step.plan.all_rows * cost_exact.ROUND_S_PER_ROW
    todo = to_ranges(left)
    if number == ROUND_SLOTS - 1:
        work = StagePlan(total, todo, min(len(left), 1), cpu_s)
    else:
        work = _batches(attempt, f"round{number}", total, todo, cpu_s)
    names = most_names(attempt.require_round(chain.steps[number - 1].plan)) if number else 0
    bound = cost_exact.round_bytes(step.plan.most_rows, names)
    return GroupWork(step.plan.digest, work, Memory(bound, bound))


def next_step(attempt: Attempt, chain: Chain, number: int) -> Step:
    """A round that is planned, or the one that follows, which gets a plan here.

    Raises
    ------
    NotVisibleError
        The round before isn't complete.
    """
    if number < len(chain.steps):
        return chain.steps[number]
    if number > len(chain.steps) or chain.next_read is None:
        before = "faces" if number == 0 else f"round{number - 1}"
        raise NotVisibleError(
            f"round{number} can't be planned: {before} isn't complete",
            f"run {before} again (in Airflow: clear the task plan), then this stage",
        )
    plan = _first(attempt, chain) if number == 0 else _later(attempt, chain)
    return Step(plan, frozenset(), frozenset())


def _first(attempt: Attempt, chain: Chain) -> RoundPlan:
    """Round 0: groups of blocks whose rows, with those of their faces, are known."""
    grid = attempt.plan.geometry.grid
    blocks = _valid(attempt, "segment")
    reach = reach_of(attempt.exact_settings)
    rows_of = first_rows(grid, reach, blocks, _valid(attempt, "faces"))
    single = Groups.of_span(grid.shape, (1, 1, 1))
    budget = budget_of(attempt, int(rows_of(single).sum()))
    groups = fewest_groups(single, rows_of, budget)
    active = {
        groups.group_of(k) for k, r in blocks.items() if r.info.get("rows", {}).get("regions")
    }
    return _made(attempt, chain, groups, groups, active, rows_of(groups), budget)


def _later(attempt: Attempt, chain: Chain) -> RoundPlan:
    """A later round: as large as what was sent to each fine group allows."""
    before = chain.steps[-1].plan
    sent: dict[int, int] = {}
    records = attempt.require_round(before)
    for record in records.values():
        for to, (nodes, half) in record.info.get("sent", {}).items():
            sent[int(to)] = sent.get(int(to), 0) + nodes + half
    names = most_names(records)
    hubs.refuse(attempt, f"round{len(chain.steps)}", records.values(), names)
    budget = budget_of(attempt, sum(sent.values()), names)
    fine = before.fine
    rows_of = sent_rows(fine, sent)
    groups = fewest_groups(fine, rows_of, budget)
    found = {groups.group_of(fine.blocks_of(group)[0]) for group in sent}
    return _made(attempt, chain, groups, fine, found, rows_of(groups), budget)


def _made(
    attempt: Attempt,
    chain: Chain,
    groups: Groups,
    fine: Groups,
    active: Iterable[int],
    rows: Int64,
    budget: int,
) -> RoundPlan:
    assert chain.next_read is not None
    plan = RoundPlan(
        round=len(chain.steps),
        groups=groups,
        fine=fine,
        todo=to_ranges(sorted(active)),
        budget=budget,
        most_rows=int(rows.max()),
        all_rows=int(rows.sum()),
        read=chain.next_read,
        before=chain.before,
    )
    return round_plan.make(rounds_dir(attempt), plan)


def budget_of(attempt: Attempt, all_rows: int, names: int = 0) -> int:
    """Rows that a task may hold: as memory allows, and few enough that all workers have some.

    ``names``: rows of the largest table of names that it opens.
    """
    shared = max(all_rows // attempt.plan.workers + 1, ROWS_WORTH_A_TASK)
    return min(cost_exact.round_rows(_given(attempt), names), shared)


def _given(attempt: Attempt) -> int:
    """Bytes that a task may take."""
    given = attempt.config.worker.memory
    if given is None:
        usable = int(this_machine.memory_bytes() * resources.USABLE)
        # More than a core's share only as far as other stages may have it too: what shares out a
        # machine among many runs, as Airflow's pool does, counts on that.
        at_once = max(attempt.plan.workers, this_machine.cores())
        given = max(usable // at_once, attempt.plan.memory_limit)
    return given


def most_names(records: Mapping[int, Record]) -> int:
    """Rows of the largest table of names that a round's groups left."""
    return max((record.info["n"] for record in records.values()), default=0)


# ------------------------------------------------------------------ cut
def _cut(attempt: Attempt, chain: Chain) -> GroupWork | None:
    if chain.end is None:
        raise NotVisibleError(
            "cut can't be planned: the rounds aren't complete",
            "run them again (in Airflow: clear the task plan), then this stage",
        )
    groups = chain.steps[0].plan.groups
    total = len(groups)
    pool = attempt.require("pool", {0})[0]
    done = {
        key
        for key, state in attempt.manifest("cut").read().items()
        if state.is_valid and state.pool == pool_key(pool) and attempt.accepts("cut", state.valid)
    }
    todo = to_ranges(key for key in range(total) if key not in done)
    share = ranges_len(todo) / max(total, 1)
    cpu_s = share * attempt.plan.geometry.box.voxels * cost_exact.CUT_S_PER_VOXEL
    work = _batches(attempt, "cut", total, todo, cpu_s)
    bound = _cut_bytes(attempt, chain, groups)
    return GroupWork(chain.before, work, Memory(bound, bound))


def _cut_bytes(attempt: Attempt, chain: Chain, groups: Groups) -> int:
    """Of the largest group, and of those that are cut together."""
    n = array("q", (record.info.get("n", 0) for record in _valid(attempt, "segment").values()))
    first, *later = (attempt.require_round(step.plan) for step in chain.steps)
    names = max(map(most_names, (first, *later)))
    largest = all_held = most_held = 0
    for group in range(len(groups)):
        supervoxels = sum(n[block] for block in groups.blocks_of(group))
        sent = first[group].info["sends"] if group in first else 0
        held = cost_exact.cut_held_bytes(supervoxels, sent)
        largest, most_held = max(largest, supervoxels), max(most_held, held)
        all_held += held
    room = cost_exact.cut_together_bytes(_given(attempt), largest, names)
    return cost_exact.cut_bytes(largest, max(most_held, min(all_held, room)), names)


# ------------------------------------------------------------------ records
def rounds_dir(attempt: Attempt) -> Path:
    """Where all rounds lie."""
    return attempt.work.rounds(attempt.plan.fingerprints.rounds)


def _valid(attempt: Attempt, stage: str) -> PackedRecords:
    return attempt.require(stage, range(len(attempt.plan.geometry.grid)))
