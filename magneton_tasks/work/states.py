"""What became of each block and cell, from the records: what status, reports and block maps show.

============  =================================================================================
done, empty   a valid record of this fingerprint, of the input and the labels, pairs or pool that
              there are now
running       begun by this attempt, which is alive; the record says where and since when
failed        its newest event is a failure
stale         there is a result, but not of these settings or of what there is now (``why``)
missing       none of these
corrupt       a file of its record is damaged or gone; only `outcome.damage` tells
============  =================================================================================

Standard library and light rooms only, for Airflow's web server looks through here too; and fast:
of 10^5 blocks all done nearly all of the time goes into reading the lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from magneton_tasks.base.grid import Grid
from magneton_tasks.plan.plan import Geometry, Plan
from magneton_tasks.plan.stage_names import JOINS, MAPPED, join_level
from magneton_tasks.work.attempt import Attempt, count_input, join_input, pool_input
from magneton_tasks.work.inputs import input_digest
from magneton_tasks.work.records import KeyState, Manifest, ManifestReader, Record

Kind = Literal["done", "empty", "running", "failed", "missing", "stale", "corrupt"]

#: Why a result is stale.
OTHER_INPUT = "the input changed since"
OTHER_LABELS = "made of other labels than there are now"
OTHER_PAIRS = "made of other pairs than there are now"
OTHER_POOL = "written with another pool table than there is now"
OTHER_SETTINGS = "made with other settings"


@dataclass(frozen=True, slots=True)
class BlockState:
    """What became of one block or cell.

    Attributes
    ----------
    record
        The valid record where it is done, empty or stale; else the newest event. None where there
        is none of this fingerprint.
    why
        Of a stale one: what its result doesn't fit to.
    """

    key: int
    kind: Kind
    record: Record | None
    why: str | None = None


class Look(NamedTuple):
    """As `BlockState`, but with what the manifest knows instead of a parsed record."""

    key: int
    kind: Kind
    state: KeyState | None
    why: str | None = None

    def parsed(self) -> BlockState:
        """The same with its record."""
        if self.state is None:
            return BlockState(self.key, self.kind, None, self.why)
        settled = self.kind in ("done", "empty", "stale", "corrupt")
        record = (self.state.valid if settled else None) or self.state.last
        return BlockState(self.key, self.kind, record, self.why)


def grid_of(geometry: Geometry, stage: str) -> Grid | None:
    """The grid whose blocks or cells a stage works; None: it has one piece of work, or none."""
    return geometry.stage_grid(stage) if stage in MAPPED else None


def total_of(geometry: Geometry, stage: str) -> int:
    """How many blocks or cells a stage has; 1 for pool, 0 for a stage that isn't needed."""
    if stage == "pool":
        return 1
    grid = grid_of(geometry, stage)
    return len(grid) if grid is not None else 0


