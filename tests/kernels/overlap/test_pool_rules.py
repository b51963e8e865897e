"""The matching rules, one small block pair at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.methods import Rule
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.kernels.overlap.pool_rules import MATCH_COLUMNS, match

Columns = dict[str, npt.NDArray[np.uint32]]


def table(*rows: tuple[int, int, int, int, int], blocks: tuple[int, int] = (0, 1)) -> Columns:
    """Rows of (label_a, label_b, n, a_in, b_in) of one block pair."""
    values = np.array([(*blocks, *row) for row in rows], np.uint32).reshape(-1, 7)
    return {name: values[:, i].copy() for i, name in enumerate(MATCH_COLUMNS)}


def stacked(*tables: Columns) -> Columns:
    return {name: np.concatenate([t[name] for t in tables]) for name in MATCH_COLUMNS}


def joined(rule: Rule, *rows: tuple[int, int, int, int, int]) -> list[tuple[int, int]]:
    return [row[:2] for row, take in zip(rows, match(table(*rows), rule), strict=True) if take]


MUTUAL = Rule("mutual", min_overlap_vox=1, min_frac=0.0)


class TestMutual:
    def test_only_each_others_best(self) -> None:
        # 2 likes b's 1 best, but 1 of b likes 1 more
        rows = ((1, 1, 50, 60, 90), (1, 2, 10, 60, 10), (2, 1, 40, 45, 90))
        assert joined(MUTUAL, *rows) == [(1, 1)]

    def test_ties_go_to_the_smaller_label_on_both_sides(self) -> None:
        rows = ((1, 1, 7, 20, 20), (1, 2, 7, 20, 20), (2, 1, 7, 20, 20), (2, 2, 7, 20, 20))
        assert joined(MUTUAL, *rows) == [(1, 1)]

    @pytest.mark.parametrize(("n", "taken"), [(4, []), (5, [(1, 1)])])
    def test_min_overlap(self, n: int, taken: list[tuple[int, int]]) -> None:
        assert joined(Rule("mutual", 5, 0.0), (1, 1, n, 10, 10)) == taken

    @pytest.mark.parametrize(("n", "taken"), [(49, []), (50, [(1, 1)])])
    def test_fraction_of_the_smaller_one(self, n: int, taken: list[tuple[int, int]]) -> None:
        assert joined(Rule("mutual", 1, 0.5), (1, 1, n, 1000, 100)) == taken

    def test_a_best_that_is_too_small_is_not_replaced_by_the_second(self) -> None:
        # Against 1 of a: 1 of b is its best, too small a fraction; 2 of b is not its best.
        assert joined(Rule("mutual", 1, 0.5), (1, 1, 8, 100, 100), (1, 2, 7, 100, 7)) == []

    def test_best_is_of_this_block_pair_only(self) -> None:
        first = table((1, 1, 5, 10, 10), blocks=(0, 1))
        second = table((1, 1, 50, 60, 60), blocks=(0, 2))
        third = table((1, 1, 9, 60, 60), blocks=(1, 2))
        assert match(stacked(first, second, third), MUTUAL).tolist() == [True, True, True]


@pytest.mark.parametrize(
    ("rule", "n", "a_in", "b_in", "taken"),
    [
        (Rule("both", min_frac=0.5), 50, 100, 60, True),
        (Rule("both", min_frac=0.5), 49, 100, 60, False),
        (Rule("both", min_frac=0.5), 49, 60, 100, False),
        (Rule("any", min_frac=0.5), 50, 1000, 100, True),
        (Rule("any", min_frac=0.5), 50, 100, 1000, True),
        (Rule("any", min_frac=0.5), 49, 100, 1000, False),
        (Rule("iou", min_iou=0.5), 50, 75, 75, True),
        (Rule("iou", min_iou=0.5), 50, 75, 76, False),
        # The fraction is met exactly; 0.07 * 100 would be 7.000000000000001.
        (Rule("both", min_frac=0.07), 7, 100, 100, True),
        (Rule("any", min_frac=0.57), 57, 100, 100, True),
        # One voxel short of 0.1 of the largest sizes a block can hold.
        (Rule("both", min_frac=0.1), 400_000_000, 4_000_000_000, 4_000_000_000, True),
        (Rule("both", min_frac=0.1), 399_999_999, 4_000_000_000, 4_000_000_000, False),
        # a_in + b_in is beyond 32 bits.
        (Rule("iou", min_iou=0.5), 2_000_000_000, 3_000_000_000, 3_000_000_000, True),
        (Rule("iou", min_iou=0.5), 1_999_999_999, 3_000_000_000, 3_000_000_000, False),
        # min_overlap_vox is read by mutual only.
        (Rule("both", min_overlap_vox=5, min_frac=0.5), 1, 1, 1, True),
        (Rule("any", min_overlap_vox=5, min_frac=0.5), 1, 1, 1, True),
        (Rule("iou", min_overlap_vox=5, min_iou=0.5), 1, 1, 1, True),
    ],
)
def test_fractions(rule: Rule, n: int, a_in: int, b_in: int, taken: bool) -> None:
    assert match(table((1, 1, n, a_in, b_in)), rule).tolist() == [taken]


def test_other_rules_join_more_than_one() -> None:
    rows = ((1, 1, 30, 60, 30), (1, 2, 30, 60, 30), (2, 3, 9, 9, 100))
    assert joined(Rule("both", min_frac=0.5), *rows) == [(1, 1), (1, 2)]
    assert joined(Rule("any", min_frac=0.5), *rows) == [(1, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("name", ["mutual", "both", "iou", "any"])
def test_nothing_to_match(name: str) -> None:
    assert match(table(), Rule(name)).tolist() == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rows",
    [
        ((2, 1, 1, 5, 5), (1, 1, 1, 5, 5)),  # labels fall
        ((1, 2, 1, 5, 5), (1, 1, 1, 5, 5)),
        ((1, 1, 1, 5, 5), (1, 1, 1, 5, 5)),  # twice
        ((1, 1, 0, 5, 5),),  # shares nothing
        ((1, 1, 6, 5, 9),),  # shares more than there is
    ],
)
def test_damaged_rows(rows: tuple[tuple[int, int, int, int, int], ...]) -> None:
    with pytest.raises(BadDataError, match="blocks 3 and 8"):
        match(table(*rows, blocks=(3, 8)), MUTUAL)


@pytest.mark.parametrize(
    ("name", "settings", "key"),
    [
        ("best", {}, "best"),
        ("mutual", {"min_frac": 1.5}, "min_frac"),
        ("both", {"min_frac": float("nan")}, "min_frac"),
        ("iou", {"min_iou": -0.1}, "min_iou"),
        ("mutual", {"min_overlap_vox": -1}, "min_overlap_vox"),
    ],
)
def test_impossible_rules(name: str, settings: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        Rule(name, **settings)  # type: ignore[arg-type]
