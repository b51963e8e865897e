from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from magneton_tasks.base import files
from magneton_tasks.errors import CorruptFileError, NotVisibleError, OutputError
from magneton_tasks.kernels.overlap.overlap import Pairs
from magneton_tasks.work import parquet, pool_table, tables
from magneton_tasks.work.pool_table import PoolTable, write_pool
from magneton_tasks.work.record import Kind
from magneton_tasks.work.tables import PAIR_COLUMNS
from tests.helpers.lagging import hide_new_files


def some_pairs(blocks: list[tuple[int, int, int]], seed: int = 0) -> dict[str, Any]:
    """Columns of (block a, block b, number of pairs)."""
    rng = np.random.default_rng(seed)
    return tables.pair_columns(
        (a, b, Pairs(*rng.integers(0, 2**32, (7, n), np.uint32))) for a, b, n in blocks
    )


def joined(batches: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, column in expected.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP", 7)
    monkeypatch.setattr(pool_table, "_ROW_GROUP", 7)


def rows_of(kind: Kind, path: Path) -> Iterator[dict[str, Any]]:
    """All rows of a table."""
    return tables.iter_rows(path, None, None, kind, 0)


# ---- pairs and sizes


def test_pairs_come_back_in_their_order(tmp_path: Path) -> None:
    columns = some_pairs([(0, 1, 3), (0, 9, 0), (1, 2, 4)])
    assert tuple(columns) == PAIR_COLUMNS
    np.testing.assert_array_equal(columns["block_a"], [0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(columns["block_b"], [1, 1, 1, 2, 2, 2, 2])
    info = tables.write_pairs(tmp_path / "pairs.parquet", columns)
    assert info.size == (tmp_path / "pairs.parquet").stat().st_size
    assert_same(joined(list(rows_of("pairs", tmp_path / "pairs.parquet"))), columns)


def test_anyone_can_read_them(tmp_path: Path) -> None:
    columns = some_pairs([(0, 1, 3)])
    tables.write_pairs(tmp_path / "pairs.parquet", columns)
    table = pq.read_table(tmp_path / "pairs.parquet")
    assert table.column_names == list(PAIR_COLUMNS)
    assert {str(field.type) for field in table.schema} == {"uint32"}
    assert table.column("n").to_pylist() == columns["n"].tolist()


@pytest.mark.usefixtures("small_groups")
def test_no_block_pair_is_torn(tmp_path: Path) -> None:
    # Row groups of 7: pairs that end at a border, cross one, span several; the same a, another b.
    blocks = [(0, 1, 7), (0, 2, 3), (1, 2, 20), (1, 3, 1), (2, 3, 1), (2, 4, 9)]
    columns = some_pairs(blocks)
    tables.write_pairs(tmp_path / "p", columns)
    batches = list(rows_of("pairs", tmp_path / "p"))
    assert len(batches) > 2
    assert_same(joined(batches), columns)
    seen = [set(zip(b["block_a"].tolist(), b["block_b"].tolist(), strict=True)) for b in batches]
    assert sum(map(len, seen)) == len(blocks)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(
    "wanted", [[0], [1], [0, 1], [0, 2], [2, 5], [1, 3, 5], [0, 1, 2, 3, 4, 5], []]
)
def test_only_the_rows_asked_for_are_read(tmp_path: Path, wanted: list[int]) -> None:
    counts = [7, 3, 20, 1, 4, 9]
    columns = some_pairs([(k, k + 1, n) for k, n in enumerate(counts)])
    info = tables.write_pairs(tmp_path / "p", columns)
    ends = np.cumsum(counts).tolist()
    ranges = [(ends[k] - counts[k], ends[k]) for k in wanted]
    batches = list(tables.iter_rows(tmp_path / "p", info, ranges, "pairs", 0))
    inside = np.isin(columns["block_a"], wanted)
    if not wanted:
        assert batches == []
    else:
        assert_same(joined(batches), {name: c[inside] for name, c in columns.items()})


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    columns = some_pairs([(0, 1, 3)])
    tables.write_pairs(tmp_path / "p", columns)
    (batch,) = tables.iter_rows(tmp_path / "p", None, None, "pairs", 0, ["n", "block_b"])
    assert_same(batch, {name: columns[name] for name in ("block_a", "block_b", "n")})


@pytest.mark.usefixtures("small_groups")
def test_sizes_come_back_and_no_block_is_torn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = {k: rng.integers(0, 2**32, (2, n), np.uint32) for k, n in enumerate([5, 0, 9, 30, 1])}
    tables.write_label_sizes(tmp_path / "s", ((k, core, read) for k, (core, read) in sizes.items()))
    found: dict[int, Any] = {}
    for batch in rows_of("sizes", tmp_path / "s"):
        for block in np.unique(batch["block"]):
            assert block not in found
            rows = batch["block"] == block
            found[int(block)] = np.stack([batch["core"][rows], batch["read"][rows]])
    assert set(found) == {0, 2, 3, 4}  # a block without labels has no rows
    for block, expected in found.items():
        np.testing.assert_array_equal(sizes[block], expected)


def test_tables_without_rows(tmp_path: Path) -> None:
    tables.write_pairs(tmp_path / "p", tables.pair_columns([]))
    tables.write_label_sizes(tmp_path / "s", [])
    assert list(rows_of("pairs", tmp_path / "p")) == []
    assert list(rows_of("sizes", tmp_path / "s")) == []


# ---- the pool table


def some_ids(first: int, counts: list[int]) -> dict[int, Any]:
    rng = np.random.default_rng(first)
    return {first + k: rng.integers(0, 2**63, n, np.uint64) for k, n in enumerate(counts)}


@pytest.mark.usefixtures("small_groups")
def test_every_block_finds_its_ids(tmp_path: Path) -> None:
    ids = some_ids(0, [0, 7, 3, 0, 25, 1]) | some_ids(6, [14, 0]) | some_ids(8, [0])
    for some in (range(6), range(6, 8), range(8, 9)):
        write_pool(tmp_path, {k: ids[k] for k in some})
    table = PoolTable(tmp_path, wait_s=0)
    for block in [*ids, *reversed(ids)]:
        found = table.global_ids(block)
        assert found.dtype == np.uint64
        np.testing.assert_array_equal(found, ids[block])


def test_a_million_labels_in_blocks_of_thousands(tmp_path: Path) -> None:
    ids = some_ids(100, [10_000] * 100)
    _, info = write_pool(tmp_path, ids)
    assert os.listdir(tmp_path) == ["pool-0000100-0000200.parquet"]
    assert info.size < 1_000_000 * 10
    table = PoolTable(tmp_path, wait_s=0)
    for block in (100, 137, 199):
        np.testing.assert_array_equal(table.global_ids(block), ids[block])


def test_blocks_with_gaps_make_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gaps"):
        write_pool(tmp_path, some_ids(0, [1]) | some_ids(2, [1]))


@pytest.mark.parametrize("block", [2, 9])
def test_a_block_that_no_file_has_is_an_error(tmp_path: Path, block: int) -> None:
    write_pool(tmp_path, some_ids(0, [1, 1]))
    write_pool(tmp_path, some_ids(3, [1, 1]))
    with pytest.raises(NotVisibleError, match=f"block {block}"):
        PoolTable(tmp_path, wait_s=0).global_ids(block)


def test_labels_that_are_not_one_to_n_are_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, columns: dict[str, Any], *rest: Any) -> Any:
        columns["label"][1] = 7
        return real(path, columns, *rest)

    real = parquet.write
    monkeypatch.setattr(parquet, "write", write)
    write_pool(tmp_path, some_ids(0, [3]))
    with pytest.raises(CorruptFileError, match="block 0 aren't 1 to 3"):
        PoolTable(tmp_path, wait_s=0).global_ids(0)


def test_a_table_without_offsets_is_corrupt(tmp_path: Path) -> None:
    tables.write_pairs(tmp_path / "pool-0000000-0000009.parquet", some_pairs([(0, 1, 3)]))
    with pytest.raises(CorruptFileError, match="no offsets"):
        PoolTable(tmp_path, wait_s=0).global_ids(0)


def test_a_table_with_other_rows_than_its_offsets_say_is_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, columns: dict[str, Any], *rest: Any) -> Any:
        return real(path, {name: column[:-1] for name, column in columns.items()}, *rest)

    real = parquet.write
    monkeypatch.setattr(parquet, "write", write)
    write_pool(tmp_path, some_ids(0, [3, 4]))
    with pytest.raises(CorruptFileError, match="6 rows, 7 expected"):
        PoolTable(tmp_path, wait_s=0).global_ids(0)


# ---- trouble


def test_files_that_show_up_a_minute_late_are_read(tmp_path: Path) -> None:
    with hide_new_files(60, under=tmp_path) as disk:
        info = tables.write_pairs(tmp_path / "p", some_pairs([(0, 1, 3)]))
        (batch,) = tables.iter_rows(tmp_path / "p", info, None, "pairs", 120)
        assert len(batch["n"]) == 3
        write_pool(tmp_path, some_ids(0, [5]))
        asks = disk.hidden_asks
        assert len(PoolTable(tmp_path, wait_s=120).global_ids(0)) == 5
        assert disk.hidden_asks > asks > 0


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NotVisibleError, match="nowhere"):
        list(rows_of("pairs", tmp_path / "nowhere"))


