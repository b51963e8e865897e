"""What a task holds of what it has written already: nothing, however many keys it works."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from magneton_tasks.kernels.exact.rounds.tables import LargeParts
from magneton_tasks.stages.slicing import Made, Rows, into_slices
from magneton_tasks.work import slices
from magneton_tasks.work.record import Outcome

KEYS = range(5)
ROWS = 5000


def test_a_table_goes_once_it_is_written(tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []

    def one(key: int) -> Made:
        gc.collect()
        assert not [ref for ref in alive if ref() is not None]
        column = np.full(ROWS, key)
        alive.append(weakref.ref(column))
        return Made(Outcome("done", "", "", {}), [Rows("parts", LargeParts(column))])

    process = into_slices(tmp_path, {"parts": (LargeParts,)}, one, lambda: None)
    outcomes = dict(process(list(KEYS), lambda _: None))
    assert list(outcomes) == list(KEYS)
    assert not [found for found in outcomes.values() if isinstance(found, Exception)]
    (path,) = tmp_path.glob("*.slices")
    with slices.opened(path, None, 0.0) as file:
        assert file.read(LargeParts, sources=[3]).part.tolist() == [3] * ROWS
