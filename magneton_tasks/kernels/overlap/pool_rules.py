"""Which pairs are the same thing: the rules, on the pairs of whole block pairs.

A decision looks at the pairs of one block pair only, so the order of block pairs and the way a
stream of them is cut don't matter, as long as none of them is torn.

Fractions are compared as ``n / size >= fraction`` in float64, never as ``n >= fraction * size``:
a division is rounded once and correctly, so a ratio that equals a decimal fraction of up to six
digits exactly (7 of 100 for 0.07) becomes the very float64 of that literal and passes, and one
just below it doesn't (sizes are below 2^33, and 2^33 * 10^6 < 2^53). 0.07 * 100 would be
7.000000000000001.

A change of the decisions here bumps ``global_ids.KERNEL_VERSION``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.methods import Rule, RuleName
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit

Columns = Mapping[str, npt.NDArray[np.uint32]]

#: The columns of the pair table that matching reads.
MATCH_COLUMNS = ("block_a", "block_b", "label_a", "label_b", "n", "a_in", "b_in")

_MUTUAL, _BOTH, _IOU, _ANY = range(4)
_CODES: dict[RuleName, int] = {"mutual": _MUTUAL, "both": _BOTH, "iou": _IOU, "any": _ANY}


def match(pairs: Columns, rule: Rule) -> npt.NDArray[np.bool_]:
    """Which pairs the rule joins.

    Parameters
    ----------
    pairs
        At least ``MATCH_COLUMNS``, each uint32 (rows,). All rows of a block pair are here, one
        after another, sorted by (label_a, label_b); block pairs come in any order.
    rule
        See `Rule`.

    Returns
    -------
    bool (rows,). Time is linear in the rows; memory beyond that is 8 bytes times the largest label_b.

    Raises
    ------
    BadDataError
        If the rows of a block pair aren't sorted, or a count can't be.
    """
    columns = [_readonly(pairs[name]) for name in MATCH_COLUMNS]
    if len({len(column) for column in columns}) != 1:
        raise BadDataError(f"pair columns of different lengths: {[len(c) for c in columns]}")
    label_b = columns[MATCH_COLUMNS.index("label_b")]
    scratch = int(label_b.max()) + 1 if rule.name == "mutual" and len(label_b) else 0
    joined = np.zeros(len(label_b), np.bool_)
    share = rule.min_iou if rule.name == "iou" else rule.min_frac
    settings = (_CODES[rule.name], rule.min_overlap_vox, float(share), scratch)
    bad: int = _match(tuple(columns), settings, joined)
    if bad >= 0:
        row = {name: int(column[bad]) for name, column in zip(MATCH_COLUMNS, columns, strict=True)}
        raise BadDataError(
            f"a pair of blocks {row['block_a']} and {row['block_b']} is out of order or its "
            f"counts can't be: {row}",
            "the pair table is damaged: count these blocks again",
        )
    return joined


def _readonly(column: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """As parquet gives columns: one type of argument, so numba compiles the kernel once."""
    view = np.ascontiguousarray(column, dtype=np.uint32).view()
    view.flags.writeable = False
    return view


@njit(nogil=True)
def _match(columns: Any, settings: Any, joined: Any) -> Any:
    """Fill ``joined``; the index of the first row that can't be, or -1.

    columns: those of MATCH_COLUMNS; settings: rule code, min_overlap_vox, the rule's fraction, and
    the largest label_b + 1.
    """
    block_a, block_b, label_a, label_b, n, a_in, b_in = columns
    code, _, fraction, labels = settings
    best_n = np.zeros(labels, np.uint32)  # of label_b in this block pair; all 0 between two
    best_a = np.zeros(labels, np.uint32)
    begin = 0
    while begin < len(n):
        end = begin
        while end < len(n) and block_a[end] == block_a[begin] and block_b[end] == block_b[begin]:
            if n[end] == 0 or n[end] > a_in[end] or n[end] > b_in[end]:
                return end
            if end > begin and (
                label_a[end] < label_a[end - 1]
                or (label_a[end] == label_a[end - 1] and label_b[end] <= label_b[end - 1])
            ):
                return end
            end += 1
        if code == _MUTUAL:
            _mutual(begin, end, columns, settings, best_n, best_a, joined)
        else:
            for i in range(begin, end):
                size = np.float64(min(a_in[i], b_in[i]))  # any: of the smaller one
                if code == _BOTH:
                    size = np.float64(max(a_in[i], b_in[i]))
                elif code == _IOU:
                    size = np.float64(a_in[i]) + np.float64(b_in[i]) - np.float64(n[i])
                joined[i] = np.float64(n[i]) / size >= fraction
        begin = end
    return -1


@njit(nogil=True)
def _mutual(
    begin: Any, end: Any, columns: Any, settings: Any, best_n: Any, best_a: Any, joined: Any
) -> None:
    """Rule ``mutual`` on rows begin..end, one block pair.

    Rows come by rising labels, so the first row of the largest n is the one of the smaller label.
    """
    _, _, label_a, label_b, n, a_in, b_in = columns
    _, min_overlap_vox, fraction, _ = settings
    for i in range(begin, end):
        if n[i] > best_n[label_b[i]]:
            best_n[label_b[i]] = n[i]
            best_a[label_b[i]] = label_a[i]
    i = begin
    while i < end:
        best = i
        a = label_a[i]
        while i < end and label_a[i] == a:
            if n[i] > n[best]:
                best = i
            i += 1
        if best_a[label_b[best]] == a and n[best] >= min_overlap_vox:
            joined[best] = np.float64(n[best]) / min(a_in[best], b_in[best]) >= fraction
    for i in range(begin, end):
        best_n[label_b[i]] = 0
