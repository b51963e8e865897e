"""What a task writes for many keys: it holds nothing of it, and each key has the time of its own work."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from magneton_tasks.kernels.exact.rounds.tables import LargeParts
from magneton_tasks.stages import counting, slicing
from magneton_tasks.stages.slicing import Made, Rows, into_slices
from magneton_tasks.work import slices
from magneton_tasks.work.record import Info, Outcome

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


def test_what_is_told_of_keys_is_held_for_so_many_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicing, "FLUSH_KEYS", 2)
    begun = list[int]()

    def one(key: int) -> Made:
        begun.append(key)
        info = Info(n=key, rows={"parts": 3}, largest=[[key, 2]])
        return Made(Outcome("done", "", "", info), [Rows("parts", LargeParts(np.full(3, key)))])

    process = into_slices(tmp_path, {"parts": (LargeParts,)}, one, lambda: None)
    for key, outcome in process(list(KEYS), lambda _: None):
        assert isinstance(outcome, Outcome)
        assert len(begun) <= key // 2 * 2 + 2
        assert (outcome.info["n"], outcome.info["largest"]) == (key, [[key, 2]])
        with slices.opened(tmp_path / outcome.info["slices"]["parts"], None, 0.0) as file:
            assert file.read(LargeParts, sources=[key]).part.tolist() == [key] * 3
    assert len(list(tmp_path.glob("*.slices"))) == 3


class Clock:
    """Goes on only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (slicing, counting):
        monkeypatch.setattr(module, "time", made)
    return made


def test_a_key_has_the_time_of_its_own_work_not_that_of_its_file(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = slicing._File.close

    def slow(self: slicing._File) -> Iterator[Any]:
        clock.now += 100.0
        return close(self)

    def one(key: int) -> Made:
        clock.now += key
        return Made(Outcome("done", "", "", {}), [Rows("parts", LargeParts(np.full(3, key)))])

    monkeypatch.setattr(slicing._File, "close", slow)
    monkeypatch.setattr(slicing, "FLUSH_S", 3.5)  # two files
    process = into_slices(tmp_path, {"parts": (LargeParts,)}, one, lambda: None)
    made = process(list(KEYS), lambda _: None)
    told = {key: outcome.seconds for key, outcome in made if isinstance(outcome, Outcome)}
    assert told == {key: float(key) for key in KEYS}
    assert len(list(tmp_path.glob("*.slices"))) == 2


def test_a_block_that_is_counted_too(clock: Clock) -> None:
    def count(key: int) -> tuple[int, int]:
        clock.now += key
        return key, 1

    def write(keys: list[int], counted: list[int]) -> Iterator[tuple[int, Outcome]]:
        clock.now += 100.0
        assert keys == counted
        yield from ((key, Outcome("done", "", "")) for key in keys)

    near: Any = SimpleNamespace(blocks=None)
    made = counting.into_common_files(near, count, write)(list(KEYS), lambda _: None)
    told = {key: outcome.seconds for key, outcome in made if isinstance(outcome, Outcome)}
    assert told == {key: float(key) for key in KEYS}