def test_a_truncated_table_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "p"
    info = tables.write_pairs(path, some_pairs([(0, 1, 1000)]))
    data = path.read_bytes()
    for size in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptFileError, match="/p "):
            list(tables.iter_rows(path, info, None, "pairs", 0))
        with pytest.raises(CorruptFileError, match="/p "):
            list(rows_of("pairs", path))


@pytest.mark.parametrize("bit", [1, 4, 16])
def test_a_changed_bit_anywhere_is_noticed(bit: int, tmp_path: Path) -> None:
    """In the pages, and in the footer, which has no checksum of its own."""
    path = tmp_path / "p"
    info = tables.write_pairs(path, some_pairs([(0, 1, 20_000)]))
    data = path.read_bytes()
    footer = 8 + int.from_bytes(data[-8:-4], "little")
    pages = np.linspace(4, len(data) - footer - 1, 40).astype(int).tolist()
    for at in (*pages, *range(len(data) - footer, len(data), 3)):
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        with pytest.raises(CorruptFileError, match="/p "):
            list(tables.iter_rows(path, info, None, "pairs", 0))


def test_a_changed_bit_anywhere_in_the_pool_table_is_noticed(tmp_path: Path) -> None:
    ids = some_ids(0, [20, 20])
    name, info = write_pool(tmp_path, ids)
    data = (tmp_path / name).read_bytes()
    for at in range(len(data)):
        (tmp_path / name).write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        table = PoolTable(tmp_path, 0, {name: info})
        with pytest.raises(CorruptFileError, match=name):
            table.global_ids(1)
        with pytest.raises(CorruptFileError, match=name):
            table.counts()


def test_fewer_rows_than_recorded_are_corrupt(tmp_path: Path) -> None:
    tables.write_pairs(tmp_path / "p", some_pairs([(0, 1, 3)]))
    with pytest.raises(CorruptFileError, match="3 rows, 9 recorded"):
        list(tables.iter_rows(tmp_path / "p", None, [(0, 9)], "pairs", 0))


def test_a_damaged_pool_table_is_corrupt(tmp_path: Path) -> None:
    write_pool(tmp_path, some_ids(0, [500]))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    with pytest.raises(CorruptFileError, match="pool-0000000"):
        PoolTable(tmp_path, wait_s=0).global_ids(0)
    path.write_bytes(data[:-100])
    with pytest.raises(CorruptFileError, match="pool-0000000"):
        PoolTable(tmp_path, wait_s=0).global_ids(0)


def test_a_full_disk_is_an_output_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: Any) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="free space"):
        write_pool(tmp_path / "pool", some_ids(0, [5]))
    monkeypatch.undo()
    assert files.listdir(tmp_path / "pool") == []
    assert os.listdir(tmp_path / "pool") == []
