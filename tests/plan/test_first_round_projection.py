"""The memory that a task of round 0 takes, above its idle process, against what plan projects.

Blocks and faces are made up: rows that take the most memory that rows of a kind can take.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.base import heap
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.residual import Edges, UInt32
from magneton_tasks.kernels.exact.rounds.blocks_table import Blocks
from magneton_tasks.kernels.exact.rounds.round_step import first_round
from magneton_tasks.kernels.exact.rounds.tables import (
    LABEL_BITS,
    MUST,
    NO_SCORE,
    Crossings,
    FaceTables,
    HalfEdges,
    Int64,
    Links,
    Names,
    Nodes,
    PartPairs,
    Parts,
    RegionContacts,
    empty,
    names_of,
)
from magneton_tasks.plan import cost_exact
from magneton_tasks.work.slice_writer import SliceWriter
from magneton_tasks.work.slices import read_all
from tests.helpers.memory import fresh_process, grown_by

SETTINGS = ExactSettings(threshold=0.05)
#: Beside rows: pages that are written, and their packing. A process's bound has room for it.
ROOM_BYTES = 16 << 20
BLOCKS = 8
KINDS = (RegionContacts, Parts, Crossings, PartPairs)


@dataclass(frozen=True)
class Made:
    """Rows of each of the blocks, and what they are like."""

    regions: int
    edges: int
    contacts: int
    mean: int = 200
    """Of the affinities of all edges."""
    voxels: int = 500
    """Of each region."""
    certain: bool = False
    """Each contact unites; they lead out of the group."""
    parts: int = 0
    """Of basins; as many crossings, and pairs."""

    @property
    def rows(self) -> dict[str, int]:
        each = {
            "regions": self.regions, "edges": self.edges, "basins": self.regions,
            "contacts": self.contacts, "undecided": 3 * self.parts,
        }  # fmt: skip
        return {table: BLOCKS * count for table, count in each.items()}


def names(rng: np.random.Generator, made: Made, rows: int) -> Int64:
    """Of regions (or basins) of the group."""
    return (rng.integers(0, BLOCKS, rows) << LABEL_BITS) + rng.integers(1, made.regions + 1, rows)


def sums(rng: np.random.Generator, made: Made, rows: int) -> tuple[Int64, Int64, Int64, Int64]:
    """Sum, count, last and key of voxel edges."""
    count, last = rng.integers(1, 50, rows), rng.permutation(rows) + 1
    return made.mean * count, count, last, (rng.integers(1, 255, rows) << KEY_BITS) - last


def write(folder: Path, made: Made) -> None:
    """What the task reads."""
    rng = np.random.default_rng(0)
    for block in range(BLOCKS):
        u = rng.integers(1, made.regions, made.edges)
        v = rng.integers(1, made.regions, made.edges)
        v += v >= u
        ends = u.astype(np.uint32), v.astype(np.uint32)
        np.savez(folder / f"{block}.npz", *ends, *sums(rng, made, made.edges))
    rows = BLOCKS * made.contacts
    other = (BLOCKS << LABEL_BITS) + rng.integers(1, made.contacts + 1, rows)
    if not made.certain:
        other = names(rng, made, rows)
    size = np.full(rows, made.voxels)
    total, count, last, key = sums(rng, made, rows)
    key = np.full(rows, MUST) if made.certain else key
    own = names(rng, made, rows)
    contacts = RegionContacts(own, other, size, size, total, count, last, key)
    parts = BLOCKS * made.parts
    part = np.unique(names(rng, made, parts))
    one, two = rng.choice(part, (2, parts)) if parts else (part, part)
    *_, keys = sums(rng, made, parts)
    sides = np.full(part.size, 3, np.uint8)
    tables = (
        contacts,
        Parts(part, sides, np.full(part.size, 10), keys[: part.size], part, part),
        Crossings(one, two, one, two, keys, rng.random(parts) < 0.2),
        PartPairs(one, two, keys),
    )
    with SliceWriter(folder / "faces", KINDS) as writer:
        for table in tables:
            writer.add(0, table)


def blocks(folder: Path, made: Made) -> Iterator[tuple[Nodes, Edges, UInt32]]:
    """One at a time, as their files are read."""
    labels = np.arange(1, made.regions + 1)
    for block in range(BLOCKS):
        own = names_of(block, labels)
        low, at = np.full(own.size, NO_SCORE, np.uint32), np.full(own.size, block, np.uint32)
        with np.load(folder / f"{block}.npz") as columns:
            edges = Edges(*(columns[name] for name in columns.files))
        nodes = Nodes(own, np.full(own.size, made.voxels), own, low, at)
        yield nodes, edges, labels.astype(np.uint32)


def work(folder: Path, made: Made) -> None:
    """The task."""
    contacts, parts, crossings, pairs = read_all({folder / "faces": None}, list(KINDS), 0)
    none = empty(Parts), empty(Crossings), empty(PartPairs), np.zeros(0, np.int64)
    far = FaceTables(empty(RegionContacts), empty(Links), parts, crossings, pairs, none[-1])
    found = first_round(
        Blocks.of(
            blocks(folder, made),
            BLOCKS * made.regions,
            BLOCKS * made.edges,
            contacts.a.size + crossings.a.size,
        ),
        np.arange(BLOCKS),
        [FaceTables(contacts, empty(Links), *none)],
        [far],
        SETTINGS,
    )
    with SliceWriter(folder / f"out-{os.getpid()}", [Nodes, HalfEdges, Names]) as writer:
        writer.add(0, found.nodes, found.nodes.at.astype(np.int64))
        writer.add(0, found.half, found.half_at)
        writer.add(0, found.names)


def give_back_at_once() -> None:
    """Arrays of a small task are given back as those of a large one are."""
    heap._LEAST_GIVEN_BACK_BYTES, heap._KEPT_BYTES = 1 << 16, 0
    heap.give_back_early()


def grown_by_work(folder: Path, made: Made, little: Path) -> int:
    return grown_by(lambda: work(folder, made), lambda: work(little, LITTLE))


LITTLE = Made(50, 100, 20, parts=10)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("little")
    write(folder, LITTLE)
    return folder


@pytest.fixture(scope="module")
def fresh(little: Path) -> Iterator[Executor]:
    with fresh_process() as process:
        process.submit(give_back_at_once).result()
        process.submit(work, little, LITTLE).result()  # loads what is compiled
        yield process


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(Made(1500, 15000, 1500), id="one group, all merge by mean"),
        pytest.param(Made(1500, 15000, 1500, voxels=5), id="one group, all are small"),
        pytest.param(Made(10000, 5000, 1500), id="one group, hardly any edges"),
        pytest.param(Made(500, 15000, 500, mean=100, certain=True), id="all stays open"),
        pytest.param(Made(10000, 10000, 10000, mean=1, certain=True), id="all regions stay open"),
        pytest.param(Made(2500, 2500, 15000, mean=1, certain=True), id="faces alone"),
        pytest.param(Made(5000, 2500, 1250, parts=15_000), id="basins on faces"),
    ],
)
def test_the_first_round_takes_no_more_than_projected_and_not_far_less(
    tmp_path: Path, little: Path, fresh: Executor, made: Made
) -> None:
    write(tmp_path, made)
    grown = fresh.submit(grown_by_work, tmp_path, made, little).result()
    rows = cost_exact.first_rows(made.rows, alone=not made.certain)
    bound = cost_exact.round_bytes(rows) - cost_exact.round_bytes(0)
    assert grown <= bound + ROOM_BYTES
    assert grown >= bound / 3
