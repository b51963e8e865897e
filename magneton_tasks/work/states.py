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
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.rounds import grid_of as group_grid
from magneton_tasks.plan.stage_table import MAPPED, OF_GROUPS, round_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.inputs import input_digest
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.manifest import Manifest, ManifestReader
from magneton_tasks.work.record import Record
from magneton_tasks.work.round_chain import Chain, groups_of
from magneton_tasks.work.round_plan import RoundPlan
from magneton_tasks.work.validity import OTHER_SETTINGS, Judge

Kind = Literal["done", "empty", "running", "failed", "missing", "stale", "corrupt"]


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


class Judged(NamedTuple):
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
    """How many blocks or cells a stage has; 1 for pool, 0 for a stage that isn't needed.

    0, too, of one that works groups, which a plan doesn't know; `VolumeStates.total` does.
    """
    if stage not in MAPPED:
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
        self._judged = self._judge()

    def refresh(self, alive: bool) -> None:
        """Look again."""
        self.alive = alive
        self._found.clear()
        self._judged = self._judge()

    def is_blank(self, stage: str) -> bool:
        """Whether a stage has no records at all."""
        return not self._records(stage)

    @property
    def chain(self) -> Chain:
        """The rounds, as far as they are planned (exact method)."""
        return self._judged.chain

    @property
    def pool_expected(self) -> str | None:
        """What pool is made of now; None where that isn't complete."""
        return self._judged.pool_expected()

    def total(self, stage: str) -> int:
        """How many blocks, groups or cells a stage has, as far as groups are known by now."""
        found = self._round(stage)
        return len(found.groups) if found else total_of(self.attempt.plan.geometry, stage)

    def grid(self, stage: str) -> Grid | None:
        """The grid whose blocks, groups or cells a stage works, as far as groups are known by now."""
        geometry, found = self.attempt.plan.geometry, self._round(stage)
        return group_grid(geometry.grid, found.groups) if found else grid_of(geometry, stage)

    def _round(self, stage: str) -> RoundPlan | None:
        """The round whose groups a stage works; None: it works none, or they aren't known yet."""
        if stage not in OF_GROUPS or self.attempt.plan.geometry.method != "exact":
            return None
        steps, number = self.chain.steps, round_of(stage) or 0  # cut works those of round 0
        return steps[number].plan if number < len(steps) else None

    def _idle(self, stage: str) -> frozenset[int]:
        """Groups of a round in which nothing is open."""
        found = self._round(stage)
        if found is None or stage == "cut":
            return frozenset()
        return frozenset(range(len(found.groups))).difference(groups_of(found))

    def judged(self, stage: str) -> Iterator[Judged]:
        """Every block or cell of a stage, ascending."""
        found, judged = self._records(stage), self._judged.why(stage)
        covered = _Covered(self.attempt, stage, self.older)
        idle = self._idle(stage)
        for key in range(self.total(stage)):
            state = found.get(key)
            if key in idle:
                yield Judged(key, "empty", None)
            elif state is None:
                stale = covered(key)
                yield (
                    Judged(key, "stale", None, OTHER_SETTINGS)
                    if stale
                    else Judged(key, "missing", None)
                )
            elif key in judged and judged[key] is None:
                yield Judged(key, "empty" if state.state == "empty" else "done", state)
            else:
                yield self._unsettled(key, state, judged.get(key), covered)

    def _unsettled(self, key: int, state: KeyState, why: str | None, covered: _Covered) -> Judged:
        if state.last_state == "failed":
            return Judged(key, "failed", state)
        if state.last_state == "started" and self.alive and self.attempt.is_ours(state.last):
            return Judged(key, "running", state)
        if why is not None:
            return Judged(key, "stale", state, why)
        if covered(key):
            return Judged(key, "stale", None, OTHER_SETTINGS)
        return Judged(key, "missing", state)

    def _records(self, stage: str) -> dict[int, KeyState]:
        if stage not in self._found:
            reader = self._readers.get(stage)
            if reader is None:
                reader = self._readers[stage] = self.attempt.manifest(stage).reader()
            self._found[stage] = reader.refresh()
        return self._found[stage]

    def _judge(self) -> Judge:
        attempt = self.attempt
        return Judge(
            attempt.plan.geometry,
            self._records,
            lambda stage, state: not attempt.plan.restart or attempt.accepts(stage, state.valid),
            self._input,
            self.output,
            attempt.work.rounds(attempt.plan.fingerprints.rounds),
            attempt.plan.fingerprints.pool,
        )

    def _input(self, key: int) -> str:
        if self.attempt.config.input.identity == "metadata":
            return self.attempt.plan.input_digest
        if key not in self._inputs:  # looks at every chunk that the block reads: once is enough
            self._inputs[key] = input_digest(self.attempt, key)
        return self._inputs[key]


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
