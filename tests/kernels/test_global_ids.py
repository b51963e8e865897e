"""Union-find over blocks: ids, sizes, what is left out, the report, and bad input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.methods import Rule
from magneton_tasks.errors import BadDataError, ConfigError, MagnetonError
from magneton_tasks.kernels import global_ids, pool_report
from magneton_tasks.kernels.global_ids import Pool, Pooling
from magneton_tasks.kernels.overlap.pool_rules import MATCH_COLUMNS, match

Join = tuple[int, int, int, int]


def add(union: Pooling, joins: Sequence[Join]) -> None:
    """Joins as (block_a, label_a, block_b, label_b)."""
    block_a, label_a, block_b, label_b = np.array(joins, np.uint32).reshape(-1, 4).T
    union.add(block_a, block_b, label_a, label_b)


def pooled(labels: Sequence[int], *joins: Join) -> Pool:
    union = Pooling(np.array(labels, np.int64))
    add(union, joins)
    return union.finish()


def gid(block: int, label: int) -> int:
    return (block + 1) << 32 | label


def ids(pool: Pool, block: int) -> list[int]:
    answer = pool.global_ids(block)
    assert answer.dtype == np.uint64
    return [int(i) for i in answer]


def sized(*values: int) -> npt.NDArray[np.uint32]:
    return np.array(values, np.uint32)


def test_id_is_that_of_the_smallest_member() -> None:
    pool = pooled([2, 0, 3], (0, 2, 2, 3), (2, 1, 2, 3))
    assert ids(pool, 0) == [gid(0, 1), gid(0, 2)]
    assert ids(pool, 1) == []
    assert ids(pool, 2) == [gid(0, 2), gid(2, 2), gid(0, 2)]


def test_block_without_labels_before_the_root() -> None:
    """The id names the block the root lies in, not an empty one at the same offset."""
    pool = pooled([0, 0, 1, 0, 1], (2, 1, 4, 1))
    assert ids(pool, 2) == ids(pool, 4) == [gid(2, 1)]


def test_other_blocks_keep_their_ids_when_one_changes() -> None:
    before = pooled([3, 4, 3], (0, 1, 2, 2))
    after = pooled([3, 99, 3], (0, 1, 2, 2))
    assert ids(before, 0) == ids(after, 0)
    assert ids(before, 2) == ids(after, 2)


def test_long_chain_added_backwards() -> None:
    n = 3000
    pool = pooled([1] * n, *[(k, 1, k + 1, 1) for k in reversed(range(n - 1))])
    assert {ids(pool, k)[0] for k in range(n)} == {gid(0, 1)}


def test_joins_within_a_block_and_repetitions() -> None:
    pool = pooled([3, 3], (0, 3, 0, 2), (0, 3, 0, 2), (0, 2, 0, 2), (1, 1, 1, 3))
    assert ids(pool, 0) == [gid(0, 1), gid(0, 2), gid(0, 2)]
    assert ids(pool, 1) == [gid(1, 1), gid(1, 2), gid(1, 1)]


def test_no_blocks_and_no_labels() -> None:
    assert pooled([]).report(0).objects == 0
    assert pooled([0, 0]).report(10).largest == ()


def test_int64_members_give_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 2^32 - 1 labels on, parents are int64; nobody can afford that many here."""
    joins = [(0, 2, 2, 3), (2, 1, 2, 3)]
    narrow = pooled([2, 0, 3], *joins)
    monkeypatch.setattr(global_ids, "MAX_UINT32_LABELS", 4)
    wide = pooled([2, 0, 3], *joins)
    assert narrow._objects.dtype == np.uint32
    assert wide._objects.dtype == np.int64
    assert [ids(wide, k) for k in range(3)] == [ids(narrow, k) for k in range(3)]


def test_nothing_can_follow_finish() -> None:
    joins = Pooling(np.array([2, 2], np.int64))
    joins.finish()
    with pytest.raises(MagnetonError, match="finished"):
        add(joins, [(0, 1, 1, 1)])
    with pytest.raises(MagnetonError, match="finished twice"):
        joins.finish()


@pytest.mark.parametrize(
    ("join", "message"),
    [
        ((0, 3, 1, 1), "label 3 of block 0, which has 2 labels"),
        ((0, 0, 1, 1), "label 0 of block 0"),
        ((0, 1, 1, 5), "label 5 of block 1, which has 4 labels"),
        ((0, 1, 1, 0), "label 0 of block 1"),
        ((2, 1, 0, 1), "label 1 of block 2, which has 0 labels"),
        ((0, 1, 3, 1), "block 3, but the grid has 3 blocks"),
        ((0, 4_294_967_295, 1, 1), "label 4294967295 of block 0"),
    ],
)
def test_a_join_that_names_no_label(join: Join, message: str) -> None:
    union = Pooling(np.array([2, 4, 0], np.int64))
    with pytest.raises(BadDataError, match=message):
        add(union, [(0, 1, 1, 1), join])


def test_impossible_numbers_of_labels() -> None:
    with pytest.raises(BadDataError, match="-1"):
        Pooling(np.array([3, -1], np.int64))


def test_columns_of_different_lengths() -> None:
    with pytest.raises(BadDataError, match="length"):
        Pooling(np.array([3, 3])).add(sized(0, 0), sized(1), sized(1), sized(1))


def test_size_counts_over_all_blocks() -> None:
    pool = pooled([2, 2], (0, 1, 1, 2))
    pool.add_sizes(1, sized(9, 6))
    pool.add_sizes(0, sized(4, 10))
    pool.leave_out(10)
    # 4 + 6 voxels stay, though each part is small; 10 stay; 9 go
    assert ids(pool, 0) == [gid(0, 1), gid(0, 2)]
    assert ids(pool, 1) == [0, gid(0, 1)]
    report = pool.report(volume_vox=100)
    assert (report.objects, report.left_out, report.foreground_vox) == (2, 1, 20)