class VolumeStates:
    """The states of all stages of a volume; `refresh` reads only what was added since.

    Parameters
    ----------
    attempt
        As frozen, or as it would be planned now (`outcome.current`).
    alive
        Whether something works on the attempt's run: else what was begun is missing.
    older
        Other plans of this volume: where they have a result and ``attempt`` has none, a block is
        stale.
    output
        Why what was written doesn't count any more; None: it does.
    """

    def __init__(
        self,
        attempt: Attempt,
        *,
        alive: bool,
        older: Sequence[Plan] = (),
        output: str | None = None,
    ) -> None:
        self.attempt, self.alive, self.older, self.output = attempt, alive, older, output
        self._readers: dict[str, ManifestReader] = {}
        self._inputs: dict[int, str] = {}
        self._found: dict[str, dict[int, KeyState]] = {}
        self._judged: dict[str, dict[int, str | None]] = {}
        self._pool_input: str | None = None
        #: by level of joins: the input that each group has now (level 0: each block's count)
        self._group_inputs: dict[int, dict[int, str]] = {}

    def refresh(self, alive: bool) -> None:
        """Look again."""
        self.alive = alive
        self._found.clear()
        self._judged.clear()

    def is_blank(self, stage: str) -> bool:
        """Whether a stage has no records at all."""
        return not self._records(stage)

    def looks(self, stage: str) -> Iterator[Look]:
        """Every block or cell of a stage, ascending."""
        found, judged = self._records(stage), self._judge(stage)
        covered = _Covered(self.attempt, stage, self.older)
        for key in range(total_of(self.attempt.plan.geometry, stage)):
            state = found.get(key)
            if state is None:
                stale = covered(key)
                yield (
                    Look(key, "stale", None, OTHER_SETTINGS)
                    if stale
                    else Look(key, "missing", None)
                )
            elif key in judged and judged[key] is None:
                yield Look(key, "empty" if state.state == "empty" else "done", state)
            else:
                yield self._unsettled(key, state, judged.get(key), covered)

    def _unsettled(self, key: int, state: KeyState, why: str | None, covered: _Covered) -> Look:
        if state.last_state == "failed":
            return Look(key, "failed", state)
        if state.last_state == "started" and self.alive and self.attempt.is_ours(state.last):
            return Look(key, "running", state)
        if why is not None:
            return Look(key, "stale", state, why)
        if covered(key):
            return Look(key, "stale", None, OTHER_SETTINGS)
        return Look(key, "missing", state)

    def _records(self, stage: str) -> dict[int, KeyState]:
        if stage not in self._found:
            reader = self._readers.get(stage)
            if reader is None:
                reader = self._readers[stage] = self.attempt.manifest(stage).reader()
            self._found[stage] = reader.refresh()
        return self._found[stage]

    # -------------------------------------------------------------- does a result still count?
    def _judge(self, stage: str) -> dict[int, str | None]:
        """Of each valid record that this attempt accepts: None, or why it is stale."""
        if stage not in self._judged:
            judge = {"segment": self._segment, "count": self._count, "pool": self._pool}.get(stage)
            if level := join_level(stage):
                self._judged[stage] = self._join(stage, level)
            else:
                self._judged[stage] = judge() if judge else self._written(stage)
        return self._judged[stage]

    def _accepted(self, stage: str) -> Iterator[tuple[int, KeyState]]:
        """Valid records, those of a restarted attempt only where they are its own."""
        attempt, total = self.attempt, total_of(self.attempt.plan.geometry, stage)
        for key, state in self._records(stage).items():
            if key >= total or not state.is_valid:
                continue
            if not attempt.plan.restart or attempt.counts(stage, state.valid):
                yield key, state

    def _segment(self) -> dict[int, str | None]:
        accepted, source = self._accepted("segment"), self.attempt.plan.input_digest
        if self.attempt.config.input.identity == "metadata":
            text = f'"input":"{source}"'
            return {k: None if state.holds(text) else OTHER_INPUT for k, state in accepted}
        return {
            key: None if state.digests[0] == self._input(key) else OTHER_INPUT
            for key, state in accepted
        }

    def _input(self, key: int) -> str:
        if key not in self._inputs:  # looks at every chunk that the block reads: once is enough
            self._inputs[key] = input_digest(self.attempt, key)
        return self._inputs[key]

    def _count(self) -> dict[int, str | None]:
        records, grid = self._records("segment"), self.attempt.plan.geometry.grid
        labels = {
            key: records[key].digests[1] or ""
            for key, why in self._judge("segment").items()
            if why is None
        }
        counts, judged = dict(self._accepted("count")), dict[int, str | None]()
        current: dict[int, str] = {}
        for key, later in enumerate(grid.each_later_neighbours() if counts else ()):
            if key not in counts:
                continue
            judged[key] = OTHER_LABELS
            if key in labels and all(k in labels for k in later):
                expected = count_input(labels, key, later)
                if counts[key].digests[0] == expected:
                    judged[key], current[key] = None, expected
        whole = len(current) == len(grid)
        self._pool_input = pool_input(current) if whole else None
        self._group_inputs[0] = current
        return judged

    def _join(self, stage: str, level: int) -> dict[int, str | None]:
        """Of joins: made of the counts (and so of the labels) that there are now."""
        tree = self.attempt.plan.geometry.joins
        assert tree is not None
        self._judge(JOINS[level - 2] if level > 1 else "count")
        below, current = self._group_inputs[level - 1], dict[int, str]()
        for group in range(tree.groups(level)):
            children = tree.children(level, group)
            if all(k in below for k in children):
                current[group] = join_input([below[k] for k in children])
        self._group_inputs[level] = current
        return {
            key: None if state.digests[0] == current.get(key, "") else OTHER_LABELS
            for key, state in self._accepted(stage)
        }

    def _pool(self) -> dict[int, str | None]:
        expected = self._expected_pool()
        return {
            key: None if expected and state.digests[0] == expected else OTHER_PAIRS
            for key, state in self._accepted("pool")
        }

    def _expected_pool(self) -> str | None:
        """The input of the pool that fits to the counts; None where these aren't complete."""
        self._judge("count")
        return self._pool_input

    def _written(self, stage: str) -> dict[int, str | None]:
        expected = self._expected_pool()
        text = f'"pool":"{expected}"'
        return {
            key: self.output if expected and state.holds(text) else OTHER_POOL
            for key, state in self._accepted(stage)
        }


class _Covered:
    """Tells whether another plan's results cover a block; reads records at the first question."""

    def __init__(self, attempt: Attempt, stage: str, older: Sequence[Plan]) -> None:
        self._attempt, self._stage = attempt, stage
        own = attempt.plan.fingerprints.of(stage)
        plans = {p.fingerprints.of(stage): p for p in older}
        self._plans = [p for fingerprint, p in plans.items() if fingerprint != own]
        self._known: list[tuple[Grid | None, set[int]]] | None = None

    def __call__(self, key: int) -> bool:
        if not self._plans:
            return False
        if self._known is None:
            self._known = [
                (grid_of(p.geometry, self._stage), keys)
                for p in self._plans
                if (keys := self._valid(p))
            ]
        return any(self._covers(grid, keys, key) for grid, keys in self._known)

    def _valid(self, plan: Plan) -> set[int]:
        path = self._attempt.work.records(self._stage, plan.fingerprints.of(self._stage))
        return {key for key, state in Manifest(path).read().items() if state.is_valid}

    def _covers(self, grid: Grid | None, keys: set[int], key: int) -> bool:
        own = grid_of(self._attempt.plan.geometry, self._stage)
        if grid is None or own is None:
            return grid is own and key in keys
        if grid == own:
            return key in keys
        core = own.core(key)
        return grid.box.contains(core) and all(k in keys for k in grid.cores_meeting(core))
