"""What the records of one stage say, block by block and in sum: the block map of a report.

A map is plain data, in columns::

    {"stage": "segment", "noun": "block", "shape": [z, y, x], "factor": [1, 1, 1],
     "cuts": [[z...], [y...], [x...]], "states": "ddedf...", "seconds": [9.9, ...], "cpu_s": [...],
     "peak_bytes": [...], "labels": [...], "hosts": [0, 512, 1, 512], "runs": [0, 1024]}

Each column has one entry a block, in raster order; hosts and runs are runs of equal values (an
index into the report's list of names, -1 for none, and how often). A column that nothing is known
for is left out. Of more than `MAX_SQUARES` blocks, ``factor`` blocks along each axis become one:
their worst state, mean times, highest memory, labels in all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan.stage_names import join_level, noun_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import BlockState

#: Blocks that a map shows one by one; 10^5 of them make some 2 MB a stage.
MAX_SQUARES = 100_000
#: Blocks that a report lists: the slowest, and those that failed.
SLOWEST, FAILURES = 10, 1000

#: A state's letter in a map; of several blocks the one furthest to the right counts.
LETTERS = {
    "empty": "e", "done": "d", "missing": "m", "running": "r", "stale": "s", "corrupt": "c", "failed": "f"
}  # fmt: skip
_WORSE = {letter: rank for rank, letter in enumerate(LETTERS.values())}

Numbers = list[float | None]


class Names:
    """Numbers names by the order in which they first come."""

    def __init__(self, *known: str) -> None:
        self._numbers = {name: k for k, name in enumerate(known)}

    def __call__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers)) if name else -1

    def __iter__(self) -> Any:
        return iter(self._numbers)


@dataclass
class StageBlocks:
    """Gathers the states of the blocks or cells of one stage.

    ``grid`` None: a stage without a map (pool).
    """

    attempt: Attempt
    stage: str
    total: int
    grid: Grid | None
    hosts: Names
    runs: Names
    failures: list[dict[str, Any]] = field(default_factory=list)
    bytes: int = 0
    #: exact: what blocks or groups leave open, in rows of each table; labels joined
    rows: dict[str, int] = field(default_factory=dict)
    joins: int = 0

    def __post_init__(self) -> None:
        n = self.total
        self._states = bytearray(b"m") * n
        self._seconds: Numbers = [None] * n
        self._cpu_s: Numbers = [None] * n
        self._peak_bytes: Numbers = [None] * n
        self._labels: Numbers = [None] * n
        self._hosts, self._runs = [-1] * n, [-1] * n
        self.summary = StageSummary.planned(self.attempt.plan, self.stage)

    def add(self, state: BlockState) -> None:
        """One block or cell."""
        key, record = state.key, state.record
        is_own = record is not None and self.attempt.is_ours(record)
        self.summary.add_record(state.kind, key, record, is_own=is_own)
        self._states[key] = ord(LETTERS[state.kind])
        if record is None:
            return
        self._seconds[key], self._cpu_s[key] = record.seconds, record.cpu_s
        self._peak_bytes[key] = record.peak_bytes
        self._hosts[key] = self.hosts(record.host)
        self._runs[key] = self.runs(f"{record.run}/{record.attempt}")
        if state.kind in ("done", "empty"):
            self._add_result(key, record)
        elif state.kind == "failed" and len(self.failures) < FAILURES:
            self.failures.append(self._failure(key, record))

    def _add_result(self, key: int, record: Record) -> None:
        if self.stage == "segment":
            self._labels[key] = record.info.get("n")
        self.bytes += _stored_bytes(self.stage, record)
        for table, n in record.info.get("rows", {}).items():
            self.rows[table] = self.rows.get(table, 0) + n
        self.joins += record.info.get("joins", 0)

    def _failure(self, key: int, record: Record) -> dict[str, Any]:
        info, paths = record.info, self.attempt.paths
        log = paths.log(self.stage, record.batch)
        found = info.get("log") or str(log if log.is_file() else paths.logs)
        return {
            "stage": self.stage,
            "key": key,
            "exit_code": info.get("exit_code"),
            "cause": info.get("cause"),
            "hint": info.get("hint"),
            "log": found,
            "host": record.host,
            "time": record.time,
        }

    def slowest(self) -> list[dict[str, Any]]:
        """The blocks that took longest, slowest first."""
        assert self.grid is not None
        known = [k for k, s in enumerate(self._seconds) if s is not None]
        names = list(self.hosts)
        return [
            {
                "stage": self.stage,
                "key": k,
                "position": list(self.grid.index3(k)),
                "begin_vox": list(self.grid.core(k).begin),
                "end_vox": list(self.grid.core(k).end),
                "seconds": self._seconds[k],
                "cpu_s": self._cpu_s[k],
                "peak_bytes": self._peak_bytes[k],
                "labels": self._labels[k],
                "host": names[self._hosts[k]] if self._hosts[k] >= 0 else None,
            }
            for k in heapq.nsmallest(SLOWEST, known, key=lambda k: (-(self._seconds[k] or 0), k))
        ]

    def map(self) -> dict[str, Any]:
        """The map of this stage; see the module."""
        assert self.grid is not None
        shape, factor = self.grid.shape, coarsening(self.grid.shape)
        states = self._states.decode()
        columns: dict[str, Any] = {
            "seconds": self._seconds, "cpu_s": self._cpu_s, "peak_bytes": self._peak_bytes,
            "labels": self._labels,
        }  # fmt: skip
        if factor != (1, 1, 1):
            groups = list(squares(shape, factor))
            states = "".join(max((states[k] for k in g), key=_WORSE.__getitem__) for g in groups)
            how: dict[str, Callable[[list[float]], float]] = {
                "seconds": _mean, "cpu_s": _mean, "peak_bytes": max, "labels": sum
            }  # fmt: skip
            columns = {n: _grouped(values, groups, how[n]) for n, values in columns.items()}
        else:
            columns |= {"hosts": _repeats(self._hosts), "runs": _repeats(self._runs)}
        return {
            "stage": self.stage,
            "noun": noun_of(self.stage),
            "shape": [-(-n // f) for n, f in zip(shape, factor, strict=True)],
            "factor": list(factor),
            "cuts": [[*c[:-1:f], c[-1]] for c, f in zip(self.grid.cuts, factor, strict=True)],
            "states": states,
            **{n: c for n, c in columns.items() if any(v is not None for v in c)},
        }


def coarsening(shape: Vec3) -> Vec3:
    """How many blocks along each axis become one square of a map."""
    factor = [1, 1, 1]
    while prod(-(-n // f) for n, f in zip(shape, factor, strict=True)) > MAX_SQUARES:
        longest = max(range(3), key=lambda a: -(-shape[a] // factor[a]))
        factor[longest] *= 2
    return vec3(factor)


def squares(shape: Vec3, factor: Vec3) -> Iterable[list[int]]:
    """The blocks of each square, in raster order."""
    starts = (range(0, n, f) for n, f in zip(shape, factor, strict=True))
    for corner in product(*starts):
        z, y, x = (range(c, min(c + f, n)) for c, f, n in zip(corner, factor, shape, strict=True))
        yield [(i * shape[1] + j) * shape[2] + k for i, j, k in product(z, y, x)]


def _grouped(
    values: Numbers, groups: list[list[int]], reduce: Callable[[list[float]], float]
) -> Numbers:
    found = ([v for k in g if (v := values[k]) is not None] for g in groups)
    return [reduce(known) if known else None for known in found]


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 3)


def _repeats(values: list[int]) -> list[int]:
    """Each value and how often it comes in a row: [value, times, value, times, ...]."""
    found: list[int] = []
    for value in values:
        if found and found[-2] == value:
            found[-1] += 1
        else:
            found += (value, 1)
    return found


def _stored_bytes(stage: str, record: Record) -> int:
    """Bytes of the files that a record names and that hold nothing of another block."""
    if stage == "segment" or join_level(stage):
        return sum(file.size for file in record.files.values())
    return sum(map(sum, record.info.get("chunks", ())))
