"""What is still to do: which blocks and cells have no valid record of this input.

A block whose labels *clean* removed keeps its record: it is segmented again only where count, join
or apply have something to do that reads it. So does a group of joined blocks, until pool is to do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from magneton_tasks.base.grid import Grid, Ranges, items, ranges_len, to_ranges
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.join_tree import JoinTree
from magneton_tasks.plan.plan import Fingerprints
from magneton_tasks.plan.stage_table import AFTER_POOL, CHOICE_OF, JOINS
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import WorkPaths
from magneton_tasks.work.validity import Judge, is_made_anew

#: the input digest of a block
InputDigest = Callable[[int], str]


class Todo:
    """Looks through the records, stage by stage; each stage depends on the one before."""

    def __init__(
        self,
        config: RunConfig,
        geometry: Geometry,
        fingerprints: Fingerprints,
        stages: tuple[str, ...],
        restart: bool,
        rewrite: bool,
    ) -> None:
        self._work = WorkPaths(Path(config.paths.work))
        self._geometry, self._fingerprints = geometry, fingerprints
        self._stages, self._restart, self._rewrite = stages, restart, rewrite
        self._known: dict[str, dict[int, KeyState]] = {}
        #: whether blocks have results of another input; known after `all`
        self.input_changed = False

    def all(self, input_digest: InputDigest) -> dict[str, Ranges]:
        """Ranges of blocks, groups or cells of each mapped stage, and [(0, 1)] or [] for pool.

        Raises
        ------
        ConfigError
            A stage that wasn't asked for isn't complete, and one that was needs it.
        """
        geometry, anew = self._geometry, self._is_made_anew
        judge = Judge(geometry, self._records, lambda s, _: not anew(s), input_digest)
        self.input_changed = any(judge.why("segment").values())
        todo = {
            "segment": _left(judge, "segment", len(geometry.grid)),
            "count": _left(judge, "count", len(geometry.grid)),
        }
        if geometry.joins is not None:
            todo |= self._joins(judge, geometry.joins)
        todo["pool"] = _left(judge, "pool", 1)
        todo |= {s: self._written(judge, s, geometry.stage_grid(s)) for s in AFTER_POOL}
        todo["segment"] = self._and_cleaned(judge, todo)
        return self._asked(todo)

    def _asked(self, todo: dict[str, Ranges]) -> dict[str, Ranges]:
        names = list(todo)
        for stage, ranges in todo.items():
            if not ranges or CHOICE_OF[stage] in self._stages:
                continue
            needing = [
                s
                for s in names[names.index(stage) + 1 :]
                if CHOICE_OF[s] in self._stages and CHOICE_OF[s] != CHOICE_OF[stage]
            ]
            if needing:
                raise ConfigError(
                    f"stages {','.join(self._stages)}: {needing[0]} needs {stage}, which isn't complete ({ranges_len(ranges):,} to do)",
                    f"add {CHOICE_OF[stage]} to the stages",
                )
        return {
            stage: ranges if CHOICE_OF[stage] in self._stages else []
            for stage, ranges in todo.items()
        }

    def _and_cleaned(self, judge: Judge, todo: dict[str, Ranges]) -> Ranges:
        """Segment's, and the blocks without labels that what is to do (and was asked for) reads."""
        segment = todo["segment"]
        cleaned = {k for k in judge.why("segment") if judge.state("segment", k).is_cleaned}
        if not cleaned:
            return segment
        grid, cells = self._geometry.grid, self._geometry.cells
        read = set(items(segment, 0, ranges_len(segment)))
        if "pool" in self._stages:
            for key in items(todo["count"], 0, ranges_len(todo["count"])):
                read |= cleaned & {key, *grid.later_neighbours(key)}
            for group in items(first := todo.get(JOINS[0], []), 0, ranges_len(first)):
                read |= cleaned & set(self._geometry.join_tree.blocks_of(1, group))
        if "apply" in self._stages:
            for key in items(todo["apply"], 0, ranges_len(todo["apply"])):
                read |= cleaned & set(grid.cores_meeting(cells.core(key)))
        return to_ranges(sorted(read))

    def _written(self, judge: Judge, stage: str, cells: Grid | None) -> Ranges:
        if cells is None:
            return []
        if self._rewrite or judge.pool_expected() is None:
            return [(0, len(cells))]  # whatever the records say: they may be many
        return _left(judge, stage, len(cells))

    def _is_made_anew(self, stage: str) -> bool:
        return is_made_anew(stage, self._stages, self._restart)

    def _records(self, stage: str) -> dict[int, KeyState]:
        if stage not in self._known:
            manifest = Manifest(self._work.records(stage, self._fingerprints.of(stage)))
            # those of a stage that is made anew aren't even looked at
            self._known[stage] = {} if self._is_made_anew(stage) else manifest.read()
        return self._known[stage]

    def _joins(self, judge: Judge, tree: JoinTree) -> dict[str, Ranges]:
        """Groups to join, level by level: none where the pool counts, for only it reads them.

        Else those whose files `clean` removed are joined again, too.
        """
        names = JOINS[: tree.levels]
        if judge.current("pool"):
            return {name: [] for name in names}
        todo = {}
        for level, name in enumerate(names, 1):
            there = {k for k in judge.current(name) if not judge.state(name, k).is_cleaned}
            todo[name] = to_ranges(k for k in range(tree.groups(level)) if k not in there)
        return todo


def _left(judge: Judge, stage: str, total: int) -> Ranges:
    """The blocks or cells of a stage without a record that counts."""
    current = judge.current(stage)
    if not current:
        return [(0, total)]
    return to_ranges(k for k in range(total) if k not in current)
