"""The memory that a task of a later round takes, above its idle process, against what plan projects.

Rows are made up, and a forked child reads, links and writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.rounds.round_step import later_round
from magneton_tasks.kernels.exact.rounds.tables import (
    NO_SCORE,
    HalfEdges,
    Int64,
    Names,
    Nodes,
    names_of,
    stack,
)
from magneton_tasks.plan import cost_exact
from magneton_tasks.work.slice_writer import SliceWriter
from magneton_tasks.work.slices import opened, read_all
from tests.helpers.memory import fresh_process, grown_by

SETTINGS = ExactSettings(threshold=0.05)
#: What reading and writing begin with; small beside the bound's room for a process.
FIRST_BYTES = 16 << 20
RNG = np.random.default_rng(0)


def some_names(block: int, count: int) -> Names:
    """Of a group whose regions all stayed as they were."""
    names = names_of(block, np.arange(1, count + 1))
    size, none = RNG.integers(10, 5000, count), np.full(count, NO_SCORE, np.uint32)
    at, rows = np.full(count, block, np.uint32), np.arange(count, dtype=np.uint32)
    return Names(
        names, names, size, np.ones(count, np.bool_), at, none, names, size, none, rows, none
    )


def half_edges(ends: list[tuple[Int64, Int64, int]], mean: int) -> HalfEdges:
    """(u in block 0, v, block of v): edges of this mean affinity."""
    tables = []
    for u, v, block in ends:
        count = RNG.integers(1, 50, u.size)
        last = RNG.permutation(u.size) + 1
        key = (RNG.integers(1, 255, u.size) << KEY_BITS) - last
        at, size = np.full(u.size, block, np.uint32), RNG.integers(10, 5000, u.size)
        names = names_of(0, u), names_of(block, v)
        tables.append(HalfEdges(*names, at, size, mean * count, count, last, key))
    return stack(tables)


def sent(folder: Path, own: int, ghosts: int, edges: int, inside: float, mean: int) -> None:
    """Write what is sent to group 0, and the names of groups 0 and 1."""
    k = int(edges * inside) // 2
    a, b = RNG.integers(1, own, k), RNG.integers(1, own, k)
    b += b >= a
    u, v = RNG.integers(1, own + 1, edges - 2 * k), RNG.integers(1, ghosts + 1, edges - 2 * k)
    half = half_edges([(a, b, 0), (b, a, 0), (u, v, 1)], mean)
    names = some_names(0, own)
    nodes = Nodes(names.old, names.size, names.least, names.low, names.at)
    with SliceWriter(folder / "sent", [Nodes, HalfEdges]) as writer:
        writer.add(0, nodes)
        writer.add(0, half)
    with SliceWriter(folder / "names", [Names]) as writer:
        writer.add(0, names)
        writer.add(1, some_names(1, ghosts))


def work(folder: Path) -> tuple[int, int]:
    """The task; (rows, rows of the largest table of names)."""

    def names(group: int) -> Names:
        with opened(folder / "names", None, 0) as file:
            return file.read(Names, sources=[group])

    read = read_all({folder / "sent": None}, [Nodes, HalfEdges], 0)
    rows = sum(len(table[0]) for table in read)
    found = later_round(read.pop(0), read.pop(0), lambda b: b, names, 0, SETTINGS)
    with SliceWriter(folder / f"out-{os.getpid()}", [Nodes, HalfEdges, Names]) as writer:
        writer.add(0, found.nodes)
        writer.add(0, found.half, found.half_at)
        writer.add(0, found.names)
    return rows, max(len(names(group).old) for group in (0, 1))


def grown_by_work(folder: Path, little: Path) -> int:
    return grown_by(lambda: work(folder), lambda: work(little))


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hardly any rows."""
    folder = tmp_path_factory.mktemp("little")
    sent(folder, 50, 50, 500, 0.5, 100)
    return folder


@pytest.fixture(scope="module")
def fresh(little: Path) -> Iterator[Executor]:
    with fresh_process() as process:
        process.submit(work, little).result()  # loads what is compiled
        yield process


@pytest.mark.parametrize(
    ("own", "ghosts", "inside", "mean"),
    [
        pytest.param(40_000, 40_000, 1.0, 200, id="no ghosts, all merge"),
        pytest.param(40_000, 40_000, 0.5, 200, id="half of them ghosts"),
        pytest.param(40_000, 40_000, 0.0, 200, id="ghosts alone"),
        pytest.param(40_000, 40_000, 0.5, 1, id="nothing merges"),
        pytest.param(300_000, 300_000, 0.5, 60, id="hardly any edges"),
        pytest.param(50, 300_000, 0.0, 200, id="hubs"),
    ],
)
def test_a_round_takes_no_more_than_projected_and_not_far_less(
    tmp_path: Path,
    little: Path,
    fresh: Executor,
    own: int,
    ghosts: int,
    inside: float,
    mean: int,
) -> None:
    sent(tmp_path, own, ghosts, 400_000, inside, mean)
    rows, names = work(tmp_path)
    grown = fresh.submit(grown_by_work, tmp_path, little).result()
    bound = cost_exact.round_bytes(rows, names) - cost_exact.round_bytes(0)
    assert grown <= bound + FIRST_BYTES
    assert grown >= bound / 2


def test_the_budget_is_what_the_bound_allows() -> None:
    for limit in (400 << 20, 1 << 30, 10 << 30):
        for names in (0, 100_000):
            rows = cost_exact.round_rows(limit, names)
            assert cost_exact.round_bytes(rows, names) <= limit
            assert cost_exact.round_bytes(rows + 1, names) > limit
    assert cost_exact.round_rows(1) == 1


def test_as_much_is_cut_together_as_the_bound_allows() -> None:
    for limit in (400 << 20, 500 << 20):
        for names in (0, 100_000, 10_000_000):
            together = cost_exact.cut_together_bytes(limit, 200_000, names)
            assert together == 0 or cost_exact.cut_bytes(200_000, together, names) <= limit
            fits_more = cost_exact.cut_bytes(200_000, together + 1, names) <= limit
            assert not fits_more or together == cost_exact.CUT_TOGETHER
