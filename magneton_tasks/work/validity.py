"""Does a record still count? The one judge: plan, the stages, verify and status ask here.

A valid record counts if the run accepts it (`accepts`) and it was made of what there is now::

    segment            the input that its block reads
    count (overlap)    the labels of its block and of the later neighbours     `count_input`
    faces (exact)      the same, neighbours behind high faces alone            `count_input`
    round0, ... (exact)  its round's plan, which holds what it was made from   `round_chain`
    pool               all counts (`pool_input`), or all rounds and the cut    `cut_input`
    those after it     the pool table or the cut, which is known by `pool_key`

What a stage is made of follows from the current records of the stage before, and each stage's
result is the same whenever it is made of the same: so where one has to be made again (its file was
damaged), the later ones stay.

A cell is written in place: what a later try began and didn't end may have left half of another result
there, so no earlier record of it counts (`is_settled`).

A record whose files `clean` removed counts as well, because digests tell what it held. Only whoever
has to read these files needs it made again (`spares`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from magneton_tasks.base.grid import Grid
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import digest
from magneton_tasks.plan.stage_table import AFTER_POOL, IN_PLACE, ROUNDS, WRITING, facts, round_of
from magneton_tasks.work import round_chain
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import Record
from magneton_tasks.work.round_chain import Chain

#: Why a result is stale.
OTHER_INPUT = "the input has changed since"
OTHER_LABELS = "the labels have changed since"
OTHER_PAIRS = "the pairs have changed since"
OTHER_POOL = "the pool table has changed since"
OTHER_SETTINGS = "the settings have changed since"
_OTHER = {
    "segment": OTHER_INPUT, "count": OTHER_LABELS, "faces": OTHER_LABELS,
    **dict.fromkeys(ROUNDS, OTHER_LABELS), "pool": OTHER_PAIRS, **dict.fromkeys(AFTER_POOL, OTHER_POOL),
}  # fmt: skip


# ------------------------------------------------------------------ what a stage is made of
def count_input(labels: Mapping[int, str], block: int, later: Iterable[int]) -> str:
    """Digest of what count reads for a block: its labels and those of its later neighbours.

    ``labels``: the output digest of each block that has a segment record.
    """
    return digest([labels[b] for b in (block, *later)])


def pool_input(counts: Mapping[int, str]) -> str:
    """Digest of what pool reads: all counts, which include the labels that they were made of."""
    return digest([counts[k] for k in sorted(counts)])


def cut_input(rounds: str, pool: str) -> str:
    """Digest of what the exact method's pool reads, all rounds, and of what decides the cut.

    ``rounds``: `round_chain.Chain.end`. ``pool``: pool's fingerprint.
    """
    return digest(rounds, pool)


def pool_output(made_of: str, threshold: float) -> str:
    """What a pool is known by that took its threshold from the map: another one makes other objects."""
    return digest([made_of, threshold])


# ------------------------------------------------------------------ one record
class Made(Protocol):
    """A record, or the line of one, as far as it tells what it was made of and made."""

    @property
    def digests(self) -> tuple[str | None, str | None]: ...

    @property
    def pool(self) -> str | None: ...


def is_made_anew(stage: str, stages: Iterable[str], restart: bool) -> bool:
    """Whether a run (of these choices) accepts only what it made itself of a stage."""
    choice = facts(stage).choice
    return restart and choice is not None and choice in stages


def is_settled(stage: str, state: KeyState) -> bool:
    """Whether what is known of a block or cell tells what its result holds."""
    return state.is_valid and not (stage in IN_PLACE and state.is_interrupted)


def inputs_of(records: Mapping[int, Made]) -> dict[int, str]:
    """What each count was made of, as `pool_input` takes it."""
    return {key: record.digests[0] or "" for key, record in records.items()}


def made_of(stage: str, record: Made) -> str | None:
    """Digest of what a record's result was made of."""
    return record.pool if stage in AFTER_POOL else record.digests[0]


def pool_key(pool: Made) -> str | None:
    """What results are known by that a pool's record led to."""
    made_of, output = pool.digests
    return output or made_of


def why_stale(stage: str, record: Made, expected: str | None) -> str | None:
    """Why a valid record's result doesn't count any more; None: it does.

    ``expected``: digest of what it would be made of now; None: not all of that is there.
    """
    is_same = expected is not None and made_of(stage, record) == expected
    return None if is_same else _OTHER[facts(stage).name]


def spares(stage: str, record: Record, expected: str | None) -> bool:
    """Whether a valid record spares its stage the work: it counts, and its files are there."""
    return not record.is_cleaned and why_stale(stage, record, expected) is None


def holds_same(record: Record, cell_input: str) -> bool:
    """Whether a cell was written of the same labels and global ids, though with another pool table."""
    return record.input == cell_input


