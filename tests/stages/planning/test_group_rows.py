"""Rows that groups read, by sums over boxes, against a count block by block and face by face."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.rounds import Groups, blocks_within, faces_of
from magneton_tasks.stages.planning.group_rows import SentRows, first_rows, sent_rows
from magneton_tasks.work.record import Info, Record
from tests.helpers.examples import examples

shapes = st.tuples(*(st.integers(1, 5) for _ in range(3)))
spans = st.tuples(*(st.integers(1, 4) for _ in range(3)))


def records(rng: np.random.Generator, grid: Grid) -> tuple[dict[int, Record], dict[int, Record]]:
    """Of segment and faces; some blocks are empty."""
    blocks, faces = dict[int, Record](), dict[int, Record]()
    for key in range(len(grid)):
        tables = ("regions", "edges", "basins", "pairs")
        rows = {table: int(rng.integers(0, 1000)) for table in tables}
        info = Info(rows=rows) if rng.random() < 0.8 else Info()
        blocks[key] = Record(key, "done", 0.0, info=info)
        axes = [axis for block, axis in faces_of(grid.shape, [key]) if block == key]
        contacts = {str(axis): int(rng.integers(0, 1000)) for axis in axes}
        rows = {"contacts": sum(contacts.values()), "parts": 70 * len(axes), "pairs": 3}
        faces[key] = Record(key, "done", 0.0, info=Info(contacts=contacts, rows=rows))
    return blocks, faces


@examples(25, 500)
@given(shapes, spans, st.integers(1, 30), st.integers(0, 2**32))
def test_rows_of_the_first_round(shape: Vec3, span: Vec3, reach: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y, x = ((0, *np.cumsum(rng.integers(1, 20, n)).tolist()) for n in shape)
    grid, groups = Grid((z, y, x)), Groups.of_span(shape, span)
    blocks, faces = records(rng, grid)
    found = first_rows(grid, reach, blocks, faces)(groups)
    assert found.shape == groups.shape
    for group in range(len(groups)):
        own, around = groups.blocks_of(group), blocks_within(grid, groups, group, reach)
        rows = {
            table: sum(blocks[b].info.get("rows", {}).get(table, 0) for b in own)
            for table in ("regions", "edges", "basins")
        }
        rows["contacts"] = sum(
            faces[b].info["contacts"][str(axis)] for b, axis in faces_of(shape, own)
        )
        owners = {b for b, _ in faces_of(shape, around)}
        told = [faces[b].info["rows"] for b in owners]
        rows["undecided"] = sum(rows["parts"] + rows["pairs"] for rows in told)
        least = cost_exact.first_rows(rows, alone=len(groups) == 1)
        assert least <= found.flat[group]
        # Of blocks that touch those around along an edge, no face is read; they are counted.
        rows["undecided"] = sum(r.info["rows"]["parts"] + 3 for r in faces.values())
        assert found.flat[group] <= cost_exact.first_rows(rows, alone=len(groups) == 1)


@examples(25, 500)
@given(shapes, spans, st.integers(1, 3), st.integers(0, 2**32))
def test_rows_that_were_sent(shape: Vec3, span: Vec3, times: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fine = Groups.of_span(shape, span)
    groups = Groups.of_span(shape, (span[0] * times, span[1], span[2] * times))
    sent = {g: int(rng.integers(1, 100)) for g in range(len(fine)) if rng.random() < 0.7}
    found = sent_rows(fine, sent)(groups)
    expected = np.zeros(len(groups), np.int64)
    for group, rows in sent.items():
        expected[groups.group_of(fine.blocks_of(group)[0])] += rows
    assert found.reshape(-1).tolist() == expected.tolist()


@examples(25, 500)
@given(st.integers(0, 2**32))
def test_who_sent_to_fine_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sent = {
        key: {str(to): rng.integers(0, 9, 2).tolist() for to in rng.permutation(12)[: key % 5]}
        for key in range(20)
    }
    told = SentRows.of({k: Record(k, "done", 0.0, info=Info(sent=s)) for k, s in sent.items()})
    fine = sorted(rng.permutation(14)[:4].tolist())
    found = told.at(fine)
    expected = {(k, int(to)): sum(n) for k, s in sent.items() for to, n in s.items()}
    mine = {pair: rows for pair, rows in expected.items() if pair[1] in fine}
    columns = (found.sender.tolist(), found.to.tolist())
    assert dict(zip(zip(*columns, strict=True), found.rows.tolist(), strict=True)) == mine
    assert len(found.rows) == len(mine)
