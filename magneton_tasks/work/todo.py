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
from magneton_tasks.plan.join_tree import JoinTree
from magneton_tasks.plan.plan import Fingerprints, Geometry
from magneton_tasks.plan.stage_names import CHOICE_OF, JOINS, join_level
from magneton_tasks.work.attempt import count_input, join_input, pool_input
from magneton_tasks.work.paths import WorkPaths
from magneton_tasks.work.records import Manifest

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
        self._cleaned: set[int] = set()
        #: whether blocks have results of another input; known after `all`
        self.input_changed = False

    def all(self, input_digest: InputDigest) -> dict[str, Ranges]:
        """Ranges of blocks (segment, count), of cells (apply, downsample), and [(0, 1)] or [] for pool.

        Raises
        ------
        ConfigError
            A stage that wasn't asked for isn't complete, and one that was needs it.
        """
        cells, coarse, joins = (
            self._geometry.cells,
            self._geometry.coarse_cells,
            self._geometry.joins,
        )
        labels, segment = self._segment(input_digest)
        counts, count = self._count(labels, segment)
        join = {} if joins is None else self._joins(joins, counts)
        pool_digest, pool = self._pool(counts, count or any(join.values()))
        apply = self._written("apply", cells, pool_digest)
        downsample = (
            self._written("downsample", coarse, None if apply else pool_digest) if coarse else []
        )
        todo = {
            "segment": self._and_cleaned(segment, count, apply, join),
            "count": count,
            **join,
            "pool": pool,
            "apply": apply,
            "downsample": downsample,
        }
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

    def _and_cleaned(
        self, segment: Ranges, count: Ranges, apply: Ranges, join: dict[str, Ranges]
    ) -> Ranges:
        """``segment``, and the blocks without labels that what is to do (and was asked for) reads."""
        if not self._cleaned:
            return segment
        grid, cells = self._geometry.grid, self._geometry.cells
        read = set(items(segment, 0, ranges_len(segment)))
        if "pool" in self._stages:
            for key in items(count, 0, ranges_len(count)):
                read |= self._cleaned & {key, *grid.later_neighbours(key)}
            for group in items(first := join.get(JOINS[0], []), 0, ranges_len(first)):
                assert self._geometry.joins is not None
                read |= self._cleaned & set(self._geometry.joins.blocks_of(1, group))
        if "apply" in self._stages:
            for key in items(apply, 0, ranges_len(apply)):
                read |= self._cleaned & set(grid.cores_meeting(cells.core(key)))
        return to_ranges(sorted(read))

    def _states(self, stage: str) -> dict[int, tuple[str | None, str | None, str | None]]:
        """(input, output, pool) of each valid record; none where the stage is to be done anew."""
        if self._restart and CHOICE_OF[stage] in self._stages:
            return {}
        manifest = Manifest(self._work.records(stage, self._fingerprints.of(stage)))
        found = {}
        for key, state in manifest.read().items():
            record = state.valid
            if record is not None:
                is_cleaned = record.info.get("cleaned")
                if is_cleaned and join_level(stage):
                    continue  # only joins and pool read it: where they do, it is joined again
                found[key] = (record.input, record.output, record.info.get("pool"))
                if is_cleaned:
                    self._cleaned.add(key)
        return found

    def _segment(self, input_digest: InputDigest) -> tuple[dict[int, str], Ranges]:
        n = len(self._geometry.grid)
        states = self._states("segment")
        if not states:
            return {}, [(0, n)]
        labels = {k: s[1] or "" for k, s in states.items() if s[0] == input_digest(k)}
        self.input_changed = len(labels) < len(states)
        return labels, to_ranges(k for k in range(n) if k not in labels)

    def _count(self, labels: dict[int, str], segment: Ranges) -> tuple[dict[int, str], Ranges]:
        grid: Grid = self._geometry.grid
        states = self._states("count")
        if not states or not labels:
            return {}, [(0, len(grid))]
        counts: dict[int, str] = {}
        for key, (recorded, _, _) in states.items():
            later = grid.later_neighbours(key)
            if (
                key in labels
                and all(k in labels for k in later)
                and recorded == count_input(labels, key, later)
            ):
                counts[key] = recorded or ""
        return counts, to_ranges(k for k in range(len(grid)) if k not in counts)

    def _joins(self, joins: JoinTree, counts: dict[int, str]) -> dict[str, Ranges]:
        """Groups whose blocks' pairs aren't those that their record was made of, level by level.

        Nothing is to do where the pool is that of these pairs: only it reads what joins write.
        """
        names = JOINS[: joins.levels]
        if len(counts) == len(self._geometry.grid) and not self._pool(counts, False)[1]:
            return {name: [] for name in names}
        inputs, todo = dict(counts), {}
        for level, name in enumerate(names, 1):
            states, current = self._states(name), dict[int, str]()
            for group in range(joins.groups(level)):
                below = joins.children(level, group)
                if all(k in inputs for k in below):
                    wanted = join_input([inputs[k] for k in below])
                    if group in states and states[group][0] == wanted:
                        current[group] = wanted
            todo[name] = to_ranges(k for k in range(joins.groups(level)) if k not in current)
            inputs = current
        return todo

    def _pool(self, counts: dict[int, str], before: object) -> tuple[str | None, Ranges]:
        if before or len(counts) < len(self._geometry.grid):
            return None, [(0, 1)]
        expected = pool_input(counts)
        valid = self._states("pool").get(0)
        if valid is None or valid[0] != expected:
            return None, [(0, 1)]
        return expected, []

    def _written(self, stage: str, cells: Grid, pool_digest: str | None) -> Ranges:
        if pool_digest is None or self._rewrite:
            return [(0, len(cells))]
        states = self._states(stage)
        return to_ranges(
            k for k in range(len(cells)) if k not in states or states[k][2] != pool_digest
        )
