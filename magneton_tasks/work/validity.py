"""Does a record still count? The one judge: plan, the stages, verify and status ask here.

A valid record counts if the run accepts it (`accepts`) and it was made of what there is now::

    segment            the input that its block reads
    count              the labels of its block and of the later neighbours     `count_input`
    join1, join2, ...  the counts of the group's blocks                        `join_inputs`
    pool               all counts                                              `pool_input`
    those after it     the pool table, which is known by pool's input

What a stage is made of follows from the current records of the stage before, and each stage's
result is the same whenever it is made of the same: so where one has to be made again (its file was
damaged), the later ones stay.

A record whose files `clean` removed counts as well, because digests tell what it held. Only whoever
has to read these files needs it made again (`spares`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from magneton_tasks.base.grid import Grid
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.join_tree import JoinTree
from magneton_tasks.plan.plan import digest
from magneton_tasks.plan.stage_table import AFTER_POOL, CHOICE_OF, JOINS, WRITING, join_level
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import Record

#: Why a result is stale.
OTHER_INPUT = "the input has changed since"
OTHER_LABELS = "the labels have changed since"
OTHER_PAIRS = "the pairs have changed since"
OTHER_POOL = "the pool table has changed since"
OTHER_SETTINGS = "the settings have changed since"
_OTHER = {
    "segment": OTHER_INPUT, "count": OTHER_LABELS, **dict.fromkeys(JOINS, OTHER_LABELS),
    "pool": OTHER_PAIRS, **dict.fromkeys(AFTER_POOL, OTHER_POOL),
}  # fmt: skip


# ------------------------------------------------------------------ what a stage is made of
def count_input(labels: Mapping[int, str], block: int, later: Iterable[int]) -> str:
    """Digest of what count reads for a block: its labels and those of its later neighbours.

    ``labels``: the output digest of each block that has a segment record.
    """
    return digest([labels[b] for b in (block, *later)])


def join_input(below: list[str]) -> str:
    """Digest of what a join reads: the inputs of the joins below, or (level 1) of the blocks' counts.

    It tells groups of different trees apart, because these are of different blocks.
    """
    return digest("join", below)


def join_inputs(tree: JoinTree, level: int, counts: Mapping[int, str]) -> dict[int, str]:
    """The input digest of each group of a level whose blocks' counts (``counts``) are all known."""
    inputs = dict(counts)
    for at in range(1, level + 1):
        inputs = _next_level(tree, at, inputs)
    return inputs


def _next_level(tree: JoinTree, level: int, below: Mapping[int, str]) -> dict[int, str]:
    """As `join_inputs`; ``below``: of the groups of the level below, or (level 1) of the counts."""
    found = {}
    for group in range(tree.groups(level)):
        children = tree.children(level, group)
        if all(child in below for child in children):
            found[group] = join_input([below[child] for child in children])
    return found


def pool_input(counts: Mapping[int, str]) -> str:
    """Digest of what pool reads: all counts, which include the labels that they were made of."""
    return digest([counts[k] for k in sorted(counts)])


# ------------------------------------------------------------------ one record
class Made(Protocol):
    """A record, or the line of one, as far as it tells what it was made of and made."""

    @property
    def digests(self) -> tuple[str | None, str | None]: ...

    @property
    def pool(self) -> str | None: ...


def is_made_anew(stage: str, stages: Iterable[str], restart: bool) -> bool:
    """Whether a run (of these choices) accepts only what it made itself of a stage."""
    return restart and CHOICE_OF[stage] in stages


def inputs_of(records: Mapping[int, Made]) -> dict[int, str]:
    """What each count was made of, as `join_inputs` and `pool_input` take it."""
    return {key: record.digests[0] or "" for key, record in records.items()}


def made_of(stage: str, record: Made) -> str | None:
    """Digest of what a record's result was made of."""
    return record.pool if stage in AFTER_POOL else record.digests[0]


