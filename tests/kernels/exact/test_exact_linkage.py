"""Aggregation and the two linkages of the exact method, against what they are by definition."""

from __future__ import annotations

import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact import mean_linkage as mean_linkage_module
from magneton_tasks.kernels.exact import region_graph as region_graph_module
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS, SCORE_BITS, least_key, least_score
from magneton_tasks.kernels.exact.mean_linkage import HUB_DEGREE, Linkage, mean_linkage
from magneton_tasks.kernels.exact.region_graph import MAX_SUM, aggregate
from magneton_tasks.kernels.exact.residual import Edges
from magneton_tasks.kernels.exact.size_limited_linkage import size_limited
from magneton_tasks.kernels.union_find import add_by_number, find, flatten, number_roots, unite

#: (sum, count, last, key) of a pair of regions
Value = tuple[int, int, int, int]
Graph = dict[frozenset[int], Value]
Flags = npt.NDArray[np.bool_]


def random_edges(n: int, edges: int, seed: int, *, hubs: int = 0, values: int = 256) -> Edges:
    """Edges between any of the regions 1..n, loops, parallels and (rarely) region 0 among them."""
    random = np.random.default_rng(seed)
    u, v = random.integers(0 if seed % 2 else 1, n + 1, (2, edges)).astype(np.uint32)
    if hubs:
        u[: edges // 2] = random.integers(1, hubs + 1, edges // 2)
    count = random.integers(1, 20, edges)
    affinity = random.integers(0, values, edges) * (255 // (values - 1))
    last = random.permutation(5 * edges)[:edges].astype(np.int64)
    return Edges(u, v, affinity * count, count, last, (affinity << KEY_BITS) - last)


def as_graph(edges: Edges) -> Graph:
    """What `aggregate` means."""
    graph: Graph = {}
    for u, v, sum_, count, last, key in zip(*(c.tolist() for c in edges), strict=True):
        if u != v and u and v:
            s, c, p, k = graph.get(frozenset((u, v)), (0, 0, -1, key))
            graph[frozenset((u, v))] = (s + sum_, c + count, max(p, last), max(k, key))
    return graph


def merge_regions(graph: Graph, kept: int, gone: int) -> None:
    """Replace a region by another one, in place."""
    graph.pop(frozenset((kept, gone)))
    for pair in [p for p in graph if gone in p]:
        s, c, p, k = graph.pop(pair)
        (third,) = pair - {gone}
        s2, c2, p2, k2 = graph.get(frozenset((kept, third)), (0, 0, -1, k))
        graph[frozenset((kept, third))] = (s + s2, c + c2, max(p, p2), max(k, k2))


def naive_mean_linkage(graph: Graph, n: int, open_: Flags, least: int) -> list[int]:
    """Roots (the smallest of each set); ``graph`` and ``open_`` are written to."""
    roots = list(range(n + 1))
    while True:
        ready = [
            ((value[0] << SCORE_BITS) // value[1], -value[2], sorted(pair))
            for pair, value in graph.items()
            if (value[0] << SCORE_BITS) // value[1] >= least and not all(open_[list(pair)])
        ]
        if not ready:
            return roots
        _, _, (kept, gone) = max(ready)
        if open_[kept] or open_[gone]:
            open_[[kept, gone]] = True
        else:
            merge_regions(graph, kept, gone)
            roots = [kept if root == gone else root for root in roots]


def links(n: int, edges: Edges, open_: Flags, least: int) -> tuple[Linkage, Graph]:
    """`mean_linkage` and the graph that it leaves."""
    rank = edges.last.astype(np.uint32)
    linkage = mean_linkage(n, edges, rank, open_, least)
    left = edges._replace(u=linkage.u, v=linkage.v, last=rank.astype(np.int64))
    return linkage, as_graph(left)


def copied(edges: Edges) -> Edges:
    return Edges._make(column.copy() for column in edges)


# --- union-find


def test_sets_have_their_smallest_node_as_root_and_get_dense_numbers() -> None:
    random = np.random.default_rng(0)
    pairs = random.integers(1, 200, (120, 2))
    for dtype in (np.uint32, np.int64):
        parents = np.arange(200, dtype=dtype)
        for a, b in pairs:
            unite(parents, a, b)
        graph = nx.Graph([(int(a), int(b)) for a, b in pairs])
        graph.add_nodes_from(range(200))
        for nodes in nx.connected_components(graph):
            assert {find(parents, i) for i in nodes} == {min(nodes)}
        flatten(parents)
        first = random.random(200) < 0.5
        numbers, first_count, count = number_roots(parents, first)
        roots = np.unique(parents[1:])
        order = [r for r in roots if first[r]] + [r for r in roots if not first[r]]
        assert [numbers[r] for r in order] == list(range(1, count + 1))
        assert first_count == first[roots].sum() and numbers[0] == 0
        assert (numbers[1:] == numbers[parents[1:]]).all()
        sums = add_by_number(np.arange(200), numbers, count)
        assert sums[numbers[1]] == np.flatnonzero(numbers == numbers[1]).sum()


# --- aggregation


@pytest.mark.parametrize("seed", range(6))
def test_aggregation_merges_parallel_edges(seed: int) -> None:
    edges = random_edges(4 + 8 * seed, 150 * seed, seed)
    expected = as_graph(edges)
    merged = aggregate(4 + 8 * seed, *edges)
    assert len(merged.u) == len(expected)
    assert (merged.u < merged.v).all()
    assert as_graph(merged) == expected


def test_a_sum_that_cannot_be_scored_is_refused() -> None:
    def edges(*sums: int) -> Edges:
        ones = np.ones(len(sums), np.int64)
        u, v = np.ones(len(sums), np.uint32), np.full(len(sums), 2, np.uint32)
        return Edges(u, v, np.array(sums), ones, ones, ones)

    assert aggregate(2, *edges(MAX_SUM - 2, 1)).sum.tolist() == [MAX_SUM - 1]
    with pytest.raises(BadDataError, match="between two regions add up"):
        aggregate(2, *edges(MAX_SUM - 2, 2))


# --- size-limited linkage


def naive_size_limited(
    graph: Graph, n: int, sizes: list[int], open_: Flags, settings: ExactSettings
) -> list[int]:
    """By definition: merge at the largest key, as long as one of the two is small.

    With an open region, whose size is a lower bound, only if it is large already.
    """
    roots, waiting = list(range(n + 1)), dict(graph)
    while True:
        ready = [
            (value[3], sorted(pair))
            for pair, value in waiting.items()
            if value[3] > least_key(settings.t_size)
            and min(sizes[i] for i in pair) < settings.s2
            and not all(open_[list(pair)])
        ]
        if not ready:
            return roots
        _, (kept, gone) = max(ready)
        if any(open_[i] and sizes[i] < settings.s2 for i in (kept, gone)):
            open_[[kept, gone]] = True
        else:
            merge_regions(waiting, kept, gone)
            sizes[kept] += sizes[gone]
            open_[kept] |= open_[gone]
            roots = [kept if root == gone else root for root in roots]


@pytest.mark.parametrize("seed", range(8))
def test_size_limited_linkage(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 30
    edges = aggregate(n, *random_edges(n, 20 + 25 * seed, seed, values=(256, 3)[seed % 2]))
    settings = ExactSettings(0.5, s2=(12, 40)[seed // 4], t_size=(1, 90)[seed % 2])
    sizes = random.integers(1, 30, n + 1)
    open_ = random.random(n + 1) < (0, 0.1, 0.3)[seed % 3]
    expected_open, expected_sizes = open_.copy(), sizes.tolist()
    expected = naive_size_limited(as_graph(edges), n, expected_sizes, expected_open, settings)
    roots = size_limited(n, edges, sizes, open_, settings)
    assert roots.tolist()[1:] == expected[1:]
    assert open_[roots[1:]].tolist() == expected_open[expected[1:]].tolist()
    assert sizes[roots[1:]].tolist() == [expected_sizes[r] for r in expected[1:]]


@pytest.mark.parametrize("s2", [0, 1])
def test_size_limited_linkage_can_be_off(s2: int) -> None:
    edges = aggregate(9, *random_edges(9, 40, 0))
    ones, none = np.ones(10, np.int64), np.zeros(10, np.bool_)
    roots = size_limited(9, edges, ones, none, ExactSettings(0.5, s2=s2))
    assert roots.tolist() == list(range(10))


# --- mean linkage


def check_mean_linkage(n: int, edges: Edges, open_: Flags, least: int) -> int:
    """Against the definition; the number of merges."""
    expected_graph, expected_open = as_graph(edges), open_.copy()
    expected = naive_mean_linkage(expected_graph, n, expected_open, least)
    linkage, graph = links(n, edges, open_, least)
    assert linkage.roots.tolist()[1:] == expected[1:]
    assert open_[linkage.roots[1:]].tolist() == expected_open[expected[1:]].tolist()
    assert linkage.merges == n - len(set(expected[1:]))
    assert graph == expected_graph
    return linkage.merges


@pytest.mark.parametrize("seed", range(12))
def test_mean_linkage(seed: int) -> None:
    """A few values make many ties; then ranks decide."""
    n = 40
    edges = aggregate(n, *random_edges(n, 15 * seed, seed, values=(256, 3, 2)[seed % 3]))
    open_ = np.random.default_rng(seed).random(n + 1) < (0, 0.05, 0.3)[seed // 4]
    least = least_score((0.4, 0.6, 0.1)[seed // 4])
    check_mean_linkage(n, edges, open_, least)


def test_mean_linkage_around_hubs() -> None:
    """Regions with more neighbours than are looked up by walking, and what merges into them."""
    n = 3 * HUB_DEGREE
    for seed in range(3):
        edges = aggregate(n, *random_edges(n, 6 * n, seed, hubs=3))
        assert np.bincount(np.concatenate([edges.u, edges.v])).max() > HUB_DEGREE
        open_ = np.random.default_rng(seed).random(n + 1) < 0.02 * seed
        assert check_mean_linkage(n, edges, open_, least_score(0.45)) > n // 3


def test_mean_linkage_rewrites_a_long_pair_table() -> None:
    """A star with rays between its ends: the hub's entries outgrow the table again and again."""
    n = 1500
    ends = np.arange(2, n + 1, dtype=np.uint32)
    u = np.concatenate([np.ones(n - 1, np.uint32), ends[:-1]])
    v = np.concatenate([ends, ends[1:]])
    value = np.random.default_rng(0).integers(100, 256, u.size)
    last = np.arange(u.size)
    edges = Edges(u, v, value, np.ones_like(value), last, value)
    linkage, graph = links(n, edges, np.zeros(n + 1, np.bool_), least_score(0.5))
    # A region whose mean towards the star's middle is high enough can't be left over.
    assert all((s << SCORE_BITS) // c < least_score(0.5) for s, c, *_ in graph.values())
    assert {frozenset((u, v)) for u, v in zip(linkage.u, linkage.v, strict=True) if u} == set(graph)
    assert n - len(np.unique(linkage.roots[1:])) == linkage.merges > 1000


def test_mean_linkage_goes_on_from_a_higher_threshold() -> None:
    n = 60
    edges = aggregate(n, *random_edges(n, 400, 3))
    direct, _ = links(n, copied(edges), np.zeros(n + 1, np.bool_), least_score(0.4))
    rank = edges.last.astype(np.uint32)
    roots = np.arange(n + 1, dtype=np.uint32)
    for threshold in (0.8, 0.6, 0.5, 0.4):
        least = least_score(threshold)
        linkage = mean_linkage(n, edges, rank, np.zeros(n + 1, np.bool_), least)
        left = linkage.u > 0
        rank = rank[left]
        edges = Edges(linkage.u[left], linkage.v[left], *(c[left] for c in edges[2:]))
        roots = linkage.roots[roots]
    assert roots.tolist() == direct.roots.tolist()


@pytest.mark.long  # compiles for 8 seconds; the sweep of a block with such indices stays in test_exact_block
def test_indices_of_64_bits_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 3 * HUB_DEGREE
    narrow, graph = links(
        n,
        aggregate(n, *random_edges(n, 6 * n, 1, hubs=2)),
        np.zeros(n + 1, np.bool_),
        least_score(0.45),
    )
    monkeypatch.setattr(region_graph_module, "MAX_INT32_EDGES", 0)
    assert region_graph_module.index_dtype(1, 1) is np.int64
    wide, wide_graph = links(
        n,
        aggregate(n, *random_edges(n, 6 * n, 1, hubs=2)),
        np.zeros(n + 1, np.bool_),
        least_score(0.45),
    )
    assert narrow.merges == wide.merges > 20
    assert narrow.roots.tolist() == wide.roots.tolist() and graph == wide_graph


def test_mean_linkage_refuses_what_it_cannot_score_or_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def triangle(sums: list[int], counts: list[int]) -> Edges:
        u, v = np.array([1, 1, 2], np.uint32), np.array([2, 3, 3], np.uint32)
        return Edges(u, v, np.array(sums), np.array(counts), np.arange(3), np.arange(3))

    rank, none = np.arange(3, dtype=np.uint32), np.zeros(4, np.bool_)
    half = MAX_SUM // 2
    least = least_score(0.5)
    with pytest.raises(BadDataError, match="between two regions add up"):
        mean_linkage(3, triangle([1, 1, MAX_SUM], [1, 1, 1]), rank.copy(), none, least)
    # 1 and 2 merge, and what leads to 3 adds up; it merges, or it is left over.
    for affinity in (200, 100):
        sums, counts = [250, half, half], [1, half // affinity, half // affinity]
        with pytest.raises(BadDataError, match="between two regions add up"):
            mean_linkage(3, triangle(sums, counts), rank.copy(), none.copy(), least)
    monkeypatch.setattr(mean_linkage_module, "MAX_EDGES", 2)
    with pytest.raises(BadDataError, match="3 edges in one region graph, more than 2"):
        mean_linkage(3, triangle([1, 1, 1], [1, 1, 1]), rank, none, least)
