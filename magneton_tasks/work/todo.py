"""What is still to do: which blocks and cells have no valid record of this input.

A block whose labels *clean* removed keeps its record: it is segmented again only where a later stage
has something to do that reads it. So does a group of a round.

What rounds and cut have to do is known here as far as rounds are planned; `stages.planning.group_work`
finds out the rest, round by round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from magneton_tasks.base.grid import Ranges, items, ranges_len, to_ranges
from magneton_tasks.base.units import several
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import Fingerprints
from magneton_tasks.plan.stage_table import AFTER_POOL, CHOICE_OF, ROUNDS, SECTIONS, stages_of
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
        #: blocks that are to do only because `clean` has freed what is read of them; as well
        self.freed = 0

    def all(self, input_digest: InputDigest) -> dict[str, Ranges]:
        """Ranges of blocks, groups or cells of each mapped stage, and [(0, 1)] or [] for pool.

        Raises
        ------
        ConfigError
            A stage that wasn't asked for isn't complete, and one that was needs it.
        """
        geometry, anew = self._geometry, self._is_made_anew
        rounds = self._work.rounds(self._fingerprints.rounds)
        judge = Judge(
            geometry,
            self._records,
            lambda s, _: not anew(s),
            input_digest,
            rounds=rounds,
            pool=self._fingerprints.pool,
        )
        self.input_changed = any(judge.why("segment").values())
        n = len(geometry.grid)
        todo = {"segment": _left(judge, "segment", n)}
        if geometry.method == "exact":
            todo["faces"] = _left(judge, "faces", n)
            todo |= {stage: [] for stage in ROUNDS}
        else:
            todo["count"] = _left(judge, "count", n)
        todo["pool"] = _left(judge, "pool", 1)
        for stage in stages_of(geometry.method):
            if stage in AFTER_POOL:
                todo[stage] = self._written(judge, stage)
        for section in SECTIONS:
            if todo[f"{section}_shards"]:
                todo[section] = _and_freed(judge, section, todo[section])
        if geometry.method == "exact" and todo["pool"] + todo["cut"]:
            self._add_rounds(judge, todo)
        left = ranges_len(todo["segment"])
        todo["segment"] = self._and_cleaned(judge, todo)
        self.freed = ranges_len(todo["segment"]) - left
        return self._asked(todo)

    def notes(self) -> Iterator[str]:
        """What is done again that was done before."""
        if self.freed:
            yield f"{several(self.freed, 'block')} again: clean freed what this run reads of them"

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

    def _add_rounds(self, judge: Judge, todo: dict[str, Ranges]) -> None:
        """Groups of the rounds that are planned, and faces that they read, for pool or cut to do."""
        is_open = _is_open(judge)
        if is_open:
            todo["faces"] = _and_freed(judge, "faces", todo["faces"])
        if not is_open and judge.current("pool"):
            return
        todo["pool"] = [(0, 1)]  # it asks for the rounds, whether or not it has to be done itself
        for number, step in enumerate(judge.chain.steps[: len(ROUNDS)]):
            todo[ROUNDS[number]] = to_ranges(step.left(reads_sent=is_open))

    def _and_cleaned(self, judge: Judge, todo: dict[str, Ranges]) -> Ranges:
        """Segment's, and the blocks that what is to do (and was asked for) reads, and that lack it."""
        segment = todo["segment"]
        found = [k for k in judge.why("segment") if judge.state("segment", k).is_cleaned]
        is_exact = self._geometry.method == "exact"
        cleaned = {k for k in found if not is_exact or not _has(judge, k, "residual")}
        bare = {k for k in found if not _has(judge, k, "labels")}
        if not found:
            return segment
        grid, cells = self._geometry.grid, self._geometry.cells
        read = set(items(segment, 0, ranges_len(segment)))
        if "pool" in self._stages:
            between = todo.get("faces", todo.get("count", []))
            for key in items(between, 0, ranges_len(between)):
                read |= cleaned & {key, *grid.later_neighbours(key)}
            if is_exact and todo["pool"] + todo["cut"]:
                read |= {k for k in found if not _has(judge, k, "supervoxels")}
                read |= cleaned if _is_open(judge) else set()
        if "apply" in self._stages:
            for key in items(todo["apply"], 0, ranges_len(todo["apply"])):
                read |= bare & set(grid.cores_meeting(cells.core(key)))
        return to_ranges(sorted(read))

    def _written(self, judge: Judge, stage: str) -> Ranges:
        total = _total(judge, stage, self._geometry)
        is_new = self._rewrite and stage != "cut"
        if is_new or judge.pool_expected() is None:
            return [(0, total)] if total else []  # whatever the records say: they may be many
        return _left(judge, stage, total)

    def _is_made_anew(self, stage: str) -> bool:
        return is_made_anew(stage, self._stages, self._restart)

    def _records(self, stage: str) -> dict[int, KeyState]:
        if stage not in self._known:
            manifest = Manifest(self._work.records(stage, self._fingerprints.of(stage)))
            # those of a stage that is made anew aren't even looked at
            self._known[stage] = {} if self._is_made_anew(stage) else manifest.read()
        return self._known[stage]


def _has(judge: Judge, block: int, kind: str) -> bool:
    """Whether a block's record still names a kind of file."""
    return judge.state("segment", block).holds(f'"{kind}":[')


def _and_freed(judge: Judge, stage: str, todo: Ranges) -> Ranges:
    freed = {k for k in judge.current(stage) if judge.state(stage, k).is_cleaned}
    return to_ranges(sorted(freed | set(items(todo, 0, ranges_len(todo)))))


def _is_open(judge: Judge) -> bool:
    """Whether rounds have to be done that read what blocks, faces and rounds leave open."""
    return not judge.chain.end or not judge.chain.has_names


def _total(judge: Judge, stage: str, geometry: Geometry) -> int:
    """Groups or cells of a stage after pool, as far as they are known."""
    if stage == "cut":
        steps = judge.chain.steps
        return len(steps[0].plan.groups) if steps else 0
    return len(geometry.stage_grid(stage) or ())


def _left(judge: Judge, stage: str, total: int) -> Ranges:
    """The blocks or cells of a stage without a record that counts."""
    current = judge.current(stage)
    if not current:
        return [(0, total)] if total else []
    return to_ranges(k for k in range(total) if k not in current)
