"""Blocks that are held for faces still to be worked: those that are needed again soonest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Generic, TypeVar

from magneton_tasks.base.grid import Grid
from magneton_tasks.plan.rounds import faces_of

T = TypeVar("T")


class HeldBlocks(Generic[T]):
    """What faces need of blocks, read once as long as there is room for it.

    Parameters
    ----------
    keys
        In this order the high faces of blocks are worked, so it is known when each is needed again.
    most
        Blocks that are held, beside the two of the face that is worked.
    read
        Reads a block.
    """

    def __init__(
        self, grid: Grid, keys: Sequence[int], most: int, read: Callable[[int], T]
    ) -> None:
        self._shape, self._most, self._read = grid.shape, most, read
        self._turn = {key: turn for turn, key in enumerate(keys)}
        self._held: dict[int, T] = {}
        #: of each that is held: when it is needed again
        self._again: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, block: int) -> T:
        """A block."""
        if block not in self._held:
            self._held[block] = self._read(block)
        return self._held[block]

    def worked(self, block: int, key: int) -> None:
        """Hold on to a block only for faces after those of ``key``, and only if there is room."""
        owners = {owner for owner, _ in faces_of(self._shape, [block])}
        turns = (self._turn.get(owner, -1) for owner in owners)
        again = min((turn for turn in turns if turn > self._turn[key]), default=inf)
        if block in self._held:
            self._again[block] = again
        if again == inf:
            self._drop(block)
        while len(self._again) > self._most:
            self._drop(max(self._again, key=self._again.__getitem__))

    def _drop(self, block: int) -> None:
        self._held.pop(block, None)
        self._again.pop(block, None)