def why_stale(stage: str, record: Made, expected: str | None) -> str | None:
    """Why a valid record's result doesn't count any more; None: it does.

    ``expected``: digest of what it would be made of now; None: not all of that is there.
    """
    is_same = expected is not None and made_of(stage, record) == expected
    return None if is_same else _OTHER[stage]


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
    """

    def __init__(
        self,
        geometry: Geometry,
        records: Callable[[str], Mapping[int, KeyState]],
        accepts: Callable[[str, KeyState], bool],
        input_digest: Callable[[int], str],
        output: str | None = None,
    ) -> None:
        self._geometry, self._records, self._accepts = geometry, records, accepts
        self._input_digest, self._output = input_digest, output
        self._judged: dict[str, dict[int, str | None]] = {}
        #: of count and joins: what each block or group is made of now
        self._inputs: dict[str, dict[int, str]] = {}

    def why(self, stage: str) -> dict[int, str | None]:
        """Of each valid record that the run accepts: None, or why it is stale."""
        if stage not in self._judged:
            judge = {"segment": self._segment, "count": self._count}.get(stage)
            self._judged[stage] = judge() if judge else self._others(stage)
        return self._judged[stage]

    def current(self, stage: str) -> set[int]:
        """The blocks, groups or cells of a stage whose records count."""
        return {key for key, why in self.why(stage).items() if why is None}

    def state(self, stage: str, key: int) -> KeyState:
        """What is known of one that `why` tells of."""
        return self._records(stage)[key]

    def pool_expected(self) -> str | None:
        """What a pool is made of now; None where the counts aren't complete."""
        self.why("count")
        counts = self._inputs["count"]
        return pool_input(counts) if len(counts) == len(self._geometry.grid) else None

    def _valid(self, stage: str) -> Iterable[tuple[int, KeyState]]:
        for key, state in self._records(stage).items():
            if state.is_valid and self._accepts(stage, state):
                yield key, state

    def _segment(self) -> dict[int, str | None]:
        digest_of = self._input_digest
        return {
            key: why_stale("segment", state, digest_of(key))
            for key, state in self._valid("segment")
        }

    def _count(self) -> dict[int, str | None]:
        records, grid = self._records("segment"), self._geometry.grid
        labels = {key: records[key].digests[1] or "" for key in self.current("segment")}
        counts, judged, inputs = dict(self._valid("count")), dict[int, str | None](), {}
        for key, expected in count_inputs(grid, labels, counts):
            judged[key] = why_stale("count", counts[key], expected)
            if expected is not None and judged[key] is None:
                inputs[key] = expected
        self._inputs["count"] = inputs
        return judged

    def _others(self, stage: str) -> dict[int, str | None]:
        valid = self._valid(stage)
        if level := join_level(stage):
            inputs = self._join_inputs(level)
            return {key: why_stale(stage, state, inputs.get(key)) for key, state in valid}
        pool, output = self.pool_expected(), self._output if stage in WRITING else None
        return {key: why_stale(stage, state, pool) or output for key, state in valid}

    def _join_inputs(self, level: int) -> dict[int, str]:
        """What each group of a level is made of now, whether or not it has a record."""
        if level == 0:
            self.why("count")
            return self._inputs["count"]
        stage, tree = JOINS[level - 1], self._geometry.join_tree
        if stage not in self._inputs:
            self._inputs[stage] = _next_level(tree, level, self._join_inputs(level - 1))
        return self._inputs[stage]


def count_inputs(
    grid: Grid, labels: Mapping[int, str], keys: Collection[int]
) -> Iterable[tuple[int, str | None]]:
    """What count reads now for each of these blocks; None where labels of a neighbour are missing."""
    for key, later in enumerate(grid.each_later_neighbours() if keys else ()):
        if key in keys:
            is_whole = key in labels and all(k in labels for k in later)
            yield key, count_input(labels, key, later) if is_whole else None
