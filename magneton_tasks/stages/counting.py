"""What both ways to count share: which blocks a block is counted with, and files that hold many blocks.

A block counts with its later neighbours, so each pair of blocks is counted once. What many blocks
counted goes into common files; a block's record says which rows are its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

from magneton_tasks.stages.loop import Begin, Process
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.blocks import Blocks
from magneton_tasks.work.record import Outcome
from magneton_tasks.work.validity import count_input

#: A file is written when it has this many rows, or after this many seconds: what a kill may cost.
FLUSH_ROWS = 2_000_000
FLUSH_S = 60.0

T = TypeVar("T")


class Neighbourhood:
    """The blocks of a share with their later neighbours, and what each is counted from."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt = attempt
        self.grid = attempt.plan.geometry.grid
        self.keys = keys

    @cached_property
    def later(self) -> dict[int, list[int]]:
        return {key: self.grid.later_neighbours(key) for key in self.keys}

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks(self.attempt, {k for key, near in self.later.items() for k in (key, *near)})

    def expected(self, key: int) -> str:
        digests = {k: self.blocks.digest(k) for k in (key, *self.later[key])}
        return count_input(digests, key, self.later[key])


@dataclass
class Pending(Generic[T]):
    """Counted blocks that aren't written yet."""

    since: float = field(default_factory=time.monotonic)
    rows: int = 0
    keys: list[int] = field(default_factory=list)
    counted: list[T] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def add(self, key: int, counted: T, rows: int, seconds: float) -> None:
        self.keys.append(key)
        self.counted.append(counted)
        self.rows += rows
        self.took.append(seconds)

    @property
    def is_due(self) -> bool:
        return self.rows >= FLUSH_ROWS or time.monotonic() - self.since > FLUSH_S


def into_common_files(
    near: Neighbourhood,
    count: Callable[[int], tuple[T, int]],
    write: Callable[[list[int], list[T]], Iterator[tuple[int, Outcome]]],
) -> Process:
    """Count block by block, and write what many blocks counted together.

    Parameters
    ----------
    count
        What a block counts, and how many rows that is.
    write
        Writes files of these blocks' rows, then yields the outcome of each, which names them.
    """

    def written(pending: Pending[T]) -> Iterator[tuple[int, Outcome | Exception]]:
        try:
            outcomes = list(write(pending.keys, pending.counted))
        except Exception as error:
            yield pending.keys[0], error
            return
        for (key, outcome), seconds in zip(outcomes, pending.took, strict=True):
            yield key, replace(outcome, seconds=seconds)  # what the file took isn't its own

    def process(keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            _ = near.blocks  # what isn't there is waited for once, not once a block
        pending = Pending[T]()
        for key in keys:
            begin(key)
            since = time.monotonic()
            try:
                pending.add(key, *count(key), time.monotonic() - since)
            except Exception as error:
                yield key, error
                continue
            if pending.is_due:
                yield from written(pending)
                pending = Pending[T]()
        if pending.keys:
            yield from written(pending)

    return process
