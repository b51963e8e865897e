"""What the blocks of a group leave open, put into one table; and what of it faces have linked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import DTYPES, Edges, UInt32
from magneton_tasks.kernels.exact.rounds.look_up import row_of, runs_of
from magneton_tasks.kernels.exact.rounds.tables import (
    LABEL_BITS,
    Int64,
    Links,
    Nodes,
    blocks_of,
    empty,
)

#: What `_unions` doesn't find.
_PART, _REGION = 1, 2


class Blocks(NamedTuple):
    """What the blocks of a group leave, one block after the other in the order of their numbers."""

    nodes: Nodes
    """Sorted by name."""
    edges: Edges
    """Between nodes by their rows, from 1; behind them room for contacts, whose values mean nothing."""
    filled: int
    """Rows that are edges."""
    numbers: Int64
    """The blocks that have rows."""
    begins: Int64
    """(blocks + 1,): where each one's basins begin, and their end."""
    basins: UInt32
    """Region of each basin on the blocks' faces, by its label."""

    @classmethod
    def of(
        cls, blocks: Iterable[tuple[Nodes, Edges, UInt32]], regions: int, edges: int, room: int = 0
    ) -> Blocks:
        """Of blocks in the order of their numbers, as `Filling.add` takes them; one is held at a time."""
        filling = Filling(regions, edges, room)
        for block in blocks:
            filling.add(*block)
        return filling.blocks()

    def with_contacts(self, contacts: Edges) -> Edges:
        """All edges, with those that are put into the room."""
        kept = slice(self.filled + _put(self.edges, self.filled, contacts))
        return Edges._make(column[kept] for column in self.edges)

    def unions(self, links: Links, numbers: Int64) -> Int64:
        """Links inside blocks, as int64 (rows, 2) of numbers of nodes.

        Parameters
        ----------
        numbers
            int64, sorted: the group's blocks. Links of others are left out.

        Raises
        ------
        BadDataError
            If a link names what its block doesn't have.
        """
        found, missing = _unions(
            *links, self.nodes.name, numbers, self.numbers, self.begins, self.basins
        )
        if missing:
            what = "names a part of a basin" if missing == _PART else "links a region"
            raise BadDataError(
                f"a face {what} that its block doesn't have",
                "the tables are of different runs: plan again",
            )
        return found


class Filling:
    """The table while blocks are put into it.

    Parameters
    ----------
    regions, edges
        Of all blocks.
    room
        Rows for contacts.
    """

    def __init__(self, regions: int, edges: int, room: int = 0) -> None:
        self._nodes, self._edges = _room_for(Nodes, regions), _room_for(Edges, edges + room)
        self._numbers, self._basins = list[int](), [np.zeros(0, np.uint32)]
        self._row = self._count = 0
        self._given: Edges | None = None

    def edges(self, count: int) -> Edges:
        """Room for the edges of the next block: who fills it needn't hold them as well."""
        rows = slice(self._count, self._count + count)
        self._given = Edges._make(column[rows] for column in self._edges)
        return self._given

    def add(self, own: Nodes, between: Edges, on_faces: UInt32) -> None:
        """Put a block in, whose number is above those of the blocks before.

        Parameters
        ----------
        own
            Its open regions.
        between
            Its edges by rows of these, from 1: what `edges` gave, else they are copied.
        on_faces
            As `Blocks.basins`.
        """
        if not own.name.size:
            return
        _put(self._nodes, self._row, own)
        if between is not self._given:
            _put(self._edges, self._count, between)
        end = self._count + between.u.size
        self._edges.u[self._count : end] += np.uint32(self._row)
        self._edges.v[self._count : end] += np.uint32(self._row)
        self._numbers.append(int(blocks_of(own.name[:1])[0]))
        self._basins.append(on_faces)
        self._row, self._count = self._row + own.name.size, end

    def blocks(self) -> Blocks:
        """All of them."""
        return Blocks(
            self._nodes,
            self._edges,
            self._count,
            np.array(self._numbers, np.int64),
            np.cumsum([part.size for part in self._basins], dtype=np.int64),
            np.concatenate(self._basins),
        )


_DTYPES = {Edges: DTYPES[Edges], Nodes: tuple(c.dtype for c in empty(Nodes))}


def _room_for(kind: type[Any], rows: int) -> Any:
    """A table whose values mean nothing."""
    return kind._make(np.empty(rows, dtype) for dtype in _DTYPES[kind])


def _put(table: Any, begin: int, rows: Any) -> int:
    """Write rows into a table of their kind; returns how many."""
    count: int = rows[0].size
    for column, values in zip(table, rows, strict=True):
        column[begin : begin + count] = values
    return count


@njit(nogil=True)
def _unions(
    u: Int64,
    v: Int64,
    names: Int64,
    group: Int64,
    numbers: Int64,
    begins: Int64,
    basins: UInt32,
) -> tuple[Int64, int]:
    """`Blocks.unions`, and what is missing. An end that is minus a part means that one's region."""
    unions = np.empty((u.size, 2), np.int64)
    runs = runs_of(names)
    run = ours = row = 0
    count = 0
    for k in range(u.size):
        ours = _place(group, ours, abs(u[k]) >> LABEL_BITS)
        if ours < 0:
            ours = 0
            continue
        for side in range(2):
            end = v[k] if side else u[k]
            if end < 0:
                row = _place(numbers, row, -end >> LABEL_BITS)
                at = begins[row] + (-end & ((1 << LABEL_BITS) - 1)) - 1 if row >= 0 else 0
                if row < 0 or at >= begins[row + 1]:
                    return unions[:0], _PART
                end = (numbers[row] << LABEL_BITS) + np.int64(basins[at])
            node, run = row_of(names, runs, run, end)
            if node < 0:
                return unions[:0], _REGION
            unions[count, side] = node + 1
        count += 1
    return unions[:count], 0


@njit(nogil=True)
def _place(numbers: Int64, guess: int, wanted: int) -> int:
    """Where a number is in a sorted column; -1: nowhere."""
    if guess < numbers.size and numbers[guess] == wanted:
        return guess
    place = int(np.searchsorted(numbers, wanted))
    return place if place < numbers.size and numbers[place] == wanted else -1
