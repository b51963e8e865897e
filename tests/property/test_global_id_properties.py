"""The kernels behind count, pool and apply against plain oracles, on any input."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import Rule
from magneton_tasks.kernels.downsample import mode_pool
from magneton_tasks.kernels.global_ids import Pool, Pooling
from magneton_tasks.kernels.overlap.overlap import count_overlaps
from magneton_tasks.kernels.overlap.pool_rules import MATCH_COLUMNS, match

Join = tuple[int, int, int, int]  # block_a, block_b, label_a, label_b

shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))


@st.composite
def joined_labels(draw: st.DrawFn) -> tuple[list[int], list[Join]]:
    counts = draw(st.lists(st.integers(0, 6), min_size=1, max_size=8))
    members = [(k, lb) for k, n in enumerate(counts) for lb in range(1, n + 1)]
    if not members:
        return counts, []
    ends = st.lists(st.tuples(st.sampled_from(members), st.sampled_from(members)), max_size=30)
    return counts, [(a[0], b[0], a[1], b[1]) for a, b in draw(ends)]


def pooled(counts: list[int], batches: list[list[Join]]) -> Pool:
    pooling = Pooling(np.array(counts, np.int64))
    for batch in batches:
        pooling.add(*np.array(batch, np.uint32).reshape(-1, 4).T)
    return pooling.finish()


def ids_of(pool: Pool, counts: list[int]) -> dict[tuple[int, int], int]:
    return {
        (k, i + 1): int(v) for k in range(len(counts)) for i, v in enumerate(pool.global_ids(k))
    }


@given(joined_labels())
def test_objects_are_the_connected_components(case: tuple[list[int], list[Join]]) -> None:
    counts, joins = case
    graph: nx.Graph[Any] = nx.Graph()
    graph.add_nodes_from((k, lb) for k, n in enumerate(counts) for lb in range(1, n + 1))
    graph.add_edges_from(((a, la), (b, lb)) for a, b, la, lb in joins)
    expected: dict[tuple[int, int], int] = {}
    for component in nx.connected_components(graph):
        block, label = min(component)
        expected |= dict.fromkeys(component, (block + 1) * 2**32 + label)
    assert ids_of(pooled(counts, [joins]), counts) == expected


@given(joined_labels(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_and_batches_do_not_matter(
    case: tuple[list[int], list[Join]], random: Any, length: int
) -> None:
    counts, joins = case
    shuffled = [j if random.random() < 0.5 else (j[1], j[0], j[3], j[2]) for j in joins]
    random.shuffle(shuffled)
    batches = [shuffled[i : i + length] for i in range(0, len(shuffled), length)]
    assert ids_of(pooled(counts, batches), counts) == ids_of(pooled(counts, [joins]), counts)


@given(joined_labels(), st.integers(0, 30), st.data())
def test_sizes_are_conserved(
    case: tuple[list[int], list[Join]], min_size_vox: int, data: st.DataObject
) -> None:
    counts, joins = case
    pool = pooled(counts, [joins])
    before = ids_of(pool, counts)
    sizes: Counter[int] = Counter()
    for block, n in enumerate(counts):
        core = data.draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
        pool.add_sizes(block, np.array(core, np.uint32))
        for label, voxels in enumerate(core, 1):
            sizes[before[block, label]] += voxels
    pool.leave_out(min_size_vox)
    kept = {i: s for i, s in sizes.items() if s >= min_size_vox}
    assert ids_of(pool, counts) == {m: i if i in kept else 0 for m, i in before.items()}
    report = pool.report(1000)
    assert report.foreground_vox == sum(kept.values())
    assert report.objects == sum(s > 0 for s in kept.values())
    largest = sorted(((-s, i) for i, s in kept.items() if s), key=lambda x: x)[:20]
    assert [(-o.voxels, o.global_id) for o in report.largest] == largest


@st.composite
def two_blocks(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    shape = draw(shapes)
    labels = hnp.arrays(np.uint32, shape, elements=st.integers(0, 4))
    return draw(labels), draw(labels)


@given(two_blocks())
def test_overlaps_are_what_a_count_of_voxels_gives(
    blocks: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]],
) -> None:
    a, b = blocks
    sizes_a, sizes_b = np.arange(200, 204), np.arange(300, 304)
    pairs = count_overlaps(a, b, sizes_a, sizes_b)
    counted = Counter(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    in_a, in_b = Counter(a.ravel().tolist()), Counter(b.ravel().tolist())
    expected = [
        (la, lb, n, in_a[la], in_b[lb], 199 + la, 299 + lb)
        for (la, lb), n in sorted(counted.items())
        if la and lb
    ]
    columns = (pairs.label_a, pairs.label_b, pairs.n, pairs.a_in, pairs.b_in)
    rows = zip(*columns, pairs.a_all, pairs.b_all, strict=True)
    assert [tuple(map(int, row)) for row in rows] == expected


@given(two_blocks())
def test_overlaps_mirror_when_the_blocks_change_places(
    blocks: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]],
) -> None:
    a, b = blocks
    sizes = np.full(4, 200)
    one, two = count_overlaps(a, b, sizes, sizes), count_overlaps(b, a, sizes, sizes)
    rows = sorted(zip(*(c.tolist() for c in (one.label_b, one.label_a, one.n)), strict=True))
    assert rows == list(zip(*(c.tolist() for c in (two.label_a, two.label_b, two.n)), strict=True))


@st.composite
def pair_tables(draw: st.DrawFn) -> list[list[tuple[int, ...]]]:
    """Rows of MATCH_COLUMNS, a list for each block pair."""
    blocks = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(10, 19)), unique=True))
    tables: list[list[tuple[int, ...]]] = []
    for pair in blocks:
        labels = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), unique=True))
        n = {key: draw(st.integers(1, 6)) for key in labels}
        a_in = {
            k: sum(v for key, v in n.items() if key[0] == k) + draw(st.integers(0, 4))
            for k in range(6)
        }
        b_in = {
            k: sum(v for key, v in n.items() if key[1] == k) + draw(st.integers(0, 4))
            for k in range(6)
        }
        tables.append([(*pair, a, b, n[a, b], a_in[a], b_in[b]) for a, b in sorted(n)])
    return tables


fractions = st.integers(0, 20).map(lambda i: i / 20)
rules = st.builds(
    Rule, st.sampled_from(["mutual", "both", "iou", "any"]), st.integers(0, 5), fractions, fractions
)


def decide(rule: Rule, row: tuple[int, ...], table: list[tuple[int, ...]]) -> bool:
    """DESIGN 3.3 in exact fractions."""
    _, _, a, b, n, a_in, b_in = row
    frac = Fraction(str(rule.min_frac))
    if rule.name == "both":
        return n >= frac * a_in and n >= frac * b_in
    if rule.name == "any":
        return n >= frac * a_in or n >= frac * b_in
    if rule.name == "iou":
        return n >= Fraction(str(rule.min_iou)) * (a_in + b_in - n)
    best_b = min((-r[4], r[3]) for r in table if r[2] == a)[1]
    best_a = min((-r[4], r[2]) for r in table if r[3] == b)[1]
    enough = n >= rule.min_overlap_vox and n >= frac * min(a_in, b_in)
    return (best_a, best_b) == (a, b) and enough


@given(pair_tables(), rules, st.randoms(use_true_random=False))
def test_rules_in_exact_fractions_and_any_order_of_block_pairs(
    tables: list[list[tuple[int, ...]]], rule: Rule, random: Any
) -> None:
    expected = {row: decide(rule, row, table) for table in tables for row in table}
    random.shuffle(tables)
    rows = [row for table in tables for row in table]
    columns = np.array(rows, np.uint32).reshape(-1, 7).T
    taken = match(dict(zip(MATCH_COLUMNS, columns, strict=True)), rule).tolist()
    assert dict(zip(rows, taken, strict=True)) == expected


def mode_of(window: list[int]) -> int:
    counts = Counter(window)
    return max(counts, key=lambda v: (counts[v], -window.index(v)))


factors = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))


@given(hnp.arrays(np.uint64, shapes, elements=st.sampled_from([0, 1, 2**63, 2**63 + 1])), factors)
def test_mode_pooling(labels: npt.NDArray[np.uint64], factor: Vec3) -> None:
    pooled = mode_pool(labels, factor)
    for at in np.ndindex(*pooled.shape):
        box = tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, factor, strict=True))
        assert pooled[at] == mode_of(labels[box].ravel().tolist())