def test_leaving_out_nothing() -> None:
    pool = pooled([2])
    pool.add_sizes(0, sized(0, 1))
    pool.leave_out(0)
    assert ids(pool, 0) == [gid(0, 1), gid(0, 2)]
    pool.leave_out(1)  # no voxel in any core
    assert ids(pool, 0) == [0, gid(0, 2)]
    assert pool.report(1).left_out == 0  # it was nowhere in the volume


def test_sizes_do_not_wrap() -> None:
    pool = pooled([1, 1], (0, 1, 1, 1))
    pool.add_sizes(0, sized(4_000_000_000))
    pool.add_sizes(1, sized(4_000_000_000))
    assert pool.report(10**10).largest[0].voxels == 8_000_000_000


def test_report() -> None:
    pool = pooled([2, 2, 1], (0, 1, 1, 1), (0, 1, 1, 2), (1, 2, 2, 1))
    for block, sizes in enumerate((sized(5, 0), sized(6, 7), sized(2))):
        pool.add_sizes(block, sizes)
    report = pool.report(volume_vox=80)
    assert (report.labels, report.joins, report.objects, report.left_out) == (5, 3, 1, 0)
    (largest,) = report.largest  # label 2 of block 0 has no voxel in a core
    assert (largest.global_id, largest.voxels) == (gid(0, 1), 20)
    assert (largest.labels, largest.blocks) == (4, 3)
    assert (report.largest_of_foreground, report.largest_of_volume) == (1.0, 0.25)


def test_the_largest_in_order_and_ties_by_id() -> None:
    n = 3 * pool_report.REPORTED_OBJECTS
    values = [7 + i % 2 for i in range(n)]
    pool = pooled([n])
    pool.add_sizes(0, sized(*values))
    expected = sorted(range(n), key=lambda i: (-values[i], i))[: pool_report.REPORTED_OBJECTS]
    assert [o.global_id for o in pool.report(n).largest] == [gid(0, i + 1) for i in expected]


def test_objects_are_counted_by_their_size() -> None:
    """Class k holds 2^k to 2^(k+1) - 1 voxels; an object that was left out counts nowhere."""
    pool = pooled([8])
    pool.add_sizes(0, sized(0, 1, 2, 3, 4, 1023, 1024, 4_000_000_000))
    sizes = pool.report(1).sizes
    assert len(sizes.objects) == len(sizes.voxels) == 32
    found = {k: (n, sizes.voxels[k]) for k, n in enumerate(sizes.objects) if n}
    assert found == {
        0: (1, 1),
        1: (2, 5),
        2: (1, 4),
        9: (1, 1023),
        10: (1, 1024),
        31: (1, 4_000_000_000),
    }
    pool.leave_out(1024)
    assert pool.report(1).sizes.objects == (*[0] * 10, 1, *[0] * 20, 1)
    assert pooled([0]).report(1).sizes.objects == ()


def test_sizes_must_be_added_once() -> None:
    pool = pooled([2, 1, 0])
    pool.add_sizes(1, sized(3))
    with pytest.raises(MagnetonError, match="block 0 are missing"):
        pool.leave_out(5)
    with pytest.raises(MagnetonError, match="block 0 are missing"):
        pool.report(10)
    with pytest.raises(MagnetonError, match="block 1 were added twice"):
        pool.add_sizes(1, sized(3))
    with pytest.raises(BadDataError, match="block 0 has 2 labels, but 3 core sizes"):
        pool.add_sizes(0, sized(3, 3, 3))


def test_negative_size_and_unknown_block() -> None:
    pool = pooled([1])
    pool.add_sizes(0, sized(1))
    with pytest.raises(ConfigError, match="-3"):
        pool.leave_out(-3)
    with pytest.raises(MagnetonError, match="no block 1"):
        pool.global_ids(1)


def test_golden() -> None:
    """If this fails, matching or ids changed: bump global_ids.KERNEL_VERSION along with the digests."""
    blocks, labels = 6, 200
    a, b = np.triu_indices(blocks, 1)
    label_a = np.arange(1, labels + 1)
    rows = [
        (k, m, la, (la * 7 + k + s) % labels + 1, 1 + (la * (m + 3) + s * 11) % 40, 60, 50 + s)
        for k, m in zip(a.tolist(), b.tolist(), strict=True)
        for la in label_a.tolist()
        for s in (0, 1, 2)
    ]
    columns = np.array(sorted(rows), np.uint32).T
    pairs = dict(zip(MATCH_COLUMNS, columns, strict=True))
    digests = {}
    for rule in (Rule("mutual", 5, 0.75), Rule("both", 5, 0.6), Rule("any", 5, 0.75), Rule("iou")):
        take = match(pairs, rule)
        union = Pooling(np.full(blocks, labels, np.int64))
        union.add(*(pairs[c][take] for c in ("block_a", "block_b", "label_a", "label_b")))
        pool = union.finish()
        data = b"".join(pool.global_ids(k).tobytes() for k in range(blocks))
        digests[rule.name] = (int(take.sum()), hashlib.sha256(data).hexdigest()[:16])
    assert digests == {
        "mutual": (450, "cb4be8af088281b9"),
        "both": (1140, "6e97cc09630addf0"),
        "any": (470, "d801667102eec45a"),
        "iou": (730, "10efc2cce8acf943"),
    }
    assert global_ids.KERNEL_VERSION == 1
