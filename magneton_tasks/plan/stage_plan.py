"""What one stage of an attempt has to do, as plain data: ranges of blocks or cells, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.base.grid import Ranges, ranges_len, share

#: Airflow's scheduler suffers from some 500 mapped tasks on (apache/airflow#45991).
MAX_BATCHES = 256
#: A mapped task costs Airflow half a CPU second: a batch should be worth minutes.
TARGET_BATCH_S = 300.0
#: Where people watch a stage's tasks, each block is one while there are few, or some that take long:
#: so many, and so many of at least so many CPU seconds each.
FEW_BLOCKS = 16
SOME_BLOCKS, LONG_BLOCK_S = 64, 10.0
#: Seconds until a worker has its libraries (benchmarks/pool.py, start-up).
START_S = 1.7


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one mapped stage has to do: indices of blocks or cells, cut into batches."""

    total: int
    todo: Ranges = field(default_factory=list)
    batches: int = 0
    cpu_s: float = 0.0
    #: shares of a batch that run side by side: indexes of a job array; 1 where runners have none
    parts: int = 1

    def batch(self, k: int) -> tuple[int, int]:
        """Positions in ``todo`` that batch ``k`` works."""
        return share(ranges_len(self.todo), k, self.batches)

    def expected_s(self, workers: int) -> float:
        """Wall time to expect, in seconds: the CPU time, shared, and the start of the processes."""
        return self.cpu_s / workers + ceil_div(self.batches, workers) * START_S


def all_of(works: Sequence[StagePlan]) -> StagePlan:
    """The work of a stage at several thresholds as one: blocks and batches of one after the other's."""
    total, todo = 0, list[tuple[int, int]]()
    for work in works:
        todo += [(begin + total, end + total) for begin, end in work.todo]
        total += work.total
    return StagePlan(
        total,
        todo,
        sum(work.batches for work in works),
        sum(work.cpu_s for work in works),
        max((work.parts for work in works), default=1),
    )


def make_stage(
    total: int, todo: Ranges, cpu_s: float, workers: int, *, by_block: bool = False
) -> StagePlan:
    """Cut what is to do into batches of some minutes: at least one per worker while there are enough
    blocks, at most `MAX_BATCHES`. ``by_block``: few blocks are a batch each.
    """
    n = ranges_len(todo)
    wanted = max(workers, round(cpu_s / TARGET_BATCH_S))
    if by_block and (n <= FEW_BLOCKS or (n <= SOME_BLOCKS and cpu_s >= n * LONG_BLOCK_S)):
        wanted = n
    return StagePlan(total, todo, min(n, wanted, MAX_BATCHES), cpu_s)