# ------------------------------------------------------------------ a volume
class Judge:
    """Judges all records of a volume, stage by stage: each stage depends on the one before.

    Parameters
    ----------
    records
        What the manifest of a stage knows.
    accepts
        Whether the run accepts a valid record of a stage.
    input_digest
        Digest of what a block reads now.
    output
        Why what was written doesn't count any more, whatever its records say; None: it does.
    rounds
        Where the rounds of the exact method lie (``rounds-<fingerprint>``).
    pool
        Pool's fingerprint.
    """

    def __init__(
        self,
        geometry: Geometry,
        records: Callable[[str], Mapping[int, KeyState]],
        accepts: Callable[[str, KeyState], bool],
        input_digest: Callable[[int], str],
        output: str | None = None,
        rounds: Path | None = None,
        pool: str = "",
    ) -> None:
        self._geometry, self._records, self._accepts = geometry, records, accepts
        self._input_digest, self._output, self._rounds = input_digest, output, rounds
        self._pool = pool
        self._judged: dict[str, dict[int, str | None]] = {}
        #: of count or faces: what each block is made of now
        self._inputs: dict[int, str] = {}

    def why(self, stage: str) -> dict[int, str | None]:
        """Of each valid record that the run accepts: None, or why it is stale."""
        if stage not in self._judged:
            judge = {
                "segment": self._segment, "count": self._between, "faces": self._between,
            }.get(stage)  # fmt: skip
            self._judged[stage] = judge() if judge else self._others(stage)
        return self._judged[stage]

    def current(self, stage: str) -> set[int]:
        """The blocks, groups or cells of a stage whose records count."""
        return {key for key, why in self.why(stage).items() if why is None}

    def state(self, stage: str, key: int) -> KeyState:
        """What is known of one that `why` tells of."""
        return self._records(stage)[key]

    def pool_expected(self) -> str | None:
        """What a pool is made of now; None where what it reads isn't complete."""
        if self._geometry.method == "exact":
            end = self.chain.end
            return None if end is None else cut_input(end, self._pool)
        self.why("count")
        return pool_input(self._inputs) if len(self._inputs) == len(self._geometry.grid) else None

    @cached_property
    def chain(self) -> Chain:
        """The rounds (exact method)."""
        blocks, faces = self.current("segment"), self.current("faces")
        start = None
        if len(blocks) == len(faces) == len(self._geometry.grid):
            labels, touching = (
                {k: self._records(stage)[k].digests[1] or "" for k in keys}
                for stage, keys in (("segment", blocks), ("faces", faces))
            )
            start = round_chain.first_read(labels, touching)
        assert self._rounds is not None
        return round_chain.look(
            self._rounds,
            start,
            lambda number: self._records(f"round{number}"),
            lambda number, state: self._accepts(f"round{number}", state),
        )

    def _valid(self, stage: str) -> Iterable[tuple[int, KeyState]]:
        for key, state in self._records(stage).items():
            if is_settled(stage, state) and self._accepts(stage, state):
                yield key, state

    def _segment(self) -> dict[int, str | None]:
        digest_of = self._input_digest
        return {
            key: why_stale("segment", state, digest_of(key))
            for key, state in self._valid("segment")
        }

    def _between(self) -> dict[int, str | None]:
        """Of count or faces, whichever the method has."""
        stage = "faces" if self._geometry.method == "exact" else "count"
        records, grid = self._records("segment"), self._geometry.grid
        labels = {key: records[key].digests[1] or "" for key in self.current("segment")}
        found, judged = dict(self._valid(stage)), dict[int, str | None]()
        self._inputs = {}
        for key, expected in made_from(stage, grid, labels, found):
            judged[key] = why_stale(stage, found[key], expected)
            if expected is not None and judged[key] is None:
                self._inputs[key] = expected
        return judged

    def _others(self, stage: str) -> dict[int, str | None]:
        valid = self._valid(stage)
        if (number := round_of(stage)) is not None:
            steps = self.chain.steps
            done = steps[number].done if number < len(steps) else frozenset[int]()
            return {key: None if key in done else OTHER_LABELS for key, _ in valid}
        expected = self.pool_expected() if stage == "pool" else self._pool_key()
        output = self._output if stage in WRITING else None
        return {key: why_stale(stage, state, expected) or output for key, state in valid}

    def _pool_key(self) -> str | None:
        """What results after pool are made with; of one that took its threshold its record tells."""
        expected = self.pool_expected()
        if expected is None or 0 not in self.current("pool"):
            return expected
        return pool_key(self._records("pool")[0])


def made_from(
    stage: str, grid: Grid, labels: Mapping[int, str], keys: Collection[int]
) -> Iterable[tuple[int, str | None]]:
    """What count or faces read now for each block; None where labels of a neighbour are missing."""
    if not keys:
        return
    later = (
        grid.each_later_neighbours()
        if stage == "count"
        else (behind(grid, key) for key in range(len(grid)))
    )
    for key, near in enumerate(later):
        if key in keys:
            is_whole = key in labels and all(k in labels for k in near)
            yield key, count_input(labels, key, near) if is_whole else None


def behind(grid: Grid, block: int) -> list[int]:
    """The blocks behind the high faces of a block."""
    return [other for _, other in grid.later_face_neighbours(block)]
